//! Registers that aarch64-cpu lacks, in its own manner: defined with tock-registers.

pub use fields::{CTR_EL0, ID_AA64DFR0_EL1};
use tock_registers::interfaces::Readable;

/// Fields, by register.
#[allow(
    missing_docs,
    reason = "the macro makes items that it puts no documentation on"
)]
mod fields {
    tock_registers::register_bitfields! {
        u64,
        /// Cache type (Arm ARM D24.2.34).
        pub CTR_EL0 [
            /// Words in the smallest data cache line, as a power of two.
            DminLine OFFSET(16) NUMBITS(4) [],
            /// Words in the smallest instruction cache line, as a power of two.
            IminLine OFFSET(0) NUMBITS(4) [],
        ],
        /// Debug features (Arm ARM D24.2.81), the field that aarch64-cpu lacks.
        pub ID_AA64DFR0_EL1 [
            /// Version of the performance monitors: none at 0, of the implementation's own kind at 15.
            PMUVer OFFSET(8) NUMBITS(4) [None = 0, ImplementationDefined = 15],
        ],
    }
}

macro_rules! readable {
    ($(#[$doc:meta])* $register:ident, $fields:ty, $name:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $register;

        impl Readable for $register {
            type T = u64;
            type R = $fields;

            #[inline]
            fn get(&self) -> u64 {
                let value: u64;
                // SAFETY: reading this register changes nothing.
                unsafe {
                    core::arch::asm!(
                        concat!("mrs {}, ", $name),
                        out(reg) value,
                        options(nomem, nostack, preserves_flags),
                    );
                }
                value
            }
        }
    };
}

readable!(
    /// The cache type register.
    CacheType, CTR_EL0::Register, "ctr_el0"
);
readable!(
    /// Debug feature register 0.
    DebugFeatures, ID_AA64DFR0_EL1::Register, "id_aa64dfr0_el1"
);
readable!(
    /// The cycle counter; undefined without a PMU.
    CycleCounter, (), "pmccntr_el0"
);

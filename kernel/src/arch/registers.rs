//! Registers that aarch64-cpu lacks, in its own manner: defined with tock-registers.

pub use fields::{CTR_EL0, ID_AA64DFR0_EL1, PMCR_EL0};
use tock_registers::interfaces::{Readable, Writeable};

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
        /// Performance monitors control (Arm ARM D24.5).
        pub PMCR_EL0 [
            /// Event counters that there are.
            N OFFSET(11) NUMBITS(5) [],
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

macro_rules! writeable {
    ($(#[$doc:meta])* $register:ident, $fields:ty, $name:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $register;

        impl Writeable for $register {
            type T = u64;
            type R = $fields;

            #[inline]
            fn set(&self, value: u64) {
                // SAFETY: the registers below change what is counted, and nothing else.
                unsafe {
                    core::arch::asm!(
                        concat!("msr ", $name, ", {}"),
                        in(reg) value,
                        options(nomem, nostack, preserves_flags),
                    );
                }
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
readable!(
    /// Control of the performance monitors; undefined without a PMU, as all below.
    MonitorControl, PMCR_EL0::Register, "pmcr_el0"
);
readable!(
    /// Which of the common events 0x00 to 0x1F are implemented, one bit each.
    CommonEvents0, (), "pmceid0_el0"
);
readable!(
    /// Which of the common events 0x20 to 0x3F are implemented, one bit each.
    CommonEvents1, (), "pmceid1_el0"
);
writeable!(
    /// The event counter that [`SelectedEventType`] belongs to.
    CounterSelection, (), "pmselr_el0"
);
writeable!(
    /// What the selected counter counts: the event's number, and at which exception levels.
    SelectedEventType, (), "pmxevtyper_el0"
);
writeable!(
    /// Counters to start, one bit each.
    CounterEnable, (), "pmcntenset_el0"
);
readable!(
    /// Event counter 0; undefined without so many, as all below.
    EventCounter0, (), "pmevcntr0_el0"
);
readable!(
    /// Event counter 1.
    EventCounter1, (), "pmevcntr1_el0"
);
readable!(
    /// Event counter 2.
    EventCounter2, (), "pmevcntr2_el0"
);
readable!(
    /// Event counter 3.
    EventCounter3, (), "pmevcntr3_el0"
);
readable!(
    /// Event counter 4.
    EventCounter4, (), "pmevcntr4_el0"
);
readable!(
    /// Event counter 5.
    EventCounter5, (), "pmevcntr5_el0"
);

//! Events of the performance monitors, in groups for which there are counters enough.
//!
//! Numbers and names are those of the Arm Architecture Reference Manual (PMU events and event numbers).
//! A Cortex-A72 implements all of them (its TRM, PMCEID0_EL0); QEMU implements `INST_RETIRED`, and only
//! with `-icount`.

use serde::{Deserialize, Serialize};

/// Most events of a group: a Cortex-A72 has six counters.
pub const MOST: usize = 6;

/// Something that happens to a program, and how often is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u16)]
pub enum Event {
    /// Instructions fetched from beyond the first level cache.
    L1iCacheRefill = 0x01,
    /// Translations of instructions that the first level TLB lacked.
    L1iTlbRefill = 0x02,
    /// Lines that the first level data cache lacked.
    L1dCacheRefill = 0x03,
    /// Accesses to the first level data cache.
    L1dCache = 0x04,
    /// Translations of data that the first level TLB lacked.
    L1dTlbRefill = 0x05,
    /// Instructions that were executed for good.
    InstRetired = 0x08,
    /// Branches that were predicted wrongly, or not at all.
    BrMisPred = 0x10,
    /// Branches that could be predicted.
    BrPred = 0x12,
    /// Accesses to the second level cache.
    L2dCache = 0x16,
    /// Lines that the second level cache lacked.
    L2dCacheRefill = 0x17,
    /// Instructions that were executed, for good or not.
    InstSpec = 0x1B,
}

impl Event {
    /// The architecture's number of it.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The architecture's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1iCacheRefill => "L1I_CACHE_REFILL",
            Self::L1iTlbRefill => "L1I_TLB_REFILL",
            Self::L1dCacheRefill => "L1D_CACHE_REFILL",
            Self::L1dCache => "L1D_CACHE",
            Self::L1dTlbRefill => "L1D_TLB_REFILL",
            Self::InstRetired => "INST_RETIRED",
            Self::BrMisPred => "BR_MIS_PRED",
            Self::BrPred => "BR_PRED",
            Self::L2dCache => "L2D_CACHE",
            Self::L2dCacheRefill => "L2D_CACHE_REFILL",
            Self::InstSpec => "INST_SPEC",
        }
    }
}

/// Events that are counted in the same run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// No event.
    #[default]
    None,
    /// The most telling ones of all kinds.
    Summary,
    /// Both levels of caches, and the TLB of data.
    Cache,
    /// Branches, and the fetching of instructions.
    Branch,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Summary, Self::Cache, Self::Branch];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Summary => "summary",
            Self::Cache => "cache",
            Self::Branch => "branch",
        }
    }

    /// The group called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// Its events, [`MOST`] at most.
    pub const fn events(self) -> &'static [Event] {
        use Event::{
            BrMisPred, BrPred, InstRetired, InstSpec, L1dCache, L1dCacheRefill, L1dTlbRefill,
            L1iCacheRefill, L1iTlbRefill, L2dCache, L2dCacheRefill,
        };
        match self {
            Self::None => &[],
            Self::Summary => &[
                InstRetired,
                BrMisPred,
                L1iCacheRefill,
                L1dCacheRefill,
                L2dCacheRefill,
                L1dTlbRefill,
            ],
            Self::Cache => &[
                L1dCache,
                L1dCacheRefill,
                L2dCache,
                L2dCacheRefill,
                L1dTlbRefill,
                L1iCacheRefill,
            ],
            Self::Branch => &[
                InstRetired,
                InstSpec,
                BrPred,
                BrMisPred,
                L1iCacheRefill,
                L1iTlbRefill,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PMCEID0_EL0 of a Cortex-A72 (its TRM).
    const CORTEX_A72: u32 = 0x7FFF_0F3F;

    #[test]
    fn a_cortex_a72_counts_every_group_at_once() {
        for group in Group::ALL {
            assert!(group.events().len() <= MOST, "{}", group.name());
            for event in group.events() {
                assert!(CORTEX_A72 >> event.number() & 1 == 1, "{}", event.name());
            }
            assert_eq!(Group::from_name(group.name()), Some(group));
        }
    }
}

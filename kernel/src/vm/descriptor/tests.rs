//! Tests of the descriptors, bit by bit.

use super::*;
use proptest::prelude::*;

#[test]
fn nothing_is_both_writable_and_executable() {
    for attributes in Attributes::ALL {
        let bits = attributes.bits();
        let kernel_writes = bits & READ_ONLY == 0;
        let user_writes = kernel_writes && bits & USER != 0;
        let someone_executes = bits & PXN == 0 || bits & UXN == 0;
        assert!(!(kernel_writes && someone_executes), "{attributes}");
        assert!(!(user_writes && someone_executes), "{attributes}");
        let access = attributes.access();
        assert_eq!(access.is_writable(), kernel_writes, "{attributes}");
        assert_eq!(access.is_executable(), someone_executes, "{attributes}");
    }
}

#[test]
fn user_pages_are_tagged_and_never_executed_by_the_kernel() {
    for attributes in Attributes::ALL {
        let bits = attributes.bits();
        let user = attributes.access().is_user();
        assert_eq!(user, bits & USER != 0, "{attributes}");
        assert_eq!(user, bits & NOT_GLOBAL != 0, "{attributes}");
        assert!(!user || bits & PXN != 0, "{attributes}");
        assert!(user || bits & UXN != 0, "{attributes}");
        assert!(bits & ACCESS_FLAG != 0, "{attributes}");
    }
}

#[test]
fn only_cacheable_memory_is_executable() {
    for attributes in Attributes::ALL {
        assert!(
            attributes.memory() == Memory::Normal || !attributes.access().is_executable(),
            "{attributes}"
        );
    }
}

#[test]
fn known_mappings_have_the_bits_that_the_architecture_gives_them() {
    let page =
        |attributes| Descriptor::leaf(PhysAddr::new(0x4020_0000), attributes, Level::PAGE).bits();
    assert_eq!(page(Attributes::KERNEL_TEXT), 0x0040_0000_4020_0783);
    assert_eq!(page(Attributes::KERNEL_DATA), 0x0060_0000_4020_0703);
    assert_eq!(page(Attributes::DEVICE), 0x0060_0000_4020_0607);
    assert_eq!(page(Attributes::NON_CACHEABLE), 0x0060_0000_4020_060b);
    assert_eq!(page(Attributes::USER_TEXT), 0x0020_0000_4020_0fc3);
    assert_eq!(page(Attributes::USER_DATA), 0x0060_0000_4020_0f43);
    let block = Descriptor::leaf(PhysAddr::new(1 << 30), Attributes::KERNEL_DATA, Level::GIB);
    assert_eq!(block.bits(), 0x0060_0000_4000_0701);
    assert_eq!(Descriptor::table(PhysAddr::new(0x5000)).bits(), 0x5003);
}

#[test]
fn reserved_encodings_map_nothing() {
    let block = Descriptor::leaf(PhysAddr::new(0), Attributes::KERNEL_DATA, Level::GIB);
    assert_eq!(block.meaning(Level::PAGE), Meaning::Empty);
    assert_eq!(block.meaning(Level::ROOT), Meaning::Empty);
    let writable_text = Descriptor::from_bits(0x0040_0000_4020_0703);
    assert_eq!(
        writable_text.meaning(Level::PAGE),
        Meaning::Foreign(PhysAddr::new(0x4020_0000))
    );
}

proptest! {
    #[test]
    fn a_leaf_reads_back_as_it_was_made(
        frame in 0u64..1 << 18,
        which in 0..Attributes::ALL.len(),
        level in 1u8..=3,
    ) {
        let level = Level(level);
        let output = PhysAddr::new((frame * level.bytes()) & ADDRESS);
        let made = Descriptor::leaf(output, Attributes::ALL[which], level);
        prop_assert_eq!(made.meaning(level), Meaning::Leaf(output, Attributes::ALL[which]));
        prop_assert_eq!(made.broken().meaning(level), Meaning::Empty);
        prop_assert!(made.broken().is_broken());
        prop_assert_eq!(made.broken().mended(), made);
    }

    #[test]
    fn indices_rebuild_the_address(page in 0u64..1 << 36) {
        let address = VirtAddr::new(page << PAGE_SHIFT);
        let rebuilt: u64 = [Level::ROOT, Level::GIB, Level::MIB2, Level::PAGE]
            .into_iter()
            .map(|level| level.index(address) as u64 * level.bytes())
            .sum();
        prop_assert_eq!(rebuilt, address.get());
    }
}

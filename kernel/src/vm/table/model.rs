//! The table tree against a model: one entry a page.

use super::{
    tests::{BASE, GIB, HostTable, KIB4, at, table},
    *,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A page as the shadow model knows it.
type Shadow = BTreeMap<u64, (u64, Attributes)>;

#[derive(Clone, Debug)]
enum Op {
    Map {
        page: u64,
        pages: u64,
        physical_page: u64,
        attributes: usize,
        level: usize,
    },
    Unmap {
        page: u64,
        pages: u64,
        free: bool,
    },
    Protect {
        page: u64,
        pages: u64,
        attributes: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let page = || prop_oneof![0u64..1600, (0u64..4).prop_map(|block| block * 512)];
    let pages = || prop_oneof![1u64..20, Just(512), Just(1024)];
    let attributes = || 0..Attributes::ALL.len();
    prop_oneof![
        (page(), pages(), page(), attributes(), 0usize..3).prop_map(
            |(page, pages, physical_page, attributes, level)| Op::Map {
                page,
                pages,
                physical_page,
                attributes,
                level
            }
        ),
        (page(), pages(), any::<bool>()).prop_map(|(page, pages, free)| Op::Unmap {
            page,
            pages,
            free
        }),
        (page(), pages(), attributes()).prop_map(|(page, pages, attributes)| Op::Protect {
            page,
            pages,
            attributes
        }),
    ]
}

fn range_of(page: u64, pages: u64) -> Range<VirtAddr> {
    at(page * KIB4, pages * KIB4)
}

fn apply(table: &mut HostTable, shadow: &mut Shadow, op: &Op) {
    match *op {
        Op::Map {
            page,
            pages,
            physical_page,
            attributes,
            level,
        } => {
            let attributes = Attributes::ALL[attributes];
            let level = [Level::PAGE, Level::MIB2, Level::GIB][level];
            let physical = PhysAddr::new(physical_page * KIB4);
            let taken = (page..page + pages).find(|page| shadow.contains_key(page));
            let result = table.map(range_of(page, pages), physical, attributes, level);
            if let Some(taken) = taken {
                let Err(MapError::AlreadyMapped(address)) = result else {
                    panic!("{result:?} over a live entry");
                };
                // A block may start below the first page that is taken.
                assert!(address <= VirtAddr::new(BASE + taken * KIB4));
            } else {
                assert_eq!(result, Ok(()));
                for index in 0..pages {
                    shadow.insert(page + index, ((physical_page + index) * KIB4, attributes));
                }
            }
        }
        Op::Unmap { page, pages, free } => {
            let tables = if free { Tables::Free } else { Tables::Keep };
            let mut freed = 0;
            let result = table.unmap(range_of(page, pages), tables, &mut |leaf| {
                let first = (leaf.address.get() - BASE) / KIB4;
                for index in 0..leaf.level.bytes() / KIB4 {
                    let (physical, _) = shadow.remove(&(first + index)).unwrap();
                    assert_eq!(physical, leaf.physical.get() + index * KIB4);
                    freed += 1;
                }
            });
            match result {
                Ok(()) => assert_eq!(shadow.range(page..page + pages).count(), 0),
                Err(error) => {
                    assert!(matches!(error, MapError::SplitsBlock(_)), "{error}");
                    assert_eq!(freed, 0);
                }
            }
        }
        Op::Protect {
            page,
            pages,
            attributes,
        } => {
            let attributes = Attributes::ALL[attributes];
            match table.protect(range_of(page, pages), attributes) {
                Ok(()) => (page..page + pages).for_each(|page| {
                    shadow.get_mut(&page).expect("a mapped page").1 = attributes;
                }),
                Err(MapError::NotMapped(at)) => {
                    assert!(!shadow.contains_key(&((at.get() - BASE) / KIB4)));
                }
                Err(error) => assert!(matches!(error, MapError::SplitsBlock(_)), "{error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_tree_maps_what_the_model_says_and_leaks_no_table(
        ops in prop::collection::vec(op(), 1..24),
    ) {
        let (mut table, _log) = table();
        let mut shadow = Shadow::new();
        for op in &ops {
            apply(&mut table, &mut shadow, op);
            let mut seen = Shadow::new();
            table.visit(at(0, 4 * GIB), &mut |leaf| {
                let first = (leaf.address.get() - BASE) / KIB4;
                for index in 0..leaf.level.bytes() / KIB4 {
                    let physical = leaf.physical.get() + index * KIB4;
                    seen.insert(first + index, (physical, leaf.attributes.unwrap()));
                }
            });
            prop_assert!(seen == shadow, "after {:?}", op);
        }
        table.unmap(at(0, 4 * GIB), Tables::Free, &mut |_| {}).unwrap();
        prop_assert_eq!(table.memory_mut().len(), 1);
    }
}

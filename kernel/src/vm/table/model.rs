//! The table tree against a model: one entry a page.

use super::{
    tests::{BASE, GIB, HostTable, KIB4, at, table},
    *,
};
use bolero::{
    check,
    generator::{OneOfExt, OneValueOfExt, TypeGenerator, ValueGenerator, produce},
};
use std::{collections::BTreeMap, vec::Vec};

/// A page as the shadow model knows it.
type Shadow = BTreeMap<u64, (u64, Attributes)>;

#[derive(Clone, Debug, TypeGenerator)]
enum Op {
    Map {
        #[generator(any_page())]
        page: u64,
        #[generator(any_pages())]
        pages: u64,
        #[generator(any_page())]
        physical_page: u64,
        #[generator(0..Attributes::ALL.len())]
        attributes: usize,
        #[generator(0..3_usize)]
        level: usize,
    },
    Unmap {
        #[generator(any_page())]
        page: u64,
        #[generator(any_pages())]
        pages: u64,
        free: bool,
    },
    Protect {
        #[generator(any_page())]
        page: u64,
        #[generator(any_pages())]
        pages: u64,
        #[generator(0..Attributes::ALL.len())]
        attributes: usize,
    },
}

fn any_page() -> impl ValueGenerator<Output = u64> {
    (0..1600_u64, [0_u64, 512, 1024, 1536].one_value_of()).one_of()
}

fn any_pages() -> impl ValueGenerator<Output = u64> {
    (1..20_u64, [512_u64, 1024].one_value_of()).one_of()
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

#[test]
fn the_tree_maps_what_the_model_says_and_leaks_no_table() {
    let ops = produce::<Vec<Op>>().with().len(1..24_usize);
    let test = |ops: &Vec<Op>| {
        let (mut table, _log) = table();
        let mut shadow = Shadow::new();
        for op in ops {
            apply(&mut table, &mut shadow, op);
            let mut seen = Shadow::new();
            table.visit(at(0, 4 * GIB), &mut |leaf| {
                let first = (leaf.address.get() - BASE) / KIB4;
                for index in 0..leaf.level.bytes() / KIB4 {
                    let physical = leaf.physical.get() + index * KIB4;
                    seen.insert(first + index, (physical, leaf.attributes.unwrap()));
                }
            });
            assert!(seen == shadow, "after {:?}", op);
        }
        table
            .unmap(at(0, 4 * GIB), Tables::Free, &mut |_| {})
            .unwrap();
        assert_eq!(table.memory_mut().len(), 1);
    };
    check!()
        .with_iterations(64)
        .with_generator(ops)
        .for_each(test);
}

//! That rows have names of their own.

use super::*;
use std::collections::BTreeSet;

const ARENA: line_up::Traits = line_up::Traits {
    is_locked: false,
    in_arena: true,
};

#[test]
fn every_row_has_a_name_of_its_own_and_a_sentence() {
    let mut names = BTreeSet::new();
    for family in families(2)
        .chain(contended())
        .chain(line_up::objects(Name::new(format_args!("x")), ARENA))
        .chain(line_up::frames(Name::new(format_args!("x")), ARENA))
    {
        for &operation in family.work.operations() {
            assert!(names.insert(row_name(&family.name, operation).to_string()));
        }
        for &figure in family.work.figures() {
            assert!(names.insert(figure_name(&family.name, figure).to_string()));
        }
        assert!(family.work.about().ends_with('.'));
    }
    let latencies = 2 * (11 + 10 + 1 + 11 + 3 + 4 + 4 + 3 + 3 + 3 + 2 + 8 + 7 + 5) + 4;
    let latencies = latencies + 2 * 6;
    assert_eq!(
        names.len(),
        latencies + 2 + 2 + 3 + 3 + 3 + 2 + 2 + 1 + 2 + 2 + 2
    );
    for name in [
        "kmalloc/8/alloc",
        "layout/4096/free",
        "pages/10/free",
        "pages/churn62/recovered",
        "held/65536/ratio",
        "slab/grow/alloc",
        "percpu/refill/alloc",
        "percpu/drain/free",
        "remote-free/64/free",
        "peer/x/mixed/toggle/free",
        "pathology/sawtooth/alloc",
        "pathology/order-10-hunger/granted",
        "pathology/remote-storm/free",
        "peer/x/pathology/high-fill/free",
        "peer/x/pages/churn62/recovered",
        "peer/x/metadata/lost",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn one_core_has_no_other_to_free_for_it() {
    let remote = |cores| families(cores).filter(|family| family.name.contains("remote"));
    assert_eq!((remote(1).count(), remote(4).count()), (0, 4));
}

#[test]
fn operations_are_numbered_as_listed() {
    for (index, operation) in Operation::ALL.into_iter().enumerate() {
        assert_eq!(operation.index(), index);
    }
}

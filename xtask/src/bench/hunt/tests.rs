//! What a hunt writes.

use super::super::report::Provenance;
use super::bounds::Bound;
use super::*;
use wire::hunt::Step;

fn bytes(steps: &[(u16, Option<u32>)]) -> Vec<u8> {
    let steps = steps.iter();
    let steps = steps.map(|&(slot, amount)| Step { slot, amount }.to_bytes());
    steps.collect::<Vec<_>>().concat()
}

fn found(cost: u64) -> Found {
    Found {
        schema: 1,
        unit: "instructions",
        provenance: Provenance::default(),
        row: "pages/free".to_owned(),
        cost,
        path: "pages drain".to_owned(),
        bound: Some(Bound {
            row: "pages/free".to_owned(),
            instructions: 1000,
            reason: "one batch.".to_owned(),
        }),
        evaluations: 7,
        events: 3,
        whole: true,
        trace: "x.trace".into(),
    }
}

#[test]
fn a_sequence_becomes_a_trace_whose_ids_are_never_used_twice() {
    let mut sequence = Sequence::default();
    sequence.extend(&bytes(&[(9, Some(64)), (3, Some(65)), (9, None)]));
    sequence.extend(&bytes(&[(9, Some(64)), (9, None)]));
    let heading = ["found".to_owned()];
    assert_eq!(
        sequence.trace(Kind::Objects, &heading),
        "# found\na 0 64\na 1 65\nf 0\na 2 64\nf 2\n"
    );
    let mut pages = Sequence::default();
    pages.extend(&bytes(&[(0, Some(0)), (0, None)]));
    assert_eq!(pages.trace(Kind::Pages, &[]), "p 0 0\nq 0\n");
}

#[test]
fn rows_that_cannot_be_hunted_are_refused_with_those_that_can() {
    for row in ["kmalloc/alloc", "pages/free", "peer/talc+irq/free"] {
        assert!(Kind::of(row).is_ok(), "{row}");
    }
    for row in [
        "kmalloc",
        "kmalloc/64/alloc",
        "vmalloc/alloc",
        "peer//free",
        "peer/*/free",
        "",
    ] {
        let error = Kind::of(row).unwrap_err().to_string();
        assert!(error.contains("kmalloc/alloc"), "{error}");
    }
}

#[test]
fn every_bound_is_of_a_row_that_is_hunted_and_says_why() {
    let bounds = bounds::all().unwrap();
    let rows: Vec<&str> = bounds.iter().map(|bound| bound.row.as_str()).collect();
    for row in ["kmalloc/alloc", "kmalloc/free", "pages/alloc", "pages/free"] {
        assert!(rows.contains(&row), "{row}");
    }
    for bound in &bounds {
        assert!(Kind::of(&bound.row).is_ok() && bound.reason.ends_with('.'));
    }
}

#[test]
fn what_is_above_its_bound_is_said_to_be() {
    assert!(!found(1000).is_above_bound() && found(1001).is_above_bound());
    let text = found(1234).write(Format::Text).unwrap();
    assert!(text.starts_with("pages/free: 1,234 instructions in one operation (pages drain)\n"));
    assert!(
        text.contains("above its bound of 1,000: one batch."),
        "{text}"
    );
    assert!(
        found(9)
            .write(Format::Json)
            .unwrap()
            .contains("\"cost\": 9")
    );
    let both = found::write_all(&[found(9), found(1234)], Format::Text).unwrap();
    let lines: Vec<&str> = both.lines().collect();
    assert_eq!(
        lines[0],
        "row         instructions  bound  tried  operations  path"
    );
    assert_eq!(
        lines[2],
        "pages/free         1,234  1,000      7           3  pages drain"
    );
    let both = found::write_all(&[found(9), found(1)], Format::Json).unwrap();
    assert!(both.starts_with('[') && both.contains("\"cost\": 1"));
}

#[test]
fn the_best_is_the_last_one_that_arrived_whole() {
    let mut kept = Kept::new(None, Some(1));
    let hunt = |cost| Record::Hunt {
        stage: HuntStage::Search,
        evaluations: 16,
        cost,
        path: 0,
    };
    let (first, second) = (bytes(&[(0, Some(8))]), bytes(&[(1, Some(9)), (1, None)]));
    kept.take(&Record::Steps { steps: &first });
    kept.take(&hunt(5));
    assert_eq!((kept.best.len(), kept.cost), (1, 5));
    // Nothing new.
    kept.take(&hunt(5));
    assert_eq!(kept.best.len(), 1);
    kept.take(&Record::Steps { steps: &second });
    assert_eq!(kept.best.len(), 1, "its figure has not come");
    kept.take(&hunt(6));
    assert_eq!((kept.best.len(), kept.cost), (2, 6));
}

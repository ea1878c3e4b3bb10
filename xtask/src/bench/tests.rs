//! Which traces are loaded, and how large the machine is made for them.

use super::*;
use crate::bench::measure::sized;
use crate::machine::{Board, MachineArgs, Size};
use crate::trace::ledger::Shape;
use crate::trace::memory::Footprint;

fn trace_of(bytes: u32) -> Loaded {
    let mut footprint = Footprint::default();
    let object = Shape::Object {
        size: bytes,
        align_log2: 0,
    };
    footprint.add(object);
    Loaded {
        name: "big".into(),
        bytes: Vec::new(),
        footprint,
        threads: 1,
    }
}

#[test]
fn a_trace_is_loaded_once_and_namesakes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let namesake = folder.path().join("redis.trace");
    std::fs::write(&namesake, "a 0 8\n").unwrap();
    let another = folder.path().join("redis.txt");
    std::fs::write(&another, "a 0 16\n").unwrap();
    let copy = folder.path().join("copy");
    std::fs::copy(&another, &copy).unwrap();
    let shipped = workspace::root().join("bench/traces/redis.trace.gz");
    let args = Args {
        filter: "*".into(),
        traces: vec![shipped, namesake, another, copy],
        ..Args::default()
    };
    let names = |args: &Args| -> Vec<String> {
        load_traces(args)
            .unwrap()
            .into_iter()
            .map(|trace| trace.name)
            .collect()
    };
    assert_eq!(
        names(&args),
        [
            "linux-boot-fs",
            "sqlite",
            "redis",
            "git-pack",
            "redis-2",
            "redis-3"
        ]
    );
    let args = Args {
        no_default_traces: true,
        filter: "trace/redis".into(),
        ..args
    };
    assert_eq!(names(&args), ["redis"]);
    assert!(
        names(&Args {
            filter: "kmalloc".into(),
            ..args
        })
        .is_empty()
    );
}

#[test]
fn the_machine_grows_for_a_trace_unless_a_size_was_asked_for() {
    let small = MachineArgs::default();
    assert_eq!(
        sized(&small, 1 << 20, &[]).unwrap().memory(),
        Size(512 << 20)
    );
    assert_eq!(
        sized(&small, 1 << 20, &[trace_of(1000)]).unwrap().memory(),
        Size(512 << 20)
    );
    let grown = sized(&small, 1 << 20, &[trace_of(1 << 30)]).unwrap();
    assert!(grown.memory() > Size(1280 << 20), "{}", grown.memory());
    let asked = MachineArgs {
        mem: Some(Size(1 << 30)),
        ..MachineArgs::default()
    };
    let refused = sized(&asked, 1 << 20, &[trace_of(1 << 30)])
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        format!(
            "big needs {} of memory: --mem 1G is too little \
             (--no-default-traces leaves out the traces that ship with Tessera)",
            grown.memory()
        )
    );
    let pi = MachineArgs {
        board: Board::Raspi4b,
        ..MachineArgs::default()
    };
    let refused = sized(&pi, 1 << 20, &[trace_of(1 << 30)])
        .unwrap_err()
        .to_string();
    assert!(refused.contains("raspi4b has 960M"), "{refused}");
}

#[test]
fn boots_get_a_timeout_that_suits_a_measurement() {
    let machine = sized(&MachineArgs::default(), 0, &[]).unwrap();
    assert_eq!(machine.timeout, Some(TIMEOUT_SECONDS));
    let asked = MachineArgs {
        timeout: Some(5),
        ..MachineArgs::default()
    };
    assert_eq!(sized(&asked, 0, &[]).unwrap().timeout, Some(5));
}

//! Lines as Linux prints them, old and new, from ftrace and from trace-cmd.

use super::*;
use crate::trace::sound;
use proptest::prelude::*;

fn imported(text: &str, threads: bool) -> (String, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (
        folder.path().join("kmem.txt"),
        folder.path().join("x.trace"),
    );
    std::fs::write(&file, text).unwrap();
    let writer = Writer::create(&output, "x").unwrap();
    let mut import = Import::new(Addresses::new(writer), threads);
    import.read(read::open(&file).unwrap()).unwrap();
    let summary = import.finish().unwrap();
    (std::fs::read_to_string(&output).unwrap(), summary)
}

const FTRACE: &str = "\
# tracer: nop
#
# entries-in-buffer/entries-written: 12/40   #P:2
#
#                                _-----=> irqs-off/BH-disabled
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
            bash-1234    [000] .....   100.000001: kmalloc: call_site=load+0x1c/0x90 ptr=00000000a1b2c3d4 bytes_req=96 bytes_alloc=96 gfp_flags=GFP_KERNEL node=-1 accounted=false
     Web [2] x-77        [001] d..1.   100.000002: kmem_cache_alloc: call_site=f+0x1/0x2 ptr=00000000deadbeef name=dentry bytes_req=192 bytes_alloc=192 gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 accounted=true
            bash-1234    [000] .....   100.000003: kfree: call_site=f+0x1/0x2 ptr=00000000a1b2c3d4
          <idle>-0       [001] ..s..   100.000004: kmem_cache_free: call_site=f+0x1/0x2 ptr=00000000deadbeef name=dentry
            bash-1234    [000] .....   100.000005: mm_page_alloc: page=00000000c0ffee00 pfn=0x4711 order=3 migratetype=0 gfp_flags=GFP_KERNEL|__GFP_COMP
            bash-1234    [000] .....   100.000006: mm_page_free_batched: page=00000000c0ffee00 pfn=0x4711 order=0
            bash-1234    [000] .....   100.000007: mm_page_free: page=00000000c0ffee00 pfn=0x4711 order=3
            bash-1234    [000] .....   100.000008: sched_switch: prev_comm=bash prev_pid=1 ==> next_comm=a: kmalloc: b
";

#[test]
fn what_ftrace_prints_becomes_a_trace_with_a_thread_for_each_cpu() {
    let (text, summary) = imported(FTRACE, true);
    assert_eq!(
        text,
        "# x\na 0 96\nt 1\nz 1 192\nt 0\nf 0\nt 1\nf 1\nt 0\np 2 3\nq 2\n"
    );
    assert_eq!((summary.events, summary.threads, summary.live), (6, 2, 0));
    let lost = summary.notes.last().unwrap();
    assert_eq!(lost.1, 28, "{lost:?}");
    let (text, _) = imported(FTRACE, false);
    assert!(!text.contains('t'));
}

#[test]
fn what_trace_cmd_and_older_kernels_print_is_read_too() {
    let text = "\
cpus=2
CPU 1 is empty
 sleep-99    [003]   12.500000: kmalloc_node:         call_site=ffffffff81a ptr=0xffff888003 bytes_req=7 bytes_alloc=8 gfp_flags=GFP_KERNEL node=0
CPU:3 [LOST 41 EVENTS]
 sleep-99    [003]   12.500001: mm_page_alloc:        page=0xffffea0000 pfn=123 order=0 migratetype=1 gfp_flags=GFP_ATOMIC
CPU:1 [EVENTS DROPPED]
 sleep-99    [003]   12.500002: kfree:                call_site=ffffffff81b ptr=0xffff888003
 sleep-99    [003]   12.500003: mm_page_free:         page=0xffffea0000 pfn=123 order=0
";
    let (trace, summary) = imported(text, false);
    assert_eq!(trace, "# x\na 0 7\np 1 0\nf 0\nq 1\n");
    let counts: Vec<u64> = summary.notes.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [0, 0, 0, 42]);
}

#[test]
fn what_is_unknown_failed_or_unreadable_is_counted() {
    let line = |event: &str| format!(" a-1 [000] ..... 1.0: {event}\n");
    let text: String = [
        // Freed and never seen allocated.
        "kfree: call_site=f ptr=00000000000000aa",
        // Allocated twice, the free in between never seen.
        "kmalloc: call_site=f ptr=00000000000000bb bytes_req=8 bytes_alloc=8 gfp_flags=0",
        "kmalloc: call_site=f ptr=00000000000000bb bytes_req=9 bytes_alloc=16 gfp_flags=0",
        // Failed, freed null, before pointers were hashed, and of no order that there is.
        "kmalloc: call_site=f ptr=(null) bytes_req=8 bytes_alloc=8 gfp_flags=0",
        "kfree: call_site=f ptr=0000000000000000",
        "kfree: call_site=f ptr=(____ptrval____)",
        "mm_page_alloc: page=(null) pfn=0x0 order=9 migratetype=0 gfp_flags=0",
        "mm_page_alloc: page=00000000000000cc pfn=0x8 order=11 migratetype=0 gfp_flags=0",
        "kmalloc: call_site=f bytes_req=8",
    ]
    .map(line)
    .concat();
    let (trace, summary) = imported(&text, false);
    assert_eq!(trace, "# x\na 0 8\nf 0\na 1 9\n");
    let counts: Vec<u64> = summary.notes.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [1, 1, 6, 0]);
}

#[test]
fn a_file_without_such_events_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (
        folder.path().join("kmem.txt"),
        folder.path().join("x.trace"),
    );
    std::fs::write(&file, "# tracer: nop\nhello: world: kmalloc\n").unwrap();
    let args = Args {
        linux_kmem: file.clone(),
        output: output.clone(),
        threads: false,
    };
    let error = command(&args).unwrap_err().to_string();
    assert!(
        error.contains("kmem.txt: no event of kmem in it"),
        "{error}"
    );
    std::fs::write(&file, b"\xFF\n").unwrap();
    let error = command(&args).unwrap_err().to_string();
    assert!(error.contains("kmem.txt:1: not UTF-8"), "{error}");
    assert!(!output.exists(), "half a trace");
}

/// A line of fields that may or may not fit their event.
fn line() -> impl Strategy<Value = String> {
    let event = prop::sample::select(EVENTS.map(|(name, _)| name).to_vec());
    let fields = (0_u64..6, 0_u64..5000, 0_u32..13, any::<bool>());
    (event, 0_u32..3, fields).prop_map(|(event, cpu, (place, size, order, whole))| {
        let more = match whole {
            true => format!("bytes_req={size} pfn={place:#x} order={order}"),
            false => format!("pfn={place}"),
        };
        format!(
            " a-1 [00{cpu}] ..... 1.0: {event}: call_site=f ptr=00000000000000{place}0 {more}\n"
        )
    })
}

proptest! {
    #[test]
    fn whatever_linux_saw_becomes_a_sound_trace(lines in prop::collection::vec(line(), 1..200)) {
        let folder = tempfile::tempdir().unwrap();
        let (file, output) = (folder.path().join("kmem.txt"), folder.path().join("x.trace"));
        std::fs::write(&file, lines.concat()).unwrap();
        let args = Args {
            linux_kmem: file,
            output: output.clone(),
            threads: true,
        };
        match command(&args) {
            Ok(_) => prop_assert!(sound::read(&output).1.events() > 0),
            Err(error) => {
                prop_assert!(error.to_string().contains("no event in it"), "{}", error);
                prop_assert!(!output.exists());
            }
        }
    }
}

//! The protocol, played against machines that are made up.

use super::*;
use crate::backtrace::Backtrace;
use crate::symbols::Frame;

/// What a made-up machine says, and how it ends.
struct Script {
    line: &'static str,
    events: Vec<Event<'static>>,
    outcome: Outcome,
}

fn ended(code: u32) -> Outcome {
    let status = i32::try_from(code).ok();
    Outcome {
        code: Some(code),
        status,
        ..Outcome::default()
    }
}

fn died(status: i32) -> Outcome {
    Outcome {
        status: Some(status),
        qemu_command: "qemu -x".into(),
        ..Outcome::default()
    }
}

fn begin(name: &'static str) -> Event<'static> {
    Event::Control(Control::Begin { name })
}

fn end(failure: Option<&'static str>) -> Event<'static> {
    Event::Control(Control::End { failure })
}

fn fault() -> Event<'static> {
    let frame = Frame {
        address: 1,
        function: "f".into(),
        location: None,
    };
    Event::Fault(Backtrace {
        frames: vec![frame],
        note: None,
    })
}

/// Machines that are booted one after the other.
struct Machines(std::vec::IntoIter<Script>);

impl Machines {
    fn new(scripts: Vec<Script>) -> Self {
        Self(scripts.into_iter())
    }

    fn boot(&mut self, line: &str, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Outcome> {
        let script = self.0.next().expect("one boot too many");
        assert_eq!(line, script.line);
        script.events.into_iter().for_each(on_event);
        Ok(script.outcome)
    }
}

fn batch(names: &[&str], whole: bool, scripts: Vec<Script>) -> Vec<(String, Verdict)> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let (mut machines, mut results) = (Machines::new(scripts), Vec::new());
    let mut start = |line: &str, on_event: &mut dyn FnMut(Event<'_>)| machines.boot(line, on_event);
    run_batch(&names, whole, &mut start, &mut |name, verdict| {
        results.push((name.to_owned(), verdict));
    });
    assert!(machines.0.next().is_none(), "one boot too few");
    results
}

fn failed(results: &[(String, Verdict)]) -> Vec<&str> {
    let failed = results
        .iter()
        .filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_)));
    failed.map(|(name, _)| name.as_str()).collect()
}

#[test]
fn one_machine_serves_all_tests_that_return() {
    let skip = Event::Control(Control::Skip {
        name: "c",
        why: "no disk",
    });
    let events = vec![begin("a"), end(None), begin("b"), end(Some("1 != 2")), skip];
    let script = Script {
        line: "cmd=run",
        events,
        outcome: ended(1),
    };
    let expected = [
        ("a".to_owned(), Verdict::Passed),
        ("b".to_owned(), Verdict::Failed("1 != 2".to_owned())),
        ("c".to_owned(), Verdict::Skipped("no disk".to_owned())),
    ];
    assert_eq!(batch(&["a", "b", "c"], true, vec![script]), expected);
}

#[test]
fn a_test_that_kills_its_machine_failed_and_a_fresh_one_goes_on() {
    let events = vec![
        begin("a"),
        end(None),
        begin("b"),
        Event::Plain("panicked: boom\n"),
    ];
    let first = Script {
        line: "cmd=run",
        events,
        outcome: died(70),
    };
    let events = vec![begin("c"), end(None)];
    let second = Script {
        line: "cmd=run after=b",
        events,
        outcome: ended(0),
    };
    let results = batch(&["a", "b", "c"], true, vec![first, second]);
    assert_eq!(failed(&results), ["b"]);
    let Verdict::Failed(why) = &results[1].1 else {
        panic!("{results:?}")
    };
    assert!(why.contains("boom") && why.contains("qemu -x"), "{why}");
}

#[test]
fn a_selection_is_named_and_shrinks_when_a_machine_dies() {
    let events = vec![begin("a")];
    let first = Script {
        line: "cmd=run only=a,c",
        events,
        outcome: died(70),
    };
    let events = vec![begin("c"), end(None)];
    let second = Script {
        line: "cmd=run only=c",
        events,
        outcome: ended(0),
    };
    assert_eq!(
        failed(&batch(&["a", "c"], false, vec![first, second])),
        ["a"]
    );
}

#[test]
fn a_machine_that_dies_before_any_test_fails_them_all_without_trying_for_ever() {
    let script = Script {
        line: "cmd=run",
        events: vec![],
        outcome: died(70),
    };
    assert_eq!(failed(&batch(&["a", "b"], true, vec![script])), ["a", "b"]);
}

#[test]
fn a_test_that_the_image_leaves_out_has_failed() {
    let events = vec![begin("a"), end(None)];
    let script = Script {
        line: "cmd=run",
        events,
        outcome: ended(0),
    };
    assert_eq!(failed(&batch(&["a", "b"], true, vec![script])), ["b"]);
}

#[test]
fn a_machine_that_does_not_end_as_it_should_is_a_failure_of_its_own() {
    let events = || vec![begin("a"), end(None)];
    let lost = Script {
        line: "cmd=run",
        events: events(),
        outcome: Outcome {
            lost: 1,
            ..ended(0)
        },
    };
    assert_eq!(
        failed(&batch(&["a"], true, vec![lost])),
        ["the_machine_ends_cleanly"]
    );
    let wrong = Script {
        line: "cmd=run",
        events: events(),
        outcome: ended(1),
    };
    assert_eq!(
        failed(&batch(&["a"], true, vec![wrong])),
        ["the_machine_ends_cleanly"]
    );
}

#[test]
fn a_machine_that_dies_between_tests_is_told_and_the_rest_goes_on() {
    let first = Script {
        line: "cmd=run",
        events: vec![begin("a"), end(None)],
        outcome: died(70),
    };
    let second = Script {
        line: "cmd=run after=a",
        events: vec![begin("b"), end(None)],
        outcome: ended(0),
    };
    let results = batch(&["a", "b"], true, vec![first, second]);
    assert_eq!(failed(&results), ["the_machine_ends_cleanly"]);
    assert_eq!(results.len(), 3);
}

fn fatal(events: Vec<Event<'static>>, outcome: Outcome) -> Verdict {
    let test = Test {
        name: "mm::double_free".into(),
        faults_with: Some("double free".into()),
    };
    let line = "cmd=run only=mm::double_free";
    let mut machines = Machines::new(vec![Script {
        line,
        events,
        outcome,
    }]);
    run_fatal(&test, &mut |line, on_event| machines.boot(line, on_event))
}

#[test]
fn a_fatal_test_passes_with_its_own_fault_only() {
    let begun = || begin("mm::double_free");
    let said = || Event::Plain("kernel bug: double free of 0x1\n");
    assert_eq!(
        fatal(vec![begun(), said(), fault()], died(70)),
        Verdict::Passed
    );
    for (events, outcome, why) in [
        (vec![begun(), said(), fault()], died(1), "instead of 70"),
        (vec![begun(), said()], died(70), "no dump"),
        (
            vec![begun(), fault()],
            died(70),
            "nothing on the line said `double free`",
        ),
        (vec![said(), fault()], died(70), "it never began"),
        (
            vec![begun(), said(), fault(), end(None)],
            ended(70),
            "it came back",
        ),
        (
            vec![begun(), said(), fault()],
            Outcome {
                timed_out: Some(9),
                ..Outcome::default()
            },
            "hung and was stopped",
        ),
    ] {
        let Verdict::Failed(account) = fatal(events, outcome) else {
            panic!("{why}")
        };
        assert!(account.contains(why), "{account}");
    }
}

#[test]
fn a_fatal_test_that_does_not_apply_is_skipped() {
    let skip = Event::Control(Control::Skip {
        name: "mm::double_free",
        why: "no such tier",
    });
    assert_eq!(
        fatal(vec![skip], ended(0)),
        Verdict::Skipped("no such tier".into())
    );
}

#[test]
fn an_image_tells_its_tests() {
    let test = |name, faults_with| Event::Control(Control::Test { name, faults_with });
    let listed = |events, outcome| {
        let mut machines = Machines::new(vec![Script {
            line: "cmd=list",
            events,
            outcome,
        }]);
        list(&mut |line, on_event| machines.boot(line, on_event))
    };
    let events = vec![test("a", None), test("b", Some("guard page"))];
    let tests = listed(events, ended(0)).unwrap();
    let b = Test {
        name: "b".into(),
        faults_with: Some("guard page".into()),
    };
    assert_eq!((tests.len(), &tests[1]), (2, &b));
    assert!(listed(vec![], ended(0)).is_err());
    assert!(listed(vec![test("a", None)], died(70)).is_err());
}

#[test]
fn a_filter_that_names_a_machine_spares_the_others() {
    let args = |filter: &str| Args {
        filters: vec![filter.to_owned()],
        ..Args::default()
    };
    assert!(
        args("qemu/virt/").wants_machine("virt") && !args("qemu/virt/").wants_machine("virt-el2")
    );
    assert!(args("qemu/virt").wants_machine("virt-el2"));
    assert!(args("double_free").wants_machine("raspi4b"));
}

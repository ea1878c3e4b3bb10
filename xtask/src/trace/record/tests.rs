//! Records a program that does everything, and looks for what it did.

use super::*;
use crate::trace::event::Action;
use crate::trace::ledger::Change;
use crate::trace::read;
use std::sync::OnceLock;

/// The program, built once.
fn exercise() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut command = Command::new(cargo());
        command
            .current_dir(workspace::root())
            .args(["build", "--quiet", "--profile", "host", "-p", "recorder"])
            .args(["--example", "exercise", "--features", "preload"])
            .args(["--message-format", "json-render-diagnostics"])
            .env_remove("DEFMT_LOG")
            .stdout(Stdio::piped());
        let built = image::executables(&mut command).unwrap();
        built.into_iter().next().unwrap().path
    })
}

type Events = Vec<(u16, Action)>;

/// What a run leaves: its status, the events of the first two files, as far as they are there, and how
/// many objects are live at the end of one.
fn recorded(words: &[&str], children: bool) -> (u8, [Option<Events>; 2], usize) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.trace.gz");
    let program = exercise().as_os_str().to_owned();
    let words = words.iter().map(OsString::from);
    let status = command(&Args {
        output: Some(output.clone()),
        threads: true,
        children,
        command: std::iter::once(program).chain(words).collect(),
    })
    .unwrap();
    let mut live = 0;
    let files = [output, folder.path().join("x.2.trace.gz")].map(|file| {
        let mut events = Vec::new();
        let ledger = read::file(&file, |event, _| events.push((event.thread, event.action)));
        let ledger = ledger.ok().filter(|_| file.exists())?;
        live = live.max(ledger.live().count());
        Some(events)
    });
    (status, files, live)
}

/// Objects of this size that were allocated.
fn made(events: &[(u16, Action)], bytes: u32) -> usize {
    let is_one = |action: &Action| matches!(action, Action::Alloc { size, .. } if *size == bytes);
    events.iter().filter(|(_, action)| is_one(action)).count()
}

#[test]
fn objects_that_other_threads_free_are_told_by_thread_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.trace");
    let command_line = [exercise().as_os_str().to_owned(), "threads".into()];
    let args = |threads| Args {
        output: Some(output.clone()),
        threads,
        children: false,
        command: command_line.to_vec(),
    };
    assert_eq!(command(&args(true)).unwrap(), 0);
    let (mut makers, mut elsewhere, mut grown, mut zeroed) = (Vec::new(), 0, 0, 0);
    let ledger = read::file(&output, |event, change| match (event.action, change) {
        (action, Change::Made(_)) => {
            zeroed += usize::from(matches!(action, Action::Alloc { zeroed: true, .. }));
            makers.push(event.thread);
        }
        (_, Change::Resized { .. }) => grown += 1,
        (action, Change::Freed(_)) => {
            elsewhere += usize::from(makers[action.id() as usize] != event.thread);
        }
    })
    .unwrap();
    assert_eq!(ledger.threads(), 5);
    assert!(elsewhere >= 4 * 500, "{elsewhere} freed by another thread");
    assert!(
        zeroed >= 4 * 500 && grown >= 4,
        "{zeroed} zeroed, {grown} grown"
    );
    assert_eq!(command(&args(false)).unwrap(), 0);
    assert_eq!(read::file(&output, |_, _| ()).unwrap().threads(), 1);
}

#[test]
fn what_is_hardly_ever_done_is_recorded_as_it_ended() {
    let (status, [events, _], _) = recorded(&["edges"], false);
    let events = events.unwrap();
    assert_eq!(status, 0);
    let actions: Vec<Action> = events.iter().map(|&(_, action)| action).collect();
    let position = |wanted: fn(&Action) -> bool| actions.iter().position(wanted).unwrap();
    let grown = position(|action| matches!(action, Action::Realloc { size: 50_000, .. }));
    let id = actions[grown].id();
    assert_eq!(actions[grown + 1], Action::Free { id }, "realloc(p, 0)");
    let failed = |action: &Action| matches!(action, Action::Realloc { size, .. } if *size > 50_000);
    assert!(!actions.iter().any(failed), "a failure is no event");
    for (size, align_log2) in [(999, 8), (64, 5), (10, 16)] {
        let aligned = |action: &&Action| {
            matches!(action, Action::Alloc { size: bytes, align_log2: log2, .. }
                if (*bytes, *log2) == (size, align_log2))
        };
        assert_eq!(actions.iter().filter(aligned).count(), 1, "{size}");
    }
    assert!(made(&events, 1) >= 1, "malloc(0) is an object");
}

#[test]
fn a_child_leaves_its_parents_trace_alone_and_has_its_own_where_asked_for() {
    let (_, [parent, child], _) = recorded(&["fork"], false);
    assert_eq!(made(&parent.unwrap(), 7_777), 21);
    assert!(child.is_none());
    let (_, [parent, child], _) = recorded(&["fork"], true);
    let (parent, child) = (parent.unwrap(), child.unwrap());
    assert_eq!((made(&parent, 7_777), made(&parent, 5_555)), (21, 0));
    assert_eq!((made(&child, 7_777), made(&child, 5_555)), (0, 20));
}

#[test]
fn a_program_that_crashes_leaves_a_trace_and_its_status_is_ours() {
    let (status, [events, _], live) = recorded(&["crash"], false);
    assert_eq!(status, 134);
    assert_eq!(made(&events.unwrap(), 3_333), 18);
    assert!(live >= 9, "{live}");
    assert_eq!(recorded(&["3"], false).0, 3);
}

#[test]
fn a_process_is_recorded_as_the_program_that_it_becomes() {
    let (_, [main, former], _) = recorded(&["exec", "churn"], true);
    let main = main.unwrap();
    // More than one chunk of records, by two threads.
    assert_eq!((made(&main, 19_999), made(&main, 12_345)), (2, 2));
    assert_eq!(made(&former.unwrap(), 19_999), 0);
}

#[test]
fn what_cannot_be_recorded_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let args = |output: &str, program: &str| Args {
        output: Some(folder.path().join(output)),
        threads: false,
        children: false,
        command: vec![program.into()],
    };
    let error = |args: &Args| format!("{:#}", command(args).unwrap_err());
    let absent = error(&args("x.trace", "/nonexistent"));
    assert!(absent.contains("cannot start nonexistent"), "{absent}");
    let nowhere = error(&args("absent/x.trace", "true"));
    assert!(nowhere.contains("no such folder"), "{nowhere}");
}

#[test]
fn names_of_files_are_the_programs_and_are_numbered_before_their_suffixes() {
    assert_eq!(
        default_output(OsStr::new("/bin/ls")),
        Path::new("ls.trace.gz")
    );
    let numbered = |file: &str| numbered(Path::new(file), 3);
    assert_eq!(numbered("a/x.trace.gz"), Path::new("a/x.3.trace.gz"));
    assert_eq!(numbered("x"), Path::new("x.3"));
}

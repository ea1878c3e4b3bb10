//! That nothing is left unfinished, that every file says why it exists, and that the README's
//! example is the one that is built.

use super::Finding;
use super::source::{File, Sources};

/// Code that is not done, or that this project never needs.
const UNFINISHED: [(&str, &str); 4] = [
    (
        "static mut",
        "a `static mut` has no owner: use a lock, an atomic or per-CPU data",
    ),
    ("todo!(", "is not done"),
    ("unimplemented!(", "is not done"),
    (
        "unreachable_unchecked",
        "lies to the compiler if it is ever wrong",
    ),
];
/// How a file says why it exists.
const BEGINNINGS: [&str; 2] = ["//!", "#![doc = include_str!("];
/// A note that something is not done; spelled so that this file has none.
const NOTE: &str = concat!("FIX", "ME");
/// The app in the README.
const EXAMPLE: &str = "kernel/examples/hello.rs";
/// Where it is shown.
const README: &str = "README.md";

fn finding(file: &File, line: usize, message: &str) -> Finding {
    Finding {
        path: file.path.clone(),
        line,
        message: message.to_owned(),
    }
}

/// Nothing is left unfinished.
pub(super) fn finished(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources.rust() {
        for (number, line) in file.code_lines() {
            // A mutable reference with a static lifetime is something else.
            let line = line.replace("'static", "");
            for (code, message) in UNFINISHED.iter().filter(|(code, _)| line.contains(code)) {
                findings.push(finding(file, number, &format!("`{code}`: {message}")));
            }
        }
    }
    for file in sources.iter() {
        let notes = file
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(NOTE));
        findings.extend(notes.map(|(index, _)| finding(file, index + 1, "a note instead of work")));
    }
    findings
}

/// Every file begins with `//!`, or with the page that stands for it.
pub(super) fn begins_with_a_reason(sources: &Sources) -> Vec<Finding> {
    let silent = sources.rust().filter(|file| {
        !BEGINNINGS
            .iter()
            .any(|begin| file.text.trim_start().starts_with(begin))
    });
    silent
        .map(|file| finding(file, 1, "does not begin with `//!`"))
        .collect()
}

/// The listing in the README is the example's file, word for word.
pub(super) fn readme_example(sources: &Sources) -> Vec<Finding> {
    let (Some(readme), Some(example)) = (sources.file(README), sources.file(EXAMPLE)) else {
        return Vec::new();
    };
    let first = example.text.lines().next();
    let found = listings(&readme.text)
        .into_iter()
        .find(|(_, listing)| listing.lines().next() == first);
    match found {
        None => vec![finding(readme, 1, &format!("does not show {EXAMPLE}"))],
        Some((_, listing)) if listing.trim_end() == example.text.trim_end() => Vec::new(),
        Some((line, listing)) => {
            let pairs = listing.lines().zip(example.text.lines());
            let same = pairs.take_while(|(shown, built)| shown == built).count();
            vec![finding(
                readme,
                line + same,
                &format!("differs from {EXAMPLE}:{}", same + 1),
            )]
        }
    }
}

/// The Rust listings of a Markdown text, each with the number of its first line.
fn listings(markdown: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (index, line) in markdown.lines().enumerate() {
        match (inside, line.strip_prefix("```")) {
            (false, Some(language)) if language.starts_with("rust") => {
                inside = true;
                found.push((index + 2, String::new()));
            }
            (true, Some(_)) => inside = false,
            (true, None) => {
                if let Some((_, listing)) = found.last_mut() {
                    listing.push_str(line);
                    listing.push('\n');
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn unfinished_code_and_notes_are_found() {
        let text = format!("//! x\nstatic mut A: u8 = 0;\ntodo!()\nfn f() {{}} // {NOTE}\n");
        let found = finished(&Sources::of(&[("a.rs", &text)]));
        assert_eq!(lines(&found), [2, 3, 4]);
        let clean = "//! todo!() in a comment\nlet a = \"static mut\";\nlet b: &'static mut u8;\n";
        assert!(finished(&Sources::of(&[("a.rs", clean)])).is_empty());
    }

    #[test]
    fn a_file_without_a_reason_is_found() {
        let sources = Sources::of(&[("a.rs", "use x;\n//! late\n"), ("b.rs", "\n//! Why.\n")]);
        let found = begins_with_a_reason(&sources);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "a.rs");
    }

    #[test]
    fn the_readmes_listing_must_be_the_file() {
        let example = "//! An app.\nfn main() {\n}\n";
        let check =
            |readme: &str| readme_example(&Sources::of(&[(EXAMPLE, example), (README, readme)]));
        let same = format!("# T\n\n```rust\nfn other() {{}}\n```\n\n```rust\n{example}```\n");
        assert!(check(&same).is_empty());
        let changed = same.replace("fn main() {", "fn main() -> u8 {");
        assert_eq!(lines(&check(&changed)), [9]);
        assert_eq!(check("# T\n").len(), 1);
        assert!(readme_example(&Sources::of(&[(EXAMPLE, example)])).is_empty());
    }
}

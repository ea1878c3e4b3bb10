//! `cargo xtask check`: what the compiler does not watch over.
//!
//! Where `unsafe` may stand, which way imports point, and that nothing is left unfinished. Every
//! finding names file and line. The rules' tables are data, at the top of their files.

mod imports;
mod prose;
mod source;
mod unsafe_code;

use crate::{console, workspace};
use anyhow::Result;
use source::Sources;
use std::fmt;

/// Something that a rule forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File, relative to the workspace.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// What a rule finds in the sources.
type Check = fn(&Sources) -> Vec<Finding>;

/// A rule, with a sentence for its name.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, as a test's.
    pub name: &'static str,
    check: Check,
}

/// All rules.
pub const RULES: [Rule; 6] = [
    Rule {
        name: "unsafe_stands_only_in_files_that_are_listed_and_say_why",
        check: unsafe_code::check,
    },
    Rule {
        name: "crates_depend_in_one_direction",
        check: imports::crates,
    },
    Rule {
        name: "the_kernels_modules_import_downward",
        check: imports::modules,
    },
    Rule {
        name: "nothing_is_left_unfinished",
        check: prose::finished,
    },
    Rule {
        name: "every_file_begins_by_saying_why_it_exists",
        check: prose::begins_with_a_reason,
    },
    Rule {
        name: "the_example_in_the_readme_is_the_example",
        check: prose::readme_example,
    },
];

/// The workspace's sources, read once for all rules.
#[derive(Debug)]
pub struct Workspace(Sources);

impl Workspace {
    /// Reads the sources.
    ///
    /// # Errors
    ///
    /// As from the file system.
    pub fn read() -> Result<Self> {
        Sources::read(&workspace::root()).map(Self)
    }

    /// What `rule` finds.
    pub fn check(&self, rule: Rule) -> Vec<Finding> {
        (rule.check)(&self.0)
    }
}

/// Runs all rules; 0 if they find nothing, else 1.
///
/// # Errors
///
/// If the sources cannot be read.
pub fn command() -> Result<u8> {
    let workspace = Workspace::read()?;
    let mut found = 0;
    for rule in RULES {
        let findings = workspace.check(rule);
        let mark = if findings.is_empty() {
            "ok    "
        } else {
            "FAILED"
        };
        console::result(format_args!("{mark} {}\n", rule.name))?;
        for finding in &findings {
            console::result(format_args!("       {finding}\n"))?;
        }
        found += findings.len();
    }
    Ok(u8::from(found > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_file_and_line() {
        let finding = Finding {
            path: "a.rs".into(),
            line: 3,
            message: "no".into(),
        };
        assert_eq!(finding.to_string(), "a.rs:3: no");
    }
}

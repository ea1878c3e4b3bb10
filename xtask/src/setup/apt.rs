//! Debian's archive without touching the machine's own list of sources.
//!
//! apt is pointed at a temporary list, index and cache; only an installation itself reaches the
//! machine. The mirror is the one that the machine uses for its own packages.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The keys of Debian's archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One place packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The archive.
    pub(super) uri: String,
    /// Its suites.
    pub(super) suites: Vec<String>,
}

/// The sources of the machine whose file system is at `root`, in apt's order.
pub(super) fn machine_sources(root: &Path) -> Vec<Source> {
    let apt = root.join("etc/apt");
    let mut files = vec![apt.join("sources.list")];
    let mut parts: Vec<PathBuf> = std::fs::read_dir(apt.join("sources.list.d"))
        .map(|parts| {
            parts
                .filter_map(Result::ok)
                .map(|part| part.path())
                .collect()
        })
        .unwrap_or_default();
    parts.sort();
    files.append(&mut parts);
    let read = |file: &PathBuf| {
        Some((
            file.extension()?.to_owned(),
            std::fs::read_to_string(file).ok()?,
        ))
    };
    let sources =
        files
            .iter()
            .filter_map(read)
            .flat_map(|(extension, text)| match extension.to_str() {
                Some("list") => parse_lines(&text),
                Some("sources") => parse_stanzas(&text),
                _ => Vec::new(),
            });
    sources.collect()
}

/// Sources in the one-line format: `deb [options] URI SUITE COMPONENT…`.
fn parse_lines(text: &str) -> Vec<Source> {
    let source = |line: &str| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        Some(Source {
            uri: words.next()?,
            suites: vec![words.next()?],
        })
    };
    text.lines().filter_map(source).collect()
}

/// Sources in the DEB822 format: stanzas of `Field: value`, values continued by indented lines.
fn parse_stanzas(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let stanzas = lines.split(|line| line.trim().is_empty());
    let sources = stanzas.flat_map(|stanza| {
        let enabled = !values(stanza, "enabled").iter().any(|value| value == "no");
        let binary = values(stanza, "types").iter().any(|value| value == "deb");
        let suites = values(stanza, "suites");
        let uris = values(stanza, "uris");
        let wanted = enabled && binary;
        uris.into_iter()
            .filter(move |_| wanted)
            .map(move |uri| Source {
                uri,
                suites: suites.clone(),
            })
    });
    sources.collect()
}

/// The words of a stanza's field.
fn values(stanza: &[&str], name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut inside = false;
    for line in stanza {
        let continued = line.starts_with([' ', '\t']);
        let value = match (continued, line.split_once(':')) {
            (false, Some((field, value))) => {
                inside = field.eq_ignore_ascii_case(name);
                value
            }
            _ => line,
        };
        if inside {
            words.extend(value.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The mirror of Debian's main archive among `sources`, if there is one.
pub(super) fn debian_mirror(sources: &[Source]) -> Option<String> {
    let is_main_archive = |source: &&Source| {
        let path = source.uri.trim_end_matches('/');
        path.starts_with("http") && path.ends_with("/debian")
    };
    let mirror = sources.iter().find(is_main_archive);
    mirror.map(|source| source.uri.clone())
}

/// A list of sources, an index and a cache of our own.
#[derive(Debug)]
pub(super) struct PrivateState {
    folder: PathBuf,
}

impl PrivateState {
    /// Makes the state in `folder`, for `source` and Debian's keys.
    ///
    /// # Errors
    ///
    /// As from the file system.
    pub(super) fn new(folder: &Path, source: &Source, components: &str) -> Result<Self> {
        let folder = folder.join("apt");
        for part in ["lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(folder.join(part)).context("no place for apt's lists")?;
        }
        std::fs::write(folder.join("tessera.sources"), stanza(source, components))?;
        Ok(Self { folder })
    }

    /// `apt-get` with this state.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        command
            .args(options(&self.folder.to_string_lossy()))
            .args(arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// What `apt-cache policy` says of `package` by this state.
    pub(super) fn policy(&self, package: &str) -> Command {
        let mut command = Command::new("apt-cache");
        command
            .args(options(&self.folder.to_string_lossy()))
            .args(["policy", package]);
        command
    }
}

/// A list of sources in the DEB822 format.
pub(super) fn stanza(source: &Source, components: &str) -> String {
    format!(
        "Types: deb\nURIs: {}\nSuites: {}\nComponents: {components}\nSigned-By: {KEYRING}\n",
        source.uri,
        source.suites.join(" ")
    )
}

/// apt's options for a state in `folder`.
pub(super) fn options(folder: &str) -> Vec<String> {
    let pairs = [
        format!("Dir::Etc::SourceList={folder}/tessera.sources"),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={folder}/lists"),
        format!("Dir::Cache={folder}/cache"),
        "Acquire::Languages=none".to_owned(),
        "Acquire::Retries=3".to_owned(),
        "DPkg::Lock::Timeout=120".to_owned(),
    ];
    pairs
        .into_iter()
        .flat_map(|pair| ["-o".to_owned(), pair])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suites: &[&str]) -> Source {
        Source {
            uri: uri.into(),
            suites: suites.iter().map(|&suite| suite.to_owned()).collect(),
        }
    }

    #[test]
    fn one_line_sources_are_read() {
        let text = "# deb http://no/debian x main\ndeb-src http://no/debian x main\n\
            deb [arch=amd64 signed-by=/k] http://a/debian bookworm main contrib\n\
            deb http://b/debian-security bookworm-security main\n";
        let expected = [
            source("http://a/debian", &["bookworm"]),
            source("http://b/debian-security", &["bookworm-security"]),
        ];
        assert_eq!(parse_lines(text), expected);
    }

    #[test]
    fn stanzas_are_read_with_comments_continuations_and_disabled_ones_left_out() {
        let text = "Types: deb deb-src\n# a comment\nURIs: http://a/debian\n  http://b/debian\n\
            Suites: bookworm bookworm-updates\nComponents: main\n\n\
            Enabled: no\nTypes: deb\nURIs: http://c/debian\nSuites: x\n\n\
            types: deb-src\nuris: http://d/debian\nsuites: x\n";
        let suites = ["bookworm", "bookworm-updates"];
        let expected = [
            source("http://a/debian", &suites),
            source("http://b/debian", &suites),
        ];
        assert_eq!(parse_stanzas(text), expected);
    }

    #[test]
    fn the_machines_own_mirror_is_used() {
        let root = tempfile::tempdir().unwrap();
        let parts = root.path().join("etc/apt/sources.list.d");
        std::fs::create_dir_all(&parts).unwrap();
        assert_eq!(debian_mirror(&machine_sources(root.path())), None);
        let third = "deb http://else.where/apt stable main\n";
        std::fs::write(parts.join("a.list"), third).unwrap();
        let own = "Types: deb\nURIs: http://security/debian-security\nSuites: s\n\n\
            Types: deb\nURIs: http://near/debian/\nSuites: bookworm\n";
        std::fs::write(parts.join("debian.sources"), own).unwrap();
        std::fs::write(parts.join("old.save"), "deb http://save/debian x main\n").unwrap();
        assert_eq!(
            debian_mirror(&machine_sources(root.path())).as_deref(),
            Some("http://near/debian/")
        );
    }

    #[test]
    fn a_private_state_names_nothing_of_the_machines() {
        let folder = tempfile::tempdir().unwrap();
        let source = source("http://near/debian", &["trixie-backports"]);
        let state = PrivateState::new(folder.path(), &source, "main").unwrap();
        let command = state.command(&["update"]);
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect();
        let folder = folder.path().join("apt");
        for place in ["Dir::Etc::SourceList=", "Dir::State::Lists=", "Dir::Cache="] {
            let wanted = format!("{place}{}", folder.display());
            assert!(
                arguments
                    .iter()
                    .any(|argument| argument.starts_with(&wanted)),
                "{place}"
            );
        }
        let list = std::fs::read_to_string(folder.join("tessera.sources")).unwrap();
        assert!(
            list.contains("URIs: http://near/debian\nSuites: trixie-backports\n"),
            "{list}"
        );
    }
}

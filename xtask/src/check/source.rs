//! The workspace's text files, and Rust code without what only looks like code.

use anyhow::{Context, Result};
use std::path::Path;

/// The crates' folders.
const FOLDERS: [&str; 4] = ["kernel", "platform", "bench", "xtask"];
/// Files outside of them that a rule reads.
const FILES: [&str; 1] = ["README.md"];

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Its path, relative to the workspace, with `/` between the parts.
    pub(super) path: String,
    /// What it says.
    pub(super) text: String,
    /// For Rust: the text with comments and literals blanked, every line where it was.
    pub(super) code: String,
}

impl File {
    /// A file with this text.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let rust = path.ends_with(".rs");
        let code = if rust { blank(text) } else { String::new() };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
        }
    }

    /// The lines of code, numbered from 1.
    pub(super) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// Whether it is a Rust source.
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// All files, ordered by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    files: Vec<File>,
}

impl Sources {
    /// Reads the workspace at `root`.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for folder in FOLDERS {
            read_folder(root, &root.join(folder), &mut files)?;
        }
        for name in FILES {
            if let Ok(text) = std::fs::read_to_string(root.join(name)) {
                files.push(File::new(name, &text));
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { files })
    }

    /// Sources made of `files`, each a path and a text.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| File::new(path, text))
                .collect(),
        }
    }

    /// All files.
    pub(super) fn iter(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The Rust sources.
    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// The file at `path`.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn read_folder(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result<()> {
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                read_folder(root, &path, files)?;
            }
            continue;
        }
        let wanted = path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "toml");
        if wanted {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let inside = path.strip_prefix(root).unwrap_or(&path);
            files.push(File::new(
                &inside.to_string_lossy().replace('\\', "/"),
                &text,
            ));
        }
    }
    Ok(())
}

/// `text` with every comment and every literal's contents turned into spaces.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = comment(rest).or_else(|| literal(rest, out.chars().last()));
        match length {
            Some(length) => {
                let (gone, after) = rest.split_at(length);
                out.extend(
                    gone.chars()
                        .map(|letter| if letter == '\n' { '\n' } else { ' ' }),
                );
                rest = after;
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// The length of the comment that `text` begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(text.len())
}

/// The length of the string or character literal that `text` begins with, after `before`.
fn literal(text: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|before| before.is_alphanumeric() || before == '_') {
        return None;
    }
    let plain = text
        .strip_prefix('b')
        .or_else(|| text.strip_prefix('c'))
        .unwrap_or(text);
    let prefix = text.len() - plain.len();
    if let Some(raw) = plain.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inside = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return Some(prefix + 2 + hashes + length);
    }
    if let Some(inside) = plain.strip_prefix('"') {
        return Some(prefix + 1 + until(inside, '"'));
    }
    let inside = plain.strip_prefix('\'')?;
    // A lifetime has a name and no closing quote after one letter.
    let mut letters = inside.chars();
    let escaped = letters.next()? == '\\';
    (escaped || letters.next() == Some('\'')).then(|| prefix + 1 + until(inside, '\''))
}

/// The length of `text` up to and with an unescaped `end`.
fn until(text: &str, end: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            letter if letter == end => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        blank(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_vanish_and_lines_stay() {
        let text = "a // unsafe\nb /* x /* y */ z\n */ c\n//! d\ne";
        assert_eq!(blank(text).lines().count(), text.lines().count());
        assert_eq!(words(text), "a b c e");
    }

    #[test]
    fn literals_vanish_and_lifetimes_stay() {
        assert_eq!(words(r#"x("unsafe \" y", 'u', '\'', b"z")"#), "x( , , , )");
        assert_eq!(words("f(r#\"a \" b\"#, br\"c\") + d"), "f( , ) + d");
        assert_eq!(words("&'a str, 'static, <'b>"), "&'a str, 'static, <'b>");
        assert_eq!(words("for r in bar { 'é'; r }"), "for r in bar { ; r }");
        assert_eq!(words("let s = \"//\"; t"), "let s = ; t");
        assert_eq!(words("r#type"), "r#type");
    }

    #[test]
    fn an_open_literal_or_comment_reaches_to_the_end() {
        assert_eq!(words("a \"b"), "a");
        assert_eq!(words("a /* b"), "a");
        assert_eq!(words("a r#\"b\""), "a");
    }

    #[test]
    fn the_workspace_is_read_with_relative_paths() {
        let sources = Sources::read(&crate::workspace::root()).unwrap();
        assert!(sources.file("xtask/src/check/source.rs").is_some());
        assert!(
            sources
                .file("kernel/Cargo.toml")
                .is_some_and(|file| !file.is_rust())
        );
    }
}

//! A fault's dump as a backtrace with names: functions, files and lines, inlined calls included.

use crate::symbols::{Frame, Symbols};
use crate::unwind::{FrameInfo, Walk};
use anyhow::Result;
use object::{Object, ObjectSection, SectionKind};
use std::fmt;
use std::path::Path;
use wire::fault::Dump;

/// Most equal lines that are shown one below the other.
const MOST_ALIKE: usize = 3;

fn is_like(one: &Frame, other: &Frame) -> bool {
    (&one.function, &one.location) == (&other.function, &other.location)
}

/// A symbolised backtrace, innermost frame first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backtrace {
    /// Its lines.
    pub frames: Vec<Frame>,
    /// What is wrong with it, where it is not whole.
    pub note: Option<String>,
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("backtrace:\n")?;
        let mut number = 0;
        for alike in self.frames.chunk_by(is_like) {
            // A recursion is not shown by the page.
            let shown = if alike.len() > MOST_ALIKE {
                1
            } else {
                alike.len()
            };
            for frame in &alike[..shown] {
                write!(f, "{number:>4}: {}", frame.function)?;
                match &frame.location {
                    Some(location) => writeln!(f, " at {location}")?,
                    None => writeln!(f, " ({:#x})", frame.address)?,
                }
                number += 1;
            }
            if shown < alike.len() {
                let more = alike.len() - shown;
                writeln!(f, "      … {more} more like it")?;
                number += more;
            }
        }
        match &self.note {
            Some(note) => writeln!(f, "      ({note})"),
            None => Ok(()),
        }
    }
}

impl Backtrace {
    /// The backtrace of `dump`, which came from the image at `elf` with contents `bytes`.
    pub fn new(elf: &Path, bytes: &[u8], dump: &Dump<'_>) -> Self {
        let symbolised = || -> Result<Self> {
            let info = frame_info(&object::File::parse(bytes)?)?;
            let symbols = Symbols::new(elf)?;
            let is_code = |address| info.is_code(address);
            Ok(Self::symbolise(&symbols, &info.walk(dump), &is_code))
        };
        symbolised().unwrap_or_else(|error| Self {
            frames: Vec::new(),
            note: Some(format!("no backtrace from {}: {error:#}", elf.display())),
        })
    }

    fn symbolise(symbols: &Symbols, walk: &Walk, is_code: &dyn Fn(u64) -> bool) -> Self {
        let mut frames = Vec::new();
        for (index, &address) in walk.addresses.iter().enumerate() {
            // All but the first are return addresses; the call is the instruction before.
            let probe = if index == 0 { address } else { address - 1 };
            if is_code(address) {
                let found = symbols.frames(probe);
                frames.extend(found.into_iter().map(|frame| Frame { address, ..frame }));
            } else {
                frames.push(Frame {
                    address,
                    function: "not code".to_owned(),
                    location: None,
                });
            }
        }
        Self {
            frames,
            note: walk.note.clone(),
        }
    }
}

fn frame_info<'a>(elf: &object::File<'a>) -> Result<FrameInfo<'a>> {
    let section = |name| -> Result<(&'a [u8], u64)> {
        match elf.section_by_name(name) {
            Some(section) => Ok((section.data()?, section.address())),
            None => Ok((&[], 0)),
        }
    };
    let code = elf
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
        .map(|section| section.address()..section.address() + section.size())
        .collect();
    Ok(FrameInfo {
        debug_frame: section(".debug_frame")?.0,
        eh_frame: section(".eh_frame")?,
        code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_is_numbered_and_says_where() {
        let frame = |function: &str, location: Option<&str>| Frame {
            address: 0x1234,
            function: function.into(),
            location: location.map(str::to_owned),
        };
        let backtrace = Backtrace {
            frames: vec![
                frame("kernel::mm::slab::free", Some("kernel/src/mm/slab.rs:120")),
                frame("_start", None),
            ],
            note: Some("the dump ends here".into()),
        };
        assert_eq!(
            backtrace.to_string(),
            "backtrace:\n   0: kernel::mm::slab::free at kernel/src/mm/slab.rs:120\n   \
             1: _start (0x1234)\n      (the dump ends here)\n"
        );
    }

    #[test]
    fn a_recursion_takes_two_lines() {
        let frame = |function: &str| Frame {
            address: 0x10,
            function: function.into(),
            location: None,
        };
        let mut frames = vec![frame("inner")];
        frames.resize(21, frame("recurse"));
        frames.push(frame("outer"));
        let text = Backtrace { frames, note: None }.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            "backtrace:",
            "   0: inner (0x10)",
            "   1: recurse (0x10)",
            "      … 19 more like it",
            "  21: outer (0x10)",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_file_that_is_no_elf_gives_a_note() {
        let dump = Dump {
            pc: 0,
            sp: 0,
            x: [0; 31],
            stack_start: 0,
            stack: &[],
        };
        let backtrace = Backtrace::new(Path::new("/nonexistent"), b"text", &dump);
        assert!(backtrace.frames.is_empty());
        assert!(
            backtrace
                .note
                .unwrap()
                .contains("no backtrace from /nonexistent")
        );
    }
}

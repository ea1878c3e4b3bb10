//! Names for code addresses of an image: functions, files and lines, inlined calls included.

use crate::workspace;
use addr2line::Loader;
use anyhow::{Result, anyhow};
use std::path::Path;

/// A call, or one that was inlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The code address; inlined calls share their caller's.
    pub address: u64,
    /// The function, `kernel::mm::slab::free`.
    pub function: String,
    /// Source file and line, relative to the workspace.
    pub location: Option<String>,
}

/// The debug information of an image.
pub struct Symbols(Loader);

impl Symbols {
    /// Reads that of the image at `elf`.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn new(elf: &Path) -> Result<Self> {
        let loader = Loader::new(elf).map_err(|error| anyhow!("{error}"))?;
        Ok(Self(loader))
    }

    /// The calls that the instruction at `address` is in, the innermost first; at least one.
    pub fn frames(&self, address: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        // Unreadable debug information leaves the symbol table to say where we are.
        let _ = self.push_frames(address, &mut frames);
        if frames.is_empty() {
            frames.push(Frame {
                address,
                function: self.symbol(address),
                location: None,
            });
        }
        frames
    }

    /// The function that was compiled to the instruction at `address`, by the symbol table.
    pub fn symbol(&self, address: u64) -> String {
        let symbol = self.0.find_symbol(address);
        symbol.map_or_else(|| "?".to_owned(), demangled)
    }

    fn push_frames(
        &self,
        address: u64,
        frames: &mut Vec<Frame>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let mut found = self.0.find_frames(address)?;
        while let Some(frame) = found.next()? {
            let function = match &frame.function {
                Some(function) => without_hash(&function.demangle()?).to_owned(),
                None => self.symbol(address),
            };
            let location = frame.location.and_then(|location| {
                Some(format!(
                    "{}:{}",
                    workspace::shown(location.file?),
                    location.line?
                ))
            });
            frames.push(Frame {
                address,
                function,
                location,
            });
        }
        Ok(())
    }
}

fn demangled(symbol: &str) -> String {
    without_hash(&addr2line::demangle_auto(symbol.into(), None)).to_owned()
}

/// `function` without the disambiguator that Rust's legacy mangling ends with.
fn without_hash(function: &str) -> &str {
    match function.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            path
        }
        _ => function,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSymbol};

    #[test]
    fn hashes_of_legacy_names_are_left_out() {
        assert_eq!(without_hash("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(without_hash("a::hash"), "a::hash");
    }

    #[inline(never)]
    fn a_function_whose_symbol_this_test_finds() -> u32 {
        std::hint::black_box(7)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_becomes_function_file_and_line() {
        assert_eq!(a_function_whose_symbol_this_test_finds(), 7);
        let path = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let elf = object::File::parse(&*bytes).unwrap();
        let address = elf
            .symbols()
            .find(|symbol| {
                symbol
                    .name()
                    .is_ok_and(|name| name.contains("whose_symbol_this_test_finds"))
            })
            .unwrap()
            .address();
        let frames = Symbols::new(&path).unwrap().frames(address);
        let frame = frames.last().unwrap();
        assert!(
            frame
                .function
                .ends_with("a_function_whose_symbol_this_test_finds"),
            "{frame:?}"
        );
        let location = frame.location.as_ref().unwrap();
        assert!(location.starts_with("xtask/src/symbols.rs:"), "{location}");
    }
}

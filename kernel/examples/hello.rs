//! A whole app: it counts the letters of a sentence on the heap, and exits 0.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::collections::BTreeMap;
use kernel::{ExitCode, println};

kernel::entry!(app);

fn app() -> ExitCode {
    let mut counts = BTreeMap::new();
    for letter in "a kernel is a library"
        .chars()
        .filter(|letter| letter.is_alphabetic())
    {
        *counts.entry(letter).or_insert(0_u32) += 1;
    }
    for (letter, count) in &counts {
        println!("{letter} {count}");
    }
    if counts[&'a'] == 3 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

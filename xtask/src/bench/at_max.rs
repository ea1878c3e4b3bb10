//! `cargo xtask bench --at-max ROW`: the slowest operation of a row, once more, instruction by
//! instruction.
//!
//! Runs are bit-identical, so the operation that was the slowest is so again: it is found by its number,
//! the machine is stopped before it by a breakpoint that lies outside of what is counted, and followed
//! through it by single steps. There are as many as the row's maximum says, or the run fails.

use super::format::{Format, grouped};
use super::report::Row;
use super::{Args, Images, build, json, load_traces, measure};
use crate::debugger::{self, Debugger};
use crate::image::Image;
use crate::symbols::{Frame, Symbols};
use crate::trace::Loaded;
use crate::{console, setup};
use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection, ObjectSymbol};
use serde::Serialize;
use std::fmt::Write;
use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv8::a64::InstDecoder;

/// What the image calls before the operation, its address in x0.
const STOP: &str = "bench_watched_operation";
/// What gdb is told to stop right before the operation.
const GDB: &str =
    " -ex 'tbreak bench_watched_operation' -ex continue -ex 'tbreak *$x0' -ex continue";
/// Instructions above which nobody would read them, and single steps take minutes.
const MOST_STEPS: usize = 200_000;
/// Bytes of an instruction.
const WORD: u64 = 4;

/// One operation, followed.
#[derive(Debug, Serialize)]
struct Followed {
    row: String,
    operation: u64,
    amount: u64,
    path: String,
    callee: String,
    instructions: usize,
    functions: Vec<Share>,
    steps: Vec<Step>,
}

/// How many of the instructions a function has, inlined ones apart from their callers.
#[derive(Debug, Serialize)]
struct Share {
    function: String,
    instructions: usize,
}

/// One instruction that ran.
#[derive(Debug, Serialize)]
struct Step {
    address: u64,
    instruction: String,
    function: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
}

/// Measures `row`, then reruns its slowest operation; returns the exit status.
///
/// # Errors
///
/// If there is no such row, a run fails, or the rerun is not what was measured.
pub(super) fn command(args: &Args, row: &str) -> Result<u8> {
    ensure!(
        matches!(args.format, Format::Text | Format::Json),
        "--at-max is written as text or json"
    );
    ensure!(
        !row.contains("/smp/"),
        "--at-max follows one core: {row} is made by several"
    );
    setup::ensure(args.machine.yes)?;
    let rerun = Rerun::new(args, row)?;
    if args.machine.gdb.is_some() {
        console::say(headline(&rerun.row));
        rerun.watch(&rerun.args, Some(GDB))?;
        return Ok(0);
    }
    let followed = rerun.followed()?;
    let text = match args.format {
        Format::Json => json::write(&followed)?,
        _ => text(&rerun.row, &followed),
    };
    super::write(args, &text)?;
    Ok(0)
}

/// Checks that the slowest operation of a hot row and of a mixed one can be followed, and that their first
/// instructions are those of the operation.
///
/// # Errors
///
/// If one cannot.
pub fn follows_what_was_measured() -> Result<()> {
    for row in ["kmalloc/64/alloc", "mixed/toggle/free"] {
        let args = Args {
            no_default_traces: true,
            ..Args::default()
        };
        let followed = Rerun::new(&args, row)?.followed()?;
        let callee = &followed.callee;
        ensure!(
            callee.starts_with("bench::ops::k"),
            "{row} begins in {callee}"
        );
        let last = &followed.steps[followed.steps.len() - 1];
        ensure!(
            last.instruction == "ret",
            "{row} ends with {}",
            last.instruction
        );
    }
    Ok(())
}

/// A row that was measured, and what it takes to measure it again.
struct Rerun {
    args: Args,
    images: Images,
    traces: Vec<Loaded>,
    row: Row,
}

impl Rerun {
    fn new(args: &Args, row: &str) -> Result<Self> {
        let args = Args {
            filter: row.to_owned(),
            ..args.clone()
        };
        let traces = load_traces(&args)?;
        let images = build(&args)?;
        let mut first = args.clone();
        first.machine.gdb = None;
        let mut rows = measure::measure(&first, &images, &traces)?.rows;
        let Some(index) = rows.iter().position(|found| found.name == row) else {
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            bail!("--at-max takes one row: {}", names.join(", "));
        };
        let row = rows.swap_remove(index);
        ensure!(row.n > 0, "{} has no samples", row.name);
        Ok(Self {
            args,
            images,
            traces,
            row,
        })
    }

    /// Boots again as `args` say, to halt before the slowest operation.
    fn watch(&self, args: &Args, gdb: Option<&str>) -> Result<()> {
        let at = self.row.slowest.operation;
        measure::watch(args, &self.images, &self.traces, at, gdb)
    }

    /// The slowest operation, instruction by instruction.
    fn followed(&self) -> Result<Followed> {
        let port = debugger::free_port()?;
        let mut args = self.args.clone();
        args.machine.gdb = Some(port);
        let image = self.images.of(&self.row.name);
        let stop = address_of(image, STOP)?;
        let max = self.row.max;
        let most = usize::try_from(max).unwrap_or(usize::MAX).min(MOST_STEPS) + 1;
        let follower = std::thread::spawn(move || follow(port, stop, most));
        let watched = self.watch(&args, None);
        let Ok(addresses) = follower.join() else {
            bail!("the debugger's thread panicked");
        };
        let addresses = addresses?;
        watched?;
        let instructions = addresses.len();
        ensure!(
            instructions as u64 == max,
            "the rerun took {instructions} instructions, the row's maximum is {max}: two runs differ"
        );
        symbolised(image, &self.row, &addresses)
    }
}

fn follow(port: u16, stop: u64, most: usize) -> Result<Vec<u64>> {
    let mut debugger = Debugger::connect(port)?;
    let mut at_operation = || {
        debugger.run_to(stop)?;
        let operation = debugger.first_argument()?;
        debugger.run_to(operation)?;
        debugger.follow(most)
    };
    match at_operation() {
        Ok(addresses) => debugger.detach().map(|()| addresses),
        Err(error) => {
            debugger.kill();
            Err(error)
        }
    }
}

fn address_of(image: &Image, name: &str) -> Result<u64> {
    let elf = object::File::parse(image.elf_bytes())?;
    let symbol = elf.symbols().find(|symbol| symbol.name() == Ok(name));
    Ok(symbol
        .with_context(|| format!("the image has no `{name}`"))?
        .address())
}

fn symbolised(image: &Image, row: &Row, addresses: &[u64]) -> Result<Followed> {
    let symbols = Symbols::new(&image.elf)?;
    let elf = object::File::parse(image.elf_bytes())?;
    let mut steps = Vec::new();
    for &address in addresses {
        let frame = of_interest(symbols.frames(address));
        steps.push(Step {
            address,
            instruction: instruction(&elf, &symbols, address),
            function: frame.function,
            location: frame.location,
        });
    }
    let mut functions: Vec<Share> = Vec::new();
    for step in &steps {
        match functions
            .iter_mut()
            .find(|share| share.function == step.function)
        {
            Some(share) => share.instructions += 1,
            None => functions.push(Share {
                function: step.function.clone(),
                instructions: 1,
            }),
        }
    }
    functions.sort_by_key(|share| std::cmp::Reverse(share.instructions));
    Ok(Followed {
        row: row.name.clone(),
        operation: row.slowest.operation,
        amount: row.slowest.amount,
        path: row.slowest.path.clone(),
        callee: symbols.symbol(addresses[0]),
        instructions: steps.len(),
        functions,
        steps,
    })
}

/// The innermost call outside of Rust's own library, whose inlined functions say little; the innermost of
/// all where there is no other.
fn of_interest(mut frames: Vec<Frame>) -> Frame {
    const LIBRARY: [&str; 3] = ["core/src/", "alloc/src/", "std/src/"];
    let is_ours = |frame: &Frame| {
        let location = frame.location.as_deref();
        location.is_some_and(|place| !LIBRARY.iter().any(|front| place.starts_with(front)))
    };
    let index = frames.iter().position(is_ours).unwrap_or(0);
    frames.swap_remove(index)
}

/// The instruction at `address` in words, the target of a direct call or jump to elsewhere by name.
fn instruction(elf: &object::File<'_>, symbols: &Symbols, address: u64) -> String {
    let section = elf.sections().find(|section| {
        let start = section.address();
        (start..start + section.size()).contains(&address)
    });
    let word = section.and_then(|section| section.data_range(address, WORD).ok().flatten());
    let Some(word) = word else {
        return "?".to_owned();
    };
    let decoded = InstDecoder::default().decode(&mut U8Reader::new(word));
    let text = decoded.map_or_else(|_| format!("? {word:02x?}"), |decoded| decoded.to_string());
    let Some((operation, distance)) = text.rsplit_once('$') else {
        return text;
    };
    let (sign, digits) = distance.split_at(1.min(distance.len()));
    let Ok(distance) = u64::from_str_radix(digits.trim_start_matches("0x"), 16) else {
        return text;
    };
    let target = match sign {
        "-" => address.wrapping_sub(distance),
        _ => address.wrapping_add(distance),
    };
    if operation.starts_with("bl ") {
        format!("{operation}{}", symbols.symbol(target))
    } else {
        format!("{operation}{target:#x}")
    }
}

/// What was the slowest, in a line.
fn headline(row: &Row) -> String {
    let slowest = &row.slowest;
    format!(
        "{}: operation {} of size or order {} took {} instructions: {}",
        row.name,
        grouped(slowest.operation),
        grouped(slowest.amount),
        grouped(row.max),
        slowest.path
    )
}

fn text(row: &Row, followed: &Followed) -> String {
    let mut text = headline(row) + "\n\ninstructions   share  function\n";
    for share in &followed.functions {
        let per_mille =
            (share.instructions * 1000 + followed.instructions / 2) / followed.instructions;
        let _ = writeln!(
            text,
            "{:>12}  {:>4}.{} %  {}",
            grouped(share.instructions as u64),
            per_mille / 10,
            per_mille % 10,
            share.function
        );
    }
    text.push('\n');
    let mut before = None;
    for (number, step) in (1..).zip(&followed.steps) {
        let place = (&step.function, &step.location);
        if before != Some(place) {
            let location = step.location.as_deref().unwrap_or("?");
            let _ = writeln!(text, "{} at {location}", step.function);
        }
        before = Some(place);
        let _ = writeln!(
            text,
            "{number:>7}  {:016x}  {}",
            step.address, step.instruction
        );
    }
    text
}

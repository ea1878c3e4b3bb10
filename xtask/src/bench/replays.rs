//! That the shipped traces replay on several cores at once: a test, which measures nothing.

use super::{Args, SHIPPED, load_traces};
use crate::console::Printer;
use crate::guest::{self, Boot};
use crate::image::{self, Image, Target};
use crate::machine::{MachineArgs, Size};
use crate::trace::Loaded;
use anyhow::{Result, ensure};

/// Cores, as threads of the host's, and memory: four times what all traces need.
const CORES: u32 = 4;
const MEMORY: Size = Size(1 << 30);

/// Replays all traces on each of four cores at once, and the threads of those that have some on a core
/// each.
///
/// # Errors
///
/// If a replay fails, an invariant is broken or memory is lost: then what the image said.
pub fn on_all_cores() -> Result<()> {
    let traces = load_traces(&Args {
        filter: "trace/*".to_owned(),
        ..Args::default()
    })?;
    ensure!(traces.len() == SHIPPED.len(), "a trace is missing");
    let image = image::build("bench", Target::Bin("bench"), &[])?;
    replay(&image, "replay-together", &traces)?;
    let threaded: Vec<Loaded> = traces.into_iter().filter(|one| one.threads > 1).collect();
    ensure!(!threaded.is_empty(), "no trace of several threads");
    replay(&image, "replay-threads", &threaded)
}

fn replay(image: &Image, command: &str, traces: &[Loaded]) -> Result<()> {
    let machine = MachineArgs {
        smp: Some(CORES),
        mem: Some(MEMORY),
        qemu: ["-accel", "tcg,thread=multi"].map(str::to_owned).to_vec(),
        timeout: Some(super::TIMEOUT_SECONDS),
        ..MachineArgs::default()
    };
    let boot = Boot {
        image,
        machine: &machine,
        command_line: format!("cmd={command}"),
        files: traces
            .iter()
            .map(|trace| (format!("trace:{}", trace.name), trace.bytes.clone()))
            .collect(),
        icount: false,
        disk: None,
        quiet: true,
        gdb: Some(""),
        folder: None,
    };
    let mut transcript = Printer::new(Vec::new(), false);
    let outcome = guest::boot(&boot, &mut |event| transcript.event(&event))?;
    let code = outcome.verdict();
    let (said, command) = (transcript.text(), &outcome.qemu_command);
    ensure!(code == Ok(0), "{code:?}\n{said}{command}");
    Ok(())
}

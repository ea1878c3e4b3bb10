//! The boots that a run consists of: a fresh machine for each family of rows.
//!
//! An allocator is never the same again after a workload: slabs exist, lists are full, blocks are split.
//! So each family (what one workload measures) and each trace has a machine to itself, which has just
//! booted. A row's figures then depend neither on which others were asked for nor on which stand before
//! it, and a run can be split between machines at will. A boot takes a tenth of a second.

use super::boots;
use super::measure::sized;
use super::peers;
use super::{Args, Images};
use crate::image::Image;
use crate::machine::{MachineArgs, Size};
use crate::trace::Loaded;
use anyhow::Result;
use wire::glob;

/// The machines whose boot is compared.
const BOOT_SIZES: [Size; 4] = [
    Size(128 << 20),
    Size(1 << 30),
    Size(8 << 30),
    Size(64 << 30),
];
/// The last words of the rows that a trace may have.
const OPERATIONS: [&str; 6] = [
    "alloc",
    "free",
    "zeroed",
    "realloc",
    "pages-alloc",
    "pages-free",
];
/// The family of the phases of boot.
const BOOT: &str = "boot";

/// One boot of a run.
#[derive(Debug)]
pub(super) struct Session<'a> {
    /// What is booted.
    pub(super) image: &'a Image,
    /// The image's command.
    pub(super) command: &'static str,
    /// What it measures: a filter that selects all rows of one family, and no others.
    pub(super) family: String,
    /// The rows and figures that are known to come of it.
    pub(super) rows: u64,
    /// What it replays.
    pub(super) traces: &'a [Loaded],
    /// The machine.
    pub(super) machine: MachineArgs,
    /// Its memory, if it is there to be compared with boots on machines of other sizes.
    pub(super) size: Option<Size>,
}

/// What is booted for the rows that `args` select, each machine sized before the first boots.
///
/// # Errors
///
/// If a trace fits no machine, or the image cannot list its rows.
pub(super) fn sessions<'a>(
    args: &'a Args,
    images: &'a Images,
    traces: &'a [Loaded],
) -> Result<Vec<Session<'a>>> {
    let asked = &args.machine;
    let mut sessions = Vec::new();
    for (family, rows) in families(args, images, traces)? {
        sessions.push(Session {
            rows,
            ..Session::new(images, &family, asked, peers::replayed(&family, traces))?
        });
    }
    for trace in traces.chunks(1) {
        for (family, command) in replays(args, &trace[0]) {
            sessions.push(Session {
                command,
                ..Session::new(images, &family, asked, trace)?
            });
        }
    }
    if args.boot_sizes || args.check {
        for size in BOOT_SIZES {
            let machine = MachineArgs {
                mem: Some(size),
                ..asked.clone()
            };
            machine.validate()?;
            sessions.push(Session {
                size: Some(size),
                ..Session::new(images, BOOT, &machine, &[])?
            });
        }
    }
    Ok(sessions)
}

impl<'a> Session<'a> {
    /// What it is called in a report.
    pub(super) fn label(&self) -> String {
        match self.size {
            Some(size) => format!("{}/{size}", self.family),
            None => self.family.clone(),
        }
    }

    /// What all sessions share that one machine has to boot, so that it can compare them.
    pub(super) fn group(&self) -> String {
        match self.size {
            Some(_) => format!("{}/SIZE", self.family),
            None => self.family.clone(),
        }
    }

    /// The boot that measures all that `args` select on a machine that boots once: the kernel's rows, or the
    /// line-up, or traces, as the filter begins.
    ///
    /// # Errors
    ///
    /// If a trace fits no machine.
    pub(super) fn of_filter(args: &Args, images: &'a Images, traces: &'a [Loaded]) -> Result<Self> {
        let is_of_traces = args.filter.starts_with("trace/");
        let traces = if is_of_traces { traces } else { &[] };
        Self::new(images, &args.filter, &args.machine, traces)
    }

    /// The boot that measures `family`, known by how its name begins.
    fn new(
        images: &'a Images,
        family: &str,
        machine: &MachineArgs,
        traces: &'a [Loaded],
    ) -> Result<Self> {
        let front = family.split('/').next().unwrap_or_default();
        let (image, command) = match (front, &images.contended) {
            ("trace", _) => (&images.main, "replay"),
            (peers::FRONT, _) => (&images.main, "peers"),
            ("contended", Some(image)) => (image, "contended"),
            _ => (&images.main, "bench"),
        };
        let bytes = image.flat("", &[])?.len() as u64;
        let machine = if front == peers::FRONT {
            peers::sized(machine, family, bytes, traces)
        } else {
            sized(machine, bytes, traces)?
        };
        Ok(Self {
            image,
            command,
            family: family.to_owned(),
            rows: 0,
            traces,
            machine,
            size: None,
        })
    }

    /// Whether it measures another crate's allocator, which may do anything.
    pub(super) fn is_of_a_peer(&self) -> bool {
        self.command == "peers"
    }
}

/// The families of `trace` that `args` select rows of, each with the image's command: on one core, and
/// where there are several and threads for them, on all.
pub(super) fn replays(args: &Args, trace: &Loaded) -> Vec<(String, &'static str)> {
    let family = format!("trace/{}", trace.name);
    let on_all_cores = trace.threads > 1 && args.machine.cores() > 1;
    let on_all_cores = on_all_cores.then(|| (format!("{family}/smp"), "replay-threads"));
    let wanted = |(family, _): &(String, _)| {
        let mut rows = OPERATIONS.iter().map(|one| format!("{family}/{one}"));
        rows.any(|row| glob::selects(&args.filter, &row))
    };
    let families = [(family, "replay")].into_iter().chain(on_all_cores);
    families.filter(wanted).collect()
}

/// The families that `args` select rows of, the kernel's traces aside, and how many rows, in order.
fn families(args: &Args, images: &Images, traces: &[Loaded]) -> Result<Vec<(String, u64)>> {
    let mut patterns = args.filter.split(',');
    if patterns.all(|pattern| pattern.split('/').next() == Some("trace")) {
        return Ok(Vec::new());
    }
    // The image always has ours among them.
    let line_up = args.has_line_up();
    let plan = boots::plan(args, &images.main, if line_up { traces } else { &[] })?;
    let rows = plan.iter().map(|(name, _)| name.as_str());
    Ok(by_family(rows.filter(|name| {
        let front = name.split('/').next();
        front != Some("trace") && (line_up || front != Some(peers::FRONT))
    })))
}

/// The families of `rows`, and how many rows are theirs.
fn by_family<'a>(rows: impl Iterator<Item = &'a str>) -> Vec<(String, u64)> {
    let mut families: Vec<(String, u64)> = Vec::new();
    for row in rows {
        let family = row.rsplit_once('/').map_or(row, |(family, _)| family);
        match families.last_mut() {
            Some((last, rows)) if last == family => *rows += 1,
            _ => families.push((family.to_owned(), 1)),
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::memory::Footprint;

    #[test]
    fn threads_get_a_boot_of_their_own_where_there_are_cores_for_them() {
        let mut trace = Loaded {
            name: "x".to_owned(),
            bytes: Vec::new(),
            footprint: Footprint::default(),
            threads: 1,
        };
        let families = |filter: &str, smp, trace: &Loaded| -> Vec<String> {
            let mut args = Args {
                filter: filter.to_owned(),
                ..Args::default()
            };
            args.machine.smp = Some(smp);
            let replays = replays(&args, trace).into_iter();
            replays.map(|(family, _)| family).collect()
        };
        assert_eq!(families("*", 4, &trace), ["trace/x"]);
        trace.threads = 2;
        assert_eq!(families("*", 1, &trace), ["trace/x"]);
        assert_eq!(families("trace/x", 4, &trace), ["trace/x", "trace/x/smp"]);
        assert_eq!(families("trace/x/smp", 4, &trace), ["trace/x/smp"]);
        assert_eq!(families("trace/x/free", 4, &trace), ["trace/x"]);
        assert!(families("trace/y", 4, &trace).is_empty());
    }

    #[test]
    fn rows_of_one_workload_share_a_boot() {
        let rows = [
            "boot/entry",
            "boot/total",
            "pages/churn62/alloc",
            "pages/churn62/recovered",
            "mixed/toggle/free",
            "mixed/toggle-linux/free",
        ];
        let families = by_family(rows.into_iter());
        let families: Vec<(&str, u64)> = families
            .iter()
            .map(|(name, rows)| (name.as_str(), *rows))
            .collect();
        let expected = [
            ("boot", 2),
            ("pages/churn62", 2),
            ("mixed/toggle", 1),
            ("mixed/toggle-linux", 1),
        ];
        assert_eq!(families, expected);
    }
}

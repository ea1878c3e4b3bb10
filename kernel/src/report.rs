//! What the machine's memory is and who has it: the reports of every part, printed or sent to the host.
//!
//! A report is made of [`wire::report`] records. [`Report`] prints them as text; [`at_end`] sends those
//! that the run parameter `report=NAME,…` names, when the app has ended.

mod leaks;
mod places;

use crate::{
    console, dma,
    mm::{
        frames,
        report::{self, Rows},
        slab::SLAB,
    },
    vm,
};
use core::fmt;
use wire::{
    frame::Channel,
    report::{Kind, MOST_BYTES, Record, Text, encode},
};

pub use wire::report::{Kind as ReportKind, Size};

/// A report as text, as things are when it is displayed.
#[derive(Clone, Copy, Debug)]
pub struct Report(pub Kind);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut text, mut result) = (Text::new(f), Ok(()));
        rows(self.0, &mut |row| {
            if result.is_ok() {
                result = text.record(row);
            }
        });
        result
    }
}

/// Notes what is in use when the app begins, if a report of leaks was asked for.
pub fn at_start() {
    if wanted().any(|kind| kind == Kind::Leaks) {
        leaks::note();
    }
}

/// Sends the reports that were asked for.
pub fn at_end() {
    wanted().for_each(send);
}

/// The reports that the run parameters name, in the order of [`Kind::ALL`].
fn wanted() -> impl Iterator<Item = Kind> {
    let names = crate::params().value("report").unwrap_or_default();
    let is_named = move |kind: &Kind| names.split(',').any(|name| name == kind.name());
    Kind::ALL.into_iter().filter(is_named)
}

fn send(report: Kind) {
    let mut sent = 0;
    send_record(&Record::Begin(report));
    rows(report, &mut |row| sent += u32::from(send_record(row)));
    send_record(&Record::End { report, rows: sent });
}

/// Sends one record; whether it fitted.
fn send_record(record: &Record<'_>) -> bool {
    let mut buffer = [0; MOST_BYTES];
    let encoded = encode(record, &mut buffer);
    if let Ok(bytes) = encoded {
        console::frame(Channel::Report, bytes);
    }
    encoded.is_ok()
}

/// Hands out the rows of a report.
fn rows(report: Kind, rows: &mut Rows<'_>) {
    let Some(frames) = frames::global() else {
        return;
    };
    match report {
        Kind::Layout => places::layout(rows),
        Kind::Iomem => places::iomem(rows),
        Kind::Meminfo => meminfo(frames, rows),
        Kind::Vmstat => report::vmstat(frames, &SLAB, rows),
        Kind::Buddyinfo => report::buddyinfo(frames, rows),
        Kind::Pagetypeinfo => report::pagetypeinfo(frames, rows),
        Kind::Zoneinfo => report::zoneinfo(frames, rows),
        Kind::Slabinfo => report::slabinfo(&SLAB, rows),
        Kind::Vmallocinfo => vm::report::areas(rows),
        Kind::Ptdump => vm::report::mappings(rows),
        Kind::Failures => report::failures(frames, rows),
        Kind::Leaks => leaks::rows(frames, rows),
        #[cfg(feature = "call-sites")]
        Kind::Callsites => crate::mm::call_sites::rows(rows),
        #[cfg(not(feature = "call-sites"))]
        Kind::Callsites => {}
    }
}

fn meminfo(frames: &frames::Frames<'_>, rows: &mut Rows<'_>) {
    let mut info = report::meminfo(frames, &SLAB);
    let all = vm::layout::VMALLOC;
    info.vmalloc_total_bytes = all.end.get() - all.start.get();
    vm::report::areas(&mut |row| {
        if let Record::Area(area) = row {
            info.vmalloc_used_bytes += area.frames * crate::mm::addr::PAGE_BYTES;
        }
    });
    if let Some(pool) = dma::statistics() {
        info.dma_total_bytes = pool.total_bytes;
        info.dma_free_bytes = pool.free_bytes;
    }
    rows(&Record::Meminfo(info));
}

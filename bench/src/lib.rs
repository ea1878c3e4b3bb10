//! The measuring instrument: what every allocation costs, to the instruction.
//!
//! An app on the kernel's library, in two halves. The one that decides (what is drawn, what is
//! allocated, what counts as a sample) is plain code, tested on the host:
//!
//! - [`generator`]: random numbers, sizes and orders, bit for bit the published ones;
//! - [`workload`]: sequences of operations on a [`workload::Subject`];
//! - [`replay`]: recorded traces, with every object stamped and verified;
//! - [`threads`]: a trace's threads, each on a core, in the order that their objects impose;
//! - [`peers`]: other crates' allocators, and the check that each must pass first;
//! - [`hunt`]: the search for the costliest single operation;
//! - [`samples`]: histograms of fixed size; [`plan`]: which rows there are; [`name`]: their names.
//!
//! The other half touches the machine and exists in an image only: `meter` (two counter reads around
//! one call), `ops` (the calls), `subject` and `heap` (workloads and traces on those), `reserve` (free
//! memory of a known size), `scratch` and `table` (the harness's own memory), `rows` and `run` (what each
//! family does, row after row), `traces` (theirs), `cores` (what takes several of them), `map` (memory
//! drawn), `moving` (compaction), `hunting` (hunts), `replays` (all traces on all cores), `report` (what
//! the host is told).
//!
//! # What a figure means
//!
//! The cost of an operation is what the counter moved from the callee's first instruction through its
//! return: a lone `ret` costs 1. It is instructions where the machine counts them (QEMU with
//! `-icount`), and then every run gives the same figures; it is cycles on a board.
#![cfg_attr(target_os = "none", no_std)]

pub mod generator;
pub mod hunt;
pub mod name;
pub mod peers;
pub mod plan;
pub mod replay;
pub mod samples;
pub mod stamp;
pub mod threads;
pub mod workload;

#[cfg(target_os = "none")]
pub mod cores;
#[cfg(target_os = "none")]
pub mod heap;
#[cfg(target_os = "none")]
pub mod hunting;
#[cfg(target_os = "none")]
pub mod map;
#[cfg(target_os = "none")]
pub mod meter;
#[cfg(target_os = "none")]
pub mod moving;
#[cfg(target_os = "none")]
pub mod ops;
#[cfg(target_os = "none")]
pub mod replays;
#[cfg(target_os = "none")]
pub mod report;
#[cfg(target_os = "none")]
pub mod reserve;
#[cfg(target_os = "none")]
pub mod rows;
#[cfg(target_os = "none")]
pub mod run;
#[cfg(target_os = "none")]
pub mod scratch;
#[cfg(target_os = "none")]
pub mod self_check;
#[cfg(target_os = "none")]
pub mod subject;
#[cfg(target_os = "none")]
pub mod table;
#[cfg(target_os = "none")]
pub mod traces;

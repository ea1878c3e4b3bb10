//! That a browser shows the page whole, complains of nothing and requests nothing.
//!
//! Chromium runs without a window. It prints the document as its engine has it after the script ran, logs
//! what a page's console gets, and writes what its network stack was asked for. The browser asks for
//! things of its own accord too; those have no page as their origin, and its resolver knows no names, so
//! that nothing leaves. A page that does request and complain is opened as well, to know that it would be
//! noticed.

use super::{format, page};
use crate::bench::exact;
use crate::bench::report::Report;
use crate::process::Child;
use crate::setup::browser;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long opening a page may take; it takes two seconds.
const LIMIT: Duration = Duration::from_secs(120);
/// Rows that are measured for it: some of several paths, some of a single cost, and boot.
const FILTER: &str = "boot,*/64/*,mixed/toggle,pages/mix";
/// How the browser's own requests are marked.
const OWN: &str = "not an origin";
/// What the network log calls a request.
const REQUEST: &str = "URL_REQUEST_START_JOB";
/// A page that requests two things and complains twice.
const FAULTY: &str = "<!DOCTYPE html><title>x</title><img src=\"http://example.invalid/a.png\">\
    <script>fetch('https://example.invalid/b').catch(() => {}); console.error('oh'); missing()</script>";

/// What became of a page.
#[derive(Debug)]
struct Seen {
    /// The document, after scripts.
    document: String,
    /// What its console got.
    console: Vec<String>,
    /// What it requested.
    requests: Vec<String>,
}

/// Checks the page of a report that is measured for it.
///
/// # Errors
///
/// [`browser::NoBrowser`] if there is none; or what is wrong with the page.
pub fn opens() -> Result<()> {
    let (program, _) = browser::find()?;
    let faulty = open(&program, FAULTY)?;
    ensure!(
        faulty.requests.len() == 2 && faulty.console.len() == 2,
        "a page that requests and complains was not caught at it: {faulty:?}"
    );
    let report = exact::measured(&exact::args(FILTER, 1))?;
    let seen = open(&program, &page(&report, &[])?)?;
    let Seen {
        console, requests, ..
    } = &seen;
    ensure!(requests.is_empty(), "the page requests {requests:?}");
    ensure!(console.is_empty(), "the page complains: {console:?}");
    // The script shows what only it makes useful.
    ensure!(
        seen.document.contains("<p id=\"filter\">"),
        "the script did not run"
    );
    shows(&seen.document, &report)
}

/// Checks that every row of `report` is in `document` with all its figures.
fn shows(document: &str, report: &Report) -> Result<()> {
    ensure!(!report.rows.is_empty(), "nothing was measured");
    for row in &report.rows {
        let figures = format::figures(row);
        let cells: String = figures
            .iter()
            .map(|figure| format!("<td>{figure}</td>"))
            .collect();
        let mut lines = document.split("<tr data-row=\"").skip(1);
        let name = format!("{}\"", row.name);
        let line = lines.find_map(|line| line.strip_prefix(&name));
        let line = line.and_then(|line| line.split("</tr>").next());
        let line = line.with_context(|| format!("{} is not on the page", row.name))?;
        ensure!(
            line.ends_with(&cells),
            "{} is {line}, not {cells}",
            row.name
        );
    }
    Ok(())
}

/// Opens a page.
fn open(program: &OsStr, text: &str) -> Result<Seen> {
    let folder = tempfile::tempdir().context("no folder for a page")?;
    let at = |name: &str| folder.path().join(name);
    let (file, log) = (at("page.html"), at("net.json"));
    std::fs::write(&file, text).context("cannot write a page")?;
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let mut command = Command::new(program);
    command
        // The page is ours, and containers forbid the sandbox.
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--enable-logging=stderr",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ])
        .args(["--virtual-time-budget=2000", "--dump-dom"])
        .arg(option("user-data-dir", &at("profile")))
        .arg(option("log-net-log", &log))
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .stdout(File::create(at("document"))?)
        .stderr(File::create(at("messages"))?);
    let child = Child::spawn(&mut command)?;
    let status = child.wait_until(Some(Instant::now() + LIMIT))?;
    let messages = std::fs::read(at("messages"))?;
    let messages = String::from_utf8_lossy(&messages);
    match status {
        Some(status) if status.success() => {}
        Some(status) => bail!("the browser failed ({status}):\n{messages}"),
        None => bail!(
            "the browser took longer than {} s:\n{messages}",
            LIMIT.as_secs()
        ),
    }
    let console = messages.lines().filter(|line| line.contains(":CONSOLE"));
    Ok(Seen {
        document: std::fs::read_to_string(at("document")).context("no document")?,
        console: console.map(str::to_owned).collect(),
        requests: requests(&std::fs::read_to_string(log).context("no log of requests")?)?,
    })
}

/// The log of Chromium's network stack, as far as it is read.
#[derive(Deserialize)]
struct NetLog {
    constants: Constants,
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Constants {
    log_event_types: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
struct Event {
    r#type: u32,
    #[serde(default)]
    params: Parameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    initiator: Option<String>,
    url: Option<String>,
}

/// The addresses that pages requested, by a network log.
fn requests(log: &str) -> Result<Vec<String>> {
    let log: NetLog = serde_json::from_str(log).context("the log of requests is cut off")?;
    let types = &log.constants.log_event_types;
    let request = *types.get(REQUEST).context("the log knows no requests")?;
    let events = log
        .events
        .into_iter()
        .filter(|event| event.r#type == request);
    let of_pages = events.filter(|event| {
        event
            .params
            .initiator
            .as_deref()
            .is_some_and(|by| by != OWN)
    });
    Ok(of_pages.filter_map(|event| event.params.url).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_from_the_browser_by_its_requests() {
        let log = r#"{"constants": {"logEventTypes": {"URL_REQUEST_START_JOB": 7, "X": 8}}, "events": [
            {"type": 7, "params": {"initiator": "not an origin", "url": "https://own"}},
            {"type": 7, "params": {"initiator": "null", "url": "http://page"}},
            {"type": 7}, {"type": 8, "params": {"initiator": "null", "url": "http://no"}}]}"#;
        assert_eq!(requests(log).unwrap(), ["http://page"]);
        assert!(requests(&log[..90]).is_err());
    }

    #[test]
    fn a_row_with_another_figure_is_not_shown() {
        let row = super::super::tests::row("a/alloc", &[(20, 5)]);
        let report = Report {
            rows: vec![row],
            ..Report::default()
        };
        let text = page(&report, &[]).unwrap();
        shows(&text, &report).unwrap();
        let wrong = text.replace("<td>779</td>", "<td>780</td>");
        assert!(shows(&wrong, &report).is_err());
        let without = text.replace("data-row=\"a/alloc\"", "");
        let error = shows(&without, &report).unwrap_err().to_string();
        assert_eq!(error, "a/alloc is not on the page");
    }
}

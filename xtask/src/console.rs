//! What the guest says, as the user sees it.

use crate::guest::Event;
use crate::log::{Level, LogLine};
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Says a line about what is done, on standard error. Whoever reads it may go away.
pub fn say(line: impl Display) {
    #[cfg(not(test))]
    let _ = writeln!(io::stderr(), "{line}");
    // What goes through the macro is shown with the test that failed, and else not at all.
    #[cfg(test)]
    #[expect(clippy::print_stderr, reason = "the reader of a test stays")]
    {
        eprintln!("{line}");
    }
}

/// Writes what a command was asked for, as it is, to standard output.
///
/// # Errors
///
/// As from the system, but for a reader that has read enough and closed its end (`| head`).
pub fn result(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints events.
///
/// A terminal gets colours unless `NO_COLOR` is set. Whoever reads us may go away; that must not
/// stop the run, so failures to write are ignored.
#[derive(Debug)]
pub struct Printer<W> {
    out: W,
    colours: bool,
    /// Whether the last thing printed ended its line.
    line_ended: bool,
}

impl Printer<io::Stdout> {
    /// A printer to standard output.
    pub fn stdout() -> Self {
        let out = io::stdout();
        let colours = out.is_terminal() && colours_wanted();
        Self::new(out, colours)
    }
}

impl Printer<io::Stderr> {
    /// A printer to standard error, for commands whose standard output is a report.
    pub fn stderr() -> Self {
        let out = io::stderr();
        let colours = out.is_terminal() && colours_wanted();
        Self::new(out, colours)
    }
}

impl Printer<Vec<u8>> {
    /// What has been printed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl<W: Write> Printer<W> {
    /// A printer to `out`.
    pub const fn new(out: W, colours: bool) -> Self {
        Self {
            out,
            colours,
            line_ended: true,
        }
    }

    /// Prints `event`; records and control messages are for programs and are left out.
    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Log(line) => {
                let line = self.log_line(line);
                self.whole_line(&line);
            }
            Event::Text(text) | Event::Plain(text) => self.text_as_it_is(text),
            Event::Fault(backtrace) => self.whole_line(backtrace.to_string().trim_end()),
            Event::Bench(_) | Event::Report(_) | Event::Control(_) => {}
        }
        let _ = self.out.flush();
    }

    fn text_as_it_is(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
        if let Some(last) = text.bytes().last() {
            self.line_ended = last == b'\n';
        }
    }

    fn whole_line(&mut self, line: &str) {
        let begin = if self.line_ended { "" } else { "\n" };
        let _ = writeln!(self.out, "{begin}{line}");
        self.line_ended = true;
    }

    fn log_line(&self, line: &LogLine) -> String {
        let paint = |code: &str, text: &str| match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let level = line.level.map_or("", Level::name).to_uppercase();
        let level = paint(line.level.map_or("0", colour), &format!("[{level:<5}]"));
        let mut out = level;
        if let Some(time) = &line.time {
            out.push_str(&format!(" {time:>12}"));
        }
        let module = line.module.as_deref().unwrap_or_default();
        let location = line.location.as_deref().unwrap_or_default();
        let from = [module, location].join(" ");
        if !from.trim().is_empty() {
            out.push_str(&format!(" {}", paint("2", from.trim())));
        }
        format!("{out}  {}", line.message)
    }
}

/// The ANSI colour of a level.
const fn colour(level: Level) -> &'static str {
    match level {
        Level::Trace => "2",
        Level::Debug => "34",
        Level::Info => "32",
        Level::Warn => "33",
        Level::Error => "1;31",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> LogLine {
        LogLine {
            level: Some(Level::Warn),
            time: Some("0.012345".into()),
            module: Some("kernel::mm::slab".into()),
            location: Some("kernel/src/mm/slab.rs:42".into()),
            message: "cache is full".into(),
        }
    }

    fn printed(colours: bool, events: &[Event<'_>]) -> String {
        let mut printer = Printer::new(Vec::new(), colours);
        events.iter().for_each(|event| printer.event(event));
        printer.text()
    }

    #[test]
    fn a_log_line_has_level_time_module_place_and_message() {
        assert_eq!(
            printed(false, &[Event::Log(line())]),
            "[WARN ]     0.012345 kernel::mm::slab kernel/src/mm/slab.rs:42  cache is full\n"
        );
        assert!(printed(true, &[Event::Log(line())]).starts_with("\x1b[33m[WARN ]\x1b[0m"));
    }

    #[test]
    fn a_log_line_does_not_continue_a_line_of_text() {
        let events = [
            Event::Text("half a line"),
            Event::Log(line()),
            Event::Plain("whole\n"),
        ];
        let printed = printed(false, &events);
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!((lines[0], lines[2]), ("half a line", "whole"));
        assert!(lines[1].ends_with("cache is full"));
    }
}

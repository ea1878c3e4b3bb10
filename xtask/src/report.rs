//! Reports on a machine's memory: gathered from its records, printed as text or as JSON.
//!
//! Nothing is believed of a report before its end marker has come and counts the rows that arrived.

mod sites;

use serde_json::{Map, Value, json};
use sites::Sites;
use std::fmt;
use std::path::Path;
use wire::report::{Kind, Place, Record, Text};

/// What a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// One report.
    One(Kind),
    /// Every report that an ordinary image makes: all but the call sites.
    All,
}

impl Selection {
    /// The names that select something.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Kind::ALL.into_iter().map(Kind::name).chain(["all"])
    }

    /// What `name`, one of [`names`](Self::names), selects.
    pub fn from_name(name: &str) -> Self {
        Kind::from_name(name).map_or(Self::All, Self::One)
    }

    const fn includes(self, kind: Kind) -> bool {
        match self {
            Self::One(one) => one as u8 == kind as u8,
            Self::All => !matches!(kind, Kind::Callsites),
        }
    }
}

/// How reports are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// As Linux prints them; several have their names above them
    #[default]
    Text,
    /// One object, with a key for each report
    Json,
}

/// Why a report cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportError {
    /// It never began.
    Missing(Kind),
    /// Its end marker never came, or counts other rows than arrived.
    Truncated {
        /// Which one.
        report: Kind,
        /// How many rows arrived.
        arrived: u32,
        /// How many the end marker counts, if it came.
        sent: Option<u32>,
    },
    /// A row of another report stands in it.
    Mixed(Kind),
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(report) => write!(f, "the image sent no {}", report.name()),
            Self::Truncated {
                report,
                arrived,
                sent,
            } => {
                write!(f, "{} is truncated: {arrived} rows arrived", report.name())?;
                match sent {
                    Some(sent) => write!(f, " of {sent}"),
                    None => f.write_str(" and no end marker"),
                }
            }
            Self::Mixed(report) => {
                write!(f, "{} holds rows of another report", report.name())
            }
        }
    }
}

impl std::error::Error for ReportError {}

/// One report.
#[derive(Debug)]
struct Report {
    kind: Kind,
    text: Text<String>,
    json: Value,
    rows: u32,
    sent: Option<u32>,
    mixed: bool,
}

impl Report {
    fn new(kind: Kind) -> Self {
        let lists = kind.lists().iter();
        let json = match kind.is_list() {
            true => json!([]),
            false => lists
                .map(|list| ((*list).to_owned(), json!([])))
                .collect::<Map<_, _>>()
                .into(),
        };
        Self {
            kind,
            text: Text::new(String::new()),
            json,
            rows: 0,
            sent: None,
            mixed: false,
        }
    }

    fn show(&mut self, place: Place, record: &Record<'_>) {
        // Neither writing to a string nor making JSON of plain data fails.
        let _ = self.text.record(record);
        let row = row_as_json(record);
        match place {
            Place::Fields => {
                if let (Value::Object(fields), Value::Object(row)) = (&mut self.json, row) {
                    fields.extend(row);
                }
            }
            Place::Item => self
                .json
                .as_array_mut()
                .into_iter()
                .for_each(|list| list.push(row.clone())),
            Place::ItemOf(list) => {
                let list = self.json[list].as_array_mut();
                list.into_iter().for_each(|list| list.push(row.clone()));
            }
        }
    }

    fn check(&self) -> Result<(), ReportError> {
        if self.mixed {
            return Err(ReportError::Mixed(self.kind));
        }
        if self.sent == Some(self.rows) {
            return Ok(());
        }
        Err(ReportError::Truncated {
            report: self.kind,
            arrived: self.rows,
            sent: self.sent,
        })
    }
}

/// A row's fields.
fn row_as_json(record: &Record<'_>) -> Value {
    let row = match record {
        Record::Counter(counter) => Ok(json!({ counter.name: counter.count })),
        Record::Begin(_) | Record::End { .. } => Ok(Value::Null),
        Record::Region(row) | Record::Mapped(row) => serde_json::to_value(row),
        Record::Resource(row) => serde_json::to_value(row),
        Record::Meminfo(row) => serde_json::to_value(row),
        Record::FreeBlocks(row) => serde_json::to_value(row),
        Record::PageTypes(row) => serde_json::to_value(row),
        Record::FreeOfType(row) => serde_json::to_value(row),
        Record::PageBlocks(row) => serde_json::to_value(row),
        Record::Zone(row) => serde_json::to_value(row),
        Record::Pageset(row) => serde_json::to_value(row),
        Record::Cache(row) => serde_json::to_value(row),
        Record::Area(row) => serde_json::to_value(row),
        Record::Mapping(row) => serde_json::to_value(row),
        Record::Failure(row) => serde_json::to_value(row),
        Record::Leaks(row) => serde_json::to_value(row),
        Record::Leak(row) => serde_json::to_value(row),
        Record::CallSites(row) => serde_json::to_value(row),
        Record::CallSite(row) => serde_json::to_value(row),
    };
    row.unwrap_or_default()
}

/// The reports that were asked for, as far as they have arrived.
#[derive(Debug, Default)]
pub struct Reports {
    wanted: Vec<Kind>,
    arrived: Vec<Report>,
    /// Rows of the call sites, until all are there.
    sites: Sites,
}

impl Reports {
    /// Those of `selections`, none of which has arrived yet.
    pub fn new(selections: &[Selection]) -> Self {
        let selected = |kind: &Kind| selections.iter().any(|selection| selection.includes(*kind));
        Self {
            wanted: Kind::ALL.into_iter().filter(selected).collect(),
            arrived: Vec::new(),
            sites: Sites::default(),
        }
    }

    /// Says where the image lies in which call sites are looked up.
    pub fn look_up_in(&mut self, elf: &Path) {
        self.sites.look_up_in(elf);
    }

    /// Whether none was asked for.
    pub const fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether `kind` was asked for.
    pub fn wants(&self, kind: Kind) -> bool {
        self.wanted.contains(&kind)
    }

    /// The run parameter that asks the image for them; empty for none.
    pub fn parameter(&self) -> String {
        let names: Vec<&str> = self.wanted.iter().map(|kind| kind.name()).collect();
        match names.is_empty() {
            true => String::new(),
            false => format!("report={}", names.join(",")),
        }
    }

    /// Takes the next record.
    pub fn take(&mut self, record: &Record<'_>) {
        match (record, self.arrived.last_mut()) {
            (Record::Begin(kind), _) => self.arrived.push(Report::new(*kind)),
            (Record::End { report, rows }, Some(last)) if last.kind == *report => {
                last.sent = Some(*rows);
                self.sites
                    .drain(|row| last.show(Place::ItemOf("sites"), row));
            }
            (Record::CallSite(row), Some(last)) if last.kind == Kind::Callsites => {
                last.rows += 1;
                self.sites.add(row);
            }
            (record, Some(last)) => match record.place() {
                Some((kind, place)) if kind == last.kind => {
                    last.rows += 1;
                    last.show(place, record);
                }
                _ => last.mixed = true,
            },
            // A row before any beginning: its report is missing.
            (_, None) => {}
        }
    }

    /// All of them, in one text.
    ///
    /// # Errors
    ///
    /// The first that is not whole.
    pub fn render(&self, format: Format) -> Result<String, ReportError> {
        let reports = self.whole()?;
        if format == Format::Json {
            let keys = reports.iter().map(|report| {
                let name = report.kind.name().to_owned();
                (name, report.json.clone())
            });
            return Ok(format!("{:#}\n", Value::Object(keys.collect())));
        }
        let titled = |report: &&Report| {
            let text = report.text.as_inner();
            format!("==> {} <==\n{text}", report.kind.name())
        };
        Ok(match reports[..] {
            [one] => one.text.as_inner().clone(),
            _ => reports.iter().map(titled).collect::<Vec<_>>().join("\n"),
        })
    }

    fn whole(&self) -> Result<Vec<&Report>, ReportError> {
        let find = |&kind: &Kind| {
            let report = self.arrived.iter().find(|report| report.kind == kind);
            let report = report.ok_or(ReportError::Missing(kind))?;
            report.check().map(|()| report)
        };
        self.wanted.iter().map(find).collect()
    }
}

#[cfg(test)]
mod tests;

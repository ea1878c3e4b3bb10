//! A report in Bencher Metric Format, for services that track figures over time.
//!
//! The format: an object of benchmarks, each an object of measures, each with `value` and, where there
//! are bounds, `lower_value` and `upper_value` (<https://bencher.dev/docs/reference/bencher-metric-format/>).

use super::host::HostReport;
use super::report::{Report, Row};
use serde_json::{Map, Value, json};

/// `report` in this format: of a row the mean between minimum and maximum, in the unit counted, its p99,
/// p99.9 and first operation; of a figure that is no latency the figure, in its unit.
pub fn write(report: &Report) -> serde_json::Result<String> {
    let rows = report
        .rows
        .iter()
        .map(|row| (row.name.clone(), of_row(row, &report.unit)));
    let values = report.values.iter().map(|value| {
        let measure = measure(&value.unit);
        (
            value.name.clone(),
            json!({ measure: { "value": value.value } }),
        )
    });
    let benchmarks: Map<String, Value> = rows.chain(values).collect();
    super::json::write(&benchmarks)
}

/// What was measured on the host: a benchmark for each row, number of threads and allocator.
pub fn of_host(report: &HostReport) -> serde_json::Result<String> {
    let rows = report.rows.iter().map(|row| {
        let name = format!("{}/{}/{}", row.name, row.threads, row.allocator);
        let cost = json!({
            "value": row.median,
            "lower_value": row.lower_quartile,
            "upper_value": row.upper_quartile,
        });
        (name, json!({ measure(report.unit): cost }))
    });
    super::json::write(&rows.collect::<Map<String, Value>>())
}

fn of_row(row: &Row, unit: &str) -> Value {
    json!({
        measure(unit): { "value": row.mean, "lower_value": row.min, "upper_value": row.max },
        "p99": { "value": row.p99 },
        "p999": { "value": row.p999 },
        "cold": { "value": row.cold },
    })
}

/// A measure is known by a slug.
fn measure(unit: &str) -> String {
    unit.to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report;

    #[test]
    fn every_row_and_figure_is_a_benchmark_with_measures() {
        let report = Report {
            unit: "instructions".into(),
            rows: vec![Row {
                name: "kmalloc/64/alloc".into(),
                min: 20,
                max: 715,
                mean: 23.5,
                p999: 445,
                ..Row::default()
            }],
            values: vec![report::Value {
                name: "held/65536/ratio".into(),
                value: 1100,
                unit: "per mille".into(),
            }],
            ..Report::default()
        };
        let read: Value = serde_json::from_str(&write(&report).unwrap()).unwrap();
        let cost = &read["kmalloc/64/alloc"]["instructions"];
        assert_eq!(
            cost,
            &json!({ "value": 23.5, "lower_value": 20, "upper_value": 715 })
        );
        assert_eq!(read["kmalloc/64/alloc"]["p999"]["value"], 445);
        assert_eq!(read["held/65536/ratio"]["per-mille"]["value"], 1100);
    }
}

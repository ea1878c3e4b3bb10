//! Reports whole and torn.

use super::*;
use wire::report::{Address, Counter, Meminfo, Resource};

const MEMINFO: Record<'static> = Record::Meminfo(Meminfo {
    total_bytes: 1 << 20,
    free_bytes: 4096,
    page_lists_bytes: 0,
    peak_used_bytes: 0,
    slab_bytes: 0,
    slab_live_bytes: 0,
    frame_table_bytes: 0,
    vmalloc_total_bytes: 0,
    vmalloc_used_bytes: 0,
    dma_total_bytes: 0,
    dma_free_bytes: 0,
    allocation_failures: 0,
});

const MEMORY: Record<'static> = Record::Resource(Resource {
    name: "System RAM",
    depth: 0,
    mapped: true,
    start: Address(0x4000_0000),
    end: Address(0x6000_0000),
});

const fn end(report: Kind, rows: u32) -> Record<'static> {
    Record::End { report, rows }
}

fn reports(wanted: &[Kind], records: &[Record<'_>]) -> Reports {
    let selections: Vec<_> = wanted.iter().copied().map(Selection::One).collect();
    let mut reports = Reports::new(&selections);
    records.iter().for_each(|record| reports.take(record));
    reports
}

#[test]
fn one_report_is_nothing_but_its_text_and_several_have_titles() {
    let records = [
        Record::Begin(Kind::Iomem),
        MEMORY,
        end(Kind::Iomem, 1),
        Record::Begin(Kind::Meminfo),
        MEMINFO,
        end(Kind::Meminfo, 1),
    ];
    let one = reports(&[Kind::Iomem], &records)
        .render(Format::Text)
        .unwrap();
    assert_eq!(one, "40000000-5fffffff : System RAM\n");
    let both = reports(&[Kind::Meminfo, Kind::Iomem], &records);
    assert_eq!(both.parameter(), "report=iomem,meminfo");
    let text = both.render(Format::Text).unwrap();
    assert!(
        text.starts_with(
            "==> iomem <==\n40000000-5fffffff : System RAM\n\n==> meminfo <==\nMemTotal:"
        ),
        "{text}"
    );
}

#[test]
fn json_is_one_object_with_a_key_for_each_report() {
    let counter = |name, count| Record::Counter(Counter { name, count });
    let records = [
        Record::Begin(Kind::Iomem),
        MEMORY,
        end(Kind::Iomem, 1),
        Record::Begin(Kind::Vmstat),
        counter("compact_success", 3),
        counter("alloc_failures", 4),
        end(Kind::Vmstat, 2),
        Record::Begin(Kind::Ptdump),
        end(Kind::Ptdump, 0),
    ];
    let wanted = [Kind::Iomem, Kind::Vmstat, Kind::Ptdump];
    let json = reports(&wanted, &records).render(Format::Json).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let expected = json!({
        "iomem": [{
            "name": "System RAM",
            "depth": 0,
            "mapped": true,
            "start": "0x40000000",
            "end": "0x60000000",
        }],
        "vmstat": { "compact_success": 3, "alloc_failures": 4 },
        "ptdump": { "regions": [], "mappings": [] },
    });
    assert_eq!(json, expected);
}

#[test]
fn a_report_that_is_not_whole_is_an_error() {
    let begin = Record::Begin(Kind::Iomem);
    let render = |records: &[Record<'_>]| reports(&[Kind::Iomem], records).render(Format::Json);
    let missing = Err(ReportError::Missing(Kind::Iomem));
    assert_eq!(render(&[]), missing);
    assert_eq!(render(&[MEMORY, end(Kind::Iomem, 1)]), missing);
    let truncated = |sent| {
        Err(ReportError::Truncated {
            report: Kind::Iomem,
            arrived: 1,
            sent,
        })
    };
    assert_eq!(render(&[begin, MEMORY]), truncated(None));
    assert_eq!(
        render(&[begin, MEMORY, end(Kind::Iomem, 2)]),
        truncated(Some(2))
    );
    assert_eq!(
        render(&[begin, MEMINFO, end(Kind::Iomem, 1)]),
        Err(ReportError::Mixed(Kind::Iomem))
    );
}

#[test]
fn all_is_every_report_that_an_ordinary_image_makes() {
    let all = Reports::new(&[Selection::All]);
    assert_eq!(all.wanted.len(), Kind::ALL.len() - 1);
    assert!(!all.wants(Kind::Callsites) && all.wants(Kind::Ptdump));
    assert_eq!(Selection::from_name("all"), Selection::All);
    for name in Selection::names().filter(|name| *name != "all") {
        assert_eq!(
            Selection::from_name(name),
            Selection::One(Kind::from_name(name).unwrap())
        );
    }
    assert_eq!(Reports::new(&[]).parameter(), "");
}

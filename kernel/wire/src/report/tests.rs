//! Golden texts, and the way over the wire and into JSON.

use super::*;

fn text(records: &[Record<'_>]) -> String {
    let mut text = Text::new(String::new());
    for record in records {
        text.record(record).unwrap();
    }
    text.as_inner().clone()
}

const BLOCKS: [u32; ORDERS] = [3, 0, 1, 0, 0, 0, 0, 0, 0, 2, 30];

const CACHE: Cache<'static> = Cache {
    name: "kmalloc-112",
    object_bytes: 112,
    objects_per_slab: 36,
    slab_frames: 1,
    slabs: 2,
    live_objects: 40,
    listed_objects: 8,
    list_limit_objects: 32,
    batch_objects: 8,
    allocations: 106,
    peak_slabs: 3,
    slabs_made: 4,
    failures: 1,
    alloc_hits: 100,
    alloc_misses: 6,
    free_hits: 66,
    free_misses: 0,
};

const TEXT: Mapping<'static> = Mapping {
    start: Address(0xffff_ffff_8020_0000),
    end: Address(0xffff_ffff_8023_3000),
    physical: Address(0x4020_0000),
    leaf_bytes: 4096,
    access: Access {
        writable: false,
        kernel_executable: true,
        user_executable: false,
        user: false,
    },
    contiguous: false,
    memory: "MEM/NORMAL",
};

#[test]
fn totals_are_in_kilobytes_as_linux_has_them() {
    let meminfo = Meminfo {
        total_bytes: 504_028 << 10,
        free_bytes: 503_868 << 10,
        allocation_failures: 3,
        ..Meminfo::default()
    };
    let text = text(&[Record::Meminfo(meminfo)]);
    assert!(
        text.starts_with("MemTotal:         504028 kB\nMemFree:          503868 kB\n"),
        "{text}"
    );
    assert!(text.ends_with("AllocFailures:         3\n"), "{text}");
}

#[test]
fn free_blocks_stand_in_linuxs_columns() {
    let row = FreeBlocks {
        zone: "DMA32",
        blocks_by_order: BLOCKS,
    };
    assert_eq!(
        text(&[Record::FreeBlocks(row)]),
        "Node 0, zone    DMA32      3      0      1      0      0      0      0      0      0      2     30 \n"
    );
    assert_eq!(row.frames(), 3 + 4 + 2 * 512 + 30 * 1024);
}

#[test]
fn page_types_have_a_heading_above_each_part() {
    let free = Record::FreeOfType(FreeOfType {
        zone: "DMA",
        migrate_type: "Movable",
        blocks_by_order: BLOCKS,
    });
    let blocks = Record::PageBlocks(PageBlocks {
        zone: "DMA",
        unmovable: 5,
        movable: 240,
        reclaimable: 1,
        cma: 8,
        isolate: 0,
    });
    let whole = Record::PageTypes(PageTypes {
        pageblock_order: 9,
        pageblock_frames: 512,
    });
    let expected = "\
Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10 
Node    0, zone      DMA, type      Movable      3      0      1      0      0      0      0      0      0      2     30 
Node    0, zone      DMA, type      Movable      3      0      1      0      0      0      0      0      0      2     30 

Number of blocks type     Unmovable      Movable  Reclaimable          CMA      Isolate 
Node 0, zone      DMA            5          240            1            8            0 
";
    assert_eq!(text(&[whole, free, free, blocks]), expected);
}

#[test]
fn a_zone_is_followed_by_its_cores_lists() {
    let zone = Record::Zone(Zone {
        zone: "Normal",
        free_frames: 100,
        min_frames: 1,
        low_frames: 2,
        high_frames: 3,
        cma_frames: 8,
        isolated_frames: 0,
        spanned_frames: 200,
        managed_frames: 190,
        peak_used_frames: 90,
        start_frame: 1 << 20,
    });
    let pageset = Record::Pageset(Pageset {
        zone: "Normal",
        cpu: 3,
        frames: 7,
        high_frames: 32,
        batch_frames: 8,
        hits: 1000,
        misses: 12,
    });
    let expected = "\
Node 0, zone   Normal
  pages free     100
        min      1
        low      2
        high     3
        spanned  200
        managed  190
        cma      8
        isolated 0
        peak     90
  start_pfn:           1048576
  pagesets
    cpu: 3
              count: 7
              high:  32
              batch: 8
              hits:  1000
              miss:  12
";
    assert_eq!(text(&[zone, pageset]), expected);
}

#[test]
fn caches_stand_below_linuxs_heading() {
    let text = text(&[Record::Cache(CACHE), Record::Cache(CACHE)]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("slabinfo - version: 2.1"));
    assert!(lines[1].starts_with("# name            <active_objs> <num_objs> <objsize>"));
    assert_eq!(
        lines[3],
        "kmalloc-112           40     72    112   36    1 : tunables   32    8    0 : \
         slabdata      2      2      0 : globalstat     106      3     4    1 : cpustat    100      6     66      0"
    );
}

#[test]
fn addresses_are_told_as_linux_tells_them() {
    let memory = Resource {
        name: "System RAM",
        depth: 0,
        mapped: true,
        start: Address(0x4000_0000),
        end: Address(0x6000_0000),
    };
    let firmware = Resource {
        name: "mmode_resv0",
        depth: 1,
        mapped: false,
        end: Address(0x4000_1000),
        ..memory
    };
    assert_eq!(
        text(&[Record::Resource(memory), Record::Resource(firmware)]),
        "40000000-5fffffff : System RAM\n  40000000-40000fff : mmode_resv0, not mapped\n"
    );
    let area = Area {
        start: Address(0xffff_8000_0000_0000),
        end: Address(0xffff_8000_0000_2000),
        what: "vmalloc",
        frames: 2,
        physical: None,
    };
    assert_eq!(
        text(&[Record::Area(area)]),
        "0xffff800000000000-0xffff800000002000       8192 pages=2 vmalloc\n"
    );
    let region = Region {
        name: ".text",
        depth: 1,
        start: TEXT.start,
        end: TEXT.end,
    };
    assert_eq!(
        text(&[Record::Region(region)]),
        "    .text        0xffffffff80200000 - 0xffffffff80232fff  204 KiB\n"
    );
    assert_eq!(
        text(&[Record::Mapped(region), Record::Mapping(TEXT)]),
        "---[ .text ]---\n\
         0xffffffff80200000-0xffffffff80233000         204K PTE     ro x          UXN MEM/NORMAL\n"
    );
}

#[test]
fn what_is_held_is_told_by_site_and_by_cache() {
    let site = CallSite {
        file: "kernel/src/bin/tessera/tour.rs",
        line: 150,
        column: 43,
        call: "kmalloc",
        callers: [Address(0); CALLERS],
        allocations: 20,
        allocated_bytes: 8_388_600,
        live_objects: 1,
        live_bytes: 8,
    };
    let all = CallSites {
        capacity_sites: 512,
        ..CallSites::default()
    };
    assert_eq!(
        text(&[Record::CallSites(all), Record::CallSite(site)]),
        "room for 512 sites; 0 allocations at others; 0 objects not followed\n  \
           live_bytes       live        bytes     allocs  call and site\n           \
                    8          1      8388600         20  \
         kmalloc at kernel/src/bin/tessera/tour.rs:150:43\n"
    );
    let leak = Leak {
        name: "kmalloc-64",
        object_bytes: 64,
        start_objects: 10,
        end_objects: 13,
    };
    let pages = Leaks {
        start_frames: 100,
        end_frames: 103,
        start_slab_frames: 40,
        end_slab_frames: 44,
    };
    assert_eq!(
        text(&[Record::Leaks(pages), Record::Leak(leak)]),
        "pages in slabs:  +4\npages elsewhere: -1\n\
         # name             <objects>    <bytes>\n\
         kmalloc-64                 +3       +192\n"
    );
}

#[test]
fn records_arrive_as_sent() {
    let mut buffer = [0; MOST_BYTES];
    for record in [
        Record::Begin(Kind::Ptdump),
        Record::Mapping(TEXT),
        Record::Cache(CACHE),
        Record::End {
            report: Kind::Ptdump,
            rows: 1,
        },
    ] {
        assert_eq!(decode(encode(&record, &mut buffer).unwrap()), Ok(record));
    }
}

#[test]
fn json_has_units_in_its_keys_and_addresses_as_text() {
    let json = serde_json::to_value(TEXT).unwrap();
    assert_eq!(json["start"], "0xffffffff80200000");
    assert_eq!(json["leaf_bytes"], 4096);
    assert_eq!(json["access"]["writable"], false);
}

#[test]
fn every_report_has_a_name_of_its_own() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
    assert_eq!(Kind::from_name("all"), None);
}

#[test]
fn a_size_is_in_the_unit_that_it_fills() {
    for (bytes, said) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (512 << 20, "512 MiB"),
        ((1 << 48) - 4096, "255.9 TiB"),
    ] {
        assert_eq!(Size(bytes).to_string(), said);
    }
}

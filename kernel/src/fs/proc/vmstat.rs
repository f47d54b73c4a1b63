//! `/proc/vmstat`: what vmstat(8) reads beside `meminfo`, proc_vmstat(5).

use super::root::lines;
use crate::mm::frames;
use alloc::{format, vec::Vec};

/// In pages. Nothing is read from disks or swapped, as there are neither.
pub fn text() -> Vec<u8> {
    let memory = frames::statistics();
    let rows = [
        ("nr_free_pages", memory.free + memory.reserve_free),
        ("nr_anon_pages", memory.pages),
        ("nr_page_table_pages", memory.tables),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
    ];
    lines(rows.map(|(name, count)| format!("{name} {count}")))
}

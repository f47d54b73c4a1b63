//! `/proc/meminfo`: where the memory is, proc_meminfo(5).

use super::root::lines;
use crate::{arch::PAGE_SIZE, mm::frames};
use alloc::{format, vec::Vec};

/// In KiB, the names Linux uses. Pages of files are not told from others: they are not a cache that could be dropped.
pub fn text() -> Vec<u8> {
    let memory = frames::statistics();
    let free = memory.free + memory.reserve_free;
    let rows = [
        ("MemTotal", memory.total),
        ("MemFree", free),
        ("MemAvailable", memory.free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", memory.pages),
        ("Mapped", memory.pages),
        ("Shmem", 0),
        ("Slab", memory.heap),
        ("SReclaimable", 0),
        ("SUnreclaim", memory.heap),
        ("PageTables", memory.tables),
    ];
    lines(rows.map(|(name, pages)| {
        let name = format!("{name}:");
        format!("{name:<16}{:>8} kB", pages * PAGE_SIZE / 1024)
    }))
}

//! What the loader tells: `struct hvm_start_info` of PVH boot, and the memory map in it.
//!
//! The structures and all they point to lie in RAM that the map itself calls free, so everything is copied before anybody
//! may use that RAM; only the initial archive stays where it is and is kept out of the free ranges.

use super::layout::{self, frames_of};
use super::ranges::{self, Ranges};
use crate::arch::{BootInformation, PAGE_SIZE};
use arrayvec::ArrayVec;
use core::ops::Range;

const MAGIC: u32 = 0x336e_c578; // "xEn3" with the top bit set

/// `struct hvm_start_info`, version 1.
#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    root_pointer: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// `struct hvm_modlist_entry`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    start: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

/// `struct hvm_memmap_table_entry`.
#[repr(C)]
#[derive(Clone, Copy)]
struct MemoryMapEntry {
    start: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// The kind of entry that is RAM for us to use. Others are reserved, hold ACPI's tables, or are broken.
const KIND_RAM: u32 = 1;

/// What RAM below this address is for: the firmware's data, and starting other CPUs.
const LOW_MEMORY_END: u64 = 1 << 20;

/// What was copied.
pub struct Loaded {
    /// RAM, in bytes of physical memory, ascending as the loader gave it.
    pub ram: Ranges<u64>,
    /// Where the initial archive lies.
    pub initramfs: Option<Range<u64>>,
    /// The words after `-append`.
    pub command_line: ArrayVec<u8, COMMAND_LINE_LIMIT>,
    /// Where ACPI's tables begin, unless the machine has none.
    pub acpi_root: Option<u64>,
}

/// As many bytes of command line as Linux takes on x86: COMMAND_LINE_SIZE.
pub const COMMAND_LINE_LIMIT: usize = 2048;

/// Copies `count` structures from a physical address.
///
/// # Safety
/// They must be there, in the first GiB, which is all that the first page tables map.
unsafe fn table<T: Copy>(physical: u64, count: u32) -> impl Iterator<Item = T> {
    let first = layout::direct(physical).cast::<T>();
    // SAFETY: as promised by the caller.
    (0..count as usize).map(move |index| unsafe { first.add(index).read_unaligned() })
}

/// Copies everything from the loader's structures.
///
/// # Safety
/// `address` must be what the loader passed, and no RAM may have been written since but the kernel's image.
pub unsafe fn read(address: u64) -> Loaded {
    // SAFETY: the loader left the structure there.
    let info: StartInfo = unsafe { layout::direct(address).cast().read_unaligned() };
    assert!(info.magic == MAGIC, "the loader did not start this kernel by PVH");
    assert!(info.version >= 1, "the loader passed no memory map");

    let mut loaded = Loaded {
        ram: Ranges::new(),
        initramfs: None,
        command_line: ArrayVec::new(),
        acpi_root: (info.root_pointer != 0).then_some(info.root_pointer),
    };
    // SAFETY: the loader left as many entries there as it says.
    for entry in unsafe { table::<MemoryMapEntry>(info.memory_map, info.memory_map_entries) } {
        let range = entry.start..entry.start.saturating_add(entry.size);
        if entry.kind == KIND_RAM {
            // A map with more ranges than anybody has seen: the rest stays unused.
            let _ = loaded.ram.try_push(range);
        }
    }
    // SAFETY: the loader left as many entries there as it says.
    for module in unsafe { table::<Module>(info.modules, info.module_count.min(1)) } {
        loaded.initramfs = (module.size > 0).then(|| module.start..module.start + module.size);
    }
    if info.command_line != 0 {
        // SAFETY: the loader left a string there that ends with a zero byte.
        let bytes = unsafe { table::<u8>(info.command_line, COMMAND_LINE_LIMIT as u32) };
        loaded.command_line.extend(bytes.take_while(|&byte| byte != 0));
    }
    loaded
}

impl Loaded {
    /// The RAM that neither the kernel's image nor the archive nor the firmware lies in, in whole frames.
    pub fn free_memory(&self) -> Ranges<u32> {
        let image = layout::image();
        let physical = |address: usize| (address - layout::KERNEL_OFFSET) as u64;
        let kernel = frames_of(physical(image.boot.start)..physical(image.symbols.end));
        let archive = self.initramfs.clone().map_or(0..0, frames_of);
        let overlap = archive.start < kernel.end && kernel.start < archive.end;
        assert!(
            !overlap,
            "the loader put the initial archive over the kernel: there is too little RAM for both"
        );

        // Inwards: a frame must be RAM whole.
        let page = PAGE_SIZE as u64;
        let whole = self.ram.iter().map(|range| range.start.div_ceil(page) as u32..(range.end / page) as u32);
        let whole: Ranges<u32> = whole.collect();
        ranges::without(&whole, &[frames_of(0..LOW_MEMORY_END), kernel, archive])
    }

    /// Turns it into what the kernel wants to know; `free` is what is left of [`Self::free_memory`] by now.
    pub fn into_boot_information(self, free: Ranges<u32>) -> BootInformation {
        static COMMAND_LINE: spin::Once<ArrayVec<u8, COMMAND_LINE_LIMIT>> = spin::Once::new();

        let frame_limit =
            self.ram.iter().map(|range| (range.end / PAGE_SIZE as u64) as u32).max().unwrap_or(0);
        let initramfs = self.initramfs.as_ref().map(|range| {
            let start = layout::direct(range.start).as_ptr();
            // SAFETY: the loader put the archive there, the direct map reaches it, and `free_memory` leaves it out.
            let bytes: &'static [u8] =
                unsafe { core::slice::from_raw_parts(start, (range.end - range.start) as usize) };
            bytes
        });
        let initramfs_memory = self.initramfs.clone().map(frames_of);
        let words = COMMAND_LINE.call_once(|| self.command_line);
        let command_line = match core::str::from_utf8(words) {
            Ok(all) => all,
            Err(error) => core::str::from_utf8(&words[..error.valid_up_to()]).unwrap_or_default(),
        };
        BootInformation { command_line, initramfs, free_memory: free, initramfs_memory, frame_limit }
    }
}

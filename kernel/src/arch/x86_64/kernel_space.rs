//! The kernel's own page tables: all RAM, the image with just the permissions each part needs, and device registers.
//!
//! They are built once, while the first tables (boot.rs) are still in force. Later every program's level-4 table gets a
//! copy of the upper 256 entries, so nothing may be added at level 4 afterwards. Everything here is marked global: it
//! stays in the processor's translation cache when CR3 changes, because it is the same everywhere.
//!
//! Nothing is writable and executable. The image is mapped in 4 KiB pages, since its parts are small; RAM in pages of 1
//! GiB where the processor has them and 2 MiB otherwise, so that 4 GiB cost four pages of tables at most.

use super::layout::{self, DEVICES, DIRECT_MAP, KERNEL_OFFSET, frames_of};
use super::ranges::{self, Ranges};
use super::start_info::Loaded;
use crate::arch::PAGE_SIZE;
use arrayvec::ArrayVec;
use core::{
    ops::Range,
    ptr::NonNull,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::structures::paging::{PageTable, PageTableFlags as Flags};
use x86_64::{
    PhysAddr,
    registers::control::{Cr3, Cr3Flags},
    structures::paging::PhysFrame,
};

const SIZE_2_MIB: u64 = 1 << 21;
const SIZE_1_GIB: u64 = 1 << 30;
const DATA: Flags = Flags::PRESENT.union(Flags::WRITABLE).union(Flags::GLOBAL).union(Flags::NO_EXECUTE);
const CONSTANT: Flags = Flags::PRESENT.union(Flags::GLOBAL).union(Flags::NO_EXECUTE);
const CODE: Flags = Flags::PRESENT.union(Flags::GLOBAL);
/// Registers: every access must reach the device, once and in order.
const DEVICE: Flags = DATA.union(Flags::NO_CACHE).union(Flags::WRITE_THROUGH);

/// The level-4 table: its frame's physical address. Zero until [`enter`].
static ROOT: AtomicU64 = AtomicU64::new(0);

/// How far the device window is used.
static NEXT_DEVICE: AtomicUsize = AtomicUsize::new(DEVICES);
/// The physical addresses of what is mapped there, one page each; a page is mapped once.
static DEVICE_PAGES: spin::Mutex<ArrayVec<u64, 16>> = spin::Mutex::new(ArrayVec::new_const());

/// An entry of one of the kernel's tables.
///
/// # Safety
/// A table must be at this physical address, and no other reference to the entry be alive.
unsafe fn entry_at<'a>(table: u64, index: usize) -> &'a mut PageTableEntry {
    // SAFETY: as promised by the caller; the direct map, this one or the first, reaches all tables.
    unsafe { layout::direct(table).cast::<PageTableEntry>().add(index).as_mut() }
}

/// Makes tables out of free memory, from its lower end.
struct Builder<'a> {
    free: &'a mut Ranges<u32>,
    root: u64,
    has_1_gib_pages: bool,
}

impl Builder<'_> {
    fn new_table(&mut self) -> u64 {
        // The first page tables reach only the first GiB. The lowest free range begins just above the kernel.
        let range = self.free.first_mut().expect("there is RAM above the kernel");
        let frame = range.start;
        range.start += 1;
        assert!(
            u64::from(frame) * (PAGE_SIZE as u64) < SIZE_1_GIB,
            "page tables of the direct map fit below 1 GiB"
        );
        if range.start == range.end {
            self.free.remove(0);
        }
        let physical = u64::from(frame) * PAGE_SIZE as u64;
        // SAFETY: the frame was free, is mapped, and now is ours.
        unsafe { layout::direct(physical).cast::<PageTable>().write(PageTable::new()) };
        physical
    }

    /// The table below `table` that `index` names, made if need be.
    fn next(&mut self, table: u64, index: usize) -> u64 {
        // SAFETY: `table` is one of ours.
        let present = unsafe { entry_at(table, index) }.addr().as_u64();
        if present != 0 {
            return present;
        }
        let made = self.new_table();
        // SAFETY: as above.
        let entry = unsafe { entry_at(table, index) };
        entry.set_addr(PhysAddr::new(made), Flags::PRESENT | Flags::WRITABLE);
        made
    }

    /// Puts an entry at the level whose pages have `size` bytes.
    fn map(&mut self, address: usize, physical: u64, size: u64, flags: Flags) {
        let index = |level: usize| address >> (12 + 9 * (level - 1)) & 511;
        let (level, flags) = match size {
            SIZE_1_GIB => (3, flags | Flags::HUGE_PAGE),
            SIZE_2_MIB => (2, flags | Flags::HUGE_PAGE),
            _ => (1, flags),
        };
        let mut table = self.root;
        for above in (level + 1..=4).rev() {
            table = self.next(table, index(above));
        }
        // SAFETY: `table` is one of ours.
        let entry = unsafe { entry_at(table, index(level)) };
        entry.set_addr(PhysAddr::new(physical), flags);
    }

    fn map_ram(&mut self, range: &Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let whole = at.is_multiple_of(SIZE_1_GIB) && range.end - at >= SIZE_1_GIB;
            let size = if whole && self.has_1_gib_pages { SIZE_1_GIB } else { SIZE_2_MIB };
            self.map(DIRECT_MAP + at as usize, at, size, DATA);
            at += size;
        }
    }

    fn map_image(&mut self, part: Range<usize>, flags: Flags) {
        let guards = super::stacks::STACKS.guards();
        for page in part.step_by(PAGE_SIZE).filter(|page| !guards.contains(page)) {
            self.map(page, (page - KERNEL_OFFSET) as u64, PAGE_SIZE as u64, flags);
        }
    }
}

/// The physical memory that the direct map shows: RAM, outwards to 2 MiB, in ascending pieces that do not touch. What
/// shares those 2 MiB with RAM (the firmware's tables, mostly) may be read through it too.
pub fn direct_ranges(loaded: &Loaded) -> Ranges<u64> {
    ranges::cover(&loaded.ram, SIZE_2_MIB)
}

/// Builds the tables from free memory and puts them in force. Gives the memory of the way here back to `free`.
pub fn enter(loaded: &Loaded, free: &mut Ranges<u32>, has_1_gib_pages: bool) {
    let mut builder = Builder { free, root: 0, has_1_gib_pages };
    builder.root = builder.new_table();
    for range in &direct_ranges(loaded) {
        builder.map_ram(range);
    }
    let image = layout::image();
    builder.map_image(image.text, CODE);
    builder.map_image(image.rodata, CONSTANT);
    builder.map_image(image.data, DATA);
    builder.map_image(image.symbols, CONSTANT);
    // The table under the device window, so that `map_device` never needs memory.
    let high = builder.next(builder.root, DEVICES >> 39 & 511);
    let middle = builder.next(high, DEVICES >> 30 & 511);
    builder.next(middle, DEVICES >> 21 & 511);
    let root = builder.root;

    ROOT.store(root, Ordering::Relaxed);
    // SAFETY: the tables map everything that is in use: the code, the stack, and RAM where it was.
    unsafe { Cr3::write(PhysFrame::containing_address(PhysAddr::new(root)), Cr3Flags::empty()) };

    let boot = frames_of((image.boot.start - KERNEL_OFFSET) as u64..(image.boot.end - KERNEL_OFFSET) as u64);
    let _ = free.try_insert(0, boot);
}

/// The physical address of the kernel's level-4 table, whose upper half every other shares.
pub fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// Where the registers of the device at this physical address can be read and written, up to the end of the page.
pub fn map_device(physical: u64) -> NonNull<u8> {
    let page = physical & !(PAGE_SIZE as u64 - 1);
    let mut pages = DEVICE_PAGES.lock();
    let index = pages.iter().position(|&mapped| mapped == page).unwrap_or_else(|| {
        pages.push(page); // A panic when full: there is a fixed number of kinds of device.
        let mut builder = Builder { free: &mut Ranges::new(), root: root(), has_1_gib_pages: false };
        let address = NEXT_DEVICE.fetch_add(PAGE_SIZE, Ordering::Relaxed);
        builder.map(address, page, PAGE_SIZE as u64, DEVICE);
        pages.len() - 1
    });
    let address = DEVICES + index * PAGE_SIZE + (physical - page) as usize;
    NonNull::with_exposed_provenance(core::num::NonZero::new(address).expect("the window is not at zero"))
}

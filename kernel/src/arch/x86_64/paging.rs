//! A program's page table: four levels of 512 entries, walked by hand.
//!
//! Each level translates nine bits of the address: level 4 (CR3 points to it) the highest, level 1 the lowest, whose entry
//! names the frame. The upper half of level 4 is the same in every table and leads to the kernel.
//!
//! A page without permissions keeps its frame: the entry is "not present", and a bit that the processor then ignores says
//! that the rest of it is still meant. The accessed and dirty bits are set from the start, which spares the processor
//! writing them; nothing reads them.
//!
//! The processor caches translations. Making a page accessible needs no care, since what is absent is not cached, but
//! every change of something that was present is followed by forgetting it: page by page when they are few, else all at
//! once, by loading CR3. Tables of another space than the current one are in nobody's cache: CR3 was loaded since. (With
//! more than one CPU running, others would have to be asked to do the same before a frame is used again.)

use super::kernel_space;
use super::layout::{self, USER_END};
use crate::abi::Result;
use crate::arch::{Frame, Mapping, PAGE_SIZE, Permissions, TableFrames, TableRoot, Translation};
use arrayvec::ArrayVec;
use core::{arch::asm, ops::Range};
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::structures::paging::{PageTable, PageTableFlags as Flags};
use x86_64::{PhysAddr, VirtAddr, instructions::tlb};

/// In an entry that is not present: its frame and permissions are kept all the same.
const KEPT: Flags = Flags::BIT_9;

/// Up to this many pages are forgotten one by one.
const FEW: usize = 32;

/// The page table of one address space.
pub struct Table {
    root: Frame,
    frames: &'static dyn TableFrames,
}

/// What CR3 holds.
#[inline(always)]
pub fn current_root() -> TableRoot {
    let root: u64;
    // SAFETY: it only reads.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) };
    TableRoot(root)
}

/// Puts a page table in force.
///
/// # Safety
/// It must map the kernel's half as the others do, and stay as long as it is in force.
pub unsafe fn set_root(root: TableRoot) {
    // SAFETY: as promised by the caller.
    unsafe { asm!("mov cr3, {}", in(reg) root.0, options(nostack, preserves_flags)) };
}

/// Bytes that one entry of this level covers.
const fn span(level: usize) -> usize {
    PAGE_SIZE << (9 * (level - 1))
}

/// Which entry of its table of this level an address belongs to.
const fn index(level: usize, address: usize) -> usize {
    address / span(level) % 512
}

fn table_at<'a>(frame: Frame) -> &'a mut PageTable {
    // SAFETY: the frame holds a table of the `Table` that the caller has borrowed (mutably, where it changes entries), and
    // no two references to the same one are alive at once: each walk holds one for each level.
    unsafe { layout::frame_pointer(frame).cast().as_mut() }
}

fn frame_of(entry: &PageTableEntry) -> Frame {
    Frame((entry.addr().as_u64() / PAGE_SIZE as u64) as u32)
}

fn address_of(frame: Frame) -> PhysAddr {
    PhysAddr::new(u64::from(frame.0) * PAGE_SIZE as u64)
}

/// Flags of the entry of a user page.
fn flags(permissions: Permissions) -> Flags {
    if permissions.is_empty() {
        return KEPT;
    }
    let mut flags = Flags::PRESENT | Flags::USER_ACCESSIBLE | Flags::ACCESSED;
    flags.set(Flags::WRITABLE | Flags::DIRTY, permissions.contains(Permissions::WRITE));
    flags.set(Flags::NO_EXECUTE, !permissions.contains(Permissions::EXECUTE));
    flags
}

/// What an entry of level 1 says.
fn mapping(entry: &PageTableEntry) -> Option<Mapping> {
    if entry.is_unused() {
        return None;
    }
    let flags = entry.flags();
    let mut permissions = Permissions::empty();
    if flags.contains(Flags::PRESENT) {
        permissions |= Permissions::READ;
        permissions.set(Permissions::WRITE, flags.contains(Flags::WRITABLE));
        permissions.set(Permissions::EXECUTE, !flags.contains(Flags::NO_EXECUTE));
    }
    Some(Mapping { frame: frame_of(entry), permissions })
}

impl Translation for Table {
    fn new(frames: &'static dyn TableFrames) -> Result<Self> {
        let root = frames.allocate()?;
        let kernel = Frame((kernel_space::root() / PAGE_SIZE as u64) as u32);
        let (table, kernel) = (table_at(root), table_at(kernel));
        for (entry, shared) in table.iter_mut().zip(kernel.iter()).skip(256) {
            *entry = shared.clone();
        }
        Ok(Self { root, frames })
    }

    fn root(&self) -> TableRoot {
        TableRoot(address_of(self.root).as_u64())
    }

    fn map(&mut self, page: usize, mapping: Mapping) -> Result<()> {
        debug_assert!(page < USER_END && page.is_multiple_of(PAGE_SIZE));
        // Tables on the way that this call makes: nothing may be changed if a later one cannot be had. They are only
        // put in their places once all are there.
        let mut table = self.root;
        let mut level = 4;
        while level > 1 {
            let entry = &table_at(table)[index(level, page)];
            if entry.is_unused() {
                break;
            }
            table = frame_of(entry);
            level -= 1;
        }
        let mut made: ArrayVec<Frame, 3> = ArrayVec::new();
        for _ in 1..level {
            match self.frames.allocate() {
                Ok(frame) => made.push(frame),
                Err(error) => {
                    made.into_iter().for_each(|frame| self.frames.free(frame));
                    return Err(error);
                }
            }
        }
        for frame in made {
            // What lies below decides about permissions.
            let flags = Flags::PRESENT | Flags::WRITABLE | Flags::USER_ACCESSIBLE | Flags::ACCESSED;
            table_at(table)[index(level, page)].set_addr(address_of(frame), flags);
            table = frame;
            level -= 1;
        }
        let entry = &mut table_at(table)[index(1, page)];
        let was_present = entry.flags().contains(Flags::PRESENT);
        entry.set_addr(address_of(mapping.frame), flags(mapping.permissions));
        if was_present {
            let mut stale = Stale::new();
            stale.add(page);
            stale.forget(self.root());
        }
        Ok(())
    }

    fn lookup(&self, page: usize) -> Option<Mapping> {
        debug_assert!(page < USER_END && page.is_multiple_of(PAGE_SIZE));
        let mut table = self.root;
        for level in [4, 3, 2] {
            let entry = &table_at(table)[index(level, page)];
            if entry.is_unused() {
                return None;
            }
            table = frame_of(entry);
        }
        mapping(&table_at(table)[index(1, page)])
    }

    fn unmap(&mut self, range: Range<usize>, removed: &mut dyn FnMut(usize, Mapping)) {
        let mut walk = Removal { stale: Stale::new(), empty_tables: None, removed };
        walk.table(self.root, 4, 0, &range);
        walk.stale.forget(self.root());
        // Only now, when the processor has forgotten them.
        let mut next = walk.empty_tables;
        while let Some(frame) = next {
            next = take_link(frame);
            self.frames.free(frame);
        }
    }

    fn change(&mut self, range: Range<usize>, change: &mut dyn FnMut(usize, Mapping) -> Permissions) {
        let mut stale = Stale::new();
        each_entry(self.root, 4, 0, &range, &mut |page, entry| {
            let Some(mapping) = mapping(entry) else { return };
            let permissions = change(page, mapping);
            if permissions != mapping.permissions {
                entry.set_addr(address_of(mapping.frame), flags(permissions));
                if !mapping.permissions.is_empty() {
                    stale.add(page);
                }
            }
        });
        stale.forget(self.root());
    }

    fn visit(&self, range: Range<usize>, visitor: &mut dyn FnMut(usize, Mapping)) {
        each_entry(self.root, 4, 0, &range, &mut |page, entry| {
            if let Some(mapping) = mapping(entry) {
                visitor(page, mapping);
            }
        });
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // The last program to run here may be gone without another having run since.
        if current_root() == self.root() {
            // SAFETY: the kernel's own table is as good as any for the kernel, and stays for ever.
            unsafe { set_root(TableRoot(kernel_space::root())) };
        }
        self.unmap(0..USER_END, &mut |_, _| {});
        self.frames.free(self.root);
    }
}

/// The part of `range` that an entry covering `covered` bytes from `start` on has to do with, and whether it is anything.
fn within(range: &Range<usize>, start: usize, covered: usize) -> Option<Range<usize>> {
    let part = range.start.max(start)..range.end.min(start + covered);
    (!part.is_empty()).then_some(part)
}

/// Entries of a table of this level, which begins at `base`, that cover a part of the range, with the addresses they begin
/// at. `range` lies within the table.
fn entries(level: usize, base: usize, range: &Range<usize>) -> impl Iterator<Item = (usize, usize)> + use<> {
    let last = index(level, range.end - 1);
    (index(level, range.start)..=last).map(move |index| (index, base + index * span(level)))
}

/// Calls for each entry of level 1 in the range whose table exists.
fn each_entry(
    table: Frame,
    level: usize,
    base: usize,
    range: &Range<usize>,
    visit: &mut dyn FnMut(usize, &mut PageTableEntry),
) {
    if range.is_empty() {
        return;
    }
    for (index, start) in entries(level, base, range) {
        let entry = &mut table_at(table)[index];
        if level == 1 {
            visit(start, entry);
        } else if !entry.is_unused()
            && let Some(part) = within(range, start, span(level))
        {
            each_entry(frame_of(entry), level - 1, start, &part, visit);
        }
    }
}

/// Taking pages away.
struct Removal<'a> {
    stale: Stale,
    /// A chain of tables that became empty, through their first words.
    empty_tables: Option<Frame>,
    removed: &'a mut dyn FnMut(usize, Mapping),
}

impl Removal<'_> {
    /// Takes away what lies in the range below this table; says whether that was anything.
    fn table(&mut self, table: Frame, level: usize, base: usize, range: &Range<usize>) -> bool {
        let mut any = false;
        if range.is_empty() {
            return any;
        }
        for (index, start) in entries(level, base, range) {
            let entry = &mut table_at(table)[index];
            if entry.is_unused() {
                continue;
            }
            if level == 1 {
                let Some(mapping) = mapping(entry) else { continue };
                entry.set_unused();
                if !mapping.permissions.is_empty() {
                    self.stale.add(start);
                }
                (self.removed)(start, mapping);
                any = true;
                continue;
            }
            let below = frame_of(entry);
            let Some(part) = within(range, start, span(level)) else { continue };
            // A table that has just lost nothing is not empty: it would have gone before.
            if !self.table(below, level - 1, start, &part) {
                continue;
            }
            any = true;
            let whole = part.len() == span(level);
            if whole || table_at(below).iter().all(PageTableEntry::is_unused) {
                table_at(table)[index].set_unused();
                self.stale.add(start);
                put_link(below, self.empty_tables);
                self.empty_tables = Some(below);
            }
        }
        any
    }
}

/// Chains an empty table's frame to others, in its first word.
fn put_link(frame: Frame, next: Option<Frame>) {
    let word = next.map_or(0, |next| u64::from(next.0) + 1);
    // SAFETY: the frame was a table that nothing leads to any more.
    unsafe { layout::frame_pointer(frame).cast::<u64>().write(word) };
}

fn take_link(frame: Frame) -> Option<Frame> {
    // SAFETY: `put_link` wrote it.
    let word = unsafe { layout::frame_pointer(frame).cast::<u64>().read() };
    word.checked_sub(1).map(|next| Frame(next as u32))
}

/// Pages that the processor may remember wrongly.
struct Stale {
    pages: ArrayVec<usize, FEW>,
    too_many: bool,
}

impl Stale {
    const fn new() -> Self {
        Self { pages: ArrayVec::new_const(), too_many: false }
    }

    fn add(&mut self, page: usize) {
        self.too_many |= self.pages.try_push(page).is_err();
    }

    /// Makes the processor forget them, if the table is the one it uses.
    fn forget(&self, root: TableRoot) {
        if current_root() != root {
        } else if self.too_many {
            // SAFETY: it is in force already.
            unsafe { set_root(root) };
        } else {
            self.pages.iter().for_each(|&page| tlb::flush(VirtAddr::new(page as u64)));
        }
    }
}

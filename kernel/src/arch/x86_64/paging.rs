//! A program's page table: four levels of 512 entries, walked by hand.
//!
//! Each level translates nine bits of the address: level 4 (CR3 points to it) the highest, level 1 the lowest, whose entry
//! names the frame. The upper half of level 4 is the same in every table and leads to the kernel.
//!
//! A page without permissions keeps its frame: the entry is "not present", and a bit that the processor then ignores says
//! that the rest of it is still meant. The accessed and dirty bits are set from the start, which spares the processor
//! writing them; nothing reads them.
//!
//! The processor remembers translations: what was present and is changed goes to [`Stale`].

use super::kernel_space;
use super::layout::{self, USER_END};
use super::tlb::{Stale, current_root, forget, set_root};
use crate::abi::Result;
use crate::arch::{Frame, Mapping, PAGE_SIZE, Permissions, TableFrames, TableRoot, Translation};
use arrayvec::ArrayVec;
use core::ops::Range;
use x86_64::PhysAddr;
use x86_64::structures::paging::PageTableFlags as Flags;
use x86_64::structures::paging::page_table::PageTableEntry;

/// In an entry that is not present: its frame and permissions are kept all the same.
const KEPT: Flags = Flags::BIT_9;

/// The page table of one address space.
pub struct Table {
    root: Frame,
    /// Entries of level 4 in use for the program.
    used: usize,
    frames: &'static dyn TableFrames,
}

/// Bytes that one entry of this level covers.
const fn span(level: usize) -> usize {
    PAGE_SIZE << (9 * (level - 1))
}

/// Which entry of its table of this level an address belongs to.
const fn index(level: usize, address: usize) -> usize {
    address / span(level) % 512
}

/// What a table's frame holds.
type Entries = [PageTableEntry; 512];

fn table_at<'a>(frame: Frame) -> &'a mut Entries {
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

/// Bits of an entry that leads to a table, which the processor ignores: how many entries of that table are in use. So an
/// empty table is known without looking through it, and who walks one can stop at the last.
const USED: Flags = Flags::from_bits_retain(0x3ff << USED_SHIFT);
const USED_SHIFT: u32 = 52;

/// How many entries of the table that an entry leads to are in use.
fn used(entry: &PageTableEntry) -> usize {
    ((entry.flags() & USED).bits() >> USED_SHIFT) as usize
}

fn set_used(entry: &mut PageTableEntry, used: usize) {
    entry.set_flags((entry.flags() - USED) | Flags::from_bits_retain((used as u64) << USED_SHIFT));
}

/// A table of level 1, and the entry that leads to it.
struct Leaf<'a> {
    leading: &'a mut PageTableEntry,
    entries: &'a mut Entries,
}

impl Table {
    /// The table of level 1 that a page's entry is in, if there is one.
    fn leaf(&self, page: usize) -> Option<Leaf<'_>> {
        debug_assert!(page < USER_END && page.is_multiple_of(PAGE_SIZE));
        let mut leading = &mut table_at(self.root)[index(4, page)];
        for level in [3, 2] {
            if leading.is_unused() {
                return None;
            }
            leading = &mut table_at(frame_of(leading))[index(level, page)];
        }
        let entries = (!leading.is_unused()).then(|| table_at(frame_of(leading)))?;
        Some(Leaf { leading, entries })
    }

    /// The same, made if need be. Errors: ENOMEM; nothing has changed then.
    fn leaf_or_new(&mut self, page: usize) -> Result<Leaf<'_>> {
        if self.leaf(page).is_none() {
            self.make_leaf(page)?;
        }
        Ok(self.leaf(page).expect("it has been made"))
    }

    /// Takes away what lies in a range that one table of level 1 has to itself, which most have: there is no need to go
    /// through every level then. False: there is more to be done.
    fn take_from_leaf<F: FnMut(Frame)>(&mut self, range: &Range<usize>, walk: &mut Removal<F>) -> bool {
        if range.is_empty() || range.start / span(2) != (range.end - 1) / span(2) {
            return false;
        }
        let Some(Leaf { leading, entries }) = self.leaf(range.start & !(PAGE_SIZE - 1)) else { return true };
        let used = used(leading);
        let left = used - walk.leaf(range.start & !(PAGE_SIZE - 1), part_of(entries, range), used);
        set_used(leading, left);
        left > 0
    }

    #[cold]
    fn make_leaf(&mut self, page: usize) -> Result<()> {
        // Down to where the first table is missing.
        let mut leading = &mut table_at(self.root)[index(4, page)];
        let (mut above, mut level) = (None, 3);
        while !leading.is_unused() {
            let next = &mut table_at(frame_of(leading))[index(level, page)];
            above = Some(core::mem::replace(&mut leading, next));
            level -= 1;
        }
        // Nothing may be changed if one of them cannot be had: they are only put in their places once all are there.
        let mut made: ArrayVec<Frame, 3> = ArrayVec::new();
        for _ in 0..level {
            match self.frames.allocate() {
                Ok(frame) => made.push(frame),
                Err(error) => {
                    made.into_iter().for_each(|frame| self.frames.free(frame));
                    return Err(error);
                }
            }
        }
        self.used += usize::from(above.is_none());
        for frame in made {
            // What lies below decides about permissions.
            let flags = Flags::PRESENT | Flags::WRITABLE | Flags::USER_ACCESSIBLE | Flags::ACCESSED;
            leading.set_addr(address_of(frame), flags);
            if let Some(above) = above {
                set_used(above, used(above) + 1);
            }
            if level > 1 {
                level -= 1;
                let next = &mut table_at(frame)[index(level + 1, page)];
                above = Some(core::mem::replace(&mut leading, next));
            } else {
                above = None;
            }
        }
        Ok(())
    }
}

impl Translation for Table {
    fn new(frames: &'static dyn TableFrames) -> Result<Self> {
        let root = frames.allocate()?;
        for (index, entry) in kernel_entries() {
            table_at(root)[*index] = entry.clone();
        }
        Ok(Self { root, used: 0, frames })
    }

    fn root(&self) -> TableRoot {
        TableRoot(address_of(self.root).as_u64())
    }

    fn map(&mut self, page: usize, mapping: Mapping) -> Result<Option<Frame>> {
        let root = self.root();
        let Leaf { leading, entries } = self.leaf_or_new(page)?;
        let entry = &mut entries[index(1, page)];
        let before = (!entry.is_unused()).then(|| frame_of(entry));
        let was_present = entry.flags().contains(Flags::PRESENT);
        entry.set_addr(address_of(mapping.frame), flags(mapping.permissions));
        if before.is_none() {
            set_used(leading, used(leading) + 1);
        }
        if was_present && current_root() == root {
            forget(page);
        }
        Ok(before)
    }

    fn lookup(&self, page: usize) -> Option<Mapping> {
        mapping(&self.leaf(page)?.entries[index(1, page)])
    }

    fn unmap(&mut self, range: Range<usize>, removed: impl FnMut(Frame)) -> usize {
        let stale = Stale::new(self.root());
        let mut walk = Removal { stale, empty_tables: None, removed, pages: 0 };
        if !self.take_from_leaf(&range, &mut walk) {
            self.used -= walk.table(self.root, 4, 0, &range);
        }
        walk.stale.forget();
        // Only now, when the processor has forgotten them.
        let mut next = walk.empty_tables;
        while let Some(frame) = next {
            next = take_link(frame);
            self.frames.free(frame);
        }
        walk.pages
    }

    fn change(&mut self, range: Range<usize>, mut change: impl FnMut(usize, Mapping) -> Permissions) {
        let mut stale = Stale::new(self.root());
        each_leaf(self.root, 4, 0, &range, &mut |start, entries| {
            for (page, entry) in pages(start, entries) {
                let Some(mapping) = mapping(entry) else { continue };
                let permissions = change(page, mapping);
                if permissions != mapping.permissions {
                    entry.set_addr(address_of(mapping.frame), flags(permissions));
                    if !mapping.permissions.is_empty() {
                        stale.add(page);
                    }
                }
            }
        });
        stale.forget();
    }

    fn visit(&self, range: Range<usize>, mut visitor: impl FnMut(usize, Mapping)) {
        each_leaf(self.root, 4, 0, &range, &mut |start, entries| {
            for (page, entry) in pages(start, entries) {
                if let Some(mapping) = mapping(entry) {
                    visitor(page, mapping);
                }
            }
        });
    }

    fn fill(
        &mut self,
        first: usize,
        count: usize,
        permissions: Permissions,
        mut wanted: impl FnMut(usize) -> Option<Frame>,
    ) -> Result<()> {
        let Leaf { leading, entries } = self.leaf_or_new(first)?;
        let flags = flags(permissions);
        let mut filled = 0;
        for (number, entry) in entries[index(1, first)..][..count].iter_mut().enumerate() {
            if entry.is_unused()
                && let Some(frame) = wanted(number)
            {
                entry.set_addr(address_of(frame), flags);
                filled += 1;
            }
        }
        set_used(leading, used(leading) + filled);
        Ok(())
    }

    fn share(&mut self, range: Range<usize>, other: &mut Self, mut shared: impl FnMut(Frame)) -> Result<()> {
        let mut stale = Stale::new(self.root());
        let mut result = Ok(());
        each_leaf(self.root, 4, 0, &range, &mut |start, entries| {
            if result.is_err() || entries.iter().all(PageTableEntry::is_unused) {
                return;
            }
            let Leaf { leading, entries: others } = match other.leaf_or_new(start) {
                Ok(leaf) => leaf,
                Err(error) => return result = Err(error),
            };
            let others = &mut others[index(1, start)..][..entries.len()];
            let count = share_leaf(start, entries, others, &mut stale, &mut shared);
            set_used(leading, used(leading) + count);
        });
        stale.forget();
        result
    }
}

/// Puts entries into another table of level 1 too, where nothing is, and takes WRITABLE from both. Gives how many. On its
/// own, as every instruction here counts for each page of a program that forks.
#[inline(never)]
fn share_leaf(
    start: usize,
    entries: &mut [PageTableEntry],
    others: &mut [PageTableEntry],
    stale: &mut Stale,
    shared: &mut impl FnMut(Frame),
) -> usize {
    let mut count = 0;
    for (number, (entry, other)) in entries.iter_mut().zip(others).enumerate() {
        if entry.is_unused() {
            continue;
        }
        if entry.flags().contains(Flags::WRITABLE) {
            entry.set_flags(entry.flags() - Flags::WRITABLE - Flags::DIRTY);
            stale.add(start + number * PAGE_SIZE);
        }
        *other = entry.clone();
        shared(frame_of(entry));
        count += 1;
    }
    count
}

impl Drop for Table {
    fn drop(&mut self) {
        // The last program to run here may be gone without another having run since.
        if current_root() == self.root() {
            // SAFETY: the kernel's own table is as good as any for the kernel, and stays for ever.
            unsafe { set_root(TableRoot(kernel_space::root())) };
        }
        let root = table_at(self.root);
        if self.used > 0 {
            self.unmap(0..USER_END, |_| {});
        }
        for (index, _) in kernel_entries() {
            root[*index].set_unused();
        }
        self.frames.free(self.root);
    }
}

/// What every level-4 table has in its upper half, by place.
fn kernel_entries() -> &'static [(usize, PageTableEntry)] {
    static ENTRIES: spin::Once<ArrayVec<(usize, PageTableEntry), 64>> = spin::Once::new();
    ENTRIES.call_once(|| {
        let kernel = Frame((kernel_space::root() / PAGE_SIZE as u64) as u32);
        let entries = table_at(kernel).iter().cloned().enumerate().skip(256);
        entries.filter(|(_, entry)| !entry.is_unused()).collect()
    })
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

/// Entries of level 1, with their pages.
fn pages(start: usize, entries: &mut [PageTableEntry]) -> impl Iterator<Item = (usize, &mut PageTableEntry)> {
    entries.iter_mut().enumerate().map(move |(number, entry)| (start + number * PAGE_SIZE, entry))
}

/// Entries of a table of level 1 for the pages of a range, which lies within it.
fn part_of<'a>(table: &'a mut Entries, range: &Range<usize>) -> &'a mut [PageTableEntry] {
    &mut table[index(1, range.start)..=index(1, range.end - 1)]
}

/// Calls with the part of each table of level 1 that is there and in the range, and the page it begins with.
fn each_leaf(
    table: Frame,
    level: usize,
    base: usize,
    range: &Range<usize>,
    visit: &mut impl FnMut(usize, &mut [PageTableEntry]),
) {
    if range.is_empty() {
        return;
    }
    if level == 1 {
        return visit(range.start & !(PAGE_SIZE - 1), part_of(table_at(table), range));
    }
    for (index, start) in entries(level, base, range) {
        let entry = &table_at(table)[index];
        if !entry.is_unused()
            && let Some(part) = within(range, start, span(level))
        {
            each_leaf(frame_of(entry), level - 1, start, &part, visit);
        }
    }
}

/// Taking pages away.
struct Removal<F> {
    stale: Stale,
    /// A chain of tables that became empty, through their first words.
    empty_tables: Option<Frame>,
    removed: F,
    /// How many went.
    pages: usize,
}

impl<F: FnMut(Frame)> Removal<F> {
    /// Takes away what lies in the range below this table; says how many of its entries are no longer in use.
    fn table(&mut self, table: Frame, level: usize, base: usize, range: &Range<usize>) -> usize {
        let mut gone = 0;
        if range.is_empty() {
            return gone;
        }
        for (index, start) in entries(level, base, range) {
            let entry = &mut table_at(table)[index];
            let Some(part) = within(range, start, span(level)).filter(|_| !entry.is_unused()) else {
                continue;
            };
            let below = frame_of(entry);
            let emptied = match level {
                2 => self.leaf(part.start & !(PAGE_SIZE - 1), part_of(table_at(below), &part), used(entry)),
                _ => self.table(below, level - 1, start, &part),
            };
            let left = used(entry) - emptied;
            if left > 0 {
                set_used(entry, left);
                continue;
            }
            entry.set_unused();
            gone += 1;
            self.stale.add(start);
            put_link(below, self.empty_tables);
            self.empty_tables = Some(below);
        }
        gone
    }

    /// The same for some entries of a table of level 1, `used` of whose entries are in use. On its own, as every instruction
    /// here counts for each page of a program that ends.
    #[inline(never)]
    fn leaf(&mut self, start: usize, entries: &mut [PageTableEntry], used: usize) -> usize {
        let mut left = used;
        for (number, entry) in entries.iter_mut().enumerate() {
            if entry.is_unused() {
                continue;
            }
            let frame = frame_of(entry);
            if self.stale.in_force() && entry.flags().contains(Flags::PRESENT) {
                self.stale.add(start + number * PAGE_SIZE);
            }
            entry.set_unused();
            (self.removed)(frame);
            left -= 1;
            if left == 0 {
                break;
            }
        }
        self.pages += used - left;
        used - left
    }
}

/// Chains an empty table's frame to others, in its first word.
fn put_link(frame: Frame, next: Option<Frame>) {
    let word = next.map_or(0, |next| u64::from(next.0) + 1);
    // SAFETY: the frame was a table that nothing leads to any more.
    unsafe { layout::frame_pointer(frame).cast::<u64>().write(word) };
}

/// Takes the link out again, so that the frame is all zeros.
fn take_link(frame: Frame) -> Option<Frame> {
    // SAFETY: `put_link` wrote it.
    let word = unsafe { layout::frame_pointer(frame).cast::<u64>().replace(0) };
    word.checked_sub(1).map(|next| Frame(next as u32))
}

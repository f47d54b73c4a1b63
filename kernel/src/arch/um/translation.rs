//! A page table that only the kernel reads, and a host process whose mappings follow it.
//!
//! The host's mappings are to this table what a translation buffer is to a processor's: they may always lack something, as
//! a fault then brings it in ([`Space::operations`]), and they may be dropped altogether; but what is taken away here
//! must be gone there before the program runs again. So only what takes something away is remembered, as ranges to look
//! through ([`Space::stale`]), and what to do about it is found out when the program is about to run: by then changes that
//! follow each other have become one range, and what was done and undone has gone.
//!
//! What is brought in is more than the page that faulted: all its neighbours whose frames are neighbours too, for one
//! operation maps them all. A host has only so many mappings to give (65 530), and what it has too few of is had by
//! dropping all ([`Space::forget`]).
//!
//! The entries lie in leaves of a page each, as a processor's do, in frames that are accounted for as tables; a program
//! that maps a page here and a page there pays for it. Above them is a sorted map.

mod copy;

use super::entry::{Entry, Host};
use super::memory;
use super::operation::{self, Operation};
use super::plan::Plan;
use super::process::Process;
use crate::abi::Result;
use crate::arch::{Frame, Mapping, PAGE_SIZE, Permissions, TableFrames, TableRoot, Translation};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::ops::Range;

/// Entries in a leaf.
const ENTRIES: usize = PAGE_SIZE / size_of::<u64>();
/// Bytes of a program's memory that a leaf tells of.
const LEAF_SPAN: usize = ENTRIES * PAGE_SIZE;
/// How far from a faulting page others are brought in with it, in pages.
const REACH: usize = 64;
/// More operations than this at once, and everything is dropped instead.
const MOST_OPERATIONS: usize = 256;
/// More stale ranges than this are joined to one.
const MOST_RANGES: usize = 32;
/// More host mappings than this are not copied to a child: it is cheaper to bring in what it needs.
const MOST_COPIED: usize = 256;

/// The page table of one address space.
pub struct Table(Arc<spin::Mutex<Space>>);

/// What a [`TableRoot`] leads to.
pub struct Space {
    /// By what of the address counts leaves.
    leaves: BTreeMap<usize, Leaf>,
    frames: &'static dyn TableFrames,
    /// Where the host may have more than it should.
    stale: Vec<Range<usize>>,
    /// The host process, once a program is to run here.
    process: Option<Arc<Process>>,
    /// It was another space's before, and still has that one's mappings.
    inherited: bool,
    /// The space whose pages it was given, until it has a host process.
    parent: Weak<spin::Mutex<Space>>,
}

/// A frame full of entries.
struct Leaf {
    frame: Frame,
    /// How many are not zero.
    used: usize,
}

impl Leaf {
    fn entries(&mut self) -> &mut [u64; ENTRIES] {
        // SAFETY: the frame is this leaf's alone, and was filled with zeros when it was taken.
        unsafe { memory::pointer(self.frame).cast().as_mut() }
    }

    fn view(&self) -> &[u64; ENTRIES] {
        // SAFETY: as above.
        unsafe { memory::pointer(self.frame).cast().as_ref() }
    }

    fn get(&self, index: usize) -> Entry {
        Entry::unpack(self.view()[index])
    }

    fn set(&mut self, index: usize, entry: Entry) {
        let word = &mut self.entries()[index];
        let (before, after) = (*word != 0, entry != Entry::NONE);
        *word = entry.pack();
        self.used = self.used + usize::from(after) - usize::from(before);
    }
}

/// Which leaf a page is told of in, and where in it.
fn place(page: usize) -> (usize, usize) {
    (page / LEAF_SPAN, page / PAGE_SIZE % ENTRIES)
}

impl Space {
    /// The space that a root names.
    ///
    /// # Safety
    /// The table the root came from lives for as long as what is returned is used.
    pub unsafe fn of<'a>(root: TableRoot) -> &'a spin::Mutex<Self> {
        let space = core::ptr::with_exposed_provenance::<spin::Mutex<Self>>(root.0 as usize);
        // SAFETY: `Table::root` made the number from such a reference, and the caller promises that it still is one.
        unsafe { &*space }
    }

    fn entry(&self, page: usize) -> Entry {
        let (leaf, index) = place(page);
        self.leaves.get(&leaf).map_or(Entry::NONE, |leaf| leaf.get(index))
    }

    /// Replaces every entry there is in a range by what `change` makes of it, ascending. Leaves in which nothing is left go.
    fn update(&mut self, range: Range<usize>, change: &mut dyn FnMut(usize, Entry) -> Entry) {
        if range.is_empty() {
            return;
        }
        let mut empty = false;
        for (&number, leaf) in self.leaves.range_mut(range.start / LEAF_SPAN..=(range.end - 1) / LEAF_SPAN) {
            let start = number * LEAF_SPAN;
            let first = range.start.saturating_sub(start) / PAGE_SIZE;
            let last = (range.end - start).div_ceil(PAGE_SIZE).min(ENTRIES);
            let mut gone = 0;
            for (index, word) in (first..last).zip(&mut leaf.entries()[first..last]) {
                if *word != 0 {
                    *word = change(start + index * PAGE_SIZE, Entry::unpack(*word)).pack();
                    gone += usize::from(*word == 0);
                }
            }
            leaf.used -= gone;
            empty |= leaf.used == 0;
        }
        if empty {
            let frames = self.frames;
            self.leaves.retain(|_, leaf| {
                let used = leaf.used != 0;
                if !used {
                    frames.free(leaf.frame);
                }
                used
            });
        }
    }

    fn visit(&self, range: Range<usize>, visitor: &mut dyn FnMut(usize, Entry)) {
        if range.is_empty() {
            return;
        }
        for (&number, leaf) in self.leaves.range(range.start / LEAF_SPAN..=(range.end - 1) / LEAF_SPAN) {
            let start = number * LEAF_SPAN;
            let first = range.start.saturating_sub(start) / PAGE_SIZE;
            let last = (range.end - start).div_ceil(PAGE_SIZE).min(ENTRIES);
            for (index, word) in (first..last).zip(&leaf.view()[first..last]) {
                if *word != 0 {
                    visitor(start + index * PAGE_SIZE, Entry::unpack(*word));
                }
            }
        }
    }

    /// Notes that the host may have too much in a range.
    fn note_stale(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let joins = |other: &Range<usize>| range.start <= other.end && other.start <= range.end;
        match self.stale.last_mut() {
            Some(last) if joins(last) => *last = last.start.min(range.start)..last.end.max(range.end),
            _ => self.stale.push(range),
        }
        if self.stale.len() > MOST_RANGES {
            let start = self.stale.iter().map(|range| range.start).min().unwrap_or(0);
            let end = self.stale.iter().map(|range| range.end).max().unwrap_or(0);
            self.stale.clear();
            self.stale.push(start..end);
        }
    }

    /// Whether nothing has to be done before a program may run.
    pub fn is_current(&self) -> bool {
        self.stale.is_empty() && !self.inherited
    }

    /// The host process.
    pub fn process(&self) -> Option<&Arc<Process>> {
        self.process.as_ref()
    }

    /// Gives it a host process: a new one, which has no mappings.
    pub fn set_process(&mut self, process: Arc<Process>) {
        self.process = Some(process);
    }

    /// Gives it a host process that was another space's.
    pub fn inherit_process(&mut self, process: Arc<Process>) {
        self.set_process(process);
        self.inherited = true;
    }

    /// Whether there was a host process, and is no more.
    pub fn is_lost(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.has_died())
    }

    /// Whether the program may access a page so, whether or not the host knows.
    pub fn permits(&self, page: usize, needed: Permissions) -> bool {
        self.entry(page).wanted.is_some_and(|wanted| wanted.permissions.contains(needed))
    }

    /// Whether the host has all that is wanted at a page.
    pub fn is_installed(&self, page: usize) -> bool {
        self.entry(page).is_installed()
    }

    /// What the host process has to do before a program may run in it; what a fault has shown to be needed is included.
    /// It is taken for done from here on: whoever cannot have it done calls [`Self::forget`].
    pub fn operations(&mut self, fault: Option<usize>) -> Vec<Operation> {
        // A page that is copied because it was written to gets its new frame by the plan.
        let is_planned = fault.is_some_and(|page| self.entry(page).is_stale());
        let mut plan = Plan::default();
        for range in core::mem::take(&mut self.stale) {
            plan.begin_range();
            self.update(range, &mut |page, entry| plan.mend(page, entry));
        }
        let mut operations = plan.into_operations();
        if core::mem::take(&mut self.inherited) || operations.len() > MOST_OPERATIONS {
            operations = vec![self.forget()];
        }
        let fault = fault.filter(|page| !is_planned || !self.entry(*page).is_installed());
        operations.extend(fault.and_then(|page| self.bring_in(page)));
        operations
    }

    /// Whether all there is to do is that nothing be left of a range of which nothing is wanted, and unmapping it can only
    /// succeed: the host refuses if that takes one mapping more than it gives, that is to cut one in two.
    pub fn needs_only_unmapping(&self, range: &Range<usize>) -> bool {
        let inside = |stale: &Range<usize>| range.start <= stale.start && stale.end <= range.end;
        let mut is_wanted = false;
        self.visit(range.clone(), &mut |_, entry| is_wanted |= entry.wanted.is_some());
        if self.inherited || is_wanted || !self.stale.iter().all(inside) {
            return false;
        }
        let (before, after) = (self.entry(range.start.wrapping_sub(PAGE_SIZE)), self.entry(range.end));
        match (before, after) {
            (Entry { host: Host::Nothing, .. }, _) | (_, Entry { host: Host::Nothing, .. }) => true,
            (Entry { wanted: Some(before), .. }, Entry { wanted: Some(after), .. }) => {
                before.frame.0 as usize + range.len() / PAGE_SIZE + 1 != after.frame.0 as usize
            }
            _ => false,
        }
    }

    /// That has been done.
    pub fn note_unmapped(&mut self, range: Range<usize>) {
        self.stale.clear();
        self.update(range, &mut |_, entry| Entry { host: Host::Nothing, ..entry });
    }

    /// Maps a page, and those around it that can be had at the same price.
    fn bring_in(&mut self, page: usize) -> Option<Operation> {
        let wanted = self.entry(page).wanted?;
        if wanted.permissions.is_empty() {
            return None;
        }
        let belongs = |this: &Self, other: usize| {
            let entry = this.entry(other);
            let frame = i64::from(wanted.frame.0) + (other as i64 - page as i64) / PAGE_SIZE as i64;
            let same =
                |found: Mapping| i64::from(found.frame.0) == frame && found.permissions == wanted.permissions;
            entry.wanted.is_some_and(same) && !entry.is_installed()
        };
        let (mut start, mut end) = (page, page + PAGE_SIZE);
        while start >= PAGE_SIZE && page - start < REACH * PAGE_SIZE && belongs(self, start - PAGE_SIZE) {
            start -= PAGE_SIZE;
        }
        while end - page < REACH * PAGE_SIZE && belongs(self, end) {
            end += PAGE_SIZE;
        }
        let first = Frame(wanted.frame.0 - ((page - start) / PAGE_SIZE) as u32);
        self.update(start..end, &mut |_, entry| Entry { host: Host::Wanted(wanted.permissions), ..entry });
        Some(Operation::map(start..end, first, wanted.permissions))
    }

    /// Takes everything for gone from the host, and gives what makes it so.
    pub fn forget(&mut self) -> Operation {
        self.stale.clear();
        self.update(operation::everything(), &mut |_, entry| Entry { host: Host::Nothing, ..entry });
        Operation::unmap(operation::everything())
    }
}

impl Translation for Table {
    fn new(frames: &'static dyn TableFrames) -> Result<Self> {
        let space = Space {
            leaves: BTreeMap::new(),
            frames,
            stale: Vec::new(),
            process: None,
            inherited: false,
            parent: Weak::new(),
        };
        Ok(Self(Arc::new(spin::Mutex::new(space))))
    }

    fn root(&self) -> TableRoot {
        TableRoot(Arc::as_ptr(&self.0).expose_provenance() as u64)
    }

    fn map(&mut self, page: usize, mapping: Mapping) -> Result<Option<Frame>> {
        let space = &mut *self.0.lock();
        let (number, index) = place(page);
        let leaf = Leaf::of(space, number)?;
        let before = leaf.get(index);
        let entry = before.wanting(Some(mapping));
        leaf.set(index, entry);
        if entry.is_stale() {
            space.note_stale(page..page + PAGE_SIZE);
        }
        Ok(before.wanted.map(|mapping| mapping.frame))
    }

    fn lookup(&self, page: usize) -> Option<Mapping> {
        self.0.lock().entry(page).wanted
    }

    fn unmap(&mut self, range: Range<usize>, mut removed: impl FnMut(Frame)) -> usize {
        let mut stale = Affected::default();
        let mut count = 0;
        let mut space = self.0.lock();
        space.update(range, &mut |page, entry| {
            let Some(mapping) = entry.wanted else { return entry };
            removed(mapping.frame);
            count += 1;
            stale.check(page, entry.wanting(None))
        });
        space.note_stale(stale.range);
        count
    }

    fn change(&mut self, range: Range<usize>, mut change: impl FnMut(usize, Mapping) -> Permissions) {
        let mut stale = Affected::default();
        let mut space = self.0.lock();
        space.update(range, &mut |page, entry| {
            let Some(mapping) = entry.wanted else { return entry };
            let permissions = change(page, mapping);
            stale.check(page, entry.wanting(Some(Mapping { permissions, ..mapping })))
        });
        space.note_stale(stale.range);
    }

    fn share(&mut self, range: Range<usize>, other: &mut Self, mut shared: impl FnMut(Frame)) -> Result<()> {
        let parent = Arc::downgrade(&self.0);
        let child = &mut *other.0.lock();
        child.parent = parent;
        let mut result = Ok(());
        self.change(range, |page, Mapping { frame, permissions }| {
            let permissions = permissions - Permissions::WRITE;
            let (number, index) = place(page);
            if result.is_ok() {
                result = Leaf::of(child, number).map(|leaf| {
                    // Nothing has run there yet: the host has nothing.
                    leaf.set(index, Entry::NONE.wanting(Some(Mapping { frame, permissions })));
                    shared(frame);
                });
            }
            permissions
        });
        result
    }

    fn visit(&self, range: Range<usize>, mut visitor: impl FnMut(usize, Mapping)) {
        self.0.lock().visit(range, &mut |page, entry| {
            if let Some(mapping) = entry.wanted {
                visitor(page, mapping);
            }
        });
    }
}

/// From the first to the last stale page of a walk.
#[derive(Default)]
struct Affected {
    range: Range<usize>,
}

impl Affected {
    fn check(&mut self, page: usize, entry: Entry) -> Entry {
        if entry.is_stale() {
            let start = if self.range.is_empty() { page } else { self.range.start };
            self.range = start..page + PAGE_SIZE;
        }
        entry
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut space = self.0.lock();
        // Its host process ends, unless a thread goes on from there to another space.
        space.process = None;
        let Space { leaves, frames, .. } = &mut *space;
        for leaf in leaves.values_mut() {
            // What the host still had does not matter any more.
            leaf.entries().fill(0);
            frames.free(leaf.frame);
        }
    }
}

#[cfg(test)]
#[path = "tests/translation.rs"]
mod tests;

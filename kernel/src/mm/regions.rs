//! What an address space should hold: its regions, each a run of pages treated alike; /proc/PID/maps is this list.
//!
//! A plain value that knows no page table: a map from a region's start to the rest of it, never overlapping, neighbours
//! that are alike joined into one. What is asked is "which region holds this address" and "which lie in this range",
//! both one search in the tree. Finding a gap for a new mapping walks down from the top, but not over what the walks
//! before it have found full ([`Searched`]). (Linux' tree knows the largest gap under each of its nodes, and finds one in
//! as many steps as the tree is high; a map from the standard library cannot be taught that.)

use super::{source::PageSource, special::Special};
use crate::arch::{PAGE_SIZE, Permissions};
use alloc::{collections::BTreeMap, sync::Arc};
use core::ops::Range;

/// Pages kept free below a region that grows downwards, so that running over the end of a stack hits nothing.
pub const STACK_GUARD_GAP: usize = 256 * PAGE_SIZE;

bitflags::bitflags! {
    /// How a region is treated.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct RegionFlags: u16 {
        /// Writes are seen by everyone who maps the same pages: MAP_SHARED.
        const SHARED = 1;
        /// Extends itself to a touched address below it: MAP_GROWSDOWN, and the stack.
        const GROWS_DOWN = 2;
        /// A forked child does not get it: MADV_DONTFORK.
        const DONT_FORK = 4;
        /// A forked child gets it empty: MADV_WIPEONFORK.
        const WIPE_ON_FORK = 8;
        /// Left out of core dumps: MADV_DONTDUMP.
        const DONT_DUMP = 16;
        /// mlock(2). Nothing is ever paged out; this is kept for what programs can see of it.
        const LOCKED = 32;
        /// Not counted against what programs may ask for: MAP_NORESERVE.
        const NO_RESERVE = 64;
        /// Beside `LOCKED`: pages need not be brought in before they are touched: MLOCK_ONFAULT.
        const LOCK_ON_FAULT = 128;
        /// Pages may be taken away at any time, and a child gets none: MAP_DROPPABLE. (None is ever taken away.)
        const DROPPABLE = 256;
    }
}

/// Where the pages of a region come from when they are first touched.
#[derive(Clone)]
pub enum Backing {
    /// Zeros, for this address space alone.
    Anonymous,
    /// Pages of a source, from this one on: its own if the region is shared, else until the first write.
    Source {
        /// A file, or shared memory.
        source: Arc<dyn PageSource>,
        /// The number of the first page mapped.
        first: u64,
    },
    /// The kernel's special pages, from this one on.
    Special {
        /// Which of them.
        kind: Special,
        /// The number of the first page mapped.
        first: usize,
    },
}

impl Backing {
    /// The same, `pages` further on.
    fn advanced(&self, pages: usize) -> Self {
        match self {
            Self::Anonymous => Self::Anonymous,
            Self::Source { source, first } => {
                Self::Source { source: source.clone(), first: first + pages as u64 }
            }
            Self::Special { kind, first } => Self::Special { kind: *kind, first: first + pages },
        }
    }

    /// Whether `next` begins where this ends after `pages`. Special mappings stay apart, each is a whole.
    fn continues(&self, pages: usize, next: &Self) -> bool {
        match (self, next) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::Source { source, first }, Self::Source { source: next_source, first: next_first }) => {
                Arc::ptr_eq(source, next_source) && first + pages as u64 == *next_first
            }
            _ => false,
        }
    }
}

/// A run of pages treated alike. Where it starts is its key in [`Regions`].
#[derive(Clone)]
pub struct Region {
    /// One past its last byte.
    pub end: usize,
    /// What the program may do with it.
    pub permissions: Permissions,
    /// The most mprotect(2) may make of that.
    pub maximum: Permissions,
    /// How it is treated.
    pub flags: RegionFlags,
    /// Where its pages come from.
    pub backing: Backing,
}

impl Region {
    /// Which special mapping it is.
    pub fn special(&self) -> Option<Special> {
        match self.backing {
            Backing::Special { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// The same region, which starts at `start`, as it is from `from` on, up to `end`.
    pub fn part(&self, start: usize, from: usize, end: usize) -> Self {
        Self { end, backing: self.backing.advanced((from - start) / PAGE_SIZE), ..self.clone() }
    }

    /// Whether writes go to pages that others see.
    pub fn is_shared(&self) -> bool {
        self.flags.contains(RegionFlags::SHARED)
    }

    /// Whether RLIMIT_DATA counts it: private, writable, and not a stack.
    pub fn is_data(&self) -> bool {
        self.permissions.contains(Permissions::WRITE)
            && !self.flags.intersects(RegionFlags::SHARED | RegionFlags::GROWS_DOWN)
    }

    fn is_alike(&self, other: &Self) -> bool {
        (self.permissions, self.maximum, self.flags) == (other.permissions, other.maximum, other.flags)
    }
}

/// All regions of an address space.
#[derive(Default)]
pub struct Regions {
    map: BTreeMap<usize, Region>,
    pages: usize,
    data_pages: usize,
    locked_pages: usize,
    searched: Searched,
}

/// What looking for gaps from the top has shown: no gap between `from` and `top` is larger than `largest`.
#[derive(Default)]
struct Searched {
    top: usize,
    from: usize,
    largest: usize,
}

impl Regions {
    /// None yet.
    pub const fn new() -> Self {
        let searched = Searched { top: 0, from: 0, largest: 0 };
        Self { map: BTreeMap::new(), pages: 0, data_pages: 0, locked_pages: 0, searched }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// Pages in all of them.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Pages that RLIMIT_DATA counts.
    pub fn data_pages(&self) -> usize {
        self.data_pages
    }

    /// Pages that RLIMIT_MEMLOCK counts.
    pub fn locked_pages(&self) -> usize {
        self.locked_pages
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, &Region)> {
        self.map.iter().map(|(start, region)| (*start, region))
    }

    /// The one that holds an address.
    pub fn find(&self, address: usize) -> Option<(usize, &Region)> {
        let (start, region) = self.map.range(..=address).next_back()?;
        (address < region.end).then_some((*start, region))
    }

    /// The one that holds an address, or else the next above it.
    pub fn at_or_above(&self, address: usize) -> Option<(usize, &Region)> {
        let above = || self.map.range(address..).next().map(|(start, region)| (*start, region));
        self.find(address).or_else(above)
    }

    /// The last one that ends at or below an address.
    pub fn below(&self, address: usize) -> Option<(usize, &Region)> {
        self.map
            .range(..address)
            .rev()
            .map(|(start, region)| (*start, region))
            .find(|(_, region)| region.end <= address)
    }

    /// Those with a page in the range, ascending; the first and the last may reach out of it.
    pub fn overlapping(&self, range: Range<usize>) -> impl Iterator<Item = (usize, &Region)> {
        let first = self.find(range.start).map_or(range.start, |(start, _)| start);
        self.map.range(first..range.end.max(first)).map(|(start, region)| (*start, region))
    }

    /// Whether every page of the range lies in some region.
    pub fn cover(&self, range: Range<usize>) -> bool {
        self.uncovered(range).is_none()
    }

    /// The first page of the range that lies in no region.
    pub fn uncovered(&self, range: Range<usize>) -> Option<usize> {
        let mut reached = range.start;
        for (start, region) in self.overlapping(range.clone()) {
            if start > reached {
                break;
            }
            reached = region.end;
        }
        (reached < range.end).then_some(reached)
    }

    /// Whether one of the range's ends lies inside a special mapping, so that acting on it would split that.
    pub fn splits_special(&self, range: &Range<usize>) -> bool {
        [range.start, range.end].iter().any(|&edge| {
            self.find(edge).is_some_and(|(start, region)| start < edge && region.special().is_some())
        })
    }

    /// Adds a region where there is none, joining it with its neighbours if they are alike.
    ///
    /// # Panics
    /// When it is empty or overlaps another.
    pub fn insert(&mut self, start: usize, region: Region) {
        assert!(
            start < region.end && self.overlapping(start..region.end).next().is_none(),
            "regions overlap"
        );
        let end = region.end;
        self.attach(start, region);
        self.join_at(end);
        self.join_at(start);
    }

    /// The same for one that lies above all others and is not like the last of them.
    pub fn append(&mut self, start: usize, region: Region) {
        debug_assert!(self.map.last_key_value().is_none_or(|(_, last)| last.end <= start), "regions overlap");
        self.attach(start, region);
    }

    /// Takes the range's pages out of all regions, and tells of each piece taken.
    pub fn remove(&mut self, range: Range<usize>, mut removed: impl FnMut(usize, Region)) {
        self.split_at(range.start);
        self.split_at(range.end);
        while let Some((&start, _)) = self.map.range(range.clone()).next() {
            removed(start, self.detach(start));
        }
        if range.end > self.searched.from {
            // A gap has come to be, or grown, where none was worth looking at: begin above it.
            let above = self.map.range(range.end..).next().map_or(usize::MAX, |(start, _)| *start);
            self.searched.from = self.searched.from.max(above.min(self.searched.top));
        }
    }

    /// Changes every region in the range, or the part of it that lies there.
    pub fn update(&mut self, range: Range<usize>, mut change: impl FnMut(&mut Region)) {
        self.split_at(range.start);
        self.split_at(range.end);
        let mut next = range.start;
        while let Some((&start, _)) = self.map.range(next..range.end).next() {
            let mut region = self.detach(start);
            next = region.end;
            change(&mut region);
            self.attach(start, region);
            self.join_at(start);
        }
        self.join_at(range.end);
    }

    /// Moves the start of the region that starts at `start` down to `new_start`, where there must be nothing.
    pub fn extend_down(&mut self, start: usize, new_start: usize) {
        let region = self.detach(start);
        self.attach(new_start, region);
    }

    /// The highest place for so many bytes in a window, away from other regions and from below stacks.
    pub fn highest_gap(&mut self, length: usize, window: Range<usize>) -> Option<usize> {
        if self.searched.top != window.end {
            self.searched = Searched { top: window.end, from: window.end, largest: 0 };
        }
        let Searched { top, from: searched_from, largest: searched_largest } = self.searched;
        let (from, mut largest) =
            if length > searched_largest { (searched_from, searched_largest) } else { (top, 0) };
        let above = self.map.range(from..).next();
        let mut ceiling = above.map_or(from, |(start, region)| guarded_start(*start, region).min(from));
        for (start, region) in self.map.range(..from).rev() {
            let gap = ceiling.saturating_sub(region.end.max(window.start));
            if gap >= length || region.end <= window.start {
                break;
            }
            largest = largest.max(gap);
            ceiling = guarded_start(*start, region).min(top);
        }
        let place = ceiling.checked_sub(length).filter(|place| *place >= window.start)?;
        if ceiling <= searched_from {
            self.searched = Searched { top, from: ceiling, largest };
        }
        Some(place)
    }

    /// The lowest such place.
    pub fn lowest_gap(&self, length: usize, window: Range<usize>) -> Option<usize> {
        let mut floor = window.start;
        for (start, region) in self.overlapping(window.start..usize::MAX) {
            if guarded_start(start, region).saturating_sub(floor) >= length || floor >= window.end {
                break;
            }
            floor = floor.max(region.end);
        }
        (floor.checked_add(length)? <= window.end).then_some(floor)
    }

    /// Whether a mapping can be put in the range: nothing is there, and no stack needs it to grow.
    pub fn is_free(&self, range: Range<usize>) -> bool {
        self.at_or_above(range.start).is_none_or(|(start, region)| guarded_start(start, region) >= range.end)
    }

    /// Makes a boundary at an address, if a region lies across it.
    fn split_at(&mut self, address: usize) {
        let Some((start, region)) = self.find(address) else { return };
        if start == address {
            return;
        }
        let upper = region.part(start, address, region.end);
        let mut lower = self.detach(start);
        lower.end = address;
        self.attach(start, lower);
        self.attach(address, upper);
    }

    /// Joins the regions that meet at an address, if they are alike.
    fn join_at(&mut self, address: usize) {
        let Some(upper) = self.map.get(&address) else { return };
        let Some((&start, lower)) = self.map.range(..address).next_back() else { return };
        let pages = (address - start) / PAGE_SIZE;
        if lower.end != address || !lower.is_alike(upper) || !lower.backing.continues(pages, &upper.backing) {
            return;
        }
        let upper = self.detach(address);
        let mut lower = self.detach(start);
        lower.end = upper.end;
        self.attach(start, lower);
    }

    fn attach(&mut self, start: usize, region: Region) {
        let pages = (region.end - start) / PAGE_SIZE;
        self.pages += pages;
        self.data_pages += if region.is_data() { pages } else { 0 };
        self.locked_pages += if region.flags.contains(RegionFlags::LOCKED) { pages } else { 0 };
        self.map.insert(start, region);
    }

    fn detach(&mut self, start: usize) -> Region {
        let region = self.map.remove(&start).expect("the caller found a region here");
        let pages = (region.end - start) / PAGE_SIZE;
        self.pages -= pages;
        self.data_pages -= if region.is_data() { pages } else { 0 };
        self.locked_pages -= if region.flags.contains(RegionFlags::LOCKED) { pages } else { 0 };
        region
    }
}

/// Where the room that others must leave to a region begins.
fn guarded_start(start: usize, region: &Region) -> usize {
    match region.flags.contains(RegionFlags::GROWS_DOWN) {
        true => start.saturating_sub(STACK_GUARD_GAP),
        false => start,
    }
}

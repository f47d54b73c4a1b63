//! How much of each region is present, and with how many others it is shared: /proc/PID/smaps.
//!
//! Nothing keeps these numbers; they are counted when somebody asks, page by page.

use super::{
    AddressSpace, PageRef,
    address_space::{RegionDescription, Space},
    regions::{Backing, Region},
    special::Special,
};
use crate::arch::PAGE_SIZE;

/// What is present of a region, in bytes. "Own" are pages the program has written, or that have no file behind them: what
/// Linux calls anonymous, and dirty, for nowhere else are they kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All of it.
    pub resident: usize,
    /// The same, of each page only this program's share.
    pub proportional: usize,
    /// Own pages that others map too, as after fork(2).
    pub own_shared: usize,
    /// Own pages that nobody else maps.
    pub own_private: usize,
    /// Pages of a file that others map too.
    pub file_shared: usize,
    /// Pages of a file that nobody else maps.
    pub file_private: usize,
}

impl AddressSpace {
    /// Tells of every region and what of it is present, ascending. The space is locked meanwhile: `tell` must not touch
    /// programs' memory.
    pub fn usage(&self, tell: &mut dyn FnMut(&RegionDescription<'_>, Usage)) {
        let space = self.space.lock();
        for (start, region) in space.regions.iter() {
            tell(&space.describe(start, region), space.usage_of(start, region));
        }
    }
}

impl Space {
    fn usage_of(&self, start: usize, region: &Region) -> Usage {
        let mut usage = Usage::default();
        // Pages of the clocks are no memory of the program's: Linux counts none of them either.
        if region.special().is_some_and(Special::holds_data) {
            return usage;
        }
        self.mappings.visit(start..region.end, |page, content, _| {
            let is_files = belongs_to_source(region, (page - start) / PAGE_SIZE, content);
            // The source holds a reference of its own, which is no mapping.
            let mappings = content.count() - usize::from(is_files);
            let part = match (is_files, mappings > 1) {
                (false, true) => &mut usage.own_shared,
                (false, false) => &mut usage.own_private,
                (true, true) => &mut usage.file_shared,
                (true, false) => &mut usage.file_private,
            };
            *part += PAGE_SIZE;
            usage.resident += PAGE_SIZE;
            usage.proportional += PAGE_SIZE / mappings.max(1);
        });
        usage
    }
}

/// Whether a page present in a region is the very one its source has there, not a copy.
fn belongs_to_source(region: &Region, index: usize, content: &PageRef) -> bool {
    match &region.backing {
        Backing::Anonymous => false,
        Backing::Source { source, first } => {
            source.page_if_present(first + index as u64).is_some_and(|page| page.frame() == content.frame())
        }
        Backing::Special { .. } => true,
    }
}

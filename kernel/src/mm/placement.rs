//! Putting a new mapping into an address space: mmap(2) below its flags.
//!
//! Where the program leaves the choice to the kernel, the highest gap below the ceiling is taken, so that mappings grow
//! down from under the stack towards the heap, which grows up: each can take all the room the other leaves. A hint is
//! followed if there is room just there.

use super::{
    address_space::{AddressSpace, Space},
    faults::Fault,
    frames,
    regions::{Backing, Region, RegionFlags},
    reserve,
};
use crate::{
    abi::{Errno, Result},
    arch::{Access, Hardware, Machine, PAGE_SIZE, Permissions},
};
use core::ops::Range;

/// Programs cannot map below this, so that following a null pointer, plus the offset of a field, faults:
/// /proc/sys/vm/mmap_min_addr.
pub const LOWEST: usize = 0x1_0000;

/// The most regions a space can have: /proc/sys/vm/max_map_count.
pub const MOST_REGIONS: usize = 65530;

/// Where MAP_32BIT puts mappings: the second gigabyte.
const LOW_WINDOW: Range<usize> = 0x4000_0000..0x8000_0000;

/// Where a mapping is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Wherever there is room, at this address if there is room there (0: no wish).
    Anywhere(usize),
    /// Wherever there is room in the second gigabyte: MAP_32BIT.
    Low(usize),
    /// Here, in place of what there is: MAP_FIXED.
    Fixed(usize),
    /// Here, if there is nothing: MAP_FIXED_NOREPLACE.
    FixedIfFree(usize),
}

/// What mmap(2) is to do, decoded and checked as far as that needs no address space.
pub struct MapRequest {
    /// Where.
    pub placement: Placement,
    /// Bytes, above 0; rounded up to pages.
    pub length: usize,
    /// What the program may do with it.
    pub permissions: Permissions,
    /// The most mprotect(2) may make of that: not WRITE for a shared mapping of a file that is not open for writing.
    pub maximum: Permissions,
    /// How it is treated.
    pub flags: RegionFlags,
    /// Where its pages come from.
    pub backing: Backing,
}

/// Rounds up to whole pages. Errors: ENOMEM when that is more than any program can have.
pub(super) fn whole_pages(length: usize) -> Result<usize> {
    match length.checked_next_multiple_of(PAGE_SIZE) {
        Some(rounded) if rounded <= Hardware::USER_END => Ok(rounded),
        _ => Err(Errno::ENOMEM.because("a mapping is no longer than what programs can address")),
    }
}

impl AddressSpace {
    /// Maps something; returns where.
    ///
    /// Errors, in this order: ENOMEM (too long, too many regions), EINVAL (a fixed address not on a page), ENOMEM (no
    /// room), EPERM (below [`LOWEST`]), EEXIST, EINVAL (would split a special mapping), ENOMEM (limits).
    pub fn map(&self, request: MapRequest) -> Result<usize> {
        reserve::check()?;
        self.space.lock().map(&request)
    }

    /// Whether a mapping could go there, as far as that does not depend on what is mapped: mmap(2) looks at this before it
    /// looks at the file.
    ///
    /// Errors: the first five of [`Self::map`].
    pub fn check_placement(&self, placement: Placement, length: usize) -> Result<()> {
        self.space.lock().find_place(placement, length).map(|_| ())
    }

    /// Brings every page of a range in, private writable ones as if they were written. Gaps and special mappings are passed over.
    ///
    /// Errors: what the first touch that fails meets.
    pub fn populate(&self, range: Range<usize>) -> Result<(), Fault> {
        let mut space = self.space.lock();
        let mut reached = range.start;
        while let Some((start, region)) =
            space.regions.at_or_above(reached).filter(|(start, _)| reached < range.end && *start < range.end)
        {
            let piece = start.max(range.start)..region.end.min(range.end);
            reached = piece.end;
            // The kernel's own pages are there when they are touched, and for some slots there is none.
            if region.special().is_some() {
                continue;
            }
            let access = match region.permissions.contains(Permissions::WRITE) && !region.is_shared() {
                true => Access::Write,
                false => Access::Read,
            };
            space.bring_in(piece, access)?;
        }
        Ok(())
    }
}

impl Space {
    /// Decides where a mapping goes, and whether it may go there.
    pub fn find_place(&mut self, placement: Placement, length: usize) -> Result<Range<usize>> {
        let length = whole_pages(length)?;
        self.check_count()?;
        let start = self.place(placement, length)?;
        if start < LOWEST {
            return Err(Errno::EPERM.because("the lowest 64 KiB are kept free of mappings"));
        }
        let range = start..start + length;
        let if_free = matches!(placement, Placement::FixedIfFree(_));
        if if_free && self.regions.overlapping(range.clone()).next().is_some() {
            return Err(Errno::EEXIST.because("MAP_FIXED_NOREPLACE replaces nothing"));
        }
        Ok(range)
    }

    fn map(&mut self, request: &MapRequest) -> Result<usize> {
        let range = self.find_place(request.placement, request.length)?;
        if self.regions.splits_special(&range) {
            return Err(Errno::EINVAL.because("the vDSO and its data are mapped whole or not at all"));
        }
        let region = Region {
            end: range.end,
            permissions: request.permissions,
            maximum: request.maximum,
            flags: request.flags | self.future_flags,
            backing: request.backing.clone(),
        };
        self.check_limits(&range, &region)?;
        self.take_out(range.clone());
        self.regions.insert(range.start, region);
        Ok(range.start)
    }

    /// Decides where so many bytes go.
    pub fn place(&mut self, placement: Placement, length: usize) -> Result<usize> {
        let no_room = || Errno::ENOMEM.because("no gap in the address space is large enough");
        let whole = LOWEST..Hardware::USER_END;
        match placement {
            Placement::Fixed(start) | Placement::FixedIfFree(start) => {
                if start > Hardware::USER_END - length {
                    return Err(
                        Errno::ENOMEM.because("a fixed mapping reaches beyond what programs can address")
                    );
                }
                if !start.is_multiple_of(PAGE_SIZE) {
                    return Err(Errno::EINVAL.because("a fixed address is a page's"));
                }
                Ok(start)
            }
            Placement::Low(hint) | Placement::Anywhere(hint)
                if let Some(start) = self.follow(hint, length) =>
            {
                Ok(start)
            }
            Placement::Low(_) => self.regions.lowest_gap(length, LOW_WINDOW).ok_or_else(no_room),
            Placement::Anywhere(_) => {
                let below = self.regions.highest_gap(length, LOWEST..self.layout.mapping_ceiling);
                below.or_else(|| self.regions.lowest_gap(length, whole)).ok_or_else(no_room)
            }
        }
    }

    /// Where a hint leads, if it can be followed: down to a page, but not below what programs can map.
    fn follow(&self, hint: usize, length: usize) -> Option<usize> {
        if hint < PAGE_SIZE {
            return None;
        }
        let start = (hint & !(PAGE_SIZE - 1)).max(LOWEST);
        let end = start.checked_add(length)?;
        (end <= Hardware::USER_END && self.regions.is_free(start..end)).then_some(start)
    }

    /// Whether regions there are may become so many more. Errors: ENOMEM.
    pub fn check_room(&self, more: usize) -> Result<()> {
        if self.regions.count() + more > MOST_REGIONS {
            return Err(Errno::ENOMEM.because("an address space has at most max_map_count regions"));
        }
        Ok(())
    }

    /// Whether something new may be mapped, which Linux lets have one region more than max_map_count. Errors: ENOMEM.
    pub fn check_count(&self) -> Result<()> {
        self.check_room(0)
    }

    /// Whether a region can be added in place of what is in its range: RLIMIT_AS, RLIMIT_DATA, and no single mapping
    /// that could never be filled. Errors: ENOMEM.
    fn check_limits(&self, range: &Range<usize>, region: &Region) -> Result<()> {
        let mut replaced = 0;
        for (start, present) in self.regions.overlapping(range.clone()) {
            replaced += (present.end.min(range.end) - start.max(range.start)) / PAGE_SIZE;
        }
        let pages = range.len() / PAGE_SIZE;
        let data = if region.is_data() { pages } else { 0 };
        self.check_growth(pages.saturating_sub(replaced), data)?;
        let counted = region.is_data() && !region.flags.contains(RegionFlags::NO_RESERVE);
        if counted { check_affordable(pages) } else { Ok(()) }
    }

    /// Errors: ENOMEM when so many pages more, and so many data pages, are more than the limits allow.
    pub fn check_growth(&self, pages: usize, data: usize) -> Result<()> {
        let most = |limit: u64| usize::try_from(limit / PAGE_SIZE as u64).unwrap_or(usize::MAX);
        if self.regions.pages().saturating_add(pages) > most(self.limits.address_space) {
            return Err(Errno::ENOMEM.because("RLIMIT_AS bounds the address space"));
        }
        if data > 0 && self.regions.data_pages().saturating_add(data) > most(self.limits.data) {
            return Err(Errno::ENOMEM.because("RLIMIT_DATA bounds private writable memory"));
        }
        Ok(())
    }

    /// Takes whatever is in a range out, regions and pages.
    pub fn take_out(&mut self, range: Range<usize>) {
        self.mappings.remove(range.clone());
        self.regions.remove(range, |_, _| ());
    }

    /// Brings in every page of a range that lies in one region. Errors: what the first touch that fails meets.
    pub fn bring_in(&mut self, range: Range<usize>, access: Access) -> Result<(), Fault> {
        for page in range.step_by(PAGE_SIZE) {
            if self.mappings.get_for(page, access).is_none() {
                self.fault(page, access)?;
            }
        }
        Ok(())
    }
}

/// Refuses what could never be had: more private memory in one piece than the machine has. (Less is granted, however
/// much there is of it together: programs ask for far more than they touch. proc(5), overcommit_memory 0.)
pub(super) fn check_affordable(pages: usize) -> Result<()> {
    if pages > frames::most_for_programs() {
        return Err(Errno::ENOMEM.because("no single mapping is larger than the machine's memory"));
    }
    Ok(())
}

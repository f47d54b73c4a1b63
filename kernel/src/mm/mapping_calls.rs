//! Changing what is mapped: munmap(2), mprotect(2), mremap(2), brk(2).
//!
//! Each first looks whether it may, then does it; where Linux applies a call to the regions before the one that stops
//! it, so does this.

use super::{
    address_space::{AddressSpace, Space},
    faults::for_table,
    placement::{Placement, check_affordable, whole_pages},
    regions::{Backing, Region, RegionFlags},
    reserve,
};
use crate::{
    abi::{Errno, Result},
    arch::{Hardware, Machine, PAGE_SIZE, Permissions},
};
use core::ops::Range;

bitflags::bitflags! {
    /// mremap(2), flags.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct RemapFlags: u32 {
        /// The mapping may go elsewhere.
        const MAYMOVE = 1;
        /// It must go to the address given, in place of what is there.
        const FIXED = 2;
        /// Its pages go, it stays, empty.
        const DONTUNMAP = 4;
    }
}

impl AddressSpace {
    /// Takes away whatever is mapped in a range.
    ///
    /// Errors: EINVAL for a range that is empty, not on a page, beyond what programs can address, or that would split a
    /// special mapping; ENOMEM when a split needs one region too many.
    pub fn unmap(&self, start: usize, length: usize) -> Result<()> {
        self.space.lock().unmap(start, length)
    }

    /// Checks the range that mprotect(2) was given; `None`: it is empty.
    ///
    /// Errors: EINVAL (not on a page); ENOMEM (it wraps).
    pub fn check_protect(&self, start: usize, length: usize) -> Result<Option<Range<usize>>> {
        if !start.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL.because("mprotect starts at a page"));
        }
        if length == 0 {
            return Ok(None);
        }
        let end = length.checked_next_multiple_of(PAGE_SIZE).and_then(|length| start.checked_add(length));
        Ok(Some(
            start..end.ok_or_else(|| {
                Errno::ENOMEM.because("mprotect needs every page of its range to be mapped")
            })?,
        ))
    }

    /// Changes what the program may do with a range of pages. `grows_down` also changes what is below it in a region
    /// that grows downwards: PROT_GROWSDOWN.
    ///
    /// Errors: EINVAL (would split a special mapping; `grows_down` elsewhere), ENOMEM (a hole, after the regions before
    /// it were changed; limits), EACCES (more than the mapping allows).
    pub fn protect(&self, range: Range<usize>, permissions: Permissions, grows_down: bool) -> Result<()> {
        reserve::check()?;
        self.space.lock().protect(range, permissions, grows_down)
    }

    /// Moves or resizes a mapping; returns where it is then.
    ///
    /// Errors: EINVAL, EFAULT (nothing mapped, or not in one region), ENOMEM, as mremap(2).
    pub fn remap(
        &self,
        old: usize,
        old_length: usize,
        new_length: usize,
        flags: RemapFlags,
        new: usize,
    ) -> Result<usize> {
        reserve::check()?;
        let mut space = self.space.lock();
        let remap = Remap::check(old, old_length, new_length, flags, new)?;
        space.remap(&remap)
    }

    /// Moves the end of the heap; returns where it is now, which is where it was if it cannot be moved: brk(2).
    pub fn set_break(&self, wanted: usize) -> usize {
        let mut space = self.space.lock();
        if reserve::check().and_then(|()| space.set_break(wanted)).is_ok() {
            space.layout.heap.end = wanted;
        }
        space.layout.heap.end
    }
}

impl Space {
    fn unmap(&mut self, start: usize, length: usize) -> Result<()> {
        let end = length.checked_next_multiple_of(PAGE_SIZE).and_then(|length| start.checked_add(length));
        let end =
            end.filter(|&end| start.is_multiple_of(PAGE_SIZE) && start < end && end <= Hardware::USER_END);
        let end =
            end.ok_or_else(|| Errno::EINVAL.because("munmap takes whole pages that programs can have"))?;
        self.check_hole(&(start..end))?;
        self.take_out(start..end);
        Ok(())
    }

    /// Whether a range may be unmapped, which only inside of a region makes one more.
    ///
    /// Errors: EINVAL for a part of a special mapping; ENOMEM when that makes one region too many.
    fn check_hole(&self, range: &Range<usize>) -> Result<()> {
        if self.regions.splits_special(range) {
            return Err(Errno::EINVAL.because("a special mapping cannot be split"));
        }
        let inside = |(start, region): (usize, &Region)| start < range.start && range.end < region.end;
        if self.regions.find(range.start).is_some_and(inside) {
            reserve::check()?;
            self.check_room(1)?;
        }
        Ok(())
    }

    /// Whether regions may be split at the ends of a range. Errors: as those of [`Self::check_hole`].
    pub fn check_split(&self, range: &Range<usize>) -> Result<()> {
        self.check_hole(range)?;
        if self.check_room(2).is_err() {
            let splits = [range.start, range.end]
                .into_iter()
                .filter(|end| self.regions.find(*end).is_some_and(|(start, _)| start < *end));
            self.check_room(splits.count())?;
        }
        Ok(())
    }

    fn protect(&mut self, mut range: Range<usize>, permissions: Permissions, grows_down: bool) -> Result<()> {
        let hole = || Errno::ENOMEM.because("mprotect needs every page of its range to be mapped");
        let (first, region) = self.regions.at_or_above(range.start).ok_or_else(hole)?;
        if grows_down {
            if first >= range.end {
                return Err(hole());
            }
            if !region.flags.contains(RegionFlags::GROWS_DOWN) {
                return Err(Errno::EINVAL.because("PROT_GROWSDOWN is for regions that grow down"));
            }
            range.start = first;
        }
        let mut reached = range.start;
        while reached < range.end {
            let (start, region) = self.regions.find(reached).ok_or_else(hole)?;
            if !region.maximum.contains(permissions) {
                return Err(Errno::EACCES.because("a mapping allows no more than its file was opened for"));
            }
            let piece = reached..region.end.min(range.end);
            self.check_split(&piece)?;
            let pages = piece.len() / PAGE_SIZE;
            let becomes_data = !region.is_data() && Region { permissions, ..region.clone() }.is_data();
            if becomes_data {
                self.check_growth(0, pages)?;
                if !region.flags.contains(RegionFlags::NO_RESERVE) {
                    check_affordable(pages)?;
                }
            }
            debug_assert!(start <= piece.start);
            let private = !region.is_shared();
            reached = piece.end;
            self.regions.update(piece.clone(), |region| region.permissions = permissions);
            let full = for_table(permissions);
            self.mappings.protect(piece, |_, before| {
                // A private page that is not writable may be someone else's too: only a write finds out.
                let keep_from = private && !before.contains(Permissions::WRITE);
                if keep_from { full - Permissions::WRITE } else { full }
            });
        }
        Ok(())
    }

    fn set_break(&mut self, wanted: usize) -> Result<()> {
        let heap = self.layout.heap.clone();
        let refused = || Errno::ENOMEM.because("the heap cannot end there");
        if wanted < heap.start || wanted > Hardware::USER_END - PAGE_SIZE {
            return Err(refused());
        }
        if (wanted - heap.start + self.layout.data.len()) as u64 > self.limits.data {
            return Err(refused());
        }
        let (before, after) = (heap.end.next_multiple_of(PAGE_SIZE), wanted.next_multiple_of(PAGE_SIZE));
        if after < before {
            return self.unmap(after, before - after);
        }
        if after == before {
            return Ok(());
        }
        let pages = (after - before) / PAGE_SIZE;
        self.check_count()?;
        self.check_growth(pages, pages)?;
        check_affordable(pages)?;
        // One page more must be free, so that the heap never touches what is above it.
        if !self.regions.is_free(before..after + PAGE_SIZE) {
            return Err(refused());
        }
        let region = Region {
            end: after,
            permissions: Permissions::READ | Permissions::WRITE,
            maximum: Permissions::all(),
            flags: self.future_flags,
            backing: Backing::Anonymous,
        };
        self.regions.insert(before, region);
        Ok(())
    }

    fn remap(&mut self, remap: &Remap) -> Result<usize> {
        let Remap { old, old_length, new_length, flags, .. } = *remap;
        let must_move = flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP);
        let (start, region) =
            self.regions.find(old).ok_or_else(|| Errno::EFAULT.because("nothing is mapped there"))?;
        let (end, shared, special) = (region.end, region.is_shared(), region.special().is_some());
        if !must_move && new_length <= old_length {
            if new_length < old_length {
                self.unmap(old + new_length, old_length - new_length)?;
            }
            return Ok(old);
        }
        if old_length == 0 && !shared {
            return Err(Errno::EINVAL.because("only a shared mapping can be mapped a second time"));
        }
        if flags.contains(RemapFlags::DONTUNMAP) && special {
            return Err(Errno::EINVAL.because("a special mapping stays one"));
        }
        // What only moves may be several regions.
        let only_moves = flags.contains(RemapFlags::FIXED) && old_length == new_length;
        if old_length.min(new_length) > end - old && !only_moves {
            return Err(Errno::EFAULT.because("mremap resizes one region"));
        }
        let growth = new_length.saturating_sub(old_length);
        if growth > 0 {
            self.check_resize(start, growth)?;
        }
        if must_move {
            return self.move_to(remap);
        }
        let (old_end, top) = (old + old_length, old.checked_add(new_length));
        let room = top
            .filter(|&top| end == old_end && top <= Hardware::USER_END && self.regions.is_free(old_end..top));
        match room {
            Some(top) if old_length > 0 => {
                self.grow(start, old_end, top);
                Ok(old)
            }
            _ if flags.contains(RemapFlags::MAYMOVE) => self.move_to(remap),
            _ => Err(Errno::ENOMEM.because("the mapping has no room to grow where it is")),
        }
    }

    /// Whether a region may grow by so many bytes. Errors: EFAULT, EINVAL, ENOMEM, EAGAIN.
    fn check_resize(&self, start: usize, growth: usize) -> Result<()> {
        let Some((_, region)) = self.regions.find(start) else { return Ok(()) };
        let pages = growth / PAGE_SIZE;
        match &region.backing {
            Backing::Special { .. } => return Err(Errno::EFAULT.because("a special mapping has its size")),
            Backing::Source { first, .. }
                if first.checked_add((Hardware::USER_END / PAGE_SIZE) as u64).is_none() =>
            {
                return Err(Errno::EINVAL.because("a file has no such offset"));
            }
            _ => {}
        }
        let locked = region.flags.contains(RegionFlags::LOCKED);
        if locked && ((self.regions.locked_pages() + pages) * PAGE_SIZE) as u64 > self.limits.locked {
            return Err(Errno::EAGAIN.because("RLIMIT_MEMLOCK bounds locked memory"));
        }
        self.check_growth(pages, if region.is_data() { pages } else { 0 })?;
        if region.is_data() { check_affordable(pages) } else { Ok(()) }
    }

    /// Extends the region that starts at `start` and ends at `end` up to `top`.
    fn grow(&mut self, start: usize, end: usize, top: usize) {
        let Some((_, region)) = self.regions.find(start) else { return };
        let region = region.part(start, end, top);
        self.regions.insert(end, region);
    }

    /// Moves `remap.old_length` bytes elsewhere, to be `remap.new_length` bytes there.
    fn move_to(&mut self, remap: &Remap) -> Result<usize> {
        let Remap { old, mut old_length, new_length, flags, new } = *remap;
        let keep = flags.contains(RemapFlags::DONTUNMAP);
        if flags.contains(RemapFlags::FIXED) && old_length != new_length {
            self.unmap(new, new_length)?;
        }
        if new_length < old_length {
            self.unmap(old + new_length, old_length - new_length)?;
            old_length = new_length;
        }
        let placement = match flags.contains(RemapFlags::FIXED) {
            true => Placement::Fixed(new),
            false => Placement::Anywhere(if keep { new } else { 0 }),
        };
        let target = self.find_place(placement, new_length)?.start;
        if self.regions.find(old).is_none() {
            return Err(Errno::EFAULT.because("what was to be mapped a second time was in the way of that"));
        }
        let mut reached = old;
        loop {
            let Some((start, region)) = self.regions.at_or_above(reached) else { return Ok(target) };
            let piece = start.max(reached)..region.end.min(old + old_length);
            if piece.start >= piece.end && reached > old {
                return Ok(target);
            }
            // The last piece grows; with a length of 0 it is all there is.
            let last = piece.end == old + old_length;
            let grown = if last { new_length - old_length } else { 0 };
            let copy = region.part(start, piece.start, 0);
            reached = piece.end;
            let place = target + (piece.start - old);
            // Gaps between regions stay gaps; what is in the way of one at its new place is not touched.
            if flags.contains(RemapFlags::FIXED) && old_length == new_length {
                self.unmap(place, piece.len())?;
            }
            self.move_region(piece, place, grown, copy, keep)?;
            if last {
                return Ok(target);
            }
        }
    }

    /// Moves a part of one region to `target`, where it becomes `copy` and gets `grown` bytes more.
    fn move_region(
        &mut self,
        part: Range<usize>,
        target: usize,
        grown: usize,
        copy: Region,
        keep: bool,
    ) -> Result<()> {
        if !part.is_empty() {
            self.check_split(&part)?;
        }
        // What is moved is split off at both ends, and what it lands on too: on Linux all that must have room beforehand.
        self.check_room(4)?;
        let length = part.len() + grown;
        if keep || part.is_empty() {
            let pages = length / PAGE_SIZE;
            self.check_growth(pages, if copy.is_data() { pages } else { 0 })?;
        }
        self.mappings.relocate(part.clone(), target.wrapping_sub(part.start) as isize)?;
        if keep {
            self.regions
                .update(part, |region| region.flags -= RegionFlags::LOCKED | RegionFlags::LOCK_ON_FAULT);
        } else if !part.is_empty() {
            self.take_out(part);
        }
        self.regions.insert(target, Region { end: target + length, ..copy });
        Ok(())
    }
}

/// What mremap(2) was asked for, checked as far as that needs no address space.
struct Remap {
    old: usize,
    old_length: usize,
    new_length: usize,
    flags: RemapFlags,
    new: usize,
}

impl Remap {
    fn check(
        old: usize,
        old_length: usize,
        new_length: usize,
        flags: RemapFlags,
        new: usize,
    ) -> Result<Self> {
        let invalid = |rule| Err(Errno::EINVAL.because(rule));
        let old_length = old_length.checked_next_multiple_of(PAGE_SIZE).unwrap_or(0);
        if !old.is_multiple_of(PAGE_SIZE) {
            return invalid("mremap starts at a page");
        }
        let Ok(new_length) = whole_pages(new_length) else { return invalid("no mapping is so long") };
        if new_length == 0 {
            return invalid("mremap does not unmap");
        }
        if flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP) {
            if new > Hardware::USER_END - new_length || !new.is_multiple_of(PAGE_SIZE) {
                return invalid("a fixed address is a page's, with room above it");
            }
            if !flags.contains(RemapFlags::MAYMOVE) {
                return invalid("MREMAP_FIXED and MREMAP_DONTUNMAP need MREMAP_MAYMOVE");
            }
            if flags.contains(RemapFlags::DONTUNMAP) && old_length != new_length {
                return invalid("MREMAP_DONTUNMAP does not resize");
            }
            if old.saturating_add(old_length) > new && new + new_length > old {
                return invalid("a mapping cannot move onto itself");
            }
        }
        Ok(Self { old, old_length, new_length, flags, new })
    }
}

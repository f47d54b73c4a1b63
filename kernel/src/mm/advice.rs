//! What a program tells the kernel about its memory, or asks: madvise(2), mlock(2), mincore(2), msync(2).
//!
//! All memory is RAM and stays where it is, so most advice changes nothing; what changes what a program can see
//! (DONTNEED, FREE, the inheritance on fork) is followed, and everything is checked as Linux checks it.

use super::{
    address_space::{AddressSpace, Space},
    regions::{Backing, Region, RegionFlags},
    reserve,
};
use crate::{
    abi::{Errno, Result, linux},
    arch::{Access, Hardware, Machine, PAGE_SIZE, Permissions},
};
use core::ops::Range;

/// What madvise(2) can be told here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Advice {
    /// Nothing that matters to memory that is all RAM.
    Hint,
    /// As `Hint`, but refused where pages cannot be paged out.
    Age,
    /// The contents may go: what is read next is as freshly mapped.
    Forget { anonymous_only: bool },
    /// These flags are to be set.
    Set(RegionFlags),
    /// These flags are to be cleared.
    Clear(RegionFlags),
    /// All pages are to be brought in as by this access.
    Populate(Access),
}

impl Advice {
    fn new(number: u32) -> Result<Self> {
        Ok(match number {
            linux::MADV_NORMAL | linux::MADV_RANDOM | linux::MADV_SEQUENTIAL | linux::MADV_WILLNEED => {
                Self::Hint
            }
            linux::MADV_COLD | linux::MADV_PAGEOUT => Self::Age,
            linux::MADV_DONTNEED => Self::Forget { anonymous_only: false },
            // Allowed to take effect at once, and here it does.
            linux::MADV_FREE => Self::Forget { anonymous_only: true },
            linux::MADV_DONTFORK => Self::Set(RegionFlags::DONT_FORK),
            linux::MADV_DOFORK => Self::Clear(RegionFlags::DONT_FORK),
            linux::MADV_WIPEONFORK => Self::Set(RegionFlags::WIPE_ON_FORK),
            linux::MADV_KEEPONFORK => Self::Clear(RegionFlags::WIPE_ON_FORK),
            linux::MADV_DONTDUMP => Self::Set(RegionFlags::DONT_DUMP),
            linux::MADV_DODUMP => Self::Clear(RegionFlags::DONT_DUMP),
            linux::MADV_POPULATE_READ => Self::Populate(Access::Read),
            linux::MADV_POPULATE_WRITE => Self::Populate(Access::Write),
            _ => return Err(Errno::EINVAL.because("this advice is not known here")),
        })
    }

    /// Whether a region can be advised so. Errors: EINVAL.
    fn check(self, region: &Region) -> Result<()> {
        let data = region.special().is_some_and(|kind| !kind.maximum().contains(Permissions::WRITE));
        let refused = match self {
            Self::Hint => false,
            Self::Age => region.flags.contains(RegionFlags::LOCKED) || data,
            Self::Forget { anonymous_only } => {
                let anonymous = matches!(region.backing, Backing::Anonymous);
                region.flags.contains(RegionFlags::LOCKED) || data || (anonymous_only && !anonymous)
            }
            Self::Set(RegionFlags::WIPE_ON_FORK) => {
                !matches!(region.backing, Backing::Anonymous) || region.is_shared()
            }
            Self::Clear(RegionFlags::DONT_FORK) => data,
            Self::Clear(RegionFlags::DONT_DUMP) => {
                region.special().is_some() || region.flags.contains(RegionFlags::DROPPABLE)
            }
            Self::Clear(RegionFlags::WIPE_ON_FORK) => region.flags.contains(RegionFlags::DROPPABLE),
            Self::Set(_) | Self::Clear(_) => false,
            Self::Populate(Access::Write) => data || !region.permissions.contains(Permissions::WRITE),
            Self::Populate(_) => data || region.permissions.is_empty(),
        };
        if refused {
            Err(Errno::EINVAL.because("this kind of mapping does not take this advice"))
        } else {
            Ok(())
        }
    }
}

/// Rounds a range to pages as most of these calls do: the start must be a page's; a length in the last page before 2^64
/// becomes 0, as it does in Linux' arithmetic. `None`: it is empty.
fn pages(start: usize, length: usize, too_long: Errno) -> Result<Option<Range<usize>>> {
    if !start.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.because("the range starts at a page"));
    }
    let rounded = length.checked_next_multiple_of(PAGE_SIZE).unwrap_or(0);
    let end = start.checked_add(rounded).ok_or(too_long)?;
    Ok((start < end).then_some(start..end))
}

fn hole() -> Errno {
    Errno::ENOMEM.because("part of the range is not mapped")
}

impl AddressSpace {
    /// madvise(2). Parts that are not mapped are passed over, and make it ENOMEM in the end. Returns the range if its pages
    /// are to be brought in: with [`Self::advise_populate`], piece by piece.
    ///
    /// Errors: EINVAL, ENOMEM.
    pub fn advise(&self, start: usize, length: usize, advice: u32) -> Result<Option<Range<usize>>> {
        let advice = Advice::new(advice)?;
        let Some(range) = pages(start, length, Errno::EINVAL)? else {
            let wrapped = length > 0;
            return if wrapped { Err(Errno::EINVAL.because("the range wraps")) } else { Ok(None) };
        };
        if let Advice::Populate(_) = advice {
            return Ok(Some(range));
        }
        let mut space = self.space.lock();
        let space = &mut *space;
        let whole = space.regions.cover(range.clone());
        let mut reached = range.start;
        while let Some((start, region)) =
            space.regions.at_or_above(reached).filter(|(start, _)| reached < range.end && *start < range.end)
        {
            let piece = start.max(range.start)..region.end.min(range.end);
            advice.check(region)?;
            reached = piece.end;
            match advice {
                Advice::Hint | Advice::Age | Advice::Populate(_) => {}
                Advice::Forget { .. } => space.mappings.remove(piece),
                Advice::Set(flags) => space.change_flags(piece, |present| present.insert(flags))?,
                Advice::Clear(flags) => space.change_flags(piece, |present| present.remove(flags))?,
            }
        }
        if whole { Ok(None) } else { Err(hole()) }
    }

    /// MADV_POPULATE_READ and MADV_POPULATE_WRITE on whole pages.
    ///
    /// Errors: ENOMEM (a hole, no memory), EINVAL (it may not be touched so), EFAULT (nothing is behind it).
    pub fn advise_populate(&self, range: Range<usize>, advice: u32) -> Result<()> {
        let advice = Advice::new(advice)?;
        let Advice::Populate(access) = advice else { return Ok(()) };
        let mut space = self.space.lock();
        let mut reached = range.start;
        while reached < range.end {
            let (_, region) = space.regions.find(reached).ok_or_else(hole)?;
            let piece = reached..region.end.min(range.end);
            advice.check(region)?;
            reached = piece.end;
            space.bring_in(piece, access).map_err(|fault| fault.errno())?;
        }
        Ok(())
    }

    /// mlock2(2): marks the regions of a range; returns its pages, which the caller brings in unless `on_fault`.
    ///
    /// Errors: EINVAL (the range wraps), EPERM (nothing may be locked), ENOMEM (RLIMIT_MEMLOCK, or not all is mapped).
    pub fn lock(&self, start: usize, length: usize, on_fault: bool) -> Result<Range<usize>> {
        let first = start & !(PAGE_SIZE - 1);
        let length = length.wrapping_add(start - first);
        let mut space = self.space.lock();
        space.check_lock_right()?;
        let Some(range) = pages(first, length, Errno::EINVAL)? else { return Ok(first..first) };
        let already: usize = space
            .regions
            .overlapping(range.clone())
            .filter(|(_, region)| region.flags.contains(RegionFlags::LOCKED))
            .map(|(start, region)| region.end.min(range.end) - start.max(range.start))
            .sum();
        let total = (space.regions.locked_pages() * PAGE_SIZE + range.len()).saturating_sub(already);
        if total as u64 > space.limits.locked {
            return Err(Errno::ENOMEM.because("RLIMIT_MEMLOCK bounds locked memory"));
        }
        space.set_locked(range.clone(), lock_flags(on_fault))?;
        Ok(range)
    }

    /// Whether so many bytes more may be locked as they are mapped: MAP_LOCKED. Errors: EPERM, EAGAIN.
    pub fn check_may_lock(&self, length: usize) -> Result<()> {
        let space = self.space.lock();
        space.check_lock_right()?;
        let total = (space.regions.locked_pages() * PAGE_SIZE).saturating_add(length) as u64;
        if total.next_multiple_of(PAGE_SIZE as u64) > space.limits.locked {
            return Err(Errno::EAGAIN.because("RLIMIT_MEMLOCK bounds locked memory"));
        }
        Ok(())
    }

    /// Whether what is mapped at an address is to have its pages without being touched.
    pub fn wants_pages(&self, address: usize) -> bool {
        let space = self.space.lock();
        let flags = space.regions.find(address).map_or(RegionFlags::empty(), |(_, region)| region.flags);
        flags & lock_flags(true) == RegionFlags::LOCKED
    }

    /// The first region that ends above an address.
    pub fn next_region(&self, address: usize) -> Option<Range<usize>> {
        self.space.lock().regions.at_or_above(address).map(|(start, region)| start..region.end)
    }

    /// munlock(2). Errors: EINVAL, ENOMEM (not all is mapped).
    pub fn unlock(&self, start: usize, length: usize) -> Result<()> {
        let first = start & !(PAGE_SIZE - 1);
        let length = length.wrapping_add(start - first);
        let Some(range) = pages(first, length, Errno::EINVAL)? else { return Ok(()) };
        self.space.lock().set_locked(range, RegionFlags::empty())
    }

    /// mlockall(2): marks what is mapped now, what will be, or both. The caller brings the pages in.
    ///
    /// Errors: EPERM, ENOMEM.
    pub fn lock_all(&self, current: bool, future: bool, on_fault: bool) -> Result<()> {
        let mut space = self.space.lock();
        space.check_lock_right()?;
        if current && (space.regions.pages() * PAGE_SIZE) as u64 > space.limits.locked {
            return Err(Errno::ENOMEM.because("RLIMIT_MEMLOCK bounds locked memory"));
        }
        space.future_flags = if future { lock_flags(on_fault) } else { RegionFlags::empty() };
        if current {
            space
                .regions
                .update(0..Hardware::USER_END, |region| set_lock_flags(region, lock_flags(on_fault)));
        }
        Ok(())
    }

    /// munlockall(2).
    pub fn unlock_all(&self) {
        let mut space = self.space.lock();
        space.future_flags = RegionFlags::empty();
        space.regions.update(0..Hardware::USER_END, |region| set_lock_flags(region, RegionFlags::empty()));
    }

    /// mincore(2): for each page from `start` on, 1 if it is in RAM.
    ///
    /// Errors: ENOMEM (not all is mapped).
    pub fn residency(&self, start: usize, answers: &mut [u8]) -> Result<()> {
        let space = self.space.lock();
        let range = start..start + answers.len() * PAGE_SIZE;
        if !space.regions.cover(range.clone()) {
            return Err(hole());
        }
        answers.fill(0);
        space.mappings.visit(range.clone(), |page, _, _| answers[(page - start) / PAGE_SIZE] = 1);
        for (region_start, region) in space.regions.overlapping(range.clone()) {
            let Backing::Source { source, first } = &region.backing else { continue };
            for page in (region_start.max(start)..region.end.min(range.end)).step_by(PAGE_SIZE) {
                if source.page_if_present(first + ((page - region_start) / PAGE_SIZE) as u64).is_some() {
                    answers[(page - start) / PAGE_SIZE] = 1;
                }
            }
        }
        Ok(())
    }

    /// msync(2), its checks: there is no disk to bring anything to. `invalidate`: MS_INVALIDATE.
    ///
    /// Errors: EINVAL (not on a page), EBUSY (invalidating what is locked), ENOMEM (not all is mapped).
    pub fn synchronize(&self, start: usize, length: usize, invalidate: bool) -> Result<()> {
        let Some(range) = pages(start, length, Errno::ENOMEM)? else { return Ok(()) };
        let space = self.space.lock();
        let mut locked = space.regions.overlapping(range.clone());
        if invalidate && locked.any(|(_, region)| region.flags.contains(RegionFlags::LOCKED)) {
            return Err(Errno::EBUSY.because("what is locked in memory is not invalidated"));
        }
        if space.regions.cover(range) { Ok(()) } else { Err(hole()) }
    }
}

impl Space {
    fn change_flags(&mut self, range: Range<usize>, change: impl Fn(&mut RegionFlags)) -> Result<()> {
        self.check_split(&range)?;
        reserve::check()?;
        self.regions.update(range, |region| change(&mut region.flags));
        Ok(())
    }

    fn check_lock_right(&self) -> Result<()> {
        if self.limits.locked == 0 {
            return Err(Errno::EPERM.because("with RLIMIT_MEMLOCK 0 locking needs CAP_IPC_LOCK"));
        }
        Ok(())
    }

    fn set_locked(&mut self, range: Range<usize>, flags: RegionFlags) -> Result<()> {
        let mapped = range.start..self.regions.uncovered(range.clone()).unwrap_or(range.end);
        if mapped.start < mapped.end {
            self.check_split(&mapped)?;
            reserve::check()?;
            self.regions.update(mapped.clone(), |region| set_lock_flags(region, flags));
        }
        if mapped == range { Ok(()) } else { Err(hole()) }
    }
}

/// How a locked region is flagged.
fn lock_flags(on_fault: bool) -> RegionFlags {
    if on_fault { RegionFlags::LOCKED | RegionFlags::LOCK_ON_FAULT } else { RegionFlags::LOCKED }
}

fn set_lock_flags(region: &mut Region, flags: RegionFlags) {
    // What the kernel put there is there anyway.
    if region.special().is_none() {
        region.flags = (region.flags - lock_flags(true)) | flags;
    }
}

//! What happens when a page is touched that the page table does not allow: it is brought in, copied, or refused.
//!
//! The same path serves the program's own touches and the kernel's on its behalf. It never waits: every page is in RAM
//! or is made there.
//!
//! * A private page that others may see too (after fork, or a file's) is mapped without WRITE; the first write finds it
//!   so and copies it, unless the program holds the only reference: then it becomes the program's own as it is.
//! * Reading fresh anonymous memory maps a page of zeros, the same for everyone, until it is written. A table of which
//!   only parts are used costs what is used.
//! * Neighbours come along where that is cheap. A file's pages that are there already come sixteen at a time. Fresh
//!   anonymous ones come in runs that double as long as touches follow each other, contiguous and aligned: on a machine
//!   where a fault is dear, a memory that is filled from one end to the other takes a sixteenth of them.

use super::{
    PageRef,
    address_space::{AddressSpace, Space},
    mappings::Mappings,
    regions::{Backing, Region, RegionFlags, STACK_GUARD_GAP},
    source::PageSource,
    special::{Special, SpecialPages},
};
use crate::{
    abi::{Errno, Result, Signal, linux},
    arch::{Access, Hardware, Machine, PAGE_SIZE, Permissions},
    sync::Once,
};
use core::ops::Range;

/// Why a touch was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing is mapped there.
    NotMapped,
    /// What is mapped there may not be touched so.
    NotPermitted,
    /// It is mapped, but what is behind it has no such page: a file that has become shorter.
    NoPage,
    /// There is no memory for the page: some process has to end before the touch can be answered.
    OutOfMemory,
}

impl Fault {
    /// The signal the program gets for it, and its `si_code`, sigaction(2); none when memory is out, as that is not the
    /// program's doing.
    pub const fn signal_and_code(self) -> Option<(Signal, i32)> {
        match self {
            Self::NotMapped => Some((Signal::SIGSEGV, linux::SEGV_MAPERR as i32)),
            Self::NotPermitted => Some((Signal::SIGSEGV, linux::SEGV_ACCERR as i32)),
            Self::NoPage => Some((Signal::SIGBUS, linux::BUS_ADRERR as i32)),
            Self::OutOfMemory => None,
        }
    }

    /// What a system call says that met it on the program's behalf.
    pub fn errno(self) -> Errno {
        match self {
            Self::OutOfMemory => Errno::ENOMEM,
            _ => Errno::EFAULT.because("a pointer argument leads nowhere the program may go"),
        }
    }
}

impl From<Errno> for Fault {
    /// What a page that could not be had means to who touched it.
    fn from(errno: Errno) -> Self {
        if errno == Errno::ENOMEM { Self::OutOfMemory } else { Self::NoPage }
    }
}

/// The largest run that comes along, as a power of two in pages: 64 KiB.
const LARGEST_RUN: u32 = 4;

/// How a space was touched last, to tell whether touches follow each other.
#[derive(Default)]
pub(super) struct Window {
    /// The pages that came with the last touch of fresh anonymous memory.
    last: Range<usize>,
    /// The size of the next run if the touches go on.
    order: u32,
}

impl Window {
    /// The order of the run to bring in for a page.
    fn order_for(&self, page: usize) -> u32 {
        let follows = page == self.last.end || page + PAGE_SIZE == self.last.start;
        if follows { self.order } else { 0 }
    }

    fn note(&mut self, run: Range<usize>) {
        let pages = run.len() / PAGE_SIZE;
        self.order = (pages.ilog2() + 1).min(LARGEST_RUN);
        self.last = run;
    }
}

impl AddressSpace {
    /// Answers a touch by the program. `Ok`: the same instruction can run again.
    pub fn fault(&self, address: usize, access: Access) -> Result<(), Fault> {
        self.space.lock().fault(address, access)
    }
}

impl Space {
    /// Makes the page at an address accessible, if the program has a right to it.
    #[cold]
    pub fn fault(&mut self, address: usize, access: Access) -> Result<(), Fault> {
        if address >= Hardware::USER_END {
            return Err(Fault::NotMapped);
        }
        let page = address & !(PAGE_SIZE - 1);
        let (start, region) = match self.regions.find(page) {
            Some(found) => found,
            None => {
                self.grow_stack(page)?;
                self.regions.find(page).ok_or(Fault::NotMapped)?
            }
        };
        let allowed = match access {
            // Whatever may be touched at all can be read: the processor knows no other way.
            Access::Read => !region.permissions.is_empty(),
            Access::Write | Access::Execute => region.permissions.contains(access.needs()),
        };
        if !allowed {
            return Err(Fault::NotPermitted);
        }
        let present = self.mappings.get(page).map(|(_, permissions)| permissions);
        let Some(permissions) = present else {
            let touch = Touch { page, access, start, region };
            return touch.bring_in(&mut self.mappings, &mut self.special, &mut self.window);
        };
        if permissions.contains(access.needs()) {
            return Ok(());
        }
        let private = !region.is_shared();
        if private && access == Access::Write {
            return make_own(&mut self.mappings, page, for_table(region.permissions));
        }
        let limit = if private {
            for_table(region.permissions) - Permissions::WRITE
        } else {
            for_table(region.permissions)
        };
        Ok(self.mappings.protect_page(page, limit)?)
    }

    /// Extends the region above a page down to it, if that one grows: mmap(2), MAP_GROWSDOWN.
    fn grow_stack(&mut self, page: usize) -> Result<(), Fault> {
        let (start, region) = self.regions.at_or_above(page).ok_or(Fault::NotMapped)?;
        let grown = (start - page) / PAGE_SIZE;
        let refused = !region.flags.contains(RegionFlags::GROWS_DOWN)
            || (region.end - page) as u64 > self.limits.stack
            || (self.regions.pages() + grown) as u64 > self.limits.address_space / PAGE_SIZE as u64
            || page < super::placement::LOWEST;
        // Another stack below, or pages nobody can touch, need no gap.
        let crowded = self.regions.below(start).is_some_and(|(_, below)| {
            !below.flags.contains(RegionFlags::GROWS_DOWN)
                && !below.permissions.is_empty()
                && page - below.end < STACK_GUARD_GAP
        });
        if refused || crowded {
            return Err(Fault::NotMapped);
        }
        self.regions.extend_down(start, page);
        Ok(())
    }
}

/// What the page table is to allow where a region has these permissions: whatever can be touched can be read.
pub(super) fn for_table(permissions: Permissions) -> Permissions {
    if permissions.is_empty() { permissions } else { permissions | Permissions::READ }
}

/// Makes a private page writable: the program's own, if it is not already.
fn make_own(mappings: &mut Mappings, page: usize, permissions: Permissions) -> Result<(), Fault> {
    let Some((content, _)) = mappings.get(page) else { return Ok(()) };
    if content.count() == 1 {
        return Ok(mappings.protect_page(page, permissions)?);
    }
    let copy = if *content == *zero_page()? { PageRef::zeroed()? } else { content.copy()? };
    Ok(mappings.put(page, copy, permissions)?)
}

/// The page that everyone sees where nobody has written yet.
fn zero_page() -> Result<&'static PageRef> {
    static ZERO: Once<PageRef> = Once::new();
    ZERO.try_call_once(PageRef::zeroed)
}

/// A permitted touch of a page that is not there.
struct Touch<'a> {
    page: usize,
    access: Access,
    /// Where the region starts.
    start: usize,
    region: &'a Region,
}

impl Touch<'_> {
    fn bring_in(
        &self,
        mappings: &mut Mappings,
        special: &mut SpecialPages,
        window: &mut Window,
    ) -> Result<(), Fault> {
        match &self.region.backing {
            Backing::Anonymous if self.access == Access::Write => self.fresh(mappings, window),
            Backing::Anonymous => Ok(mappings.put(self.page, zero_page()?.clone(), self.without_write())?),
            Backing::Source { source, first } => self.take_from_source(mappings, &**source, *first),
            Backing::Special { kind, first } => self.take_from_kernel(mappings, special, *kind, *first),
        }
    }

    fn permissions(&self) -> Permissions {
        for_table(self.region.permissions)
    }

    fn without_write(&self) -> Permissions {
        self.permissions() - Permissions::WRITE
    }

    /// Pages into the region.
    fn index(&self) -> usize {
        (self.page - self.start) / PAGE_SIZE
    }

    /// Zeros of the program's own: a run of them if touches follow each other and nothing is there yet.
    fn fresh(&self, mappings: &mut Mappings, window: &mut Window) -> Result<(), Fault> {
        let order = (1..=window.order_for(self.page)).rev().find(|&order| self.has_room(mappings, order));
        let run = order.and_then(|order| Some((order, PageRef::zeroed_run(order as usize)?)));
        let Some((order, pages)) = run else {
            mappings.put(self.page, PageRef::zeroed()?, self.permissions())?;
            window.note(self.page..self.page + PAGE_SIZE);
            return Ok(());
        };
        let run = self.aligned(order);
        for (page, content) in run.clone().step_by(PAGE_SIZE).zip(pages) {
            mappings.put(page, content, self.permissions())?;
        }
        window.note(run);
        Ok(())
    }

    /// The aligned run of 2^order pages around the page.
    fn aligned(&self, order: u32) -> Range<usize> {
        let size = PAGE_SIZE << order;
        let first = self.page & !(size - 1);
        first..first + size
    }

    /// Whether such a run lies in the region, and none of its pages is there.
    fn has_room(&self, mappings: &Mappings, order: u32) -> bool {
        let run = self.aligned(order);
        let mut present = false;
        mappings.visit(run.clone(), |_, _, _| present = true);
        run.start >= self.start && run.end <= self.region.end && !present
    }

    fn take_from_source(
        &self,
        mappings: &mut Mappings,
        source: &dyn PageSource,
        first: u64,
    ) -> Result<(), Fault> {
        if !self.region.is_shared() && self.access != Access::Write {
            self.take_what_is_present(mappings, source, first)?;
            if mappings.get(self.page).is_some() {
                return Ok(());
            }
        }
        let content = source.page(first + self.index() as u64)?;
        if self.region.is_shared() {
            return Ok(mappings.put(self.page, content, self.permissions())?);
        }
        if self.access == Access::Write {
            return Ok(mappings.put(self.page, content.copy()?, self.permissions())?);
        }
        Ok(mappings.put(self.page, content, self.without_write())?)
    }

    /// Maps the page and its neighbours as far as they are there already.
    fn take_what_is_present(
        &self,
        mappings: &mut Mappings,
        source: &dyn PageSource,
        first: u64,
    ) -> Result<(), Fault> {
        let around = self.aligned(LARGEST_RUN);
        let around = around.start.max(self.start)..around.end.min(self.region.end);
        let mut contents = [const { None }; 1 << LARGEST_RUN];
        let contents = &mut contents[..around.len() / PAGE_SIZE];
        source.pages_if_present(first + ((around.start - self.start) / PAGE_SIZE) as u64, contents);
        Ok(mappings.fill(around.start, contents, self.without_write())?)
    }

    fn take_from_kernel(
        &self,
        mappings: &mut Mappings,
        special: &mut SpecialPages,
        kind: Special,
        first: usize,
    ) -> Result<(), Fault> {
        let source = &*special.source;
        match kind {
            Special::VvarVclock => Err(Fault::NoPage),
            Special::Vvar => {
                let pages = source.vvar_pages(first + self.index());
                if pages.is_empty() {
                    return Err(Fault::NoPage);
                }
                special.vvar_is_touched = true;
                for (slot, content) in pages {
                    let page = self.start + (slot - first) * PAGE_SIZE;
                    mappings.put(page, content, self.permissions())?;
                }
                Ok(())
            }
            Special::Vdso => {
                let content = source.vdso_image().get(first + self.index()).ok_or(Fault::NoPage)?;
                if self.access == Access::Write {
                    return Ok(mappings.put(self.page, content.copy()?, self.permissions())?);
                }
                Ok(mappings.put(self.page, content.clone(), self.without_write())?)
            }
        }
    }
}

//! A page table that owns what it points at: each present entry is one counted reference to its frame.
//!
//! The machine's page table knows only numbers. Here a number goes in as a [`PageRef`] and comes out as one, so that no
//! frame can be freed while some program still sees it, nor be lost when the last mapping of it goes.

use super::PageRef;
use crate::{
    abi::Result,
    arch::{
        Access, Frame, Hardware, Machine, Mapping, PAGE_SIZE, PageTable, Permissions, TableRoot, Translation,
    },
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::{Deref, Range},
};

/// The table of one address space.
pub(super) struct Mappings {
    table: PageTable,
    /// Entries present, each of which is a reference to a frame.
    resident: usize,
    /// The most there have been.
    peak: usize,
    /// Pages looked up lately, for the kernel's own touches.
    recent: Recent,
}

/// Some pages looked up lately, to be read and to be written, each at the place its number gives: a call's answer mostly
/// goes where an earlier one's went, and then the table need not be walked. All are forgotten at every change of a page
/// that is there; a page put where nothing was cannot be here.
struct Recent {
    to_read: Places,
    to_write: Places,
}

/// Pages, and the frame behind each. (Two tables and not one of pairs: either is indexed by one address.)
struct Places {
    pages: [usize; Places::COUNT],
    frames: [Frame; Places::COUNT],
}

impl Places {
    const COUNT: usize = 4;
    /// At no page's address.
    const NOTHING: usize = usize::MAX;
    const NEW: Self = Self { pages: [Self::NOTHING; Self::COUNT], frames: [Frame(0); Self::COUNT] };

    const fn place(page: usize) -> usize {
        page / PAGE_SIZE % Self::COUNT
    }

    #[inline(always)]
    fn get(&self, page: usize) -> Option<Frame> {
        let place = Self::place(page);
        if self.pages[place] == page { Some(self.frames[place]) } else { None }
    }

    fn note(&mut self, page: usize, frame: Frame) {
        let place = Self::place(page);
        (self.pages[place], self.frames[place]) = (page, frame);
    }
}

impl Recent {
    const NEW: Self = Self { to_read: Places::NEW, to_write: Places::NEW };

    #[inline(always)]
    fn get(&self, page: usize, access: Access) -> Option<Frame> {
        match access {
            Access::Read => self.to_read.get(page),
            Access::Write => self.to_write.get(page),
            Access::Execute => None,
        }
    }

    fn note(&mut self, page: usize, mapping: Mapping) {
        if mapping.permissions.contains(Permissions::READ) {
            self.to_read.note(page, mapping.frame);
        }
        if mapping.permissions.contains(Permissions::WRITE) {
            self.to_write.note(page, mapping.frame);
        }
    }

    fn forget(&mut self) {
        *self = Self::NEW;
    }
}

/// A reference that stays where it is, in the table, lent out for as long as the table is not changed.
pub(super) struct Lent<'a>(ManuallyDrop<PageRef>, PhantomData<&'a Mappings>);

impl Deref for Lent<'_> {
    type Target = PageRef;
    fn deref(&self) -> &PageRef {
        &self.0
    }
}

impl Lent<'_> {
    fn new(frame: Frame) -> Self {
        // SAFETY: `ManuallyDrop` keeps the reference that is in the table from being given back here.
        Self(ManuallyDrop::new(unsafe { PageRef::from_raw(frame) }), PhantomData)
    }
}

impl Mappings {
    /// An empty one. Errors: ENOMEM.
    pub fn new() -> Result<Self> {
        Ok(Self {
            table: PageTable::new(super::frames::table_frames())?,
            resident: 0,
            peak: 0,
            recent: Recent::NEW,
        })
    }

    pub fn root(&self) -> TableRoot {
        self.table.root()
    }

    pub fn resident(&self) -> usize {
        self.resident
    }

    pub fn peak(&self) -> usize {
        self.peak
    }

    /// What is behind a page, and what user mode may do with it now.
    pub fn get(&self, page: usize) -> Option<(Lent<'_>, Permissions)> {
        self.table.lookup(page).map(|mapping| (Lent::new(mapping.frame), mapping.permissions))
    }

    /// The same, if user mode could access it so without a fault.
    pub fn get_for(&self, page: usize, access: Access) -> Option<Lent<'_>> {
        let mapping = self.table.lookup(page)?;
        mapping.permissions.contains(access.needs()).then(|| Lent::new(mapping.frame))
    }

    /// The same, for a page that is likely to be asked for again.
    #[inline]
    pub fn find(&mut self, page: usize, access: Access) -> Option<Lent<'_>> {
        if let Some(frame) = self.recent.get(page, access) {
            return Some(Lent::new(frame));
        }
        let mapping = self.table.lookup(page)?;
        self.recent.note(page, mapping);
        mapping.permissions.contains(access.needs()).then(|| Lent::new(mapping.frame))
    }

    /// The same, only if it was asked for lately.
    #[inline(always)]
    pub fn at_hand(&self, page: usize, access: Access) -> Option<Lent<'_>> {
        self.recent.get(page, access).map(Lent::new)
    }

    /// Puts a frame behind a page, in place of what was there. Errors: ENOMEM for a table; then nothing has changed.
    pub fn put(&mut self, page: usize, content: PageRef, permissions: Permissions) -> Result<()> {
        let before = self.table.map(page, Mapping { frame: content.frame(), permissions })?;
        // The table holds the reference from here on.
        content.into_raw();
        match before {
            Some(frame) => {
                self.recent.forget();
                // SAFETY: this was the table's reference, and the table no longer has it.
                drop(unsafe { PageRef::from_raw(frame) });
            }
            None => self.count(1),
        }
        Ok(())
    }

    /// Puts frames behind the pages from `first` on where none are; they lie in one run of 512 that begins at a multiple of
    /// as many. Errors: ENOMEM for a table.
    pub fn fill(
        &mut self,
        first: usize,
        contents: &mut [Option<PageRef>],
        permissions: Permissions,
    ) -> Result<()> {
        let mut filled = 0;
        let result = self.table.fill(first, contents.len(), permissions, |number| {
            // The table holds the reference from here on.
            let frame = contents[number].take()?.into_raw();
            filled += 1;
            Some(frame)
        });
        self.count(filled);
        result
    }

    /// So many more are present.
    fn count(&mut self, more: usize) {
        self.resident += more;
        self.peak = self.peak.max(self.resident);
    }

    /// Changes what user mode may do with a page that is there. Errors: none then.
    pub fn protect_page(&mut self, page: usize, permissions: Permissions) -> Result<()> {
        self.recent.forget();
        let Some(Mapping { frame, .. }) = self.table.lookup(page) else { return Ok(()) };
        // The same reference stays in the table.
        self.table.map(page, Mapping { frame, permissions }).map(|_| ())
    }

    /// Takes every page in the range out.
    pub fn remove(&mut self, range: Range<usize>) {
        self.recent.forget();
        // SAFETY: this was the table's reference, and the table no longer has it.
        self.resident -= self.table.unmap(range, |frame| drop(unsafe { PageRef::from_raw(frame) }));
    }

    /// Changes what user mode may do with each page there is in the range.
    pub fn protect(
        &mut self,
        range: Range<usize>,
        mut change: impl FnMut(usize, Permissions) -> Permissions,
    ) {
        self.recent.forget();
        self.table.change(range, |page, mapping| change(page, mapping.permissions));
    }

    /// Tells of each page there is in the range, ascending.
    pub fn visit(&self, range: Range<usize>, mut visitor: impl FnMut(usize, &PageRef, Permissions)) {
        self.table
            .visit(range, |page, mapping| visitor(page, &Lent::new(mapping.frame), mapping.permissions));
    }

    /// Puts the range's pages into another table too, where none are; afterwards they can be written through neither.
    ///
    /// Errors: ENOMEM; some have been put then, and the caller takes them out.
    pub fn share(&mut self, range: Range<usize>, other: &mut Self) -> Result<()> {
        self.recent.forget();
        let mut shared = 0;
        let result = self.table.share(range, &mut other.table, |frame| {
            // The other table holds this one from here on.
            Lent::new(frame).clone().into_raw();
            shared += 1;
        });
        other.count(shared);
        result
    }

    /// Moves the range's pages `distance` bytes further up, where none are now; the ranges may not overlap.
    ///
    /// Errors: ENOMEM; then nothing has changed. (Pages first go in at their new place, holding a second reference for
    /// the moment, so that the only step that can fail is one that can be taken back.)
    pub fn relocate(&mut self, range: Range<usize>, distance: isize) -> Result<()> {
        const PIECE: usize = 64 * PAGE_SIZE;
        let (mut page, mut size) = (range.start, PIECE);
        let mut result = Ok(());
        while page < range.end && result.is_ok() {
            let piece = page..range.end.min(page.saturating_add(size));
            let mut found = arrayvec::ArrayVec::<(usize, PageRef, Permissions), 64>::new();
            self.visit(piece.clone(), |page, content, permissions| {
                if !found.is_full() {
                    found.push((page, content.clone(), permissions));
                }
            });
            // Where nothing is, the steps become longer: a mapping may be larger than memory many times over.
            size = if found.is_empty() { size.saturating_mul(2) } else { PIECE };
            page = found.last().filter(|_| found.is_full()).map_or(piece.end, |last| last.0 + PAGE_SIZE);
            for (page, content, permissions) in found {
                result =
                    result.and_then(|()| self.put(page.wrapping_add_signed(distance), content, permissions));
            }
        }
        match result {
            Ok(()) => self.remove(range),
            Err(_) => self.remove(moved(&range, distance)),
        }
        result
    }
}

/// The range `distance` bytes further up.
fn moved(range: &Range<usize>, distance: isize) -> Range<usize> {
    range.start.wrapping_add_signed(distance)..range.end.wrapping_add_signed(distance)
}

impl Drop for Mappings {
    fn drop(&mut self) {
        if self.resident > 0 {
            self.remove(0..Hardware::USER_END);
        }
    }
}

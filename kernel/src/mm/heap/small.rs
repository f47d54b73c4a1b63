//! Small pieces of the heap that were given back, kept in lists by size for the next who asks.
//!
//! Most of what the kernel allocates is small and soon given back, and the next of that size comes as soon. A list for each
//! multiple of 16 bytes answers that by taking its first piece, a tenth of what looking for a place costs. What a list does
//! not hold comes from behind it, and what it has no room for goes there; the lists hold 16 pieces each, no more than
//! 132 KiB together, and are emptied when frames run out.
//!
//! The pieces are linked through their own first words, so the lists take no memory of their own.

use core::{alloc::Layout, ptr::NonNull};

/// What sizes are multiples of.
const STEP: usize = 16;
/// The largest size there is a list for, in bytes.
const LARGEST: usize = 512;
/// The most pieces of one size.
const MOST: u8 = 16;

/// All lists.
pub(super) struct SmallPieces {
    lists: [List; LARGEST / STEP],
}

#[derive(Clone, Copy)]
struct List {
    first: Option<NonNull<Piece>>,
    count: u8,
}

/// What stands in a piece that nobody uses.
struct Piece {
    next: Option<NonNull<Piece>>,
}

// SAFETY: the pieces are reached through the lists alone, by whoever holds them.
unsafe impl Send for SmallPieces {}

/// What is really asked for in place of this, if there is a list for it: sizes are rounded up.
pub(super) fn rounded(layout: Layout) -> Option<Layout> {
    let fits = layout.size() <= LARGEST && layout.align() <= STEP;
    // Cannot fail: neither is too large.
    fits.then(|| Layout::from_size_align(layout.size().next_multiple_of(STEP), STEP).ok())?
}

impl SmallPieces {
    /// Empty lists.
    pub const fn new() -> Self {
        Self { lists: [List { first: None, count: 0 }; LARGEST / STEP] }
    }

    fn list(&mut self, rounded: Layout) -> Option<&mut List> {
        self.lists.get_mut((rounded.size() / STEP).wrapping_sub(1))
    }

    /// A piece of a size that was [`rounded`], if there is one.
    pub fn take(&mut self, rounded: Layout) -> Option<NonNull<u8>> {
        let list = self.list(rounded)?;
        let piece = list.first?;
        // SAFETY: `put` wrote it, and nobody has had it since.
        list.first = unsafe { piece.read() }.next;
        list.count -= 1;
        Some(piece.cast())
    }

    /// Keeps a piece, unless there are enough of its size: then false.
    ///
    /// # Safety
    /// It was allocated with this layout, which was [`rounded`], and nobody uses it any more.
    pub unsafe fn put(&mut self, piece: NonNull<u8>, rounded: Layout) -> bool {
        let Some(list) = self.list(rounded).filter(|list| list.count < MOST) else { return false };
        let piece = piece.cast::<Piece>();
        // SAFETY: at least 16 bytes, aligned to as many, and ours.
        unsafe { piece.write(Piece { next: list.first }) };
        list.first = Some(piece);
        list.count += 1;
        true
    }

    /// Takes any piece out, with its layout.
    pub fn take_any(&mut self) -> Option<(NonNull<u8>, Layout)> {
        let index = self.lists.iter().position(|list| list.count > 0)?;
        let layout = Layout::from_size_align((index + 1) * STEP, STEP).ok()?;
        self.take(layout).map(|piece| (piece, layout))
    }
}

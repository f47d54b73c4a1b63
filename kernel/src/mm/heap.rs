//! The kernel's heap: the allocator of the crate `talc` over blocks of frames.
//!
//! It begins empty and takes a block (64 KiB, or what a larger request needs) whenever it has no room; a block in which
//! nothing is left goes back to the frames. So the heap is as large as what it holds, give or take fragmentation, and
//! memory that a burst of tasks needed serves programs again after they have ended.
//!
//! Blocks come from the general zone, and when that is empty from the reserve, which is what keeps small allocations
//! from failing: see [`super::reserve`].
//!
//! Small pieces are kept for the next who asks when they are given back: [`small`]. One lock guards both.

mod small;

use super::{
    frames, reserve,
    zones::{Account, ORDERS},
};
use crate::{
    arch::{Frame, Hardware, Machine, PAGE_SIZE},
    sync::SpinLock,
};
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::{self, NonNull},
};
use small::SmallPieces;
use talc::{
    DefaultBinning,
    base::{Talc, binning::Binning},
    source::Source,
};

/// The usual block: 2^4 frames.
const BLOCK_ORDER: usize = 4;

/// What a block can lose to the header, to `talc`'s own bookkeeping in the first one, and to alignment.
const OVERHEAD: usize = 2048;

/// At the start of every block: how to give it back.
#[repr(C, align(16))]
struct Header {
    first: Frame,
    order: u32,
}

/// Where `talc` gets its memory from.
#[derive(Debug)]
struct Blocks {
    /// Frames held.
    frames: usize,
    /// Bytes given out, as asked for.
    in_use: usize,
}

impl Blocks {
    const fn slack(&self) -> usize {
        (self.frames * PAGE_SIZE).saturating_sub(self.in_use)
    }
}

/// A block for a request: of the usual size if there is one, else the smallest that will do.
fn take_block(layout: Layout) -> Option<(Frame, usize)> {
    let size = layout.size().checked_add(layout.align())?.checked_add(OVERHEAD)?;
    let least = size.div_ceil(PAGE_SIZE).next_power_of_two().ilog2() as usize;
    if least >= ORDERS {
        return None;
    }
    let take = |account, order| frames::allocate_run(account, order).map(|frame| (frame, order));
    let usual = least.max(BLOCK_ORDER);
    take(Account::General, usual).or_else(|| take(Account::General, least)).or_else(|| {
        if layout.size() > reserve::LARGEST {
            return None;
        }
        take(Account::Reserve, usual).or_else(|| take(Account::Reserve, least))
    })
}

// SAFETY: no function here allocates from the heap it serves: taking and giving back frames only changes the table of
// frames. Nothing else claims, extends or truncates memory of this `Talc`.
unsafe impl Source for Blocks {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let (first, order) = take_block(layout).ok_or(())?;
        let base = Hardware::frame_pointer(first);
        let header = Header { first, order: order as u32 };
        // SAFETY: the block's frames are ours alone from here on; they follow each other in the kernel's view, and a
        // header is smaller than the first of them.
        unsafe {
            base.cast().write(header);
            let usable = base.add(size_of::<Header>());
            talc.claim(usable.as_ptr(), (PAGE_SIZE << order) - size_of::<Header>()).ok_or(())?;
        }
        talc.source.frames += 1 << order;
        Ok(())
    }

    const TRACK_HEAP_END: bool = true;

    unsafe fn resize(&mut self, chunk_base: *mut u8, heap_end: *mut u8, is_heap_base: bool) -> *mut u8 {
        if !is_heap_base {
            return heap_end;
        }
        // An empty heap begins at most a few bytes behind where it was claimed, in the header's own frame.
        let header = chunk_base.map_addr(|address| address & !(PAGE_SIZE - 1)).cast::<Header>();
        // SAFETY: `acquire` wrote it, and claimed only what lies behind it.
        let Header { first, order } = unsafe { header.read() };
        // One block of room is kept, so that a task that allocates and frees at a block's edge does not pay each time.
        if self.slack() < 2 * (PAGE_SIZE << order) {
            return heap_end;
        }
        self.frames -= 1 << order;
        // SAFETY: the block is empty, and by returning its base we make `talc` forget it.
        unsafe { frames::free_run(first, order as usize) };
        chunk_base
    }
}

/// The heap, as a value so that tests can have their own.
pub struct Heap {
    /// Taken inside any lock; inside it, only the frames'.
    state: SpinLock<State>,
}

/// What the lock guards.
struct State {
    talc: Talc<Blocks, DefaultBinning>,
    small: SmallPieces,
}

impl Heap {
    /// An empty one.
    const fn new() -> Self {
        let talc = Talc::new(Blocks { frames: 0, in_use: 0 });
        Self { state: SpinLock::new(State { talc, small: SmallPieces::new() }) }
    }
}

impl State {
    /// Allocates what the lists do not hold. Its size is above zero.
    #[cold]
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: of a size above zero, as whoever asks a `GlobalAlloc` promises.
        if let Some(pointer) = unsafe { self.talc.allocate(layout) } {
            return Some(pointer);
        }
        self.trim();
        // SAFETY: as above.
        unsafe { self.talc.allocate(layout) }
    }

    /// Gives back what the lists hold.
    fn trim(&mut self) {
        while let Some((piece, layout)) = self.small.take_any() {
            // SAFETY: it was allocated with this layout, and has left the lists.
            unsafe { self.talc.deallocate(piece.as_ptr(), layout) };
        }
    }
}

// SAFETY: `talc` gives out each byte at most once, aligned as asked, from frames that are always mapped.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let state = &mut *self.state.lock();
        let rounded = small::rounded(layout);
        let kept = rounded.and_then(|rounded| state.small.take(rounded));
        match kept.or_else(|| state.allocate(rounded.unwrap_or(layout))) {
            Some(pointer) => {
                state.talc.source.in_use += layout.size();
                pointer.as_ptr()
            }
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let state = &mut *self.state.lock();
        state.talc.source.in_use -= layout.size();
        let rounded = small::rounded(layout);
        // SAFETY: the caller promises that `alloc` gave it, with this layout; so it is not null, and `alloc` rounded so.
        unsafe {
            let kept = rounded.is_some_and(|rounded| {
                let piece = NonNull::new_unchecked(pointer);
                state.small.put(piece, rounded)
            });
            if !kept {
                state.talc.deallocate(pointer, rounded.unwrap_or(layout));
            }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `new_size`, rounded up to the alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let mut state = self.state.lock();
        let in_place = match (small::rounded(layout), small::rounded(new_layout)) {
            // SAFETY: the caller promises that `alloc` gave it, with this layout, and a new size above zero.
            (None, None) => unsafe { state.talc.try_realloc_in_place(pointer, layout, new_size) },
            (before, after) => before == after,
        };
        if in_place {
            state.talc.source.in_use = state.talc.source.in_use - layout.size() + new_size;
            return pointer;
        }
        drop(state);
        // SAFETY: not of size zero; then both are live, at least `layout.size()` long (it grew), and distinct.
        unsafe {
            let new = self.alloc(new_layout);
            if let Some(new) = NonNull::new(new) {
                new.as_ptr().copy_from_nonoverlapping(pointer, layout.size().min(new_size));
                self.dealloc(pointer, layout);
            }
            new
        }
    }
}

/// The kernel's. (On the user-mode machine `Box` and its like come from the host, which is running before there are
/// any frames; there this one stays empty, and what counts is [`Machine::bytes_beside_frames`].)
#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: Heap = Heap::new();

/// Bytes the kernel's objects take.
pub fn bytes_in_use() -> usize {
    HEAP.state.lock().talc.source.in_use + Hardware::bytes_beside_frames()
}

/// Frames the heap holds.
pub(super) fn frames_held() -> usize {
    HEAP.state.lock().talc.source.frames
}

/// Frames it would hold besides if all of it were in some.
pub(super) fn frames_beside() -> usize {
    Hardware::bytes_beside_frames() / PAGE_SIZE
}

/// Bytes the heap holds and has not given out.
pub(super) fn slack() -> usize {
    HEAP.state.lock().talc.source.slack()
}

/// Gives back to the frames what is kept for the next small allocations.
pub(super) fn trim() {
    HEAP.state.lock().trim();
}

#[cfg(test)]
#[path = "tests/heap.rs"]
mod tests;

//! The kernel's heap: the allocator of the crate `talc` over blocks of frames.
//!
//! It begins empty and takes a block (64 KiB, or what a larger request needs) whenever it has no room; a block in which
//! nothing is left goes back to the frames. So the heap is as large as what it holds, give or take fragmentation, and
//! memory that a burst of tasks needed serves programs again after they have ended.
//!
//! Blocks come from the general zone, and when that is empty from the reserve, which is what keeps small allocations
//! from failing: see [`super::reserve`].
//!
//! One lock guards it. Allocating something small and giving it back takes about 130 instructions together, which is why
//! no hot path does so, and why there are no lists of small pieces in front that would have to be emptied again.

use super::{
    frames::{self, Account, ORDERS},
    reserve,
};
use crate::{
    arch::{Frame, Hardware, Machine, PAGE_SIZE},
    sync::SpinLock,
};
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::{self, NonNull},
};
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
    talc: SpinLock<Talc<Blocks, DefaultBinning>>,
}

impl Heap {
    /// An empty one.
    const fn new() -> Self {
        Self { talc: SpinLock::new(Talc::new(Blocks { frames: 0, in_use: 0 })) }
    }
}

// SAFETY: `talc` gives out each byte at most once, aligned as asked, from frames that are always mapped.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut talc = self.talc.lock();
        // SAFETY: the caller promises a size above zero.
        match unsafe { talc.allocate(layout) } {
            Some(pointer) => {
                talc.source.in_use += layout.size();
                pointer.as_ptr()
            }
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let mut talc = self.talc.lock();
        talc.source.in_use -= layout.size();
        // SAFETY: the caller promises that `alloc` gave it, with this layout.
        unsafe { talc.deallocate(pointer, layout) };
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let mut talc = self.talc.lock();
        // SAFETY: the caller promises that `alloc` gave it, with this layout, and a new size above zero.
        if unsafe { talc.try_realloc_in_place(pointer, layout, new_size) } {
            talc.source.in_use = talc.source.in_use - layout.size() + new_size;
            return pointer;
        }
        drop(talc);
        // SAFETY: the caller promises that `new_size`, rounded up to the alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
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
/// any frames; there this one stays empty.)
#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: Heap = Heap::new();

/// Bytes the kernel's objects take.
pub fn bytes_in_use() -> usize {
    HEAP.talc.lock().source.in_use
}

/// Frames the heap holds.
pub(super) fn frames_held() -> usize {
    HEAP.talc.lock().source.frames
}

/// Bytes the heap holds and has not given out.
pub(super) fn slack() -> usize {
    HEAP.talc.lock().source.slack()
}

#[cfg(test)]
#[path = "tests/heap.rs"]
mod tests;

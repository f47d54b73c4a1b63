//! RAM: anonymous memory of the process, which the host provides page by page as it is touched.

use crate::arch::{Frame, PAGE_SIZE};
use core::{alloc::Layout, ptr::NonNull};

/// Frame 0 is left out, as on a real machine: its number means "none" to somebody, somewhere.
pub const FIRST_FRAME: u32 = 1;
/// One past the last frame: 256 MiB.
pub const FRAME_LIMIT: u32 = 1 << 16;

struct Arena(NonNull<u8>);

// SAFETY: whoever owns a frame owns its bytes.
unsafe impl Sync for Arena {}
// SAFETY: the same.
unsafe impl Send for Arena {}

/// The kernel's view of a frame.
pub fn pointer(frame: Frame) -> NonNull<u8> {
    static ARENA: spin::Once<Arena> = spin::Once::new();

    assert!((FIRST_FRAME..FRAME_LIMIT).contains(&frame.0), "{frame:?} is not RAM");
    let arena = ARENA.call_once(|| {
        let layout = Layout::from_size_align(FRAME_LIMIT as usize * PAGE_SIZE, PAGE_SIZE).expect("it fits");
        // From the host's allocator and not from the kernel's, which may itself be made of these frames.
        // SAFETY: the size is not zero.
        let memory = unsafe { std::alloc::GlobalAlloc::alloc_zeroed(&std::alloc::System, layout) };
        Arena(NonNull::new(memory).expect("the host has 256 MiB of address space"))
    });
    // SAFETY: the frame is inside.
    unsafe { arena.0.add(frame.0 as usize * PAGE_SIZE) }
}

//! The kernel's own objects: they come from the host's allocator, and are counted.
//!
//! RAM is to have room for them as a bare machine's has, or programs could have the kernel take all memory of the host.
//! They do not lie in it, though: programs' host processes map RAM, and whoever writes to the kernel's objects can have the
//! kernel, a process of the host, do anything.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::alloc::System;

struct Counted;

/// Unit tests' own objects are not the kernel's.
#[cfg_attr(not(test), global_allocator)]
static HEAP: Counted = Counted;

static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes given out.
pub fn bytes() -> usize {
    BYTES.load(Relaxed)
}

// SAFETY: all is the host's allocator's doing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are what it asks for.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            BYTES.fetch_add(layout.size(), Relaxed);
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the same.
        unsafe { System.dealloc(pointer, layout) };
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the same.
        let new = unsafe { System.realloc(pointer, layout, new_size) };
        if !new.is_null() {
            BYTES.fetch_add(new_size.wrapping_sub(layout.size()), Relaxed);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_out_and_not_given_back_is_counted() {
        let before = bytes();
        let (small, large) = (Layout::new::<[u64; 3]>(), Layout::new::<[u64; 500]>());
        // SAFETY: of sizes above zero; what was got is given back once, with the layout that it has by then.
        unsafe {
            let pointer = HEAP.alloc(small);
            assert_eq!(bytes() - before, 24);
            let pointer = HEAP.realloc(pointer, small, large.size());
            assert_eq!(bytes() - before, 4000);
            let pointer = HEAP.realloc(pointer, large, small.size());
            assert_eq!(bytes() - before, 24);
            HEAP.dealloc(pointer, small);
        }
        assert_eq!(bytes(), before);
    }
}

//! The heap against what an allocator promises, and what it gives back.

use super::*;
use crate::mm::frames::tests::{held, with_frames_left};
use alloc::vec::Vec;
use proptest::prelude::*;

impl Heap {
    fn get(&self, size: usize, align: usize) -> Option<(NonNull<u8>, Layout)> {
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: no test asks for size 0.
        NonNull::new(unsafe { self.alloc(layout) }).map(|pointer| (pointer, layout))
    }

    fn give_back(&self, (pointer, layout): (NonNull<u8>, Layout)) {
        // SAFETY: what is given back here came from `get`.
        unsafe { self.dealloc(pointer.as_ptr(), layout) };
    }

    fn state(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.talc.source.frames, state.talc.source.in_use)
    }
}

/// Fills what was allocated with a byte of its own, and looks whether it is still there.
fn fill((pointer, layout): (NonNull<u8>, Layout), value: u8) {
    // SAFETY: allocated, and nobody else's.
    unsafe { pointer.write_bytes(value, layout.size()) };
}

fn holds((pointer, layout): (NonNull<u8>, Layout), value: u8) -> bool {
    // SAFETY: allocated and written by `fill`.
    unsafe { core::slice::from_raw_parts(pointer.as_ptr(), layout.size()) }.iter().all(|byte| *byte == value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn keeps_what_it_is_given_and_gives_blocks_back(
        steps in prop::collection::vec((0u8..4, 1usize..20_000, 0u32..7, any::<prop::sample::Index>()), 1..300),
    ) {
        let before = held();
        let heap = Heap::new();
        let mut live = Vec::new();
        let mut bytes = 0;
        for (number, (act, size, align, which)) in steps.into_iter().enumerate() {
            let value = number as u8;
            if act < 2 || live.is_empty() {
                // Mostly small, as the kernel's are.
                let size = if act == 0 { size } else { size % 300 + 1 };
                let got = heap.get(size, 1 << align).unwrap();
                prop_assert_eq!(got.0.as_ptr() as usize % (1 << align), 0);
                fill(got, value);
                bytes += size;
                live.push((got, value));
            } else if act == 2 {
                let (got, value) = live.swap_remove(which.index(live.len()));
                prop_assert!(holds(got, value));
                bytes -= got.1.size();
                heap.give_back(got);
            } else {
                let index = which.index(live.len());
                let ((pointer, layout), value) = live[index];
                // SAFETY: live, with this layout, and to a size above 0.
                let new = NonNull::new(unsafe { heap.realloc(pointer.as_ptr(), layout, size) }).unwrap();
                let kept = Layout::from_size_align(size.min(layout.size()), 1).unwrap();
                prop_assert!(holds((new, kept), value));
                let layout = Layout::from_size_align(size, layout.align()).unwrap();
                fill((new, layout), value);
                bytes = bytes - live[index].0.1.size() + size;
                live[index].0 = (new, layout);
            }
            prop_assert_eq!(heap.state().1, bytes);
            prop_assert_eq!(heap.state().0 as isize, held() - before);
        }
        for (got, value) in live {
            prop_assert!(holds(got, value));
            heap.give_back(got);
        }
        heap.state.lock().trim();
        let (frames, bytes) = heap.state();
        prop_assert_eq!(bytes, 0);
        prop_assert!(frames <= 3 << BLOCK_ORDER, "an empty heap holds {} frames", frames);
    }
}

#[test]
fn a_burst_is_given_back() {
    let heap = Heap::new();
    let kept = heap.get(100, 8).unwrap();
    let burst: Vec<_> = (0..20_000).map(|_| heap.get(200, 8).unwrap()).collect();
    let (full, _) = heap.state();
    assert!(full * PAGE_SIZE >= 4_000_000);
    burst.into_iter().for_each(|got| heap.give_back(got));
    let (left, in_use) = heap.state();
    assert_eq!(in_use, 100);
    assert!(left <= 3 << BLOCK_ORDER, "{left} frames are kept for 100 bytes");
    heap.give_back(kept);
}

#[test]
fn what_is_given_back_small_serves_the_next_of_its_size_and_the_frames_when_they_run_out() {
    let heap = Heap::new();
    let all: Vec<_> = (0..100).map(|_| heap.get(200, 8).unwrap()).collect();
    let last = all[15].0;
    all.into_iter().for_each(|got| heap.give_back(got));
    let again = heap.get(193, 16).unwrap();
    assert_eq!(again.0, last, "16 are kept, and the last of them is first to go");
    heap.give_back(again);
    let other = heap.get(192, 16).unwrap();
    assert_ne!(other.0, last, "another size");
    heap.give_back(other);
    let kept = core::iter::from_fn(|| heap.state.lock().small.take_any()).count();
    assert_eq!(kept, 17);
}

#[test]
fn small_allocations_go_on_when_programs_have_nothing_left_and_large_ones_are_refused() {
    let heap = Heap::new();
    with_frames_left(0, || {
        let small: Vec<_> = (0..1000).map(|_| heap.get(300, 8).expect("the reserve is for this")).collect();
        assert!(heap.get(64 * 1024, 8).is_none(), "what is large is not for the reserve");
        let medium = heap.get(reserve::LARGEST, 8).expect("and this is not large");
        heap.give_back(medium);
        small.into_iter().for_each(|got| heap.give_back(got));
    });
    assert!(heap.get(64 * 1024, 8).is_some());
    assert!(heap.get(PAGE_SIZE << ORDERS, 8).is_none(), "no block is so large");
    assert!(heap.get(isize::MAX as usize - 64, 8).is_none());
}

//! Why the kernel's own allocations do not fail on a program's account.
//!
//! `Box::new` cannot say no: in Rust a failed allocation ends the kernel. So memory is refused earlier, at two gates:
//! * Whatever grows with what programs ask for page by page (their memory, page tables, files' contents) comes from the
//!   general zone of [`super::frames`], never from the reserve, and fails with ENOMEM when that is empty.
//! * A call that makes kernel objects (open, clone, mmap, pipe …) asks [`check`] first and fails with ENOMEM when the
//!   heap has come down to its last part. What the call then allocates, a few hundred bytes here and there, is
//!   certain to be found: the heap falls back on the reserve, a run of frames nobody else can have.
//!
//! Memory for programs is not given out to the last frame either. Who is to end what uses it up, a shell and the `kill` it
//! starts, needs some too; so the last of it is kept, and two marks say for whom:
//!
//! | frames free | what is refused below |
//! |---|---|
//! | what is kept, `K` | a page that a call fills for a file or a pipe; one more child to a process with many |
//! | `K / 2` | a child to any process; a page to a program that touches it, until another process has ended for it |
//!
//! A call can fail with ENOMEM; a touch cannot, and so it is what ends processes: the task's side of that stands in
//! `task/out_of_memory.rs`. As touches stop where any process may still have a child, whatever has happened, a shell can
//! start a program. (Linux keeps about as much, `vm.min_free_kbytes`, for itself alone; its fork never fails, but
//! ends other processes.)
//!
//! Allocations whose size a program chooses keep out of this bargain: they use `try_reserve` and take the error. To keep
//! one of them from eating the reserve, the heap serves no request above [`LARGEST`] from it.
//!
//! (The alternative is to make every allocation in the kernel fallible, as Linux does. In today's Rust that means doing
//! without `Arc`, `BTreeMap` and most of `alloc`; the price here is one check at the head of a call.)

use super::{frames, heap};
use crate::{
    abi::{Errno, Result},
    arch::PAGE_SIZE,
};

/// The largest allocation the reserve serves, in bytes.
pub const LARGEST: usize = 32 * 1024;

/// Frames to set aside of `available`: a sixteenth, as a power of two, 1 MiB to 16 MiB.
pub(super) fn size_for(available: usize) -> usize {
    let wanted = (available / 16).clamp(256, 4096);
    1 << wanted.ilog2()
}

/// Whether a call may make kernel objects: half the reserve must be there, as free frames or as free bytes in the heap.
///
/// Errors: ENOMEM.
pub fn check() -> Result<()> {
    let (free, size) = frames::reserve_state();
    if free * PAGE_SIZE + heap::slack() >= size * PAGE_SIZE / 2 {
        return Ok(());
    }
    Err(Errno::ENOMEM.because("the kernel keeps what is left of its memory for calls already begun"))
}

/// Whether what is left is at least this part of what is kept: a number of halves.
fn is_left(halves: usize) -> bool {
    let (total, free) = frames::total_and_free();
    free >= size_for(total) / 2 * halves
}

/// Whether there is memory for one more task of a process that has so many children: a loop that makes tasks is to meet
/// an error while there is enough for the shell that will end what the loop made.
///
/// Errors: ENOMEM.
pub fn check_for_task(children: usize) -> Result<()> {
    const FEW: usize = 16;
    if is_left(if children < FEW { 1 } else { 2 }) {
        return Ok(());
    }
    Err(Errno::ENOMEM.because("what is left of memory is for the tasks there are"))
}

/// Whether there is memory for what a call puts into a file or a pipe.
///
/// Errors: ENOMEM.
pub fn check_for_contents() -> Result<()> {
    if is_left(2) {
        return Ok(());
    }
    Err(Errno::ENOMEM.because("what is left of memory is for the tasks there are"))
}

/// Whether so little is left that a program may have no page just because it touches it.
pub fn is_low() -> bool {
    !is_left(1)
}

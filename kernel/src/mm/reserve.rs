//! Why the kernel's own allocations do not fail on a program's account.
//!
//! `Box::new` cannot say no: in Rust a failed allocation ends the kernel. So memory is refused earlier, at two gates:
//! * Whatever grows with what programs ask for page by page (their memory, page tables, files' contents) comes from the
//!   general zone of [`super::frames`], never from the reserve, and fails with ENOMEM when that is empty.
//! * A call that makes kernel objects (open, clone, mmap, pipe …) asks [`check`] first and fails with ENOMEM when the
//!   heap has come down to its last part. What the call then allocates, a few hundred bytes here and there, is
//!   certain to be found: the heap falls back on the reserve, a run of frames nobody else can have.
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

/// Whether there is memory for one more task of a process that has so many children: a part of the programs' memory is kept
/// for the tasks there are, so that a loop that makes tasks meets an error before they all lack the next page. A process
/// with few children may use half of it: the shell that is to end what the loop made.
///
/// Errors: ENOMEM.
pub fn check_for_task(children: usize) -> Result<()> {
    const FEW: usize = 16;
    let memory = frames::statistics();
    let kept = size_for(memory.total);
    if memory.free >= if children < FEW { kept / 2 } else { kept } {
        return Ok(());
    }
    Err(Errno::ENOMEM.because("what is left of memory is for the tasks there are"))
}

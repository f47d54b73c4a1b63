//! RAM: a file without a name, which the kernel and the programs' host processes map alike.
//!
//! A program's memory must be seen by two kinds of host process, the kernel and the program's own, so it cannot be private
//! memory of either. A file made by memfd_create(2) can be mapped by both; frame number N is the page at offset N * 4096 of
//! it, and a mapping in a page table becomes one mmap(2) of that page. The host provides the file's pages as they are touched,
//! filled with zeros, so RAM that is never used costs nothing.
//!
//! The kernel's own objects are not in it but only count against it: see [`super::heap`]. What it has in RAM are frames: page
//! tables, and the table of who uses which. No program has those mapped.

use super::host::SharedMemory;
use crate::arch::{Frame, PAGE_SIZE};
use core::ptr::NonNull;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Frame 0 is left out, as on a real machine: its number means "none" to somebody, somewhere.
pub const FIRST_FRAME: u32 = 1;
/// The first frame that is the kernel's to give; below it unit tests of page tables have theirs.
pub const FIRST_FREE: u32 = if cfg!(test) { 128 } else { FIRST_FRAME };
/// RAM when nobody says how much: 256 MiB.
pub const DEFAULT_SIZE: u64 = 256 << 20;

struct Ram {
    memory: SharedMemory,
    frame_limit: u32,
}

static RAM: spin::Once<Ram> = spin::Once::new();

impl Ram {
    /// Makes so many bytes, rounded down to whole frames.
    fn new(bytes: u64) -> io::Result<Self> {
        let frame_limit = u32::try_from(bytes / PAGE_SIZE as u64).map_err(io::Error::other)?;
        let memory = SharedMemory::new(c"gnomon RAM", frame_limit as usize * PAGE_SIZE)?;
        Ok(Self { memory, frame_limit })
    }

    fn pointer(&self, frame: Frame) -> NonNull<u8> {
        assert!((FIRST_FRAME..self.frame_limit).contains(&frame.0), "{frame:?} is not RAM");
        self.memory.pointer(frame.0 as usize * PAGE_SIZE, PAGE_SIZE)
    }
}

fn ram() -> &'static Ram {
    // Unit tests begin without a boot.
    RAM.call_once(|| Ram::new(DEFAULT_SIZE).expect("the host gives 256 MiB of address space"))
}

/// Makes RAM of so many bytes. Errors: what the host says.
pub fn initialize(bytes: u64) -> io::Result<()> {
    RAM.try_call_once(|| Ram::new(bytes)).map(drop)
}

/// One past the last frame.
pub fn frame_limit() -> u32 {
    ram().frame_limit
}

/// The file that is RAM, to be mapped by programs' host processes.
pub fn file() -> BorrowedFd<'static> {
    ram().memory.file.as_fd()
}

/// Where in the file a frame lies.
pub fn offset(frame: Frame) -> u64 {
    u64::from(frame.0) * PAGE_SIZE as u64
}

/// The kernel's view of a frame.
pub fn pointer(frame: Frame) -> NonNull<u8> {
    ram().pointer(frame)
}

/// Whether an address of the kernel's lies in its view of RAM.
pub fn holds(address: *const u8) -> bool {
    RAM.get().is_some_and(|ram| ram.memory.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_frame_is_a_page_of_the_file() {
        let ram = Ram::new(1 << 20).unwrap();
        assert_eq!(ram.frame_limit, 256);
        // SAFETY: a frame, which nobody else knows.
        unsafe { ram.pointer(Frame(3)).write(42) };
        let mut byte = [0];
        ram.memory.file.read_exact_at(&mut byte, offset(Frame(3))).unwrap();
        assert_eq!(byte, [42]);
    }

    #[test]
    #[should_panic(expected = "is not RAM")]
    fn frame_0_is_nobodys() {
        pointer(Frame(0));
    }

    #[test]
    fn more_frames_than_have_numbers_are_refused() {
        assert!(Ram::new(u64::MAX).is_err());
    }
}

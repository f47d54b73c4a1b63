//! What the kernel has a host process do to itself: the host calls of the stub.
//!
//! A process' memory can only be changed from inside. So the kernel writes operations down where the stub finds them, keeps
//! a copy to itself, and hands the turn over; and each time the stub then makes a call, the host asks the kernel first,
//! which lets happen what is next in its own copy and nothing else. Only what takes away is not asked about. A program that
//! jumps into the stub, or writes to where the operations are, can have no other call made that the kernel has not ordered.

use super::{layout, memory};
use crate::arch::{Frame, PAGE_SIZE, Permissions};
use core::ops::Range;

/// A host call, as the stub finds it in its slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number.
    pub number: i64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Its result, once it was made.
    pub result: i64,
}

/// In [`Operation::result`] before it was made.
pub const NOT_MADE: i64 = i64::MIN;

impl Operation {
    /// A call with these arguments, and zeros for the others.
    pub fn new(number: i64, arguments: &[u64]) -> Self {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        Self { number, arguments: all, result: NOT_MADE }
    }

    /// Makes a run of pages show a run of frames.
    ///
    /// The host fills its own page table at once (MAP_POPULATE): else every first touch would be a fault again, though one
    /// that only the host sees.
    pub fn map(pages: Range<usize>, first: Frame, permissions: Permissions) -> Self {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_POPULATE;
        Self::new(
            libc::SYS_mmap,
            &[
                pages.start as u64,
                pages.len() as u64,
                protection(permissions),
                flags as u64,
                layout::RAM_DESCRIPTOR as u64,
                memory::offset(first),
            ],
        )
    }

    /// Makes a slot's memory appear in its place.
    pub fn map_slot(place: usize, offset: u64) -> Self {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        Self::new(
            libc::SYS_mmap,
            &[
                place as u64,
                layout::SLOT_SIZE as u64,
                protection as u64,
                flags as u64,
                layout::SLOTS_DESCRIPTOR as u64,
                offset,
            ],
        )
    }

    /// Takes pages away.
    pub fn unmap(pages: Range<usize>) -> Self {
        Self::new(libc::SYS_munmap, &[pages.start as u64, pages.len() as u64])
    }

    /// Changes what may be done with pages, all of which are there.
    pub fn protect(pages: Range<usize>, permissions: Permissions) -> Self {
        Self::new(libc::SYS_mprotect, &[pages.start as u64, pages.len() as u64, protection(permissions)])
    }

    /// Whether the host asks the kernel before it makes this call for the stub: see [`super::filter`].
    pub fn is_asked(&self) -> bool {
        match self.number {
            libc::SYS_munmap => false,
            libc::SYS_prctl => self.arguments != Self::die_with_kernel().arguments,
            libc::SYS_mprotect => self.arguments[2] != libc::PROT_READ as u64,
            _ => true,
        }
    }

    /// Has the host kill the process when the kernel's ends, however that comes about. A new process has to say so itself:
    /// it is not inherited.
    pub fn die_with_kernel() -> Self {
        Self::new(libc::SYS_prctl, &[libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64])
    }
}

/// What a new process shares with its maker: its parent, and nothing else.
pub const CLONE_PROCESS: i32 = libc::CLONE_PARENT;
/// What a new thread shares with its maker: all there is.
pub const CLONE_THREAD: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM;

fn protection(permissions: Permissions) -> u64 {
    let mut protection = libc::PROT_NONE;
    for (permission, bit) in [
        (Permissions::READ, libc::PROT_READ),
        (Permissions::WRITE, libc::PROT_WRITE),
        (Permissions::EXECUTE, libc::PROT_EXEC),
    ] {
        if permissions.contains(permission) {
            protection |= bit;
        }
    }
    protection as u64
}

/// All pages a program can have.
pub fn everything() -> Range<usize> {
    0..layout::USER_END
}

const _: () = assert!(size_of::<Operation>() == 64 && PAGE_SIZE == layout::STACK);

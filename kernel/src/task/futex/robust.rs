//! Robust futexes: locks a thread held when it ended are marked, and the next one who wants them is told,
//! get_robust_list(2).
//!
//! The list is in the program's memory and the program's own business until the thread ends. Nothing in it is trusted: it
//! may be broken off, circular, or garbage, and is then followed as far as it makes sense.

use super::{ANY, Word, wake};
use crate::{
    abi::{Result, UserPointer, linux},
    mm::AddressSpace,
    task::Task,
};
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct robust_list_head`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Head {
    first: u64,
    /// From an entry of the list to its futex word.
    offset: i64,
    /// The lock the thread was about to take or give up.
    pending: u64,
}

/// Entries followed at most: then the list is taken for circular.
const MOST: usize = 2048;

/// Marks every lock that the thread, which ends or executes a program, still holds.
pub fn release_all(task: &Task, space: &AddressSpace) {
    let head = task.robust_list.swap(0, Relaxed);
    if head != 0 {
        // Where the list breaks off there is nothing more to do.
        let _ = follow(task, space, head as u64);
    }
}

fn follow(task: &Task, space: &AddressSpace, address: u64) -> Result<()> {
    let head: Head = space.read(UserPointer::new(address as usize))?;
    let pending = Entry::new(head.pending);
    let mut next = Entry::new(head.first);
    for _ in 0..MOST {
        if next.address == address {
            break;
        }
        // The entry may be gone once its lock is given up, so the way on is read first.
        let following = space.read(UserPointer::<u64>::new(next.address as usize));
        if next.address != pending.address {
            release(task, space, next, head.offset, false)?;
        }
        next = Entry::new(following?);
    }
    if pending.address != 0 {
        release(task, space, pending, head.offset, true)?;
    }
    Ok(())
}

/// An entry's address; its lowest bit says that the lock inherits priorities.
#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    inherits: bool,
}

impl Entry {
    fn new(bits: u64) -> Self {
        Self { address: bits & !1, inherits: bits & 1 != 0 }
    }
}

fn release(task: &Task, space: &AddressSpace, entry: Entry, offset: i64, pending: bool) -> Result<()> {
    let word = Word { address: entry.address.wrapping_add_signed(offset) as usize, shared: true };
    let owner = task.id();
    let held = |value: u32| value & linux::FUTEX_TID_MASK == owner;
    let marked = |value: u32| held(value).then_some(value & linux::FUTEX_WAITERS | linux::FUTEX_OWNER_DIED);
    let before =
        space.with_atomic_u32(word.address, true, |value| value.fetch_update(AcqRel, Acquire, marked))?;
    let someone_waits = match before {
        Ok(value) => value & linux::FUTEX_WAITERS != 0 && !entry.inherits,
        // It had given up a lock already, but perhaps not yet told who waits.
        Err(value) => pending && value == 0 && !entry.inherits,
    };
    if someone_waits {
        wake(space, word, 1, ANY)?;
    }
    Ok(())
}

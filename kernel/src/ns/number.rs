//! Inode numbers of namespaces: what `time:[4026532177]` shows, and what tells two namespaces apart.
//!
//! The lowest free number is given out first and a number is used again when its namespace is gone, as Linux does: tools
//! that compare numbers must compare them while both namespaces are alive.

use crate::sync::SpinLock;
use alloc::collections::BTreeSet;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of the initial user namespace.
pub const INITIAL_USER: u32 = 0xEFFF_FFFD;
/// Where the numbers given out begin.
const FIRST: u32 = 0xF000_0000;

/// Nothing is taken inside it.
static POOL: SpinLock<Pool> = SpinLock::new(Pool { next: FIRST, returned: BTreeSet::new() });

struct Pool {
    /// All numbers from here on are free.
    next: u32,
    /// Free numbers below `next`.
    returned: BTreeSet<u32>,
}

/// A namespace's inode number; free again when dropped.
#[derive(Debug)]
pub struct InodeNumber(u32);

impl InodeNumber {
    /// One of the fixed numbers, which are not of the pool.
    pub const fn fixed(number: u32) -> Self {
        Self(number)
    }

    /// The lowest free one.
    pub fn allocate() -> Self {
        let mut pool = POOL.lock();
        if let Some(number) = pool.returned.pop_first() {
            return Self(number);
        }
        pool.next += 1;
        Self(pool.next - 1)
    }

    /// The number.
    pub const fn get(&self) -> u32 {
        self.0
    }
}

impl Drop for InodeNumber {
    fn drop(&mut self) {
        if self.0 < FIRST {
            return;
        }
        let mut pool = POOL.lock();
        pool.returned.insert(self.0);
        // Keep the set small: numbers at the end of it join the free rest.
        while let Some(last) = pool.next.checked_sub(1).filter(|last| pool.returned.remove(last)) {
            pool.next = last;
        }
    }
}

/// The identity that is never used twice: NS_GET_ID, ioctl_nsfs(2). The initial namespaces have the lowest ones.
pub fn next_unique_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(FIRST_UNIQUE_ID);
    NEXT.fetch_add(1, Relaxed)
}

/// The unique id of the initial user namespace, as on Linux 6.18.
pub const INITIAL_USER_ID: u64 = 4099;
/// Linux has eight initial namespaces, with ids up to 4100.
const FIRST_UNIQUE_ID: u64 = 4101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_given_out_and_comes_back() {
        let (a, b, c) = (InodeNumber::allocate(), InodeNumber::allocate(), InodeNumber::allocate());
        assert!(a.get() < b.get() && b.get() < c.get());
        let freed = a.get();
        drop(a);
        assert_eq!(InodeNumber::allocate().get(), freed);
        drop((b, c));
        assert_eq!(InodeNumber::allocate().get(), freed);
    }
}

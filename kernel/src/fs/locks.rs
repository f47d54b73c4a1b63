//! Advisory locks on files: of ranges by fcntl(2), of whole files by flock(2).
//!
//! Both are the same thing with different owners: a range lock belongs to a process (in truth to its table of descriptors)
//! or to an open file (F_OFD_SETLK), a flock always to an open file. The two families do not see each other. A wait for
//! a lock that waits for a lock of its own owner's (EDEADLK) is not looked for: such a program waits until a signal.

use super::{File, Path};
use crate::{
    abi::{Errno, Result, TaskId},
    sync::{SpinLock, WaitQueue},
};
use alloc::{collections::BTreeMap, vec::Vec};
use core::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Which of the two kinds of lock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// Of ranges, fcntl(2).
    Record,
    /// Of whole files, flock(2).
    Whole,
}

/// Who holds a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// All who share this table of descriptors, by [`super::FileTable::id`].
    Table(u64),
    /// All who share this open file, by [`file_id`].
    OpenFile(usize),
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Whose it is.
    pub owner: Owner,
    /// The process that asked for it, shown by F_GETLK.
    pub process: TaskId,
    /// Which bytes; `u64::MAX` is the end of everything.
    pub range: Range<u64>,
    /// Whether nobody else may hold any lock there; else only no exclusive one.
    pub exclusive: bool,
}

/// The locks on one file.
#[derive(Default)]
struct Locks(Vec<Lock>);

impl Locks {
    fn conflict(&self, wanted: &Lock) -> Option<&Lock> {
        self.0.iter().find(|held| {
            held.owner != wanted.owner
                && (held.exclusive || wanted.exclusive)
                && held.range.start < wanted.range.end
                && wanted.range.start < held.range.end
        })
    }

    /// Frees what the owner holds in the range.
    fn free(&mut self, owner: Owner, range: &Range<u64>) {
        let mut kept = Vec::with_capacity(self.0.len());
        for held in self.0.drain(..) {
            if held.owner != owner {
                kept.push(held);
                continue;
            }
            let before = held.range.start..held.range.end.min(range.start);
            let after = held.range.start.max(range.end)..held.range.end;
            for range in [before, after] {
                if !range.is_empty() {
                    kept.push(Lock { range, ..held.clone() });
                }
            }
        }
        self.0 = kept;
    }
}

type Key = (Family, u64, u64);

/// Nothing is taken inside it.
static FILES: SpinLock<BTreeMap<Key, Locks>> = SpinLock::new(BTreeMap::new());
/// How many files have locks: so that closing a file without any costs nothing.
static LOCKED_FILES: AtomicUsize = AtomicUsize::new(0);
static FREED: WaitQueue = WaitQueue::new();

fn key(family: Family, path: &Path) -> Key {
    let metadata = path.inode().metadata();
    (family, metadata.device.encode(), metadata.number)
}

/// Identifies an open file while it is open.
pub fn file_id(file: &File) -> usize {
    core::ptr::from_ref(file).addr()
}

/// Woken whenever a lock is freed anywhere.
pub fn wait_queue() -> &'static WaitQueue {
    &FREED
}

/// The first lock that stands in the way of this one.
pub fn test(family: Family, path: &Path, wanted: &Lock) -> Option<Lock> {
    FILES.lock().get(&key(family, path)).and_then(|locks| locks.conflict(wanted)).cloned()
}

/// Takes a lock; of what the owner held in the range this is all that is left. Errors: EAGAIN when another's stands in
/// the way.
pub fn set(family: Family, path: &Path, wanted: Lock) -> Result<()> {
    crate::mm::reserve::check()?;
    let mut files = FILES.lock();
    let locks = files.entry(key(family, path)).or_default();
    let conflict = locks.conflict(&wanted).is_some();
    if !conflict {
        locks.free(wanted.owner, &wanted.range);
        locks.0.push(wanted);
    }
    tidy(&mut files);
    drop(files);
    if conflict {
        return Err(Errno::EAGAIN.because("another's lock is in the way"));
    }
    // A lock may have become a shared one.
    FREED.wake_all();
    Ok(())
}

/// Frees what the owner holds in a range.
pub fn free(family: Family, path: &Path, owner: Owner, range: Range<u64>) {
    let mut files = FILES.lock();
    if let Some(locks) = files.get_mut(&key(family, path)) {
        locks.free(owner, &range);
    }
    tidy(&mut files);
    drop(files);
    FREED.wake_all();
}

fn tidy(files: &mut BTreeMap<Key, Locks>) {
    files.retain(|_, locks| !locks.0.is_empty());
    LOCKED_FILES.store(files.len(), Relaxed);
}

/// A descriptor for the file was closed: as POSIX has it, the process loses all its range locks on it.
pub fn descriptor_closed(table: u64, path: &Path) {
    if LOCKED_FILES.load(Relaxed) != 0 {
        free(Family::Record, path, Owner::Table(table), 0..u64::MAX);
    }
}

/// An open file ends: so do the locks it holds.
pub fn file_closed(file: &File) {
    if LOCKED_FILES.load(Relaxed) != 0 {
        for family in [Family::Record, Family::Whole] {
            free(family, file.path(), Owner::OpenFile(file_id(file)), 0..u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: u64, range: Range<u64>, exclusive: bool) -> Lock {
        Lock { owner: Owner::Table(owner), process: 0, range, exclusive }
    }

    #[test]
    fn shared_locks_share_and_exclusive_ones_do_not() {
        let locks = Locks(Vec::from([lock(1, 0..10, false)]));
        assert!(locks.conflict(&lock(2, 5..6, false)).is_none());
        assert!(locks.conflict(&lock(2, 5..6, true)).is_some());
        assert!(locks.conflict(&lock(2, 10..20, true)).is_none(), "ranges that only touch");
        assert!(locks.conflict(&lock(1, 0..10, true)).is_none(), "one's own lock");
    }

    #[test]
    fn freeing_the_middle_leaves_both_ends() {
        let mut locks = Locks(Vec::from([lock(1, 0..10, true), lock(2, 20..30, true)]));
        locks.free(Owner::Table(1), &(3..5));
        locks.free(Owner::Table(1), &(20..30));
        assert_eq!(locks.0, [lock(1, 0..3, true), lock(1, 5..10, true), lock(2, 20..30, true)]);
    }
}

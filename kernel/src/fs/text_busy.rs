//! A regular file is written or executed, never both at once: ETXTBSY of open(2), truncate(2) and execve(2).
//!
//! A program's pages come from its file while it runs, so whoever wrote the file would change a running program. Each open
//! file that writes, and each that is executed, says so here for as long as it is open.

use super::{Inode, Kind};
use crate::{
    abi::{Errno, Result},
    sync::SpinLock,
};
use alloc::{collections::BTreeMap, sync::Arc};

/// What a file's contents are used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// They are changed.
    Writing,
    /// They are run.
    Executing,
}

impl Purpose {
    /// What each use counts: writers upwards from zero, executions downwards, so that the sign says which there are.
    const fn step(self) -> isize {
        match self {
            Self::Writing => 1,
            Self::Executing => -1,
        }
    }
}

/// Files in use, by where their objects are in memory. Nothing is taken inside it.
static IN_USE: SpinLock<BTreeMap<usize, isize>> = SpinLock::new(BTreeMap::new());

/// One use of a file's contents; over when dropped.
pub struct Use {
    /// Held, so that its address stays its own.
    inode: Arc<dyn Inode>,
    purpose: Purpose,
}

fn key(inode: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(inode).cast::<()>() as usize
}

impl Use {
    /// Begins one; `None` for objects other than regular files. Errors: ETXTBSY.
    pub fn begin(inode: &Arc<dyn Inode>, purpose: Purpose) -> Result<Option<Self>> {
        if inode.kind() != Kind::Regular {
            return Ok(None);
        }
        let mut in_use = IN_USE.lock();
        let count = in_use.entry(key(inode)).or_insert(0);
        if *count * purpose.step() < 0 {
            return Err(Errno::ETXTBSY.because("a file is written or executed, not both at once"));
        }
        *count += purpose.step();
        Ok(Some(Self { inode: inode.clone(), purpose }))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut in_use = IN_USE.lock();
        if let Some(count) = in_use.get_mut(&key(&self.inode)) {
            *count -= self.purpose.step();
            if *count == 0 {
                in_use.remove(&key(&self.inode));
            }
        }
    }
}

//! Whose a program's memory is: what ptrace(2) asks besides credentials.
//!
//! It belongs to the memory and not to the process: tasks that share memory share it, a copy of the memory has its own,
//! and executing a program begins anew. The user namespace is that of who executed the program. Entering another one
//! later gives no rights over memory that was filled outside.

use crate::ns::user::UserNamespace;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Who may look into a program's memory.
pub struct Privacy {
    dumpable: AtomicU32,
    owner: Arc<UserNamespace>,
}

impl Privacy {
    /// That of a program just executed, whose memory is its user's own or not.
    pub fn new(is_dumpable: bool, owner: Arc<UserNamespace>) -> Self {
        Self { dumpable: AtomicU32::new(u32::from(is_dumpable)), owner }
    }

    /// That of a copy of the memory.
    pub fn fork(&self) -> Self {
        Self { dumpable: AtomicU32::new(self.dumpable()), owner: self.owner.clone() }
    }

    /// 1 if the memory is the user's own, prctl(2) PR_GET_DUMPABLE.
    pub fn dumpable(&self) -> u32 {
        self.dumpable.load(Relaxed)
    }

    /// PR_SET_DUMPABLE
    pub fn set_dumpable(&self, dumpable: u32) {
        self.dumpable.store(dumpable, Relaxed);
    }

    /// The user namespace in which one must have CAP_SYS_PTRACE to look into memory that is not the user's own.
    pub fn owner(&self) -> &Arc<UserNamespace> {
        &self.owner
    }
}

//! Who makes a call, as far as files need to know.
//!
//! Most of a file system looks only at credentials. A few files look further: a terminal asks for the process group,
//! `/proc/self` for the process, a write for its size limit. Files cannot ask a "current task": tasks hold files, so the
//! task's module stands above this one. It fulfils this trait instead, and every operation is handed the one who acts.

use crate::{
    abi::{Signal, TaskId},
    ns::Credentials,
    sync::LazyLock,
};
use alloc::sync::Arc;

/// The one on whose account an operation is done.
pub trait Actor: Send + Sync {
    /// Its own id, gettid(2). 0 for the kernel itself.
    fn thread_id(&self) -> TaskId;
    /// Its process' id, getpid(2).
    fn process_id(&self) -> TaskId;
    /// Its process group, getpgrp(2).
    fn process_group(&self) -> TaskId;
    /// Its session, getsid(2).
    fn session(&self) -> TaskId;
    /// What it may do.
    fn credentials(&self) -> Arc<Credentials>;
    /// Whether the signal would do nothing to it now: it is blocked or ignored.
    fn blocks_or_ignores(&self, signal: Signal) -> bool;
    /// Sends the signal to the acting thread.
    fn raise(&self, signal: Signal);
    /// A soft resource limit, by its RLIMIT_ number, getrlimit(2); `u64::MAX` for none.
    fn limit(&self, resource: u32) -> u64;
}

/// The kernel acting for itself: while booting, and where no program is involved. Nothing is refused to it.
pub struct KernelActor;

impl Actor for KernelActor {
    fn thread_id(&self) -> TaskId {
        0
    }

    fn process_id(&self) -> TaskId {
        0
    }

    fn process_group(&self) -> TaskId {
        0
    }

    fn session(&self) -> TaskId {
        0
    }

    fn credentials(&self) -> Arc<Credentials> {
        static CREDENTIALS: LazyLock<Arc<Credentials>> = LazyLock::new(|| Arc::new(Credentials::initial()));
        CREDENTIALS.clone()
    }

    fn blocks_or_ignores(&self, _signal: Signal) -> bool {
        true
    }

    fn raise(&self, _signal: Signal) {}

    fn limit(&self, _resource: u32) -> u64 {
        u64::MAX
    }
}

//! Who makes a system call: what every handler is given.
//!
//! There is no global "current task" for logic to reach for. Whoever acts for a task is handed it, so a function's
//! arguments say whether it depends on who calls. (A global `current` is shorter to write, and is how a clock in the
//! depths of a kernel comes to depend on the task that happens to run.)

use super::{
    Task,
    wait::{self, Waiting},
};
use crate::{
    abi::{Errno, Result},
    arch::UserContext,
    fs::{Descriptor, File, OpenFlags, fd_table::FileTable, path::PathContext},
    mm::AddressSpace,
    ns::{Credentials, Namespaces},
    time::events::Deadline,
};
use alloc::sync::Arc;
use core::future::Future;

/// The calling task, as its serving loop holds it.
pub struct Caller<'a> {
    /// The task.
    pub task: &'a Arc<Task>,
    /// Its registers.
    pub user: &'a mut UserContext,
    /// Its memory, where the call's pointers lead. (Also in the task; here without a lock. execve replaces both.)
    pub space: Arc<AddressSpace>,
    /// The clocks' count when it came. It is taken then in any case; clock_gettime(2) tells the time of that moment.
    pub came_at: u64,
    /// What the first handler of a call leaves to be waited for, in place of a second handler.
    pub waiting: Option<Waiting>,
    /// The number of the call that waits for it.
    pub waits_in: usize,
}

/// A task that calls has not exited, so this error cannot be seen; it is there in place of a panic.
const ENDING: &str = "the task has given up its resources";

impl Caller<'_> {
    /// Its open files.
    pub fn files(&self) -> Result<Arc<FileTable>> {
        self.task.files().ok_or_else(|| Errno::ESRCH.because(ENDING))
    }

    /// One of its open files. Errors: EBADF, also for one opened with O_PATH.
    pub fn file(&self, descriptor: Descriptor) -> Result<Arc<File>> {
        self.file_if(descriptor, |flags| !flags.contains(OpenFlags::PATH))
    }

    /// One of its open files, if it was opened for that. Errors: EBADF.
    #[inline(always)]
    pub fn file_if(&self, descriptor: Descriptor, suits: impl Fn(OpenFlags) -> bool) -> Result<Arc<File>> {
        self.task.file_if(descriptor, suits).unwrap_or_else(|| Err(Errno::ESRCH.because(ENDING)))
    }

    /// Its root, working directory and umask.
    pub fn filesystem(&self) -> Result<Arc<PathContext>> {
        self.task.filesystem().ok_or_else(|| Errno::ESRCH.because(ENDING))
    }

    /// Its namespaces.
    pub fn namespaces(&self) -> Result<Arc<Namespaces>> {
        self.task.namespaces().ok_or_else(|| Errno::ESRCH.because(ENDING))
    }

    /// Who it is and what it may do.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.task.credentials()
    }

    /// [`wait::interruptible`] for futures that borrow nothing from the caller.
    pub fn wait<F: Future>(&mut self, future: F) -> impl Future<Output = Result<F::Output>> {
        wait::interruptible(self.task, self.user, future)
    }

    /// [`wait::until`] for futures that borrow nothing from the caller.
    pub fn wait_until<F: Future>(
        &mut self,
        deadline: Option<Deadline>,
        future: F,
    ) -> impl Future<Output = Result<Option<F::Output>>> {
        wait::until(self.task, self.user, deadline, future)
    }
}

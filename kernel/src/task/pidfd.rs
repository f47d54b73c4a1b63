//! A process as a file: pidfd_open(2). Whoever holds one can never mean another process by it, however many have borne
//! its number since.

use super::{Process, Task, process::Life, table};
use crate::{
    abi::{Errno, Result, TaskId},
    fs::{File, FileOperations, OpenFlags, Readiness, pseudo::anonymous_file},
    ns::Credentials,
    sync::WaitQueue,
};
use alloc::sync::Arc;
use core::fmt;

/// What an open pidfd holds.
pub struct PidFile {
    /// The number, for those who look.
    id: TaskId,
    process: Arc<Process>,
    /// PIDFD_THREAD: it means just one thread.
    is_thread: bool,
}

/// A pidfd for the task's process or, with `is_thread`, for the task alone.
pub fn open(
    task: &Arc<Task>,
    is_thread: bool,
    nonblocking: bool,
    credentials: Arc<Credentials>,
) -> Result<Arc<File>> {
    let mut flags = OpenFlags::READ_WRITE;
    flags.set(OpenFlags::NON_BLOCKING, nonblocking);
    let file = PidFile { id: task.id(), process: task.process().clone(), is_thread };
    anonymous_file("pidfd", Arc::new(file), flags, credentials)
}

/// The process a pidfd means. `None` for other files.
pub fn process(file: &File) -> Option<Arc<Process>> {
    file.operations_as::<PidFile>().map(|pidfd| pidfd.process.clone())
}

/// What pidfd_send_signal(2) sends to: the process, and the thread if it is one that is meant.
///
/// Errors: EBADF for other files; ESRCH for a thread that has ended.
pub fn target(file: &File) -> Result<(Arc<Process>, Option<Arc<Task>>)> {
    let pidfd =
        file.operations_as::<PidFile>().ok_or_else(|| Errno::EBADF.because("the file is not a pidfd"))?;
    if !pidfd.is_thread {
        return Ok((pidfd.process.clone(), None));
    }
    let thread = pidfd.process.state.lock().threads.get(&pidfd.id).cloned();
    let thread = thread.ok_or_else(|| Errno::ESRCH.because("the thread has ended"))?;
    Ok((pidfd.process.clone(), Some(thread)))
}

impl PidFile {
    /// Whether its process was waited for: then its number says nothing any more.
    fn is_reaped(&self) -> bool {
        !table::process(self.process.id()).is_some_and(|found| Arc::ptr_eq(&found, &self.process))
    }
}

impl FileOperations for PidFile {
    fn readiness(&self, _file: &File) -> Readiness {
        let state = self.process.state.lock();
        let ended = match self.is_thread {
            true => !state.threads.contains_key(&self.id),
            false => matches!(state.life, Life::Zombie(_)),
        };
        drop(state);
        match (ended, self.is_reaped()) {
            (false, _) => Readiness::empty(),
            (true, false) => Readiness::READABLE,
            (true, true) => Readiness::READABLE | Readiness::HANG_UP,
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.process.events)
    }

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let number = if self.is_reaped() { -1 } else { i64::from(self.id) };
        writeln!(out, "Pid:\t{number}\nNSpid:\t{number}")
    }
}

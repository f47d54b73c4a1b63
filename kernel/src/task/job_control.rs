//! Where tasks and files meet: what terminals ask of processes, and what every file operation may ask of who acts.

use super::{
    Process, Task,
    limits::{Resource, UNLIMITED},
    signal::{SignalInfo, send_to_group, send_to_task},
    table,
};
use crate::{
    abi::{Signal, TaskId},
    fs::{Actor, console, terminal::job_control},
    ns::Credentials,
};
use alloc::sync::Arc;

/// What terminals ask, answered from the table of processes.
struct Processes;

impl job_control::JobControl for Processes {
    fn signal_group(&self, group: TaskId, signal: Signal) {
        // An empty group has nobody to tell.
        let _ = send_to_group(group, SignalInfo::kernel(signal));
    }

    fn session_of_group(&self, group: TaskId) -> Option<TaskId> {
        table::session_of_group(group)
    }

    fn is_orphaned(&self, group: TaskId) -> bool {
        table::is_group_orphaned(group)
    }
}

/// Makes processes known to terminals.
pub(super) fn install() {
    job_control::install(&Processes);
}

/// A process ends: if it leads a session, the session loses its terminal.
pub(super) fn leave_terminal(process: &Process) {
    if process.session_id() == process.id() {
        console::terminal().session_ended(process.id());
    }
}

impl Actor for Arc<Task> {
    fn thread_id(&self) -> TaskId {
        self.id()
    }

    fn process_id(&self) -> TaskId {
        self.process().id()
    }

    fn process_group(&self) -> TaskId {
        self.process().group_id()
    }

    fn session(&self) -> TaskId {
        self.process().session_id()
    }

    fn credentials(&self) -> Arc<Credentials> {
        Task::credentials(self)
    }

    fn blocks_or_ignores(&self, signal: Signal) -> bool {
        self.blocked().contains(signal) || self.action(signal).handler == super::signal::action::IGNORE
    }

    fn raise(&self, signal: Signal) {
        // Signals of the kernel's are never refused.
        let _ = send_to_task(self, SignalInfo::kernel(signal));
    }

    fn limit(&self, resource: u32) -> u64 {
        Resource::new(resource).map_or(UNLIMITED, |resource| self.process().limit(resource).soft)
    }
}

//! Waiting for children: wait4(2), waitid(2).
//!
//! One look at the children that something has happened to answers with the first event that is wanted; if there is none,
//! one at all of them says whether it is worth waiting. So a parent of thousands finds the one that ended at once.

use super::{
    Caller, Process, Task,
    cpu_time::Usage,
    process::{Life, Reports, State},
    status::Event,
    table::{self, Child},
};
use crate::abi::{Errno, Result, Signal, TaskId, linux};
use alloc::sync::Arc;

/// Which children.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Any.
    All,
    /// This one.
    Process(TaskId),
    /// Those in this process group.
    Group(TaskId),
}

bitflags::bitflags! {
    /// What of them, and how.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "wait(2) describes them")]
    pub struct WaitFlags: u32 {
        const NOHANG = linux::WNOHANG;
        const STOPPED = linux::WSTOPPED;
        const EXITED = linux::WEXITED;
        const CONTINUED = linux::WCONTINUED;
        const NOWAIT = linux::WNOWAIT;
        const NOTHREAD = linux::__WNOTHREAD;
        const ALL = linux::__WALL;
        const CLONE = linux::__WCLONE;
    }
}

impl WaitFlags {
    /// Whether a child that sends `exit_signal` is one of those meant: without __WALL, those that send SIGCHLD or, with
    /// __WCLONE, those that do not.
    fn include(self, exit_signal: u32) -> bool {
        let is_clone = exit_signal != Signal::SIGCHLD.number();
        self.contains(Self::ALL) || is_clone == self.contains(Self::CLONE)
    }
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The child.
    pub id: TaskId,
    /// Its real user id.
    pub user: u32,
    /// What happened to it.
    pub event: Event,
    /// What it and its own children had used.
    pub usage: Usage,
}

/// Waits for an event of a child; `None` when there is none yet and WNOHANG was given.
///
/// Errors: ECHILD when there is no such child; ERESTARTSYS.
pub async fn wait(caller: &mut Caller<'_>, which: Which, flags: WaitFlags) -> Result<Option<Found>> {
    let task = caller.task.clone();
    let look = || match look(&task, which, flags) {
        Look::Found(found) => Some(Ok(Some(found))),
        Look::Nobody => Some(Err(Errno::ECHILD.because("there is no such child to wait for"))),
        Look::Nothing if flags.contains(WaitFlags::NOHANG) => Some(Ok(None)),
        Look::Nothing => None,
    };
    let process = caller.task.process().clone();
    caller.wait(process.child_events.until(look)).await?
}

enum Look {
    Found(Found),
    /// There are such children, but nothing has happened to them.
    Nothing,
    /// There are none.
    Nobody,
}

fn look(task: &Task, which: Which, flags: WaitFlags) -> Look {
    let parent = task.process();
    let is_meant = |child: &Child| {
        let process = &child.process;
        let named = match which {
            Which::All => true,
            Which::Process(id) => id == process.id(),
            Which::Group(group) => group == process.group_id(),
        };
        let excluded = flags.contains(WaitFlags::NOTHREAD) && child.parent_thread != task.id();
        named && !excluded && flags.include(process.exit_signal())
    };
    for child in children(parent, true).filter(is_meant) {
        if let Some(found) = event_of(&child.process, parent, flags) {
            return Look::Found(found);
        }
    }
    if children(parent, false).any(|child| is_meant(&child)) { Look::Nothing } else { Look::Nobody }
}

fn children(parent: &Process, eventful: bool) -> impl Iterator<Item = Child> {
    let next = move |after| table::next_child(parent.id(), after, eventful);
    core::iter::successors(next(0), move |child| next(child.process.id()))
}

fn event_of(child: &Arc<Process>, parent: &Process, flags: WaitFlags) -> Option<Found> {
    let user = child.leader().map_or(0, |leader| leader.credentials().uid);
    let mut usage = child.usage();
    usage += child.child_usage();
    let found = |event| Found { id: child.id(), user, event, usage };
    if let Some(status) = child.zombie_status() {
        if !flags.contains(WaitFlags::EXITED) {
            return None;
        }
        if !flags.contains(WaitFlags::NOWAIT) {
            // Another thread may have been faster; then the child is nobody's any more.
            table::remove_process(child.id())?;
            parent.state.lock().children += usage;
        }
        return Some(found(Event::Ended(status)));
    }
    // Taken off the list first, so that what happens from now on puts it there again.
    table::note_event(child.id(), false);
    let mut state = child.state.lock();
    let event = take_report(&mut state, flags);
    let remains = state.reports != Reports::default() || matches!(state.life, Life::Zombie(_));
    drop(state);
    if remains {
        table::note_event(child.id(), true);
    }
    event.map(found)
}

/// A stop or continuation that the parent was not told of yet; told once, unless WNOWAIT.
fn take_report(state: &mut State, flags: WaitFlags) -> Option<Event> {
    let keep = flags.contains(WaitFlags::NOWAIT);
    let reports = &mut state.reports;
    if flags.contains(WaitFlags::STOPPED)
        && let Some(signal) = reports.stopped
    {
        reports.stopped = reports.stopped.filter(|_| keep);
        return Some(Event::Stopped(signal));
    }
    if flags.contains(WaitFlags::CONTINUED) && reports.continued {
        reports.continued = keep;
        return Some(Event::Continued);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_with_other_exit_signals_are_waited_for_on_request() {
        let cases = [
            (WaitFlags::empty(), 17, true),
            (WaitFlags::empty(), 0x91, false),
            (WaitFlags::empty(), 0, false),
            (WaitFlags::CLONE, 17, false),
            (WaitFlags::CLONE, 0, true),
            (WaitFlags::ALL, 17, true),
            (WaitFlags::ALL, 0x91, true),
            (WaitFlags::ALL | WaitFlags::CLONE, 17, true),
        ];
        for (flags, signal, included) in cases {
            assert_eq!(flags.include(signal), included, "{flags:?} {signal}");
        }
    }
}

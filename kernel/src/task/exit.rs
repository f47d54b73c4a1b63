//! The end of a thread, and of a process with its last one: exit(2), exit_group(2), and what a signal does.
//!
//! Everything is given up in an order others can rely on: locks a dead thread held are marked so, who joins it is woken,
//! a vfork's parent goes on, files are closed and namespaces left; only then is the parent told, which thus finds a
//! zombie that holds nothing but its status.

use super::{
    Process, Task,
    futex::{self, Word},
    kinship::INIT,
    process::{Life, Stop},
    signal::{SignalInfo, info::code, notify, send_to_group, send_to_process, stop},
    status::{Event, Status},
    table,
};
use crate::{
    abi::{Signal, TaskId, UserPointer},
    arch::{Hardware, Machine, PAGE_SIZE},
    mm::AddressSpace,
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// Ends a thread whose program will not run again. Its registers are gone already.
pub(super) fn finish(task: &Arc<Task>) {
    let largest_resident = task.space().map_or(0, |space| leave_memory(task, &space));
    task.release_vfork();
    drop(task.give_up_resources());
    leave_process(task, largest_resident);
    if !task.is_leader() {
        table::remove_thread(task.id());
    }
}

/// Ends every process whose program the machine has lost, also if it does not run now.
pub(super) fn end_lost() {
    let mut last = 0;
    while let Some(process) = table::next_process(last) {
        last = process.id();
        let space = process.any_thread().and_then(|thread| thread.space());
        if space.is_some_and(|space| Hardware::has_lost(space.root())) {
            process.end(Status::Killed(Signal::SIGKILL));
        }
    }
}

/// Lets go of what others find in its memory. Gives the most memory it has had, in KiB.
pub(super) fn leave_memory(task: &Task, space: &Arc<AddressSpace>) -> u64 {
    futex::leave_to_heirs(task);
    futex::robust::release_all(task, space);
    let joined = task.clear_child_tid.swap(0, Relaxed);
    if joined != 0 && Arc::strong_count(space) > 2 {
        // An address that leads nowhere is the program's own affair now.
        let _ = space.write(UserPointer::new(joined), &0u32);
        let _ = futex::wake(space, Word { address: joined, shared: true }, 1, futex::ANY);
    }
    (space.statistics().peak_resident * PAGE_SIZE / 1024) as u64
}

fn leave_process(task: &Arc<Task>, largest_resident: u64) {
    let process = task.process();
    let mut state = process.state.lock();
    state.threads.remove(&task.id());
    let mut usage = task.usage();
    usage.largest_resident = largest_resident;
    state.ended += usage;
    // Unless all were made to end, the process ends as its last thread does.
    let status = match state.life {
        Life::Ending(status) => status,
        _ => task.exit_status(),
    };
    let is_last = state.threads.is_empty();
    let stopped = if is_last { None } else { stop::complete(&mut state) };
    // A signal this thread was to take may now be another's.
    if !state.pending.set().is_empty() {
        for thread in state.threads.values() {
            thread.look_again(&state);
            super::sched::wake(thread);
        }
    }
    let heir = state.threads.keys().next().copied();
    drop(state);
    if let Some(signal) = stopped {
        notify::parent(process, Event::Stopped(signal));
    }
    match heir {
        Some(heir) => hand_over_children(process.id(), task.id(), process.id(), heir),
        None => end_process(process, task, status),
    }
    process.events.wake_all();
}

/// The last thread has ended.
fn end_process(process: &Arc<Process>, task: &Task, status: Status) {
    if process.is_init() {
        panic!("Attempted to kill init! exitcode={:#010x}", status.encoded());
    }
    super::job_control::leave_terminal(process);
    process.delete_timers();
    let orphaned = table::groups_orphaned_by(process.id());
    let (heir, thread) = adopter(process);
    hand_over_children(process.id(), task.id(), heir, thread);
    for group in orphaned {
        continue_orphans(group);
    }
    process.set_executable(None);
    process.state.lock().life = Life::Zombie(status);
    tell_parent(process, status);
}

/// Tells the parent; if it has no use for the zombie, there is none.
fn tell_parent(process: &Arc<Process>, status: Status) {
    let Some(parent) = table::process(process.parent_id()) else { return };
    if notify::ended(process, &parent, process.exit_signal(), status) {
        drop(table::remove_process(process.id()));
    }
}

/// Who takes a process' children: the nearest process above it that asked for orphans, or init.
fn adopter(process: &Process) -> (TaskId, TaskId) {
    let mut above = process.parent_id();
    while above != INIT
        && let Some(ancestor) = table::process(above)
    {
        if ancestor.is_subreaper.load(Relaxed)
            && let Some(thread) = ancestor.any_thread()
        {
            return (above, thread.id());
        }
        above = ancestor.parent_id();
    }
    (INIT, table::process(INIT).and_then(|init| init.any_thread()).map_or(INIT, |thread| thread.id()))
}

/// Gives the children of one thread to a thread of another process, or of the same.
fn hand_over_children(parent: TaskId, parent_thread: TaskId, heir: TaskId, heir_thread: TaskId) {
    let leaves_family = heir != parent;
    let mut last = 0;
    while let Some(child) = table::next_child(parent, last, false) {
        last = child.process.id();
        if child.parent_thread == parent_thread || leaves_family {
            hand_over(&child.process, parent, heir, heir_thread);
        }
    }
}

fn hand_over(child: &Arc<Process>, parent: TaskId, heir: TaskId, heir_thread: TaskId) {
    table::adopt(child.id(), heir, heir_thread);
    let death_signal = child.leader().map_or(0, |leader| leader.parent_death_signal());
    if let Ok(signal) = Signal::new(death_signal) {
        let _ = send_to_process(child, SignalInfo::user(signal, code::USER, parent, 0));
    }
    if heir != parent {
        // Whoever made it wanted some other signal, perhaps; its new parent did not.
        child.exit_signal.store(Signal::SIGCHLD.number(), Relaxed);
        if let Some(status) = child.zombie_status() {
            tell_parent(child, status);
        }
    }
}

/// Nobody is left who would continue stopped processes of this group, so they are told and continued: POSIX.
fn continue_orphans(group: TaskId) {
    let is_stopped =
        |process: &Arc<Process>| matches!(process.state.lock().stop, Some(Stop { complete: true, .. }));
    if table::group_members(group).iter().any(is_stopped) {
        for signal in [Signal::SIGHUP, Signal::SIGCONT] {
            let _ = send_to_group(group, SignalInfo::kernel(signal));
        }
    }
}

impl Task {
    /// Ends this thread, and no other: exit(2).
    pub fn exit(&self, code: i32) {
        self.exit_code.store(u32::from(code as u8), Relaxed);
        self.attention.set(super::attention::KILLED);
    }

    fn exit_status(&self) -> Status {
        Status::Exited(self.exit_code.load(Relaxed) as u8)
    }

    /// Lets the parent of a vfork(2) go on: this task no longer uses its memory.
    pub(super) fn release_vfork(&self) {
        let release = self.vfork.lock().take();
        if let Some(release) = release {
            release.give();
        }
    }
}

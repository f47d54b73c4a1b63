//! When memory is out, a process has to end: which one, and what the others do meanwhile.
//!
//! A call that finds no memory fails with ENOMEM. A program that merely touches a page cannot be told anything, so when
//! too little is left for that (`mm/reserve.rs` says how little), a process is ended to make room, as on Linux: the
//! one whose end frees most. Whoever touched the page gives the CPU up for a turn, in which the ended one gives back what
//! it had, and touches the page again. That is all the waiting there is: every wait here ends when its task is killed.
//!
//! Linux compares processes. Here process groups are compared first, as jobs are what people start, and then the
//! processes of the largest one: a loop that makes five hundred small processes has used memory up, not the shell that is
//! larger than each of them and is needed to end them. A page that several hold counts for each by its part, so that
//! neither a program's text nor what a fork left shared makes anybody look large.
//!
//! Init is never ended, and may touch the last page there is. When even that is gone and nobody else is left, it is
//! a panic, as on Linux.
//!
//! (Linux ends a process for a call as well, where it finds no memory in the middle of it. A call here would have to be
//! taken back first.)

use super::{Process, Status, Task, process::Life, table};
use crate::{
    abi::{Signal, TaskId},
    mm::reserve,
};
use alloc::{collections::BTreeMap, sync::Arc};

/// Whether a process must end before this task may have a page that it touches.
pub fn is_near(task: &Task) -> bool {
    reserve::is_low() && !task.process().is_init()
}

/// A process group's memory, in bytes, and the process that has most of it.
struct Group {
    bytes: usize,
    largest: Arc<Process>,
    largest_bytes: usize,
}

/// Ends the process whose end helps most, unless one that is to end has not yet given its memory back.
///
/// # Panics
/// When there is none but init.
pub fn end_someone(toucher: &Task) {
    let mut groups: BTreeMap<TaskId, Group> = BTreeMap::new();
    let mut last = super::kinship::INIT;
    while let Some(process) = table::next_process(last) {
        last = process.id();
        // A process without memory is a zombie.
        let Some(space) = process.any_thread().and_then(|thread| thread.space()) else { continue };
        if matches!(process.state.lock().life, Life::Ending(_)) {
            return;
        }
        let bytes = space.proportional_size();
        let start = Group { bytes: 0, largest: process.clone(), largest_bytes: bytes };
        let group = groups.entry(process.group_id()).or_insert(start);
        group.bytes += bytes;
        if bytes > group.largest_bytes {
            (group.largest, group.largest_bytes) = (process, bytes);
        }
    }
    let Some(Group { largest: victim, largest_bytes, .. }) =
        groups.into_values().max_by_key(|group| group.bytes)
    else {
        panic!("out of memory, and init is the only process there is");
    };
    let name = victim.leader().map_or_else(|| toucher.name(), |leader| leader.name());
    log::error!(
        "out of memory: killed process {} ({name}), which had {} KiB; process {} ({}) wanted a page",
        victim.id(),
        largest_bytes / 1024,
        toucher.process().id(),
        toucher.name(),
    );
    victim.end(Status::Killed(Signal::SIGKILL));
}

//! `/proc/PID/stat`: for programs what `status` is for people, 52 numbers in a line, proc_pid_stat(5).

use super::{Scope, Someone};
use crate::{
    abi::{NANOSECONDS_PER_SECOND, Result},
    arch::PAGE_SIZE,
    fs::{Actor, console, proc::boottime_offset},
    mm::address_space::Layout,
    task::{Task, Usage, cpu_time::TICKS_PER_SECOND, limits::Resource},
};
use alloc::{format, string::String, vec::Vec};

/// Of a process what all its threads have used, of a thread what it has alone.
pub fn text(someone: &Someone, actor: &dyn Actor) -> Result<Vec<u8>> {
    let task = someone.task()?;
    let usage = match someone.scope {
        Scope::Process => task.process().usage(),
        Scope::Thread => task.usage(),
    };
    Ok(line(&task, usage, actor))
}

fn line(task: &Task, usage: Usage, actor: &dyn Actor) -> Vec<u8> {
    let process = task.process();
    let (user, system) = usage.times.ticks();
    let children = process.child_usage();
    let (children_user, children_system) = children.times.ticks();
    let (terminal, foreground) = terminal_of(process.session_id());
    let policy = task.policy();
    // As it counts now, while field 40 is the task's own.
    let priority = if task.rank() > 0 { -1 - task.rank() as i32 } else { 20 + policy.nice };
    let (space, layout) = match task.space() {
        Some(space) => (Some(space.statistics()), space.layout()),
        None => (None, Layout::default()),
    };
    let (pages, resident) = space.map_or((0, 0), |space| (space.total, space.resident));
    let (pending, _, blocked) = task.pending_and_blocked();
    let (ignored, caught) = task.actions().ignored_and_caught();
    let status = process.zombie_status().map_or(0, |status| status.encoded());
    let numbers: [i64; 49] = [
        process.parent_id().into(),
        process.group_id().into(),
        process.session_id().into(),
        terminal,
        foreground,
        0, // flags
        usage.faults as i64,
        children.faults as i64,
        0, // major faults: nothing is ever read from a disk
        0,
        user as i64,
        system as i64,
        children_user as i64,
        children_system as i64,
        priority.into(),
        policy.nice.into(),
        process.thread_count().max(1) as i64,
        0, // itrealvalue
        start_ticks(process.start_time(), boottime_offset(actor)) as i64,
        (pages * PAGE_SIZE) as i64,
        resident as i64,
        process.limit(Resource::RSS).soft as i64,
        layout.code.start as i64,
        layout.code.end as i64,
        layout.stack_start as i64,
        0, // kstkesp and kstkeip, which only show for a process that is ending
        0,
        (pending.0 & 0x7fff_ffff) as i64,
        (blocked.0 & 0x7fff_ffff) as i64,
        (ignored.0 & 0x7fff_ffff) as i64,
        (caught.0 & 0x7fff_ffff) as i64,
        0, // wchan
        0, // nswap
        0, // cnswap
        process.exit_signal().into(),
        0, // processor
        policy.priority.into(),
        policy.policy.into(),
        0, // delayacct
        0, // guest
        0, // cguest
        layout.data.start as i64,
        layout.data.end as i64,
        layout.heap.start as i64,
        layout.arguments.start as i64,
        layout.arguments.end as i64,
        layout.environment.start as i64,
        layout.environment.end as i64,
        status.into(),
    ];
    let mut line = format!("{} ({}) {}", task.id(), task.name(), task.state().letter());
    for (place, number) in numbers.iter().enumerate() {
        // Addresses, sizes and times since boot have no sign, and may be large.
        let unsigned = UNSIGNED.contains(&place);
        line.push_str(&if unsigned { format!(" {}", *number as u64) } else { format!(" {number}") });
    }
    line.push('\n');
    String::into_bytes(line)
}

/// Places in the array of numbers, which begins with field 4.
const UNSIGNED: core::ops::Range<usize> = 22 - 4..38 - 4;

/// Field 22: when the process began, in ticks since boot in the reader's time. Without a sign, so that for a reader whose
/// boottime is behind it may wrap around, as on Linux.
fn start_ticks(start: i64, reader_offset: i64) -> u64 {
    const TICK: u64 = NANOSECONDS_PER_SECOND / TICKS_PER_SECOND;
    start.wrapping_add(reader_offset) as u64 / TICK
}

/// Fields 7 and 8: the controlling terminal's device number and its foreground group.
fn terminal_of(session: u32) -> (i64, i64) {
    match console::terminal().of_session(session) {
        Some((device, foreground)) => (device.encode() as i64, foreground.map_or(-1, i64::from)),
        None => (0, -1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_told_in_the_readers_time() {
        let second = NANOSECONDS_PER_SECOND as i64;
        assert_eq!(start_ticks(3 * second, 0), 300);
        assert_eq!(start_ticks(3 * second, 10 * second), 1300);
        assert_eq!(start_ticks(3 * second, -10 * second), (u64::MAX - 7_000_000_000 + 1) / 10_000_000);
    }
}

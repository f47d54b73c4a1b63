//! `/proc/stat`: what the system as a whole has done, proc_stat(5).

use super::root::lines;
use crate::{
    abi::NANOSECONDS_PER_SECOND,
    arch::{Hardware, Machine},
    fs::Actor,
    task::{cpu_time::Times, sched, table},
    time::{self, HostClock},
};
use alloc::{format, string::String, vec::Vec};

/// `btime` is when the system was booted, as the reader's clocks have it: its boottime offset makes it look earlier.
pub fn text(actor: &dyn Actor) -> Vec<u8> {
    let scheduler = sched::statistics();
    let tasks = table::statistics();
    let up = time::now(HostClock::Boottime);
    let (busy, idle) = divided(up as u64, scheduler.idle);
    // How the busy time divides is counted for each task, not for the machine: all of it is shown as the first kind.
    let counts = format!("{busy} 0 0 {idle} 0 0 0 0 0 0");
    let booted = time::now(HostClock::Realtime) - up - super::boottime_offset(actor);
    lines([
        format!("cpu  {counts}"),
        format!("cpu{} {counts}", Hardware::cpu_number()),
        String::from("intr 0"),
        format!("ctxt {}", scheduler.switches),
        // Linux shows a moment before 1970 as the unsigned number that it becomes.
        format!("btime {}", booted.div_euclid(NANOSECONDS_PER_SECOND as i64) as u64),
        format!("processes {}", tasks.made),
        format!("procs_running {}", scheduler.runnable),
        String::from("procs_blocked 0"),
        String::from("softirq 0 0 0 0 0 0 0 0 0 0 0"),
    ])
}

/// The time since boot as busy and idle ticks, of nanoseconds. Neither falls while time passes: programs subtract two
/// readings as unsigned numbers. So what is busy is subtracted first and rounded then, although the two may then be one
/// tick short of the time since boot.
fn divided(up: u64, idle: u64) -> (u64, u64) {
    Times { user: up.saturating_sub(idle), system: idle }.ticks()
}

#[cfg(test)]
mod tests {
    use super::divided;

    /// Idle from 38 ms to 39 ms, in which idle time comes to a whole tick: three whole ticks less none would become three
    /// less one.
    #[test]
    fn idle_time_does_not_lessen_busy_time() {
        const MILLISECOND: u64 = 1_000_000;
        assert_eq!(divided(38 * MILLISECOND, 9 * MILLISECOND), (2, 0));
        assert_eq!(divided(39 * MILLISECOND, 10 * MILLISECOND), (2, 1));
    }
}

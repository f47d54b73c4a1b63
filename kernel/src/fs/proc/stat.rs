//! `/proc/stat`: what the system as a whole has done, proc_stat(5).

use super::root::lines;
use crate::{
    abi::NANOSECONDS_PER_SECOND,
    arch::{Hardware, Machine},
    fs::Actor,
    task::{
        cpu_time::{TICKS_PER_SECOND, Times},
        sched, table,
    },
    time::{self, HostClock},
};
use alloc::{format, string::String, vec::Vec};

/// `btime` is when the system was booted, as the reader's clocks have it: its boottime offset makes it look earlier.
pub fn text(actor: &dyn Actor) -> Vec<u8> {
    let scheduler = sched::statistics();
    let tasks = table::statistics();
    let up = time::now(HostClock::Boottime);
    let idle = Times { user: scheduler.idle, system: 0 }.ticks().0;
    let busy = (up as u64 / (NANOSECONDS_PER_SECOND / TICKS_PER_SECOND)).saturating_sub(idle);
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

//! `/proc/loadavg`: how many tasks want a CPU, proc_loadavg(5).
//!
//! The three averages are all the present number: nobody samples it while the machine is idle, and an average of samples
//! taken only when busy would say less.

use crate::task::{sched, table};
use alloc::{format, vec::Vec};

/// Three averages, running and existing tasks, the number given out last.
pub fn text() -> Vec<u8> {
    let running = sched::statistics().runnable;
    let tasks = table::statistics();
    format!("{running}.00 {running}.00 {running}.00 {running}/{} {}\n", tasks.tasks, tasks.last_number)
        .into_bytes()
}

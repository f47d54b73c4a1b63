//! `/proc`: what the kernel says of itself and of its processes, proc(5).
//!
//! Tables of names ([`node`]); a file for each kind of text. [`pid`] is what there is for every process and thread.

mod cpuinfo;
pub mod gnomon;
mod loadavg;
mod meminfo;
mod mounts;
mod node;
mod pid;
mod root;
mod stat;
mod sys;
mod uptime;
mod version;
mod vmstat;

use root::file_system;

use crate::{
    fs::{
        Actor,
        mounting::{self, FileSystemType},
    },
    ns::Namespaces,
    task,
};

/// Makes it known to mount(2), once, at boot.
pub fn register() {
    mounting::register(FileSystemType { name: "proc", make: |_| Ok(file_system()) });
}

/// The acting task's offset of CLOCK_BOOTTIME in nanoseconds: every "since boot" in `/proc` is told in the reader's time.
fn boottime_offset(actor: &dyn Actor) -> i64 {
    let reader = task::table::task(actor.thread_id());
    reader.and_then(|reader| reader.with_namespaces(Namespaces::boottime_offset)).unwrap_or(0)
}

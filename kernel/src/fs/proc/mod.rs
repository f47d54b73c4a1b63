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

pub use root::file_system;

use crate::{fs::Actor, ns::Namespaces, task};

/// The acting task's offset of CLOCK_BOOTTIME in nanoseconds: every "since boot" in `/proc` is told in the reader's time.
fn boottime_offset(actor: &dyn Actor) -> i64 {
    let reader = task::table::task(actor.thread_id());
    reader.and_then(|reader| reader.with_namespaces(Namespaces::boottime_offset)).unwrap_or(0)
}

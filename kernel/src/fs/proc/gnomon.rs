//! `/proc/gnomon` and `/proc/gnomon_syscalls`: counts that no other kernel tells, for its own tests.
//!
//! The first says how much of everything there is: after a test all must be back where it was. The second says how often
//! each system call was made: a call that no program makes is a call that nobody tests.

use super::root::lines;
use crate::{
    fs,
    mm::{frames, heap},
    ns::count,
    sync::Once,
    task::table,
};
use alloc::{format, string::String, vec::Vec};

/// Tells calls with their counts.
type TellCalls = fn(&mut dyn FnMut(&'static str, u64));

/// The system calls stand above this folder; they come in here.
static CALLS: Once<TellCalls> = Once::new();

/// Says once, at boot, who counts system calls.
pub fn install(tell: TellCalls) {
    CALLS.call_once(|| tell);
}

/// Lines `name value`.
pub fn counts() -> Vec<u8> {
    let memory = frames::statistics();
    let rows = [
        ("frames", memory.pages + memory.tables),
        ("heap", heap::bytes_in_use()),
        ("tasks", table::statistics().tasks),
        ("files", fs::open_files()),
        ("namespaces", count::living()),
    ];
    lines(rows.map(|(name, value)| format!("{name} {value}")))
}

/// Lines `name count`, in the order of the calls' numbers.
pub fn system_calls() -> Vec<u8> {
    let mut told: Vec<String> = Vec::new();
    if let Some(tell) = CALLS.get() {
        tell(&mut |name, count| told.push(format!("{name} {count}")));
    }
    lines(told)
}

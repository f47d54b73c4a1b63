//! `/proc/gnomon`, `/proc/gnomon_syscalls` and `/proc/gnomon_trace`: counts that no other kernel tells, for its own tests.
//!
//! The first says how much of everything there is: after a test all must be back where it was. The second says how often
//! each system call was made: a call that no program makes is a call that nobody tests. The third is what happened, in
//! virtual time, where it must happen again on another run and on another machine.

use super::root::lines;
use crate::{
    fs,
    mm::{frames, heap},
    ns::count,
    sync::Once,
    task::table,
    trace::events::{self, Event, Record},
};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

/// Tells calls: their numbers, names, and how often each was made.
type TellCalls = fn(&mut dyn FnMut(usize, &'static str, u64));

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
    tell_calls(&mut |_, name, count| told.push(format!("{name} {count}")));
    lines(told)
}

fn tell_calls(listener: &mut dyn FnMut(usize, &'static str, u64)) {
    if let Some(tell) = CALLS.get() {
        tell(listener);
    }
}

/// Calls that answer with an address: it depends on the machine's room for programs, so a trace does not show it.
const ADDRESSES: &[&str] = &["mmap", "mremap", "brk", "rt_sigreturn"];

/// Lines `moment task event`, moments in nanoseconds since boot. Empty unless time is virtual.
pub fn trace() -> Vec<u8> {
    let mut names = BTreeMap::new();
    tell_calls(&mut |number, name, _| {
        names.insert(number, name);
    });
    let (records, forgotten) = events::kept();
    let first = (forgotten > 0).then(|| format!("({forgotten} events before these were forgotten)"));
    let described = records.iter().map(|Record { moment, task, event }| match *event {
        Event::Call { number, result } => match names.get(&number) {
            Some(name) if ADDRESSES.contains(name) && result >= 0 => format!("{moment} {task} {name}"),
            Some(name) => format!("{moment} {task} {name} = {result}"),
            None => format!("{moment} {task} call {number} = {result}"),
        },
        Event::Runs => format!("{moment} {task} runs"),
        Event::Handler { signal } => format!("{moment} {task} handles signal {}", signal.number()),
        Event::Ends => format!("{moment} {task} ends"),
        Event::Jump => format!("{moment} 0 time jumps here"),
    });
    lines(first.into_iter().chain(described))
}

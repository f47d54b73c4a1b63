//! The selftests: one program a rule or a family of rules, KTAP on standard output, exit status 0 when nothing failed.
//!
//! Every one is an ordinary Linux program: on Linux 6.18 it must pass too. That is what makes the rules trustworthy.

mod adjusting;
mod bad_pointers;
mod capabilities;
mod clock_rules;
mod clock_shift;
mod clone3;
mod clone_legacy;
mod datagrams;
mod elf_files;
mod epoll;
mod exceptions;
mod exec_rules;
mod exhaustion;
mod faults;
mod file_attributes;
mod file_contents;
mod files;
mod freezing;
mod futex_locks;
mod futex_priority;
mod futex_time;
pub mod helper;
mod identities;
mod interruptions;
mod interval_timers;
mod intruders;
mod leaks;
mod lifecycle;
mod locked_memory;
mod mappings;
mod memory;
mod memory_files;
mod names;
mod namespace_limit;
mod nsfs;
mod offsets_bounds;
mod offsets_file;
mod offsets_grammar;
mod offsets_read;
mod offsets_write;
mod permissions;
mod pidfds;
mod pipes;
mod proc_time;
mod randomization;
mod real_time;
mod registers;
mod remote_memory;
mod scheduling;
mod setns;
mod shared_memory;
mod signal_actions;
mod signal_files;
mod signal_frames;
mod signals;
mod sleeping;
mod socket_rights;
mod sockets;
mod special_mappings;
mod support;
mod threads;
mod threads_and_namespaces;
mod timer_files;
mod timers;
mod unshare_rules;
mod user_namespaces;
mod vdso_functions;
mod vdso_image;
mod vdso_random;
mod virtual_time;
mod vvar_pages;
mod waiting;
mod zero_system_calls;

use crate::ktap::Plan;

/// A selftest: its name (the program is /selftests/NAME) and the function that lists its cases.
struct Selftest {
    name: &'static str,
    cases: fn(&mut Plan),
}

/// A table from the names of modules: each has a function `cases`.
macro_rules! selftests {
    ($($name:ident)*) => {
        const SELFTESTS: &[Selftest] = &[$(Selftest { name: stringify!($name), cases: $name::cases }),*];
    };
}

selftests! {
    clone3
    clone_legacy
    unshare_rules
    setns
    capabilities
    lifecycle
    threads_and_namespaces
    freezing
    offsets_file
    offsets_read
    offsets_write
    offsets_grammar
    offsets_bounds
    clock_shift
    clock_rules
    sleeping
    futex_time
    futex_locks
    futex_priority
    timer_files
    timers
    interval_timers
    epoll
    signal_files
    proc_time
    adjusting
    nsfs
    namespace_limit
    user_namespaces
    virtual_time
    vvar_pages
    special_mappings
    vdso_image
    vdso_functions
    vdso_random
    randomization
    zero_system_calls
    bad_pointers
    exceptions
    registers
    intruders
    memory
    shared_memory
    locked_memory
    remote_memory
    signals
    signal_actions
    interruptions
    signal_frames
    threads
    waiting
    exec_rules
    elf_files
    pipes
    sockets
    socket_rights
    datagrams
    files
    names
    file_contents
    memory_files
    file_attributes
    permissions
    identities
    scheduling
    real_time
    pidfds
    exhaustion
    leaks
}

/// The paths of all selftests in the image.
pub fn paths() -> impl Iterator<Item = String> {
    SELFTESTS.iter().map(|test| format!("/selftests/{}", test.name))
}

/// Runs the selftest of that name, if there is one.
pub fn run(name: &str) -> Option<i32> {
    let test = SELFTESTS.iter().find(|test| test.name == name)?;
    let mut plan = Plan::default();
    (test.cases)(&mut plan);
    Some(plan.run())
}

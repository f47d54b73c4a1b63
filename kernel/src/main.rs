//! Gnomon's table of contents: the order in which the kernel comes to life.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]
// Host builds are for unit tests until the user-mode machine runs programs; there much is unused.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;

mod abi;
#[allow(unsafe_code)]
mod arch;
mod exec;
mod fs;
mod mm;
mod ns;
#[allow(unsafe_code, reason = "locks hand out what they guard")]
mod sync;
mod syscall;
mod task;
mod time;
mod trace;

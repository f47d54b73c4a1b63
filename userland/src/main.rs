//! Gnomon's user programs in one binary: the name it is called by chooses the program.
//!
//! They are ordinary Linux programs; nothing here knows Gnomon, and all of it runs on Linux too, which is how it is
//! checked. One static binary under many names keeps the image small: the C library and Rust's `std` are there once.
//!
//! `main` is C's, not Rust's. Rust's own start asks for signal stacks, polls the descriptors and reads
//! /proc/self/maps before the first line of `main`; the first of these programs is timed from power-on, and before a
//! kernel has /proc there is nothing to read. `std` itself works as usual, `std::env::args` included.

#![cfg_attr(not(test), no_main)]

mod clocks;
mod command_line;
mod counts;
mod crowd;
mod demonstration;
mod init;
mod ktap;
mod launch;
mod measure;
mod nsenter;
mod oracle;
mod random;
mod selftests;
mod sweep;
mod system;
mod unshare;

use std::ffi::OsString;
use std::path::Path;

/// A program of the image.
struct Program {
    /// Where the image has it; its last part is the name it answers to.
    path: &'static str,
    /// Takes the arguments, its own name first; gives the exit status.
    run: fn(&[OsString]) -> i32,
}

/// Every program but the selftests, which have a table of their own.
const PROGRAMS: &[Program] = &[
    Program { path: "/init", run: init::main },
    Program { path: "/bin/clocks", run: clocks::main },
    Program { path: "/bin/counts", run: counts::main },
    Program { path: "/bin/crowd", run: crowd::main },
    Program { path: "/bin/unshare", run: unshare::main },
    Program { path: "/bin/nsenter", run: nsenter::main },
    Program { path: "/bin/demonstration", run: demonstration::main },
    Program { path: "/bin/measure", run: measure::main },
    Program { path: "/bin/oracle", run: oracle::main },
    Program { path: "/bin/sweep", run: sweep::main },
];

#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(_count: i32, _arguments: *const *const libc::c_char) -> i32 {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    run(&arguments)
}

/// Finds the program by the base name of `arguments[0]`, or by `arguments[1]` under the binary's own name.
fn run(arguments: &[OsString]) -> i32 {
    let Some(first) = arguments.first() else {
        complain!("gnomon-userland: called without a name");
        return 127;
    };
    if let Some(status) = run_program(base_name(&first.to_string_lossy()), arguments) {
        return status;
    }
    match arguments.get(1).map(|word| word.to_string_lossy().into_owned()).as_deref() {
        Some("--list") => {
            for path in PROGRAMS.iter().map(|program| program.path.to_string()).chain(selftests::paths()) {
                say!("{path}");
            }
            0
        }
        Some(other) => run_program(base_name(other), &arguments[1..]).unwrap_or_else(|| {
            complain!("gnomon-userland: there is no program named '{other}'; --list shows all");
            127
        }),
        None => {
            complain!("usage: gnomon-userland --list | gnomon-userland PROGRAM [ARGUMENT...]");
            2
        }
    }
}

fn run_program(name: &str, arguments: &[OsString]) -> Option<i32> {
    match PROGRAMS.iter().find(|program| base_name(program.path) == name) {
        Some(program) => Some((program.run)(arguments)),
        None if name == selftests::helper::NAME => Some(selftests::helper::main(arguments)),
        None => selftests::run(name),
    }
}

fn base_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

//! `oracle`: prints what a kernel does, in a form that two kernels can be compared by.
//!
//! Linux is the oracle: what it prints here, another kernel should print too. Two kinds of facts: sequences of calls by
//! several tasks, from a seed; and written tables, a row for each rule of time namespaces. Nothing is judged in this program;
//! whoever runs it on two kernels compares the outputs.

mod calls;
mod controller;
mod facts;
mod random;
mod step;
mod tables;
mod times;
mod worker;

use crate::system::time::{self, SECOND};
use crate::system::{file, process};
use crate::{complain, say};
use std::ffi::OsString;
use step::Step;

const USAGE: &str = "\
usage: oracle tables | oracle random SEED COUNT | oracle replay FILE
  tables  every rule of time namespaces, a fact a line
  random  the sequences of COUNT seeds from SEED up: each step, its result, and what it changed
  replay  the steps in FILE (lines as `random` prints them; what follows ` = ` is not read)";

/// The program.
pub fn main(arguments: &[OsString]) -> i32 {
    let words: Vec<String> =
        arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().ok();
    match words[..] {
        ["tables"] => {
            wait_for_uptime();
            if let Err(errno) = tables::print() {
                complain!("oracle: {}", errno.sentence());
                return 1;
            }
            say!("tables done");
            0
        }
        ["random", seed, count] if number(seed).is_some() && number(count).is_some() => {
            let (seed, count) = (number(seed).unwrap_or(0), number(count).unwrap_or(0));
            wait_for_uptime();
            for seed in seed..seed.saturating_add(count) {
                say!("sequence {seed}");
                sequence(&random::sequence(seed));
            }
            say!("{count} sequences done");
            0
        }
        ["replay", path] => match file::read(path) {
            Ok(text) => {
                let steps: Vec<Step> = text.lines().filter_map(Step::parse).collect();
                let needs_uptime =
                    |step: &Step| step.arguments.iter().any(|argument| argument.contains("-U+"));
                if steps.iter().any(needs_uptime) {
                    wait_for_uptime();
                }
                sequence(&steps);
                say!("replay done");
                0
            }
            Err(errno) => {
                complain!("oracle: {path}: {}", errno.sentence());
                1
            }
        },
        // A task of a sequence after an exec.
        ["worker", task] => {
            let task = number(task).unwrap_or(0) as usize;
            worker::tell(task);
            worker::serve(task)
        }
        _ => {
            complain!("{USAGE}");
            2
        }
    }
}

/// Offsets in terms of the uptime need some of it.
fn wait_for_uptime() {
    let now = time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0);
    time::sleep((facts::LEAST_UPTIME * SECOND - now).max(0));
}

/// Runs a sequence in a process of its own, which is where the memory and the descriptors it needs go back.
fn sequence(steps: &[Step]) {
    let done = process::run(|| match controller::run(steps) {
        Ok(()) => 0,
        Err(errno) => {
            say!("the sequence cannot be run: {errno}");
            1
        }
    });
    if done != Ok(process::Status::Exited(0)) {
        say!("the controller ended with {done:?}");
    }
}

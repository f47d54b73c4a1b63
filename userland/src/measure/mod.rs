//! `measure`: what things cost, in ticks of the time stamp counter, one line a row, for whoever compares kernels.
//!
//! The same program runs on every kernel that is compared, so what it costs itself is the same everywhere. Ticks are
//! cycles of the processor's counter on real hardware, and instructions under QEMU with `-icount shift=0`; a clock of the
//! kernel's would have to be trusted, and asking it would be measured too.
//!
//! A row is measured in batches of many rounds: the least batch is what the work itself takes, the median and the
//! ninetieth of a hundred say how noisy the machine is.

mod calls;
mod clocks;
mod growth;
mod lateness;
mod processes;
mod size;

pub use clocks::vdso_reader;
pub use growth::{allow_many, free_memory};

use crate::system::errno::Errno;
use crate::{complain, say};
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What a row's work is called with: how many rounds to make. A loop inside costs less than a call for each round.
type Work = Box<dyn FnMut(u32) -> Result<(), Errno>>;

/// What one row measures.
struct Row {
    /// What `measure NAME` asks for, and what the line begins with.
    name: &'static str,
    /// Rounds to a batch, at full length.
    rounds: u32,
    /// Gets everything ready, unmeasured.
    prepare: fn() -> Result<Work, Errno>,
}

/// Batches to a row.
const BATCHES: usize = 31;

/// The counter, after everything before it.
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the counter; a kernel that forbids reading it is not one to be measured.
    unsafe {
        std::arch::x86_64::_mm_lfence();
        std::arch::x86_64::_rdtsc()
    }
}

/// Whether every sample is printed, for a program that makes more of them than [`report`] does.
static ALL_SAMPLES: AtomicBool = AtomicBool::new(false);

/// Prints a row's figures: a name, the unit, how many, and the least, the median, the ninetieth of a hundred, the most. Or
/// the name, the unit, `=`, and every sample.
fn report(name: &str, unit: &str, mut samples: Vec<f64>) {
    if ALL_SAMPLES.load(Relaxed) {
        let samples: String = samples.iter().map(|sample| format!(" {sample:.2}")).collect();
        say!("{name} {unit} ={samples}");
        return;
    }
    samples.sort_by(f64::total_cmp);
    let Some(last) = samples.len().checked_sub(1) else { return };
    let [least, median, ninetieth, most] =
        [0, last / 2, last * 9 / 10, last].map(|place| format!("{:.1}", samples[place]));
    say!("{name} {unit} {} {least} {median} {ninetieth} {most}", samples.len());
}

impl Row {
    /// `speed`: the rounds are divided by it.
    fn run(&self, speed: u32) -> Result<(), Errno> {
        let mut work = (self.prepare)()?;
        let rounds = (self.rounds / speed).max(1);
        // Caches, page tables, and whatever is made on first use.
        work(rounds.min(8))?;
        let mut samples = Vec::with_capacity(BATCHES);
        for _ in 0..BATCHES {
            let before = ticks();
            work(rounds)?;
            samples.push((ticks() - before) as f64 / f64::from(rounds));
        }
        report(self.name, "ticks", samples);
        Ok(())
    }
}

/// Every row that costs ticks.
fn rows() -> impl Iterator<Item = &'static Row> {
    calls::ROWS.iter().chain(processes::ROWS)
}

const USAGE: &str = "usage: measure [--speed N] [--samples] [--list] [NAME...]: all rows, or these; `calls`, `clocks`, \
                     `lateness`,\n       `size` and `growth` are groups\n       N divides the number of rounds; \
                     --samples prints every sample";

/// The program. What cannot be measured on this kernel is a line `NAME absent REASON`.
pub fn main(arguments: &[OsString]) -> i32 {
    let words: Vec<String> =
        arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let mut speed = 1;
    let mut wanted = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--end" => return 0,
            "--list" => {
                rows().for_each(|row| say!("{}", row.name));
                GROUPS.iter().for_each(|(name, _)| say!("{name}"));
                return 0;
            }
            "--samples" => ALL_SAMPLES.store(true, Relaxed),
            "--speed" => match words.next().and_then(|number| number.parse().ok()) {
                Some(number) if number > 0 => speed = number,
                _ => return usage(),
            },
            "calls" => wanted.extend(rows().map(|row| row.name)),
            name if GROUPS.iter().any(|(group, _)| *group == name) || rows().any(|row| row.name == name) => {
                wanted.push(name);
            }
            _ => return usage(),
        }
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.contains(&name);
    for row in rows().filter(|row| is_wanted(row.name)) {
        if let Err(why) = row.run(speed) {
            absent(row.name, why);
        }
    }
    // Growth takes minutes: it must be asked for.
    for (name, run) in GROUPS
        .iter()
        .filter(|(name, _)| if *name == "growth" { wanted.contains(name) } else { is_wanted(name) })
    {
        if let Err(why) = run(speed) {
            absent(name, why);
        }
    }
    0
}

/// Measures and prints, with the rounds divided by a number.
type Group = fn(u32) -> Result<(), Errno>;

/// What measures in a way of its own, by name.
const GROUPS: &[(&str, Group)] =
    &[("clocks", clocks::run), ("lateness", lateness::run), ("size", size::run), ("growth", growth::run)];

fn absent(name: &str, why: Errno) {
    say!("{name} absent {why}");
}

fn usage() -> i32 {
    complain!("{USAGE}");
    2
}

//! How many instructions each call takes, in root and in a namespace, beside what Linux 6.18 takes.
//!
//! Linux's figures were counted in the same way on the same calls of its own image: no retry, no carry.

use super::place::{Form, Placed};
use super::steps;
use anyhow::Result;
use gnomon_vdso::clocks::{Class, Clock};
use gnomon_vdso::cycles::Conversion;
use gnomon_vdso::page::{MODE_TSC, TimeData};
use gnomon_vdso::write::{Counter, Offset, fill_namespace_page};
use std::fmt;

/// A call, and the instructions Linux 6.18 executes for it.
pub struct Row {
    /// What is called, as a reader would say it.
    pub name: &'static str,
    function: &'static str,
    /// The clock id, for the functions that take one.
    clock: Option<Clock>,
    /// Linux, root and namespace.
    pub linux: [usize; 2],
}

/// Every call that is answered from the page.
pub const ROWS: [Row; 10] = [
    row("REALTIME", "clock_gettime", Some(Clock::REALTIME), [61, 79]),
    row("MONOTONIC", "clock_gettime", Some(Clock::MONOTONIC), [61, 79]),
    row("MONOTONIC_RAW", "clock_gettime", Some(Clock::MONOTONIC_RAW), [66, 84]),
    row("REALTIME_COARSE", "clock_gettime", Some(Clock::REALTIME_COARSE), [45, 61]),
    row("MONOTONIC_COARSE", "clock_gettime", Some(Clock::MONOTONIC_COARSE), [45, 61]),
    row("BOOTTIME", "clock_gettime", Some(Clock::BOOTTIME), [61, 79]),
    row("TAI", "clock_gettime", Some(Clock::TAI), [61, 79]),
    row("gettimeofday", "gettimeofday", None, [53, 64]),
    row("time", "time", None, [9, 8]),
    row("clock_getres", "clock_getres", Some(Clock::MONOTONIC), [23, 22]),
];

const fn row(name: &'static str, function: &'static str, clock: Option<Clock>, linux: [usize; 2]) -> Row {
    Row { name, function, clock, linux }
}

/// The processor's cycle counter, for setting up pages.
pub fn cycles() -> u64 {
    // SAFETY: a read without side effects, allowed in user mode.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Publishes a counter of about the right rate that began just now, every clock 100 ms into a second: a call within the
/// next 0.9 s meets no carry.
fn publish(page: &TimeData) {
    let conversion = Conversion::for_frequency(3_000_000_000, 600);
    let counter = Counter::new(MODE_TSC, cycles(), conversion);
    page.update(|update| {
        update.counter(Class::HighResolution, &counter);
        update.counter(Class::Raw, &counter);
        update.resolution(1);
        for clock in Clock::ALL {
            let plain = 100_000_000;
            let coarse = clock.class() == Class::Coarse;
            update.base(clock, 1000, if coarse { plain } else { plain << conversion.shift });
        }
    });
}

/// The figures of an image, row by row.
pub struct Table {
    /// Root, and namespace if the image knows namespaces.
    pub counts: Vec<[usize; ROWS.len()]>,
}

impl Table {
    /// Counts every row in every form the image knows.
    pub fn count(image: &[u8], follows_namespaces: bool) -> Result<Table> {
        let forms: &[Form] = if follows_namespaces { &[Form::Root, Form::Namespace] } else { &[Form::Root] };
        let counts = forms.iter().map(|form| count(image, *form)).collect::<Result<_>>()?;
        Ok(Table { counts })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "instructions a call (Linux 6.18 in brackets)")?;
        let forms = ["in root", "in a namespace"];
        let heads: String = forms.iter().take(self.counts.len()).map(|head| format!("{head:>18}")).collect();
        writeln!(f, "  {:18}{heads}", "")?;
        for (index, row) in ROWS.iter().enumerate() {
            let cells: String = self
                .counts
                .iter()
                .zip(row.linux)
                .map(|(counts, linux)| format!("{:>18}", format!("{} ({linux})", counts[index])))
                .collect();
            writeln!(f, "  {:18}{cells}", row.name)?;
        }
        Ok(())
    }
}

/// Counts every row in one form.
fn count(image: &[u8], form: Form) -> Result<[usize; ROWS.len()]> {
    let placed = Placed::new(image, form)?;
    let result = [0u64; 2];
    let mut calls = Vec::new();
    for row in &ROWS {
        let function = placed.function(&format!("__vdso_{}", row.function))?;
        let result = (&raw const result).addr();
        calls.push(match row.clock {
            Some(clock) => (function, [clock.id() as usize, result, 0]),
            None if row.function == "time" => (function, [0, 0, 0]),
            None => (function, [result, 0, 0]),
        });
    }
    match form {
        Form::Root => publish(placed.time_page()),
        Form::Namespace => {
            let offset = Offset { seconds: 1000, nanoseconds: 1 };
            fill_namespace_page(placed.time_page(), offset, offset);
            publish(placed.companion_page());
        }
    }
    let mut counts = [0; ROWS.len()];
    counts.copy_from_slice(&steps::count(placed.text(), &calls)?);
    Ok(counts)
}

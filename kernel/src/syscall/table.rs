//! The table of system calls: one line a call, and everything that is known of calls comes from it.
//!
//! A line says: its number, its name (a man page in section 2), whether it may wait (`wait`) or is over at once (`now`),
//! its handler with the count of arguments it takes, and what of it is supported. From these lines come the dispatch,
//! the names in traces, the counts in `/proc/gnomon_syscalls` and the page of supported calls.
//!
//! The dispatch is a `match` rather than an array of function pointers: a handler that waits is a future of its own type,
//! and the match lets the compiler lay all of them out in the task's one future, without a box for each call.

use super::{Argument, Caller, clocks, namespaces};
use crate::abi::{Errno, Result};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One more than the highest number in the table.
const NUMBERS: usize = 470;

/// What the table says of one call.
pub struct Row {
    /// Its number.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// What of it is supported, in a few words; empty when all of it is.
    pub support: &'static str,
}

/// How often each call was made, by number, since boot.
static COUNTS: [AtomicU64; NUMBERS] = [const { AtomicU64::new(0) }; NUMBERS];

/// The unknown numbers already logged, a bit each: a program that probes should not flood the log.
static UNKNOWN_LOGGED: [AtomicU64; NUMBERS.div_ceil(64)] =
    [const { AtomicU64::new(0) }; NUMBERS.div_ceil(64)];

/// Calls with their counts, in the table's order.
pub fn call_counts() -> impl Iterator<Item = (&'static Row, u64)> {
    ROWS.iter().map(|row| (row, COUNTS[row.number].load(Relaxed)))
}

macro_rules! invoke {
    (now $handler:path, 0, $caller:ident, $a:ident) => { $handler($caller) };
    (now $handler:path, 1, $caller:ident, $a:ident) => { $handler($caller, get($a[0])) };
    (now $handler:path, 2, $caller:ident, $a:ident) => { $handler($caller, get($a[0]), get($a[1])) };
    (now $handler:path, 3, $caller:ident, $a:ident) => { $handler($caller, get($a[0]), get($a[1]), get($a[2])) };
    (now $handler:path, 4, $caller:ident, $a:ident) => {
        $handler($caller, get($a[0]), get($a[1]), get($a[2]), get($a[3]))
    };
    (now $handler:path, 5, $caller:ident, $a:ident) => {
        $handler($caller, get($a[0]), get($a[1]), get($a[2]), get($a[3]), get($a[4]))
    };
    (now $handler:path, 6, $caller:ident, $a:ident) => {
        $handler($caller, get($a[0]), get($a[1]), get($a[2]), get($a[3]), get($a[4]), get($a[5]))
    };
    (wait $handler:path, $count:tt, $caller:ident, $a:ident) => { invoke!(now $handler, $count, $caller, $a).await };
}

macro_rules! table {
    ($($number:literal $name:ident $kind:ident $handler:path, $count:tt, $support:literal;)*) => {
        /// Every call there is, in the order of their numbers.
        pub static ROWS: &[Row] =
            &[$(Row { number: $number, name: stringify!($name), support: $support }),*];

        /// Makes a system call.
        pub async fn dispatch(caller: &mut Caller<'_>, number: usize, arguments: [usize; 6]) -> Result<usize> {
            if let Some(count) = COUNTS.get(number) {
                count.store(count.load(Relaxed) + 1, Relaxed);
            }
            match number {
                $($number => invoke!($kind $handler, $count, caller, arguments),)*
                _ => Err(unknown(number, caller)),
            }
        }
    };
}

fn get<T: Argument>(register: usize) -> T {
    T::from_register(register)
}

#[cold]
fn unknown(number: usize, caller: &Caller<'_>) -> Errno {
    if let Some(logged) = UNKNOWN_LOGGED.get(number / 64) {
        let bit = 1 << (number % 64);
        if logged.fetch_or(bit, Relaxed) & bit == 0 {
            log::debug!("{}: system call {number} is not there", caller.task.name());
        }
    }
    Errno::ENOSYS
}

table! {
    96 gettimeofday now clocks::gettimeofday, 2, "";
    164 settimeofday now clocks::settimeofday, 2, "";
    201 time now clocks::time, 1, "";
    227 clock_settime now clocks::clock_settime, 2, "CLOCK_REALTIME";
    228 clock_gettime now clocks::clock_gettime, 2, "";
    229 clock_getres now clocks::clock_getres, 2, "";
    272 unshare now namespaces::unshare, 1, "time and user namespaces; FS, FILES";
    308 setns now namespaces::setns, 2, "time and user namespaces, by nsfs file and by pidfd";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_without_repetition() {
        assert!(ROWS.is_sorted_by(|a, b| a.number < b.number));
        assert!(ROWS.iter().all(|row| row.number < NUMBERS));
    }
}

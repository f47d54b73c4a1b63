//! Instants and lengths of time as nanoseconds in an `i64`, and the calls that read, wait and measure.
//!
//! An `i64` of nanoseconds reaches 292 years, twice what a clock inside a time namespace may show, and makes
//! comparing and subtracting readings plain arithmetic.

use super::errno::Errno;
use crate::call;

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND: i64 = 1_000_000;

/// The nanoseconds that a timespec stands for.
pub fn nanoseconds(time: &libc::timespec) -> i64 {
    time.tv_sec.wrapping_mul(SECOND).wrapping_add(time.tv_nsec)
}

/// The timespec for a number of nanoseconds, normalised: its nanoseconds are 0 to 999 999 999 for negative times too.
pub fn timespec(nanoseconds: i64) -> libc::timespec {
    libc::timespec { tv_sec: nanoseconds.div_euclid(SECOND), tv_nsec: nanoseconds.rem_euclid(SECOND) }
}

/// A timespec of zeros, for the kernel to fill in.
pub const ZERO: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };

/// clock_gettime(2) by the system call, never by the vDSO.
pub fn read_by_call(clock: i32) -> Result<i64, Errno> {
    let mut time = ZERO;
    call!(libc::SYS_clock_gettime, clock, &mut time)?;
    Ok(nanoseconds(&time))
}

/// clock_getres(2) by the system call.
pub fn resolution_by_call(clock: i32) -> Result<i64, Errno> {
    let mut time = ZERO;
    call!(libc::SYS_clock_getres, clock, &mut time)?;
    Ok(nanoseconds(&time))
}

/// clock_nanosleep(2) with TIMER_ABSTIME until `clock` shows `until`.
pub fn sleep_until(clock: i32, until: i64) -> Result<(), Errno> {
    call!(libc::SYS_clock_nanosleep, clock, libc::TIMER_ABSTIME, &timespec(until), 0usize).map(|_| ())
}

/// nanosleep(2), continued after signals until all of it has passed.
pub fn sleep(nanoseconds: i64) {
    let mut time = timespec(nanoseconds);
    loop {
        let mut rest = ZERO;
        match call!(libc::SYS_nanosleep, &time, &mut rest) {
            Err(Errno::EINTR) => time = rest,
            _ => return,
        }
    }
}

/// `seconds.nanoseconds` with the sign in front, right-aligned by the caller.
pub fn decimal(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let magnitude = nanoseconds.unsigned_abs();
    format!("{sign}{}.{:09}", magnitude / SECOND as u64, magnitude % SECOND as u64)
}

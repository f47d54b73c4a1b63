//! Clock ids, and the two ways a program writes a time down.

use super::{Errno, Result, linux};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Nanoseconds in a second.
pub const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// A clock, clock_gettime(2): 0 and up name the system's clocks, negative numbers a task's or a descriptor's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockId(pub i32);

#[allow(missing_docs, reason = "clock_gettime(2) describes them")]
impl ClockId {
    pub const REALTIME: Self = Self(linux::CLOCK_REALTIME as i32);
    pub const MONOTONIC: Self = Self(linux::CLOCK_MONOTONIC as i32);
    pub const PROCESS_CPUTIME: Self = Self(linux::CLOCK_PROCESS_CPUTIME_ID as i32);
    pub const THREAD_CPUTIME: Self = Self(linux::CLOCK_THREAD_CPUTIME_ID as i32);
    pub const MONOTONIC_RAW: Self = Self(linux::CLOCK_MONOTONIC_RAW as i32);
    pub const REALTIME_COARSE: Self = Self(linux::CLOCK_REALTIME_COARSE as i32);
    pub const MONOTONIC_COARSE: Self = Self(linux::CLOCK_MONOTONIC_COARSE as i32);
    pub const BOOTTIME: Self = Self(linux::CLOCK_BOOTTIME as i32);
    pub const REALTIME_ALARM: Self = Self(linux::CLOCK_REALTIME_ALARM as i32);
    pub const BOOTTIME_ALARM: Self = Self(linux::CLOCK_BOOTTIME_ALARM as i32);
    pub const TAI: Self = Self(linux::CLOCK_TAI as i32);
}

/// `struct __kernel_timespec`. What a program sent may hold anything: `checked` says whether it is a time.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Timespec {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds; 0 to 999 999 999 in a valid one.
    pub nanoseconds: i64,
}

impl Timespec {
    /// The time `nanoseconds` after zero (before it, when negative; then the seconds are rounded down).
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        let second = NANOSECONDS_PER_SECOND as i64;
        Self { seconds: nanoseconds.div_euclid(second), nanoseconds: nanoseconds.rem_euclid(second) }
    }

    /// In nanoseconds; saturates at `i64::MAX` (292 years), as Linux' KTIME_MAX does.
    ///
    /// Errors: EINVAL when the seconds are negative or the nanoseconds are not 0 to 999 999 999, nanosleep(2).
    pub fn checked(self) -> Result<i64> {
        if self.seconds < 0 || !(0..NANOSECONDS_PER_SECOND as i64).contains(&self.nanoseconds) {
            return Err(Errno::EINVAL.because("a time has seconds >= 0 and nanoseconds below 10^9"));
        }
        Ok(self.seconds.saturating_mul(NANOSECONDS_PER_SECOND as i64).saturating_add(self.nanoseconds))
    }
}

/// `struct timeval`: seconds and microseconds.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Timeval {
    /// Seconds.
    pub seconds: i64,
    /// Microseconds; 0 to 999 999 in a valid one.
    pub microseconds: i64,
}

impl Timeval {
    /// The time `nanoseconds` after zero, rounded down to a microsecond.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        let time = Timespec::from_nanoseconds(nanoseconds);
        Self { seconds: time.seconds, microseconds: time.nanoseconds / 1000 }
    }

    /// In nanoseconds; saturates at `i64::MAX`. Errors: EINVAL for negative seconds or microseconds not below 10^6.
    pub fn checked(self) -> Result<i64> {
        if !(0..1_000_000).contains(&self.microseconds) {
            return Err(Errno::EINVAL.because("a timeval has microseconds below 10^6"));
        }
        Timespec { seconds: self.seconds, nanoseconds: self.microseconds * 1000 }.checked()
    }
}

//! Timers that send signals: alarm(2), getitimer(2), setitimer(2).

use super::Caller;
use crate::{
    abi::{Errno, NANOSECONDS_PER_SECOND, Result, Timeval, UserPointer, linux},
    task::interval_timer::Setting,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct itimerval`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IntervalValue {
    interval: Timeval,
    value: Timeval,
}

/// Nanoseconds as microseconds, rounded up: an armed timer must not look as if it were not.
fn timeval(nanoseconds: i64) -> Timeval {
    Timeval::from_nanoseconds(nanoseconds.saturating_add(999))
}

impl From<Setting> for IntervalValue {
    fn from(setting: Setting) -> Self {
        Self { interval: timeval(setting.interval), value: timeval(setting.remaining) }
    }
}

/// Errors: EINVAL for anything but the timer of elapsed time.
fn check(which: i32) -> Result<()> {
    match which as u32 {
        linux::ITIMER_REAL => Ok(()),
        _ => Err(Errno::EINVAL.because("of the interval timers there is that of elapsed time")),
    }
}

/// alarm(2): the seconds that were left, rounded to the nearest, and never to nothing.
pub fn alarm(caller: &mut Caller<'_>, seconds: u32) -> Result<usize> {
    let process = caller.task.process();
    let remaining = i64::from(seconds) * NANOSECONDS_PER_SECOND as i64;
    let before = process.interval_timer().set(process, Setting { remaining, interval: 0 }).remaining as u64;
    let seconds = (before + NANOSECONDS_PER_SECOND / 2) / NANOSECONDS_PER_SECOND;
    Ok(if before > 0 { seconds.max(1) } else { 0 } as usize)
}

/// getitimer(2). Errors: EINVAL, EFAULT.
pub fn getitimer(caller: &mut Caller<'_>, which: i32, into: UserPointer<IntervalValue>) -> Result<usize> {
    check(which)?;
    caller.space.write(into, &caller.task.process().interval_timer().setting().into())?;
    Ok(0)
}

/// setitimer(2). NULL for the new value disarms, as on Linux. Errors: EFAULT, EINVAL.
pub fn setitimer(
    caller: &mut Caller<'_>,
    which: i32,
    from: UserPointer<IntervalValue>,
    into: UserPointer<IntervalValue>,
) -> Result<usize> {
    let setting = match from.optional() {
        Some(from) => {
            let wanted = caller.space.read(from)?;
            Setting { remaining: wanted.value.checked()?, interval: wanted.interval.checked()? }
        }
        None => Setting::default(),
    };
    check(which)?;
    let process = caller.task.process();
    let before = process.interval_timer().set(process, setting);
    if let Some(into) = into.optional() {
        caller.space.write(into, &before.into())?;
    }
    Ok(0)
}

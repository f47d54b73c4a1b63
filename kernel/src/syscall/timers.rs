//! Timers that send signals: setitimer(2) and alarm(2), timer_create(2) and its companions.

use super::{
    Caller,
    clocks::{absolute, timer_clock},
};
use crate::{
    abi::{
        ClockId, Errno, NANOSECONDS_PER_SECOND, Result, Signal, TaskId, Timespec, Timeval, UserPointer, linux,
    },
    mm::reserve,
    task::{
        table,
        timers::{
            Expiry,
            interval::Which,
            posix::{Notification, TimerClock},
        },
    },
    time::{events::Deadline, timer::Setting},
};
use alloc::sync::Arc;
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
        let remaining = setting.remaining.map_or(0, |remaining| remaining.max(1));
        Self { interval: timeval(setting.interval), value: timeval(remaining) }
    }
}

/// Errors: EINVAL for none of the three timers.
fn which(number: u32) -> Result<Which> {
    Which::new(number).ok_or_else(|| Errno::EINVAL.because("a process has three interval timers"))
}

/// alarm(2): the seconds that were left, rounded to the nearest, and never to nothing.
pub fn alarm(caller: &mut Caller<'_>, seconds: u32) -> Result<usize> {
    let timer = caller.task.process().interval_timer(Which::Real);
    let before = timer.set(i64::from(seconds) * NANOSECONDS_PER_SECOND as i64, 0);
    let left =
        before.remaining.map(|left| (left as u64 + NANOSECONDS_PER_SECOND / 2) / NANOSECONDS_PER_SECOND);
    Ok(left.map_or(0, |left| left.max(1)) as usize)
}

/// getitimer(2). Errors: EINVAL, EFAULT.
pub fn getitimer(caller: &mut Caller<'_>, number: u32, into: UserPointer<IntervalValue>) -> Result<usize> {
    let setting = caller.task.process().interval_timer(which(number)?).setting();
    caller.space.write(into, &setting.into()).map(|()| 0)
}

/// setitimer(2). NULL for the new value disarms, as on Linux. Errors: EFAULT, EINVAL.
pub fn setitimer(
    caller: &mut Caller<'_>,
    number: u32,
    from: UserPointer<IntervalValue>,
    into: UserPointer<IntervalValue>,
) -> Result<usize> {
    let (remaining, interval) = match from.optional() {
        Some(from) => {
            let wanted = caller.space.read(from)?;
            (wanted.value.checked()?, wanted.interval.checked()?)
        }
        None => (0, 0),
    };
    let before = caller.task.process().interval_timer(which(number)?).set(remaining, interval);
    if let Some(into) = into.optional() {
        caller.space.write(into, &before.into())?;
    }
    Ok(0)
}

/// `struct itimerspec`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TimerValue {
    interval: Timespec,
    value: Timespec,
}

impl TimerValue {
    /// When first, and how often after that, in nanoseconds. Errors: EINVAL for what is no time.
    pub fn checked(&self) -> Result<(i64, i64)> {
        let interval = self.interval.checked()?;
        Ok((self.value.checked()?, interval))
    }
}

impl From<Setting> for TimerValue {
    fn from(setting: Setting) -> Self {
        let [value, interval] =
            [setting.remaining.unwrap_or(0), setting.interval].map(Timespec::from_nanoseconds);
        Self { interval, value }
    }
}

/// `struct sigevent`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SignalEvent {
    value: u64,
    signal: u32,
    notify: u32,
    thread: i32,
    padding: [u32; 11],
}

impl SignalEvent {
    /// Errors: EINVAL for another way to notify, no signal, or a thread of another process.
    fn notification(self, caller: &Caller<'_>) -> Result<Notification> {
        const THREAD_OR_SIGNAL: u32 = linux::SIGEV_THREAD_ID | linux::SIGEV_SIGNAL;
        let thread = match self.notify {
            linux::SIGEV_NONE => return Ok(Notification::None),
            linux::SIGEV_SIGNAL | linux::SIGEV_THREAD => None,
            THREAD_OR_SIGNAL => {
                let thread = table::task(self.thread as TaskId)
                    .filter(|thread| Arc::ptr_eq(thread.process(), caller.task.process()));
                Some(
                    thread
                        .ok_or_else(|| Errno::EINVAL.because("a timer notifies a thread of its process"))?,
                )
            }
            _ => return Err(Errno::EINVAL.because("a timer notifies by a signal or not at all")),
        };
        let signal = Signal::new(self.signal)?;
        Ok(Notification::Signal {
            signal,
            value: Some(self.value),
            thread: thread.as_ref().map(Arc::downgrade),
        })
    }
}

/// timer_create(2). Without an event it sends SIGALRM with the timer's number.
///
/// Errors: EFAULT; EINVAL for no clock, EOPNOTSUPP for one without timers; EINVAL for the event; EAGAIN; EFAULT.
pub fn timer_create(
    caller: &mut Caller<'_>,
    clock: ClockId,
    event: UserPointer<SignalEvent>,
    into: UserPointer<i32>,
) -> Result<usize> {
    let event = event.optional().map(|event| caller.space.read(event)).transpose()?;
    let clock = timer_clock(caller, clock)?;
    let notification = match event {
        Some(event) => event.notification(caller)?,
        None => Notification::Signal { signal: Signal::SIGALRM, value: None, thread: None },
    };
    reserve::check()?;
    let process = caller.task.process();
    let timer = process.make_timer(caller.task, clock, notification)?;
    caller.space.write(into, &timer.id).inspect_err(|_| {
        // Another thread may have guessed its number and deleted it already.
        let _ = process.delete_timer(timer.id);
    })?;
    Ok(0)
}

/// timer_settime(2). An absolute time becomes one of the host here, by the caller's namespace.
///
/// Errors: EINVAL without a new value; EFAULT; EINVAL for no time, or no timer; ESRCH when its clock's task is gone.
pub fn timer_settime(
    caller: &mut Caller<'_>,
    id: i32,
    flags: u32,
    new: UserPointer<TimerValue>,
    old: UserPointer<TimerValue>,
) -> Result<usize> {
    let new = new.optional().ok_or_else(|| Errno::EINVAL.because("a timer is set to something"))?;
    let (value, interval) = caller.space.read(new)?.checked()?;
    let timer = caller.task.process().timer(id)?;
    let is_absolute = flags & linux::TIMER_ABSTIME != 0;
    // Zero means never, and is that before any conversion.
    let first = match timer.clock() {
        _ if value == 0 => None,
        TimerClock::Host(clock) if is_absolute => Some(Expiry::Host(absolute(caller, *clock, value))),
        TimerClock::Host(_) => Some(Expiry::Host(Deadline::after(value))),
        TimerClock::Processor(clock) => {
            let now =
                clock.read().ok_or_else(|| Errno::ESRCH.because("nobody's processor time is measured"))?;
            Some(Expiry::Processor(clock.moment(if is_absolute { value } else { now.saturating_add(value) })))
        }
    };
    let before = timer.set(first, interval);
    if let Some(old) = old.optional() {
        caller.space.write(old, &before.into())?;
    }
    Ok(0)
}

/// timer_gettime(2). Errors: EINVAL, EFAULT.
pub fn timer_gettime(caller: &mut Caller<'_>, id: i32, into: UserPointer<TimerValue>) -> Result<usize> {
    let setting = caller.task.process().timer(id)?.setting();
    caller.space.write(into, &setting.into()).map(|()| 0)
}

/// timer_getoverrun(2). Errors: EINVAL.
pub fn timer_getoverrun(caller: &mut Caller<'_>, id: i32) -> Result<usize> {
    Ok(caller.task.process().timer(id)?.overrun() as usize)
}

/// timer_delete(2). Errors: EINVAL.
pub fn timer_delete(caller: &mut Caller<'_>, id: i32) -> Result<usize> {
    caller.task.process().delete_timer(id).map(|()| 0)
}

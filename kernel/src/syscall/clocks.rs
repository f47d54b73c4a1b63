//! Reading and setting clocks, and sleeping: clock_gettime(2), clock_settime(2), clock_nanosleep(2) and their elders.
//!
//! Here the namespace's offset is added to what is read, and taken from what is waited for. All else is host time.

use super::Caller;
use crate::{
    abi::{ClockId, Errno, NANOSECONDS_PER_SECOND, Result, TaskId, Timespec, Timeval, UserPointer, linux},
    ns::Capability,
    task::{
        serve::Restart,
        table,
        timers::{posix::TimerClock, processor::ProcessorClock},
    },
    time::{
        self, HostClock, TICK,
        events::{self, Deadline},
        timer::Moment,
    },
};
use alloc::{boxed::Box, sync::Arc};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A clock that clock_gettime(2) knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Clock {
    /// One of the host's, shifted by the caller's namespace.
    Host(HostClock),
    /// The processor time of a process or a thread.
    Processor(Processor),
    /// REALTIME_ALARM or BOOTTIME_ALARM: they need a device that can wake the machine, and there is none.
    Alarm,
}

/// A clock of processor time, as its id says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Processor {
    /// The process or thread; 0 is the caller's own.
    number: TaskId,
    is_thread: bool,
    /// Without the time spent in the kernel.
    only_user: bool,
}

impl Processor {
    const OWN_PROCESS: Self = Self { number: 0, is_thread: false, only_user: false };
    const OWN_THREAD: Self = Self { is_thread: true, ..Self::OWN_PROCESS };

    /// By the id that clock_getcpuclockid(3) makes: the number of a process or thread, inverted, above three bits of which
    /// the lowest two say what is measured (user and system time, user time, and both again) and the third that it is a
    /// thread. Two bits set mean a descriptor, which no device here can be.
    fn new(id: i32) -> Option<Self> {
        const THREAD: i32 = 4;
        const KIND: i32 = 3;
        const ONLY_USER: i32 = 1;
        const DESCRIPTOR: i32 = 3;
        let number = !(id >> 3) as TaskId;
        (id & KIND != DESCRIPTOR).then_some(Self {
            number,
            is_thread: id & THREAD != 0,
            only_user: id & KIND == ONLY_USER,
        })
    }

    #[inline(never)]
    fn read(self, caller: &Caller<'_>) -> Result<Timespec> {
        let time = self.find(caller)?.read().ok_or_else(Clock::unknown)?;
        Ok(Timespec::from_nanoseconds(time))
    }

    /// The clock itself. Errors: EINVAL for a process that is not there, or a thread that is not of the caller's process.
    fn find(self, caller: &Caller<'_>) -> Result<ProcessorClock> {
        let Self { number, only_user, .. } = self;
        if self.is_thread {
            let own = number == 0 || number == caller.task.id();
            let task = if own { Some(caller.task.clone()) } else { table::task(number) };
            let task = task.filter(|task| Arc::ptr_eq(task.process(), caller.task.process()));
            let task =
                task.ok_or_else(|| Errno::EINVAL.because("no thread of this process has this clock"))?;
            return Ok(ProcessorClock::of_thread(&task, only_user));
        }
        let process = if number == 0 { Some(caller.task.process().clone()) } else { table::process(number) };
        let process = process.ok_or_else(|| Errno::EINVAL.because("no process has this clock"))?;
        Ok(ProcessorClock::of_process(&process, only_user))
    }
}

impl Clock {
    /// Errors: EINVAL for an id that names no clock.
    fn new(id: ClockId) -> Result<Self> {
        if let Some(clock) = HostClock::with_id(id) {
            return Ok(Self::Host(clock));
        }
        Ok(match id {
            ClockId::PROCESS_CPUTIME => Self::Processor(Processor::OWN_PROCESS),
            ClockId::THREAD_CPUTIME => Self::Processor(Processor::OWN_THREAD),
            ClockId::REALTIME_ALARM | ClockId::BOOTTIME_ALARM => Self::Alarm,
            ClockId(id @ ..0) => Self::Processor(Processor::new(id).ok_or_else(Self::unknown)?),
            _ => return Err(Self::unknown()),
        })
    }

    #[cold]
    fn unknown() -> Errno {
        Errno::EINVAL.because("no clock has this id")
    }

    /// What it shows the caller. Errors: EINVAL for a task that is not there, or without its device.
    fn read(self, caller: &Caller<'_>) -> Result<Timespec> {
        match self {
            Self::Host(clock) => Ok(caller.task.told(clock, time::at(clock, caller.came_at))),
            Self::Processor(clock) => clock.read(caller),
            Self::Alarm => Err(Errno::EINVAL.because("an alarm clock needs a device that wakes the machine")),
        }
    }

    /// Nanoseconds between two of its values. Errors: as `read`.
    fn resolution(self, caller: &Caller<'_>) -> Result<i64> {
        match self {
            Self::Host(HostClock::RealtimeCoarse | HostClock::MonotonicCoarse) => Ok(TICK),
            Self::Host(_) => Ok(1),
            _ => self.read(caller).map(|_| 1),
        }
    }
}

/// The clock of this id for a timer, timer_create(2). Errors: EINVAL for none; EOPNOTSUPP for one without timers.
pub fn timer_clock(caller: &Caller<'_>, id: ClockId) -> Result<TimerClock> {
    match Clock::new(id)? {
        Clock::Host(
            clock @ (HostClock::Realtime | HostClock::Monotonic | HostClock::Boottime | HostClock::Tai),
        ) => Ok(TimerClock::Host(clock)),
        Clock::Processor(which) => Ok(TimerClock::Processor(which.find(caller)?)),
        _ => Err(Errno::EOPNOTSUPP.because("this clock has no timers")),
    }
}

/// clock_gettime(2). Errors: EINVAL, then EFAULT.
///
/// Most often it is a clock of the host, read outside of namespaces, and goes where something was written lately. For all
/// else this begins anew elsewhere, so that the usual call has no registers to save.
pub fn clock_gettime(caller: &mut Caller<'_>, id: ClockId, into: UserPointer<Timespec>) -> Result<usize> {
    if !caller.task.is_shifted()
        && let Some(now) = time::shown_by(id, caller.came_at)
        && caller.space.write_at_hand(into, &now).is_some()
    {
        return Ok(0);
    }
    gettime_of_any(caller, id, into)?;
    Ok(0)
}

#[inline(never)]
fn gettime_of_any(caller: &Caller<'_>, id: ClockId, into: UserPointer<Timespec>) -> Result<()> {
    let now = match HostClock::with_id(id) {
        Some(clock) => caller.task.told(clock, time::at(clock, caller.came_at)),
        None => Clock::new(id)?.read(caller)?,
    };
    caller.space.write(into, &now)
}

/// clock_getres(2). The pointer may be NULL. Errors: EINVAL, then EFAULT.
pub fn clock_getres(caller: &mut Caller<'_>, id: ClockId, into: UserPointer<Timespec>) -> Result<usize> {
    let resolution = Clock::new(id)?.resolution(caller)?;
    if let Some(into) = into.optional() {
        caller.space.write(into, &Timespec::from_nanoseconds(resolution))?;
    }
    Ok(0)
}

/// clock_settime(2): the wall clock alone. Errors, in this order: EINVAL for another clock, EFAULT, EINVAL for a time that
/// is none, EPERM without CAP_SYS_TIME, EINVAL for a time that cannot be set; EPERM for a task's clock.
pub fn clock_settime(caller: &mut Caller<'_>, id: ClockId, from: UserPointer<Timespec>) -> Result<usize> {
    match (id, Clock::new(id)) {
        (ClockId::REALTIME, _) => {
            let time = caller.space.read(from)?;
            set_wall_clock(caller, time.checked()?)
        }
        (ClockId(..0), Ok(clock)) => {
            caller.space.read(from)?;
            clock.read(caller)?;
            Err(Errno::EPERM.because("a task's clock cannot be set"))
        }
        (ClockId(..0), Err(error)) => caller.space.read(from).and(Err(error)),
        _ => Err(Errno::EINVAL.because("only the wall clock can be set")),
    }
}

fn set_wall_clock(caller: &Caller<'_>, nanoseconds: i64) -> Result<usize> {
    if !caller.credentials().capable_globally(Capability::SYS_TIME) {
        return Err(Errno::EPERM.because("setting the wall clock takes CAP_SYS_TIME"));
    }
    time::set_realtime(nanoseconds)?;
    Ok(0)
}

/// `struct timezone`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Timezone {
    minutes_west: i32,
    dst_time: i32,
}

/// gettimeofday(2). Either pointer may be NULL. Errors: EFAULT.
pub fn gettimeofday(
    caller: &mut Caller<'_>,
    into: UserPointer<Timeval>,
    zone: UserPointer<Timezone>,
) -> Result<usize> {
    if let Some(into) = into.optional() {
        caller.space.write(into, &Timeval::from_nanoseconds(time::realtime_now()))?;
    }
    if let Some(zone) = zone.optional() {
        let (minutes_west, dst_time) = time::time_zone();
        caller.space.write(zone, &Timezone { minutes_west, dst_time })?;
    }
    Ok(0)
}

/// settimeofday(2). Errors, in this order: EFAULT and EINVAL for the time, EFAULT for the zone, EPERM, EINVAL for a zone
/// more than 15 hours away.
pub fn settimeofday(
    caller: &mut Caller<'_>,
    from: UserPointer<Timeval>,
    zone: UserPointer<Timezone>,
) -> Result<usize> {
    const FARTHEST: i32 = 15 * 60;
    let time = from.optional().map(|from| caller.space.read(from)?.checked()).transpose()?;
    let zone = zone.optional().map(|zone| caller.space.read(zone)).transpose()?;
    if !caller.credentials().capable_globally(Capability::SYS_TIME) {
        return Err(Errno::EPERM.because("setting the wall clock takes CAP_SYS_TIME"));
    }
    if let Some(zone) = zone {
        if !(-FARTHEST..=FARTHEST).contains(&zone.minutes_west) {
            return Err(Errno::EINVAL.because("a time zone is within 15 hours of Greenwich"));
        }
        time::set_time_zone(zone.minutes_west, zone.dst_time);
    }
    time.map_or(Ok(0), |time| set_wall_clock(caller, time))
}

/// time(2). The pointer may be NULL. Errors: EFAULT.
pub fn time(caller: &mut Caller<'_>, into: UserPointer<i64>) -> Result<usize> {
    let seconds = time::realtime_now() / NANOSECONDS_PER_SECOND as i64;
    if let Some(into) = into.optional() {
        caller.space.write(into, &seconds)?;
    }
    Ok(seconds as usize)
}

/// nanosleep(2): clock_nanosleep(2) on the monotonic clock.
pub async fn nanosleep(
    caller: &mut Caller<'_>,
    request: UserPointer<Timespec>,
    remaining: UserPointer<Timespec>,
) -> Result<usize> {
    clock_nanosleep(caller, ClockId::MONOTONIC, 0, request, remaining).await
}

/// clock_nanosleep(2). Flags other than TIMER_ABSTIME are ignored, as on Linux.
///
/// Errors, in this order: EINVAL for no clock; EOPNOTSUPP for one that nobody can sleep on; EFAULT; EINVAL for a time
/// that is none; EINTR.
pub async fn clock_nanosleep(
    caller: &mut Caller<'_>,
    id: ClockId,
    flags: u32,
    request: UserPointer<Timespec>,
    remaining: UserPointer<Timespec>,
) -> Result<usize> {
    let clock = Clock::new(id)?;
    // The calling thread's clock is another matter under its other ids, which name a task.
    let never = matches!(
        clock,
        Clock::Host(HostClock::MonotonicRaw | HostClock::RealtimeCoarse | HostClock::MonotonicCoarse)
    );
    if never || id == ClockId::THREAD_CPUTIME {
        return Err(Errno::EOPNOTSUPP.because("nobody can sleep on this clock"));
    }
    let requested = caller.space.read(request)?.checked()?;
    let is_absolute = flags & linux::TIMER_ABSTIME != 0;
    match clock {
        Clock::Host(clock) if is_absolute => sleep_until(caller, absolute(caller, clock, requested)).await,
        Clock::Host(_) => sleep_on(caller, Deadline::after(requested), remaining).await,
        Clock::Alarm => {
            Err(Errno::EOPNOTSUPP.because("an alarm clock needs a device that wakes the machine"))
        }
        Clock::Processor(which) => {
            let clock = which.find(caller)?;
            if which.is_thread && clock.is_of(caller.task) {
                return Err(Errno::EINVAL.because("a thread that sleeps uses no processor time"));
            }
            let until = |now: i64| if is_absolute { requested } else { now.saturating_add(requested) };
            let moment = clock.moment(clock.read().map_or(requested, until));
            if is_absolute {
                sleep_until(caller, moment).await
            } else {
                sleep_on(caller, moment, remaining).await
            }
        }
    }
}

/// When a clock shows the caller `inside` nanoseconds: the caller's namespace is looked at now and never again.
pub fn absolute(caller: &Caller<'_>, clock: HostClock, inside: i64) -> Deadline {
    let host = caller.task.with_namespaces(|namespaces| namespaces.to_host(clock, inside));
    Deadline::on(clock, host.unwrap_or(inside))
}

/// Sleeps until an absolute time. A signal interrupts it for good only if it is handled.
async fn sleep_until(caller: &mut Caller<'_>, moment: impl Moment<Alarm: Send> + Send) -> Result<usize> {
    match caller.wait(events::sleep_until(moment)).await {
        Ok(()) => Ok(0),
        Err(_) => Err(Errno::ERESTARTNOHAND),
    }
}

/// Sleeps until a moment; when a signal comes first, says how long was left, and goes on until then if it may.
async fn sleep_on<M: Moment<Alarm: Send> + Send + Sync + 'static>(
    caller: &mut Caller<'_>,
    moment: M,
    remaining: UserPointer<Timespec>,
) -> Result<usize> {
    if caller.wait(events::sleep_until(moment.clone())).await.is_ok() {
        return Ok(0);
    }
    let left = moment.distance();
    if left <= 0 {
        return Ok(0);
    }
    if let Some(remaining) = remaining.optional() {
        caller.space.write(remaining, &Timespec::from_nanoseconds(left))?;
    }
    caller.task.restart_with(go_on_sleeping(moment, remaining));
    Err(Errno::ERESTART_RESTARTBLOCK)
}

fn go_on_sleeping<M: Moment<Alarm: Send> + Send + Sync + 'static>(
    moment: M,
    remaining: UserPointer<Timespec>,
) -> Restart {
    Restart::new(move |caller| Box::pin(sleep_on(caller, moment, remaining)))
}

/// Errors: EINVAL for an id that names no clock, EOPNOTSUPP for one that cannot be adjusted.
pub fn must_be_adjustable(id: ClockId) -> Result<()> {
    let unable = || Errno::EOPNOTSUPP.because("only the wall clock is adjusted");
    match id {
        ClockId::REALTIME => Ok(()),
        // An id that only looks like a task's clock is not looked into.
        ClockId(..0) => Err(unable()),
        _ => Clock::new(id).and(Err(unable())),
    }
}

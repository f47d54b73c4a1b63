//! Timers that are files: timerfd_create(2), timerfd_settime(2), timerfd_gettime(2).

use super::{Caller, clocks::absolute, descriptors::install, places::only, timers::TimerValue};
use crate::{
    abi::{ClockId, Errno, Result, UserPointer, linux},
    fs::{
        Descriptor, File, OpenFlags,
        timer_file::{timer_file, timer_of},
    },
    mm::reserve,
    ns::Capability,
    time::{HostClock, events::Deadline},
};
use alloc::sync::Arc;

/// The clocks a timer file can have, and whether each would wake a sleeping machine.
const CLOCKS: [(ClockId, HostClock, bool); 5] = [
    (ClockId::REALTIME, HostClock::Realtime, false),
    (ClockId::MONOTONIC, HostClock::Monotonic, false),
    (ClockId::BOOTTIME, HostClock::Boottime, false),
    (ClockId::REALTIME_ALARM, HostClock::Realtime, true),
    (ClockId::BOOTTIME_ALARM, HostClock::Boottime, true),
];

/// The host's clock behind a timer file's. Errors: EINVAL for other clocks; EPERM without the right to wake the machine,
/// which never sleeps here.
fn host_clock(caller: &Caller<'_>, id: ClockId) -> Result<HostClock> {
    let found = CLOCKS.iter().find(|(clock, ..)| *clock == id);
    let (_, clock, wakes) = found.ok_or_else(|| Errno::EINVAL.because("timer files have five clocks"))?;
    if *wakes && !caller.credentials().capable_globally(Capability::WAKE_ALARM) {
        return Err(Errno::EPERM.because("waking the machine takes CAP_WAKE_ALARM"));
    }
    Ok(*clock)
}

/// timerfd_create(2). Errors: EINVAL, EPERM, ENOMEM, EMFILE.
pub fn timerfd_create(caller: &mut Caller<'_>, clock: ClockId, flags: u32) -> Result<usize> {
    only(flags, linux::TFD_CLOEXEC | linux::TFD_NONBLOCK)?;
    host_clock(caller, clock)?;
    reserve::check()?;
    let kept = OpenFlags::from_bits_retain(flags) & OpenFlags::NON_BLOCKING;
    install(caller, timer_file(clock, kept, caller.credentials())?, flags & linux::TFD_CLOEXEC != 0)
}

fn file_of(caller: &Caller<'_>, descriptor: Descriptor) -> Result<Arc<File>> {
    caller.files()?.get(descriptor)
}

/// timerfd_settime(2). An absolute time becomes one of the host here, by the caller's namespace.
///
/// Errors, in this order: EFAULT; EINVAL for unknown flags or no time; EBADF; EINVAL for another file; EPERM; ECANCELED,
/// after which the timer is set all the same; EFAULT for the old value.
pub fn timerfd_settime(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    flags: u32,
    new: UserPointer<TimerValue>,
    old: UserPointer<TimerValue>,
) -> Result<usize> {
    let new = caller.space.read(new)?;
    only(flags, linux::TFD_TIMER_ABSTIME | linux::TFD_TIMER_CANCEL_ON_SET)?;
    let (value, interval) = new.checked()?;
    let file = file_of(caller, descriptor)?;
    let timer = timer_of(&file)?;
    let clock = host_clock(caller, timer.clock())?;
    let is_absolute = flags & linux::TFD_TIMER_ABSTIME != 0;
    // Zero means never, and is that before any conversion.
    let first = (value != 0).then(|| match is_absolute {
        true => absolute(caller, clock, value),
        false => Deadline::after(value),
    });
    let cancels = is_absolute && flags & linux::TFD_TIMER_CANCEL_ON_SET != 0 && clock == HostClock::Realtime;
    let (before, result) = timer.set(first, interval, cancels, flags);
    if let Some(old) = old.optional() {
        caller.space.write(old, &before.into())?;
    }
    result.map(|()| 0)
}

/// timerfd_gettime(2). Errors: EBADF, EINVAL, EFAULT.
pub fn timerfd_gettime(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    into: UserPointer<TimerValue>,
) -> Result<usize> {
    let file = file_of(caller, descriptor)?;
    let setting = timer_of(&file)?.setting();
    caller.space.write(into, &setting.into()).map(|()| 0)
}

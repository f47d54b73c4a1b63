//! How late a sleeper wakes, in nanoseconds of the clock it sleeps by. A figure below zero would be one who woke early.

use super::report;
use crate::call;
use crate::system::errno::Errno;
use crate::system::time::{self, MILLISECOND};

const SLEEPS: usize = 200;

/// clock_nanosleep(2) and a timerfd, for a millisecond and for 50 microseconds.
pub(super) fn run(speed: u32) -> Result<(), Errno> {
    // Linux lets a sleeper sleep 50 microseconds longer unless told otherwise, in order to wake several at once.
    let _ = call!(libc::SYS_prctl, libc::PR_SET_TIMERSLACK, 1);
    let count = (SLEEPS / speed as usize).max(3);
    for (name, length) in [("1ms", MILLISECOND), ("50us", 50_000)] {
        sleeper(
            &format!("clock_nanosleep_late:{name}"),
            count,
            |until| time::sleep_until(libc::CLOCK_MONOTONIC, until),
            length,
        )?;
        let timer = call!(libc::SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0)?;
        sleeper(
            &format!("timerfd_late:{name}"),
            count,
            |until| {
                let setting = libc::itimerspec { it_interval: time::ZERO, it_value: time::timespec(until) };
                call!(libc::SYS_timerfd_settime, timer, libc::TFD_TIMER_ABSTIME, &setting, 0usize)?;
                let mut expirations = 0u64;
                call!(libc::SYS_read, timer, &mut expirations, 8).map(|_| ())
            },
            length,
        )?;
        call!(libc::SYS_close, timer)?;
    }
    Ok(())
}

fn sleeper(
    name: &str,
    count: usize,
    mut sleep: impl FnMut(i64) -> Result<(), Errno>,
    length: i64,
) -> Result<(), Errno> {
    let mut late = Vec::with_capacity(count);
    for _ in 0..count {
        let until = time::read_by_call(libc::CLOCK_MONOTONIC)? + length;
        sleep(until)?;
        late.push((time::read_by_call(libc::CLOCK_MONOTONIC)? - until) as f64);
    }
    report(name, "ns", late);
    Ok(())
}

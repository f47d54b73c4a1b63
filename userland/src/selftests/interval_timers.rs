//! The three timers every process has, setitimer(2), and alarm(2).

use super::sleeping::{LATE, NAP, enter};
use super::timers::{await_signal, block, work};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, equal, holds, in_child, refused, within};
use crate::system::errno::Errno;
use crate::system::process::{self, Status};
use crate::system::time::{self, MILLISECOND, SECOND};

/// `struct itimerval`: interval, then value.
type Value = [libc::timeval; 2];

fn timeval(nanoseconds: i64) -> libc::timeval {
    libc::timeval { tv_sec: nanoseconds / SECOND, tv_usec: nanoseconds % SECOND / 1000 }
}

fn nanoseconds(time: libc::timeval) -> i64 {
    time.tv_sec * SECOND + time.tv_usec * 1000
}

fn set(which: i32, value: i64, interval: i64) -> Result<(i64, i64), Errno> {
    let new: Value = [timeval(interval), timeval(value)];
    let mut old: Value = [timeval(0); 2];
    call!(libc::SYS_setitimer, which, &new, &mut old)?;
    Ok((nanoseconds(old[1]), nanoseconds(old[0])))
}

fn get(which: i32) -> Result<(i64, i64), Errno> {
    let mut now: Value = [timeval(0); 2];
    call!(libc::SYS_getitimer, which, &mut now)?;
    Ok((nanoseconds(now[1]), nanoseconds(now[0])))
}

const REAL: i32 = libc::ITIMER_REAL;
const VIRTUAL: i32 = libc::ITIMER_VIRTUAL;
const PROFILING: i32 = libc::ITIMER_PROF;

/// The clock of one's own process' time in program and kernel: number 0, complemented, above three bits that are 0.
const PROFILING_CLOCK: i32 = !0 << 3;

pub fn cases(plan: &mut Plan) {
    for place in ["in the caller's namespace", "ahead", "behind"] {
        plan.case(
            format!("{place}: ITIMER_REAL is a length of time; SIGALRM comes then, not before"),
            move || {
                enter(place)?;
                block(libc::SIGALRM)?;
                let start = time::read_by_call(libc::CLOCK_MONOTONIC)?;
                equal("old value", set(REAL, NAP, 0), Ok((0, 0)))?;
                within("left", get(REAL)?.0, 1, NAP)?;
                let told = await_signal(libc::SIGALRM, LATE).step("rt_sigtimedwait")?;
                within("after", time::read_by_call(libc::CLOCK_MONOTONIC)? - start, NAP, NAP + LATE)?;
                equal("code", told.code, 0x80)?;
                equal("afterwards", get(REAL), Ok((0, 0)))
            },
        );
    }
    plan.case("ITIMER_REAL goes on when its signal is taken, and keeps its rhythm", || {
        block(libc::SIGALRM)?;
        let start = time::read_by_call(libc::CLOCK_MONOTONIC)?;
        set(REAL, NAP, NAP).step("setitimer")?;
        time::sleep(3 * NAP + NAP / 2);
        equal("while it is pending", get(REAL), Ok((0, NAP)))?;
        await_signal(libc::SIGALRM, 0).step("the first")?;
        within("left", get(REAL)?.0, 1, NAP)?;
        refused("only one was pending", await_signal(libc::SIGALRM, 0), Errno::EAGAIN)?;
        await_signal(libc::SIGALRM, LATE).step("the second")?;
        let passed = time::read_by_call(libc::CLOCK_MONOTONIC)? - start;
        within("the second came after", passed, 4 * NAP, 4 * NAP + LATE)?;
        set(REAL, 0, 0).step("stopping it")?;
        refused("stopped", await_signal(libc::SIGALRM, 2 * NAP), Errno::EAGAIN)
    });
    plan.case(
        "a timer of the program's time and one of processor time: only working makes them pass",
        || {
            for (which, signal) in [(VIRTUAL, libc::SIGVTALRM), (PROFILING, libc::SIGPROF)] {
                block(signal)?;
                set(which, NAP, 0).step("setitimer")?;
                refused("while asleep", await_signal(signal, 2 * NAP), Errno::EAGAIN)?;
                within("left", get(which)?.0, 1, NAP + 5 * MILLISECOND)?;
                let start = time::read_by_call(libc::CLOCK_PROCESS_CPUTIME_ID)?;
                while let Err(Errno::EAGAIN) = await_signal(signal, 0) {
                    work(MILLISECOND / 4)?;
                    let used = time::read_by_call(libc::CLOCK_PROCESS_CPUTIME_ID)? - start;
                    within("used", used, 0, 10 * LATE)?;
                }
                equal("afterwards", get(which), Ok((0, 0)))?;
            }
            Ok(())
        },
    );
    plan.case("periodically by processor time", || {
        block(libc::SIGPROF)?;
        // By the clock that the timer itself goes by: Linux counts whole ticks in it, and CLOCK_PROCESS_CPUTIME_ID does not.
        let start = time::read_by_call(PROFILING_CLOCK)?;
        set(PROFILING, NAP / 2, NAP / 2).step("setitimer")?;
        for count in 1..5 {
            while let Err(Errno::EAGAIN) = await_signal(libc::SIGPROF, 0) {
                work(MILLISECOND / 4)?;
            }
            let used = time::read_by_call(PROFILING_CLOCK)? - start;
            holds(used >= count * NAP / 2, || format!("{count} after {used} ns"))?;
        }
        Ok(())
    });
    plan.case("an interval of a microsecond leaves a program some of its processor", || {
        block(libc::SIGPROF)?;
        block(libc::SIGVTALRM)?;
        set(PROFILING, 1000, 1000).step("setitimer")?;
        set(VIRTUAL, 1000, 1000).step("setitimer")?;
        work(NAP)
    });
    plan.case("alarm: whole seconds, rounded to the nearest; it and ITIMER_REAL are one timer", || {
        equal("first", call!(libc::SYS_alarm, 100), Ok(0))?;
        within("as an interval timer", get(REAL)?.0, 99 * SECOND, 100 * SECOND)?;
        equal("second", call!(libc::SYS_alarm, 0), Ok(100))?;
        equal("third", call!(libc::SYS_alarm, 0), Ok(0))?;
        set(REAL, 400 * MILLISECOND, 0).step("setitimer")?;
        equal("less than half a second is one", call!(libc::SYS_alarm, 0), Ok(1))?;
        let status = process::run(|| {
            let _ = set(REAL, MILLISECOND, 0);
            time::sleep(10 * SECOND);
            0
        })?;
        equal("status", status, Status::Killed(libc::SIGALRM))
    });
    plan.case("exec keeps them, a forked child has none", || {
        set(REAL, 100 * SECOND, 0).step("setitimer")?;
        in_child(|| equal("in the child", get(REAL), Ok((0, 0))))?;
        let child = process::spawn(|| {
            let _ = set(REAL, NAP, 0);
            process::execute(&super::support::helper_words(&["sleep-milliseconds", "10000"]));
            1
        })?;
        equal("status", process::wait(child)?, Status::Killed(libc::SIGALRM))
    });
    plan.case("RLIMIT_CPU: SIGXCPU beyond the soft limit, which ends the process or moves it on, SIGKILL beyond the hard one", || {
        let limited = |ignores: bool, soft: u64, hard: u64| -> Result<Status, Errno> {
            process::run(move || {
                // A child inherits the limit, and begins with no time used.
                let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
                if call!(libc::SYS_setrlimit, libc::RLIMIT_CPU, &limit).is_err() {
                    return 1;
                }
                let Ok(status) = process::run(move || {
                    if ignores {
                        let ignore = [libc::SIG_IGN, 0, 0, 0];
                        let _ = call!(libc::SYS_rt_sigaction, libc::SIGXCPU, &ignore, 0usize, 8);
                    }
                    i32::from(work(20 * SECOND).is_err())
                }) else {
                    return 2;
                };
                status.shell_code()
            })
        };
        equal("soft", limited(false, 1, 3), Ok(Status::Exited(128 + libc::SIGXCPU)))?;
        equal("hard", limited(true, 1, 2), Ok(Status::Exited(128 + libc::SIGKILL)))
    });
    plan.case("refusals: EINVAL for another timer and for what is no time, EFAULT", refusals);
}

fn refusals() -> Outcome {
    for which in [3, -1, 99] {
        refused("setitimer", set(which, 1000, 0), Errno::EINVAL)?;
        refused("getitimer", get(which), Errno::EINVAL)?;
    }
    for (seconds, microseconds) in [(-1, 0), (0, -1), (0, 1_000_000)] {
        let bad = libc::timeval { tv_sec: seconds, tv_usec: microseconds };
        for value in [[bad, timeval(0)], [timeval(0), bad]] {
            refused("a time that is none", call!(libc::SYS_setitimer, REAL, &value, 0usize), Errno::EINVAL)?;
        }
    }
    refused("setitimer", call!(libc::SYS_setitimer, REAL, 8usize, 0usize), Errno::EFAULT)?;
    refused("getitimer", call!(libc::SYS_getitimer, REAL, 8usize), Errno::EFAULT)?;
    let value: Value = [timeval(0); 2];
    refused("the old value", call!(libc::SYS_setitimer, REAL, &value, 8usize), Errno::EFAULT)
}

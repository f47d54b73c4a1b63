//! What interrupts a call that waits, and what becomes of the call: a table of ways to wait by ways to be interrupted,
//! signal(7) "Interruption of system calls and library functions".

use super::timer_files::TimerFile;
use crate::call;
use crate::ktap::{Outcome, Plan, Step, equal, within};
use crate::system::errno::Errno;
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};

/// How long every call waits if nothing ends it.
const LENGTH: i64 = 300 * MILLISECOND;
/// When the signal comes.
const SIGNAL_AFTER: i64 = 100 * MILLISECOND;

/// A way to wait for [`LENGTH`].
struct Call {
    name: &'static str,
    wait: fn() -> Result<usize, Errno>,
    /// What it answers when its time is over.
    over: Result<usize, Errno>,
    /// Whether a stop ends it, even if nobody handles it.
    ended_by_stop: bool,
    /// Whether it goes on after a handler with SA_RESTART.
    restarts: bool,
}

fn in_a_while() -> libc::timespec {
    time::timespec(time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0) + LENGTH)
}

fn epoll() -> Result<usize, Errno> {
    let epoll = call!(libc::SYS_epoll_create1, 0)?;
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    call!(libc::SYS_epoll_wait, epoll, &mut event, 1, LENGTH / MILLISECOND)
}

fn select() -> Result<usize, Errno> {
    let mut limit = libc::timeval { tv_sec: 0, tv_usec: LENGTH / 1000 };
    call!(libc::SYS_select, 0, 0usize, 0usize, 0usize, &mut limit)
}

fn sigtimedwait() -> Result<usize, Errno> {
    let set = 1u64 << (libc::SIGUSR2 - 1);
    call!(libc::SYS_rt_sigtimedwait, &set, 0usize, &time::timespec(LENGTH), 8)
}

fn timer_file() -> Result<usize, Errno> {
    let timer = TimerFile::new(libc::CLOCK_MONOTONIC, 0)?;
    timer.set(0, LENGTH, 0)?;
    timer.read().map(|count| count as usize)
}

fn child() -> Result<usize, Errno> {
    let child = process::spawn(|| {
        time::sleep(LENGTH);
        0
    })?;
    call!(libc::SYS_wait4, child, 0usize, 0, 0usize).map(|_| 0)
}

static WORD: u32 = 1;

const fn call(
    name: &'static str,
    wait: fn() -> Result<usize, Errno>,
    over: Result<usize, Errno>,
    [ended_by_stop, restarts]: [bool; 2],
) -> Call {
    Call { name, wait, over, ended_by_stop, restarts }
}

const CALLS: &[Call] = &[
    call("nanosleep", || call!(libc::SYS_nanosleep, &time::timespec(LENGTH), 0usize), Ok(0), [false, false]),
    call(
        "clock_nanosleep, relative",
        || call!(libc::SYS_clock_nanosleep, 0, 0, &time::timespec(LENGTH), 0usize),
        Ok(0),
        [false, false],
    ),
    call(
        "clock_nanosleep, absolute",
        || call!(libc::SYS_clock_nanosleep, 1, libc::TIMER_ABSTIME, &in_a_while(), 0usize),
        Ok(0),
        [false, false],
    ),
    call("poll", || call!(libc::SYS_poll, 0usize, 0, LENGTH / MILLISECOND), Ok(0), [false, false]),
    call(
        "ppoll",
        || call!(libc::SYS_ppoll, 0usize, 0, &mut time::timespec(LENGTH), 0usize, 8),
        Ok(0),
        [false, false],
    ),
    call("select", select, Ok(0), [false, false]),
    call("epoll_wait", epoll, Ok(0), [true, false]),
    call(
        "futex, relative",
        || call!(libc::SYS_futex, &WORD, 0, 1, &time::timespec(LENGTH), 0usize, 0),
        Err(Errno::ETIMEDOUT),
        [false, false],
    ),
    call(
        "futex, absolute",
        || call!(libc::SYS_futex, &WORD, 9, 1, &in_a_while(), 0usize, u32::MAX),
        Err(Errno::ETIMEDOUT),
        [false, false],
    ),
    call("rt_sigtimedwait", sigtimedwait, Err(Errno::EAGAIN), [true, false]),
    call("read of a timer", timer_file, Ok(1), [false, true]),
    call("wait4", child, Ok(0), [false, true]),
];

/// A way to be interrupted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    StopAndContinue,
    Continue,
    Ignored,
    Handler,
    RestartingHandler,
}

const WAYS: [(Way, &str); 5] = [
    (Way::StopAndContinue, "a stop"),
    (Way::Continue, "SIGCONT that does nothing"),
    (Way::Ignored, "an ignored signal"),
    (Way::Handler, "a handler"),
    (Way::RestartingHandler, "a handler with SA_RESTART"),
];

extern "C" fn handler(_signal: i32) {}

fn act_on_signal(way: Way) {
    let (handler, flags) = match way {
        Way::Ignored => (libc::SIG_IGN, 0),
        Way::RestartingHandler => (handler as *const () as usize, libc::SA_RESTART),
        _ => (handler as *const () as usize, 0),
    };
    // SAFETY: the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler, flags);
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
    }
}

fn check(call: &'static Call, way: Way) -> Outcome {
    let waiter = crate::ktap::Running::start(move || {
        act_on_signal(way);
        let start = time::read_by_call(libc::CLOCK_MONOTONIC)?;
        let answer = (call.wait)();
        let took = time::read_by_call(libc::CLOCK_MONOTONIC)? - start;
        let ends = match way {
            Way::StopAndContinue => call.ended_by_stop,
            Way::Continue | Way::Ignored => false,
            Way::Handler => true,
            Way::RestartingHandler => !call.restarts,
        };
        if ends {
            equal("answer", answer, Err(Errno::EINTR))?;
            return within("after", took, 0, LENGTH - 1);
        }
        equal("answer", answer, call.over)?;
        within("after", took, LENGTH, LENGTH + 20 * SECOND)
    })?;
    time::sleep(SIGNAL_AFTER);
    let send = |signal: i32| call!(libc::SYS_kill, waiter.child, signal).step("kill");
    match way {
        Way::StopAndContinue => {
            send(libc::SIGSTOP)?;
            time::sleep(SIGNAL_AFTER / 2);
            send(libc::SIGCONT)?;
        }
        Way::Continue => {
            send(libc::SIGCONT)?;
        }
        _ => {
            send(libc::SIGUSR1)?;
        }
    }
    waiter.finish()
}

pub fn cases(plan: &mut Plan) {
    for (way, name) in WAYS {
        for call in CALLS {
            plan.case(format!("{} and {name}", call.name), move || check(call, way));
        }
    }
    plan.case("interrupted again and again, a sleep and a poll still end when they would have", || {
        for name in ["nanosleep", "poll", "futex, relative"] {
            let call = CALLS.iter().find(|call| call.name == name).step(name)?;
            let waiter = crate::ktap::Running::start(move || {
                let start = time::read_by_call(libc::CLOCK_MONOTONIC)?;
                equal("answer", (call.wait)(), call.over)?;
                // Begun anew after each of the stops, it would take more than twice as long.
                let took = time::read_by_call(libc::CLOCK_MONOTONIC)? - start;
                within(name, took, LENGTH, LENGTH + LENGTH)
            })?;
            for _ in 0..20 {
                time::sleep(SIGNAL_AFTER / 5);
                for signal in [libc::SIGSTOP, libc::SIGCONT] {
                    let _ = call!(libc::SYS_kill, waiter.child, signal);
                }
            }
            waiter.finish()?;
        }
        Ok(())
    });
}

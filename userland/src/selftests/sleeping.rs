//! Sleeping: never early, absolute times in the sleeper's own clock, relative ones the same everywhere.
//!
//! An absolute time on a shifted clock is turned into host time once, when the sleep starts. A kernel that forgets to
//! would sleep for days with an offset ahead, and not at all with one behind; both are seen here.

use super::support::{FAR, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, Why, equal, holds, known_defect, refused, within};
use crate::system::errno::Errno;
use crate::system::namespace::{self, Offsets};
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};

/// How long the sleeps here are.
pub const NAP: i64 = 20 * MILLISECOND;
/// How much later than asked a sleep may end on a busy, emulated machine.
pub const LATE: i64 = 2 * SECOND;

/// As far back as the clocks allow, in whole seconds.
pub fn behind() -> Result<Offsets, Why> {
    let back = |clock| -> Result<i64, Why> { Ok(-(time::read_by_call(clock)? / SECOND) * SECOND) };
    Ok(Offsets { monotonic: back(libc::CLOCK_MONOTONIC)?, boottime: back(libc::CLOCK_BOOTTIME)? })
}

/// Goes to that place: into a namespace ahead or behind, or nowhere.
pub fn enter(place: &str) -> Outcome {
    let offsets = match place {
        "ahead" => FAR,
        "behind" => behind()?,
        _ => return Ok(()),
    };
    needs_root()?;
    namespace::unshare_and_enter(offsets).step("entering")
}

/// How long `work` takes on the host, by a clock that no namespace shifts.
pub fn duration(work: impl FnOnce() -> Outcome) -> Result<i64, Why> {
    let before = time::read_by_call(libc::CLOCK_REALTIME)?;
    work()?;
    Ok(time::read_by_call(libc::CLOCK_REALTIME)? - before)
}

static HANDLED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

extern "C" fn handler(_signal: i32) {
    HANDLED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

/// A process that sends SIGUSR1 to this one after a nap, for a handler without SA_RESTART.
pub fn interrupter() -> Result<Running, Why> {
    // SAFETY: the handler only counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
    }
    let parent = call!(libc::SYS_getpid)?;
    Running::start(move || {
        time::sleep(NAP);
        call!(libc::SYS_kill, parent, libc::SIGUSR1).step("kill").map(|_| ())
    })
}

pub fn cases(plan: &mut Plan) {
    for place in ["in the caller's namespace", "ahead", "behind"] {
        for (clock, name) in [
            (libc::CLOCK_REALTIME, "REALTIME"),
            (libc::CLOCK_MONOTONIC, "MONOTONIC"),
            (libc::CLOCK_BOOTTIME, "BOOTTIME"),
            (libc::CLOCK_TAI, "TAI"),
        ] {
            plan.case(
                format!("{place}: until an absolute time of {name}, not early, not days late"),
                move || {
                    enter(place)?;
                    for _ in 0..3 {
                        let until = time::read_by_call(clock)? + NAP;
                        time::sleep_until(clock, until).step("clock_nanosleep")?;
                        within("woken after the time by", time::read_by_call(clock)? - until, 0, LATE)?;
                    }
                    Ok(())
                },
            );
            plan.case(format!("{place}: for a time relative to {name}"), move || {
                enter(place)?;
                for length in [0, 1, 1000, NAP] {
                    let before = time::read_by_call(clock)?;
                    call!(libc::SYS_clock_nanosleep, clock, 0, &time::timespec(length), 0usize)
                        .step("clock_nanosleep")?;
                    within("slept for", time::read_by_call(clock)? - before, length, length + LATE)?;
                }
                Ok(())
            });
            plan.case(
                format!("{place}: an absolute time of {name} that has passed returns at once"),
                move || {
                    enter(place)?;
                    for until in [0, 1, time::read_by_call(clock)? - 1, time::read_by_call(clock)? / 2] {
                        let took = duration(|| time::sleep_until(clock, until).step("clock_nanosleep"))?;
                        within(&format!("time for {until}"), took, 0, SECOND)?;
                    }
                    Ok(())
                },
            );
        }
        plan.case(format!("{place}: nanosleep, poll and select take lengths of time"), move || {
            enter(place)?;
            let sleep =
                || call!(libc::SYS_nanosleep, &time::timespec(NAP), 0usize).step("nanosleep").map(|_| ());
            within("nanosleep", duration(sleep)?, NAP, NAP + LATE)?;
            let poll = || equal("poll", call!(libc::SYS_poll, 0usize, 0, NAP / MILLISECOND), Ok(0));
            within("poll", duration(poll)?, NAP, NAP + LATE)?;
            let ppoll = || {
                equal("ppoll", call!(libc::SYS_ppoll, 0usize, 0, &time::timespec(NAP), 0usize, 8usize), Ok(0))
            };
            within("ppoll", duration(ppoll)?, NAP, NAP + LATE)?;
            let mut length = libc::timeval { tv_sec: 0, tv_usec: NAP / 1000 };
            let select =
                || equal("select", call!(libc::SYS_select, 0, 0usize, 0usize, 0usize, &mut length), Ok(0));
            within("select", duration(select)?, NAP, NAP + LATE)
        });
        plan.case(
            format!("{place}: a relative sleep that a signal ends tells what is left, an absolute one never"),
            move || {
                enter(place)?;
                let mut rest = libc::timespec { tv_sec: 77, tv_nsec: 77 };
                let signal = interrupter()?;
                let answer = call!(libc::SYS_clock_nanosleep, 1, 0, &time::timespec(3 * SECOND), &mut rest);
                refused("a relative sleep", answer, Errno::EINTR)?;
                signal.finish()?;
                within("what is left", time::nanoseconds(&rest), SECOND / 2, 3 * SECOND - NAP / 2)?;
                rest = libc::timespec { tv_sec: 77, tv_nsec: 77 };
                let signal = interrupter()?;
                let until = time::read_by_call(libc::CLOCK_MONOTONIC)? + 3 * SECOND;
                let answer = call!(
                    libc::SYS_clock_nanosleep,
                    1,
                    libc::TIMER_ABSTIME,
                    &time::timespec(until),
                    &mut rest
                );
                refused("an absolute sleep", answer, Errno::EINTR)?;
                signal.finish()?;
                equal("what is left", (rest.tv_sec, rest.tv_nsec), (77, 77))
            },
        );
    }
    refusals(plan);
    far_away(plan);
}

fn refusals(plan: &mut Plan) {
    for (clock, errno) in [
        (libc::CLOCK_THREAD_CPUTIME_ID, Errno::EOPNOTSUPP),
        // The same thread's, by the number that names a task.
        (-2, Errno::EINVAL),
        (libc::CLOCK_MONOTONIC_RAW, Errno::EOPNOTSUPP),
        (libc::CLOCK_REALTIME_COARSE, Errno::EOPNOTSUPP),
        (libc::CLOCK_MONOTONIC_COARSE, Errno::EOPNOTSUPP),
        (10, Errno::EINVAL),
        (12, Errno::EINVAL),
        (99, Errno::EINVAL),
    ] {
        plan.case(format!("clock {clock} cannot be slept on: {errno}"), move || {
            for flags in [0, libc::TIMER_ABSTIME] {
                let answer = call!(libc::SYS_clock_nanosleep, clock, flags, &time::timespec(1), 0usize);
                refused(&format!("flags {flags}"), answer, errno)?;
            }
            Ok(())
        });
    }
    plan.case("times that are none are EINVAL", || {
        for (seconds, nanoseconds) in [(0, -1), (0, SECOND), (-1, 0), (0, i64::MIN)] {
            let length = libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let what = format!("{seconds} s {nanoseconds} ns");
            refused(&what, call!(libc::SYS_nanosleep, &length, 0usize), Errno::EINVAL)?;
            for flags in [0, libc::TIMER_ABSTIME] {
                refused(&what, call!(libc::SYS_clock_nanosleep, 1, flags, &length, 0usize), Errno::EINVAL)?;
            }
        }
        Ok(())
    });
    plan.case("a bad pointer is EFAULT", || {
        refused("nanosleep", call!(libc::SYS_nanosleep, 8usize, 0usize), Errno::EFAULT)?;
        refused("clock_nanosleep", call!(libc::SYS_clock_nanosleep, 1, 0, 8usize, 0usize), Errno::EFAULT)
    });
}

/// Fails unless a sleep until `until` is still going on after a nap.
fn still_sleeps(clock: i32, until: libc::timespec) -> Result<bool, Why> {
    let (read_end, write_end) = process::pipe()?;
    let child = process::spawn(|| {
        let _ = call!(libc::SYS_clock_nanosleep, clock, libc::TIMER_ABSTIME, &until, 0usize);
        process::send_byte(write_end);
        0
    })?;
    let mut poll = libc::pollfd { fd: read_end, events: libc::POLLIN, revents: 0 };
    let woken = call!(libc::SYS_poll, &mut poll, 1, 5 * NAP / MILLISECOND).step("poll")?;
    let _ = call!(libc::SYS_kill, child, libc::SIGKILL);
    process::wait(child)?;
    process::close(read_end);
    process::close(write_end);
    Ok(woken == 0)
}

fn far_away(plan: &mut Plan) {
    for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME] {
        for seconds in [9_223_372_035, 9_223_372_036, i64::MAX] {
            plan.case(
                format!("behind: until second {seconds} of clock {clock}: sleeps on, no overflow"),
                move || {
                    enter("behind")?;
                    let until = libc::timespec { tv_sec: seconds, tv_nsec: 0 };
                    if still_sleeps(clock, until)? {
                        Ok(())
                    } else {
                        known_defect("host time overflows and the sleep ends at once")
                    }
                },
            );
            plan.case(format!("ahead: until second {seconds} of clock {clock}: sleeps on"), move || {
                enter("ahead")?;
                let until = libc::timespec { tv_sec: seconds, tv_nsec: 999_999_999 };
                holds(still_sleeps(clock, until)?, || "it woke".into())
            });
        }
    }
    plan.case("a child sleeps on across its parent's setns: what was started keeps its instant", || {
        needs_root()?;
        // The same for one task would need a second thread, and setns refuses those.
        let until = time::read_by_call(libc::CLOCK_MONOTONIC)? + 2 * NAP;
        let running = Running::start(move || {
            time::sleep_until(libc::CLOCK_MONOTONIC, until).step("clock_nanosleep")?;
            within("late by", time::read_by_call(libc::CLOCK_MONOTONIC)? - until, 0, LATE)
        })?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        running.finish()
    });
    plan.case("many sleeps of random length, none early", || {
        let mut length = 12_345;
        let end = time::read_by_call(libc::CLOCK_MONOTONIC)? + SECOND / 2;
        let read = super::clock_shift::vdso_clock_gettime()?;
        while time::read_by_call(libc::CLOCK_MONOTONIC)? < end {
            length = (length * 1_103_515_245 + 12_345) % (3 * MILLISECOND);
            let before = crate::clocks::read_by_vdso(read, libc::CLOCK_MONOTONIC)?;
            call!(libc::SYS_nanosleep, &time::timespec(length), 0usize).step("nanosleep")?;
            let slept = crate::clocks::read_by_vdso(read, libc::CLOCK_MONOTONIC)? - before;
            holds(slept >= length, || format!("asked for {length} ns, slept {slept} ns"))?;
        }
        Ok(())
    });
}

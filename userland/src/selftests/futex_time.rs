//! Time limits of futex(2): relative ones are lengths, absolute ones are in the waiter's own monotonic clock.

use super::support::{FAR, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, refused, skipped, within};
use crate::system::errno::Errno;
use crate::system::namespace::{self, Offsets};
use crate::system::time::{self, MILLISECOND, SECOND};

const NAP: i64 = 20 * MILLISECOND;
const LATE: i64 = 2 * SECOND;

const WAIT: i32 = 0;
const LOCK_PI: i32 = 6;
const WAIT_BITSET: i32 = 9;
const LOCK_PI2: i32 = 13;
const PRIVATE: i32 = 128;
const REALTIME: i32 = 256;
const ANY: u32 = u32::MAX;

/// How a wait that nobody ends ends: its answer, and how long it took on the host.
fn wait(operation: i32, limit: i64) -> Result<(Result<usize, Errno>, i64), Why> {
    // The word says that process 1 holds the lock, for the operations that lock.
    let word = 1u32;
    let before = time::read_by_call(libc::CLOCK_REALTIME)?;
    let answer = call!(libc::SYS_futex, &word, operation, 1, &time::timespec(limit), 0usize, ANY);
    Ok((answer, time::read_by_call(libc::CLOCK_REALTIME)? - before))
}

fn times_out(what: &str, operation: i32, limit: i64, length: i64) -> Outcome {
    let (answer, took) = wait(operation, limit)?;
    if answer == Err(Errno::ENOSYS) {
        return skipped(format!("{what} is not there"));
    }
    refused(what, answer, Errno::ETIMEDOUT)?;
    within("waited", took, length, length + LATE)
}

fn enter(place: &str) -> Outcome {
    if place == "outside" {
        return Ok(());
    }
    needs_root()?;
    let back = -(time::read_by_call(libc::CLOCK_MONOTONIC)? / SECOND) * SECOND;
    let behind = Offsets { monotonic: back, boottime: 0 };
    namespace::unshare_and_enter(if place == "ahead" { FAR } else { behind }).step("entering")
}

pub fn cases(plan: &mut Plan) {
    for place in ["outside", "ahead", "behind"] {
        plan.case(format!("{place}: FUTEX_WAIT waits for a length of time"), move || {
            enter(place)?;
            times_out("FUTEX_WAIT", WAIT, NAP, NAP)?;
            times_out("FUTEX_WAIT_PRIVATE", WAIT | PRIVATE, NAP, NAP)
        });
        plan.case(
            format!("{place}: FUTEX_WAIT_BITSET waits until a time of CLOCK_MONOTONIC, as it is here"),
            move || {
                enter(place)?;
                let until = time::read_by_call(libc::CLOCK_MONOTONIC)? + NAP;
                // The two clocks are read at slightly different instants: a millisecond of slack.
                times_out("FUTEX_WAIT_BITSET", WAIT_BITSET, until, NAP - MILLISECOND)?;
                let late = time::read_by_call(libc::CLOCK_MONOTONIC)? - until;
                within("after the time by", late, 0, LATE)
            },
        );
        plan.case(
            format!("{place}: FUTEX_WAIT_BITSET until a time that has passed ends at once"),
            move || {
                enter(place)?;
                for until in [0, 1, time::read_by_call(libc::CLOCK_MONOTONIC)? - 1] {
                    let (answer, took) = wait(WAIT_BITSET, until)?;
                    refused("FUTEX_WAIT_BITSET", answer, Errno::ETIMEDOUT)?;
                    within("waited", took, 0, SECOND)?;
                }
                Ok(())
            },
        );
        plan.case(
            format!("{place}: FUTEX_WAIT_BITSET with FUTEX_CLOCK_REALTIME is not shifted"),
            move || {
                enter(place)?;
                let until = time::read_by_call(libc::CLOCK_REALTIME)? + NAP;
                times_out(
                    "FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME",
                    WAIT_BITSET | REALTIME,
                    until,
                    NAP / 2,
                )?;
                let late = time::read_by_call(libc::CLOCK_REALTIME)? - until;
                within("after the time by", late, 0, LATE)
            },
        );
        plan.case(
            format!("{place}: FUTEX_LOCK_PI2 waits until a time of CLOCK_MONOTONIC, as it is here"),
            move || {
                enter(place)?;
                // The lock must be held by a living task: another process that waits for our death.
                let holder = super::setns::Waiting::start(|| ())?;
                let word = holder.child as u32;
                let until = time::read_by_call(libc::CLOCK_MONOTONIC)? + NAP;
                let answer = call!(libc::SYS_futex, &word, LOCK_PI2, 0, &time::timespec(until), 0usize, 0);
                match answer {
                    Err(Errno::ENOSYS) => skipped("FUTEX_LOCK_PI2 is not there"),
                    answer => {
                        refused("FUTEX_LOCK_PI2", answer, Errno::ETIMEDOUT)?;
                        within(
                            "after the time by",
                            time::read_by_call(libc::CLOCK_MONOTONIC)? - until,
                            0,
                            LATE,
                        )
                    }
                }
            },
        );
    }
    plan.case("FUTEX_WAIT and FUTEX_LOCK_PI with FUTEX_CLOCK_REALTIME are ENOSYS", || {
        refused("FUTEX_LOCK_PI", wait(LOCK_PI | REALTIME, NAP)?.0, Errno::ENOSYS)?;
        refused("FUTEX_WAIT", wait(WAIT | REALTIME, NAP)?.0, Errno::ENOSYS)
    });
    plan.case("a word of another value is EAGAIN, whatever the limit", || {
        let word = 5u32;
        for operation in [WAIT, WAIT_BITSET] {
            let answer = call!(libc::SYS_futex, &word, operation, 4, &time::timespec(NAP), 0usize, ANY);
            refused("the wait", answer, Errno::EAGAIN)?;
        }
        Ok(())
    });
    plan.case("limits that are no time are EINVAL, an unreadable limit EFAULT", || {
        let word = 1u32;
        let bad = libc::timespec { tv_sec: 0, tv_nsec: SECOND };
        for operation in [WAIT, WAIT_BITSET] {
            let answer = call!(libc::SYS_futex, &word, operation, 1, &bad, 0usize, ANY);
            refused("10^9 nanoseconds", answer, Errno::EINVAL)?;
            let answer = call!(libc::SYS_futex, &word, operation, 1, 8usize, 0usize, ANY);
            refused("a bad pointer", answer, Errno::EFAULT)?;
        }
        Ok(())
    });
    plan.case("behind: a limit at the end of time waits on", || {
        enter("behind")?;
        let word = std::sync::atomic::AtomicU32::new(1);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let limit = libc::timespec { tv_sec: i64::MAX, tv_nsec: 0 };
                call!(libc::SYS_futex, word.as_ptr(), WAIT_BITSET, 1, &limit, 0usize, ANY)
            });
            time::sleep(NAP);
            while call!(libc::SYS_futex, word.as_ptr(), 1, 1)? == 0 && !waiter.is_finished() {
                time::sleep(MILLISECOND);
            }
            equal("the wait", waiter.join().ok().step("the thread")?, Ok(0))
        })
    });
}

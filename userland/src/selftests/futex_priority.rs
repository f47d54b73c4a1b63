//! Whom a futex serves first, and what the holder of a lock inherits from those who wait for it: futex(2), sched(7).
//!
//! All of it on one CPU, with real-time tasks that are never busy for longer than a few tenths of a second.

use super::real_time::{Child, Shared, alone, child, now, set_policy};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child, refused};
use crate::system::errno::Errno;
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

const WAIT: i32 = 0;
const WAKE: i32 = 1;
const LOCK: i32 = 6;
const UNLOCK: i32 = 7;
const LOCK2: i32 = 13;

const WAITERS: u32 = 1 << 31;

/// Numbers that parents and children share; the first two are futex words.
struct Stage(Shared);

/// Who has come so far that the next may follow.
const READY: usize = 2;
/// How many have been served.
const SERVED: usize = 3;
/// How many have spun to the end.
const SPUN: usize = 4;
/// The turn at which each was served.
const TURNS: usize = 5;

impl Stage {
    fn new() -> Result<Stage, Why> {
        Shared::new().map(Stage)
    }

    fn word(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the lower half of a number that stays, used as nothing else.
        unsafe { AtomicU32::from_ptr(self.0.address(index).cast()) }
    }

    fn futex(&self, word: usize, operation: i32, value: u32) -> Result<usize, Errno> {
        call!(libc::SYS_futex, self.word(word).as_ptr(), operation, value, 0usize, 0usize, 0)
    }

    fn lock(&self, word: usize) -> Outcome {
        self.futex(word, LOCK, 0).step("lock").map(|_| ())
    }

    fn unlock(&self, word: usize) -> Outcome {
        self.futex(word, UNLOCK, 0).step("unlock").map(|_| ())
    }

    /// Waits until so many are ready, and a little longer, until they really wait for something.
    fn until_ready(&self, count: u64) {
        while self.0.get(READY) < count {
            time::sleep(MILLISECOND / 4);
        }
        time::sleep(5 * MILLISECOND);
    }

    /// A child that spins for a while.
    fn spinner(&self, priority: u32) -> Result<Child, Errno> {
        child(libc::SCHED_FIFO, priority, || {
            self.0.add(READY);
            let until = now() + 300 * MILLISECOND;
            while now() < until {}
            self.0.add(SPUN);
        })
    }

    /// A child that takes the lock, and gives it up when its priority is what it should be. Stores the turn in which it
    /// saw that.
    fn holder(&self, word: usize, priority: i64) -> Result<Child, Errno> {
        child(libc::SCHED_OTHER, 0, move || {
            let _ = self.lock(word);
            self.0.add(READY);
            if shows_priority("self", priority) && policy() == Ok(libc::SCHED_OTHER as usize) {
                self.0.add(SERVED);
            }
            let _ = self.unlock(word);
            if shows_priority("self", 20) {
                self.0.add(SERVED);
            }
            time::sleep(10 * SECOND);
        })
    }
}

fn policy() -> Result<usize, Errno> {
    call!(libc::SYS_sched_getscheduler, 0)
}

/// Field 18 of a process' `stat`, with which it counts now.
fn priority(process: &str) -> Option<i64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    fields.split(' ').nth(18 - 3)?.parse().ok()
}

/// Whether that becomes so within a second.
fn shows_priority(process: &str, expected: i64) -> bool {
    let until = now() + SECOND;
    while priority(process) != Some(expected) {
        if now() > until {
            return false;
        }
    }
    true
}

/// What field 18 shows of a real-time priority.
const fn shown(priority: i64) -> i64 {
    -1 - priority
}

pub fn cases(plan: &mut Plan) {
    order(plan);
    inheritance(plan);
    plan.case("who would wait for a lock whose holder waits for one of the caller's: EDEADLK", || {
        in_child(|| {
            let stage = Stage::new()?;
            stage.lock(0)?;
            let _other = process::spawn(|| {
                let _ = stage.lock(1);
                stage.0.add(READY);
                let taken = stage.lock(0).is_ok();
                i32::from(!taken)
            })
            .map(Child)?;
            stage.until_ready(1);
            refused("lock", stage.futex(1, LOCK, 0), Errno::EDEADLK)?;
            stage.unlock(0)
        })
    });
}

/// Starts three that wait, in this order, with these priorities; 0: an ordinary task.
fn wait_in_order(stage: &Stage, waits: impl Fn() + Copy) -> Result<Vec<Child>, Why> {
    let mut children = Vec::new();
    for (index, priority) in [0, 10, 20].into_iter().enumerate() {
        let policy = if priority == 0 { libc::SCHED_OTHER } else { libc::SCHED_FIFO };
        children.push(child(policy, priority, || {
            stage.0.add(READY);
            waits();
            let turn = stage.0.add(SERVED);
            stage.0.set(TURNS + index, turn);
            if stage.word(0).load(SeqCst) != 0 {
                let _ = stage.unlock(0);
            }
        })?);
        stage.until_ready(index as u64 + 1);
    }
    Ok(children)
}

fn order(plan: &mut Plan) {
    plan.case("of those who wait for a word, one of a higher priority is woken first", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 30)?;
            let stage = Stage::new()?;
            let wait = || {
                let _ = stage.futex(0, WAIT, 0);
            };
            let children = wait_in_order(&stage, wait)?;
            let last = child(libc::SCHED_FIFO, 20, || {
                stage.0.add(READY);
                wait();
                stage.0.add(SERVED);
            })?;
            stage.until_ready(4);
            for count in 1..=4 {
                equal("woken", stage.futex(0, WAKE, 1), Ok(1))?;
                while stage.0.get(SERVED) < count {
                    time::sleep(MILLISECOND);
                }
            }
            drop((children, last));
            // The two of priority 20 in the order in which they came.
            equal("turns", [0, 1, 2].map(|index| stage.0.get(TURNS + index)), [4, 3, 1])
        })
    });
    plan.case("a lock is given to who has the highest priority", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 30)?;
            let stage = Stage::new()?;
            stage.lock(0)?;
            let _children = wait_in_order(&stage, || drop(stage.lock(0)))?;
            stage.unlock(0)?;
            while stage.0.get(SERVED) < 3 {
                time::sleep(MILLISECOND);
            }
            time::sleep(MILLISECOND);
            equal("turns", [0, 1, 2].map(|index| stage.0.get(TURNS + index)), [3, 2, 1])
        })
    });
}

fn inheritance(plan: &mut Plan) {
    plan.case("a holder goes on with the priority of who waits, past one of a priority in between", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 20)?;
            let stage = Stage::new()?;
            let _low = stage.holder(0, shown(20))?;
            stage.until_ready(1);
            let _medium = stage.spinner(10)?;
            stage.until_ready(2);
            stage.lock(0)?;
            equal("spun to the end", stage.0.get(SPUN), 0)?;
            time::sleep(500 * MILLISECOND);
            equal(
                "seen by the holder: the priority lent, its own policy, and its priority again",
                stage.0.get(SERVED),
                2,
            )
        })
    });
    plan.case("and so does one for whom that holder waits", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 20)?;
            let stage = Stage::new()?;
            let _low = stage.holder(0, shown(20))?;
            stage.until_ready(1);
            let _between = child(libc::SCHED_OTHER, 0, || {
                let _ = stage.lock(1);
                stage.0.add(READY);
                let _ = stage.lock(0);
                let _ = stage.unlock(0);
                let _ = stage.unlock(1);
            })?;
            stage.until_ready(2);
            let _medium = stage.spinner(10)?;
            stage.until_ready(3);
            stage.lock(1)?;
            equal("spun to the end", stage.0.get(SPUN), 0)?;
            time::sleep(500 * MILLISECOND);
            equal("seen by the holder", stage.0.get(SERVED), 2)
        })
    });
    plan.case("what is lent changes with who waits, and is taken back when nobody does", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 30)?;
            let stage = Stage::new()?;
            let holder = child(libc::SCHED_OTHER, 0, || {
                let _ = stage.lock(0);
                stage.0.add(READY);
                time::sleep(10 * SECOND);
            })?;
            stage.until_ready(1);
            let waiter = child(libc::SCHED_FIFO, 10, || drop(stage.lock(0)))?;
            while stage.word(0).load(SeqCst) & WAITERS == 0 {
                time::sleep(MILLISECOND);
            }
            let holder = holder.0.to_string();
            holds(shows_priority(&holder, shown(10)), || "nothing was lent".into())?;
            call!(libc::SYS_sched_setscheduler, waiter.0, libc::SCHED_RR, &15u32).step("a new priority")?;
            holds(shows_priority(&holder, shown(15)), || "not the new priority".into())?;
            set_policy(libc::SCHED_FIFO, 25).step("sched_setscheduler")?;
            let until = time::timespec(time::read_by_call(libc::CLOCK_MONOTONIC)? + 20 * MILLISECOND);
            let answer = call!(libc::SYS_futex, stage.word(0).as_ptr(), LOCK2, 0, &until, 0usize, 0);
            refused("in time", answer, Errno::ETIMEDOUT)?;
            equal("after that", priority(&holder), Some(shown(15)))?;
            drop(waiter);
            equal("in the end", priority(&holder), Some(20))
        })
    });
}

//! Who has the CPU, of those that could use it: real-time priorities, turns, and shares by nice value, sched(7).
//!
//! All of it on one CPU, to which each case binds itself first. Tasks tell what they did through memory they share.

use super::support::needs_root;
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child, on_gnomon, skipped};
use crate::system::errno::Errno;
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Numbers that parents and children share.
pub(super) struct Shared(&'static [AtomicU64; 8]);

impl Shared {
    pub(super) fn new() -> Result<Shared, Why> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let address =
            super::memory::mmap(0, 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0).step("mmap")?;
        // SAFETY: zeroed memory that stays, as long as the process does.
        Ok(Shared(unsafe { &*(address as *const [AtomicU64; 8]) }))
    }

    pub(super) fn get(&self, index: usize) -> u64 {
        self.0[index].load(SeqCst)
    }

    pub(super) fn set(&self, index: usize, value: u64) {
        self.0[index].store(value, SeqCst);
    }

    /// Where one of them is.
    pub(super) fn address(&self, index: usize) -> *mut u64 {
        self.0[index].as_ptr()
    }

    pub(super) fn add(&self, index: usize) -> u64 {
        self.0[index].fetch_add(1, SeqCst) + 1
    }
}

pub(super) fn set_policy(policy: i32, priority: u32) -> Result<usize, Errno> {
    call!(libc::SYS_sched_setscheduler, 0, policy, &priority)
}

pub(super) fn now() -> i64 {
    time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

/// Binds this process to one CPU, and gives it this policy. Whatever goes wrong then ends by SIGALRM.
pub(super) fn alone(policy: i32, priority: u32) -> Outcome {
    needs_root()?;
    call!(libc::SYS_alarm, 20u32)?;
    let mut mask = [0u64; 16];
    call!(libc::SYS_sched_getaffinity, 0, 128, &mut mask).step("sched_getaffinity")?;
    let word = mask.iter().position(|word| *word != 0).step("a CPU")?;
    let first = mask[word] & mask[word].wrapping_neg();
    mask = [0; 16];
    mask[word] = first;
    call!(libc::SYS_sched_setaffinity, 0, 128, &mask).step("sched_setaffinity")?;
    set_policy(policy, priority).step("sched_setscheduler").map(|_| ())
}

/// A child with this policy.
pub(super) fn child(policy: i32, priority: u32, work: impl FnOnce()) -> Result<Child, Errno> {
    process::spawn(|| {
        // Whatever becomes of the case, nobody is left spinning.
        let _ = call!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        match set_policy(policy, priority) {
            Ok(_) => {
                work();
                0
            }
            Err(_) => 1,
        }
    })
    .map(Child)
}

/// Ended and waited for when it is dropped.
pub(super) struct Child(pub(super) i32);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = call!(libc::SYS_kill, self.0, libc::SIGKILL);
        let _ = process::wait(self.0);
    }
}

fn spin(nanoseconds: i64) {
    let until = now() + nanoseconds;
    while now() < until {}
}

/// Does something over and over, but not for ever: whoever does it with a high priority can hardly be ended.
fn for_a_while<T>(mut work: impl FnMut() -> T) {
    let until = now() + 3 * SECOND;
    while now() < until {
        work();
    }
}

pub fn cases(plan: &mut Plan) {
    plan.case("a real-time task that is woken runs before the call that woke it is over", || {
        in_child(|| {
            alone(libc::SCHED_OTHER, 0)?;
            let shared = Shared::new()?;
            let (read_end, write_end) = process::pipe()?;
            let _sleeper = child(libc::SCHED_FIFO, 10, || {
                shared.add(0);
                while process::await_byte(read_end) {
                    shared.add(1);
                }
            })?;
            while shared.get(0) == 0 {
                time::sleep(MILLISECOND);
            }
            time::sleep(5 * MILLISECOND);
            for round in 1..=20 {
                process::send_byte(write_end);
                equal("how often it ran", shared.get(1), round)?;
            }
            Ok(())
        })
    });
    plan.case("a real-time task that runs on keeps all others of a lower priority waiting", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 20)?;
            let shared = Shared::new()?;
            let _ordinary = child(libc::SCHED_OTHER, 0, || for_a_while(|| shared.add(0)))?;
            let _lower = child(libc::SCHED_RR, 19, || for_a_while(|| shared.add(1)))?;
            time::sleep(20 * MILLISECOND);
            let before = [shared.get(0), shared.get(1)];
            spin(60 * MILLISECOND);
            call!(libc::SYS_sched_yield)?;
            equal("their counts", [shared.get(0), shared.get(1)], before)?;
            holds(before[1] > 0, || "the lower one did not run while this one slept".into())
        })
    });
    plan.case("SCHED_RR has turns, SCHED_FIFO has none but those it gives", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 30)?;
            for (policy, together) in [(libc::SCHED_RR, true), (libc::SCHED_FIFO, false)] {
                let shared = Shared::new()?;
                let first = child(policy, 5, || {
                    let until = now() + 300 * MILLISECOND;
                    while now() < until && shared.get(0) == 0 {}
                    // What the other one had done by then.
                    shared.0[1].store(1 + shared.get(0), SeqCst);
                })?;
                let second = child(policy, 5, || for_a_while(|| shared.add(0)))?;
                let begin = now();
                while shared.get(1) == 0 && now() < begin + SECOND {
                    time::sleep(5 * MILLISECOND);
                }
                equal("both at once", shared.get(1) > 1, together)?;
                // In this order: the first one may need the CPU that the second one has, in order to end.
                drop((second, first));
            }
            Ok(())
        })
    });
    plan.case("sched_yield lets those of the same priority run", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 5)?;
            let shared = Shared::new()?;
            let _other = child(libc::SCHED_FIFO, 5, || {
                for_a_while(|| {
                    shared.add(0);
                    let _ = call!(libc::SYS_sched_yield);
                });
            })?;
            for round in 1..=20 {
                call!(libc::SYS_sched_yield)?;
                equal("how often it ran", shared.get(0), round)?;
            }
            Ok(())
        })
    });
    plan.case("who is given a higher priority runs at once, and who gives up his own does not", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 20)?;
            let shared = Shared::new()?;
            let other = child(libc::SCHED_FIFO, 10, || {
                shared.add(0);
                let until = now() + 3 * SECOND;
                while shared.get(1) == 0 && now() < until {}
                shared.add(0);
                let _ = set_policy(libc::SCHED_FIFO, 10);
                shared.add(0);
                time::sleep(SECOND);
            })?;
            time::sleep(20 * MILLISECOND);
            shared.add(1);
            equal("at first", shared.get(0), 1)?;
            call!(libc::SYS_sched_setparam, other.0, &30u32).step("sched_setparam")?;
            equal("when it has a higher one, until it gives it up", shared.get(0), 2)?;
            call!(libc::SYS_sched_setparam, 0, &5u32).step("sched_setparam")?;
            equal("when this one has a lower one", shared.get(0), 3)
        })
    });
    plan.case("nice values are shares of the CPU, and SCHED_IDLE is the least", || {
        in_child(|| {
            alone(libc::SCHED_FIFO, 40)?;
            let shared = Shared::new()?;
            let count = |own: usize, nice: i32| {
                let _ = call!(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice);
                for_a_while(|| shared.add(own));
            };
            let _plain = child(libc::SCHED_OTHER, 0, || count(0, 0))?;
            let _nice = child(libc::SCHED_OTHER, 0, || count(1, 10))?;
            let _idle = child(libc::SCHED_IDLE, 0, || count(2, 0))?;
            time::sleep(SECOND);
            let [plain, nice, idle] = [0, 1, 2].map(|index| shared.get(index));
            holds(nice > 0 && plain / nice.max(1) >= 4, || format!("plain {plain}, nice {nice}"))?;
            holds(idle <= nice, || format!("idle {idle}, nice {nice}"))
        })
    });
    plan.case("a real-time task that never waits does not have the CPU for ever", || {
        if !on_gnomon() {
            return skipped("a busy Linux has been seen to let it");
        }
        in_child(|| {
            alone(libc::SCHED_OTHER, 0)?;
            // What is left is not all another's, either.
            let _busy = child(libc::SCHED_OTHER, 0, || for_a_while(std::hint::spin_loop))?;
            let _hog = child(libc::SCHED_FIFO, 50, || for_a_while(std::hint::spin_loop))?;
            let begin = now();
            // It has begun, and this one goes on.
            time::sleep(10 * MILLISECOND);
            spin(MILLISECOND);
            holds(now() - begin < 2 * SECOND, || "it took more than two seconds".into())
        })
    });
}

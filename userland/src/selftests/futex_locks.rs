//! Locks that the kernel hands on, FUTEX_LOCK_PI and its companions, and waiting on several words, futex_waitv(2).

use super::sleeping::{LATE, NAP, enter};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, refused, within};
use crate::system::errno::Errno;
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

const WAIT: i32 = 0;
const WAKE: i32 = 1;
const LOCK: i32 = 6;
const UNLOCK: i32 = 7;
const TRY: i32 = 8;
const WAIT_REQUEUE: i32 = 11;
const CMP_REQUEUE: i32 = 12;
const LOCK2: i32 = 13;
const PRIVATE: i32 = 128;
const REALTIME: i32 = 256;

const WAITERS: u32 = 1 << 31;
const OWNER_DIED: u32 = 1 << 30;
const HOLDER: u32 = OWNER_DIED - 1;

fn own() -> Result<u32, Errno> {
    call!(libc::SYS_gettid).map(|id| id as u32)
}

fn futex(word: &AtomicU32, operation: i32) -> Result<usize, Errno> {
    call!(libc::SYS_futex, word.as_ptr(), operation | PRIVATE, 0, 0usize, 0usize, 0)
}

/// For a word that other processes may mean too; until a deadline, in nanoseconds.
fn shared_until(word: &AtomicU32, operation: i32, until: i64) -> Result<usize, Errno> {
    let until = time::timespec(until);
    call!(libc::SYS_futex, word.as_ptr(), operation, 0, &until, 0usize, u32::MAX)
}

/// The same without a deadline.
fn shared(word: &AtomicU32, operation: i32) -> Result<usize, Errno> {
    call!(libc::SYS_futex, word.as_ptr(), operation, 0, 0usize, 0usize, 0)
}

/// Waits until the word has this bit.
fn until_marked(word: &AtomicU32, bit: u32) {
    while word.load(SeqCst) & bit == 0 {
        time::sleep(MILLISECOND / 4);
    }
    // And a little longer, until whoever set it really waits.
    time::sleep(5 * MILLISECOND);
}

pub fn cases(plan: &mut Plan) {
    plan.case("a free lock is taken and given up, also one whose holder died", || {
        let word = AtomicU32::new(0);
        for operation in [LOCK, TRY, LOCK2] {
            equal("lock", futex(&word, operation), Ok(0))?;
            equal("the word", word.load(SeqCst), own()?)?;
            refused("lock again", futex(&word, LOCK), Errno::EDEADLK)?;
            refused("try again", futex(&word, TRY), Errno::EDEADLK)?;
            equal("unlock", futex(&word, UNLOCK), Ok(0))?;
            equal("the word", word.load(SeqCst), 0)?;
        }
        word.store(OWNER_DIED, SeqCst);
        equal("lock", futex(&word, LOCK), Ok(0))?;
        equal("the word", word.load(SeqCst), own()? | OWNER_DIED)
    });
    plan.case("a lock goes to who waits longest; nobody else gets it in between", || {
        let word = AtomicU32::new(own()?);
        let order = std::sync::Mutex::new(Vec::new());
        thread::scope(|scope| -> Outcome {
            let mut threads = Vec::new();
            for number in 0..3 {
                let (word, order) = (&word, &order);
                threads.push(scope.spawn(move || -> Outcome {
                    equal("lock", futex(word, LOCK), Ok(0))?;
                    equal("holder", word.load(SeqCst) & HOLDER, own()?)?;
                    order.lock().map_err(|_| Why::Failed("poisoned".into()))?.push(number);
                    time::sleep(MILLISECOND);
                    equal("unlock", futex(word, UNLOCK), Ok(0))
                }));
                until_marked(word, WAITERS);
            }
            refused("try", futex(&word, TRY), Errno::EDEADLK)?;
            equal("unlock", futex(&word, UNLOCK), Ok(0))?;
            holds(word.load(SeqCst) & HOLDER != 0, || "it is free though others wait".into())?;
            threads.into_iter().try_for_each(|thread| thread.join().ok().step("a thread")?)
        })?;
        equal("order", order.into_inner().ok(), Some(vec![0, 1, 2]))?;
        equal("the word in the end", word.load(SeqCst) & HOLDER, 0)
    });
    plan.case(
        "a held lock: EAGAIN for a try, EPERM for another's unlock, ESRCH when nobody has that number",
        || {
            let child = process::spawn(|| {
                time::sleep(60 * SECOND);
                0
            })?;
            let word = AtomicU32::new(child as u32);
            refused("try", shared(&word, TRY), Errno::EAGAIN)?;
            equal("marked", word.load(SeqCst), child as u32 | WAITERS)?;
            refused("unlock", shared(&word, UNLOCK), Errno::EPERM)?;
            refused("a private word that another process holds", futex(&word, TRY), Errno::EPERM)?;
            call!(libc::SYS_kill, child, libc::SIGKILL).step("kill")?;
            process::wait(child)?;
            word.store(child as u32, SeqCst);
            refused("lock", shared(&word, LOCK), Errno::ESRCH)?;
            refused(
                "a word that is none",
                call!(libc::SYS_futex, 2usize, LOCK, 0, 0usize, 0usize, 0),
                Errno::EINVAL,
            )?;
            refused("no memory", call!(libc::SYS_futex, 8usize, LOCK, 0, 0usize, 0usize, 0), Errno::EFAULT)
        },
    );
    for place in ["in the caller's namespace", "ahead", "behind"] {
        plan.case(format!("{place}: time-outs: LOCK_PI by the wall clock, LOCK_PI2 by either"), move || {
            enter(place)?;
            let child = process::spawn(|| {
                time::sleep(60 * SECOND);
                0
            })?;
            let word = AtomicU32::new(child as u32);
            for (operation, clock) in [
                (LOCK, libc::CLOCK_REALTIME),
                (LOCK2, libc::CLOCK_MONOTONIC),
                (LOCK2 | REALTIME, libc::CLOCK_REALTIME),
            ] {
                let until = time::read_by_call(clock)? + NAP;
                refused("lock", shared_until(&word, operation, until), Errno::ETIMEDOUT)?;
                within("after the time by", time::read_by_call(clock)? - until, 0, LATE)?;
            }
            call!(libc::SYS_kill, child, libc::SIGKILL).step("kill")?;
            process::wait(child).step("wait").map(|_| ())
        });
        plan.case(
            format!("{place}: futex_waitv and futex_wait, until a time on the clock that is named"),
            move || {
                enter(place)?;
                let word = AtomicU32::new(7);
                for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
                    let until = time::read_by_call(clock)? + NAP;
                    let limit = time::timespec(until);
                    let waited = [WaitedWord::new(&word, 7)];
                    let answer = call!(libc::SYS_futex_waitv, &waited, 1, 0, &limit, clock);
                    refused("futex_waitv", answer, Errno::ETIMEDOUT)?;
                    within("after the time by", time::read_by_call(clock)? - until, 0, LATE)?;
                    let until = time::read_by_call(clock)? + NAP;
                    let limit = time::timespec(until);
                    let answer =
                        call!(FUTEX_WAIT2, word.as_ptr(), 7, u64::from(u32::MAX), U32_PRIVATE, &limit, clock);
                    refused("futex_wait", answer, Errno::ETIMEDOUT)?;
                    within("after the time by", time::read_by_call(clock)? - until, 0, LATE)?;
                }
                Ok(())
            },
        );
    }
    plan.case("a signal with a handler does not end the wait for a lock", || {
        let signal = super::sleeping::interrupter()?;
        let word = AtomicU32::new(signal.child as u32);
        let until = time::read_by_call(libc::CLOCK_MONOTONIC)? + 4 * NAP;
        // The holder ends long before that, but it never had the lock from the kernel.
        let answer = shared_until(&word, LOCK2, until);
        holds(matches!(answer, Err(Errno::ETIMEDOUT | Errno::ESRCH) | Ok(0)), || format!("{answer:?}"))?;
        signal.finish()
    });
    dying(plan);
    conditions(plan);
    several(plan);
}

fn dying(plan: &mut Plan) {
    plan.case("a lock that a thread holds when it ends goes to who waits, marked", || {
        let word = AtomicU32::new(0);
        thread::scope(|scope| -> Outcome {
            let holder = scope.spawn(|| {
                let taken = futex(&word, LOCK);
                until_marked(&word, WAITERS);
                taken
            });
            while word.load(SeqCst) == 0 {
                thread::yield_now();
            }
            equal("lock", futex(&word, LOCK), Ok(0))?;
            equal("the holder", holder.join().ok().step("the thread")?, Ok(0))
        })?;
        equal("the word", word.load(SeqCst) & (HOLDER | OWNER_DIED), own()? | OWNER_DIED)
    });
    plan.case("and with it one on the list of robust locks", || {
        /// The head of a list with one lock, and that lock.
        #[repr(C)]
        struct List {
            first: usize,
            offset: isize,
            pending: usize,
            entry: usize,
            word: AtomicU32,
        }
        let mut list = Box::new(List { first: 0, offset: 8, pending: 0, entry: 0, word: AtomicU32::new(0) });
        let (head, entry) = (&raw const *list as usize, &raw const list.entry as usize);
        // The lowest bit says that the lock is one the kernel hands on.
        (list.first, list.entry) = (entry | 1, head);
        thread::scope(|scope| -> Outcome {
            let list = &*list;
            let holder = scope.spawn(move || {
                let set = call!(libc::SYS_set_robust_list, head, 24);
                let taken = futex(&list.word, LOCK);
                until_marked(&list.word, WAITERS);
                set.and(taken)
            });
            while list.word.load(SeqCst) == 0 {
                thread::yield_now();
            }
            equal("lock", futex(&list.word, LOCK), Ok(0))?;
            equal("the holder", holder.join().ok().step("the thread")?, Ok(0))
        })?;
        equal("the word", list.word.load(SeqCst) & (HOLDER | OWNER_DIED), own()? | OWNER_DIED)
    });
}

fn conditions(plan: &mut Plan) {
    plan.case("who waits for a condition is moved to its lock, and given that in turn", || {
        let (condition, lock) = (AtomicU32::new(5), AtomicU32::new(own()?));
        let wait = || {
            let operation = WAIT_REQUEUE | PRIVATE;
            call!(libc::SYS_futex, condition.as_ptr(), operation, 5, 0usize, lock.as_ptr(), 0)
        };
        let requeue = |expected: u32| {
            let operation = CMP_REQUEUE | PRIVATE;
            call!(libc::SYS_futex, condition.as_ptr(), operation, 1, i32::MAX, lock.as_ptr(), expected)
        };
        thread::scope(|scope| -> Outcome {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| -> Outcome {
                        equal("wait", wait(), Ok(0))?;
                        equal("holder", lock.load(SeqCst) & HOLDER, own()?)?;
                        equal("unlock", futex(&lock, UNLOCK), Ok(0))
                    })
                })
                .collect();
            time::sleep(2 * NAP);
            refused("another value", requeue(4), Errno::EAGAIN)?;
            refused("a plain wake", futex(&condition, WAKE), Errno::EINVAL)?;
            equal("moved", requeue(5), Ok(3))?;
            holds(lock.load(SeqCst) & WAITERS != 0, || "the lock is not marked".into())?;
            equal("unlock", futex(&lock, UNLOCK), Ok(0))?;
            threads.into_iter().try_for_each(|thread| thread.join().ok().step("a thread")?)
        })?;
        equal("the word in the end", lock.load(SeqCst) & HOLDER, 0)
    });
    plan.case("the first gets a free lock at once", || {
        let (condition, lock) = (AtomicU32::new(5), AtomicU32::new(0));
        thread::scope(|scope| -> Outcome {
            let waiter = scope.spawn(|| -> Outcome {
                let operation = WAIT_REQUEUE | PRIVATE;
                let answer =
                    call!(libc::SYS_futex, condition.as_ptr(), operation, 5, 0usize, lock.as_ptr(), 0);
                equal("wait", answer, Ok(0))?;
                equal("holder", lock.load(SeqCst) & HOLDER, own()?)
            });
            time::sleep(NAP);
            let operation = CMP_REQUEUE | PRIVATE;
            let answer = call!(libc::SYS_futex, condition.as_ptr(), operation, 1, 0, lock.as_ptr(), 5);
            equal("woken", answer, Ok(1))?;
            waiter.join().ok().step("the thread")?
        })
    });
    plan.case("waiting for a condition: time-out, another value, and refusals", || {
        let (condition, lock) = (AtomicU32::new(5), AtomicU32::new(0));
        let wait = |value: u32, until: i64, lock: *const u32| {
            let until = time::timespec(until);
            let operation = WAIT_REQUEUE | PRIVATE;
            call!(libc::SYS_futex, condition.as_ptr(), operation, value, &until, lock, 0)
        };
        let until = time::read_by_call(libc::CLOCK_MONOTONIC)? + NAP;
        refused("in time", wait(5, until, lock.as_ptr()), Errno::ETIMEDOUT)?;
        within("late by", time::read_by_call(libc::CLOCK_MONOTONIC)? - until, 0, LATE)?;
        refused("another value", wait(4, until + SECOND, lock.as_ptr()), Errno::EAGAIN)?;
        refused("the same word", wait(5, until + SECOND, condition.as_ptr()), Errno::EINVAL)?;
        let requeue = |wake: i32, to: *const u32| {
            call!(libc::SYS_futex, condition.as_ptr(), CMP_REQUEUE | PRIVATE, wake, 1, to, 5)
        };
        for count in [0, 2] {
            refused("waking another number", requeue(count, lock.as_ptr()), Errno::EINVAL)?;
        }
        refused("to the same word", requeue(1, condition.as_ptr()), Errno::EINVAL)?;
        equal("nobody waits", requeue(1, lock.as_ptr()), Ok(0))
    });
}

/// `struct futex_waitv`
#[repr(C)]
struct WaitedWord {
    value: u64,
    address: *const u32,
    flags: u32,
    reserved: u32,
}

const U32_PRIVATE: u32 = 2 | 128;
const FUTEX_WAKE2: i64 = 454;
const FUTEX_WAIT2: i64 = 455;
const FUTEX_REQUEUE2: i64 = 456;

impl WaitedWord {
    fn new(word: &AtomicU32, value: u64) -> Self {
        Self { value, address: word.as_ptr(), flags: U32_PRIVATE, reserved: 0 }
    }
}

fn several(plan: &mut Plan) {
    plan.case("futex_requeue wakes some and moves others, if all it is told makes sense", || {
        let (from, to) = (AtomicU32::new(5), AtomicU32::new(0));
        let words = || [WaitedWord::new(&from, 5), WaitedWord::new(&to, 9)];
        let requeue = |words: &[WaitedWord; 2], flags: u32, wake: i32, requeue: i32| {
            call!(FUTEX_REQUEUE2, words, flags, wake, requeue)
        };
        let changed = |change: fn(&mut [WaitedWord; 2])| {
            let mut words = words();
            change(&mut words);
            requeue(&words, 0, 1, 1)
        };
        equal("nobody waits", requeue(&words(), 0, 1, 1), Ok(0))?;
        refused("flags", requeue(&words(), 1, 1, 1), Errno::EINVAL)?;
        refused("no words", call!(FUTEX_REQUEUE2, 0usize, 0, 1, 1), Errno::EINVAL)?;
        refused("no memory", call!(FUTEX_REQUEUE2, 8usize, 0, 1, 1), Errno::EFAULT)?;
        refused("less than none woken", requeue(&words(), 0, -1, 1), Errno::EINVAL)?;
        refused("less than none moved", requeue(&words(), 0, 1, -1), Errno::EINVAL)?;
        refused("another value", changed(|words| words[0].value = 6), Errno::EAGAIN)?;
        refused("what is reserved", changed(|words| words[1].reserved = 1), Errno::EINVAL)?;
        refused("another size", changed(|words| words[1].flags = 3), Errno::EINVAL)?;
        refused("only one private", changed(|words| words[1].flags = 2), Errno::EINVAL)?;
        refused("a value too large", changed(|words| words[1].value = 1 << 33), Errno::EINVAL)?;
        thread::scope(|scope| -> Outcome {
            let wait = || call!(libc::SYS_futex, from.as_ptr(), WAIT | PRIVATE, 5, 0usize, 0usize, 0);
            let threads = [(); 4].map(|()| scope.spawn(wait));
            time::sleep(2 * NAP);
            let moved = requeue(&words(), 0, 1, 2);
            let counts = [&to, &from].map(|word| {
                call!(libc::SYS_futex, word.as_ptr(), WAKE | PRIVATE, i32::MAX, 0usize, 0usize, 0)
            });
            equal("woken and moved", moved, Ok(3))?;
            equal("woken where they were moved to, and where they were", counts, [Ok(2), Ok(1)])?;
            threads
                .into_iter()
                .try_for_each(|thread| equal("waited", thread.join().ok().step("a thread")?, Ok(0)))
        })
    });
    plan.case("futex_waitv tells which of several words was woken", || {
        let words = [const { AtomicU32::new(1) }; 5];
        for index in [3, 0, 4] {
            thread::scope(|scope| -> Outcome {
                let waiter = scope.spawn(|| {
                    let waited: [_; 5] = std::array::from_fn(|index| WaitedWord::new(&words[index], 1));
                    call!(libc::SYS_futex_waitv, &waited, 5, 0, 0usize, 0)
                });
                while futex_wake(&words[index])? == 0 {
                    time::sleep(MILLISECOND);
                }
                equal("woken", waiter.join().ok().step("the thread")?, Ok(index))
            })?;
            for word in &words {
                equal("still waiting", futex_wake(word), Ok(0))?;
            }
        }
        Ok(())
    });
    plan.case(
        "futex_waitv: EAGAIN when one word says something else; EINVAL for what it does not know",
        || {
            let word = AtomicU32::new(1);
            let wait = |waited: &WaitedWord, count: u32, flags: u32| {
                call!(libc::SYS_futex_waitv, waited, count, flags, 0usize, 0)
            };
            refused("another value", wait(&WaitedWord::new(&word, 2), 1, 0), Errno::EAGAIN)?;
            refused("a wide value", wait(&WaitedWord::new(&word, 1 << 32 | 1), 1, 0), Errno::EINVAL)?;
            for count in [0, 129] {
                refused("count", wait(&WaitedWord::new(&word, 1), count, 0), Errno::EINVAL)?;
            }
            refused("flags", wait(&WaitedWord::new(&word, 1), 1, 1), Errno::EINVAL)?;
            for flags in [0, 1, 3, 2 | 64] {
                let waited = WaitedWord { flags, ..WaitedWord::new(&word, 1) };
                refused("flags of a word", wait(&waited, 1, 0), Errno::EINVAL)?;
            }
            let waited = WaitedWord { reserved: 1, ..WaitedWord::new(&word, 1) };
            refused("reserved", wait(&waited, 1, 0), Errno::EINVAL)?;
            refused("no list", call!(libc::SYS_futex_waitv, 0usize, 1, 0, 0usize, 0), Errno::EINVAL)?;
            refused("list", call!(libc::SYS_futex_waitv, 8usize, 1, 0, 0usize, 0), Errno::EFAULT)?;
            let (good, limit) = (WaitedWord::new(&word, 1), time::timespec(SECOND));
            let answer = call!(libc::SYS_futex_waitv, &good, 1, 0, &limit, libc::CLOCK_BOOTTIME);
            refused("clock", answer, Errno::EINVAL)
        },
    );
    plan.case("futex_wait is woken by futex_wake, by bits and by count", || {
        let word = AtomicU32::new(3);
        thread::scope(|scope| -> Outcome {
            let wait = |mask: u64| call!(FUTEX_WAIT2, word.as_ptr(), 3, mask, U32_PRIVATE, 0usize, 0);
            let waiter = scope.spawn(move || wait(4));
            time::sleep(NAP);
            let wake = |mask: u64, count: i32| call!(FUTEX_WAKE2, word.as_ptr(), mask, count, U32_PRIVATE);
            equal("other bits", wake(3, 9), Ok(0))?;
            equal("nobody", wake(4, 0), Ok(0))?;
            equal("one", wake(4, 9), Ok(1))?;
            equal("the wait", waiter.join().ok().step("the thread")?, Ok(0))?;
            refused(
                "another value",
                call!(FUTEX_WAIT2, word.as_ptr(), 4, 1, U32_PRIVATE, 0usize, 0),
                Errno::EAGAIN,
            )?;
            refused("no bits", wake(0, 1), Errno::EINVAL)?;
            refused("wide bits", wake(1 << 32, 1), Errno::EINVAL)?;
            refused("flags", call!(FUTEX_WAKE2, word.as_ptr(), 1, 1, 0), Errno::EINVAL)
        })?;
        refused("plain", shared_until(&word, WAIT, 1), Errno::EAGAIN)
    });
}

fn futex_wake(word: &AtomicU32) -> Result<usize, Errno> {
    call!(libc::SYS_futex, word.as_ptr(), WAKE | PRIVATE, 1)
}

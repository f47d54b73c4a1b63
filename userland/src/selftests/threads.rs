//! Threads: one address space, one set of files and handlers, a stack and a thread pointer each; futexes between them.

use super::memory::mmap;
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, refused, within};
use crate::system::clone::{self, CloneArguments, Stack};
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::process::{self, Status};
use crate::system::time::{self, MILLISECOND, SECOND};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};

const WAIT: i32 = 0;
const WAKE: i32 = 1;
const REQUEUE: i32 = 3;
const CMP_REQUEUE: i32 = 4;
const WAKE_OP: i32 = 5;
const WAIT_BITSET: i32 = 9;
const WAKE_BITSET: i32 = 10;

fn thread_id() -> i32 {
    call!(libc::SYS_gettid).unwrap_or(0) as i32
}

fn join<T>(thread: std::thread::JoinHandle<T>) -> Result<T, Why> {
    thread.join().ok().step("a thread")
}

/// Wakes until this many have been woken, or a second has passed.
fn wake(word: &AtomicU32, operation: i32, count: usize, mask: u32) -> Outcome {
    let mut woken = 0;
    let end = time::read_by_call(1)? + 5 * SECOND;
    while woken < count {
        woken +=
            call!(libc::SYS_futex, word.as_ptr(), operation, (count - woken) as i32, 0usize, 0usize, mask)?;
        holds(time::read_by_call(1)? < end, || format!("{woken} of {count} woken"))?;
        time::sleep(MILLISECOND / 2);
    }
    equal("woken", woken, count)
}

/// Threads that wait on `word` while it is 0, with the given mask.
fn waiters(
    word: &'static AtomicU32,
    count: usize,
    mask: u32,
) -> Vec<std::thread::JoinHandle<Result<usize, Errno>>> {
    (0..count)
        .map(|_| {
            std::thread::spawn(move || {
                call!(libc::SYS_futex, word.as_ptr(), WAIT_BITSET, 0, 0usize, 0usize, mask)
            })
        })
        .collect()
}

fn word() -> &'static AtomicU32 {
    Box::leak(Box::new(AtomicU32::new(0)))
}

pub fn cases(plan: &mut Plan) {
    plan.case("threads have one process id and different thread ids, shown under /proc/self/task", || {
        let (first, process) = (thread_id(), std::process::id());
        let (id, seen) = join(std::thread::spawn(move || {
            let names = super::nsfs::directory("/proc/self/task");
            (thread_id(), names.map(|names| names.iter().any(|(name, _)| *name == thread_id().to_string())))
        }))?;
        equal("the first thread's id", first as u32, process)?;
        holds(id != first, || "the same id".into())?;
        holds(seen?, || "it is not listed".into())
    });
    plan.case("memory and files are shared", || {
        static SHARED: AtomicI32 = AtomicI32::new(0);
        let (read_end, write_end) = process::pipe()?;
        join(std::thread::spawn(move || {
            SHARED.store(5, SeqCst);
            process::send_byte(write_end);
            process::close(write_end);
        }))?;
        equal("the value", SHARED.load(SeqCst), 5)?;
        holds(process::await_byte(read_end), || "no byte".into())?;
        refused("the closed descriptor", call!(libc::SYS_fcntl, write_end, libc::F_GETFD), Errno::EBADF)
    });
    plan.case("thread-local variables differ, and stay over preemption", || {
        thread_local!(static OWN: Cell<u64> = const { Cell::new(0) });
        let threads: Vec<_> = (1..=4u64)
            .map(|number| {
                std::thread::spawn(move || -> Outcome {
                    OWN.set(number);
                    let end = time::read_by_call(1)? + 40 * MILLISECOND;
                    while time::read_by_call(1)? < end {
                        equal("the thread's own", OWN.get(), number)?;
                    }
                    Ok(())
                })
            })
            .collect();
        OWN.set(99);
        for thread in threads {
            join(thread)??;
        }
        equal("the first thread's own", OWN.get(), 99)
    });
    plan.case("arch_prctl sets and tells the thread pointer, and refuses the kernel's half: EPERM", || {
        let mut base = 0u64;
        call!(libc::SYS_arch_prctl, 0x1003, &mut base).step("ARCH_GET_FS")?;
        let itself: u64;
        // SAFETY: the first word at the thread pointer is its own address, by the ABI.
        unsafe { std::arch::asm!("mov {}, fs:[0]", out(reg) itself) };
        equal("the thread pointer", base, itself)?;
        for bad in [0xffff_8000_0000_0000u64, 0x8000_0000_0000_0000, 0x7fff_ffff_f000] {
            refused(&format!("{bad:#x}"), call!(libc::SYS_arch_prctl, 0x1002, bad), Errno::EPERM)?;
        }
        refused("an unknown request", call!(libc::SYS_arch_prctl, 0x7777, 0), Errno::EINVAL)?;
        let mut other = 0x1234_5678u64;
        call!(libc::SYS_arch_prctl, 0x1001, other).step("ARCH_SET_GS")?;
        call!(libc::SYS_sched_yield)?;
        call!(libc::SYS_arch_prctl, 0x1004, &mut other).step("ARCH_GET_GS")?;
        equal("the other base", other, 0x1234_5678)
    });
    plan.case("a mutex, a condition and a channel between threads", || {
        let state = Arc::new((Mutex::new(0u64), Condvar::new()));
        let (sender, receiver) = mpsc::channel();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (state, sender) = (Arc::clone(&state), sender.clone());
                std::thread::spawn(move || {
                    for number in 0..200u64 {
                        if let Ok(mut sum) = state.0.lock() {
                            *sum += number;
                        }
                        state.1.notify_one();
                        let _ = sender.send(number);
                    }
                })
            })
            .collect();
        drop(sender);
        equal("what came through the channel", receiver.iter().sum::<u64>(), 4 * 19_900)?;
        for thread in threads {
            join(thread)?;
        }
        equal("what was added under the mutex", state.0.lock().map(|sum| *sum).ok(), Some(4 * 19_900))
    });
    plan.case("barriers and a hundred short threads", || {
        let barrier = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                std::thread::spawn(move || (0..50).for_each(|_| _ = barrier.wait()))
            })
            .collect();
        for thread in threads {
            join(thread)?;
        }
        for number in 0..100u32 {
            equal("what a thread returns", join(std::thread::spawn(move || number * 2))?, number * 2)?;
        }
        Ok(())
    });
    futexes(plan);
    endings(plan);
}

fn futexes(plan: &mut Plan) {
    plan.case("FUTEX_WAKE wakes as many as asked, and tells how many", || {
        let word = word();
        equal("nobody waits", call!(libc::SYS_futex, word.as_ptr(), WAKE, 5), Ok(0))?;
        let threads = waiters(word, 3, u32::MAX);
        wake(word, WAKE, 3, 0)?;
        for thread in threads {
            equal("a wait", join(thread)?, Ok(0))?;
        }
        Ok(())
    });
    plan.case("FUTEX_WAKE_BITSET wakes only those whose mask meets its own", || {
        let word = word();
        let (ones, twos) = (waiters(word, 2, 1), waiters(word, 2, 2));
        wake(word, WAKE_BITSET, 2, 2)?;
        for thread in twos {
            equal("a wait with mask 2", join(thread)?, Ok(0))?;
        }
        wake(word, WAKE_BITSET, 2, 5)?;
        for thread in ones {
            equal("a wait with mask 1", join(thread)?, Ok(0))?;
        }
        refused(
            "mask 0",
            call!(libc::SYS_futex, word.as_ptr(), WAKE_BITSET, 1, 0usize, 0usize, 0),
            Errno::EINVAL,
        )
    });
    plan.case("FUTEX_REQUEUE and CMP_REQUEUE move waiters to another word", || {
        let (one, two) = (word(), word());
        let threads = waiters(one, 4, u32::MAX);
        let bad = call!(libc::SYS_futex, one.as_ptr(), CMP_REQUEUE, 1, 10, two.as_ptr(), 77);
        refused("another value", bad, Errno::EAGAIN)?;
        let (mut woken, mut moved) = (0, 0);
        let end = time::read_by_call(1)? + 5 * SECOND;
        while woken + moved < 4 && time::read_by_call(1)? < end {
            let wanted = if woken == 0 { 1 } else { 0 };
            let answer = call!(libc::SYS_futex, one.as_ptr(), CMP_REQUEUE, wanted, 10, two.as_ptr(), 0)?;
            // The answer counts both the woken and the moved.
            let now = wanted.min(answer as i32);
            (woken, moved) = (woken + now, moved + answer as i32 - now);
            time::sleep(MILLISECOND);
        }
        equal("woken and moved", (woken, moved), (1, 3))?;
        equal("still at the first", call!(libc::SYS_futex, one.as_ptr(), WAKE, 10), Ok(0))?;
        equal("moved on", call!(libc::SYS_futex, two.as_ptr(), REQUEUE, 1, 10, one.as_ptr()), Ok(3))?;
        equal("woken at last", call!(libc::SYS_futex, one.as_ptr(), WAKE, 10), Ok(2))?;
        for thread in threads {
            equal("a wait", join(thread)?, Ok(0))?;
        }
        Ok(())
    });
    plan.case("FUTEX_WAKE_OP changes a word and wakes by what it was", || {
        let (one, two) = (word(), word());
        two.store(5, SeqCst);
        // Add 3 to the second; wake its waiters if it was 5.
        let operation = 1 << 28 | 3 << 12 | 5;
        let answer = call!(libc::SYS_futex, one.as_ptr(), WAKE_OP, 1, 1, two.as_ptr(), operation);
        equal("woken", answer, Ok(0))?;
        equal("the second word", two.load(SeqCst), 8)
    });
    plan.case("futexes in shared memory work between processes", || {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let address = mmap(0, 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0).step("mmap")?;
        // SAFETY: the mapping lives as long as the process, and only atomics touch it.
        let word = unsafe { AtomicU32::from_ptr(address as *mut u32) };
        let child =
            process::spawn(|| match call!(libc::SYS_futex, address, WAIT, 0, &time::timespec(5 * SECOND)) {
                Ok(0) | Err(Errno::EAGAIN) => 0,
                _ => 1,
            })?;
        wake(word, WAKE, 1, 0)?;
        equal("the child", process::wait(child)?, Status::Exited(0))
    });
    plan.case("private futexes of two processes at one address do not meet", || {
        let word = word();
        let child = process::spawn(|| {
            let limit = time::timespec(80 * MILLISECOND);
            i32::from(call!(libc::SYS_futex, word.as_ptr(), WAIT | 128, 0, &limit) != Err(Errno::ETIMEDOUT))
        })?;
        time::sleep(20 * MILLISECOND);
        equal("woken", call!(libc::SYS_futex, word.as_ptr(), WAKE | 128, 1), Ok(0))?;
        equal("the child", process::wait(child)?, Status::Exited(0))
    });
    plan.case("an odd address is EINVAL, an unknown operation ENOSYS", || {
        let words = [0u32; 2];
        let odd = words.as_ptr() as usize + 1;
        refused("odd", call!(libc::SYS_futex, odd, WAKE, 1), Errno::EINVAL)?;
        refused("operation 99", call!(libc::SYS_futex, &words, 99, 1), Errno::ENOSYS)
    });
}

fn endings(plan: &mut Plan) {
    plan.case("CLONE_CHILD_CLEARTID: the word is cleared and woken when the thread ends", || {
        extern "C" fn leave(argument: usize) -> i32 {
            let _ = call!(libc::SYS_nanosleep, &libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 }, 0usize);
            argument as i32
        }
        let (parent_word, child_word) = (AtomicU32::new(1), AtomicU32::new(1));
        let flags = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_SETTID
            | libc::CLONE_CHILD_CLEARTID;
        let arguments = CloneArguments {
            flags: flags as u64,
            parent_tid: parent_word.as_ptr() as u64,
            child_tid: child_word.as_ptr() as u64,
            ..CloneArguments::default()
        };
        let mut stack = Stack::new();
        // SAFETY: the thread makes raw calls only; it has ended when the word is 0, before the stack goes.
        let id = unsafe { clone::clone3_running(&arguments, &mut stack, leave, 0) }.step("clone3")?;
        equal("the word that the parent sees", parent_word.load(SeqCst), id as u32)?;
        let limit = time::timespec(5 * SECOND);
        while child_word.load(SeqCst) != 0 {
            let value = child_word.load(SeqCst);
            if value != 0 {
                let answer = call!(libc::SYS_futex, child_word.as_ptr(), WAIT, value, &limit);
                holds(answer != Err(Errno::ETIMEDOUT), || "the word was never cleared".into())?;
            }
        }
        Ok(())
    });
    plan.case("exit of one thread leaves the others, exit_group ends all", || {
        let status = process::run(|| {
            let barrier = Arc::new(Barrier::new(2));
            let others = Arc::clone(&barrier);
            std::thread::spawn(move || {
                others.wait();
                time::sleep(20 * MILLISECOND);
                process::exit(42);
            });
            barrier.wait();
            let _ = call!(libc::SYS_exit, 7);
            0
        })?;
        equal("how the process ended", status, Status::Exited(42))
    });
    plan.case(
        "a process whose first thread has ended is a zombie that still runs; its status is the last one's",
        || {
            let status = process::run(|| {
                std::thread::spawn(|| {
                    time::sleep(20 * MILLISECOND);
                    let _ = call!(libc::SYS_exit, 9);
                });
                let _ = call!(libc::SYS_exit, 3);
                0
            })?;
            equal("how the process ended", status, Status::Exited(9))
        },
    );
    plan.case("a deadly signal ends every thread", || {
        let child = process::spawn(|| {
            for _ in 0..3 {
                std::thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
            }
            loop {
                let _ = call!(libc::SYS_pause);
            }
        })?;
        time::sleep(30 * MILLISECOND);
        call!(libc::SYS_kill, child, libc::SIGTERM)?;
        equal("how it ended", process::wait(child)?, Status::Killed(libc::SIGTERM))
    });
    plan.case("exec by any thread ends the others and keeps the process id", || {
        let words = super::support::helper_words(&["file", "/proc/self/status"]);
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        let text = super::support::output_of(|| {
            crate::say!("before {}", std::process::id());
            for _ in 0..2 {
                std::thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
            }
            let _ = std::thread::spawn(move || process::execute(&words)).join();
            1
        })?;
        let number =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).step(name);
        equal("the process id", number("Pid:")?, number("before ")?)?;
        equal("the group id", number("Tgid:")?, number("before ")?)?;
        equal("threads", number("Threads:")?, "1")
    });
    plan.case("a fork in a thread copies that thread alone", || {
        let child = join(std::thread::spawn(|| {
            process::spawn(|| {
                let names = super::nsfs::directory("/proc/self/task")
                    .map_or(0, |names| names.iter().filter(|(name, _)| !name.starts_with('.')).count());
                names as i32
            })
        }))??;
        equal("threads of the child", process::wait(child)?, Status::Exited(1))
    });
    plan.case("sched_yield, sched_getaffinity and getcpu agree that there are processors", || {
        call!(libc::SYS_sched_yield).step("sched_yield")?;
        let mut mask = [0u64; 128];
        let length = call!(libc::SYS_sched_getaffinity, 0, 1024usize, &mut mask).step("sched_getaffinity")?;
        holds(length >= 8 && length % 8 == 0, || format!("{length} bytes"))?;
        within("processors", mask.iter().map(|word| word.count_ones()).sum(), 1, 1024)?;
        refused("a short mask", call!(libc::SYS_sched_getaffinity, 0, 1usize, &mut mask), Errno::EINVAL)
    });
    plan.case("threads on all processors: every one gets its share", || {
        static TURNS: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];
        let end = time::read_by_call(1)? + 200 * MILLISECOND;
        let threads: Vec<_> = (0..6)
            .map(|number: usize| {
                std::thread::spawn(move || {
                    while time::read_by_call(1).unwrap_or(i64::MAX) < end {
                        TURNS[number].fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        for thread in threads {
            join(thread)?;
        }
        for (number, turns) in TURNS.iter().enumerate() {
            holds(turns.load(SeqCst) > 0, || format!("thread {number} never ran"))?;
        }
        Ok(())
    });
    plan.case("the thread's name is its own: PR_SET_NAME and /proc/self/task/TID/comm", || {
        join(std::thread::spawn(|| -> Outcome {
            call!(libc::SYS_prctl, libc::PR_SET_NAME, c"a-name-that-is-too-long").step("PR_SET_NAME")?;
            let mut name = [0u8; 16];
            call!(libc::SYS_prctl, libc::PR_GET_NAME, &mut name).step("PR_GET_NAME")?;
            equal("the name", &name, b"a-name-that-is-\0")?;
            let comm = file::read(&format!("/proc/self/task/{}/comm", thread_id())).step("comm")?;
            equal("comm", comm.as_str(), "a-name-that-is-\n")
        }))?
    });
}

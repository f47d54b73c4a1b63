//! Nothing is lost: after each kind of work the kernel holds what it held before, by its own counts.
//!
//! Every kind of work is done some rounds first, for caches and tables that grow once and stay. After that every count
//! must come back, but for the bytes in use on the kernel's heap: tables there grow and shrink by their own rules, so
//! only bytes that go on and on count as lost.

use super::lifecycle::Mounted;
use super::support::{FAR, Temporary, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed, in_child, skipped};
use crate::system::counts;
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, CLONE_NEWTIME};
use crate::system::process;
use crate::system::time::{self, MILLISECOND};

/// What is done, in words and in deed.
type Work = (&'static str, fn() -> Outcome);

/// Rounds of work between the two counts.
const ROUNDS: usize = 20;

fn counts() -> Result<Vec<(String, i64)>, Why> {
    counts::read().map_or_else(|| skipped(format!("there is no {}", counts::PATH)), Ok)
}

/// How much the heap may have grown after this many rounds without that being a leak, in bytes.
const HEAP_SLACK: i64 = 32 * ROUNDS as i64;

/// How often in a row it may have grown more than that. Room that is kept for the next to come, such as that of each of
/// the queues for words, is found by chance, and all of it only after a while.
const MOST_GROWTHS: usize = 10;

/// The counts after some rounds of work in children.
fn after_rounds(work: &impl Fn() -> Outcome) -> Result<Vec<(String, i64)>, Why> {
    for _ in 0..ROUNDS {
        in_child(work)?;
    }
    // What the last child held may be freed a little after its end.
    time::sleep(20 * MILLISECOND);
    counts()
}

fn heap(counts: &[(String, i64)]) -> i64 {
    counts.iter().find(|(name, _)| name == "heap").map_or(0, |(_, bytes)| *bytes)
}

/// Does `work` in children and compares the counts.
fn keeps_nothing(work: impl Fn() -> Outcome) -> Outcome {
    counts()?;
    // This program's own heap grows by a page now and then, which would look like the kernel's loss: it grows now.
    drop(std::hint::black_box(vec![1u8; 64 * 1024]));
    let first = after_rounds(&work)?;
    let second = after_rounds(&work)?;
    let third = after_rounds(&work)?;
    let changed = second.iter().zip(&third).filter(|(before, after)| before.0 != "heap" && before != after);
    let changed: Vec<String> =
        changed.map(|((name, before), (_, after))| format!("{name} {before} -> {after}")).collect();
    if !changed.is_empty() {
        return failed(format!("after {ROUNDS} rounds: {}", changed.join(", ")));
    }
    let mut before = heap(&third);
    let mut grown = vec![heap(&second) - heap(&first), before - heap(&second)];
    while grown.iter().all(|bytes| *bytes > HEAP_SLACK) {
        if grown.len() == MOST_GROWTHS {
            return failed(format!("the heap grows by so many bytes in {ROUNDS} rounds: {grown:?}"));
        }
        let after = heap(&after_rounds(&work)?);
        grown.push(after - before);
        before = after;
    }
    Ok(())
}

pub fn cases(plan: &mut Plan) {
    plan.case("the counts are there, and are numbers of things", || {
        let counts = counts()?;
        for name in ["frames", "heap", "tasks", "files", "namespaces"] {
            counts.iter().find(|(known, _)| known == name).step(name)?;
        }
        Ok(())
    });
    plan.case("the counts count: an open file is one file more", || {
        let files = || -> Result<i64, Why> {
            counts()?.iter().find(|(name, _)| name == "files").map(|(_, count)| *count).step("files")
        };
        let before = files()?;
        let open = Descriptor::open("/dev/null", libc::O_RDONLY).step("open")?;
        equal("files", files()?, before + 1)?;
        drop(open);
        equal("files", files()?, before)
    });
    let works: &[Work] = &[
        ("forks and exits", || in_child(|| Ok(()))),
        ("forks that touch memory", || {
            let mut memory = vec![1u8; 1 << 20];
            in_child(|| {
                memory.iter_mut().step_by(4096).for_each(|byte| *byte = 2);
                Ok(())
            })
        }),
        ("execs", || super::support::helper_output(&["slots"], || Ok(())).map(|_| ())),
        ("failed execs", || {
            let bad = Temporary::with("leak", b"\x7fELF and no more", 0o755)?;
            let answer = super::exec_rules::execve(&bad.0, &["x"], &[]);
            crate::ktap::refused("execve", answer, Errno::ENOEXEC)
        }),
        ("threads", || {
            let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| time::sleep(MILLISECOND))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().ok().step("a thread"))
        }),
        ("mappings", || {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let address = super::memory::mmap(0, 1 << 20, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
                .step("mmap")?;
            // SAFETY: the memory was just mapped.
            (0..256).for_each(|page| unsafe { ((address + page * 4096) as *mut u8).write_volatile(1) });
            Ok(())
        }),
        ("pipes with bytes in them", || {
            let (_read_end, write_end) = process::pipe()?;
            call!(libc::SYS_write, write_end, [0u8; 5000].as_ptr(), 5000).step("write").map(|_| ())
        }),
        ("sockets with messages in them, and sent through each other", || super::socket_rights::circle()),
        ("files made and removed", || {
            let file = Temporary::with("leak", &[1; 50_000], 0o644)?;
            file::read(&file.0).step("reading").map(|_| ())
        }),
        ("files removed while open", || {
            let file = Temporary::with("leak", &[1; 50_000], 0o644)?;
            let _open = Descriptor::open(&file.0, libc::O_RDONLY)?;
            drop(file);
            Ok(())
        }),
        ("mounts of a tmpfs with a file in it", || {
            needs_root()?;
            let directory = Temporary::directory("leak")?;
            let target = super::support::c(&directory.0);
            call!(libc::SYS_mount, c"none", target.as_c_str(), c"tmpfs", 0, 0usize).step("mount")?;
            let made = file::create(&format!("{}/file", directory.0), &[1; 20_000], 0o644);
            call!(libc::SYS_umount2, target.as_c_str(), 0).step("umount")?;
            made.step("making a file")
        }),
        ("time namespaces entered by fork", || {
            needs_root()?;
            namespace::unshare().step("unshare")?;
            in_child(|| Ok(()))
        }),
        ("time namespaces entered by setns, and replaced", || {
            needs_root()?;
            for _ in 0..3 {
                namespace::unshare_and_enter(FAR).step("entering")?;
            }
            Ok(())
        }),
        ("time namespaces kept by a file and a mount", || {
            needs_root()?;
            namespace::unshare().step("unshare")?;
            let _file = Descriptor::open(namespace::TIME_FOR_CHILDREN, libc::O_RDONLY).step("open")?;
            Mounted::on("leak", namespace::TIME_FOR_CHILDREN).map(|_| ())
        }),
        ("user namespaces with time namespaces", || {
            call!(libc::SYS_unshare, libc::CLONE_NEWUSER | CLONE_NEWTIME).step("unshare").map(|_| ())
        }),
        ("forks refused after their namespace was made", || {
            needs_root()?;
            let ids = [1i32];
            let arguments = crate::system::clone::CloneArguments {
                flags: CLONE_NEWTIME as u64,
                exit_signal: libc::SIGCHLD as u64,
                set_tid: ids.as_ptr() as u64,
                set_tid_size: 1,
                ..Default::default()
            };
            crate::ktap::refused("clone3", crate::system::clone::clone3(&arguments), Errno::EEXIST)
        }),
        ("processes killed in their sleep", || {
            let child = process::spawn(|| {
                time::sleep(60_000 * MILLISECOND);
                0
            })?;
            call!(libc::SYS_kill, child, libc::SIGKILL).step("kill")?;
            process::wait(child).step("wait").map(|_| ())
        }),
        ("timers of every kind, set and left", || {
            let blocked = u64::MAX;
            call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &blocked, 0usize, 8).step("blocking")?;
            let value = [time::timespec(MILLISECOND), time::timespec(MILLISECOND)];
            for clock in [0, 1, 2, 3, 7] {
                let mut timer = 0i32;
                call!(libc::SYS_timer_create, clock, 0usize, &mut timer).step("timer_create")?;
                call!(libc::SYS_timer_settime, timer, 0, &value, 0usize).step("timer_settime")?;
            }
            for which in 0..3 {
                let value = [0i64, 1000, 0, 1000];
                call!(libc::SYS_setitimer, which, &value, 0usize).step("setitimer")?;
            }
            let file = super::timer_files::TimerFile::new(0, 0)?;
            file.set(3, 1 << 62, MILLISECOND)?;
            std::mem::forget(file);
            time::sleep(3 * MILLISECOND);
            Ok(())
        }),
        ("epoll files, and files that they watched", || {
            let (read_end, write_end) = process::pipe()?;
            for _ in 0..10 {
                let epoll = Descriptor(call!(libc::SYS_epoll_create1, 0)? as i32);
                let other = Descriptor(call!(libc::SYS_eventfd2, 1, 0)? as i32);
                for file in [read_end, write_end, other.0, 0] {
                    let event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
                    // What the input is depends on who runs this: perhaps nothing that can be watched.
                    let _ = call!(libc::SYS_epoll_ctl, epoll.0, libc::EPOLL_CTL_ADD, file, &event);
                }
                let mut event = libc::epoll_event { events: 0, u64: 0 };
                call!(libc::SYS_epoll_wait, epoll.0, &mut event, 1, 0).step("epoll_wait")?;
                let _ = call!(libc::SYS_epoll_ctl, epoll.0, libc::EPOLL_CTL_DEL, read_end, 0usize);
            }
            Ok(())
        }),
        ("processes killed while they wait on words, locks and signals", || {
            let word = 1u32;
            type Wait = fn(&u32) -> Result<usize, Errno>;
            let calls: [Wait; 4] = [
                |word| call!(libc::SYS_futex, word, 0, 1, 0usize, 0usize, 0),
                |word| call!(libc::SYS_futex, word, 6, 0, 0usize, 0usize, 0),
                |_| call!(libc::SYS_rt_sigtimedwait, &1u64, 0usize, 0usize, 8),
                |_| call!(libc::SYS_clock_nanosleep, 2, 0, &time::timespec(1 << 40), 0usize),
            ];
            for wait in calls {
                let child = process::spawn(|| i32::from(wait(&word).is_ok()))?;
                time::sleep(2 * MILLISECOND);
                call!(libc::SYS_kill, child, libc::SIGKILL).step("kill")?;
                process::wait(child)?;
            }
            Ok(())
        }),
        ("processes that crash", || {
            process::run(|| {
                super::faults::crash();
                0
            })
            .step("a crash")
            .map(|_| ())
        }),
    ];
    for (what, work) in works {
        plan.case(format!("{what} leave nothing behind"), move || keeps_nothing(work));
    }
}

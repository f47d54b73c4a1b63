//! What things cost as there are more of something: namespaces alive, sleeping tasks, armed timers.
//!
//! Lines `growth:KIND:COUNT:ROW`, and `growth:KIND:COUNT:memory` with the bytes each one takes, by MemFree. Each kind is
//! held by a child, which gives everything back by ending.

use super::{BATCHES, Work, report, ticks};
use crate::call;
use crate::system::clone;
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace;
use crate::system::process;
use crate::system::time::{self, SECOND, ZERO};

/// One round of what is measured.
type Round = fn() -> Result<(), Errno>;

/// Something there can be many of.
struct Kind {
    name: &'static str,
    counts: &'static [usize],
    /// Makes one more, which stays.
    add: fn() -> Result<(), Errno>,
    /// What is measured meanwhile: a name, and one round of it.
    rows: &'static [(&'static str, Round)],
}

/// Those that take least memory come first: what a kernel keeps of memory given back must not serve the next kind, else
/// that would seem to take none.
const KINDS: &[Kind] = &[
    Kind {
        name: "timers",
        counts: &[1, 100, 10_000, 100_000],
        add: add_timer,
        rows: &[("timerfd", set_timer), ("nanosleep", nap), ("clock_gettime", read)],
    },
    // What holds a namespace without a task, to be taken off the next kind's memory.
    Kind { name: "namespace_files", counts: &[1, 100, 10_000], add: open_namespace, rows: &[] },
    Kind {
        name: "namespaces",
        counts: &[1, 100, 10_000],
        add: || {
            namespace::unshare()?;
            open_namespace()
        },
        rows: &[("unshare_time", unshare), ("setns_time", enter), ("clock_gettime", read), ("fork", fork)],
    },
    Kind {
        name: "tasks",
        counts: &[1, 100, 10_000],
        add: add_task,
        rows: &[("fork", fork), ("nanosleep", nap), ("yield", give_way)],
    },
    Kind {
        name: "tasks_in_namespaces",
        counts: &[1, 100, 10_000],
        add: || {
            namespace::unshare()?;
            add_task()
        },
        rows: &[("unshare_time", unshare), ("setns_time", enter), ("fork", fork)],
    },
];

fn open_namespace() -> Result<(), Errno> {
    call!(libc::SYS_openat, libc::AT_FDCWD, c"/proc/self/ns/time_for_children", libc::O_RDONLY).map(|_| ())
}

fn unshare() -> Result<(), Errno> {
    namespace::unshare()
}

/// Into the namespace made last, which is that of the children.
fn enter() -> Result<(), Errno> {
    namespace::enter(namespace::TIME_FOR_CHILDREN)
}

fn read() -> Result<(), Errno> {
    time::read_by_call(libc::CLOCK_MONOTONIC).map(|_| ())
}

fn fork() -> Result<(), Errno> {
    process::run(|| 0).map(|_| ())
}

fn nap() -> Result<(), Errno> {
    call!(libc::SYS_nanosleep, &time::timespec(1), 0usize).map(|_| ())
}

fn give_way() -> Result<(), Errno> {
    call!(libc::SYS_sched_yield).map(|_| ())
}

/// Not by the C library's fork: pages that it writes to, in parent and child, would be counted as the kernel's.
fn add_task() -> Result<(), Errno> {
    if clone::fork_with(0)? == 0 {
        // Else the pipes would stay open when the one who holds this task is gone.
        let _ = call!(libc::SYS_close_range, 3, u32::MAX, 0);
        time::sleep(100_000 * SECOND);
        process::exit(0);
    }
    Ok(())
}

/// A POSIX timer that sends nothing, in the far future.
fn add_timer() -> Result<(), Errno> {
    // struct sigevent: value, signal, notification.
    let event: [u32; 16] = [0, 0, 0, libc::SIGEV_NONE as u32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut timer = 0i32;
    call!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut timer)?;
    let setting = libc::itimerspec { it_interval: ZERO, it_value: time::timespec(100_000 * SECOND) };
    call!(libc::SYS_timer_settime, timer, 0, &setting, 0usize).map(|_| ())
}

fn set_timer() -> Result<(), Errno> {
    let timer = Descriptor(call!(libc::SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0)? as i32);
    let setting = libc::itimerspec { it_interval: ZERO, it_value: time::timespec(50_000 * SECOND) };
    call!(libc::SYS_timerfd_settime, timer.0, 0, &setting, 0usize).map(|_| ())
}

/// All kinds.
pub(super) fn run(speed: u32) -> Result<(), Errno> {
    allow_many();
    for kind in KINDS {
        // A sleeper may be woken this much late, in nanoseconds; Linux's 50 000 would hide what waking costs.
        let _ = call!(libc::SYS_prctl, libc::PR_SET_TIMERSLACK, 1);
        if let Err(errno) = kind.run(speed) {
            super::absent(&format!("growth:{}", kind.name), errno);
        }
    }
    Ok(())
}

/// Lifts what limits the number of things, where there is such a limit; a kernel without it has nothing to lift.
pub fn allow_many() {
    for limit in [libc::RLIMIT_NOFILE, libc::RLIMIT_SIGPENDING, libc::RLIMIT_NPROC] {
        let most = libc::rlimit { rlim_cur: 1 << 19, rlim_max: 1 << 19 };
        let _ = call!(libc::SYS_prlimit64, 0, limit, &most, 0usize);
    }
    for name in ["kernel/threads-max", "kernel/pid_max", "user/max_time_namespaces"] {
        let _ = std::fs::write(format!("/proc/sys/{name}"), "100000");
    }
}

/// The process that holds everything there is many of. Not the one that measures: a fork would copy ten thousand
/// descriptors, which says nothing about namespaces.
struct Holder {
    process: i32,
    requests: i32,
    answers: i32,
}

impl Holder {
    /// Makes the process, which makes one more for every byte it is sent and answers with a byte: whether it could.
    fn new(add: fn() -> Result<(), Errno>) -> Result<Holder, Errno> {
        let (requests_read, requests) = process::pipe()?;
        let (answers, answers_write) = process::pipe()?;
        let process = process::spawn(|| {
            process::close(requests);
            // Its children are one group, to be ended together.
            let _ = call!(libc::SYS_setpgid, 0, 0);
            while process::await_byte(requests_read) && add().is_ok() {
                process::send_byte(answers_write);
            }
            let _ = call!(libc::SYS_kill, 0, libc::SIGKILL);
            0
        })?;
        process::close(requests_read);
        process::close(answers_write);
        Ok(Holder { process, requests, answers })
    }

    /// One more. Errors: ENOSPC if the kernel has no room for it.
    fn add(&self) -> Result<(), Errno> {
        process::send_byte(self.requests);
        if process::await_byte(self.answers) { Ok(()) } else { Err(Errno::ENOSPC) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = call!(libc::SYS_kill, -self.process, libc::SIGKILL);
        let _ = process::wait(self.process);
        process::close(self.requests);
        process::close(self.answers);
    }
}

impl Kind {
    fn run(&self, speed: u32) -> Result<(), Errno> {
        let holder = Holder::new(self.add)?;
        // The first makes what all later ones share.
        holder.add()?;
        let mut there = 1;
        let free_before = free_memory();
        for &count in self.counts {
            while there < count {
                holder.add()?;
                there += 1;
            }
            if let (Some(before), Some(after), 2..) = (free_before, free_memory(), count) {
                let each = before.saturating_sub(after) as f64 / (count - 1) as f64;
                report(&format!("growth:{}:{count}:memory", self.name), "bytes", vec![each]);
            }
            for (name, one) in self.rows {
                measure(&format!("growth:{}:{count}:{name}", self.name), speed, *one);
            }
        }
        Ok(())
    }
}

fn measure(name: &str, speed: u32, one: fn() -> Result<(), Errno>) {
    const ROUNDS: u32 = 20;
    let rounds = (ROUNDS / speed).max(1);
    let mut work: Work = Box::new(move |rounds| (0..rounds).try_for_each(|_| one()));
    let batch = |work: &mut Work| -> Result<f64, Errno> {
        let before = ticks();
        work(rounds)?;
        Ok((ticks() - before) as f64 / f64::from(rounds))
    };
    match (0..BATCHES).map(|_| batch(&mut work)).collect::<Result<Vec<_>, _>>() {
        Ok(samples) => report(name, "ticks", samples),
        Err(errno) => super::absent(name, errno),
    }
}

/// MemFree, in bytes.
pub fn free_memory() -> Option<u64> {
    let text = file::read("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

//! `sweep`: calls every system call with arguments by chance, from several processes at once, for as long as one likes.
//!
//! What it is for is what it must not bring about: a kernel that panics, that hangs, or that keeps what nobody holds any
//! more. Whoever runs it compares what the kernel counts (`counts`) before and after; it judges one thing itself: that
//! every process it made could be ended.
//!
//! Four lanes go on beside one another, two of root's and two of ordinary users'. A lane makes a process, gives it some
//! time, ends it with all that it made, and makes the next. Lanes are subreapers (prctl(2)), so whatever a process does
//! to its family comes back to its lane. Not for Linux: root's lanes mount, set clocks and names, and no
//! container is made around them.

mod table;
mod values;
mod worker;

use crate::system::time::{self, MILLISECOND, SECOND};
use crate::system::{errno::Errno, file, process};
use crate::{call, complain, say};
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use table::{ROWS, UNCOUNTED};
use worker::Worker;

/// The users of the lanes.
const LANES: [u32; 4] = [0, 0, 2000, 2001];
/// How long a process may take for its calls.
const PATIENCE: i64 = 300 * MILLISECOND;
/// How long it may take a killed process to end before that is a mistake.
const LIMIT: i64 = 10 * SECOND;
const DIRECTORY: &str = "/tmp/sweep";
/// Where lanes see processes: over parts of /proc root's processes mount other things.
const PROC: &str = "/tmp/sweep/proc";

/// What lanes count, in memory they share.
pub struct Shared {
    processes: AtomicU64,
    /// Of each number: how often it was called, and how often that did something.
    calls: [[AtomicU64; 2]; NUMBERS],
}

/// One more than the highest number that is tried.
pub const NUMBERS: usize = 480;

/// The program.
pub fn main(arguments: &[OsString]) -> i32 {
    let numbers: Vec<u64> = arguments
        .iter()
        .skip(1)
        .filter_map(|word| word.to_str().and_then(|word| word.parse().ok()))
        .collect();
    let (seconds, seed) = match numbers[..] {
        [seconds] => (seconds, time::read_by_call(libc::CLOCK_REALTIME).unwrap_or(0) as u64 / 1000),
        [seconds, seed] => (seconds, seed),
        _ => {
            complain!("usage: sweep SECONDS [SEED]");
            return 2;
        }
    };
    match process::run(|| supervise(seconds, seed)) {
        Ok(process::Status::Exited(0)) => {
            say!("sweep done");
            0
        }
        other => {
            complain!("sweep: {other:?}");
            1
        }
    }
}

impl Shared {
    /// Says how much was done. A call that never did anything has only been refused, which is less of a test.
    fn tell(&self) {
        let sum = |index: usize| self.calls.iter().map(|counts| counts[index].load(Relaxed)).sum::<u64>();
        say!(
            "sweep: {} calls by {} processes, {} did something",
            sum(0),
            self.processes.load(Relaxed),
            sum(1)
        );
        let refused = ROWS.iter().map(|(number, _)| *number as usize).filter(|number| {
            let [made, done] = &self.calls[*number];
            let is_counted = UNCOUNTED.iter().all(|(other, _)| *other as usize != *number);
            is_counted && made.load(Relaxed) > 0 && done.load(Relaxed) == 0
        });
        let refused: Vec<String> = refused.map(|number| number.to_string()).collect();
        say!(
            "sweep: only refused were the calls {}",
            if refused.is_empty() { "none".into() } else { refused.join(" ") }
        );
    }
}

/// Runs the lanes and puts the system back as it was.
fn supervise(seconds: u64, seed: u64) -> i32 {
    say!("sweep: {seconds} s from seed {seed}");
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let Ok(address) = call!(
        libc::SYS_mmap,
        0usize,
        size_of::<Shared>(),
        libc::PROT_READ | libc::PROT_WRITE,
        flags,
        -1,
        0usize
    ) else {
        return 1;
    };
    // SAFETY: zeroed memory, which these counters may be, and which stays.
    let shared = unsafe { &*(address as *const Shared) };
    let proc = process::c_string(PROC);
    if std::fs::create_dir_all(PROC).is_err()
        || call!(libc::SYS_mount, c"proc", proc.as_c_str(), c"proc", 0, 0usize).is_err()
    {
        complain!("sweep: this takes root, and nobody else at it");
        return 1;
    }
    let host_name = file::read("/proc/sys/kernel/hostname").unwrap_or_default();
    let clocks =
        [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC].map(|clock| time::read_by_call(clock).unwrap_or(0));
    let until = clocks[1] + seconds as i64 * SECOND;
    let _ = call!(libc::SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1);
    // They begin when all are there: processes take those with the numbers next to theirs for their children.
    let Ok((start, starter)) = process::pipe() else { return 1 };
    let mut lanes = Vec::new();
    for (number, user) in LANES.into_iter().enumerate() {
        let begin = || {
            process::close(starter);
            process::await_byte(start);
            process::close(start);
            lane(number, user, seed.wrapping_add(number as u64) << 20, until, shared)
        };
        lanes.extend(process::spawn(begin));
    }
    process::close(start);
    process::close(starter);
    let mut went_well = lanes.len() == LANES.len();
    for lane in lanes {
        let status = process::wait(lane);
        if status != Ok(process::Status::Exited(0)) {
            complain!("sweep: a lane ended: {status:?}");
            went_well = false;
        }
    }
    went_well &= end_all();
    put_back(clocks, host_name.trim_end());
    shared.tell();
    if went_well { 0 } else { 1 }
}

/// Makes one process after the other until it is time.
fn lane(number: usize, user: u32, first: u64, until: i64, shared: &Shared) -> i32 {
    let directory = format!("{DIRECTORY}/{number}");
    let _ = std::fs::create_dir(&directory);
    let _ = call!(libc::SYS_chown, process::c_string(&directory).as_c_str(), user, user);
    let _ = call!(libc::SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1);
    make_devices(&directory, user);
    let children = 1u64 << (libc::SIGCHLD - 1);
    let _ = call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &children, 0usize, 8);
    let mut seed = first;
    while time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(i64::MAX) < until {
        seed += 1;
        let worker = Worker { seed, directory: directory.clone(), user };
        let Ok(child) = process::spawn(|| {
            let _ = call!(libc::SYS_rt_sigprocmask, libc::SIG_UNBLOCK, &children, 0usize, 8);
            worker.work(&shared.calls)
        }) else {
            // There may be too many processes for the moment.
            time::sleep(10 * MILLISECOND);
            continue;
        };
        shared.processes.fetch_add(1, Relaxed);
        let patience = time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0) + PATIENCE;
        while process::wait_with(child, libc::WNOHANG).is_ok_and(|(ended, _)| ended == 0)
            && time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(i64::MAX) < patience
        {
            let _ = call!(libc::SYS_rt_sigtimedwait, &children, 0usize, &time::timespec(50 * MILLISECOND), 8);
        }
        if !end_all() {
            return 3;
        }
    }
    0
}

/// Makes devices that no harm can be done to, for none but this lane, and opens one: what it writes to the usual descriptors
/// is nobody's business.
fn make_devices(directory: &str, user: u32) {
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8)] {
        let path = process::c_string(format!("{directory}/{name}"));
        let _ = call!(libc::SYS_mknod, path.as_c_str(), libc::S_IFCHR | 0o666, libc::makedev(1, minor));
        let _ = call!(libc::SYS_chown, path.as_c_str(), user, user);
    }
    if let Ok(null) = file::open(&format!("{directory}/null"), libc::O_RDWR) {
        for descriptor in 0..3 {
            let _ = call!(libc::SYS_dup2, null, descriptor);
        }
    }
}

/// Ends and reaps all children, and theirs as they come to this process. False: one did not end.
fn end_all() -> bool {
    let limit = time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0) + LIMIT;
    loop {
        match process::wait_with(-1, libc::WNOHANG | libc::__WALL) {
            Err(Errno::ECHILD) => return true,
            Ok((0, _)) => {
                for child in children() {
                    let _ = call!(libc::SYS_kill, child, libc::SIGKILL);
                }
                time::sleep(MILLISECOND);
                if time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0) > limit {
                    return false;
                }
            }
            _ => {}
        }
    }
}

/// The children of this process, by proc(5).
fn children() -> Vec<i32> {
    let own = process::id().to_string();
    let names = std::fs::read_dir(PROC).into_iter().flatten().flatten();
    let numbers = names.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()));
    // The name of a program may hold anything; the state and the parent stand behind its last parenthesis.
    let parent = |text: &str| text.rsplit(')').next()?.split_whitespace().nth(1).map(str::to_string);
    let is_own = |id: &i32| {
        file::read(&format!("{PROC}/{id}/stat")).is_ok_and(|text| parent(&text).as_ref() == Some(&own))
    };
    numbers.filter(is_own).collect()
}

/// Undoes what root's lanes did to the system: mounts, files, the host's name, the clock.
fn put_back(clocks: [i64; 2], host_name: &str) {
    // One may hide another: as long as one goes, the next may.
    let is_unmounted = |target: &&str| {
        target.starts_with(DIRECTORY)
            && call!(libc::SYS_umount2, process::c_string(target).as_c_str(), libc::MNT_DETACH).is_ok()
    };
    let unmount_one = || {
        let mounts = file::read("/proc/self/mounts").unwrap_or_default();
        mounts.lines().filter_map(|line| line.split_whitespace().nth(1)).any(|target| is_unmounted(&target))
    };
    while unmount_one() {}
    if let Err(error) = std::fs::remove_dir_all(DIRECTORY) {
        complain!("sweep: {DIRECTORY} cannot be removed: {error}");
    }
    let _ = call!(libc::SYS_sethostname, host_name.as_ptr(), host_name.len());
    let _ = call!(libc::SYS_setdomainname, c"(none)", 6);
    // All of adjtimex(2) that it may have changed: offset, frequency, status, tick.
    // SAFETY: all zeros are a `timex` that changes nothing.
    let mut adjustment: libc::timex = unsafe { std::mem::zeroed() };
    adjustment.modes = libc::ADJ_OFFSET | libc::ADJ_FREQUENCY | libc::ADJ_STATUS | libc::ADJ_TICK;
    adjustment.tick = 10_000;
    let _ = call!(libc::SYS_adjtimex, &mut adjustment);
    let passed = time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0) - clocks[1];
    let _ = call!(libc::SYS_clock_settime, libc::CLOCK_REALTIME, &time::timespec(clocks[0] + passed));
}

//! The calls of a sequence that read or take time, with answers that are the same on a machine just booted and on one
//! that has been up for weeks.
//!
//! A reading is answered as its distance from the realtime clock, which no namespace shifts; the controller knows that
//! distance outside and names the rest. A time that remains is rounded up to whole ten seconds, for tasks take turns within a
//! fraction of that. A short timer is waited for at once, so that later questions find it expired, not nearly expired.

use crate::call;
use crate::clocks::read_by_vdso;
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::time::{self, MILLISECOND, SECOND, ZERO, nanoseconds, timespec};
use crate::system::vdso::Vdso;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The clocks whose distance from realtime means something: not those of processor time, not the alarm clocks, which
/// need hardware.
pub const IDS: [i32; 7] = [
    libc::CLOCK_REALTIME,
    libc::CLOCK_MONOTONIC,
    libc::CLOCK_MONOTONIC_RAW,
    libc::CLOCK_REALTIME_COARSE,
    libc::CLOCK_MONOTONIC_COARSE,
    libc::CLOCK_BOOTTIME,
    libc::CLOCK_TAI,
];

/// The id of a clock named as in <time.h>.
pub fn clock(name: &str) -> i32 {
    crate::system::clocks::CLOCKS.iter().find(|clock| clock.name == name).map_or(-1, |clock| clock.id)
}

/// How far a clock is ahead of realtime, from the tightest of some tries.
pub fn distance(read: impl Fn() -> Result<i64, Errno>) -> Result<i64, Errno> {
    let mut best = (i64::MAX, 0);
    for _ in 0..4 {
        let before = time::read_by_call(libc::CLOCK_REALTIME)?;
        let reading = read()?;
        let after = time::read_by_call(libc::CLOCK_REALTIME)?;
        best = best.min((after - before, reading - before - (after - before) / 2));
    }
    Ok(best.1)
}

/// Every clock, by system call and by vDSO.
pub fn clocks() -> String {
    let vdso = Vdso::find();
    let by_vdso = vdso.as_ref().and_then(Vdso::clock_gettime);
    let all = |read: &dyn Fn(i32) -> Result<i64, Errno>| -> String {
        let one = |id: i32| match distance(|| read(id)) {
            Ok(distance) => format!("near:{id}:{distance}"),
            Err(errno) => errno.name(),
        };
        IDS.map(one).join(" ")
    };
    let by_vdso = by_vdso.map_or("no vDSO".into(), |read| all(&|id| read_by_vdso(read, id)));
    format!("{} | {by_vdso}", all(&time::read_by_call))
}

/// A reading of the boottime clock's kind that is only good to a second.
fn roughly(reading: Option<i64>) -> String {
    let realtime = time::read_by_call(libc::CLOCK_REALTIME).unwrap_or(0);
    reading.map_or("unreadable".into(), |reading| format!("roughly:{}", reading - realtime))
}

/// The first field of /proc/uptime.
pub fn uptime() -> String {
    let text = file::read("/proc/uptime").unwrap_or_default();
    let field = text.split_whitespace().next().and_then(|word| word.replace('.', "").parse::<i64>().ok());
    roughly(field.map(|hundredths| hundredths * 10 * MILLISECOND))
}

/// sysinfo(2): the uptime.
pub fn sysinfo() -> String {
    let mut room = [0i64; 16];
    let answer = call!(libc::SYS_sysinfo, &mut room);
    roughly(answer.ok().map(|_| room[0] * SECOND))
}

/// The line `btime` of /proc/stat, as the time since then.
pub fn boot_time() -> String {
    let text = file::read("/proc/stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    let booted = line.and_then(|word| word.parse::<u64>().ok());
    let realtime = time::read_by_call(libc::CLOCK_REALTIME).unwrap_or(0);
    // As unsigned it is shown, even when it is before 1970.
    roughly(booted.map(|booted| realtime - booted.cast_signed() * SECOND))
}

/// The start of a process, in ticks of the boottime clock as the reader has it. All tasks started a moment ago.
pub fn start_time(process: &str) -> String {
    let Ok(text) = file::read(&format!("/proc/{process}/stat")) else { return "unreadable".into() };
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().nth(19).and_then(|word| word.parse::<i64>().ok());
    roughly(ticks.map(|ticks| ticks.saturating_mul(10 * MILLISECOND)))
}

/// The moment a word such as `2ms` stands for: a length of time, or what `clock` will show after it. `1ns` and `0` are
/// themselves, for a clock long past them.
fn moment(clock: i32, is_absolute: bool, word: &str) -> i64 {
    let length = match word {
        "2ms" => 2 * MILLISECOND,
        "100s" => 100 * SECOND,
        "1ns" => return 1,
        _ => return 0,
    };
    let now = if is_absolute { time::read_by_call(clock).unwrap_or(0) } else { 0 };
    now + length
}

/// Makes a call that waits until `2ms` have passed, and adds `early` to its answer when it did not.
fn never_early(word: &str, wait: impl FnOnce() -> Result<usize, Errno>) -> String {
    let before = time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0);
    let answer = wait();
    let passed = time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0) - before;
    let is_early = word == "2ms"
        && !matches!(answer, Err(errno) if errno != Errno::ETIMEDOUT)
        && passed < 2 * MILLISECOND;
    let early = if is_early { ", too early" } else { "" };
    answer.map_or_else(|errno| errno.name(), |value| value.to_string()) + early
}

/// clock_nanosleep(2).
pub fn sleep(name: &str, flags: &str, word: &str) -> String {
    let (clock, is_absolute) = (clock(name), flags == "TIMER_ABSTIME");
    never_early(word, || {
        let until = timespec(moment(clock, is_absolute, word));
        call!(libc::SYS_clock_nanosleep, clock, i32::from(is_absolute), &until, 0usize)
    })
}

/// futex(2), FUTEX_WAIT_BITSET, which takes a moment and not a length.
pub fn futex(name: &str, word: &str) -> String {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let clock = clock(name);
    let realtime = if clock == libc::CLOCK_REALTIME { libc::FUTEX_CLOCK_REALTIME } else { 0 };
    never_early(word, || {
        let until = timespec(moment(clock, true, word));
        let operation = libc::FUTEX_WAIT_BITSET | realtime;
        call!(libc::SYS_futex, WORD.as_ptr(), operation, 0, &until, 0usize, u32::MAX)
    })
}

/// Two timespecs, the interval and the value: the setting of a timer.
type Setting = [libc::timespec; 2];

/// Waits for a short timer, so that whoever asks next finds it expired.
fn wait_out(word: &str) {
    if word == "2ms" {
        time::sleep(4 * MILLISECOND);
    }
}

/// What remains, in words that do not depend on how long it has been running.
fn remaining(answer: Result<usize, Errno>, setting: &Setting) -> String {
    match answer {
        Err(errno) => errno.name(),
        Ok(_) => match nanoseconds(&setting[1]) {
            0 => "nothing remains".into(),
            rest => format!("{} s remain", (rest + 10 * SECOND - 1) / (10 * SECOND) * 10),
        },
    }
}

fn shown(answer: Result<usize, Errno>) -> String {
    answer.map_or_else(|errno| errno.name(), |value| value.to_string())
}

/// The clock a descriptor's timer runs on: fdinfo says it, and a moment on it must be told in its terms.
fn clock_of(descriptor: i32) -> i32 {
    let text = file::read(&format!("/proc/thread-self/fdinfo/{descriptor}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("clockid:"));
    line.and_then(|word| word.trim().parse().ok()).unwrap_or(libc::CLOCK_REALTIME)
}

/// timerfd_settime(2).
pub fn timerfd_settime(descriptor: i32, flags: &str, word: &str) -> String {
    let is_absolute = flags == "TIMER_ABSTIME";
    let setting = [ZERO, timespec(moment(clock_of(descriptor), is_absolute, word))];
    let answer = call!(libc::SYS_timerfd_settime, descriptor, i32::from(is_absolute), &setting, 0usize);
    wait_out(word);
    shown(answer)
}

/// timerfd_gettime(2).
pub fn timerfd_gettime(descriptor: i32) -> String {
    let mut setting = [ZERO; 2];
    let answer = call!(libc::SYS_timerfd_gettime, descriptor, &mut setting);
    remaining(answer, &setting)
}

/// The one POSIX timer of a process and its clock; a fork copies the number but not the timer.
static TIMER: AtomicI32 = AtomicI32::new(-1);
static TIMER_CLOCK: AtomicI32 = AtomicI32::new(0);

/// The signal of expired timers, which every task has blocked.
pub const TIMER_SIGNAL: i32 = 40;

/// timer_create(2). The number it gets is not told: which are free depends on the past of the whole process.
pub fn timer_create(name: &str, notification: &str) -> String {
    // struct sigevent: a value, a signal, a kind of notification, and room.
    let mut event = [0u64; 8];
    let kind = if notification == "SIGEV_NONE" { libc::SIGEV_NONE } else { libc::SIGEV_SIGNAL };
    event[1] = TIMER_SIGNAL as u64 | (kind as u64) << 32;
    let mut id = -1i32;
    let answer = call!(libc::SYS_timer_create, clock(name), &event, &mut id);
    if answer.is_ok() {
        TIMER.store(id, Ordering::Relaxed);
        TIMER_CLOCK.store(clock(name), Ordering::Relaxed);
    }
    shown(answer)
}

/// timer_settime(2).
pub fn timer_settime(flags: &str, word: &str) -> String {
    let is_absolute = flags == "TIMER_ABSTIME";
    let clock = TIMER_CLOCK.load(Ordering::Relaxed);
    let setting = [ZERO, timespec(moment(clock, is_absolute, word))];
    let timer = TIMER.load(Ordering::Relaxed);
    let answer = call!(libc::SYS_timer_settime, timer, i32::from(is_absolute), &setting, 0usize);
    wait_out(word);
    shown(answer)
}

/// timer_gettime(2).
pub fn timer_gettime() -> String {
    let mut setting = [ZERO; 2];
    let answer = call!(libc::SYS_timer_gettime, TIMER.load(Ordering::Relaxed), &mut setting);
    remaining(answer, &setting)
}

/// timer_delete(2).
pub fn timer_delete() -> String {
    shown(call!(libc::SYS_timer_delete, TIMER.load(Ordering::Relaxed)))
}

/// rt_sigtimedwait(2) for the timers' signal, without waiting.
pub fn take_signal() -> String {
    let set = 1u64 << (TIMER_SIGNAL - 1);
    let mut information = [0u32; 32];
    let answer = call!(libc::SYS_rt_sigtimedwait, &set, &mut information, &ZERO, 8usize);
    // si_code and si_overrun.
    answer.map_or_else(
        |errno| errno.name(),
        |signal| format!("signal {signal}, code {}, overrun {}", information[2] as i32, information[5]),
    )
}

//! Timers that send signals, timer_create(2): what comes with the signal, what is missed, whose processor time is measured.

use super::sleeping::{LATE, NAP, enter};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed, holds, in_child, refused, within};
use crate::system::errno::Errno;
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};

const ABSOLUTE: i32 = 1;
/// A real-time signal that nobody else uses.
const SIGNAL: i32 = 40;

/// A timer of this process.
struct Timer(i32);

/// `struct sigevent` as the system call takes it.
#[repr(C)]
struct Event {
    value: usize,
    signal: i32,
    notify: i32,
    thread: i32,
    rest: [i32; 11],
}

fn event(notify: i32, signal: i32, value: usize, thread: i32) -> Event {
    Event { value, signal, notify, thread, rest: [0; 11] }
}

impl Timer {
    fn create(clock: i32, event: &Event) -> Result<Timer, Errno> {
        let mut id = -1i32;
        call!(libc::SYS_timer_create, clock, event, &mut id)?;
        Ok(Timer(id))
    }

    /// One that sends [`SIGNAL`] with the value 77.
    fn new(clock: i32) -> Result<Timer, Errno> {
        Timer::create(clock, &event(libc::SIGEV_SIGNAL, SIGNAL, 77, 0))
    }

    fn set(&self, flags: i32, value: i64, interval: i64) -> Result<(i64, i64), Errno> {
        let new = [time::timespec(interval), time::timespec(value)];
        let mut old = [time::ZERO; 2];
        call!(libc::SYS_timer_settime, self.0, flags, &new, &mut old)?;
        Ok((time::nanoseconds(&old[1]), time::nanoseconds(&old[0])))
    }

    fn get(&self) -> Result<(i64, i64), Errno> {
        let mut now = [time::ZERO; 2];
        call!(libc::SYS_timer_gettime, self.0, &mut now)?;
        Ok((time::nanoseconds(&now[1]), time::nanoseconds(&now[0])))
    }

    fn overrun(&self) -> Result<usize, Errno> {
        call!(libc::SYS_timer_getoverrun, self.0)
    }
}

fn set_of(signal: i32) -> u64 {
    1 << (signal - 1)
}

pub fn block(signal: i32) -> Outcome {
    call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &set_of(signal), 0usize, 8).step("blocking")?;
    Ok(())
}

fn unblock(signal: i32) -> Outcome {
    call!(libc::SYS_rt_sigprocmask, libc::SIG_UNBLOCK, &set_of(signal), 0usize, 8).step("unblocking")?;
    Ok(())
}

/// What came with a signal: number, code, timer's number, overrun, value.
#[derive(Debug, PartialEq)]
pub struct Told {
    signal: i32,
    pub code: i32,
    timer: i32,
    overrun: i32,
    value: i32,
}

/// Waits for a blocked signal, at most so long.
pub fn await_signal(signal: i32, limit: i64) -> Result<Told, Errno> {
    let mut info = [0i32; 32];
    call!(libc::SYS_rt_sigtimedwait, &set_of(signal), &mut info, &time::timespec(limit), 8)?;
    Ok(Told { signal: info[0], code: info[2], timer: info[4], overrun: info[5], value: info[6] })
}

/// Uses the processor, in the program, for so long.
pub fn work(length: i64) -> Outcome {
    let end = time::read_by_call(libc::CLOCK_THREAD_CPUTIME_ID)? + length;
    while time::read_by_call(libc::CLOCK_THREAD_CPUTIME_ID)? < end {
        (0..1000).for_each(|number| {
            std::hint::black_box(number);
        });
    }
    Ok(())
}

const CLOCKS: [(i32, &str); 4] = [
    (libc::CLOCK_REALTIME, "REALTIME"),
    (libc::CLOCK_MONOTONIC, "MONOTONIC"),
    (libc::CLOCK_BOOTTIME, "BOOTTIME"),
    (libc::CLOCK_TAI, "TAI"),
];

pub fn cases(plan: &mut Plan) {
    for place in ["in the caller's namespace", "ahead", "behind"] {
        for (clock, name) in CLOCKS {
            plan.case(
                format!("{place}: {name}, absolute and relative: the signal comes then, not before"),
                move || {
                    enter(place)?;
                    block(SIGNAL)?;
                    let timer = Timer::new(clock).step("timer_create")?;
                    for flags in [0, ABSOLUTE] {
                        let until = time::read_by_call(clock)? + NAP;
                        timer.set(flags, if flags == 0 { NAP } else { until }, 0).step("timer_settime")?;
                        within("left", timer.get()?.0, 1, NAP)?;
                        let told = await_signal(SIGNAL, LATE).step("rt_sigtimedwait")?;
                        within("late by", time::read_by_call(clock)? - until, 0, LATE)?;
                        let expected =
                            Told { signal: SIGNAL, code: -2, timer: timer.0, overrun: 0, value: 77 };
                        equal("what came", told, expected)?;
                        equal("afterwards", timer.get(), Ok((0, 0)))?;
                    }
                    Ok(())
                },
            );
            plan.case(format!("{place}: {name}, an absolute time that has passed: at once"), move || {
                enter(place)?;
                block(SIGNAL)?;
                let timer = Timer::new(clock).step("timer_create")?;
                for until in [1, time::read_by_call(clock)? / 2] {
                    timer.set(ABSOLUTE, until, 0).step("timer_settime")?;
                    await_signal(SIGNAL, SECOND).step("rt_sigtimedwait")?;
                }
                Ok(())
            });
        }
    }
    periodic(plan);
    notifications(plan);
    refusals(plan);
    processor_time(plan);
    lifetimes(plan);
}

fn periodic(plan: &mut Plan) {
    plan.case("a periodic timer goes on; what it misses is its overrun", || {
        block(SIGNAL)?;
        let timer = Timer::new(libc::CLOCK_MONOTONIC).step("timer_create")?;
        let start = time::read_by_call(libc::CLOCK_MONOTONIC)?;
        timer.set(0, MILLISECOND, MILLISECOND).step("timer_settime")?;
        time::sleep(NAP);
        within("left while pending", timer.get()?.0, 1, MILLISECOND)?;
        let told = await_signal(SIGNAL, SECOND).step("rt_sigtimedwait")?;
        let most = (time::read_by_call(libc::CLOCK_MONOTONIC)? - start) / MILLISECOND - 1;
        within("overrun", told.overrun.into(), NAP / MILLISECOND - 1, most)?;
        equal("timer_getoverrun", timer.overrun(), Ok(told.overrun as usize))?;
        let mut count = 1 + i64::from(told.overrun);
        for _ in 0..10 {
            count += 1 + i64::from(await_signal(SIGNAL, SECOND).step("rt_sigtimedwait")?.overrun);
            let passed = time::read_by_call(libc::CLOCK_MONOTONIC)? - start;
            holds(passed >= count * MILLISECOND, || format!("{count} expirations after {passed} ns"))?;
        }
        Ok(())
    });
    plan.case("a period of a nanosecond does not stop the machine", || {
        block(SIGNAL)?;
        let timer = Timer::new(libc::CLOCK_MONOTONIC).step("timer_create")?;
        timer.set(0, 1, 1).step("timer_settime")?;
        time::sleep(NAP);
        let told = await_signal(SIGNAL, SECOND).step("rt_sigtimedwait")?;
        within("overrun", told.overrun.into(), NAP - 1, NAP + LATE)
    });
    plan.case("a signal that is pending when its timer is set anew or deleted is not taken", || {
        block(SIGNAL)?;
        let timer = Timer::new(libc::CLOCK_MONOTONIC).step("timer_create")?;
        timer.set(0, 1, 0).step("timer_settime")?;
        time::sleep(NAP);
        timer.set(0, 0, 0).step("timer_settime")?;
        refused("stopped", await_signal(SIGNAL, MILLISECOND), Errno::EAGAIN)?;
        timer.set(0, 1, 0).step("timer_settime")?;
        time::sleep(NAP);
        call!(libc::SYS_timer_delete, timer.0).step("timer_delete")?;
        refused("deleted", await_signal(SIGNAL, MILLISECOND), Errno::EAGAIN)
    });
    plan.case("a timer whose signal is ignored goes on once it is not", || {
        let act = |handler: usize| {
            call!(libc::SYS_rt_sigaction, SIGNAL, &[handler, 0, 0, 0], 0usize, 8).step("rt_sigaction")
        };
        act(1)?;
        let timer = Timer::new(libc::CLOCK_MONOTONIC).step("timer_create")?;
        timer.set(0, MILLISECOND, MILLISECOND).step("timer_settime")?;
        time::sleep(NAP);
        within("interval", timer.get()?.1, MILLISECOND, MILLISECOND)?;
        block(SIGNAL)?;
        act(0)?;
        await_signal(SIGNAL, SECOND).step("rt_sigtimedwait")?;
        Ok(())
    });
}

static THREAD: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

extern "C" fn note_thread(_signal: i32) {
    let id = call!(libc::SYS_gettid).unwrap_or(0) as i32;
    THREAD.store(id, std::sync::atomic::Ordering::SeqCst);
}

fn notifications(plan: &mut Plan) {
    plan.case("without an event it is SIGALRM with the timer's number", || {
        block(libc::SIGALRM)?;
        let mut first = -1i32;
        call!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, 0usize, &mut first).step("timer_create")?;
        let mut id = -1i32;
        call!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, 0usize, &mut id).step("timer_create")?;
        equal("numbers", (first, id), (0, 1))?;
        Timer(id).set(0, 1, 0).step("timer_settime")?;
        let told = await_signal(libc::SIGALRM, SECOND).step("rt_sigtimedwait")?;
        equal("what came", (told.code, told.timer, told.value), (-2, id, id))
    });
    plan.case("SIGEV_NONE: nothing is sent, and the time left can be asked for", || {
        block(libc::SIGALRM)?;
        let silent = event(libc::SIGEV_NONE, 0, 0, 0);
        let timer = Timer::create(libc::CLOCK_MONOTONIC, &silent).step("timer_create")?;
        timer.set(0, NAP, 0).step("timer_settime")?;
        within("left", timer.get()?.0, 1, NAP)?;
        time::sleep(NAP);
        equal("afterwards", timer.get()?.0, 0)?;
        timer.set(0, NAP, 3 * NAP).step("timer_settime")?;
        time::sleep(2 * NAP);
        within("left of the interval", timer.get()?.0, 1, 2 * NAP)
    });
    plan.case("SIGEV_THREAD_ID: that thread handles it, though others could", || {
        // SAFETY: the handler makes one call and stores a number.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note_thread as *const () as usize;
            libc::sigaction(SIGNAL, &action, std::ptr::null_mut());
        }
        let thread = std::thread::spawn(|| {
            let own = call!(libc::SYS_gettid).unwrap_or(0) as i32;
            let to_it = event(libc::SIGEV_THREAD_ID, SIGNAL, 0, own);
            let timer = Timer::create(libc::CLOCK_MONOTONIC, &to_it)?;
            timer.set(0, MILLISECOND, 0)?;
            time::sleep(2 * NAP);
            Ok::<i32, Errno>(own)
        });
        let own = thread.join().ok().step("the thread")?.step("its timer")?;
        equal("handled by", THREAD.load(std::sync::atomic::Ordering::SeqCst), own)
    });
    plan.case("a handler interrupts what waits, as for any signal", || {
        // SAFETY: as above.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note_thread as *const () as usize;
            libc::sigaction(SIGNAL, &action, std::ptr::null_mut());
        }
        let timer = Timer::new(libc::CLOCK_MONOTONIC).step("timer_create")?;
        timer.set(0, NAP, 0).step("timer_settime")?;
        refused("nanosleep", call!(libc::SYS_nanosleep, &time::timespec(10 * SECOND), 0usize), Errno::EINTR)
    });
}

fn refusals(plan: &mut Plan) {
    plan.case("clocks without timers: EOPNOTSUPP, and EINVAL for none", || {
        for (clock, errno) in [
            (libc::CLOCK_MONOTONIC_RAW, Errno::EOPNOTSUPP),
            (libc::CLOCK_REALTIME_COARSE, Errno::EOPNOTSUPP),
            (libc::CLOCK_MONOTONIC_COARSE, Errno::EOPNOTSUPP),
            (10, Errno::EINVAL),
            (12, Errno::EINVAL),
            (99, Errno::EINVAL),
            (-1, Errno::EINVAL),
        ] {
            refused(&format!("clock {clock}"), Timer::new(clock).map(|timer| timer.0), errno)?;
        }
        Ok(())
    });
    plan.case("events that are none are EINVAL: the kind, the signal, the thread", || {
        let other_process = call!(libc::SYS_getppid)? as i32;
        for (what, bad) in [
            ("kind 3", event(3, SIGNAL, 0, 0)),
            ("kind 5", event(5, SIGNAL, 0, 0)),
            ("signal 0", event(libc::SIGEV_SIGNAL, 0, 0, 0)),
            ("signal 65", event(libc::SIGEV_SIGNAL, 65, 0, 0)),
            ("another process' thread", event(libc::SIGEV_THREAD_ID, SIGNAL, 0, other_process)),
            ("no thread", event(libc::SIGEV_THREAD_ID, SIGNAL, 0, 0)),
        ] {
            refused(what, Timer::create(1, &bad).map(|timer| timer.0), Errno::EINVAL)?;
        }
        refused("event", call!(libc::SYS_timer_create, 1, 8usize, 8usize), Errno::EFAULT)?;
        refused("number", call!(libc::SYS_timer_create, 1, 0usize, 8usize), Errno::EFAULT)
    });
    plan.case("numbers and times that are none are EINVAL, bad pointers EFAULT", || {
        let good = [time::ZERO; 2];
        for id in [0, -1, 12345] {
            refused("settime", call!(libc::SYS_timer_settime, id, 0, &good, 0usize), Errno::EINVAL)?;
            refused("gettime", call!(libc::SYS_timer_gettime, id, 8usize), Errno::EINVAL)?;
            refused("getoverrun", call!(libc::SYS_timer_getoverrun, id), Errno::EINVAL)?;
            refused("delete", call!(libc::SYS_timer_delete, id), Errno::EINVAL)?;
        }
        let timer = Timer::new(1).step("timer_create")?;
        let bad = [time::ZERO, libc::timespec { tv_sec: 0, tv_nsec: SECOND }];
        refused("time", call!(libc::SYS_timer_settime, timer.0, 0, &bad, 0usize), Errno::EINVAL)?;
        refused("no value", call!(libc::SYS_timer_settime, timer.0, 0, 0usize, 0usize), Errno::EINVAL)?;
        refused("value", call!(libc::SYS_timer_settime, timer.0, 0, 8usize, 0usize), Errno::EFAULT)?;
        refused("old value", call!(libc::SYS_timer_settime, timer.0, 0, &good, 8usize), Errno::EFAULT)?;
        refused("gettime", call!(libc::SYS_timer_gettime, timer.0, 8usize), Errno::EFAULT)
    });
    plan.case("timers count for RLIMIT_SIGPENDING: EAGAIN beyond it", || {
        let mut made = 0;
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        call!(libc::SYS_setrlimit, libc::RLIMIT_SIGPENDING, &limit).step("setrlimit")?;
        while made < 3 && Timer::new(1).is_ok() {
            made += 1;
        }
        equal("timers made with a limit of 0", made, 0)?;
        refused("one", Timer::new(1).map(|timer| timer.0), Errno::EAGAIN)
    });
}

fn processor_time(plan: &mut Plan) {
    for (clock, name) in
        [(libc::CLOCK_PROCESS_CPUTIME_ID, "process"), (libc::CLOCK_THREAD_CPUTIME_ID, "thread")]
    {
        plan.case(
            format!("the clock of the {name}'s processor time: only working makes it pass"),
            move || {
                block(SIGNAL)?;
                let timer = Timer::new(clock).step("timer_create")?;
                let start = time::read_by_call(clock)?;
                timer.set(0, NAP, 0).step("timer_settime")?;
                refused("while asleep", await_signal(SIGNAL, 2 * NAP), Errno::EAGAIN)?;
                within("left", timer.get()?.0, 1, NAP)?;
                while let Err(Errno::EAGAIN) = await_signal(SIGNAL, 0) {
                    work(MILLISECOND / 4)?;
                    within("used", time::read_by_call(clock)? - start, 0, NAP + LATE)?;
                }
                within("used when it came", time::read_by_call(clock)? - start, NAP, NAP + LATE)
            },
        );
        plan.case(format!("periodically by the {name}'s processor time"), move || {
            block(SIGNAL)?;
            let timer = Timer::new(clock).step("timer_create")?;
            let start = time::read_by_call(clock)?;
            timer.set(ABSOLUTE, start + NAP, NAP / 2).step("timer_settime")?;
            let mut count = 0;
            while count < 4 {
                work(MILLISECOND / 4)?;
                if let Ok(told) = await_signal(SIGNAL, 0) {
                    count += 1 + i64::from(told.overrun);
                    let used = time::read_by_call(clock)? - start;
                    holds(used >= NAP + (count - 1) * (NAP / 2), || {
                        format!("{count} expirations after {used} ns")
                    })?;
                }
                within("used", time::read_by_call(clock)? - start, 0, 10 * LATE)?;
            }
            Ok(())
        });
    }
    plan.case("a program that computes is interrupted by its own processor time", || {
        block(SIGNAL)?;
        let timer = Timer::new(libc::CLOCK_PROCESS_CPUTIME_ID).step("timer_create")?;
        timer.set(0, NAP, 0).step("timer_settime")?;
        let start = time::read_by_call(libc::CLOCK_REALTIME)?;
        let pending = || {
            let mut set = 0u64;
            call!(libc::SYS_rt_sigpending, &mut set, 8).map(|_| set & set_of(SIGNAL) != 0)
        };
        while !pending()? {
            if time::read_by_call(libc::CLOCK_REALTIME)? - start > LATE {
                return failed("it never came");
            }
        }
        Ok(())
    });
    plan.case("the clocks of other processes and of threads, by their dynamic ids", || {
        let child = process::spawn(|| i32::from(work(60 * SECOND).is_err()))?;
        let clock = |number: i32, kind: i32| (!number << 3) | kind;
        block(SIGNAL)?;
        let outcome = (|| -> Outcome {
            // 0: user and system time, 1: user time, 2: what the scheduler counts; with 4, of a thread.
            for kind in [0, 1, 2] {
                let timer = Timer::new(clock(child, kind)).step("timer_create")?;
                let start = time::read_by_call(clock(child, kind)).step("clock_gettime")?;
                timer.set(0, NAP, 0).step("timer_settime")?;
                await_signal(SIGNAL, LATE).step("rt_sigtimedwait")?;
                within("used", time::read_by_call(clock(child, kind))? - start, NAP, LATE)?;
            }
            refused("its thread", Timer::new(clock(child, 4)).map(|timer| timer.0), Errno::EINVAL)?;
            refused("nobody", Timer::new(clock(1 << 21, 0)).map(|timer| timer.0), Errno::EINVAL)
        })();
        call!(libc::SYS_kill, child, libc::SIGKILL).step("kill")?;
        process::wait(child)?;
        outcome
    });
    plan.case("clock_nanosleep on another process' processor time: as long as that takes", || {
        let child = process::spawn(|| i32::from(work(60 * SECOND).is_err()))?;
        let clock = (!child) << 3 | 2;
        let outcome = (|| -> Outcome {
            for flags in [0, ABSOLUTE] {
                let start = time::read_by_call(clock).step("clock_gettime")?;
                let until = time::timespec(if flags == 0 { NAP } else { start + NAP });
                call!(libc::SYS_clock_nanosleep, clock, flags, &until, 0usize).step("clock_nanosleep")?;
                within("used", time::read_by_call(clock)? - start, NAP, LATE)?;
            }
            Ok(())
        })();
        call!(libc::SYS_kill, child, libc::SIGKILL).step("kill")?;
        process::wait(child)?;
        outcome
    });
    plan.case("clock_nanosleep on one's own processor time does not end by itself", || {
        let child = process::spawn(|| {
            let _ = call!(libc::SYS_clock_nanosleep, 2, 0, &time::timespec(MILLISECOND), 0usize);
            0
        })?;
        time::sleep(2 * NAP);
        equal("ended", process::wait_with(child, libc::WNOHANG).map(|answer| answer.0), Ok(0))?;
        call!(libc::SYS_kill, child, libc::SIGKILL).step("kill")?;
        process::wait(child).step("wait").map(|_| ())
    });
}

fn lifetimes(plan: &mut Plan) {
    plan.case("a forked child has no timers", || {
        let timer = Timer::new(libc::CLOCK_MONOTONIC).step("timer_create")?;
        timer.set(0, 100 * SECOND, 0).step("timer_settime")?;
        in_child(move || refused("gettime in the child", timer.get(), Errno::EINVAL))
    });
    plan.case("exec deletes timers; a timer of the old program does not end the new one", || {
        let child = process::spawn(|| {
            let Ok(timer) = Timer::new(libc::CLOCK_MONOTONIC) else { return 1 };
            if timer.set(0, NAP, NAP).is_err() {
                return 2;
            }
            process::execute(&super::support::helper_words(&["sleep-milliseconds", "100"]));
            3
        })?;
        equal("status", process::wait(child)?, process::Status::Exited(0))
    });
    plan.case("a timer of the default action ends the process", || -> Result<(), Why> {
        let child = process::spawn(|| {
            let _ = unblock(SIGNAL);
            let Ok(timer) = Timer::new(libc::CLOCK_MONOTONIC) else { return 1 };
            let _ = timer.set(0, MILLISECOND, 0);
            time::sleep(10 * SECOND);
            2
        })?;
        equal("status", process::wait(child)?, process::Status::Killed(SIGNAL))
    });
}

//! Timers that are files, timerfd_create(2): when they can be read, what is read, and whose time an absolute one is in.

use super::sleeping::{LATE, NAP, duration, enter};
use super::support::{FAR, may_move_the_clock, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, Why, equal, holds, refused, within};
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::namespace;
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};

const ABSOLUTE: i32 = 1;
const CANCEL_ON_SET: i32 = 2;

/// An open timer file.
pub struct TimerFile(pub i32);

impl TimerFile {
    pub fn new(clock: i32, flags: i32) -> Result<TimerFile, Errno> {
        call!(libc::SYS_timerfd_create, clock, flags).map(|descriptor| TimerFile(descriptor as i32))
    }

    /// Sets it, in nanoseconds; gives the value and interval from before.
    pub fn set(&self, flags: i32, value: i64, interval: i64) -> Result<(i64, i64), Errno> {
        let new = [time::timespec(interval), time::timespec(value)];
        let mut old = [time::ZERO; 2];
        call!(libc::SYS_timerfd_settime, self.0, flags, &new, &mut old)?;
        Ok((time::nanoseconds(&old[1]), time::nanoseconds(&old[0])))
    }

    fn get(&self) -> Result<(i64, i64), Errno> {
        let mut now = [time::ZERO; 2];
        call!(libc::SYS_timerfd_gettime, self.0, &mut now)?;
        Ok((time::nanoseconds(&now[1]), time::nanoseconds(&now[0])))
    }

    pub fn read(&self) -> Result<u64, Errno> {
        let mut count = 0u64;
        call!(libc::SYS_read, self.0, &mut count, 8)?;
        Ok(count)
    }

    fn is_readable(&self) -> Result<bool, Errno> {
        let mut poll = libc::pollfd { fd: self.0, events: -1, revents: 0 };
        call!(libc::SYS_poll, &mut poll, 1, 0).map(|count| count == 1 && poll.revents == libc::POLLIN)
    }
}

impl Drop for TimerFile {
    fn drop(&mut self) {
        process::close(self.0);
    }
}

const CLOCKS: [(i32, &str); 3] = [
    (libc::CLOCK_REALTIME, "REALTIME"),
    (libc::CLOCK_MONOTONIC, "MONOTONIC"),
    (libc::CLOCK_BOOTTIME, "BOOTTIME"),
];

pub fn cases(plan: &mut Plan) {
    for place in ["in the caller's namespace", "ahead", "behind"] {
        for (clock, name) in CLOCKS {
            plan.case(
                format!("{place}: {name}, an absolute time: read when it has come, not before"),
                move || {
                    enter(place)?;
                    let timer = TimerFile::new(clock, 0)?;
                    let until = time::read_by_call(clock)? + NAP;
                    equal("old value", timer.set(ABSOLUTE, until, 0), Ok((0, 0)))?;
                    within("left", timer.get()?.0, 1, NAP)?;
                    equal("expirations", timer.read(), Ok(1))?;
                    within("read after the time by", time::read_by_call(clock)? - until, 0, LATE)?;
                    equal("afterwards", timer.get(), Ok((0, 0)))
                },
            );
            plan.case(
                format!("{place}: {name}, relative and periodic: as many reads as intervals"),
                move || {
                    enter(place)?;
                    let timer = TimerFile::new(clock, 0)?;
                    let start = time::read_by_call(clock)?;
                    timer.set(0, NAP, NAP / 4).step("timerfd_settime")?;
                    let mut count = 0;
                    while count < 9 {
                        count += timer.read()? as i64;
                        let passed = time::read_by_call(clock)? - start;
                        holds(passed >= NAP + (count - 1) * (NAP / 4), || {
                            format!("{count} expirations after {passed} ns")
                        })?;
                    }
                    within("interval", timer.get()?.1, NAP / 4, NAP / 4)?;
                    within("left", timer.get()?.0, 1, NAP / 4)
                },
            );
            plan.case(
                format!("{place}: {name}, an absolute time that has passed: readable at once"),
                move || {
                    enter(place)?;
                    for until in [1, time::read_by_call(clock)? / 2] {
                        let timer = TimerFile::new(clock, libc::TFD_NONBLOCK)?;
                        timer.set(ABSOLUTE, until, 0).step("timerfd_settime")?;
                        let took = duration(|| {
                            while timer.read() == Err(Errno::EAGAIN) {}
                            Ok(())
                        })?;
                        within("time until it can be read", took, 0, SECOND)?;
                    }
                    Ok(())
                },
            );
        }
        plan.case(
            format!("{place}: setting to zero stops a timer, even where zero has long passed"),
            move || {
                enter(place)?;
                let timer = TimerFile::new(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK)?;
                timer.set(0, NAP, 0).step("timerfd_settime")?;
                within("old value", timer.set(ABSOLUTE, 0, 5 * SECOND)?.0, 1, NAP)?;
                equal("value and interval", timer.get(), Ok((0, 5 * SECOND)))?;
                time::sleep(2 * NAP);
                refused("read", timer.read(), Errno::EAGAIN)
            },
        );
    }
    plan.case(
        "ahead: a periodic timer whose first time lies before the host's start counts from that start",
        || {
            enter("ahead")?;
            let timer = TimerFile::new(libc::CLOCK_MONOTONIC, 0)?;
            let interval = 10 * MILLISECOND;
            timer.set(ABSOLUTE, 1, interval).step("timerfd_settime")?;
            let count = timer.read()? as i64;
            let host = time::read_by_call(libc::CLOCK_MONOTONIC)? - FAR.monotonic;
            within("expirations", count, 1, host / interval + 1)?;
            within("time that they miss", host - count * interval, -interval, LATE)
        },
    );
    plan.case("a timer keeps its instant when its holder enters another namespace", || {
        needs_root()?;
        let timer = TimerFile::new(libc::CLOCK_MONOTONIC, 0)?;
        let start = time::read_by_call(libc::CLOCK_REALTIME)?;
        timer.set(ABSOLUTE, time::read_by_call(libc::CLOCK_MONOTONIC)? + NAP, 0).step("timerfd_settime")?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        within("left", timer.get()?.0, 0, NAP)?;
        equal("expirations", timer.read(), Ok(1))?;
        within("read after", time::read_by_call(libc::CLOCK_REALTIME)? - start, NAP - MILLISECOND, NAP + LATE)
    });
    plan.case("expirations add up until they are read; poll says POLLIN", || {
        let timer = TimerFile::new(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK)?;
        equal("readable", timer.is_readable(), Ok(false))?;
        timer.set(0, MILLISECOND, MILLISECOND).step("timerfd_settime")?;
        time::sleep(NAP);
        equal("readable", timer.is_readable(), Ok(true))?;
        within("expirations", timer.read()? as i64, NAP / MILLISECOND, LATE / MILLISECOND)?;
        let mut poll = libc::pollfd { fd: timer.0, events: libc::POLLIN, revents: 0 };
        equal("poll", call!(libc::SYS_poll, &mut poll, 1, 10_000), Ok(1))?;
        timer.set(0, SECOND, 0).step("timerfd_settime")?;
        equal("readable once set anew", timer.is_readable(), Ok(false))
    });
    plan.case("a period of a nanosecond does not stop the machine", || {
        let timer = TimerFile::new(libc::CLOCK_MONOTONIC, 0)?;
        timer.set(0, 1, 1).step("timerfd_settime")?;
        time::sleep(NAP);
        let first = timer.read()? as i64;
        within("expirations", first, NAP, NAP + LATE)?;
        holds(timer.read()? > 0, || "none more".into())
    });
    plan.case("a process that waits in read is woken; a signal ends its wait", || {
        let timer = TimerFile::new(libc::CLOCK_MONOTONIC, 0)?;
        let descriptor = timer.0;
        let reader = Running::start(move || equal("expirations", TimerFile(descriptor).read(), Ok(1)))?;
        time::sleep(NAP);
        timer.set(0, NAP, 0).step("timerfd_settime")?;
        reader.finish()?;
        let signal = super::sleeping::interrupter()?;
        refused("read", timer.read(), Errno::EINTR)?;
        signal.finish()
    });
    refusals(plan);
    cancelling(plan);
    plan.case("/proc/PID/fdinfo tells of it", || {
        let timer = TimerFile::new(libc::CLOCK_BOOTTIME, 0)?;
        timer.set(0, 1000 * SECOND, 3 * SECOND + 5).step("timerfd_settime")?;
        let text = file::read(&format!("/proc/self/fdinfo/{}", timer.0)).step("fdinfo")?;
        for line in ["clockid: 7", "ticks: 0", "settime flags: 00", "it_interval: (3, 5)"] {
            holds(text.lines().any(|found| found == line), || format!("no line `{line}` in {text}"))?;
        }
        holds(text.contains("\nit_value: (999, "), || text.clone())
    });
}

fn refusals(plan: &mut Plan) {
    plan.case("clocks without timer files and unknown flags are EINVAL", || {
        for clock in [2, 3, 4, 5, 6, 10, 11, 12, 99, -1, -6] {
            refused(&format!("clock {clock}"), TimerFile::new(clock, 0).map(|timer| timer.0), Errno::EINVAL)?;
        }
        refused("flag 1", TimerFile::new(1, 1).map(|timer| timer.0), Errno::EINVAL)
    });
    plan.case(
        "timerfd_settime: EFAULT, then EINVAL for flags and times, then EBADF, then EINVAL for other files",
        || {
            let set = |descriptor: i32, flags: i32, value: [libc::timespec; 2]| {
                call!(libc::SYS_timerfd_settime, descriptor, flags, &value, 0usize)
            };
            let good = [time::ZERO, time::timespec(SECOND)];
            let bad = |nanoseconds| [time::ZERO, libc::timespec { tv_sec: 0, tv_nsec: nanoseconds }];
            refused("pointer", call!(libc::SYS_timerfd_settime, 99, 4, 8usize, 0usize), Errno::EFAULT)?;
            refused("flags", set(99, 4, good), Errno::EINVAL)?;
            for nanoseconds in [-1, SECOND, i64::MIN] {
                refused("nanoseconds", set(99, 0, bad(nanoseconds)), Errno::EINVAL)?;
                let [value, interval] = bad(nanoseconds);
                refused("nanoseconds of the interval", set(99, 0, [interval, value]), Errno::EINVAL)?;
            }
            refused("seconds", set(99, 0, [time::ZERO, time::timespec(-1)]), Errno::EINVAL)?;
            refused("descriptor", set(99, 0, good), Errno::EBADF)?;
            let (read_end, _write_end) = process::pipe()?;
            refused("a pipe", set(read_end, 0, good), Errno::EINVAL)?;
            refused("gettime of a pipe", call!(libc::SYS_timerfd_gettime, read_end, 8usize), Errno::EINVAL)?;
            let timer = TimerFile::new(1, 0)?;
            refused("gettime", call!(libc::SYS_timerfd_gettime, timer.0, 8usize), Errno::EFAULT)?;
            let answer = call!(libc::SYS_timerfd_settime, timer.0, 0, &good, 8usize);
            refused("old value", answer, Errno::EFAULT)?;
            within("it is set all the same", timer.get()?.0, 1, SECOND)
        },
    );
    plan.case("reads take eight bytes; writes and positions are refused", || {
        let timer = TimerFile::new(1, libc::TFD_NONBLOCK)?;
        let mut bytes = [0u8; 16];
        refused("unset", timer.read(), Errno::EAGAIN)?;
        timer.set(0, 1, 0).step("timerfd_settime")?;
        time::sleep(MILLISECOND);
        refused("seven", call!(libc::SYS_read, timer.0, &mut bytes, 7), Errno::EINVAL)?;
        refused("pread", call!(libc::SYS_pread64, timer.0, &mut bytes, 8, 0), Errno::ESPIPE)?;
        refused("write", call!(libc::SYS_write, timer.0, &mut bytes, 8), Errno::EINVAL)?;
        equal("sixteen", call!(libc::SYS_read, timer.0, &mut bytes, 16), Ok(8))
    });
}

/// Sets the wall clock to what it shows.
fn set_wall_clock() -> Outcome {
    let now = time::timespec(time::read_by_call(libc::CLOCK_REALTIME)?);
    call!(libc::SYS_clock_settime, libc::CLOCK_REALTIME, &now).step("clock_settime")?;
    Ok(())
}

fn cancelling(plan: &mut Plan) {
    plan.case(
        "TFD_TIMER_CANCEL_ON_SET: setting the wall clock makes it readable, and reading it ECANCELED",
        || {
            needs_root()?;
            let timer = TimerFile::new(libc::CLOCK_REALTIME, libc::TFD_NONBLOCK)?;
            let until = time::read_by_call(libc::CLOCK_REALTIME)? + 100 * SECOND;
            let set = |until: i64| timer.set(ABSOLUTE | CANCEL_ON_SET, until, 0);
            set(until).step("timerfd_settime")?;
            refused("read", timer.read(), Errno::EAGAIN)?;
            set_wall_clock()?;
            equal("readable", timer.is_readable(), Ok(true))?;
            refused("read", timer.read(), Errno::ECANCELED)?;
            refused("read again", timer.read(), Errno::EAGAIN)?;
            within("it is still set", timer.get()?.0, 90 * SECOND, 100 * SECOND)?;
            set_wall_clock()?;
            refused("setting it", set(until), Errno::ECANCELED)?;
            within("it was set all the same", timer.get()?.0, 90 * SECOND, 100 * SECOND)?;
            set(until).step("setting it once more")?;
            refused("read", timer.read(), Errno::EAGAIN)
        },
    );
    plan.case("TFD_TIMER_CANCEL_ON_SET wakes who waits in read", || {
        needs_root()?;
        let timer = TimerFile::new(libc::CLOCK_REALTIME, 0)?;
        let until = time::read_by_call(libc::CLOCK_REALTIME)? + 100 * SECOND;
        timer.set(ABSOLUTE | CANCEL_ON_SET, until, 0).step("timerfd_settime")?;
        let setter = Running::start(|| {
            time::sleep(NAP);
            set_wall_clock()
        })?;
        refused("read", timer.read(), Errno::ECANCELED)?;
        setter.finish()
    });
    plan.case("a timer of the wall clock follows it when it is set; others stay", || -> Result<(), Why> {
        needs_root()?;
        may_move_the_clock()?;
        let wall = TimerFile::new(libc::CLOCK_REALTIME, libc::TFD_NONBLOCK)?;
        let steady = TimerFile::new(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK)?;
        let relative = TimerFile::new(libc::CLOCK_REALTIME, libc::TFD_NONBLOCK)?;
        let now = time::read_by_call(libc::CLOCK_REALTIME)?;
        wall.set(ABSOLUTE, now + 2 * SECOND, 0)?;
        steady.set(0, 2 * SECOND, 0)?;
        relative.set(0, 2 * SECOND, 0)?;
        let jump = |by: i64| -> Result<(), Why> {
            let to = time::timespec(time::read_by_call(libc::CLOCK_REALTIME)? + by);
            call!(libc::SYS_clock_settime, libc::CLOCK_REALTIME, &to).step("clock_settime")?;
            Ok(())
        };
        jump(3 * SECOND)?;
        let took = duration(|| {
            while wall.read() == Err(Errno::EAGAIN) {}
            Ok(())
        });
        let others = (steady.read(), relative.read());
        jump(-3 * SECOND)?;
        within("time until it expires", took?, 0, SECOND)?;
        equal("the others", others, (Err(Errno::EAGAIN), Err(Errno::EAGAIN)))
    });
}

//! Tables of time: what each clock id is good for, when timers expire inside, what the files and calls tell.

use super::{BAD, done, fact, shown};
use crate::call;
use crate::oracle::facts::Facts;
use crate::oracle::times;
use crate::system::credentials;
use crate::system::errno::Errno;
use crate::system::namespace::{self, Offsets};
use crate::system::time::{self, SECOND, ZERO, timespec};

/// Every clock id, in every call that takes one.
pub fn clocks() {
    let ids = (-1..26).chain([31, 32, 100, i32::MAX]);
    for id in ids {
        for (call, number) in
            [("clock_gettime", libc::SYS_clock_gettime), ("clock_getres", libc::SYS_clock_getres)]
        {
            fact(call, &format!("{id}"), || {
                let mut time = ZERO;
                let answer = call!(number, id, &mut time);
                if call == "clock_getres" && answer.is_ok() {
                    format!("{} ns", time::nanoseconds(&time))
                } else {
                    shown(answer)
                }
            });
            fact(call, &format!("{id} into NULL"), || shown(call!(number, id, 0usize)));
            fact(call, &format!("{id} into nowhere"), || shown(call!(number, id, BAD)));
        }
        fact("clock_settime", &format!("{id} to a bad time"), || {
            shown(call!(libc::SYS_clock_settime, id, &libc::timespec { tv_sec: 0, tv_nsec: -1 }))
        });
        fact("clock_settime", &format!("{id} by nobody"), || {
            let _ = credentials::become_user(credentials::NOBODY);
            shown(call!(libc::SYS_clock_settime, id, &timespec(SECOND)))
        });
        // Asleep, a process would wait for ever for its own processor time.
        let absolute_only = id == libc::CLOCK_PROCESS_CPUTIME_ID;
        for flag in [0, libc::TIMER_ABSTIME].into_iter().skip(usize::from(absolute_only)) {
            fact("clock_nanosleep", &format!("{id}, flags {flag}, 1 ns"), || {
                shown(call!(libc::SYS_clock_nanosleep, id, flag, &timespec(1), 0usize))
            });
            fact("clock_nanosleep", &format!("{id}, flags {flag}, a bad time"), || {
                let bad = libc::timespec { tv_sec: 0, tv_nsec: SECOND };
                shown(call!(libc::SYS_clock_nanosleep, id, flag, &bad, 0usize))
            });
        }
        fact("timer_create", &format!("{id}"), || {
            shown(call!(libc::SYS_timer_create, id, 0usize, &mut 0i32))
        });
        fact("timerfd_create", &format!("{id}"), || done(call!(libc::SYS_timerfd_create, id, 0)));
    }
}

/// In a namespace a day ahead and one behind its own beginning: moments on both clocks, to timers of both kinds.
pub fn expiries() {
    let offsets = [("ahead", 86_400), ("behind", 0)];
    for (where_to, seconds) in offsets {
        for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME] {
            for (what, at) in [
                ("1 ns", 1),
                ("an hour before now", -3_600),
                ("an hour after now", 3_600),
                ("the last moment", i64::MAX),
            ] {
                let inside = || {
                    let up = time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0) / SECOND;
                    let offset = if seconds == 0 { 1 - up } else { seconds } * SECOND;
                    namespace::unshare_and_enter(Offsets { monotonic: offset, boottime: offset })
                };
                let moment = || match at {
                    1 | i64::MAX => timespec(at),
                    seconds => {
                        let now = time::read_by_call(clock).unwrap_or(0);
                        timespec((now + seconds * SECOND).max(1))
                    }
                };
                let state = |answer: Result<usize, Errno>, setting: &[libc::timespec; 2]| match answer {
                    Err(errno) => errno.name(),
                    Ok(_) => match time::nanoseconds(&setting[1]) {
                        0 => "expired".into(),
                        rest if rest > 1_000_000 * SECOND => "far away".into(),
                        rest => format!("{} s", (rest + 10 * SECOND - 1) / (10 * SECOND) * 10),
                    },
                };
                fact("timerfd", &format!("{where_to}, clock {clock}, {what}"), || {
                    let made =
                        inside().and_then(|()| call!(libc::SYS_timerfd_create, clock, libc::TFD_NONBLOCK));
                    let Ok(timer) = made else { return done(made) };
                    let armed = call!(libc::SYS_timerfd_settime, timer, 1, &[ZERO, moment()], 0usize);
                    time::sleep(SECOND / 100);
                    let mut setting = [ZERO; 2];
                    let rest = armed.and_then(|_| call!(libc::SYS_timerfd_gettime, timer, &mut setting));
                    state(rest, &setting)
                });
                fact("timer", &format!("{where_to}, clock {clock}, {what}"), || {
                    let mut timer = 0i32;
                    let mut event = [0u64; 8];
                    event[1] = (libc::SIGEV_NONE as u64) << 32;
                    let made =
                        inside().and_then(|()| call!(libc::SYS_timer_create, clock, &event, &mut timer));
                    let armed = made
                        .and_then(|_| call!(libc::SYS_timer_settime, timer, 1, &[ZERO, moment()], 0usize));
                    time::sleep(SECOND / 100);
                    let mut setting = [ZERO; 2];
                    let rest = armed.and_then(|_| call!(libc::SYS_timer_gettime, timer, &mut setting));
                    state(rest, &setting)
                });
            }
        }
    }
}

/// The furthest moments, in namespaces behind the host: a sleep is cut short by a signal, unless it ends at once.
pub fn furthest() {
    for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME] {
        for seconds in [4_611_686_018, 9_223_372_035, i64::MAX] {
            fact("clock_nanosleep", &format!("behind, clock {clock}, until {seconds} s"), || {
                let up = time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0) / SECOND;
                let offset = (1 - up) * SECOND;
                let inside = namespace::unshare_and_enter(Offsets { monotonic: offset, boottime: offset });
                // 50 ms until SIGALRM.
                let _ = call!(libc::SYS_setitimer, libc::ITIMER_REAL, &[0i64, 0, 0, 50_000], 0usize);
                let until = libc::timespec { tv_sec: seconds, tv_nsec: 0 };
                let slept = call!(libc::SYS_clock_nanosleep, clock, libc::TIMER_ABSTIME, &until, 0usize);
                shown(inside.and(slept))
            });
        }
    }
}

/// What is read, outside and inside.
pub fn conversions(facts: &Facts) {
    type Reading = fn() -> String;
    let rows: [(&str, Reading); 4] = [
        ("clocks", times::clocks),
        ("/proc/uptime", times::uptime),
        ("sysinfo", times::sysinfo),
        ("btime", times::boot_time),
    ];
    for (where_to, offsets) in [
        ("outside", Offsets::default()),
        ("ahead", Offsets { monotonic: 2_000 * SECOND + SECOND / 2, boottime: 86_400 * SECOND }),
    ] {
        for (what, read) in rows {
            fact("conversion", &format!("{what}, {where_to}"), || {
                let _ = namespace::unshare_and_enter(offsets);
                facts.to_reader(&read())
            });
        }
        fact("conversion", &format!("start time of oneself, {where_to}"), || {
            let _ = namespace::unshare_and_enter(offsets);
            facts.to_reader(&times::start_time("self"))
        });
    }
}

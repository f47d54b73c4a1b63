//! Virtual time: with `clock=virtual` every moment can be foretold, so it is checked by equality.
//!
//! One call costs a microsecond and nothing else moves the clock, except that it goes to the next deadline when nobody
//! can go on. Whoever reads a clock by system call therefore knows the difference to the reading before. With
//! `clock=virtual,vdso` readings through the vDSO are no calls and cost nothing.

use super::support::{FAR, needs_root};
use crate::call;
use crate::clocks::read_by_vdso;
use crate::ktap::{Outcome, Plan, Running, Step, Why, equal, skipped};
use crate::system::file;
use crate::system::namespace::{self, Offsets};
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};
use crate::system::vdso::Vdso;

/// What a call costs.
const CHARGE: i64 = 1_000;
/// Long for a real machine, and short enough that a case is done before it counts as hanging.
const LONG: i64 = 5 * SECOND;

/// The clocks that go on while one waits.
const CLOCKS: [i32; 5] = [
    libc::CLOCK_REALTIME,
    libc::CLOCK_MONOTONIC,
    libc::CLOCK_MONOTONIC_RAW,
    libc::CLOCK_BOOTTIME,
    libc::CLOCK_TAI,
];

/// What `clock=` says on the kernel's command line. Whoever else is here comes to rest first.
fn mode() -> Result<String, Why> {
    let words = file::read("/proc/cmdline").step("reading the command line")?;
    match words.split_whitespace().find_map(|word| word.strip_prefix("clock=virtual")) {
        Some(mode) => {
            time::sleep(MILLISECOND);
            Ok(mode.to_string())
        }
        None => skipped("time is not virtual here"),
    }
}

fn now(clock: i32) -> Result<i64, Why> {
    Ok(time::read_by_call(clock)?)
}

fn enter(place: &str) -> Outcome {
    mode()?;
    let offsets = match place {
        "ahead" => FAR,
        "behind" => Offsets { monotonic: -SECOND, boottime: -SECOND / 2 },
        _ => return Ok(()),
    };
    needs_root()?;
    if place == "behind" {
        // There must be something to go back behind.
        time::sleep(2 * SECOND);
    }
    namespace::unshare_and_enter(offsets).step("entering")
}

pub fn cases(plan: &mut Plan) {
    if mode().is_err() {
        plan.case("in virtual time every moment can be foretold", || mode().map(|_| ()));
        return;
    }
    for place in ["outside", "ahead", "behind"] {
        plan.case(format!("{place}: a call moves every clock by a microsecond, whatever it is"), move || {
            enter(place)?;
            for clock in CLOCKS {
                let before = now(clock)?;
                equal("one reading later", now(clock)? - before, CHARGE)?;
                for _ in 0..5 {
                    call!(libc::SYS_getppid)?;
                }
                equal("one reading, five other calls, one reading later", now(clock)? - before, 7 * CHARGE)?;
            }
            Ok(())
        });
        plan.case(format!("{place}: a relative sleep takes its length, to the nanosecond"), move || {
            enter(place)?;
            for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_TAI]
            {
                for length in [1, 999, 1_000_000, 123_456_789, LONG] {
                    let before = now(clock)?;
                    call!(libc::SYS_clock_nanosleep, clock, 0, &time::timespec(length), 0usize)?;
                    // The call's own charge, the length, the reading's charge.
                    equal("slept for", now(clock)? - before, length + 2 * CHARGE)?;
                }
            }
            Ok(())
        });
        plan.case(format!("{place}: an absolute sleep ends at its moment, to the nanosecond"), move || {
            enter(place)?;
            for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_TAI]
            {
                let until = now(clock)? + LONG + 17;
                time::sleep_until(clock, until).step("clock_nanosleep")?;
                equal("woken after its moment by", now(clock)? - until, CHARGE)?;
            }
            Ok(())
        });
        plan.case(format!("{place}: poll, select and futex wait for exactly their time"), move || {
            enter(place)?;
            let word = 0u32;
            let before = now(libc::CLOCK_MONOTONIC)?;
            call!(libc::SYS_poll, 0usize, 0, 50)?;
            equal("poll", now(libc::CLOCK_MONOTONIC)? - before, 50 * MILLISECOND + 2 * CHARGE)?;
            let before = now(libc::CLOCK_MONOTONIC)?;
            let mut length = libc::timeval { tv_sec: 7, tv_usec: 3 };
            call!(libc::SYS_select, 0, 0usize, 0usize, 0usize, &mut length)?;
            equal("select", now(libc::CLOCK_MONOTONIC)? - before, 7 * SECOND + 3000 + 2 * CHARGE)?;
            let until = now(libc::CLOCK_MONOTONIC)? + LONG;
            let _ = call!(
                libc::SYS_futex,
                &word,
                libc::FUTEX_WAIT_BITSET,
                0,
                &time::timespec(until),
                0usize,
                u32::MAX
            );
            equal("futex", now(libc::CLOCK_MONOTONIC)? - until, CHARGE)
        });
        plan.case(format!("{place}: an interval timer fires on the dot, every time"), move || {
            enter(place)?;
            fires_on_the_dot()
        });
    }
    plan.case("a namespace's clocks are the host's plus the offsets, exactly", exact_offsets);
    plan.case("those who sleep are woken in the order of their moments", in_order);
    plan.case("a loop that polls a clock ends", || {
        mode()?;
        let until = now(libc::CLOCK_MONOTONIC)? + 50 * MILLISECOND;
        let mut calls = 1;
        while now(libc::CLOCK_MONOTONIC)? < until {
            calls += 1;
        }
        equal("readings", calls, 50 * MILLISECOND / CHARGE)
    });
    plan.case("a computation takes no time", || {
        mode()?;
        let before = now(libc::CLOCK_MONOTONIC)?;
        let sum = (0..3_000_000u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
        std::hint::black_box(sum);
        equal("later by", now(libc::CLOCK_MONOTONIC)? - before, CHARGE)
    });
    plan.case("readings through the vDSO cost a call each, or nothing with clock=virtual,vdso", || {
        let charge = if mode()? == ",vdso" { 0 } else { CHARGE };
        let read = Vdso::find().and_then(|vdso| vdso.clock_gettime()).step("the vDSO")?;
        for clock in CLOCKS {
            let before = read_by_vdso(read, clock)?;
            for count in 1..5 {
                equal("later by", read_by_vdso(read, clock)? - before, count * charge)?;
            }
        }
        Ok(())
    });
}

fn fires_on_the_dot() -> Outcome {
    const PERIOD: i64 = 250 * MILLISECOND;
    let period = libc::timeval { tv_sec: 0, tv_usec: PERIOD / 1000 };
    let setting = libc::itimerval { it_interval: period, it_value: period };
    let alarms: u64 = 1 << (libc::SIGALRM - 1);
    // Blocked, so that the signal is taken by a call and not by a handler.
    call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &alarms, 0usize, 8)?;
    let before = now(libc::CLOCK_MONOTONIC)?;
    call!(libc::SYS_setitimer, libc::ITIMER_REAL, &setting, 0usize)?;
    for count in 1..=5 {
        call!(libc::SYS_rt_sigtimedwait, &alarms, 0usize, 0usize, 8)?;
        // Set one charge after the first reading; read one charge after the signal.
        equal("fired at", now(libc::CLOCK_MONOTONIC)? - before, count * PERIOD + 2 * CHARGE)?;
    }
    let off = libc::timeval { tv_sec: 0, tv_usec: 0 };
    call!(
        libc::SYS_setitimer,
        libc::ITIMER_REAL,
        &libc::itimerval { it_interval: off, it_value: off },
        0usize
    )?;
    Ok(())
}

fn exact_offsets() -> Outcome {
    mode()?;
    needs_root()?;
    for (clock, offset) in [(libc::CLOCK_MONOTONIC, FAR.monotonic), (libc::CLOCK_BOOTTIME, FAR.boottime)] {
        // The wall clock is the same everywhere, so its distance to another tells that one's shift.
        let distance = |clock| -> Result<i64, Why> { Ok(now(clock)? - now(libc::CLOCK_REALTIME)?) };
        let outside = distance(clock)?;
        Running::start(move || {
            namespace::unshare_and_enter(FAR).step("entering")?;
            equal("shifted by", distance(clock)? - outside, offset)
        })?
        .finish()?;
    }
    Ok(())
}

fn in_order() -> Outcome {
    mode()?;
    let (read_end, write_end) = process::pipe()?;
    let children: Vec<i32> = [5, 3, 4, 1, 2]
        .into_iter()
        .map(|seconds| {
            process::spawn(|| {
                time::sleep(seconds * LONG);
                let number = [seconds as u8];
                i32::from(call!(libc::SYS_write, write_end, &number, 1).is_err())
            })
        })
        .collect::<Result<_, _>>()?;
    process::close(write_end);
    let mut order = Vec::new();
    loop {
        let mut byte = [0u8];
        if call!(libc::SYS_read, read_end, &mut byte, 1)? == 0 {
            break;
        }
        order.push(byte[0]);
    }
    process::close(read_end);
    for child in children {
        process::wait(child)?;
    }
    equal("order", order, vec![1, 2, 3, 4, 5])
}

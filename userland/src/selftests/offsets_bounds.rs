//! How far an offset may go: the clock inside must not be negative at the write, nor show more than 146 years.
//!
//! The bound is on the clock inside, host time plus offset, not on the offset: it must leave room for the host's clock
//! to go on for as long again. 4 611 686 018 is half the seconds that fit 63 bits of nanoseconds.

use super::support::{Base, needs_root, unshared};
use crate::ktap::{Outcome, Plan, Step, Why, failed, refused};
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::namespace::{self, OFFSETS, Offsets};
use crate::system::time::{self, SECOND};

/// The most seconds a clock inside may show when its offset is written.
const MOST: i64 = 4_611_686_018;
/// Offsets beyond this are refused before any sum: the seconds in 63 bits of nanoseconds.
const MOST_OFFSET: i64 = 9_223_372_036;

/// Calls `check` with the whole seconds and nanoseconds of the clock, again if a second passed meanwhile.
fn within_one_second(clock: i32, check: impl Fn(i64, i64) -> Outcome) -> Outcome {
    for _ in 0..20 {
        let now = time::read_by_call(clock)?;
        let outcome = check(now / SECOND, now % SECOND);
        let after = time::read_by_call(clock)?;
        // Near the turn of a second, or with a second passed, neither answer says anything.
        if now / SECOND == after / SECOND && now % SECOND > time::MILLISECOND {
            return outcome;
        }
        time::sleep(5 * time::MILLISECOND);
    }
    failed("no second was long enough")
}

fn pending_file() -> Result<Descriptor, Why> {
    needs_root()?;
    unshared()?;
    Descriptor::open(OFFSETS, libc::O_WRONLY).step("open")
}

pub fn cases(plan: &mut Plan) {
    for (name, clock) in [("monotonic", libc::CLOCK_MONOTONIC), ("boottime", libc::CLOCK_BOOTTIME)] {
        plan.case(format!("{name}: a clock inside of at most {MOST} s"), move || {
            let file = pending_file()?;
            within_one_second(clock, |now, _| {
                let most = MOST - now;
                file.write(format!("{name} {most} 0").as_bytes()).step(&format!("offset {most}"))?;
                let beyond = format!("{name} {} 0", most + 1);
                refused(&format!("offset {}", most + 1), file.write(beyond.as_bytes()), Errno::ERANGE)
            })
        });
        plan.case(format!("{name}: a clock inside of at least 0 s"), move || {
            let file = pending_file()?;
            within_one_second(clock, |now, _| {
                file.write(format!("{name} -{now} 0").as_bytes()).step(&format!("offset -{now}"))?;
                let beyond = format!("{name} -{} 0", now + 1);
                refused(&format!("offset -{}", now + 1), file.write(beyond.as_bytes()), Errno::ERANGE)
            })
        });
        plan.case(format!("{name}: a fraction of a second is enough"), move || {
            let file = pending_file()?;
            within_one_second(clock, |now, nanoseconds| {
                // Half a millisecond less than what the clock showed beyond its whole seconds is left inside.
                let fraction = SECOND - nanoseconds + time::MILLISECOND / 2;
                let (seconds, fraction) = if fraction >= SECOND { (now, 0) } else { (now + 1, fraction) };
                let text = format!("{name} -{seconds} {fraction}");
                file.write(text.as_bytes()).step(&text).map(|_| ())
            })
        });
        plan.case(
            format!("{name}: an offset beyond {MOST_OFFSET} s is ERANGE, whatever the clock"),
            move || {
                let file = pending_file()?;
                for seconds in [MOST_OFFSET + 1, -MOST_OFFSET - 1, i64::MAX, i64::MIN, i64::MIN + 1] {
                    let text = format!("{name} {seconds} 0");
                    refused(&text, file.write(text.as_bytes()), Errno::ERANGE)?;
                }
                let text = format!("{name} {MOST_OFFSET} 999999999");
                refused(&text, file.write(text.as_bytes()), Errno::ERANGE)
            },
        );
    }
    plan.case("the bound is on the host's clock, also for a writer whose own clock is shifted", || {
        needs_root()?;
        let ahead = Offsets { monotonic: 1_000_000 * SECOND, boottime: 0 };
        let host = time::read_by_call(libc::CLOCK_MONOTONIC)? / SECOND;
        namespace::unshare_and_enter(ahead).step("entering")?;
        let file = pending_file()?;
        // From here the host is about a million seconds behind.
        let beyond = format!("monotonic -{} 0", host + 100);
        refused(&beyond, file.write(beyond.as_bytes()), Errno::ERANGE)?;
        let most = format!("monotonic {} 0", MOST - host - 100);
        file.write(most.as_bytes()).step(&most).map(|_| ())
    });
    plan.case("the farthest clock is readable by vDSO and by system call", || {
        needs_root()?;
        let base = Base::take()?;
        let most =
            |clock| -> Result<i64, Why> { Ok((MOST - time::read_by_call(clock)? / SECOND - 100) * SECOND) };
        let far = Offsets { monotonic: most(libc::CLOCK_MONOTONIC)?, boottime: most(libc::CLOCK_BOOTTIME)? };
        namespace::unshare_and_enter(far).step("entering")?;
        base.shifted_by(far)
    });
    plan.case("a clock set to nearly 0 is readable by vDSO and by system call", || {
        needs_root()?;
        let base = Base::take()?;
        let back = |clock| -> Result<i64, Why> { Ok(-(time::read_by_call(clock)? / SECOND) * SECOND) };
        let far = Offsets { monotonic: back(libc::CLOCK_MONOTONIC)?, boottime: back(libc::CLOCK_BOOTTIME)? };
        namespace::unshare_and_enter(far).step("entering")?;
        base.shifted_by(far)
    });
    plan.case(
        "an offset of minus one nanosecond: the carry across a second, by vDSO and by system call",
        || {
            needs_root()?;
            let base = Base::take()?;
            let back = Offsets { monotonic: -1, boottime: -1 };
            namespace::unshare_and_enter(back).step("entering")?;
            base.shifted_by(back)
        },
    );
    for nanoseconds in [1, 500_000_000, 999_999_999] {
        plan.case(format!("an offset of 1000 s and {nanoseconds} ns: readings stay normalised"), move || {
            needs_root()?;
            let base = Base::take()?;
            let offset = 1000 * SECOND + nanoseconds;
            let ahead = Offsets { monotonic: offset, boottime: offset };
            namespace::unshare_and_enter(ahead).step("entering")?;
            base.shifted_by(ahead)?;
            normalised()
        });
    }
}

/// Every reading over more than a second has nanoseconds below a second, both ways.
fn normalised() -> Outcome {
    let vdso = crate::system::vdso::Vdso::find().step("the vDSO")?;
    let read = vdso.clock_gettime().step("__vdso_clock_gettime")?;
    let end = time::read_by_call(libc::CLOCK_REALTIME)? + SECOND + SECOND / 10;
    let mut reading = time::ZERO;
    while time::read_by_call(libc::CLOCK_REALTIME)? < end {
        for clock in super::support::measured_clocks() {
            read(clock.id, &mut reading);
            let by_vdso = reading.tv_nsec;
            crate::call!(libc::SYS_clock_gettime, clock.id, &mut reading)?;
            for (way, value) in [("by vDSO", by_vdso), ("by system call", reading.tv_nsec)] {
                crate::ktap::within(&format!("nanoseconds of {} {way}", clock.name), value, 0, SECOND - 1)?;
            }
        }
    }
    Ok(())
}

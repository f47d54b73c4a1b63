//! Each clock inside a namespace: which offset it gets, and that vDSO and system call agree to the nanosecond.
//!
//! Agreement is checked by bracketing: system call, vDSO, system call, vDSO must be four readings that never step
//! back. A vDSO that used another formula than the kernel would be seen within some thousand rounds.

use super::support::{Base, FAR, measured_clocks, needs_root, offset_of};
use crate::call;
use crate::clocks::read_by_vdso;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed, holds, refused, within};
use crate::system::clocks::{CLOCKS, Clock, Path, UNUSED_IDS};
use crate::system::errno::Errno;
use crate::system::namespace::{self, Offsets};
use crate::system::time::{self, MILLISECOND, SECOND};
use crate::system::vdso::{ClockGettime, Vdso};

/// How long each clock is bracketed, in nanoseconds.
const ROUNDS_TIME: i64 = 40 * MILLISECOND;

/// The places: no namespace, and namespaces with such offsets.
const PLACES: &[(&str, Option<Offsets>)] = &[
    ("in the caller's namespace", None),
    ("ahead", Some(FAR)),
    ("one nanosecond ahead", Some(Offsets { monotonic: 1, boottime: 1 })),
    ("999999999 ns ahead", Some(Offsets { monotonic: 999_999_999, boottime: 999_999_999 })),
    ("one nanosecond behind", Some(Offsets { monotonic: -1, boottime: -1 })),
];

fn enter(offsets: Option<Offsets>) -> Outcome {
    match offsets {
        None => Ok(()),
        Some(offsets) => {
            needs_root()?;
            namespace::unshare_and_enter(offsets).step("entering")
        }
    }
}

/// The vDSO's clock_gettime; the image stays mapped.
pub fn vdso_clock_gettime() -> Result<ClockGettime, Why> {
    Vdso::find().step("the vDSO")?.clock_gettime().step("__vdso_clock_gettime")
}

/// Reads a clock both ways in turn for a while: no reading may be before the one before it.
pub fn never_steps_back(clock: &Clock, duration: i64) -> Outcome {
    let read = vdso_clock_gettime()?;
    let end = time::read_by_call(libc::CLOCK_REALTIME)? + duration;
    let mut last = time::read_by_call(clock.id)?;
    let mut way = "system call";
    loop {
        for _ in 0..20 {
            for (next_way, next) in
                [("vDSO", read_by_vdso(read, clock.id)?), ("system call", time::read_by_call(clock.id)?)]
            {
                holds(next >= last, || {
                    format!("{}: {last} by {way}, then {next} by {next_way}", clock.name)
                })?;
                (last, way) = (next, next_way);
            }
        }
        if time::read_by_call(libc::CLOCK_REALTIME)? > end {
            return Ok(());
        }
    }
}

pub fn cases(plan: &mut Plan) {
    for clock in measured_clocks() {
        plan.case(format!("{} gets its offset, by vDSO and by system call", clock.name), move || {
            needs_root()?;
            let base = Base::take()?;
            let before = time::read_by_call(clock.id)?;
            namespace::unshare_and_enter(FAR).step("entering")?;
            let inside = time::read_by_call(clock.id)?;
            within("moved by", inside - before - offset_of(clock, FAR), 0, SECOND)?;
            base.shifted_by(FAR)
        });
    }
    for (place, offsets) in PLACES {
        for clock in measured_clocks() {
            plan.case(format!("{place}, {}: vDSO and system call agree", clock.name), move || {
                enter(*offsets)?;
                never_steps_back(clock, ROUNDS_TIME)
            });
        }
    }
    for clock in CLOCKS.iter().filter(|clock| clock.path == Path::SystemCall) {
        plan.case(
            format!("{} gets its offset, or is EINVAL where there is no such clock", clock.name),
            move || {
                needs_root()?;
                let read = vdso_clock_gettime()?;
                let before = time::read_by_call(clock.id);
                namespace::unshare_and_enter(FAR).step("entering")?;
                let answers = (before, read_by_vdso(read, clock.id), time::read_by_call(clock.id));
                match answers {
                    (Err(Errno::EINVAL), Err(Errno::EINVAL), Err(Errno::EINVAL)) => Ok(()),
                    (Ok(before), Ok(by_vdso), Ok(by_call)) => {
                        let moved = by_vdso - before - offset_of(clock, FAR);
                        within("moved by", moved, 0, SECOND)?;
                        within("system call after vDSO", by_call - by_vdso, 0, SECOND)
                    }
                    other => failed(format!("readings before, by vDSO and by system call: {other:?}")),
                }
            },
        );
    }
    plan.case("another process's CPU clock (a negative id) is not shifted", || {
        needs_root()?;
        let clock = (!call!(libc::SYS_getpid)? as i32) << 3 | 2;
        let before = time::read_by_call(clock).step("its CPU clock")?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        let read = vdso_clock_gettime()?;
        within(
            "by system call",
            time::read_by_call(clock).step("its CPU clock inside")? - before,
            0,
            SECOND,
        )?;
        within("by vDSO", read_by_vdso(read, clock).step("its CPU clock by vDSO")? - before, 0, SECOND)
    });
    for id in UNUSED_IDS {
        plan.case(format!("id {id} is no clock: EINVAL both ways"), move || {
            refused("by system call", time::read_by_call(*id), Errno::EINVAL)?;
            refused("by vDSO", read_by_vdso(vdso_clock_gettime()?, *id), Errno::EINVAL)
        });
    }
    plan.case("ids 16 to 23, the auxiliary clocks: the same answer both ways", || {
        let read = vdso_clock_gettime()?;
        for id in 16..24 {
            let answers = (read_by_vdso(read, id), time::read_by_call(id));
            let same = match &answers {
                (Ok(by_vdso), Ok(by_call)) => (0..SECOND).contains(&(by_call - by_vdso)),
                (by_vdso, by_call) => by_vdso == by_call,
            };
            holds(same, || format!("id {id}: by vDSO and by system call {answers:?}"))?;
        }
        Ok(())
    });
    plan.case("gettimeofday and time are not shifted, by vDSO and by system call", || {
        needs_root()?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        let vdso = Vdso::find().step("the vDSO")?;
        let by_vdso = vdso.gettimeofday().step("__vdso_gettimeofday")?;
        let seconds_by_vdso = vdso.time().step("__vdso_time")?;
        let mut value = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let before = time::read_by_call(libc::CLOCK_REALTIME)?;
        equal("gettimeofday by vDSO", by_vdso(&mut value, std::ptr::null_mut()), 0)?;
        let first = value.tv_sec * SECOND + value.tv_usec * 1000;
        call!(libc::SYS_gettimeofday, &mut value, 0usize).step("gettimeofday")?;
        let second = value.tv_sec * SECOND + value.tv_usec * 1000;
        let after = time::read_by_call(libc::CLOCK_REALTIME)?;
        within("gettimeofday by vDSO", first, before - 1000, after)?;
        within("gettimeofday by system call", second, first, after)?;
        // time(2) is the second of the last tick: it may be a tick behind.
        let coarse = time::read_by_call(libc::CLOCK_REALTIME_COARSE)?;
        for (way, seconds) in [
            ("by vDSO", seconds_by_vdso(std::ptr::null_mut())),
            ("by system call", call!(libc::SYS_time, 0usize)? as i64),
        ] {
            within(&format!("time {way}"), seconds, coarse / SECOND, coarse / SECOND + 1)?;
        }
        Ok(())
    });
    plan.case("the timezone is the same inside and outside, by vDSO and by system call", || {
        needs_root()?;
        let by_vdso = Vdso::find().step("the vDSO")?.gettimeofday().step("__vdso_gettimeofday")?;
        let mut zones = [[-1i32; 2]; 4];
        let (outside, inside) = zones.split_at_mut(2);
        for pair in [outside, inside] {
            equal("gettimeofday(NULL, zone) by vDSO", by_vdso(std::ptr::null_mut(), &mut pair[0]), 0)?;
            call!(libc::SYS_gettimeofday, 0usize, &mut pair[1]).step("gettimeofday(NULL, zone)")?;
            namespace::unshare_and_enter(FAR).step("entering")?;
        }
        holds(zones.iter().all(|zone| *zone == zones[0]), || format!("zones {zones:?}"))
    });
}

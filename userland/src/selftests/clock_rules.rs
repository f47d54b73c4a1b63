//! What clocks answer besides the time: resolutions, bad pointers, and who may set what.

use super::support::{FAR, become_nobody, measured_clocks, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed, holds, on_gnomon, refused, within};
use crate::system::clocks::{CLOCKS, Path, UNUSED_IDS};
use crate::system::errno::Errno;
use crate::system::namespace;
use crate::system::process::{self, Status};
use crate::system::time::{self, MILLISECOND, SECOND};
use crate::system::vdso::{ClockGettime, Vdso};

/// 250, 100, 1000 and 300 ticks a second: what Linux can be built with. Gnomon has 250.
const TICKS: &[i64] = &[4_000_000, 10_000_000, 1_000_000, 3_333_333];

fn vdso_clock_getres() -> Result<ClockGettime, Why> {
    Vdso::find().step("the vDSO")?.clock_getres().step("__vdso_clock_getres")
}

fn resolution_by_vdso(clock: i32) -> Result<i64, Errno> {
    let read = vdso_clock_getres().map_err(|_| Errno::ENOSYS)?;
    crate::clocks::read_by_vdso(read, clock)
}

/// Both ways to read a resolution agree; gives it.
fn resolution(clock: i32) -> Result<Result<i64, Errno>, Why> {
    let by_call = time::resolution_by_call(clock);
    equal("resolution by vDSO and by system call", resolution_by_vdso(clock), by_call)?;
    Ok(by_call)
}

/// Runs `work` in a child, which must die of the signal.
fn dies_of(signal: i32, work: impl FnOnce()) -> Outcome {
    let status = process::run(|| {
        work();
        0
    })?;
    equal("how the process ended", status, Status::Killed(signal))
}

pub fn cases(plan: &mut Plan) {
    for clock in CLOCKS {
        plan.case(format!("resolution of {}, the same inside", clock.name), move || {
            let outside = resolution(clock.id)?;
            match (clock.path, outside) {
                (Path::Coarse, Ok(tick)) => {
                    let known = if on_gnomon() { &TICKS[..1] } else { TICKS };
                    holds(known.contains(&tick), || format!("a tick of {tick} ns"))?;
                }
                // Alarm clocks need a real-time clock that can wake the machine.
                (Path::SystemCall, Err(Errno::EINVAL)) if clock.name.ends_with("ALARM") => {}
                (_, answer) => equal("resolution", answer, Ok(1))?,
            }
            needs_root()?;
            namespace::unshare_and_enter(FAR).step("entering")?;
            equal("resolution inside", resolution(clock.id)?, outside)
        });
    }
    for id in UNUSED_IDS {
        plan.case(format!("id {id} has no resolution: EINVAL"), move || {
            refused("clock_getres", time::resolution_by_call(*id), Errno::EINVAL)?;
            refused("by vDSO", resolution_by_vdso(*id), Errno::EINVAL)
        });
    }
    plan.case("ids 16 to 23 without an auxiliary clock: EINVAL by system call", || {
        for id in 16..24 {
            // The vDSO of Linux 6.18 says 1 ns even so; both answers are seen in the wild.
            match (time::resolution_by_call(id), resolution_by_vdso(id)) {
                (Err(Errno::EINVAL), Ok(1) | Err(Errno::EINVAL)) | (Ok(1), Ok(1)) => {}
                other => return failed(format!("id {id}: {other:?}")),
            }
        }
        Ok(())
    });
    plan.case("clock_getres of a clock into NULL is 0, both ways", || {
        for clock in CLOCKS.iter().filter(|clock| time::resolution_by_call(clock.id).is_ok()) {
            call!(libc::SYS_clock_getres, clock.id, 0usize).step(clock.name)?;
            equal(clock.name, vdso_clock_getres()?(clock.id, std::ptr::null_mut()), 0)?;
        }
        Ok(())
    });
    plan.case("clock_gettime into NULL: EFAULT by system call", || {
        for clock in measured_clocks() {
            refused(clock.name, call!(libc::SYS_clock_gettime, clock.id, 0usize), Errno::EFAULT)?;
        }
        Ok(())
    });
    plan.case("clock_gettime into NULL by vDSO: SIGSEGV, as any bad pointer of one's own", || {
        let read = super::clock_shift::vdso_clock_gettime()?;
        for clock in measured_clocks() {
            dies_of(libc::SIGSEGV, || _ = read(clock.id, std::ptr::null_mut()))?;
        }
        Ok(())
    });
    plan.case("clock_gettime into NULL by vDSO of a clock it does not know: EFAULT from the kernel", || {
        let read = super::clock_shift::vdso_clock_gettime()?;
        for id in [libc::CLOCK_PROCESS_CPUTIME_ID, libc::CLOCK_THREAD_CPUTIME_ID] {
            equal("answer", read(id, std::ptr::null_mut()), -libc::EFAULT)?;
        }
        Ok(())
    });
    plan.case("vDSO functions return the error number negated, not -1", || {
        equal(
            "clock_gettime(10)",
            super::clock_shift::vdso_clock_gettime()?(10, &mut time::ZERO.clone()),
            -libc::EINVAL,
        )
    });
    for place in ["outside", "inside"] {
        plan.case(
            format!("{place}: clock_settime of MONOTONIC, RAW, BOOTTIME, TAI is EINVAL, as of no clock"),
            move || {
                needs_root()?;
                if place == "inside" {
                    namespace::unshare_and_enter(FAR).step("entering")?;
                }
                for id in [1, 4, 7, 11, 10, 24] {
                    let answer = call!(libc::SYS_clock_settime, id, &time::timespec(1000 * SECOND));
                    refused(&format!("clock_settime({id})"), answer, Errno::EINVAL)?;
                }
                Ok(())
            },
        );
        plan.case(format!("{place}: clock_adjtime of MONOTONIC and BOOTTIME is EOPNOTSUPP"), move || {
            needs_root()?;
            if place == "inside" {
                namespace::unshare_and_enter(FAR).step("entering")?;
            }
            for id in [1, 7] {
                // A timex of zeros asks for nothing to be changed.
                let timex = [0u64; 32];
                let answer = call!(libc::SYS_clock_adjtime, id, &timex);
                refused(&format!("clock_adjtime({id})"), answer, Errno::EOPNOTSUPP)?;
            }
            Ok(())
        });
    }
    setting(plan);
}

fn setting(plan: &mut Plan) {
    plan.case("clock_settime(REALTIME) by a user is EPERM, also with a bad time EINVAL first", || {
        become_nobody()?;
        let now = time::timespec(time::read_by_call(libc::CLOCK_REALTIME)?);
        refused("clock_settime", call!(libc::SYS_clock_settime, 0, &now), Errno::EPERM)?;
        let bad = libc::timespec { tv_sec: 0, tv_nsec: SECOND };
        refused("with a bad time", call!(libc::SYS_clock_settime, 0, &bad), Errno::EINVAL)
    });
    plan.case("clock_settime(REALTIME) refuses times that are none", || {
        needs_root()?;
        for (seconds, nanoseconds) in [(0, -1), (0, SECOND), (-1, 0), (i64::MAX, 0)] {
            let bad = libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let answer = call!(libc::SYS_clock_settime, 0, &bad);
            refused(&format!("{seconds} s {nanoseconds} ns"), answer, Errno::EINVAL)?;
        }
        Ok(())
    });
    plan.case("clock_settime(REALTIME) moves REALTIME and TAI, and no monotonic clock", || {
        needs_root()?;
        if !on_gnomon() {
            // Another machine's clock is not ours to move: there the time is set to what it is.
            return set_realtime_by(0);
        }
        set_realtime_by(1000 * SECOND)?;
        set_realtime_by(-1000 * SECOND)
    });
    plan.case("clock_settime in a namespace sets the one clock of all", || {
        needs_root()?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        set_realtime_by(0)
    });
    plan.case("adjtimex reads how the wall clock is kept; changing that takes CAP_SYS_TIME", || {
        needs_root()?;
        // SAFETY: a structure of integers.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        let state = call!(libc::SYS_adjtimex, &mut timex).step("adjtimex")?;
        holds(state <= 5, || format!("the clock's state is {state}"))?;
        within("microseconds in a tick", timex.tick, 9_000, 11_000)?;
        let realtime = time::read_by_call(libc::CLOCK_REALTIME)?;
        within("seconds since then", realtime / SECOND - timex.time.tv_sec, 0, 10)?;
        become_nobody()?;
        timex.modes = 0;
        call!(libc::SYS_adjtimex, &mut timex).step("reading as nobody")?;
        timex.modes = libc::ADJ_FREQUENCY;
        refused("adjusting as nobody", call!(libc::SYS_adjtimex, &mut timex), Errno::EPERM)?;
        refused("nowhere", call!(libc::SYS_adjtimex, 0usize), Errno::EFAULT)
    });
}

/// Moves the realtime clock and checks what else moved.
fn set_realtime_by(change: i64) -> Outcome {
    const WATCHED: [(i32, bool); 5] = [(0, true), (11, true), (1, false), (7, false), (4, false)];
    let mut before = [0; 5];
    for (slot, (id, _)) in WATCHED.iter().enumerate() {
        before[slot] = time::read_by_call(*id)?;
    }
    let now = time::timespec(time::read_by_call(libc::CLOCK_REALTIME)? + change);
    call!(libc::SYS_clock_settime, libc::CLOCK_REALTIME, &now).step("clock_settime")?;
    for (slot, (id, moves)) in WATCHED.iter().enumerate() {
        let moved = time::read_by_call(*id)? - before[slot] - if *moves { change } else { 0 };
        within(&format!("clock {id} moved by"), moved, -20 * MILLISECOND, SECOND)?;
    }
    let realtime = time::read_by_call(libc::CLOCK_REALTIME)?;
    let read = super::clock_shift::vdso_clock_gettime()?;
    let by_vdso = crate::clocks::read_by_vdso(read, libc::CLOCK_REALTIME)?;
    within("the vDSO's reading after it", by_vdso - realtime, 0, SECOND)
}

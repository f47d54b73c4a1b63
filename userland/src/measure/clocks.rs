//! What a reading of each clock costs, through the vDSO and by system call, outside and inside a time namespace.
//!
//! Lines `vdso:CLOCK` and `call:CLOCK`, and the same with `@namespace` behind them.

use super::{BATCHES, report, ticks};
use crate::call;
use crate::system::clocks::{CLOCKS, Path};
use crate::system::errno::Errno;
use crate::system::namespace::{self, Offsets};
use crate::system::process::{self, Status};
use crate::system::time::{SECOND, ZERO};
use crate::system::vdso::{ClockGettime, Vdso};
use std::hint::black_box;

const ROUNDS: u32 = 20_000;
/// Where a reading may be a trap.
const CALL_ROUNDS: u32 = 2_000;

/// The vDSO's clock_gettime. Errors: ENOSYS where there is none.
pub fn vdso_reader() -> Result<ClockGettime, Errno> {
    Vdso::find().and_then(|vdso| vdso.clock_gettime()).ok_or(Errno::ENOSYS)
}

/// All rows; those inside in a child.
pub(super) fn run(speed: u32) -> Result<(), Errno> {
    all(speed, "")?;
    let inside = process::run(|| {
        let entered =
            namespace::unshare_and_enter(Offsets { monotonic: 86_400 * SECOND, boottime: 604_800 * SECOND });
        match entered.and_then(|()| all(speed, "@namespace")) {
            Ok(()) => 0,
            Err(errno) => errno.0,
        }
    })?;
    match inside {
        Status::Exited(0) => Ok(()),
        Status::Exited(errno) => Err(Errno(errno)),
        _ => Err(Errno::EINTR),
    }
}

fn all(speed: u32, place: &str) -> Result<(), Errno> {
    let read = vdso_reader();
    for clock in CLOCKS.iter().filter(|clock| clock.path != Path::SystemCall) {
        let name = clock.name.trim_start_matches("CLOCK_");
        let mut time = ZERO;
        if let Ok(read) = read {
            one(&format!("vdso:{name}{place}"), ROUNDS / speed, || {
                black_box(read(clock.id, &mut time));
            });
        }
        one(&format!("call:{name}{place}"), CALL_ROUNDS / speed, || {
            let _ = black_box(call!(libc::SYS_clock_gettime, clock.id, &mut time));
        });
    }
    Ok(())
}

fn one(name: &str, rounds: u32, mut read: impl FnMut()) {
    let rounds = rounds.max(1);
    let mut batch = || {
        let before = ticks();
        for _ in 0..rounds {
            read();
        }
        (ticks() - before) as f64 / f64::from(rounds)
    };
    batch();
    report(name, "ticks", (0..BATCHES).map(|_| batch()).collect());
}

//! Adjusting the clocks without setting them, adjtimex(2): what is reported, what is refused, and that clocks really run
//! faster and slower, never back.
//!
//! Whatever is changed here is put back: on a development machine these are everybody's clocks.

use super::support::{become_nobody, may_move_the_clock, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Why, equal, holds, refused, within};
use crate::system::errno::Errno;
use crate::system::time::{self, MILLISECOND, SECOND};

/// `struct timex`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Timex {
    modes: u32,
    offset: i64,
    frequency: i64,
    maximum_error: i64,
    estimated_error: i64,
    status: i32,
    constant: i64,
    precision: i64,
    tolerance: i64,
    time: [i64; 2],
    tick: i64,
    pulse: [i64; 2],
    shift: i32,
    counts: [i64; 5],
    tai: i32,
    rest: [i32; 11],
}

const NOTHING: Timex = Timex {
    modes: 0,
    offset: 0,
    frequency: 0,
    maximum_error: 0,
    estimated_error: 0,
    status: 0,
    constant: 0,
    precision: 0,
    tolerance: 0,
    time: [0; 2],
    tick: 0,
    pulse: [0; 2],
    shift: 0,
    counts: [0; 5],
    tai: 0,
    rest: [0; 11],
};

const OFFSET: u32 = 0x0001;
const FREQUENCY: u32 = 0x0002;
const MAXIMUM_ERROR: u32 = 0x0004;
const ESTIMATED_ERROR: u32 = 0x0008;
const STATUS: u32 = 0x0010;
const TIME_CONSTANT: u32 = 0x0020;
const TAI: u32 = 0x0080;
const SET_OFFSET: u32 = 0x0100;
const MICRO: u32 = 0x1000;
const NANO: u32 = 0x2000;
const TICK: u32 = 0x4000;
const ADJTIME: u32 = 0x8001;
const ADJTIME_READ: u32 = 0xa001;

const PLL: i32 = 0x0001;
const UNSYNCHRONISED: i32 = 0x0040;
const FREQUENCY_HOLD: i32 = 0x0080;

/// What the call answers, and what it reports.
fn adjust(wanted: Timex) -> Result<(usize, Timex), Errno> {
    let mut timex = wanted;
    let answer = call!(libc::SYS_adjtimex, &mut timex)?;
    Ok((answer, timex))
}

fn report() -> Result<Timex, Errno> {
    adjust(NOTHING).map(|(_, timex)| timex)
}

/// Puts back what was, however the case ends.
struct Restore(Timex);

impl Restore {
    fn at_the_end() -> Result<Restore, Why> {
        needs_root()?;
        may_move_the_clock()?;
        Ok(Restore(report()?))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        let was = self.0;
        let nano = was.status & 0x2000 != 0;
        let _ = adjust(Timex { modes: ADJTIME, ..NOTHING });
        let _ = adjust(Timex { modes: STATUS, status: PLL, ..NOTHING });
        let _ = adjust(Timex { modes: OFFSET, ..NOTHING });
        let modes = FREQUENCY | MAXIMUM_ERROR | ESTIMATED_ERROR | TICK | STATUS | TAI;
        let _ = adjust(Timex { modes: TIME_CONSTANT | NANO, ..was });
        let _ =
            adjust(Timex { modes: modes | if nano { NANO } else { MICRO }, constant: was.tai.into(), ..was });
    }
}

/// By how many nanoseconds the monotonic clock gains on the raw one while `work` is done, which takes so many seconds.
fn gained(work: impl FnOnce() -> Outcome) -> Result<i64, Why> {
    let ahead = || -> Result<i64, Why> {
        // From the tightest of several looks.
        let mut best = (i64::MAX, 0);
        for _ in 0..20 {
            let before = time::read_by_call(libc::CLOCK_MONOTONIC)?;
            let raw = time::read_by_call(libc::CLOCK_MONOTONIC_RAW)?;
            let after = time::read_by_call(libc::CLOCK_MONOTONIC)?;
            best = best.min((after - before, before + (after - before) / 2 - raw));
        }
        Ok(best.1)
    };
    let before = ahead()?;
    work()?;
    Ok(ahead()? - before)
}

/// Watches the monotonic clock for so long: it never goes back.
fn watch(length: i64) -> Outcome {
    let read = super::clock_shift::vdso_clock_gettime()?;
    let end = time::read_by_call(libc::CLOCK_MONOTONIC)? + length;
    let mut last = 0;
    while last < end {
        let now = crate::clocks::read_by_vdso(read, libc::CLOCK_MONOTONIC)?;
        holds(now >= last, || format!("{now} after {last}"))?;
        last = now;
    }
    Ok(())
}

pub fn cases(plan: &mut Plan) {
    plan.case("anybody may read; what is constant is so", || {
        become_nobody()?;
        let (answer, now) = adjust(NOTHING)?;
        equal("precision and tolerance", (now.precision, now.tolerance), (1, 500 << 16))?;
        equal("answer", answer, if now.status & UNSYNCHRONISED != 0 { 5 } else { 0 })?;
        let unit = if now.status & 0x2000 != 0 { 1 } else { 1000 };
        let told = now.time[0] * SECOND + now.time[1] * unit;
        within("time", time::read_by_call(libc::CLOCK_REALTIME)? - told, 0, SECOND)?;
        let clock = call!(libc::SYS_clock_adjtime, libc::CLOCK_REALTIME, &mut NOTHING.clone());
        equal("clock_adjtime", clock, Ok(answer))?;
        let read = Timex { modes: ADJTIME_READ, ..NOTHING };
        equal("adjtime", adjust(read).map(|(answer, _)| answer), Ok(answer))
    });
    plan.case("changing anything takes CAP_SYS_TIME: EPERM", || {
        become_nobody()?;
        for modes in [OFFSET, FREQUENCY, STATUS, NANO, TICK, SET_OFFSET, ADJTIME, 0x40] {
            refused(&format!("{modes:#x}"), adjust(Timex { modes, tick: 1, ..NOTHING }), Errno::EPERM)?;
        }
        Ok(())
    });
    plan.case("EFAULT, then the clock: EINVAL for none, EOPNOTSUPP for others; then EINVAL for what is out of range", || {
        needs_root()?;
        for clock in [0, 1, 99] {
            refused("pointer", call!(libc::SYS_clock_adjtime, clock, 8usize), Errno::EFAULT)?;
        }
        for (clock, errno) in [(1, Errno::EOPNOTSUPP), (7, Errno::EOPNOTSUPP), (11, Errno::EOPNOTSUPP), (-6, Errno::EOPNOTSUPP), (10, Errno::EINVAL), (12, Errno::EINVAL)] {
            let mut timex = NOTHING;
            refused(&format!("clock {clock}"), call!(libc::SYS_clock_adjtime, clock, &mut timex), errno)?;
        }
        for (what, wanted) in [
            ("tick", Timex { modes: TICK, tick: 8_999, ..NOTHING }),
            ("tick", Timex { modes: TICK, tick: 11_001, ..NOTHING }),
            ("frequency", Timex { modes: FREQUENCY, frequency: 1 << 40, ..NOTHING }),
            ("frequency", Timex { modes: FREQUENCY, frequency: i64::MIN, ..NOTHING }),
            ("step", Timex { modes: SET_OFFSET, time: [0, -1], ..NOTHING }),
            ("step", Timex { modes: SET_OFFSET, time: [0, 1_000_000], ..NOTHING }),
            ("step", Timex { modes: SET_OFFSET | NANO, time: [0, SECOND], ..NOTHING }),
            ("adjtime without offset", Timex { modes: 0x8000, ..NOTHING }),
        ] {
            refused(what, adjust(wanted), Errno::EINVAL)?;
        }
        Ok(())
    });
    plan.case("what is set is reported, within its bounds", || {
        let _restore = Restore::at_the_end()?;
        let set = |wanted: Timex| adjust(wanted).map(|(_, timex)| timex);
        set(Timex { modes: STATUS | MICRO, ..NOTHING })?;
        for (asked, bounded) in [(1 << 36, 500 << 16), (-(1 << 36), -(500 << 16)), (-12_345, -12_345), (0, 0)]
        {
            let now = set(Timex { modes: FREQUENCY, frequency: asked, ..NOTHING })?;
            equal("frequency", now.frequency, bounded)?;
        }
        for (asked, bounded) in [(-5, 0), (99_999_999, 16_000_000), (1000, 1000)] {
            let now = set(Timex { modes: ESTIMATED_ERROR, estimated_error: asked, ..NOTHING })?;
            equal("estimated error", now.estimated_error, bounded)?;
        }
        set(Timex { modes: MAXIMUM_ERROR, maximum_error: 1000, ..NOTHING })?;
        time::sleep(1_100 * MILLISECOND);
        within("maximum error, which grows", report()?.maximum_error, 1500, 5000)?;
        for (asked, bounded) in [(3, 7), (30, 10), (-30, 4)] {
            let now = set(Timex { modes: TIME_CONSTANT, constant: asked, ..NOTHING })?;
            equal("time constant", now.constant, bounded)?;
        }
        let now = set(Timex { modes: TIME_CONSTANT | NANO, constant: 2, ..NOTHING })?;
        equal("time constant, in the nanosecond's reckoning", now.constant, 2)?;
        equal("tick", set(Timex { modes: TICK | MICRO, tick: 10_000, ..NOTHING })?.tick, 10_000)?;
        for (asked, kept) in [(37, 37), (-1, 37), (100_001, 37), (0, 0)] {
            equal("TAI", set(Timex { modes: TAI, constant: asked, ..NOTHING })?.tai, kept)?;
        }
        Ok(())
    });
    plan.case("TAI is ahead of the wall clock by what was set", || {
        let _restore = Restore::at_the_end()?;
        adjust(Timex { modes: TAI, constant: 37, ..NOTHING })?;
        let realtime = time::read_by_call(libc::CLOCK_REALTIME)?;
        within(
            "ahead",
            time::read_by_call(libc::CLOCK_TAI)? - realtime,
            37 * SECOND,
            37 * SECOND + SECOND / 10,
        )
    });
    plan.case("an offset counts only with STA_PLL, and is told in the unit of the state", || {
        let _restore = Restore::at_the_end()?;
        let set = |wanted: Timex| adjust(wanted).map(|(_, timex)| timex.offset);
        adjust(Timex { modes: STATUS | MICRO, ..NOTHING })?;
        equal("without", set(Timex { modes: OFFSET, offset: 1000, ..NOTHING }), Ok(0))?;
        adjust(Timex { modes: STATUS, status: PLL | FREQUENCY_HOLD, ..NOTHING })?;
        equal("with", set(Timex { modes: OFFSET, offset: 1000, ..NOTHING }), Ok(1000))?;
        equal("in nanoseconds", set(Timex { modes: NANO, ..NOTHING }), Ok(1_000_000))?;
        equal("in microseconds", set(Timex { modes: MICRO, ..NOTHING }), Ok(1000))?;
        equal(
            "at most half a second",
            set(Timex { modes: OFFSET, offset: 1 << 40, ..NOTHING }),
            Ok(500_000),
        )?;
        equal("none", set(Timex { modes: OFFSET, ..NOTHING }), Ok(0))
    });
    plan.case("a frequency makes the clock gain or lose, and never go back", || {
        let _restore = Restore::at_the_end()?;
        adjust(Timex { modes: FREQUENCY, frequency: 0, ..NOTHING })?;
        let plain = gained(|| watch(SECOND / 2))?;
        for (millionths, expected) in [(500, 250_000), (-500, -250_000)] {
            adjust(Timex { modes: FREQUENCY, frequency: millionths << 16, ..NOTHING })?;
            let more = gained(|| watch(SECOND / 2))? - plain;
            within(
                &format!("gained at {millionths} millionths"),
                more,
                expected - 25_000,
                expected + 25_000,
            )?;
        }
        Ok(())
    });
    plan.case("adjtime: an offset is worked off at 500 millionths, and what is left is told", || {
        let _restore = Restore::at_the_end()?;
        let plain = gained(|| watch(SECOND))?;
        adjust(Timex { modes: ADJTIME, offset: 700, ..NOTHING })?;
        let left = || adjust(Timex { modes: ADJTIME_READ, ..NOTHING }).map(|(_, timex)| timex.offset);
        within("left", left()?, 1, 700)?;
        let start = time::read_by_call(libc::CLOCK_MONOTONIC_RAW)?;
        let more = gained(|| {
            while left()? > 0 {
                time::sleep(50 * MILLISECOND);
            }
            // Linux takes a second's part off what is left before the second has passed.
            time::sleep(1_100 * MILLISECOND);
            Ok(())
        })?;
        let took = time::read_by_call(libc::CLOCK_MONOTONIC_RAW)? - start;
        let expected = 700_000 + plain * (took / MILLISECOND) / 1000;
        within("gained", more, expected - 30_000, expected + 30_000)?;
        within("it took", took, SECOND, 5 * SECOND)
    });
    plan.case(
        "ADJ_SETOFFSET sets the wall clock by so much, and says that nothing is known of its error",
        || {
            let _restore = Restore::at_the_end()?;
            let ahead = || -> Result<i64, Errno> {
                Ok(time::read_by_call(libc::CLOCK_REALTIME)? - time::read_by_call(libc::CLOCK_MONOTONIC)?)
            };
            let before = ahead()?;
            adjust(Timex { modes: SET_OFFSET | NANO, time: [0, 500_000_000], ..NOTHING })?;
            let step = ahead()? - before;
            let (answer, now) = adjust(Timex { modes: SET_OFFSET | MICRO, time: [-1, 500_000], ..NOTHING })?;
            within("step", step, 490 * MILLISECOND, 510 * MILLISECOND)?;
            within("back", ahead()? - before, -10 * MILLISECOND, 10 * MILLISECOND)?;
            equal("answer", answer, 5)?;
            equal("errors", (now.maximum_error, now.estimated_error), (16_000_000, 16_000_000))
        },
    );
}

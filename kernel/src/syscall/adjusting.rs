//! Adjusting the clocks without setting them: adjtimex(2), clock_adjtime(2).

use super::{Caller, clocks::must_be_adjustable};
use crate::{
    abi::{ClockId, Errno, NANOSECONDS_PER_SECOND, Result, Timespec, Timeval, UserPointer},
    ns::Capability,
    time::{
        self,
        adjustment::{Adjustment, MOST_FREQUENCY, Status, TICKS},
    },
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct timex`
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs, reason = "adjtimex(2) describes them")]
pub struct Timex {
    modes: u32,
    padding: u32,
    offset: i64,
    frequency: i64,
    maximum_error: i64,
    estimated_error: i64,
    status: u32,
    padding_2: u32,
    constant: i64,
    precision: i64,
    tolerance: i64,
    time: Timeval,
    tick: i64,
    pulse: [i64; 2],
    shift: i32,
    padding_3: i32,
    counts: [i64; 5],
    tai: i32,
    padding_4: [i32; 11],
}

const _: () = assert!(size_of::<Timex>() == 208);

bitflags::bitflags! {
    /// What is to be changed, `modes`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Modes: u32 {
        const OFFSET = 0x0001;
        const FREQUENCY = 0x0002;
        const MAXIMUM_ERROR = 0x0004;
        const ESTIMATED_ERROR = 0x0008;
        const STATUS = 0x0010;
        const TIME_CONSTANT = 0x0020;
        const TAI = 0x0080;
        const SET_OFFSET = 0x0100;
        const MICRO = 0x1000;
        const NANO = 0x2000;
        const TICK = 0x4000;
        /// Together with OFFSET: adjtime(3). Then NANO means only to read.
        const ADJTIME = 0x8000;
    }
}

/// The units of frequency in a whole one of what the loop counts in; a number beyond what 64 bits hold of those is refused.
const LARGEST_FREQUENCY: i64 = i64::MAX / 65_536_000;
/// CLOCK_TAI is ahead by so many seconds at most.
const MOST_TAI: i64 = 100_000;
/// `TIME_ERROR`: what is returned for a clock that is not synchronised.
const TIME_ERROR: usize = 5;

impl Timex {
    fn modes(&self) -> Modes {
        Modes::from_bits_retain(self.modes)
    }

    /// Errors: EINVAL; EPERM without CAP_SYS_TIME for whoever changes anything.
    fn check(&self, caller: &Caller<'_>) -> Result<()> {
        let modes = self.modes();
        let invalid = |rule| Err(Errno::EINVAL.because(rule));
        let by_adjtime = modes.contains(Modes::ADJTIME);
        if by_adjtime && !modes.contains(Modes::OFFSET) {
            return invalid("adjtime gives an offset");
        }
        let changes = if by_adjtime { !modes.contains(Modes::NANO) } else { !modes.is_empty() };
        if changes && !caller.credentials().capable_globally(Capability::SYS_TIME) {
            return Err(Errno::EPERM.because("adjusting the clocks takes CAP_SYS_TIME"));
        }
        if by_adjtime {
            return Ok(());
        }
        if modes.contains(Modes::TICK) && !TICKS.contains(&self.tick) {
            return invalid("a tick is 9 to 11 milliseconds");
        }
        if modes.contains(Modes::SET_OFFSET) && !(0..self.fractions()).contains(&self.time.microseconds) {
            return invalid("a step has a fraction of a second from 0 up");
        }
        if modes.contains(Modes::FREQUENCY) && self.frequency.unsigned_abs() > LARGEST_FREQUENCY as u64 {
            return invalid("no clock has that frequency");
        }
        Ok(())
    }

    /// How many of the units of `time` make a second.
    fn fractions(&self) -> i64 {
        if self.modes().contains(Modes::NANO) { NANOSECONDS_PER_SECOND as i64 } else { 1_000_000 }
    }

    /// By how much the wall clock is to be set, in nanoseconds.
    fn step(&self) -> i64 {
        let Timeval { seconds, microseconds } = self.time;
        let second = NANOSECONDS_PER_SECOND as i64;
        seconds.saturating_mul(second).saturating_add(microseconds * (second / self.fractions()))
    }

    /// Does what is wanted; answers what `offset` is to say.
    fn apply(&self, adjustment: &mut Adjustment) -> i64 {
        let modes = self.modes();
        if modes.contains(Modes::ADJTIME) {
            let before = adjustment.slew();
            if !modes.contains(Modes::NANO) {
                adjustment.set_slew(self.offset);
            }
            return before;
        }
        // In this order: what is set first decides what the rest means.
        type Step = fn(&mut Adjustment, &Timex);
        let steps: [(Modes, Step); 9] = [
            (Modes::STATUS, |adjustment, wanted| adjustment.set_status(wanted.status)),
            (Modes::NANO, |adjustment, _| adjustment.status.insert(Status::NANO)),
            (Modes::MICRO, |adjustment, _| adjustment.status.remove(Status::NANO)),
            (Modes::FREQUENCY, |adjustment, wanted| adjustment.set_frequency(wanted.frequency)),
            (Modes::MAXIMUM_ERROR, |adjustment, wanted| adjustment.set_maximum_error(wanted.maximum_error)),
            (Modes::ESTIMATED_ERROR, |adjustment, wanted| {
                adjustment.set_estimated_error(wanted.estimated_error);
            }),
            (Modes::TIME_CONSTANT, |adjustment, wanted| adjustment.set_constant(wanted.constant)),
            (Modes::OFFSET, |adjustment, wanted| {
                let is_nano = adjustment.status.contains(Status::NANO);
                adjustment.set_phase(if is_nano {
                    wanted.offset
                } else {
                    wanted.offset.saturating_mul(1000)
                });
            }),
            (Modes::TICK, |adjustment, wanted| adjustment.tick = wanted.tick),
        ];
        for (mode, step) in steps {
            if modes.contains(mode) {
                step(adjustment, self);
            }
        }
        adjustment.phase()
    }
}

/// adjtimex(2): clock_adjtime(2) for the wall clock.
pub fn adjtimex(caller: &mut Caller<'_>, timex: UserPointer<Timex>) -> Result<usize> {
    clock_adjtime(caller, ClockId::REALTIME, timex)
}

/// clock_adjtime(2). Returns 0 for a clock that is synchronised, else 5.
///
/// Errors, in this order: EFAULT; EINVAL for no clock, EOPNOTSUPP for one that cannot be adjusted; EINVAL, EPERM.
pub fn clock_adjtime(caller: &mut Caller<'_>, id: ClockId, timex: UserPointer<Timex>) -> Result<usize> {
    let wanted = caller.space.read(timex)?;
    must_be_adjustable(id)?;
    wanted.check(caller)?;
    let modes = wanted.modes();
    if !modes.contains(Modes::ADJTIME) {
        if modes.contains(Modes::SET_OFFSET) {
            time::timekeeper::step_realtime(wanted.step())?;
        }
        if modes.contains(Modes::TAI) && (0..=MOST_TAI).contains(&wanted.constant) {
            time::timekeeper::set_tai_offset(wanted.constant as u64);
        }
    }
    let (offset, now) = time::timekeeper::adjust(|adjustment| (wanted.apply(adjustment), adjustment.clone()));
    caller.space.write(timex, &report(wanted, offset, &now))?;
    Ok(if now.status.contains(Status::UNSYNCHRONISED) { TIME_ERROR } else { 0 })
}

/// What a program is told. `offset`: microseconds for adjtime(3), else nanoseconds.
fn report(wanted: Timex, offset: i64, now: &Adjustment) -> Timex {
    let in_nanoseconds = now.status.contains(Status::NANO);
    let is_phase = !wanted.modes().contains(Modes::ADJTIME);
    let (maximum_error, estimated_error) = now.errors();
    let Timespec { seconds, nanoseconds } = Timespec::from_nanoseconds(time::realtime_now());
    Timex {
        modes: wanted.modes,
        offset: if is_phase && !in_nanoseconds { offset / 1000 } else { offset },
        frequency: now.frequency,
        maximum_error,
        estimated_error,
        status: now.status.bits(),
        constant: now.constant,
        precision: 1,
        tolerance: MOST_FREQUENCY,
        time: Timeval {
            seconds,
            microseconds: if in_nanoseconds { nanoseconds } else { nanoseconds / 1000 },
        },
        tick: now.tick,
        tai: (time::tai_offset() / NANOSECONDS_PER_SECOND as i64) as i32,
        ..Timex::default()
    }
}

//! Adjusting the clocks, adjtimex(2): a program that knows better time than the machine has them run a little faster or
//! slower, for good or until an error is worked off.
//!
//! Everything here changes the speed and nothing else, so the monotonic clock never steps, and least of all back. The speed
//! is set anew every second, as in the algorithm of ntpd that the call was made for (RFC 5905, appendix A.5): from the
//! frequency and the length of the tick, which stay, and a share of each error that is being worked off. What is left of an
//! error is counted by the time that has really passed, so a second that lasted longer, in an idle machine, is no loss.
//!
//! Of that algorithm the loop that corrects a phase (STA_PLL) is here; the one for intervals of more than a quarter of an
//! hour (STA_FLL) and leap seconds are not.

use super::timekeeper::{self, Conversion};

const SECOND: i64 = timekeeper::SECOND as i64;
/// A nanosecond in the unit in which speeds and errors are kept: 2^16 of them.
const UNIT: i64 = 1 << 16;

bitflags::bitflags! {
    /// The clock's state, `status` of adjtimex(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "adjtimex(2) describes them")]
    pub struct Status: u32 {
        const PLL = 0x0001;
        const UNSYNCHRONISED = 0x0040;
        const FREQUENCY_HOLD = 0x0080;
        const NANO = 0x2000;
    }
}

impl Status {
    /// What a program may set; the rest it reads only.
    const SETTABLE: Self = Self::PLL.union(Self::UNSYNCHRONISED).union(Self::FREQUENCY_HOLD);
}

/// How the clocks are being adjusted.
#[derive(Clone, Debug)]
pub struct Adjustment {
    /// By how much faster they are to run for good, in millionths shifted left by 16.
    pub frequency: i64,
    /// Microseconds that a hundredth of a second takes to count: 10 000, or a tenth less or more.
    pub tick: i64,
    /// What a phase error is corrected by: the larger, the more slowly.
    pub constant: i64,
    /// Its state.
    pub status: Status,
    /// Microseconds by which the wall clock may be wrong at most, as long as nobody looks after it growing with time.
    maximum_error: i64,
    /// The same as somebody estimates it.
    estimated_error: i64,
    /// The phase error that is being corrected, in units.
    phase: i64,
    /// What adjtime(3) asked for and is left of it, in units.
    slew: i64,
    /// The two shares of this second, in units: by so much faster the clocks run now.
    phase_share: i64,
    slew_share: i64,
    /// Nanoseconds of this second that have passed.
    passed: i64,
    /// Nanoseconds since a phase error was last told.
    since_phase: i64,
    /// By how much the clocks are ahead of where they would be, in units.
    gained: i64,
}

/// Largest frequency: 500 millionths.
pub const MOST_FREQUENCY: i64 = 500 << 16;
/// Nanoseconds of a slew that are worked off in a second: 500 millionths.
const SLEW_RATE: i64 = 500_000;
/// Nanoseconds of phase error that are believed at most.
const MOST_PHASE: i64 = 500_000_000;
/// Microseconds of error at which the clock counts as not synchronised.
const MOST_ERROR: i64 = 16_000_000;
/// Microseconds by which the error grows in a second.
const ERROR_GROWTH: i64 = 500;
const MOST_CONSTANT: i64 = 10;
/// Microseconds of a tick that is no adjustment.
const PLAIN_TICK: i64 = 10_000;
/// How far a tick may be from that.
pub const TICKS: core::ops::RangeInclusive<i64> = 9_000..=11_000;
/// A phase error is worked off by a share of 2^-(this + `constant`) in a second.
const PHASE_SHIFT: u32 = 2;

impl Default for Adjustment {
    fn default() -> Self {
        Self {
            frequency: 0,
            tick: PLAIN_TICK,
            constant: 2,
            status: Status::UNSYNCHRONISED,
            maximum_error: MOST_ERROR,
            estimated_error: MOST_ERROR,
            phase: 0,
            slew: 0,
            phase_share: 0,
            slew_share: 0,
            passed: 0,
            since_phase: 0,
            gained: 0,
        }
    }
}

impl Adjustment {
    /// By how much faster the clocks are to run now: units in a second.
    fn speed(&self) -> i64 {
        const TICKS_IN_A_SECOND: i64 = 100;
        let of_tick = (self.tick - PLAIN_TICK) * TICKS_IN_A_SECOND * 1000 * UNIT;
        // A millionth is a thousand nanoseconds in a second.
        self.frequency * 1000 + of_tick + self.phase_share + self.slew_share
    }

    /// The conversion to use instead of the plain one.
    pub fn applied(&self, plain: Conversion) -> Conversion {
        let more = i128::from(plain.mult) * i128::from(self.speed()) / i128::from(SECOND * UNIT);
        let mult = (i128::from(plain.mult) + more).clamp(0, i128::from(u32::MAX));
        Conversion { mult: mult as u32, ..plain }
    }

    /// By how many nanoseconds the clocks are ahead of where they would be.
    pub fn gained(&self) -> i64 {
        self.gained / UNIT
    }

    /// So much time has passed, in nanoseconds: counts what has been worked off, and begins another second if it is time,
    /// which is told.
    pub fn pass(&mut self, nanoseconds: i64) -> bool {
        let part = |speed: i64| (i128::from(speed) * i128::from(nanoseconds) / i128::from(SECOND)) as i64;
        self.gained = self.gained.saturating_add(part(self.speed()));
        self.phase -= part(self.phase_share);
        self.slew -= part(self.slew_share);
        self.since_phase = self.since_phase.saturating_add(nanoseconds);
        self.passed = self.passed.saturating_add(nanoseconds);
        if self.passed < SECOND {
            return false;
        }
        self.maximum_error = self.maximum_error.saturating_add(self.passed / SECOND * ERROR_GROWTH);
        if self.maximum_error >= MOST_ERROR {
            self.maximum_error = MOST_ERROR;
            self.status |= Status::UNSYNCHRONISED;
        }
        self.passed %= SECOND;
        (self.phase_share, self.slew_share) = self.next_shares();
        true
    }

    /// What is to be worked off of either error in the next second.
    fn next_shares(&self) -> (i64, i64) {
        let of_phase = self.phase / (1 << (PHASE_SHIFT + self.constant as u32));
        (of_phase, self.slew.clamp(-SLEW_RATE * UNIT, SLEW_RATE * UNIT))
    }

    /// Nanoseconds until the speed has to be looked at again; `None` while it stays as it is.
    pub fn next_look(&self) -> Option<i64> {
        let changes = (self.phase_share, self.slew_share) != (0, 0) || self.next_shares() != (0, 0);
        changes.then_some(SECOND - self.passed)
    }

    /// What adjtime(3) asked for and is left of it, in microseconds.
    pub fn slew(&self) -> i64 {
        self.slew / UNIT / 1000
    }

    /// Has so many microseconds worked off from the next second on, instead of what is left.
    pub fn set_slew(&mut self, microseconds: i64) {
        // More than years could work off.
        const MOST: i64 = 1 << 36;
        self.slew = microseconds.clamp(-MOST, MOST) * 1000 * UNIT;
    }

    /// The phase error that is left, in nanoseconds.
    pub fn phase(&self) -> i64 {
        self.phase / UNIT
    }

    /// Tells a phase error, in nanoseconds: it is worked off, and what it says of the frequency is taken over.
    /// Without [`Status::PLL`] it is of no account.
    pub fn set_phase(&mut self, nanoseconds: i64) {
        if !self.status.contains(Status::PLL) {
            return;
        }
        let phase = nanoseconds.clamp(-MOST_PHASE, MOST_PHASE);
        let longest = 1 << (PHASE_SHIFT + 1 + self.constant as u32);
        let seconds = (self.since_phase / SECOND).min(longest);
        self.since_phase = 0;
        if !self.status.contains(Status::FREQUENCY_HOLD) {
            let weakened = 2 * (PHASE_SHIFT + 2 + self.constant as u32);
            let change = (i128::from(phase) * i128::from(seconds) * i128::from(UNIT)) >> weakened;
            self.set_frequency(self.frequency + (change / 1000) as i64);
        }
        self.phase = phase * UNIT;
    }

    /// Sets the frequency, within its bounds.
    pub fn set_frequency(&mut self, frequency: i64) {
        self.frequency = frequency.clamp(-MOST_FREQUENCY, MOST_FREQUENCY);
    }

    /// Sets the time constant, within its bounds.
    pub fn set_constant(&mut self, constant: i64) {
        // In microseconds it is counted from another zero.
        let shift = if self.status.contains(Status::NANO) { 0 } else { 4 };
        self.constant = constant.clamp(0, MOST_CONSTANT).saturating_add(shift).min(MOST_CONSTANT);
    }

    /// Sets what may be set of the state.
    pub fn set_status(&mut self, status: u32) {
        let status = Status::from_bits_truncate(status) & Status::SETTABLE;
        match (self.status.contains(Status::PLL), status.contains(Status::PLL)) {
            (false, true) => self.since_phase = 0,
            (true, false) => self.phase = 0,
            _ => {}
        }
        self.status = (self.status & Status::NANO) | status;
    }

    /// The largest and the estimated error of the wall clock, in microseconds.
    pub fn errors(&self) -> (i64, i64) {
        (self.maximum_error, self.estimated_error)
    }

    /// Says how large the error is at most.
    pub fn set_maximum_error(&mut self, microseconds: i64) {
        self.maximum_error = microseconds.clamp(0, MOST_ERROR);
    }

    /// Says how large the error is taken to be.
    pub fn set_estimated_error(&mut self, microseconds: i64) {
        self.estimated_error = microseconds.clamp(0, MOST_ERROR);
    }

    /// The wall clock was set: what was known of its error says nothing any more.
    pub fn forget_errors(&mut self) {
        (self.maximum_error, self.estimated_error) = (MOST_ERROR, MOST_ERROR);
        (self.phase, self.slew, self.phase_share, self.slew_share) = (0, 0, 0, 0);
        self.status |= Status::UNSYNCHRONISED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a clock of a thousand million cycles a second shows after so many steps of so many cycles.
    fn run(adjustment: &mut Adjustment, steps: u32, cycles: u64) -> i64 {
        let plain = Conversion::for_frequency(SECOND as u64, 2);
        let mut shown = 0u128;
        for _ in 0..steps {
            let by = adjustment.applied(plain).shifted(cycles);
            let before = shown >> plain.shift;
            shown += by;
            adjustment.pass(((shown >> plain.shift) - before) as i64);
        }
        (shown >> plain.shift) as i64
    }

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn a_frequency_stays() {
        let mut adjustment = Adjustment::default();
        adjustment.set_frequency(100 << 16);
        let shown = run(&mut adjustment, 10_000, MILLISECOND);
        assert!((shown - 10 * SECOND - 1_000_000).abs() < 100, "{shown}");
        assert!((adjustment.gained() - 1_000_000).abs() < 1000, "{}", adjustment.gained());
        adjustment.set_frequency(i64::MAX);
        assert_eq!(adjustment.frequency, MOST_FREQUENCY);
    }

    #[test]
    fn a_slew_is_worked_off_and_ends() {
        for (step, count) in [(MILLISECOND, 10_000), (137 * MILLISECOND, 100), (1_500 * MILLISECOND, 20)] {
            let mut adjustment = Adjustment::default();
            adjustment.set_slew(1_200);
            assert_eq!((adjustment.slew(), adjustment.next_look().is_some()), (1_200, true));
            let shown = run(&mut adjustment, count, step);
            let gained = shown - (u64::from(count) * step) as i64;
            assert!((gained - 1_200_000).abs() < 20_000, "{gained} by steps of {step}");
            assert!(adjustment.slew().abs() < 20);
        }
    }

    #[test]
    fn a_phase_error_is_worked_off_more_and_more_slowly() {
        let mut adjustment = Adjustment::default();
        adjustment.set_phase(1_000_000);
        assert_eq!(adjustment.phase(), 0, "without the loop it is of no account");
        adjustment.set_status(Status::PLL.bits());
        adjustment.set_constant(0);
        adjustment.set_phase(1_000_000);
        let mut last = adjustment.phase();
        for _ in 0..20 {
            run(&mut adjustment, 4_000, MILLISECOND);
            assert!(adjustment.phase() < last && adjustment.phase() >= 0);
            last = adjustment.phase();
        }
        assert!(last < 400_000, "{last}");
    }

    #[test]
    fn an_error_that_nobody_looks_after_grows() {
        let mut adjustment = Adjustment::default();
        adjustment.set_status(0);
        adjustment.set_maximum_error(1_000);
        run(&mut adjustment, 10, 1_000 * MILLISECOND);
        assert_eq!(adjustment.errors().0, 6_000);
        assert!(!adjustment.status.contains(Status::UNSYNCHRONISED));
        adjustment.set_maximum_error(i64::MAX);
        run(&mut adjustment, 1, 1_000 * MILLISECOND);
        assert!(adjustment.status.contains(Status::UNSYNCHRONISED));
    }

    proptest! {
        #[test]
        fn time_never_steps_back(
            frequency: i64, slew: i64, phase: i64, tick in TICKS, steps in prop::collection::vec(1u64..1 << 33, 1..40),
        ) {
            let mut adjustment = Adjustment { tick, status: Status::PLL, ..Adjustment::default() };
            adjustment.set_frequency(frequency);
            adjustment.set_slew(slew);
            adjustment.set_phase(phase);
            for step in steps {
                let shown = run(&mut adjustment, 1, step) as i128;
                let least = i128::from(step) * 70 / 100 - 1;
                prop_assert!(shown >= least && shown <= i128::from(step) * 130 / 100 + 1, "{} cycles show {}", step, shown);
            }
        }
    }
}

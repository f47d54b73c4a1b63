//! Following a better clock: how fast the clocks are to run so that they come to show what the reference shows.
//!
//! A counter's frequency is known to some millionths at best, and the host of a virtual machine or of a process steers its own
//! clock besides. So at each tick the machine is asked for a [`Reference`], and two things are made of it:
//! * the *rate*, nanoseconds of the reference in a cycle of the counter, over the last second or two: a longer window
//!   averages the error of a single look away, a shorter one would follow the host's steering sooner;
//! * the *error*, how far our monotonic clock is behind. It is worked off by running that much faster or slower for a second.
//!   Time is never set, so it never goes backward, and nobody sees a step.
//!
//! Seen from a distance this is what ntpd does with a computer's clock, or gVisor with its sandbox's.

use super::timekeeper::{Base, Conversion, SECOND};
use crate::arch::Reference;

/// The window over which the rate is measured is one to two of these, in nanoseconds; in the beginning what there is.
const WINDOW: u64 = SECOND;
/// Time in which an error is to be worked off, in nanoseconds.
const HORIZON: i128 = SECOND as i128;
/// The rate differs from the nominal one by a 256th at most, whatever the reference says. A counter measured by the way
/// is wrong by millionths; what is further off is a reference that jumped.
const LARGEST_CORRECTION: u32 = 256;

/// What is remembered of the reference.
#[derive(Clone, Debug)]
pub struct Steering {
    /// Where our monotonic clock showed zero.
    origin: u64,
    /// The two ends of windows: the rate is measured from the older one.
    older: Reference,
    newer: Reference,
    /// How far the reference's wall clock was ahead when last seen.
    wall_clock_ahead: i64,
}

impl Steering {
    /// From a moment at which the monotonic clock shows zero.
    pub fn new(reference: Reference) -> Self {
        Self {
            origin: reference.monotonic,
            older: reference,
            newer: reference,
            wall_clock_ahead: reference.wall_clock_ahead,
        }
    }

    /// The conversion to use from the counter value of `reference` on, at which our monotonic clock shows `monotonic` and
    /// is to show `gained` nanoseconds more than the reference.
    /// `nominal` is the conversion as if nothing were known but the frequency.
    pub fn follow(
        &mut self,
        reference: Reference,
        monotonic: Base,
        gained: i64,
        nominal: Conversion,
    ) -> Option<Conversion> {
        let cycles = reference.cycles.checked_sub(self.older.cycles).filter(|cycles| *cycles != 0)?;
        let passed = reference.monotonic.checked_sub(self.older.monotonic)?;
        let shown = (i128::from(monotonic.seconds * SECOND) << nominal.shift) + i128::from(monotonic.shifted);
        let wanted = i128::from(reference.monotonic) - i128::from(self.origin) + i128::from(gained);
        let error = (wanted << nominal.shift) - shown;
        // In one second by the reference, our clock is to advance by a second and the error.
        let advance = (HORIZON << nominal.shift) + error;
        let rate = i128::from(passed) * advance / HORIZON / i128::from(cycles);
        let nominal_rate = i128::from(nominal.mult);
        let most = nominal_rate / i128::from(LARGEST_CORRECTION);
        let rate = rate.clamp(nominal_rate - most, nominal_rate + most);
        if reference.monotonic.saturating_sub(self.newer.monotonic) >= WINDOW {
            (self.older, self.newer) = (self.newer, reference);
        }
        Some(Conversion { mult: u32::try_from(rate).ok()?, ..nominal })
    }

    /// By how much somebody has set the reference's wall clock since it was last seen, in nanoseconds; `None` if nobody did.
    pub fn wall_clock_step(&mut self, reference: Reference) -> Option<i64> {
        let step = reference.wall_clock_ahead - self.wall_clock_ahead;
        if step.unsigned_abs() <= Reference::EXACT {
            return None;
        }
        self.wall_clock_ahead = reference.wall_clock_ahead;
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::super::timekeeper::Timekeeper;
    use super::*;

    const TRUE_FREQUENCY: u64 = 2_596_000_000;
    const TICK: u64 = 4_000_000;

    /// The reference at a moment, read with an error.
    fn at(nanoseconds: u64, error: i64) -> Reference {
        let cycles = (u128::from(nanoseconds) * u128::from(TRUE_FREQUENCY) / u128::from(SECOND)) as u64;
        let monotonic = (77 * SECOND + nanoseconds).saturating_add_signed(error);
        Reference { cycles: 5_000 + cycles, monotonic, wall_clock_ahead: 1000 }
    }

    /// How far the clock is ahead after each tick, for a counter believed to run at `frequency`; readings are wrong by up to
    /// 20 ns. Fails if it ever goes backward.
    fn errors(frequency: u64, ticks: u64) -> Vec<i64> {
        let mut keeper = Timekeeper::new(frequency, at(0, 0).cycles, 0, true);
        keeper.follow_from(at(0, 0));
        let mut last = 0;
        let mut noise: u32 = 1;
        (1..=ticks)
            .map(|tick| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let error = i64::from(noise >> 16) * 40 / 65_536 - 20;
                keeper.follow(at(tick * TICK, error));
                let shown = keeper.monotonic_nanoseconds();
                assert!(shown > last, "backward at tick {tick}");
                last = shown;
                shown - (tick * TICK) as i64
            })
            .collect()
    }

    #[test]
    fn a_wrong_frequency_is_found_out() {
        for wrong in [-500_000_i64, -26_000, 0, 26_000, 500_000] {
            let errors = errors(TRUE_FREQUENCY.saturating_add_signed(wrong), 2500);
            let worst = |errors: &[i64]| errors.iter().map(|error| error.unsigned_abs()).max().unwrap();
            // 193 millionths make 770 ns until the first look.
            assert!(worst(&errors) < 1000, "wrong by {wrong}: {}", worst(&errors));
            assert!(worst(&errors[1250..]) < 60, "wrong by {wrong}: {}", worst(&errors[1250..]));
        }
    }

    #[test]
    fn an_adjustment_is_felt_at_once() {
        let mut keeper = Timekeeper::new(TRUE_FREQUENCY, at(0, 0).cycles, 0, true);
        keeper.follow_from(at(0, 0));
        for tick in 1..=500 {
            keeper.follow(at(tick * TICK, 0));
        }
        // 500 millionths faster.
        keeper.adjustment.set_frequency(500 << 16);
        for tick in 501..=626 {
            keeper.follow(at(tick * TICK, 0));
        }
        let gained = keeper.monotonic_nanoseconds() - 626 * TICK as i64;
        assert!((240_000..=255_000).contains(&gained), "{gained} ns in half a second");
    }

    #[test]
    fn a_reference_that_jumps_is_followed_slowly() {
        let mut keeper = Timekeeper::new(TRUE_FREQUENCY, at(0, 0).cycles, 0, true);
        keeper.follow_from(at(0, 0));
        for (tick, jump) in [(1, 0), (2, SECOND as i64), (3, -(SECOND as i64)), (4, 0)] {
            keeper.follow(at(SECOND + tick * TICK, jump));
        }
        let shown = keeper.monotonic_nanoseconds();
        let expected = (SECOND + 4 * TICK) as i64;
        assert!((shown - expected).abs() < (SECOND / 100) as i64, "{shown} for {expected}");
    }

    #[test]
    fn a_wall_clock_that_is_set_is_followed_at_once() {
        let mut steering = Steering::new(at(0, 0));
        assert_eq!(steering.wall_clock_step(at(TICK, 0)), None);
        let later = |ahead| Reference { wall_clock_ahead: ahead, ..at(2 * TICK, 0) };
        assert_eq!(steering.wall_clock_step(later(21_500)), Some(20_500));
        assert_eq!(steering.wall_clock_step(later(21_400)), None, "only read differently");
        assert_eq!(steering.wall_clock_step(later(-3_600_000_000_000)), Some(-3_600_000_021_500));
    }
}

//! From cycles to nanoseconds: multiply and shift, and what to do when the product does not fit.
//!
//! A division by the frequency would be exact and slow. Instead the kernel chooses `mult` and `shift` once so that
//! `cycles * mult >> shift` are nanoseconds. The sum is made before the shift: the base time keeps `shift` bits of
//! fraction, so a million updates lose nothing. The product of 64-bit numbers has up to 96 bits; as long as no more than
//! `max_cycles` have passed since the last update, 64 are enough, and that is always so while the tick is alive.

use core::hint::cold_path;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// Cycles to nanoseconds for one counter: `cycles * mult >> shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Shifted nanoseconds in a cycle. Zero: the clock stands still between updates.
    pub mult: u32,
    /// Right shift, 0 to 32.
    pub shift: u32,
}

impl Conversion {
    /// The most precise conversion for a counter of `hertz` (not 0) for which `seconds` worth of cycles, on top of
    /// a base of up to a second, do not overflow 64 bits.
    ///
    /// Precision and span are bought from the same 64 bits: every bit of `shift` halves the error of the rounded
    /// `mult` (at most 1/(2 `mult`)) and halves the span.
    pub const fn for_frequency(hertz: u64, seconds: u64) -> Conversion {
        let mut shift = 32;
        loop {
            let mult = (((SECOND as u128) << shift) + hertz as u128 / 2) / hertz as u128;
            if mult <= u32::MAX as u128 {
                let conversion = Conversion { mult: mult as u32, shift };
                let span = hertz as u128 * seconds as u128;
                if shift == 0 || conversion.max_cycles() as u128 >= span {
                    return conversion;
                }
            } else if shift == 0 {
                return Conversion { mult: u32::MAX, shift };
            }
            shift -= 1;
        }
    }

    /// The largest number of cycles whose product, added to a base of up to a second, fits in 64 bits.
    pub const fn max_cycles(self) -> u64 {
        match (u64::MAX - 2 * (SECOND << self.shift)).checked_div(self.mult as u64) {
            Some(cycles) => cycles,
            None => u64::MAX,
        }
    }

    /// Shifted nanoseconds in so many cycles; exact, in 128 bits.
    pub const fn shifted(self, cycles: u64) -> u128 {
        cycles as u128 * self.mult as u128
    }
}

/// Nanoseconds, `delta` cycles after the moment at which they were `base`, for a `delta` up to `max_cycles`.
#[inline(always)]
pub fn nanoseconds(delta: u64, mult: u32, base: u64, shift: u32) -> u64 {
    plain(delta.wrapping_mul(mult.into()).wrapping_add(base), shift)
}

/// The same for any `delta`: the product takes its 96 bits.
#[inline(always)]
pub fn nanoseconds_wide(delta: u64, mult: u32, base: u64, shift: u32) -> u64 {
    ((u128::from(delta) * u128::from(mult) + u128::from(base)) >> (shift & 63)) as u64
}

/// Shifted nanoseconds to nanoseconds.
#[inline(always)]
pub fn plain(shifted: u64, shift: u32) -> u64 {
    shifted >> (shift & 63)
}

/// Whether a `delta`, counter - `cycle_last` modulo 2^64, beyond `max_cycles` is a small negative number.
///
/// This processor's counter is then a little behind the one that made the update.
#[inline(always)]
pub fn is_behind(delta: u64) -> bool {
    delta.cast_signed() < 0
}

/// Moves whole seconds from `nanoseconds` into `seconds`.
///
/// Nearly always there is none or one to move, so the common path is a comparison. Beyond it a division by a constant,
/// which is a multiplication: its cost does not depend on the number, where subtracting second after second
/// would take years for a number that a broken writer has put on the page.
#[inline(always)]
pub fn carry(seconds: u64, nanoseconds: u64) -> (u64, u64) {
    if nanoseconds < SECOND {
        return (seconds, nanoseconds);
    }
    cold_path();
    (seconds.wrapping_add(nanoseconds / SECOND), nanoseconds % SECOND)
}

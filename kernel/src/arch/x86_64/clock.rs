//! The cycle counter and the alarm.
//!
//! Time is read from the processor's time stamp counter, which programs may read too. The alarm is the local APIC's timer,
//! which has a clock of its own, so it may go off a little early by the counter's reckoning (two oscillators, or a host
//! that steers one of them), and it counts only 32 bits. The counter has the last word: a timer interrupt before the
//! deadline starts the timer again for the rest.

use super::calibration::{self, Rates};
use super::{apic, cpu, features};
use crate::arch::CycleCounter;
use core::arch::asm;

/// A factor between two clocks, as a fixed-point number with 32 bits behind the point, rounded up.
#[derive(Clone, Copy)]
struct Ratio(u64);

impl Ratio {
    /// From a clock of the frequency `from` to one of the frequency `to`.
    fn new(from: u64, to: u64) -> Self {
        Self(u64::try_from((u128::from(to) << 32).div_ceil(u128::from(from))).unwrap_or(u64::MAX))
    }

    /// `ticks` in the other clock's, rounded up, at least one.
    fn apply(self, ticks: u64) -> u64 {
        u64::try_from((u128::from(ticks) * u128::from(self.0)) >> 32).unwrap_or(u64::MAX).saturating_add(1)
    }
}

struct Clock {
    rates: Rates,
    nanoseconds_to_counter: Ratio,
    counter_to_timer: Ratio,
}

static CLOCK: spin::Once<Clock> = spin::Once::new();

fn clock() -> &'static Clock {
    CLOCK.get().expect("the clocks are measured at boot")
}

/// Measures both clocks.
pub fn initialize(machine: &super::acpi::Machine) -> Rates {
    let clock = CLOCK.call_once(|| {
        let rates = calibration::measure(machine);
        Clock {
            rates,
            nanoseconds_to_counter: Ratio::new(1_000_000_000, rates.counter),
            counter_to_timer: Ratio::new(rates.counter, rates.timer),
        }
    });
    clock.rates
}

/// What was measured.
pub fn counter() -> CycleCounter {
    let rates = &clock().rates;
    let user_readable = rates.source != calibration::Source::Guess && features::get().steady_counter;
    CycleCounter { frequency: rates.counter, user_readable }
}

/// The counter. LFENCE waits for all loads before it, so the counter is not read early; the VVAR page's readers rely on
/// the same.
#[inline(always)]
pub fn cycles() -> u64 {
    // The instruction clears the upper halves.
    let (low, high): (u64, u64);
    // SAFETY: reading the counter has no effects. Not `nomem`: the compiler must not move it across memory accesses.
    unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) };
    high << 32 | low
}

/// Sets the alarm, or takes it back.
pub fn set_alarm(nanoseconds: Option<u64>) {
    let alarm = &cpu::current().alarm;
    match nanoseconds {
        None => {
            alarm.set(u64::MAX);
            apic::start_timer(0);
        }
        Some(nanoseconds) => {
            let ticks = clock().nanoseconds_to_counter.apply(nanoseconds);
            alarm.set(cycles().saturating_add(ticks));
            start_timer(ticks);
        }
    }
}

/// Starts the timer for this many ticks of the counter, or as many as it can count.
fn start_timer(ticks: u64) {
    let ticks = clock().counter_to_timer.apply(ticks);
    apic::start_timer(u32::try_from(ticks).unwrap_or(u32::MAX));
}

/// After a timer interrupt: whether the deadline has passed. If not, the timer goes on.
pub fn alarm_is_due() -> bool {
    let alarm = &cpu::current().alarm;
    let left = alarm.get().saturating_sub(cycles());
    if alarm.get() == u64::MAX {
        false // Taken back in the last moment.
    } else if left == 0 {
        alarm.set(u64::MAX);
        true
    } else {
        start_timer(left);
        false
    }
}

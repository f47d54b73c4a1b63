//! The arithmetic of a clock read, against the same in numbers that cannot overflow.
#![cfg(not(loom))]

mod machine;

use gnomon_vdso::clocks::{Class, Clock};
use gnomon_vdso::cycles::{Conversion, SECOND, carry, is_behind, nanoseconds, nanoseconds_wide};
use gnomon_vdso::page::{MODE_NONE, MODE_TSC, TimeData};
use gnomon_vdso::read::read;
use gnomon_vdso::write::Counter;
use machine::{ANSWER, Task};
use proptest::prelude::*;

fn conversions() -> impl Strategy<Value = Conversion> {
    (any::<u32>(), 0u32..=32).prop_map(|(mult, shift)| Conversion { mult, shift })
}

fn clocks() -> impl Strategy<Value = Clock> {
    prop::sample::select(Clock::ALL.to_vec())
}

/// Numbers of every size: uniform ones would nearly all be huge.
fn cycles() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0u32..64).prop_map(|(number, size)| number >> size)
}

/// A nanosecond less than so many seconds, exactly, or one more.
fn whole_seconds_nearly() -> impl Strategy<Value = u64> {
    (1..u64::MAX / SECOND, 0..=2u64).prop_map(|(seconds, near)| seconds * SECOND - 1 + near)
}

/// Pages whose system's page shows every clock at the same base.
fn pages(
    conversion: Conversion,
    cycle_last: u64,
    seconds: u64,
    fraction: u64,
    system: usize,
) -> [TimeData; 2] {
    let pages = [TimeData::new(), TimeData::new()];
    pages[system].update(|update| {
        for class in [Class::HighResolution, Class::Raw] {
            update.counter(class, &Counter::new(MODE_TSC, cycle_last, conversion));
        }
        for clock in Clock::ALL {
            update.base(clock, seconds, fraction);
        }
    });
    pages
}

/// Total nanoseconds of a base and so many cycles.
fn reference(conversion: Conversion, seconds: u64, fraction: u64, delta: u64) -> u128 {
    let shifted = u128::from(fraction) + u128::from(delta) * u128::from(conversion.mult);
    u128::from(seconds) * u128::from(SECOND) + (shifted >> conversion.shift)
}

proptest! {
    #[test]
    fn the_narrow_product_is_the_wide_one_as_long_as_it_is_used(
        conversion in conversions(), share in 0.0..=1.0f64, part in 0..SECOND,
    ) {
        let delta = (conversion.max_cycles() as f64 * share) as u64;
        prop_assume!(delta <= conversion.max_cycles());
        let Conversion { mult, shift } = conversion;
        let base = part << shift;
        let exact = ((u128::from(delta) * u128::from(mult) + u128::from(base)) >> shift) as u64;
        prop_assert_eq!(nanoseconds(delta, mult, base, shift), exact);
        prop_assert_eq!(nanoseconds_wide(delta, mult, base, shift), exact);
    }

    #[test]
    fn max_cycles_is_the_last_that_fits(conversion in conversions()) {
        prop_assume!(conversion.mult != 0);
        let base = u128::from(2 * SECOND) << conversion.shift;
        let total = |cycles: u64| conversion.shifted(cycles) + base;
        prop_assert!(total(conversion.max_cycles()) <= u128::from(u64::MAX));
        prop_assert!(conversion.shifted(conversion.max_cycles()) + u128::from(conversion.mult) + base > u128::from(u64::MAX));
    }

    #[test]
    fn carrying_moves_whole_seconds(
        seconds in any::<u64>(), part in prop_oneof![cycles(), whole_seconds_nearly()],
    ) {
        let (carried, rest) = carry(seconds, part);
        prop_assert!(rest < SECOND);
        prop_assert_eq!(carried.wrapping_sub(seconds) * SECOND + rest, part);
    }

    #[test]
    fn a_conversion_is_as_exact_as_its_span_allows(hertz in 1u64..=10_000_000_000, seconds in 1u64..=3600) {
        let Conversion { mult, shift } = Conversion::for_frequency(hertz, seconds);
        let error = (u128::from(mult) * u128::from(hertz)).abs_diff(u128::from(SECOND) << shift);
        prop_assert!(error * 2 <= u128::from(hertz), "off by {}", error);
        let span = u128::from(hertz) * u128::from(seconds);
        let max_cycles = u128::from(Conversion { mult, shift }.max_cycles());
        prop_assert!(max_cycles >= span, "{} cycles, not {}", max_cycles, span);
        // One bit more of precision would not fit in 32 bits, or not span the time.
        let finer = ((u128::from(SECOND) << (shift + 1)) + u128::from(hertz) / 2) / u128::from(hertz);
        let fits = shift < 32 && finer <= u128::from(u32::MAX);
        let spans = |mult| u128::from(Conversion { mult, shift: shift + 1 }.max_cycles()) >= span;
        prop_assert!(!(fits && spans(finer as u32)), "shift {} is too cautious", shift);
    }

    #[test]
    fn a_reading_is_base_and_product(
        conversion in conversions(), cycle_last in 0..1u64 << 62, delta in cycles(), seconds in 0..1u64 << 40,
        part in 0..SECOND, clock in clocks(),
    ) {
        let delta = delta >> 2;
        prop_assert!(!is_behind(delta));
        let coarse = clock.class() == Class::Coarse;
        let fraction = if coarse { part } else { part << conversion.shift };
        let pages = pages(conversion, cycle_last, seconds, fraction, 0);
        let counter = || cycle_last + delta;
        let expected = match coarse {
            true => u128::from(seconds) * u128::from(SECOND) + u128::from(part),
            false => reference(conversion, seconds, fraction, delta),
        };
        // Nanoseconds on top of the base's second, before they are carried, have 64 bits: 584 years.
        prop_assume!(expected - u128::from(seconds) * u128::from(SECOND) <= u128::from(u64::MAX));
        let time = read(&pages[0], clock, |_| Some(counter())).unwrap();
        prop_assert!((0..SECOND).contains(&time.nanoseconds));
        prop_assert_eq!(u128::from(time.seconds) * u128::from(SECOND) + u128::from(time.nanoseconds), expected);

        // A program's way: the same, or it asks the kernel.
        let answer = Task::new(&pages, &counter).gettime(clock.id() as i32);
        prop_assert_eq!(answer, match coarse || delta <= conversion.max_cycles() {
            true => Ok((time.seconds as i64, time.nanoseconds as i64)),
            false => Err(ANSWER),
        });
    }

    #[test]
    fn a_counter_behind_the_update_gives_the_base(
        conversion in conversions(), cycle_last in any::<u64>(), behind in cycles(), part in 0..SECOND,
    ) {
        prop_assume!(0 < behind && behind < 1 << 63);
        // With so small a product that even huge deltas fit, nothing is beyond, hence nothing behind; no real counter
        // is so slow.
        prop_assume!(conversion.max_cycles() < 1 << 63);
        let pages = pages(conversion, cycle_last, 5, part << conversion.shift, 0);
        let counter = || cycle_last.wrapping_sub(behind);
        for clock in [Clock::MONOTONIC, Clock::MONOTONIC_RAW] {
            let time = read(&pages[0], clock, |_| Some(counter())).unwrap();
            prop_assert_eq!((time.seconds, time.nanoseconds), (5, part));
            prop_assert_eq!(Task::new(&pages, &counter).gettime(clock.id() as i32), Err(ANSWER));
        }
    }

    #[test]
    fn a_standing_clock_stands(cycle_last in 0..1u64 << 62, now in 0..1u64 << 63, part in 0..SECOND) {
        let pages = pages(Conversion { mult: 0, shift: 0 }, cycle_last, 7, part, 0);
        let counter = || now;
        for clock in Clock::ALL {
            prop_assert_eq!(Task::new(&pages, &counter).gettime(clock.id() as i32), Ok((7, part as i64)));
        }
    }

    #[test]
    fn the_kernel_reads_a_clock_that_programs_cannot(seconds in 0..1u64 << 40, part in 0..SECOND, delta in 0..SECOND) {
        let pages = pages(Conversion { mult: 1, shift: 0 }, 100, seconds, part, 0);
        pages[0].update(|update| {
            update.counter(Class::HighResolution, &Counter::new(MODE_NONE, 100, Conversion { mult: 1, shift: 0 }))
        });
        let time = read(&pages[0], Clock::MONOTONIC, |mode| { assert_eq!(mode, MODE_NONE); Some(100 + delta) }).unwrap();
        let (whole, rest) = carry(seconds, part + delta);
        prop_assert_eq!((time.seconds, time.nanoseconds), (whole, rest));
        prop_assert_eq!(read(&pages[0], Clock::MONOTONIC, |_| None), None);
    }
}

#[cfg(feature = "time_ns")]
mod inside {
    use super::*;
    use gnomon_vdso::write::{Offset, fill_namespace_page};

    fn offsets() -> impl Strategy<Value = Offset> {
        let seconds = prop_oneof![Just(-1), -4_611_686_018i64..=4_611_686_018, Just(0)];
        let nanoseconds = prop_oneof![Just(999_999_999u32), 0..1_000_000_000u32, Just(0)];
        (seconds, nanoseconds).prop_map(|(seconds, nanoseconds)| Offset { seconds, nanoseconds })
    }

    proptest! {
        #[test]
        fn a_namespace_adds_its_offset(
            conversion in conversions(), cycle_last in 0..1u64 << 62, delta in cycles(), seconds in 0..1u64 << 40,
            part in 0..SECOND, clock in clocks(), monotonic in offsets(), boottime in offsets(),
        ) {
            let delta = delta >> 2;
            let coarse = clock.class() == Class::Coarse;
            let fraction = if coarse { part } else { part << conversion.shift };
            let pages = pages(conversion, cycle_last, seconds, fraction, 1);
            fill_namespace_page(&pages[0], monotonic, boottime);
            let counter = || cycle_last + delta;
            let host = match coarse {
                true => u128::from(seconds) * u128::from(SECOND) + u128::from(part),
                false => reference(conversion, seconds, fraction, delta),
            };
            prop_assume!(host - u128::from(seconds) * u128::from(SECOND) < u128::from(u64::MAX - SECOND));
            let offset = match clock.id() {
                1 | 4 | 6 => monotonic,
                7 => boottime,
                _ => Offset::default(),
            };
            let offset = i128::from(offset.seconds) * i128::from(SECOND) + i128::from(offset.nanoseconds);
            let task = Task::new(&pages, &counter);
            let answer = task.gettime(clock.id() as i32);
            if !coarse && delta > conversion.max_cycles() {
                prop_assert_eq!(answer, Err(ANSWER));
                return Ok(());
            }
            let (whole, part) = answer.unwrap();
            prop_assert!((0..SECOND as i64).contains(&part));
            prop_assert_eq!(i128::from(whole) * i128::from(SECOND) + i128::from(part), host as i128 + offset);
            prop_assert!(task.calls.borrow().is_empty());
        }
    }
}

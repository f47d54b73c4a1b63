//! From one counter to all clocks: the bases, how they advance, and how the wall clock is set.
//!
//! The timekeeper remembers what each clock showed at some counter value and moves that point forward every tick, with
//! the same arithmetic as the readers of the page, to the fraction of a nanosecond. So an update is invisible: a reader
//! before it and one after it, at the same counter value, get the same time. Only the wall clock ever jumps, when set.
//!
//! On a machine that offers a better clock than its counter, the speed of all clocks but CLOCK_MONOTONIC_RAW is steered
//! after that one ([`super::steering`]), a little at each tick; and programs may adjust it ([`super::adjustment`]).

use super::{
    adjustment::Adjustment,
    clocksource::{self, Source},
    events::{Armed, arm},
    publish,
    steering::Steering,
};
use crate::{
    abi::{ClockId, Errno, Result, Timespec},
    arch::{Hardware, Machine, Reference},
    sync::{Once, SpinLock, WaitQueue},
    trace::events,
};
use alloc::{sync::Arc, task::Wake};
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
pub(super) use gnomon_vdso::cycles::{Conversion, SECOND};
use gnomon_vdso::{clocks::Clock, read::Time};

/// Nanoseconds between updates while programs run; the step of the coarse clocks. 250 a second.
pub const TICK: i64 = gnomon_vdso::clocks::TICK_NANOSECONDS as i64;
/// So many seconds may pass without an update before reading takes the slow multiplication. While programs run there is
/// one every [`TICK`]; the rest goes into the precision of the speed, which is then below a billionth.
const SPAN: u64 = 2;

/// The clocks of the host. Their numbers are the ids that programs know them by, so that no table is needed from one to
/// the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostClock {
    /// Time of day.
    Realtime = 0,
    /// Time of day at the last tick.
    RealtimeCoarse = 5,
    /// Since boot, never set.
    Monotonic = 1,
    /// The same at the last tick.
    MonotonicCoarse = 6,
    /// The counter itself, never adjusted.
    MonotonicRaw = 4,
    /// As monotonic, and it would go on in a suspended machine.
    Boottime = 7,
    /// Atomic time: time of day without leap seconds.
    Tai = 11,
}

impl HostClock {
    /// The one that programs know by this id, if it is one of the host's.
    #[inline(always)]
    pub const fn with_id(id: ClockId) -> Option<Self> {
        Some(match id {
            ClockId::REALTIME => Self::Realtime,
            ClockId::MONOTONIC => Self::Monotonic,
            ClockId::MONOTONIC_RAW => Self::MonotonicRaw,
            ClockId::REALTIME_COARSE => Self::RealtimeCoarse,
            ClockId::MONOTONIC_COARSE => Self::MonotonicCoarse,
            ClockId::BOOTTIME => Self::Boottime,
            ClockId::TAI => Self::Tai,
            _ => return None,
        })
    }

    #[inline(always)]
    fn on_page(self) -> Clock {
        match self {
            Self::Realtime => Clock::REALTIME,
            Self::RealtimeCoarse => Clock::REALTIME_COARSE,
            Self::Monotonic => Clock::MONOTONIC,
            Self::MonotonicCoarse => Clock::MONOTONIC_COARSE,
            Self::MonotonicRaw => Clock::MONOTONIC_RAW,
            Self::Boottime => Clock::BOOTTIME,
            Self::Tai => Clock::TAI,
        }
    }
}

/// What a clock showed at `cycle_last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Base {
    /// Whole seconds.
    pub seconds: u64,
    /// Below a second, in nanoseconds shifted left.
    pub shifted: u64,
}

impl Base {
    fn from_nanoseconds(nanoseconds: u64, shift: u32) -> Self {
        Self { seconds: nanoseconds / SECOND, shifted: (nanoseconds % SECOND) << shift }
    }

    fn advanced(self, by: u128, shift: u32) -> Self {
        let second = u128::from(SECOND) << shift;
        let sum = u128::from(self.shifted) + by;
        Self { seconds: self.seconds + (sum / second) as u64, shifted: (sum % second) as u64 }
    }
}

/// All clocks, at one moment.
#[derive(Clone, Debug)]
pub struct Timekeeper {
    /// Cycles to nanoseconds, for all clocks but the raw one.
    pub conversion: Conversion,
    /// Cycles to nanoseconds by the counter's own frequency. The same shift.
    pub raw_conversion: Conversion,
    steering: Option<Steering>,
    /// What programs want of the speed.
    pub adjustment: Adjustment,
    /// The counter at that moment.
    pub cycle_last: u64,
    /// CLOCK_MONOTONIC, and CLOCK_BOOTTIME too: this machine is never suspended.
    pub monotonic: Base,
    /// CLOCK_MONOTONIC_RAW.
    pub raw: Base,
    /// CLOCK_REALTIME.
    pub realtime: Base,
    /// CLOCK_TAI is so many seconds ahead of CLOCK_REALTIME.
    pub tai_offset: u64,
    /// `struct timezone`: minutes west of Greenwich, and the kind of daylight saving.
    pub time_zone: (i32, i32),
    /// Whether programs may read the counter.
    pub user_readable: bool,
}

impl Timekeeper {
    /// All clocks at zero but the wall clock, at this counter value.
    pub fn new(frequency: u64, cycles: u64, realtime: u64, user_readable: bool) -> Self {
        let conversion = Conversion::for_frequency(frequency, SPAN);
        Self {
            conversion,
            raw_conversion: conversion,
            steering: None,
            adjustment: Adjustment::default(),
            cycle_last: cycles,
            monotonic: Base::default(),
            raw: Base::default(),
            realtime: Base::from_nanoseconds(realtime, conversion.shift),
            tai_offset: 0,
            time_zone: (0, 0),
            user_readable,
        }
    }

    /// Moves the moment forward to a counter value; one in the past (another CPU's) changes nothing.
    pub fn advance(&mut self, cycles: u64) {
        let Some(passed) = cycles.checked_sub(self.cycle_last) else { return };
        let (by, raw) = (self.conversion.shifted(passed), self.raw_conversion.shifted(passed));
        for (base, by) in [(&mut self.monotonic, by), (&mut self.realtime, by), (&mut self.raw, raw)] {
            *base = base.advanced(by, self.conversion.shift);
        }
        self.cycle_last = cycles;
        if self.adjustment.pass((by >> self.conversion.shift) as i64) {
            self.set_speed();
        }
    }

    /// Has the clocks run as fast as they are to. Those that are steered, the steering does; virtual time has one speed.
    fn set_speed(&mut self) {
        if self.steering.is_none() && !clocksource::is_virtual() {
            self.conversion = self.adjustment.applied(self.raw_conversion);
        }
    }

    /// Will be steered after a reference, which was read when all clocks were started.
    pub fn follow_from(&mut self, reference: Reference) {
        self.steering = Some(Steering::new(reference));
    }

    /// Moves the moment forward to that of the reference, and steers. Whether the wall clock was set with it is told.
    pub fn follow(&mut self, reference: Reference) -> bool {
        self.advance(reference.cycles);
        let Some(steering) = &mut self.steering else { return false };
        // The reference is followed to where it would be if it were adjusted as we are. Its own speed is measured without
        // that, and the adjustment put on top: a change of it is felt at once and not when the measuring has noticed.
        let gained = self.adjustment.gained();
        if let Some(conversion) = steering.follow(reference, self.monotonic, gained, self.raw_conversion) {
            self.conversion = self.adjustment.applied(conversion);
        }
        let Some(step) = steering.wall_clock_step(reference) else { return false };
        // Whoever sets the host's clock so far back that ours would begin before 1970 gets what can be had.
        let realtime = self.nanoseconds(self.realtime).saturating_add(step);
        self.set_realtime(realtime.max(self.monotonic_nanoseconds()) as u64);
        true
    }

    /// CLOCK_MONOTONIC at that moment.
    pub fn monotonic_nanoseconds(&self) -> i64 {
        self.nanoseconds(self.monotonic)
    }

    /// Sets the wall clock, in nanoseconds since 1970, at the moment last advanced to.
    pub fn set_realtime(&mut self, nanoseconds: u64) {
        self.realtime = Base::from_nanoseconds(nanoseconds, self.conversion.shift);
    }

    fn nanoseconds(&self, base: Base) -> i64 {
        (base.seconds * SECOND + (base.shifted >> self.conversion.shift)) as i64
    }
}

/// Nothing but the page is written inside it.
static TIMEKEEPER: Once<SpinLock<Timekeeper>> = Once::new();
/// Host monotonic time of the next tick, in nanoseconds.
static NEXT_TICK: AtomicI64 = AtomicI64::new(0);
/// Those who wait for a moment of the wall clock, and must look again when it is set.
pub static WALL_CLOCK_SET: WaitQueue = WaitQueue::new();
/// How often the wall clock has been set.
static SETTINGS: AtomicU64 = AtomicU64::new(0);

fn timekeeper() -> &'static SpinLock<Timekeeper> {
    TIMEKEEPER.get().expect("time is initialized before it is asked for")
}

/// Starts all clocks. Errors: ENOMEM for the pages.
///
/// `source`: what the word `clock=` said; anything but virtual time is the machine's own.
pub fn initialize(source: Option<&str>) -> Result<()> {
    let source = Source::named(source);
    clocksource::choose(source);
    let counter = Hardware::cycle_counter();
    let reference = clocksource::reference();
    let (wall_clock, user_readable) = match source {
        Source::Counter => (
            reference.map(|reference| reference.wall_clock()).or_else(Hardware::wall_clock),
            counter.user_readable,
        ),
        Source::Virtual => (Some(clocksource::WALL_CLOCK), false),
        Source::VirtualOnPage => (Some(clocksource::WALL_CLOCK), counter.user_readable),
    };
    let mut keeper = Timekeeper::new(
        clocksource::frequency(),
        reference.map_or_else(clocksource::cycles, |reference| reference.cycles),
        wall_clock.unwrap_or(0),
        user_readable,
    );
    if let Some(reference) = reference {
        keeper.follow_from(reference);
    }
    publish::initialize()?;
    super::image::initialize()?;
    publish::publish(&keeper);
    TIMEKEEPER.call_once(|| SpinLock::new(keeper));
    if source != Source::Counter {
        events::begin();
        log::info!(
            "time: virtual, {}",
            match user_readable {
                true => "read by programs from the page",
                false => "the vDSO makes system calls",
            }
        );
        return Ok(());
    }
    log::info!(
        "time: counter at {}.{:06} MHz, {}, wall clock {}",
        counter.frequency / 1_000_000,
        counter.frequency % 1_000_000,
        if counter.user_readable {
            "read by programs"
        } else {
            "not for programs: the vDSO makes system calls"
        },
        if wall_clock.is_some() { "from the machine" } else { "unknown, begins in 1970" },
    );
    Ok(())
}

/// What a clock of the host shows, in nanoseconds.
pub fn now(clock: HostClock) -> i64 {
    publish::read(clock.on_page())
}

/// What a clock of the host showed at a count that was taken just now.
#[inline(always)]
pub fn at(clock: HostClock, count: u64) -> Timespec {
    timespec(publish::read_at(clock.on_page(), count))
}

/// The same of the clock that programs know by this id; `None` if it is none of the host's, or takes more than the usual.
#[inline(always)]
pub fn shown_by(id: ClockId, count: u64) -> Option<Timespec> {
    let (clock, _) = Clock::new(id.0)?;
    publish::read_soon(clock, count).map(timespec)
}

#[inline(always)]
fn timespec(time: Time) -> Timespec {
    Timespec { seconds: time.seconds as i64, nanoseconds: time.nanoseconds as i64 }
}

/// The counter's ticks per second, to turn cycles spent into time.
pub fn counter_frequency() -> u64 {
    Hardware::cycle_counter().frequency
}

/// Called when the alarm has rung, and when an idle CPU has woken: makes the tick if it is due, wakes who is due.
pub fn interrupt() {
    let now = now(HostClock::Monotonic);
    if now >= NEXT_TICK.load(Relaxed) {
        tick();
        // Ticks lie on multiples of their length, so that the coarse clocks step evenly.
        NEXT_TICK.store(now - now % TICK + TICK, Relaxed);
    }
    super::events::wake_due(now);
}

/// Host monotonic time of the next tick.
pub fn next_tick() -> i64 {
    NEXT_TICK.load(Relaxed)
}

/// Virtual time has moved: where programs read it from the page, the page follows at once.
pub(super) fn virtual_time_moved() {
    if clocksource::source() == Source::VirtualOnPage {
        tick();
    }
}

/// Brings all clocks, and the page, up to this moment.
fn tick() {
    let mut keeper = timekeeper().lock();
    let was_set = match clocksource::reference() {
        Some(reference) => keeper.follow(reference),
        None => {
            keeper.advance(clocksource::cycles());
            false
        }
    };
    publish::publish(&keeper);
    drop(keeper);
    if was_set {
        tell_of_setting();
    }
}

/// The wall clock was set: those who wait for a moment of it look again.
fn tell_of_setting() {
    SETTINGS.fetch_add(1, Relaxed);
    WALL_CLOCK_SET.wake_all();
}

/// clock_settime(CLOCK_REALTIME). Errors: EINVAL for a time at which the monotonic clock would have begun before 1970, or
/// that cannot be counted for 30 more years.
pub fn set_realtime(nanoseconds: i64) -> Result<()> {
    set_realtime_to(|_| Some(nanoseconds))
}

/// Sets the wall clock forward or back by so many nanoseconds. Errors: as [`set_realtime`].
pub fn step_realtime(by: i64) -> Result<()> {
    set_realtime_to(|now| now.checked_add(by))
}

fn set_realtime_to(to: impl FnOnce(i64) -> Option<i64>) -> Result<()> {
    const MARGIN: i64 = 30 * 365 * 24 * 3600 * SECOND as i64;
    let mut keeper = timekeeper().lock();
    keeper.advance(clocksource::cycles());
    let nanoseconds = to(keeper.nanoseconds(keeper.realtime)).unwrap_or(i64::MIN);
    if nanoseconds < keeper.monotonic_nanoseconds() {
        return Err(
            Errno::EINVAL.because("the wall clock cannot be set before 1970 plus the time since boot")
        );
    }
    if nanoseconds > i64::MAX - MARGIN {
        return Err(Errno::EINVAL.because("the wall clock must have 30 years left to run"));
    }
    keeper.set_realtime(nanoseconds as u64);
    keeper.adjustment.forget_errors();
    keeper.set_speed();
    publish::publish(&keeper);
    drop(keeper);
    tell_of_setting();
    Ok(())
}

/// Looks at how the clocks are being adjusted, and changes it; from now on they run accordingly.
///
/// Virtual time runs at the speed it has, so there what is changed is only kept and reported.
pub fn adjust<R>(change: impl FnOnce(&mut Adjustment) -> R) -> R {
    let mut keeper = timekeeper().lock();
    keeper.advance(clocksource::cycles());
    let result = change(&mut keeper.adjustment);
    keeper.set_speed();
    publish::publish(&keeper);
    let next_look = keeper.adjustment.next_look();
    drop(keeper);
    look_again_in(next_look);
    result
}

/// What makes the machine look at the speed while an error is being worked off, also when nobody else would wake it.
static LOOK: SpinLock<Option<Armed>> = SpinLock::new(None);

fn look_again_in(nanoseconds: Option<i64>) {
    struct Look;
    impl Wake for Look {
        fn wake(self: Arc<Self>) {
            adjust(|_| ());
        }
    }
    let moment = nanoseconds.map(|left| now(HostClock::Monotonic).saturating_add(left));
    let armed = moment.map(|moment| arm(moment, Arc::new(Look).into()));
    let before = LOOK.replace(armed);
    drop(before);
}

/// How often the wall clock has been set: whoever remembers the number sees that it was.
pub fn settings() -> u64 {
    SETTINGS.load(Relaxed)
}

/// CLOCK_TAI is so many nanoseconds ahead of CLOCK_REALTIME.
pub fn tai_offset() -> i64 {
    (timekeeper().lock().tai_offset * SECOND) as i64
}

/// Sets that, in seconds.
pub fn set_tai_offset(seconds: u64) {
    let mut keeper = timekeeper().lock();
    keeper.advance(clocksource::cycles());
    keeper.tai_offset = seconds;
    publish::publish(&keeper);
    drop(keeper);
    tell_of_setting();
}

/// What settimeofday(2) left as the time zone.
pub fn time_zone() -> (i32, i32) {
    timekeeper().lock().time_zone
}

/// Sets it: minutes west of Greenwich, kind of daylight saving.
pub fn set_time_zone(minutes_west: i32, dst_time: i32) {
    let mut keeper = timekeeper().lock();
    keeper.time_zone = (minutes_west, dst_time);
    publish::publish(&keeper);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn updates_lose_no_fraction(frequency in 1_000_000u64..5_000_000_000, steps in prop::collection::vec(0u64..1 << 40, 1..50)) {
            let mut often = Timekeeper::new(frequency, 7, 123_456_789, true);
            let mut once = often.clone();
            let mut cycles = 7;
            for step in steps {
                cycles += step;
                often.advance(cycles);
            }
            once.advance(cycles);
            prop_assert_eq!(often.monotonic, once.monotonic);
            prop_assert_eq!(often.realtime, once.realtime);
        }
    }

    #[test]
    fn a_counter_in_the_past_changes_nothing() {
        let mut keeper = Timekeeper::new(1_000_000_000, 100, 0, true);
        keeper.advance(1100);
        let before = keeper.monotonic;
        keeper.advance(1000);
        assert_eq!((keeper.monotonic, keeper.cycle_last), (before, 1100));
        assert_eq!(keeper.nanoseconds(before), 1000);
    }

    #[test]
    fn setting_the_wall_clock_leaves_the_others_alone() {
        let mut keeper = Timekeeper::new(1_000_000_000, 0, 5, true);
        keeper.advance(10);
        keeper.set_realtime(SECOND * 3 + 1);
        keeper.advance(20);
        assert_eq!(keeper.nanoseconds(keeper.realtime), 3_000_000_011);
        assert_eq!(keeper.nanoseconds(keeper.monotonic), 20);
    }
}

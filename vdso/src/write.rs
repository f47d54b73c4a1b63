//! The writer's side: the timekeeper publishes the system's page, a time namespace fills its own once.
//!
//! Nothing here is in the image: user space cannot write the page.

use crate::atomics::Ordering::Relaxed;
use crate::clocks::{Class, Clock};
use crate::cycles::Conversion;
use crate::page::TimeData;
use crate::seqcount;

/// A counter as readers are to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// One of the `MODE_` constants of [`crate::page`].
    pub mode: i32,
    /// The counter now, in cycles: the moment to which the base times belong.
    pub cycle_last: u64,
    /// See [`crate::cycles::Conversion::max_cycles`].
    pub max_cycles: u64,
    /// Factor from cycles to shifted nanoseconds.
    pub mult: u32,
    /// Right shift from shifted nanoseconds to nanoseconds.
    pub shift: u32,
}

impl Counter {
    /// The counter `mode` that stood at `cycle_last` and is converted by `conversion`.
    pub const fn new(mode: i32, cycle_last: u64, conversion: Conversion) -> Counter {
        let Conversion { mult, shift } = conversion;
        Counter { mode, cycle_last, max_cycles: conversion.max_cycles(), mult, shift }
    }
}

/// An update in progress: while it lives both sequence counters are odd and readers wait.
///
/// Only [`TimeData::update`] makes one, so what is set through it is set inside an update.
#[derive(Debug)]
pub struct Update<'page>(&'page TimeData);

impl TimeData {
    /// Publishes: makes both sequence counters odd, lets `write` set what has changed, makes them even.
    ///
    /// Both at once, although a reader looks at one, because an adjustment moves the two tables together.
    /// One writer at a time: the caller holds the lock of the timekeeper. Readers are never waited for.
    pub fn update(&self, write: impl FnOnce(&mut Update<'_>)) {
        self.clocks.iter().for_each(|clock| clock.sequence.begin());
        seqcount::begun();
        write(&mut Update(self));
        self.clocks.iter().for_each(|clock| clock.sequence.end());
    }
}

impl Update<'_> {
    /// Sets the counter for the clocks that are adjusted (`HighResolution`, and with it `Coarse`) or for the raw one.
    pub fn counter(&mut self, class: Class, counter: &Counter) {
        let data = &self.0.clocks[class.instance()];
        data.clock_mode.store(counter.mode, Relaxed);
        data.cycle_last.store(counter.cycle_last, Relaxed);
        data.max_cycles.store(counter.max_cycles, Relaxed);
        data.mask.store(u64::MAX, Relaxed);
        data.mult.store(counter.mult, Relaxed);
        data.shift.store(counter.shift, Relaxed);
    }

    /// Sets what `clock` showed when its counter stood at `cycle_last`.
    ///
    /// `nanoseconds` is shifted left by the counter's `shift`, for a coarse clock it is plain. Either way it is less than
    /// a second: `max_cycles` leaves room for no more, and readers of a coarse clock do not carry.
    pub fn base(&mut self, clock: Clock, seconds: u64, nanoseconds: u64) {
        let entry = self.0.clock_data(clock).entry(clock);
        entry.seconds.store(seconds, Relaxed);
        entry.nanoseconds.store(nanoseconds, Relaxed);
    }

    /// Sets what clock_getres(2) says of the high-resolution clocks, in nanoseconds.
    pub fn resolution(&mut self, nanoseconds: u32) {
        self.0.hrtimer_res.store(nanoseconds, Relaxed);
    }

    /// Sets what gettimeofday(2) says of the time zone.
    pub fn time_zone(&mut self, minutes_west: i32, dst_time: i32) {
        self.0.tz_minuteswest.store(minutes_west, Relaxed);
        self.0.tz_dsttime.store(dst_time, Relaxed);
    }
}

/// What a time namespace adds to a clock: `seconds` of either sign plus `nanoseconds` in 0..10^9.
///
/// One nanosecond less is therefore -1 s and 999 999 999 ns.
#[cfg(feature = "time_ns")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Whole seconds, rounded towards minus infinity.
    pub seconds: i64,
    /// The rest, 0 to 999 999 999.
    pub nanoseconds: u32,
}

/// Fills the page of a time namespace, once, when its first task enters it.
///
/// `page` is fresh, all zero, and mapped by nobody yet. Zero stays where nothing is said here: the offset of the realtime
/// clocks and of TAI, and of every id that is not a clock of the page.
/// `boottime` has two entries, for `CLOCK_BOOTTIME` and `CLOCK_BOOTTIME_ALARM`; the second is read by nobody and is
/// there because it is in Linux.
#[cfg(feature = "time_ns")]
pub fn fill_namespace_page(page: &TimeData, monotonic: Offset, boottime: Offset) {
    let offsets = [(1, monotonic), (4, monotonic), (6, monotonic), (7, boottime), (9, boottime)];
    for data in &page.clocks {
        for (clock, offset) in offsets {
            data.entries[clock].seconds.store(offset.seconds as u64, Relaxed);
            data.entries[clock].nanoseconds.store(offset.nanoseconds.into(), Relaxed);
        }
        data.clock_mode.store(crate::page::MODE_TIME_NAMESPACE, Relaxed);
        data.sequence.mark_never_even();
    }
}

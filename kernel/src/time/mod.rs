//! Host time: what the machine's clocks say. Knows no task and no namespace.
//!
//! One counter runs ([`clocksource`]); the [`timekeeper`] turns it into clocks and [`publish`]es them on
//! the page that programs read. The kernel reads that same page by the same code ([`now`]), so a system call and the vDSO
//! can never disagree; [`image`] is the library that programs do it with. Where the machine has a better clock than the
//! counter, [`steering`] follows it; [`adjustment`] is how a program has the clocks run faster or slower. [`events`] wakes
//! who waits for a moment, with the machine's one alarm, and a [`timer`] is such a moment that may come again.
//! [`virtual_time`] is all of this without a counter.

pub mod adjustment;
pub mod clocksource;
pub mod events;
pub mod image;
#[allow(unsafe_code, reason = "a frame is seen as a page of clock data")]
pub mod publish;
mod steering;
pub mod timekeeper;
pub mod timer;
pub mod virtual_time;

pub use timekeeper::{
    HostClock, TICK, at, counter_frequency, initialize, interrupt, now, set_realtime, set_time_zone,
    shown_by, tai_offset, time_zone,
};

/// Nanoseconds since 1970-01-01 00:00 UTC, for file timestamps.
pub fn realtime_now() -> i64 {
    now(HostClock::Realtime)
}

//! How virtual time passes: see [`super::clocksource`] for what it is.
//!
//! With one *now* that only the kernel moves there are no interrupts of the clock: whoever moves it looks whether the next
//! deadline has been reached ([`is_due`]), always between two system calls, so what happens then happens at the same place
//! on every run.
//!
//! What cannot be made repeatable is a program that computes for ever without a trap. The machine's real alarm is its
//! watchdog: if a CPU has run programs for [`PATIENCE`] and virtual time has not moved, it is moved to the next deadline,
//! and the log says that from here on the run is not deterministic.

use super::{clocksource, events, timekeeper};
use crate::{
    arch::{Hardware, Machine},
    trace::events::{Event, record},
};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Real nanoseconds a program may compute without a trap.
const PATIENCE: u64 = 1_000_000_000;

/// Whether the real alarm is set.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// Virtual time when it was set.
static WHEN_WATCHED: AtomicU64 = AtomicU64::new(0);

/// A program has made a system call or an exception: charges it.
pub fn charge() {
    clocksource::add(clocksource::CHARGE);
    timekeeper::virtual_time_moved();
}

/// Whether a deadline, or the end of a time slice, has been reached.
pub fn is_due() -> bool {
    events::alarm() <= clocksource::cycles() as i64
}

/// Nobody has anything to do: moves on to the next deadline. False: there is none, only a device can end the waiting.
pub fn jump() -> bool {
    let moment = events::alarm();
    if moment == events::NEVER {
        return false;
    }
    clocksource::reach(moment as u64);
    timekeeper::virtual_time_moved();
    record(clocksource::cycles(), 0, Event::Jump);
    true
}

/// A program is about to run: sets the watchdog, if it is not set.
pub fn watch() {
    if !WATCHED.swap(true, Relaxed) {
        WHEN_WATCHED.store(clocksource::cycles(), Relaxed);
        Hardware::set_alarm(Some(PATIENCE));
    }
}

/// The real alarm has rung. Gives whether the program was moved on.
pub fn watchdog_rang() -> bool {
    WATCHED.store(false, Relaxed);
    if clocksource::cycles() != WHEN_WATCHED.load(Relaxed) {
        watch();
        return false;
    }
    log::warn!("virtual time: a program runs without a trap and was moved on; this run is not deterministic");
    if !jump() {
        clocksource::add(timekeeper::TICK as u64);
        timekeeper::virtual_time_moved();
    }
    true
}

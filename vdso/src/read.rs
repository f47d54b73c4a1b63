//! Reading a clock from the page: a loop over the sequence counter, in it the cycle counter and one entry.
//!
//! The same functions run in the image, in the kernel (so that a clock read by a system call and one read through the
//! vDSO come from one piece of code and cannot disagree) and in the tests.
//!
//! Time namespaces cost the root namespace nothing here. A namespace's page has a sequence counter that is odd for
//! ever, so only a reader that would have to wait anyway looks whether it is on one. The alternative, adding an offset
//! that is zero in root, would need no test and charge everybody for it.
//!
//! Everything is inlined into the function the program calls. A reading is forty instructions; a call that passes its
//! arguments and returns its two results in registers would be a fifth on top.

use crate::atomics::{Ordering::Relaxed, spin_loop};
use crate::clocks::{Class, Clock};
use crate::cycles::{carry, is_behind, nanoseconds, nanoseconds_wide, plain};
use crate::page::{ClockData, Entry, MODE_TIME_NAMESPACE, TimeData};
use core::arch::asm;
use core::hint::cold_path;

/// Whether namespaces are compiled in. A constant, so that the branches on it leave nothing behind when they are not.
pub(crate) const NAMESPACES: bool = cfg!(feature = "time_ns");

/// A moment: seconds (two's complement, should a clock be before its zero) and nanoseconds, 0 to 999 999 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds.
    pub seconds: u64,
    /// The rest.
    pub nanoseconds: u64,
}

/// Why a page did not give a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// It is a namespace's page: offsets are here, the clocks on the companion page.
    NamespacePage,
    /// This reader cannot read the counter the page names.
    NoCounter,
}

/// Reads `clock` from the system's page; the kernel's own way to read a clock.
///
/// `cycles` reads the counter that a `clock_mode` names, or gives `None` if it cannot. The kernel can read counters that
/// user space cannot, so it answers for [`crate::page::MODE_NONE`] too, from whatever its clock source is. It is called
/// again after an update, so it must read anew every time. A coarse clock does not call it.
///
/// `None` only if `cycles` said so.
#[inline(always)]
pub fn read(page: &TimeData, clock: Clock, cycles: impl Fn(i32) -> Option<u64>) -> Option<Time> {
    read_within(page, clock, cycles, |data, entry, delta| Some(exact(data, entry, delta)))
}

/// The same as of a count that was just taken; but `None` if that is behind the last update, or more than `max_cycles` ahead,
/// as it nearly never is: so who has another way for that has less to compute here.
#[inline(always)]
pub fn read_soon(page: &TimeData, clock: Clock, count: u64) -> Option<Time> {
    read_within(page, clock, |_| Some(count), |_, _, _| None)
}

#[inline(always)]
fn read_within(
    page: &TimeData,
    clock: Clock,
    cycles: impl Fn(i32) -> Option<u64>,
    beyond: impl Fn(&ClockData, &Entry, u64) -> Option<u64>,
) -> Option<Time> {
    let counted = |data: &ClockData| {
        let entry = data.entry(clock);
        let beyond = |delta| beyond(data, entry, delta);
        high_resolution::<false>(data, entry, None, &cycles, beyond).ok().map(carried)
    };
    // Each with a copy of the reader to itself, in which the table's place is a constant.
    match clock.class() {
        Class::HighResolution => counted(&page.clocks[0]),
        Class::Raw => counted(&page.clocks[1]),
        Class::Coarse => coarse::<false>(&page.clocks[0], page.clocks[0].entry(clock)).ok(),
    }
}

/// Calls `fields` until no update was under way while it ran. With `FOLLOW` the page may be a namespace's.
#[inline(always)]
fn consistent<const FOLLOW: bool>(
    data: &ClockData,
    fields: impl Fn() -> Option<Time>,
) -> Result<Time, Instead> {
    loop {
        let before = data.sequence.read();
        if before & 1 != 0 {
            // Not marked as rare: in a namespace it is not, and then what follows is laid out as well as the rest.
            if FOLLOW && data.clock_mode.load(Relaxed) == MODE_TIME_NAMESPACE {
                return Err(Instead::NamespacePage);
            }
            spin_loop();
            continue;
        }
        let Some(time) = fields() else {
            cold_path();
            if data.sequence.changed_since(before) {
                continue;
            }
            return Err(Instead::NoCounter);
        };
        if !data.sequence.changed_since(before) {
            return Ok(time);
        }
    }
}

/// One reading of a coarse clock: the base time, whose seconds the writer has carried.
///
/// With `FOLLOW` the page may be a namespace's. Then what was read before that showed is the offset, which never changes.
#[inline(always)]
pub(crate) fn coarse<const FOLLOW: bool>(data: &ClockData, entry: &Entry) -> Result<Time, Time> {
    loop {
        let before = data.sequence.read();
        let time =
            Time { seconds: entry.seconds.load(Relaxed), nanoseconds: entry.nanoseconds.load(Relaxed) };
        if before & 1 == 0 {
            if !data.sequence.changed_since(before) {
                return Ok(time);
            }
            cold_path();
            continue;
        }
        // Not marked as rare: in a namespace it is not, and then what follows is laid out as well as the rest.
        if FOLLOW && data.clock_mode.load(Relaxed) == MODE_TIME_NAMESPACE {
            return Err(time);
        }
        cold_path();
        spin_loop();
    }
}

/// One reading of a clock that moves with the counter, seconds not yet carried; `offset` is a namespace's.
///
/// `beyond` has the nanoseconds when the counter is behind the last update, or more than `max_cycles` ahead.
#[inline(always)]
pub(crate) fn high_resolution<const FOLLOW: bool>(
    data: &ClockData,
    entry: &Entry,
    offset: Option<&Entry>,
    cycles: impl Fn(i32) -> Option<u64>,
    beyond: impl Fn(u64) -> Option<u64>,
) -> Result<Time, Instead> {
    consistent::<FOLLOW>(data, || {
        let cycles = cycles(data.clock_mode.load(Relaxed))?;
        let delta = cycles.wrapping_sub(data.cycle_last.load(Relaxed));
        // Everything else is loaded in the branch that uses it and not before: what is at hand at the same time takes a
        // register each, and with more of those the function would have to save and restore some.
        let nanoseconds = if delta <= data.max_cycles.load(Relaxed) {
            let shift = data.shift.load(Relaxed);
            // Added here rather than to the sum, so that nothing that depends on the counter waits for it.
            let offset = offset.map_or(0, |offset| offset.nanoseconds.load(Relaxed) << (shift & 63));
            let base = entry.nanoseconds.load(Relaxed).wrapping_add(offset);
            let mult = data.mult.load(Relaxed);
            settled(nanoseconds(delta, mult, base, shift))
        } else {
            cold_path();
            beyond(delta)?
        };
        let offset = offset.map_or(0, |offset| offset.seconds.load(Relaxed));
        Some(Time { seconds: settled(entry.seconds.load(Relaxed).wrapping_add(offset)), nanoseconds })
    })
}

/// A value, computed by here. Left to itself the compiler computes it behind the loop, and keeps what that takes in more
/// registers than there are to spare.
#[inline(always)]
fn settled(mut value: u64) -> u64 {
    // SAFETY: there is no instruction, only a register that is named.
    unsafe { asm!("/* {} */", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// What the kernel makes of a `delta` beyond `max_cycles`.
fn exact(data: &ClockData, entry: &Entry, delta: u64) -> u64 {
    let (base, shift) = (entry.nanoseconds.load(Relaxed), data.shift.load(Relaxed));
    if is_behind(delta) {
        // The base alone is the closest answer that does not go backwards.
        plain(base, shift)
    } else {
        // There has been no update for long.
        nanoseconds_wide(delta, data.mult.load(Relaxed), base, shift)
    }
}

/// Adds a namespace's offset.
#[inline(always)]
pub(crate) fn shifted(time: Time, offset: Time) -> Time {
    Time {
        seconds: time.seconds.wrapping_add(offset.seconds),
        nanoseconds: time.nanoseconds.wrapping_add(offset.nanoseconds),
    }
}

/// Moves whole seconds out of the nanoseconds. Outside the loop above, so that a retry does not do it twice.
#[inline(always)]
pub(crate) fn carried(time: Time) -> Time {
    let (seconds, nanoseconds) = carry(time.seconds, time.nanoseconds);
    Time { seconds, nanoseconds }
}

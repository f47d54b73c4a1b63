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
use crate::cycles::{carry, nanoseconds};
use crate::page::{ClockData, MODE_TIME_NAMESPACE, TimeData};

/// Whether namespaces are compiled in. A constant, so that the branches on it leave nothing behind when they are not.
pub(crate) const NAMESPACES: bool = cfg!(feature = "time_ns");

/// The bits of a counter that count. Bit 63 is where clocks shared with a hypervisor say "unusable".
pub(crate) const COUNTER_BITS: u64 = u64::MAX >> 1;

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
    match sample::<false>(page.clock_data(clock), clock, cycles) {
        Ok(time) => Some(carried(time)),
        Err(_) => None,
    }
}

/// One consistent reading, seconds not yet carried. With `FOLLOW` the page may be a namespace's.
#[inline(always)]
pub(crate) fn sample<const FOLLOW: bool>(
    data: &ClockData,
    clock: Clock,
    cycles: impl Fn(i32) -> Option<u64>,
) -> Result<Time, Instead> {
    let entry = data.entry(clock);
    loop {
        let before = data.sequence.read();
        if before & 1 != 0 {
            if FOLLOW && data.clock_mode.load(Relaxed) == MODE_TIME_NAMESPACE {
                return Err(Instead::NamespacePage);
            }
            spin_loop();
            continue;
        }
        let time = match clock.class() {
            Class::Coarse => {
                Time { seconds: entry.seconds.load(Relaxed), nanoseconds: entry.nanoseconds.load(Relaxed) }
            }
            Class::HighResolution | Class::Raw => {
                let Some(cycles) = cycles(data.clock_mode.load(Relaxed)) else {
                    return Err(Instead::NoCounter);
                };
                let delta = (cycles & COUNTER_BITS).wrapping_sub(data.cycle_last.load(Relaxed));
                Time {
                    seconds: entry.seconds.load(Relaxed),
                    nanoseconds: nanoseconds(
                        entry.nanoseconds.load(Relaxed),
                        delta,
                        data.max_cycles.load(Relaxed),
                        data.mult.load(Relaxed),
                        data.shift.load(Relaxed),
                    ),
                }
            }
        };
        if !data.sequence.changed_since(before) {
            return Ok(time);
        }
    }
}

/// Adds a namespace's offset, which lies where the base time lies on the system's page.
#[inline(always)]
pub(crate) fn shifted(time: Time, offsets: &ClockData, clock: Clock) -> Time {
    let offset = offsets.entry(clock);
    Time {
        seconds: time.seconds.wrapping_add(offset.seconds.load(Relaxed)),
        nanoseconds: time.nanoseconds.wrapping_add(offset.nanoseconds.load(Relaxed)),
    }
}

/// Moves whole seconds out of the nanoseconds. Outside the loop above, so that a retry does not do it twice.
#[inline(always)]
pub(crate) fn carried(time: Time) -> Time {
    let (seconds, nanoseconds) = carry(time.seconds, time.nanoseconds);
    Time { seconds, nanoseconds }
}

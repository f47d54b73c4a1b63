//! Time: the processor's counter where the host itself trusts it, held against the host's clock; else that clock.
//!
//! Programs read the time from a page by the processor's time stamp counter (TSC), which a process may read as a kernel may.
//! But only the host knows whether it is fit for that: whether all processors' counters agree and keep their speed. The
//! host says so by using it itself, in `/sys/devices/system/clocksource`. Where it does not, this machine's counter is
//! the host's CLOCK_MONOTONIC in nanoseconds, which user mode cannot read without a system call: programs then ask the
//! kernel.
//!
//! How fast the TSC runs is nowhere to be had, so it is measured: two readings of both clocks, some time apart. Each is
//! *bracketed*: counter, host's clock, counter; of many tries the narrowest bracket counts, for a process that is interrupted
//! between two readings would compare moments that lie milliseconds apart. What is left is some ten nanoseconds. The time
//! apart is simply what the machine needs to get ready, a millisecond or so, since nobody would want to wait: ten
//! millionths, then, until the timekeeper, which goes on comparing by [`reference()`], knows better a few ticks later.

use crate::arch::{CycleCounter, Reference};
use core::{
    arch::asm,
    mem::MaybeUninit,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};
use std::fs;

/// Where the host says by what it tells the time.
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const SECOND: u64 = 1_000_000_000;
/// Tries for a narrow bracket when there is time, and while programs run.
const MANY: usize = 50;
const FEW: usize = 5;
/// Nanoseconds, at least, between the two readings at boot.
const WINDOW: u64 = 500_000;

/// Both clocks at one moment, and how sure that is: the bracket's width in cycles.
#[derive(Clone, Copy)]
struct Sample {
    cycles: u64,
    monotonic: u64,
    width: u64,
}

struct Clock {
    source: Source,
    counter: CycleCounter,
}

/// By what this machine tells the time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The TSC.
    Tsc,
    /// The host's clock, because the host's own source is another one than the TSC, or unknown.
    Host(Option<std::string::String>),
}

/// Whether [`cycles`] reads the TSC. Set before there is a second thread.
static USES_TSC: AtomicBool = AtomicBool::new(false);
/// The narrowest bracket seen at boot.
static NARROWEST: AtomicU64 = AtomicU64::new(0);
static CLOCK: spin::Once<Clock> = spin::Once::new();

/// A clock of the host, in nanoseconds.
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the call fills it in; for these clocks it cannot fail.
    let time = unsafe {
        libc::clock_gettime(clock, time.as_mut_ptr());
        time.assume_init()
    };
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// The TSC. LFENCE waits for all loads before it, so the counter is not read early; the readers of the VVAR page
/// rely on the same.
#[inline(always)]
fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading the counter has no effects. Not `nomem`: the compiler must not move it across memory accesses.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// The counter.
#[inline(always)]
pub fn cycles() -> u64 {
    if USES_TSC.load(Relaxed) { tsc() } else { read(libc::CLOCK_MONOTONIC) }
}

/// Both clocks at one moment, as well as so many tries can tell; fewer when one is `wide` enough.
fn sample(tries: usize, wide: u64) -> Sample {
    let mut best = Sample { cycles: 0, monotonic: 0, width: u64::MAX };
    for _ in 0..tries {
        let before = tsc();
        let monotonic = read(libc::CLOCK_MONOTONIC);
        let width = tsc().saturating_sub(before);
        if width < best.width {
            best = Sample { cycles: before + width / 2, monotonic, width };
        }
        if width <= wide {
            break;
        }
    }
    best
}

/// The first of the two readings at boot; the second is made by [`finish`].
pub struct Beginning(Option<Sample>, Source);

/// Finds out which clock to use, and begins to measure.
pub fn begin() -> Beginning {
    let source = match fs::read_to_string(CLOCK_SOURCE) {
        Ok(name) if name.trim() == "tsc" => Source::Tsc,
        Ok(name) => Source::Host(Some(name.trim().into())),
        Err(_) => Source::Host(None),
    };
    USES_TSC.store(source == Source::Tsc, SeqCst);
    Beginning((source == Source::Tsc).then(|| sample(MANY, 0)), source)
}

/// Ends the measurement.
pub fn finish(Beginning(first, source): Beginning) {
    let counter = match first {
        None => CycleCounter { frequency: SECOND, user_readable: false },
        Some(first) => {
            while read(libc::CLOCK_MONOTONIC) < first.monotonic + WINDOW {
                core::hint::spin_loop();
            }
            let second = sample(MANY, 0);
            NARROWEST.store(first.width.min(second.width), SeqCst);
            let cycles = u128::from(second.cycles - first.cycles);
            let nanoseconds = u128::from(second.monotonic - first.monotonic);
            let frequency = (cycles * u128::from(SECOND) + nanoseconds / 2) / nanoseconds;
            CycleCounter { frequency: frequency as u64, user_readable: true }
        }
    };
    CLOCK.call_once(|| Clock { source, counter });
}

/// What was measured; before that, what is so without measuring.
pub fn counter() -> CycleCounter {
    CLOCK.get().map_or(CycleCounter { frequency: SECOND, user_readable: false }, |clock| clock.counter)
}

/// By what the time is told.
pub fn source() -> Source {
    CLOCK.get().map_or(Source::Host(None), |clock| clock.source.clone())
}

/// Time of day.
pub fn wall_clock() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// The host's clocks beside the counter; `None` when the process was interrupted each time it looked.
pub fn reference() -> Option<Reference> {
    let sample = if USES_TSC.load(Relaxed) {
        let wide = NARROWEST.load(Relaxed) + NARROWEST.load(Relaxed) / 4;
        let sample = sample(FEW, wide);
        if sample.width > 2 * wide {
            return None;
        }
        sample
    } else {
        let monotonic = read(libc::CLOCK_MONOTONIC);
        Sample { cycles: monotonic, monotonic, width: 0 }
    };
    // How far the wall clock is ahead changes only when somebody sets it, so this need not be the same moment; but
    // both must be read close together.
    (0..FEW).find_map(|_| {
        let before = read(libc::CLOCK_MONOTONIC);
        let realtime = read(libc::CLOCK_REALTIME);
        let passed = read(libc::CLOCK_MONOTONIC) - before;
        let ahead = realtime as i64 - (before + passed / 2) as i64;
        (passed < Reference::EXACT).then_some(Reference {
            cycles: sample.cycles,
            monotonic: sample.monotonic,
            wall_clock_ahead: ahead,
        })
    })
}

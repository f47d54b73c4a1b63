//! Clock ids and their classes: which clocks the page can answer for, and which of its tables does.
//!
//! A class is a bit mask over clock ids, because a mask test is one instruction pair where a table or a chain of
//! comparisons is a load or several branches, and this runs on every read of a clock.

/// A clock the page answers for. Every other id is the kernel's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock(u32);

/// How a clock is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Base time plus what the counter has added since.
    HighResolution,
    /// Base time alone: the time of the last tick.
    Coarse,
    /// As high resolution, from the counter as it is, without the adjustments of adjtimex(2).
    Raw,
}

/// Ids read at high resolution: REALTIME, MONOTONIC, BOOTTIME, TAI.
const HIGH_RESOLUTION: u32 = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 11;
/// Ids read without the counter: REALTIME_COARSE, MONOTONIC_COARSE.
const COARSE: u32 = 1 << 5 | 1 << 6;
/// Id with a table of its own: MONOTONIC_RAW.
const RAW: u32 = 1 << 4;

/// Resolution of the coarse clocks in nanoseconds: one tick, 250 a second. It is part of the image, not of the page.
pub const TICK_NANOSECONDS: u32 = 1_000_000_000 / 250;

impl Clock {
    /// `CLOCK_REALTIME`
    pub const REALTIME: Clock = Clock(0);
    /// `CLOCK_MONOTONIC`
    pub const MONOTONIC: Clock = Clock(1);
    /// `CLOCK_MONOTONIC_RAW`
    pub const MONOTONIC_RAW: Clock = Clock(4);
    /// `CLOCK_REALTIME_COARSE`
    pub const REALTIME_COARSE: Clock = Clock(5);
    /// `CLOCK_MONOTONIC_COARSE`
    pub const MONOTONIC_COARSE: Clock = Clock(6);
    /// `CLOCK_BOOTTIME`
    pub const BOOTTIME: Clock = Clock(7);
    /// `CLOCK_TAI`
    pub const TAI: Clock = Clock(11);
    /// Every clock of the page.
    pub const ALL: [Clock; 7] = [
        Clock::REALTIME,
        Clock::MONOTONIC,
        Clock::MONOTONIC_RAW,
        Clock::REALTIME_COARSE,
        Clock::MONOTONIC_COARSE,
        Clock::BOOTTIME,
        Clock::TAI,
    ];

    /// The clock with this id, if the page has it. Compared as unsigned: the negative ids of CPU-time clocks are large.
    ///
    /// The bound is the table's size and not 32, so that this one comparison also proves every later use as an index.
    #[inline(always)]
    pub const fn new(id: i32) -> Option<Clock> {
        let id = id as u32;
        if id < crate::page::CLOCK_ENTRIES as u32 && 1 << id & (HIGH_RESOLUTION | COARSE | RAW) != 0 {
            Some(Clock(id))
        } else {
            None
        }
    }

    /// The id, 0 to 11.
    #[inline(always)]
    pub const fn id(self) -> u32 {
        self.0
    }

    /// How this clock is read.
    #[inline(always)]
    pub const fn class(self) -> Class {
        if 1 << self.0 & HIGH_RESOLUTION != 0 {
            Class::HighResolution
        } else if 1 << self.0 & COARSE != 0 {
            Class::Coarse
        } else {
            Class::Raw
        }
    }

    /// Which of the page's two tables holds it.
    #[inline(always)]
    pub const fn instance(self) -> usize {
        matches!(self.class(), Class::Raw) as usize
    }
}

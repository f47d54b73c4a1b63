//! Clock ids and their classes: which clocks the page can answer for, and which of its tables does.
//!
//! The usual clocks form a bit mask over clock ids: membership is then two instructions, where a table would be a load
//! and a `match` a branch for each. The others are told apart by comparison, so that they do not delay the usual ones.

use crate::page::CLOCK_ENTRIES;
use core::hint::cold_path;

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

    /// The clock with this id and how to read it, if the page has it.
    ///
    /// Compared as unsigned: the negative ids of CPU-time clocks are large numbers.
    #[inline(always)]
    pub const fn new(id: i32) -> Option<(Clock, Class)> {
        let id = id as u32;
        // The table's size rather than the mask's 32: with it the compiler knows every clock for an index of the table.
        if id >= CLOCK_ENTRIES as u32 {
            cold_path();
            return None;
        }
        if HIGH_RESOLUTION >> id & 1 != 0 {
            return Some((Clock(id), Class::HighResolution));
        }
        match id {
            5 | 6 => Some((Clock(id), Class::Coarse)),
            4 => Some((Clock(id), Class::Raw)),
            _ => None,
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
        if HIGH_RESOLUTION >> self.0 & 1 != 0 {
            return Class::HighResolution;
        }
        match self.0 {
            4 => Class::Raw,
            _ => Class::Coarse,
        }
    }
}

impl Class {
    /// Which of the page's two tables holds the clocks of this class.
    #[inline(always)]
    pub const fn instance(self) -> usize {
        match self {
            Class::HighResolution | Class::Coarse => 0,
            Class::Raw => 1,
        }
    }
}

//! Every clock id that Linux 6.18 knows, with what a time namespace does to it and how the vDSO reads it.
//!
//! Source: clock_gettime(2), time_namespaces(7), and for the raw and coarse clocks the behaviour of Linux 6.18:
//! CLOCK_MONOTONIC_RAW and CLOCK_MONOTONIC_COARSE move with CLOCK_MONOTONIC although the manual does not name the first.

/// Which offset of a time namespace is added to a clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shift {
    /// The clock is the same in every namespace.
    None,
    /// The `monotonic` line of timens_offsets.
    Monotonic,
    /// The `boottime` line of timens_offsets.
    Boottime,
}

/// How the vDSO's clock_gettime answers for a clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// From the cycle counter and the high-resolution data, without a system call.
    HighResolution,
    /// From the time of the last tick, without a system call.
    Coarse,
    /// By making the system call.
    SystemCall,
}

/// One row of the table.
pub struct Clock {
    /// The id to pass to clock_gettime(2).
    pub id: i32,
    /// Its name in <time.h>.
    pub name: &'static str,
    /// Which offset applies.
    pub shift: Shift,
    /// What the vDSO does.
    pub path: Path,
}

const fn clock(id: i32, name: &'static str, shift: Shift, path: Path) -> Clock {
    Clock { id, name, shift, path }
}

/// The clocks in the order of their ids.
pub const CLOCKS: &[Clock] = &[
    clock(0, "CLOCK_REALTIME", Shift::None, Path::HighResolution),
    clock(1, "CLOCK_MONOTONIC", Shift::Monotonic, Path::HighResolution),
    clock(2, "CLOCK_PROCESS_CPUTIME_ID", Shift::None, Path::SystemCall),
    clock(3, "CLOCK_THREAD_CPUTIME_ID", Shift::None, Path::SystemCall),
    clock(4, "CLOCK_MONOTONIC_RAW", Shift::Monotonic, Path::HighResolution),
    clock(5, "CLOCK_REALTIME_COARSE", Shift::None, Path::Coarse),
    clock(6, "CLOCK_MONOTONIC_COARSE", Shift::Monotonic, Path::Coarse),
    clock(7, "CLOCK_BOOTTIME", Shift::Boottime, Path::HighResolution),
    clock(8, "CLOCK_REALTIME_ALARM", Shift::None, Path::SystemCall),
    clock(9, "CLOCK_BOOTTIME_ALARM", Shift::Boottime, Path::SystemCall),
    clock(11, "CLOCK_TAI", Shift::None, Path::HighResolution),
];

/// The ids below 32 that name no clock. 16 to 23 are the auxiliary clocks of 6.17, a case of their own.
pub const UNUSED_IDS: &[i32] = &[10, 12, 13, 14, 15, 24, 25, 31, 100, i32::MAX];

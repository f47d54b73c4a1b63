//! The data area: what lies on each page below the vDSO, field by field, as in Linux 6.18.
//!
//! The kernel maps these pages read-only right below the image, so the image finds them at fixed distances from its own
//! code. Page 0 is either the one system-wide page, or, in a time namespace, the namespace's page; then the system-wide
//! page is mapped as the companion, page 1. Both have the same layout: what is a clock's base time in the one is a
//! clock's offset in the other.
//!
//! There is no kernel interface that promises this layout: a vDSO and its page are made by the same kernel. It is
//! Linux's all the same, so that tools which look at the page (and this crate's own test, which reads the page of
//! the machine it runs on) need no second table.

use crate::atomics::{AtomicI32, AtomicU8, AtomicU32, AtomicU64};
use crate::clocks::Clock;
use crate::seqcount::SequenceCount;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;
/// Page 0 of `[vvar]`: [`TimeData`], the system's, or the task's time namespace's.
pub const TIME_PAGE: usize = 0;
/// Page 1 of `[vvar]`: inside a time namespace the system's [`TimeData`]; outside nothing, touching it is SIGBUS.
pub const COMPANION_PAGE: usize = 1;
/// Page 2 of `[vvar]`: [`RandomData`].
pub const RANDOM_PAGE: usize = 2;
/// Page 3 of `[vvar]`: for the architecture's own use. x86 has none; touching it is SIGBUS.
pub const ARCHITECTURE_PAGE: usize = 3;
/// Pages of the mapping `[vvar]`.
pub const VVAR_PAGES: usize = 4;
/// Pages of the mapping `[vvar_vclock]`, which follows: clocks shared with a hypervisor. There are none; SIGBUS.
pub const VCLOCK_PAGES: usize = 2;
/// All data pages: the image begins this many pages above the start of `[vvar]`.
pub const DATA_PAGES: usize = VVAR_PAGES + VCLOCK_PAGES;

/// Entries of a clock's table, indexed by clock id: 0 (`CLOCK_REALTIME`) to 11 (`CLOCK_TAI`).
pub const CLOCK_ENTRIES: usize = 12;

/// `clock_mode`: there is no counter user space could read, ask the kernel.
pub const MODE_NONE: i32 = 0;
/// `clock_mode`: the counter is the TSC.
pub const MODE_TSC: i32 = 1;
/// `clock_mode`: this is a namespace's page, which holds offsets; the clocks are on the companion page.
pub const MODE_TIME_NAMESPACE: i32 = i32::MAX;

/// One entry of a clock's table.
///
/// On the system's page a base time: `seconds`, and `nanoseconds`, which for a high-resolution clock is shifted left
/// by [`ClockData::shift`] so that no fraction is lost between updates, and for a coarse clock is plain.
/// On a namespace's page an offset: `seconds` is then two's complement, `nanoseconds` in 0..10^9.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Entry {
    /// Whole seconds.
    pub seconds: AtomicU64,
    /// The rest, in the unit said above.
    pub nanoseconds: AtomicU64,
}

/// One counter, how to turn it into time, and what each clock showed when it was last looked at.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ClockData {
    /// Odd while an update is under way. On a namespace's page always 1.
    pub sequence: SequenceCount,
    /// One of the `MODE_` constants.
    pub clock_mode: AtomicI32,
    /// The counter at the last update, in cycles.
    pub cycle_last: AtomicU64,
    /// The largest number of cycles since then whose product with `mult` still fits in 64 bits.
    pub max_cycles: AtomicU64,
    /// Which bits of the counter count. x86 readers do not look: the TSC has all 64.
    pub mask: AtomicU64,
    /// Nanoseconds = cycles * `mult` >> `shift`. Zero is allowed: a clock that stands still between updates.
    pub mult: AtomicU32,
    /// See `mult`.
    pub shift: AtomicU32,
    /// Base times or offsets by clock id.
    pub entries: [Entry; CLOCK_ENTRIES],
}

/// The time page. Aligned to a cache line, which also rounds its size up to one.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct TimeData {
    /// \[0\]: the clocks that follow the adjusted counter, and the coarse ones. \[1\]: `CLOCK_MONOTONIC_RAW`.
    pub clocks: [ClockData; 2],
    /// Auxiliary clocks, ids 16 to 23. None is ever configured here; the room keeps the layout.
    pub auxiliary: [ClockData; 8],
    /// Minutes west of Greenwich, as settimeofday(2) left it.
    pub tz_minuteswest: AtomicI32,
    /// Kind of daylight saving, as settimeofday(2) left it.
    pub tz_dsttime: AtomicI32,
    /// Resolution of the high-resolution clocks in nanoseconds: 1, or a tick while there are no high-resolution timers.
    pub hrtimer_res: AtomicU32,
    /// Fills up to a multiple of eight.
    pub padding: AtomicU32,
}

/// The random page: lets a user-space generator notice that the kernel has reseeded.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RandomData {
    /// Changes with every reseeding.
    pub generation: AtomicU64,
    /// Not 0 once the kernel's generator has been seeded.
    pub is_ready: AtomicU8,
    /// Not 0 when the machine has one processor, number 0, and `lsl` would give a number that means nothing to it. This
    /// has nothing to do with the rest of the page; but the page is the same inside and outside of namespaces. On Linux
    /// there is padding here.
    pub is_single_processor: AtomicU8,
}

impl TimeData {
    /// A page of zeros: no counter, every clock at 0.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        // SAFETY: integers in an atomic's clothes, of which any bits are valid.
        unsafe { core::mem::zeroed() }
    }

    /// The counter and the table that serve `clock`.
    #[inline(always)]
    pub fn clock_data(&self, clock: Clock) -> &ClockData {
        &self.clocks[clock.class().instance()]
    }
}

impl ClockData {
    /// The entry of `clock`, in this table.
    #[inline(always)]
    pub fn entry(&self, clock: Clock) -> &Entry {
        // SAFETY: a `Clock`'s id is below the number of entries; its constructors see to that.
        unsafe { self.entries.get_unchecked(clock.id() as usize) }
    }
}

// The layout, said a second time as numbers, because a reordered field would otherwise go unnoticed: both sides of this
// crate would still agree with each other. loom's atomics are larger, they carry their history.
#[cfg(not(loom))]
const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<Entry>() == 16);
    assert!(size_of::<ClockData>() == 232);
    assert!(offset_of!(ClockData, sequence) == 0);
    assert!(offset_of!(ClockData, clock_mode) == 4);
    assert!(offset_of!(ClockData, cycle_last) == 8);
    assert!(offset_of!(ClockData, max_cycles) == 16);
    assert!(offset_of!(ClockData, mask) == 24);
    assert!(offset_of!(ClockData, mult) == 32);
    assert!(offset_of!(ClockData, shift) == 36);
    assert!(offset_of!(ClockData, entries) == 40);
    assert!(size_of::<TimeData>() == 2368);
    assert!(offset_of!(TimeData, clocks) == 0);
    assert!(offset_of!(TimeData, auxiliary) == 464);
    assert!(offset_of!(TimeData, tz_minuteswest) == 2320);
    assert!(offset_of!(TimeData, tz_dsttime) == 2324);
    assert!(offset_of!(TimeData, hrtimer_res) == 2328);
    assert!(offset_of!(RandomData, is_ready) == 8);
    assert!(offset_of!(RandomData, is_single_processor) == 9);
    assert!(size_of::<TimeData>() <= PAGE_SIZE);
};

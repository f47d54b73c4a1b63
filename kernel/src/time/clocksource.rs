//! What all clocks count: the machine's counter, or in virtual time a number of the kernel's own.
//!
//! Virtual time (`clock=virtual`) makes a run repeatable. There is one *now*, in nanoseconds, from which every clock and
//! every namespace derives. It moves in two ways only: by a fixed charge at each system call and exception, and, when
//! nobody has anything to do, straight to the next deadline. So `sleep 1000` ends at once, a loop that polls a clock ends
//! too, and the same programs see the same times on every run and on every machine.
//!
//! Page faults are free of charge: how many there are depends on the instructions a C library picks for the processor it
//! finds, and with them the run would depend on the processor.
//!
//! A program that reads clocks through the vDSO would not be seen doing so. With `clock=virtual` the page therefore says
//! that no counter can be read, and each reading is a system call, charged as one. With `clock=virtual,vdso` readings stay
//! in the vDSO, where the clocks stand still from one trap to the next: a cycle of the counter is worth nothing.

use crate::arch::{Hardware, Machine, Reference};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// Nanoseconds by which a trap moves virtual time.
pub const CHARGE: u64 = 1_000;
/// Where the wall clock begins in virtual time: 2000-01-01 00:00:00 UTC, in nanoseconds since 1970.
pub const WALL_CLOCK: u64 = 946_684_800 * 1_000_000_000;

/// What the clocks count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Source {
    /// The machine's counter.
    Counter,
    /// Virtual time; programs ask the kernel for it.
    Virtual,
    /// Virtual time; programs read it from the page.
    VirtualOnPage,
}

impl Source {
    /// What `clock=` asks for.
    ///
    /// # Panics
    /// When there is no such clock.
    pub(super) fn named(name: Option<&str>) -> Self {
        match name {
            Some("virtual") => Self::Virtual,
            Some("virtual,vdso") => Self::VirtualOnPage,
            // Whoever asks for repeatable runs must not be given others.
            Some(other) => panic!("clock={other} is not known: there are virtual and virtual,vdso"),
            None => Self::Counter,
        }
    }
}

static SOURCE: AtomicU8 = AtomicU8::new(Source::Counter as u8);
/// Virtual time, in nanoseconds since boot.
static NOW: AtomicU64 = AtomicU64::new(0);

/// Chooses, once, before the first clock is read.
pub(super) fn choose(source: Source) {
    SOURCE.store(source as u8, Relaxed);
}

/// What was chosen.
pub fn source() -> Source {
    match SOURCE.load(Relaxed) {
        value if value == Source::Virtual as u8 => Source::Virtual,
        value if value == Source::VirtualOnPage as u8 => Source::VirtualOnPage,
        _ => Source::Counter,
    }
}

/// Whether time is virtual. Asked at every trap, so it is one load and one comparison.
#[inline(always)]
pub fn is_virtual() -> bool {
    SOURCE.load(Relaxed) != Source::Counter as u8
}

/// The count now.
#[inline(always)]
pub fn cycles() -> u64 {
    if is_virtual() { virtual_now() } else { counter() }
}

/// The count now, for who knows that time is not virtual.
#[inline(always)]
pub fn counter() -> u64 {
    Hardware::cycles()
}

/// A clock better than the count, looked at now.
pub(super) fn reference() -> Option<Reference> {
    if is_virtual() { None } else { Hardware::reference() }
}

/// Counts in a second.
pub fn frequency() -> u64 {
    if is_virtual() { super::timekeeper::SECOND } else { Hardware::cycle_counter().frequency }
}

#[cold]
fn virtual_now() -> u64 {
    NOW.load(Relaxed)
}

/// Moves virtual time by so much.
pub(super) fn add(nanoseconds: u64) {
    NOW.fetch_add(nanoseconds, Relaxed);
}

/// Moves virtual time to a moment, if that is later.
pub(super) fn reach(moment: u64) {
    NOW.fetch_max(moment, Relaxed);
}

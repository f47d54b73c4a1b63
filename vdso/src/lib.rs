//! The VVAR page and its readers: one definition for the kernel that writes it and the programs that read it.
//!
//! A program that wants the time calls a function which the kernel has mapped into it (the vDSO), and that function
//! reads a page which the kernel has mapped below it and keeps up to date. No system call is made. This crate is both
//! sides of that page. It has no dependency and no state.
//!
//! There are two crate roots over the same files. This one is for the kernel and the tests. `image.rs` is compiled by
//! itself into the object that becomes `vdso.so`; it adds the exported symbols and leaves out [`mod@write`].
//!
//! # For the kernel
//!
//! **Pages.** [`page`] has the numbers and the layout. A data page is a zeroed frame, seen as a `&TimeData`:
//! ```
//! # use gnomon_vdso::page::TimeData;
//! # #[repr(align(4096))] struct Frame([u64; 512]);
//! # let frame = Box::new(Frame([0; 512]));
//! # let frame: *const TimeData = (&raw const *frame).cast();
//! // SAFETY: a whole frame, zeroed, ours as long as the reference lives, and only ever accessed as a `TimeData`.
//! let page: &TimeData = unsafe { &*frame };
//! ```
//! All-zero bytes are a valid page: no counter, every clock at 0. The mappings, from low to high, adjacent:
//! `[vvar]` ([`page::VVAR_PAGES`]), `[vvar_vclock]` ([`page::VCLOCK_PAGES`]), `[vdso]` (the image, rounded up to pages).
//!
//! **Publishing**, under the timekeeper's lock, in every tick and at every change of a clock:
//! ```
//! use gnomon_vdso::{clocks::{Class, Clock}, cycles::Conversion, page::{self, TimeData}, write::Counter};
//! # let page = &TimeData::new();
//! # let (tsc, boottime_seconds, fraction) = (0, 5, 0);
//! let conversion = Conversion::for_frequency(2_596_000_000, 600); // hertz; seconds without an update at full precision
//! page.update(|update| {
//!     let counter = Counter::new(page::MODE_TSC, tsc, conversion);
//!     update.counter(Class::HighResolution, &counter);            // and Class::Raw, which is never adjusted
//!     update.base(Clock::BOOTTIME, boottime_seconds, fraction);   // nanoseconds << conversion.shift, below a second
//!     update.base(Clock::MONOTONIC_COARSE, 5, 20_000_000);        // plain nanoseconds
//!     update.resolution(1);
//! });
//! ```
//! A standing clock (`mult` 0) is `Conversion { mult: 0, shift: 0 }`. With [`page::MODE_NONE`] programs make the system
//! call for every clock but the coarse ones; publish everything all the same, the kernel's own reads need it.
//!
//! **Reading** in the kernel, for the system calls and everything else: [`read::read`]. It returns host time; a namespace's
//! offset is added by whoever answers the program.
//! ```
//! # use gnomon_vdso::{clocks::Clock, page::TimeData, read};
//! # let page = &TimeData::new();
//! # let clock_source = || 0;
//! let time = read::read(page, Clock::MONOTONIC, |_mode| Some(clock_source()));
//! ```
//! For other bookkeeping (accumulating a tick, turning cycles into a `u64` of nanoseconds) use [`cycles`], so that the
//! rounding is the reader's.
//!
//! **A namespace's page**, once, when its first task enters it: `write::fill_namespace_page` (feature `time_ns`).
//!
//! **getrandom** needs nothing but a random page that says it is ready, and a generation that is not 0.
//!
//! **getcpu** is read with `lsl` from segment selector [`calls::PROCESSOR_SELECTOR`]: on each processor a data segment of
//! privilege level 3 whose limit (not scaled) is `node << 12 | cpu`. Without it the system call is made. Where that segment is
//! somebody else's, the random page says so ([`page::RandomData::is_single_processor`]).

#![cfg_attr(not(test), no_std)]

mod atomics;
pub mod calls;
pub mod chacha;
pub mod clocks;
pub mod counter;
pub mod cycles;
pub mod page;
pub mod random;
pub mod read;
pub mod seqcount;
pub mod write;

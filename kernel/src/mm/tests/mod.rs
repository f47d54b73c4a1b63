//! Address spaces as programs find them, on the host: what is mapped, what a touch brings, what it costs in frames.
//!
//! [`support`] has a file and a source of special pages that live in memory, for the tests of other folders too.

mod buffers;
mod calls;
mod faults;
mod regions;
mod spaces;
pub mod support;
mod user;

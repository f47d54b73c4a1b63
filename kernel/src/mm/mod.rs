//! Memory: whose frames are whose, what a program sees where, and the one place where its memory is touched.
//!
//! From the bottom up, a chapter a file:
//! * [`zones`] are the lists of free frames; [`frames`] keeps account of every frame of RAM, and a [`frames::PageRef`] is a
//!   counted reference to one.
//! * [`heap`] is where `Box`, `Arc` and `Vec` come from; [`reserve`] is why they do not fail on a program's account.
//! * [`source`] is what can be mapped besides fresh memory: a file, or memory shared without one.
//! * [`regions`] is what an address space *should* hold (`/proc/PID/maps`), [`mappings`] what its page table holds now.
//! * [`address_space`] joins the two; [`placement`], [`mapping_calls`], [`advice`] are the system calls on them, and
//!   [`faults`] brings pages in when they are touched, copying those that are shared only until someone writes.
//! * [`special`] is the pages the kernel itself gives every program: `[vvar]`, `[vvar_vclock]`, `[vdso]`.
//! * [`user`] reads and writes a program's memory; [`buffers`] are the buffers of its reads and writes; [`remote`] reaches
//!   into that of another, and [`usage`] counts what is there; [`withdrawal`] takes away what a file has lost.
//!
//! `unsafe` is confined to four of these: `frames`, `heap`, `mappings`, `user`.

pub mod address_space;
pub mod advice;
pub mod buffers;
pub mod faults;
#[allow(unsafe_code, reason = "frames of RAM are reached through bare pointers")]
pub mod frames;
#[allow(unsafe_code, reason = "the allocator hands out bare memory")]
pub mod heap;
pub mod mapping_calls;
#[allow(unsafe_code, reason = "a page table holds counted references as bare numbers")]
mod mappings;
pub mod placement;
pub mod regions;
mod remote;
pub mod reserve;
pub mod source;
pub mod special;
pub mod usage;
#[allow(unsafe_code, reason = "a program's memory is an atomic to the kernel")]
pub mod user;
pub mod withdrawal;
mod zones;

pub use address_space::AddressSpace;
pub use faults::Fault;
pub use frames::PageRef;
pub use placement::{MapRequest, Placement};
pub use regions::{Backing, RegionFlags};
pub use source::PageSource;

#[cfg(test)]
pub mod tests;

//! The atomics the page is made of: `core`'s, or, to check the protocol, `loom`'s.
//!
//! Everything in the page is an atomic, though the writer and the readers order their accesses by the sequence counter
//! alone. The writer changes fields while readers look at them; with plain fields that is a data race, and a data race
//! is undefined behaviour even when the value read is thrown away. Relaxed atomics cost nothing on x86 (they are the
//! same `mov`), make both sides safe Rust, and let `loom` replace them to try every order the memory model allows.

#[cfg(not(loom))]
pub use core::{
    hint::spin_loop,
    sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(loom)]
pub use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};

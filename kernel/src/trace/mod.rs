//! What happened, for whoever asks: the kernel's log, the events of virtual time, and the last words of a panic.

pub mod events;
pub mod log;
pub mod panic;

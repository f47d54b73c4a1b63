//! What happened, for whoever asks: the kernel's log, and the last words of a panic.

pub mod log;
pub mod panic;

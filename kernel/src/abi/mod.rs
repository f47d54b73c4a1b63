//! What Linux promised its programs: numbers, flags and structures, as types that cannot be mixed up.
//!
//! The bare constants come from the crate `linux-raw-sys`; here they get types. Nothing in this folder has behaviour
//! beyond converting and checking itself.

mod clock;
mod command_line;
mod errno;
mod pointer;
mod signal_number;

pub use clock::{ClockId, NANOSECONDS_PER_SECOND, Timespec, Timeval};
pub use command_line::CommandLine;
pub use errno::{Errno, Result};
pub use pointer::UserPointer;
pub use signal_number::{Signal, SignalSet};

/// Linux' constants, as `linux-raw-sys` names them.
pub use linux_raw_sys::general as linux;
/// Those of sockets.
pub use linux_raw_sys::net;

/// Numbers of the task that a `pid_t` names: a thread's id, a process' id (its first thread's), a group's or a session's.
pub type TaskId = u32;

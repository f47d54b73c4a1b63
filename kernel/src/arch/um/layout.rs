//! Where things lie in a program's host process.
//!
//! ```text
//! 0 .. USER_END        the program's, as its page table says
//! STUB .. + 1 page     the stub: the few instructions through which the kernel acts in the process
//! SLOTS ..             a slot for each thread: what the kernel and the stub tell each other, and the stub's stack
//! ```
//! The stub lies below where hosts put a process' first stack, so that it can be loaded there whatever the host's address
//! randomisation does. All else that a host puts into a process is unmapped before a program runs in it, its vDSO too.

/// One past the last address a program can have.
pub const USER_END: usize = 0x7ff0_0000_0000;
/// Where the stub is.
pub const STUB: usize = USER_END;
/// Where the slots begin, one behind the other.
pub const SLOTS: usize = STUB + 0x10_0000;

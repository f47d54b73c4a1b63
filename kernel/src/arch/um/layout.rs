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
/// Bytes of a slot, and what it is aligned to.
pub const SLOT_SIZE: usize = 0x8000;
/// One past the last address any host process has.
pub const HOST_END: usize = 0x7fff_ffff_f000;

/// In a slot: the program's segment bases, which signal frames do not hold. The stub writes them on the way in and loads
/// them on the way out.
pub const BASES: usize = 0;
/// In a slot: how many operations there are, for the start of the first process alone.
pub const START_COUNT: usize = 16;
/// In a slot: how the stub and the kernel take turns, [`super::turns`]: 0 by notification, else by the words that follow.
pub const BY_WORD: usize = 24;
/// In a slot: whose turn it is.
pub const TURN: usize = 28;
/// In a slot: what the stub reports, a signal and where its frame is.
pub const REPORT: usize = 32;
/// In a slot: the kernel's answer.
pub const ANSWER: usize = 48;
/// In a slot: the operations.
pub const OPERATIONS: usize = 64;
/// The most operations a slot has room for.
pub const MOST_OPERATIONS: usize = (STACK - OPERATIONS) / 64;
/// In a slot: the stack that host signals are taken on, up to the end.
pub const STACK: usize = 0x1000;

/// The file descriptor of RAM in host processes.
pub const RAM_DESCRIPTOR: i32 = 3;
/// The file descriptor of the slots' memory in host processes.
pub const SLOTS_DESCRIPTOR: i32 = 4;

//! What a task must look at before its program runs again: one word, so that the usual answer, "nothing", is one load.
//!
//! Others set bits here and wake the task; the task itself clears them when it has looked. The bits are hints kept on
//! the safe side: one may be set for nothing, and costs a look; none may be missing.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The word.
#[derive(Default)]
pub struct Attention(AtomicU32);

/// A bit of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cause(u32);

/// A signal that is not blocked is pending.
pub const SIGNAL: Cause = Cause(1);
/// The task must end: its process is ending, or another thread of it executes a program.
pub const KILLED: Cause = Cause(2);
/// The process is to stop: SIGSTOP and its like.
pub const STOP: Cause = Cause(4);
/// The signal mask is a temporary one: sigsuspend(2), pselect(2).
pub const MASK: Cause = Cause(8);
/// In virtual time: the task has made a trap, which moves time.
pub const CLOCK: Cause = Cause(16);
/// The program touched a page that there is no memory for.
pub const MEMORY: Cause = Cause(32);
/// A task of a higher rank could run.
pub const TURN: Cause = Cause(64);

impl Attention {
    /// Whether there is anything.
    pub fn is_wanted(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    /// Whether this is there.
    pub fn has(&self, cause: Cause) -> bool {
        self.0.load(Relaxed) & cause.0 != 0
    }

    /// Whether this is there, and nothing else.
    pub fn is_only(&self, cause: Cause) -> bool {
        self.0.load(Relaxed) == cause.0
    }

    /// Whether any of these would end a wait: a signal, the task's end, or a stop.
    pub fn interrupts(&self) -> bool {
        self.0.load(Relaxed) & (SIGNAL.0 | KILLED.0 | STOP.0) != 0
    }

    /// Sets it.
    pub fn set(&self, cause: Cause) {
        self.0.fetch_or(cause.0, Relaxed);
    }

    /// Clears it.
    pub fn clear(&self, cause: Cause) {
        self.0.fetch_and(!cause.0, Relaxed);
    }

    /// Sets or clears it.
    pub fn put(&self, cause: Cause, wanted: bool) {
        if wanted { self.set(cause) } else { self.clear(cause) }
    }
}

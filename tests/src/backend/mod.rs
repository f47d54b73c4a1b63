//! A backend starts one kind of machine and hands back its console; it knows no scenario.
//!
//! Three questions make the contract: can it run here, start it, and — of a running one — did it end, and how. Reading
//! and writing the console is done by [`crate::machine`], the same for all, over two file descriptors.

mod linux;
mod piped;
mod qemu;
mod user_mode;
mod waiting;

pub use linux::Linux;
pub use qemu::{Qemu, STOPPED};
pub use user_mode::UserMode;
pub use waiting::Share;

use crate::boot::Boot;
use crate::failure::Result;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Instant;

/// One kind of machine.
pub trait Backend: Sync {
    /// The name after `::` in a test's name.
    fn name(&self) -> &'static str;

    /// Why it cannot run here, if it cannot. The harness then shows every scenario of it as skipped.
    fn obstacle(&self) -> Option<String>;

    /// Starts it. `stem` is where files for this boot may be left; append an extension.
    fn start(&self, boot: &Boot, stem: &Path) -> Result<Box<dyn Guest>>;
}

/// A running machine. Dropping it ends it.
pub trait Guest {
    /// The moment it was started, just before the process was made.
    fn started(&self) -> Instant;

    /// What it has had of the host's CPUs since then, and how long it was ready to run and did not.
    fn share(&self) -> Share;

    /// Where what the machine prints is read. End of file means it is about to end.
    fn output(&self) -> BorrowedFd<'_>;

    /// Where keys are typed.
    fn input(&self) -> BorrowedFd<'_>;

    /// How it ended, if it has.
    fn ended(&mut self) -> Result<Option<Ending>>;

    /// Where its processors stand, a line each, for the message about a hang; nothing where that is not known.
    fn position(&mut self) -> Option<String>;
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// `reboot(LINUX_REBOOT_CMD_POWER_OFF)` or `_HALT`.
    PoweredOff,
    /// `reboot(LINUX_REBOOT_CMD_RESTART)`.
    Restarted,
    /// The kernel gave up and said so by its exit status.
    Panicked,
    /// Init exited. On a real machine that is a panic; where init is a process of the host it is only this.
    InitExited(i32),
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::PoweredOff => write!(out, "powered off"),
            Ending::Restarted => write!(out, "restarted"),
            Ending::Panicked => write!(out, "panicked"),
            Ending::InitExited(status) => write!(out, "init exited with status {status}"),
            Ending::Other(words) => write!(out, "{words}"),
        }
    }
}

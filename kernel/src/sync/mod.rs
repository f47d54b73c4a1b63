//! How parts of the kernel keep out of each other's way, and wait for each other.

mod lock;
mod per_cpu;
mod wait;

pub use lock::{Guard, SpinLock};
pub use per_cpu::PerCpu;
/// A value that is computed at first use, or set once at boot.
pub use spin::{LazyLock, Once};
pub use wait::{News, Place, Registration, WaitQueue, Watch};

//! Which program the kernel waits for, and how another thread of the kernel gets it to stop.
//!
//! A kernel that waits for a program cannot be woken by a host signal to itself: the signal may arrive just before the
//! wait begins and is lost. So an interrupt is sent to the *program*: a signal to its host thread enters the stub like
//! any trap, and a signal that arrives before the program runs stays pending until it does.

use core::sync::atomic::{AtomicI32, Ordering};

/// The host process and thread the kernel waits for; 0 while it does not.
static PROCESS: AtomicI32 = AtomicI32::new(0);
static THREAD: AtomicI32 = AtomicI32::new(0);

/// The host signal that stops a program.
pub const KICK: i32 = libc::SIGUSR1;

/// Has the program that runs now return to the kernel soon; does nothing when none runs.
///
/// For the interrupt thread: first record the interrupt where `interrupts::are_pending` finds it, then call this. User mode
/// is entered in the opposite order (first this module is told, then `are_pending` is asked), so one of the two sees the
/// other. Call it again from time to time (some tens of milliseconds) as long as the interrupt has not been taken.
pub fn kick() {
    let (process, thread) = (PROCESS.load(Ordering::SeqCst), THREAD.load(Ordering::SeqCst));
    if thread != 0 {
        // SAFETY: sends a signal. A thread that has ended meanwhile makes it fail, and there is nothing to stop then.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread, KICK) };
    }
}

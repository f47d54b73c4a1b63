//! Which host thread the kernel waits for, and how the interrupt thread ends that wait.
//!
//! A kernel that waits for a program cannot be woken by a host signal to itself: the signal may arrive just before the
//! wait begins, and is lost. So an interrupt is sent to the *program*: a signal to its host thread enters the stub like
//! any trap, and one that arrives before the program runs stays pending until it does.
//!
//! Two things can go wrong with that, and both are seen here, because this is called again until the kernel has taken the
//! interrupt. The process may have died, killed by somebody on the host: then the kernel *is* sent a signal, again and
//! again until it has noticed. Or the program may not heed the signal, because it got its host thread to block it: then it
//! is killed.

use super::statistics::{self, Event};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::io;

/// The host process and thread the kernel waits for; 0 while it does not.
static PROCESS: AtomicI32 = AtomicI32::new(0);
static THREAD: AtomicI32 = AtomicI32::new(0);
/// The host's number of the kernel's own thread.
static KERNEL: AtomicI32 = AtomicI32::new(0);
/// How many waits there have been, and the one that was last found unfinished, and how often.
static WAITS: AtomicU64 = AtomicU64::new(0);
static UNFINISHED: AtomicU64 = AtomicU64::new(0);
static UNHEEDED: AtomicU32 = AtomicU32::new(0);

/// The host signal that stops a program.
pub const KICK: i32 = libc::SIGUSR1;
/// The host signal that interrupts the kernel's own wait.
const WAKE: i32 = libc::SIGUSR2;
/// How many kicks a program may leave unheeded.
const PATIENCE: u32 = 100;

/// Prepares the kernel's own thread, which must be the one that calls, to be woken. Errors: what the host says.
pub fn initialize() -> io::Result<()> {
    extern "C" fn wake(_signal: i32) {}
    // SAFETY: zeros are a valid value: no flags (so that calls are interrupted, not restarted), nothing blocked.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = wake as extern "C" fn(i32) as usize;
    // SAFETY: a handler that does nothing can run at any time.
    if unsafe { libc::sigaction(WAKE, &action, core::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: only asks.
    KERNEL.store(unsafe { libc::gettid() }, SeqCst);
    Ok(())
}

/// The kernel is about to wait for this thread.
pub fn begin(process: i32, thread: i32) {
    WAITS.fetch_add(1, SeqCst);
    PROCESS.store(process, SeqCst);
    THREAD.store(thread, SeqCst);
    statistics::program_begins();
}

/// It no longer waits.
pub fn end() {
    statistics::program_ends();
    THREAD.store(0, SeqCst);
}

/// Has the program that runs now return to the kernel soon; does nothing when none runs.
///
/// For the interrupt thread: first record the interrupt where `interrupts::are_pending` finds it, then call this. User mode
/// is entered in the opposite order (first [`begin`], then `are_pending` is asked), so one of the two sees the other. To be
/// called again every ten milliseconds or so for as long as the interrupt has not been taken; and at least ten times a
/// second while a program runs, so that its death is noticed.
pub fn kick() {
    let (process, thread, wait) = (PROCESS.load(SeqCst), THREAD.load(SeqCst), WAITS.load(SeqCst));
    if thread == 0 {
        return;
    }
    if UNFINISHED.swap(wait, SeqCst) != wait {
        UNHEEDED.store(0, SeqCst);
    } else if UNHEEDED.fetch_add(1, SeqCst) >= PATIENCE {
        // SAFETY: sends a signal, to a child of ours.
        unsafe { libc::kill(process, libc::SIGKILL) };
    }
    statistics::count(Event::Kick);
    // SAFETY: both send signals. If the thread is gone, it may be that nobody else has its number yet: numbers are given
    // again only when the parent, which we are, has taken note of the end.
    unsafe {
        libc::syscall(libc::SYS_tgkill, process, thread, KICK);
        if has_died(process) {
            libc::syscall(libc::SYS_tgkill, libc::getpid(), KERNEL.load(SeqCst), WAKE);
        }
    }
}

/// Whether a child has ended. Its number stays its own until [`bury`].
pub fn has_died(process: i32) -> bool {
    // SAFETY: zeros are a valid value.
    let mut information: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: it writes to `information`.
    let result = unsafe { libc::waitid(libc::P_PID, process as u32, &mut information, options) };
    // SAFETY: waitid has filled it in.
    result == 0 && unsafe { information.si_pid() } == process
}

/// Takes note of a child's end, waiting for it unless WNOHANG is among the options. False: it has not ended yet.
pub fn bury(process: i32, options: i32) -> bool {
    // SAFETY: writes nothing.
    unsafe { libc::waitpid(process, core::ptr::null_mut(), options | libc::__WALL) != 0 }
}

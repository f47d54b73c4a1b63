//! The terminal lent to a machine: put back as it was, however the machine or this program ends.
//!
//! QEMU itself makes the terminal raw, so that control-C reaches the machine's shell and not QEMU, and puts it back when it
//! leaves by its own will. It does not when it is killed, and then the reader's shell is left without echo. So the
//! state is taken before and restored after, and the signals that would end us are turned into an end of the machine.

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers the state of standard input's terminal, if it is one, and restores it when dropped.
pub struct Guard {
    before: Option<(Termios, OFlags)>,
}

impl Guard {
    /// Takes the state as it is now.
    pub fn new() -> Guard {
        let stdin = rustix::stdio::stdin();
        let modes = rustix::termios::tcgetattr(stdin).ok();
        Guard { before: modes.zip(rustix::fs::fcntl_getfl(stdin).ok()) }
    }
}

impl Default for Guard {
    fn default() -> Guard {
        Guard::new()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((modes, flags)) = &self.before {
            let stdin = rustix::stdio::stdin();
            // QEMU also makes the descriptor non-blocking, which belongs to the terminal, not to the process. A
            // terminal that is gone cannot be restored, and then nobody misses it.
            let _ = rustix::termios::tcsetattr(stdin, OptionalActions::Now, modes);
            let _ = rustix::fs::fcntl_setfl(stdin, *flags);
        }
    }
}

/// Becomes true when somebody asks this program to end (SIGINT, SIGTERM, SIGHUP).
pub fn told_to_end() -> Result<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&told)).context("cannot listen for signals")?;
    }
    Ok(told)
}

/// Whether it has become true.
pub fn was_told(told: &AtomicBool) -> bool {
    told.load(Ordering::Relaxed)
}

/// Makes a program about to be started end together with us, even if we are killed without a chance to act.
pub fn end_with_us(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let die = || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl(2) is one system call.
    unsafe { command.pre_exec(die) };
}

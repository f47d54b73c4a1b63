//! The last words: what a panic prints before the machine stops.
//!
//! A panic means the kernel is wrong, or that init has exited and there is nothing left to run. The first line can be
//! searched for: `kernel panic: REASON at FILE:LINE`.

use super::log::ConsoleText;
use crate::arch::{Hardware, Machine};
use core::{
    fmt::{Display, Write},
    panic::Location,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

/// Prints the reason, the task that was running, the registers and a backtrace; then stops the machine with failure.
pub fn stop(reason: &dyn Display, place: Option<&Location<'_>>, task: &dyn Display) -> ! {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    // A panic while describing a panic: what is on the console has to do.
    if !PANICKING.swap(true, SeqCst) {
        let mut console = ConsoleText;
        let _ = match place {
            Some(place) => {
                writeln!(console, "\nkernel panic: {reason} at {}:{}", place.file(), place.line())
            }
            None => writeln!(console, "\nkernel panic: {reason}"),
        };
        let _ = writeln!(console, "task: {task}");
        Hardware::describe_state(&mut console);
    }
    Hardware::stop_after_panic()
}

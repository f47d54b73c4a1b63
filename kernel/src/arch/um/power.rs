//! The end: every way out of the process, each of which puts the terminal back.
//!
//! The programs' host processes are ended first. If there is no time for that the host does it, when it finds this one
//! gone.

use super::{console, host, statistics, zygote};
use core::ptr;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

/// Exit status after a power-off, after a panic, and when the machine could not be made.
pub const SUCCESS: i32 = 0;
/// See [`SUCCESS`].
pub const FAILURE: i32 = 1;
/// See [`SUCCESS`].
pub const NO_MACHINE: i32 = 2;

fn leave(status: i32) -> ! {
    console::restore();
    zygote::end_all();
    statistics::tell();
    // Not `exit`, which would run what libraries have asked to be run while another thread is using them.
    // SAFETY: it ends the process, whatever state it is in.
    unsafe { libc::_exit(status) }
}

/// Switches off.
pub fn off() -> ! {
    leave(SUCCESS)
}

/// Ends after a panic.
pub fn stop_after_panic() -> ! {
    leave(FAILURE)
}

/// Says why there is no machine, and ends.
pub fn give_up(reason: &dyn core::fmt::Display) -> ! {
    console::restore();
    std::eprintln!("gnomon-um: {reason}");
    leave(NO_MACHINE)
}

/// Starts anew: the same program with the same arguments takes this process' place.
pub fn restart() -> ! {
    console::restore();
    zygote::end_all();
    statistics::tell();
    let arguments: alloc::vec::Vec<CString> =
        std::env::args_os().filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    let mut pointers: alloc::vec::Vec<_> = arguments.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    // SAFETY: a list of strings that ends with null, as execv(3) wants it.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
    give_up(&format_args!("cannot start anew: {}", std::io::Error::last_os_error()))
}

/// A signal from outside asks the process to end, and it ends by that signal, so that its parent knows.
pub fn end_by(signal: libc::c_int) -> ! {
    console::restore();
    zygote::end_all();
    // SAFETY: sets the signal's usual effect, which ends the process, lets it through, and sends it.
    unsafe {
        let mut set = core::mem::MaybeUninit::uninit();
        libc::signal(signal, libc::SIG_DFL);
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        let _ = host::result(libc::raise(signal));
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
    }
    leave(FAILURE)
}

/// The host process that all are made from is gone: by somebody's hand, or because the host is short of memory, when that
/// one is ended before the kernel. Then there is little time, and no memory for more than a sentence.
pub fn end_without_programs() -> ! {
    console::restore();
    std::eprintln!(
        "\ngnomon-um: the host has ended the process that all programs' processes are made from: it may be out of memory"
    );
    leave(FAILURE)
}

/// The person at the terminal has had enough.
pub fn leave_by_escape() -> ! {
    console::restore();
    std::eprintln!("\r\ngnomon-um: ended by control-]");
    leave(FAILURE)
}

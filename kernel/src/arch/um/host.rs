//! Calls to the host's kernel as Rust likes them: an error is a value, not -1 and a variable elsewhere.

use core::sync::atomic::AtomicU32;
use std::io;
use std::time::Duration;

/// What a call of the C library returned, -1 meaning an error.
pub fn result<T: From<i8> + PartialEq>(returned: T) -> io::Result<T> {
    if returned == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// Sleeps while the word is `expected`, at most this long: futex(2). May return early for no reason. Whether it was woken
/// or time is over is told.
pub fn futex_wait(word: &AtomicU32, expected: u32, at_most: Option<Duration>) -> Woken {
    let timeout = at_most.map(|time| libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word and the time live as long as the call.
    let returned = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, expected, timeout) };
    match result(returned) {
        Err(error) if error.raw_os_error() == Some(libc::ETIMEDOUT) => Woken::ByTime,
        _ => Woken::Perhaps,
    }
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// Time is over.
    ByTime,
    /// Somebody changed the word, or nobody did.
    Perhaps,
}

/// Wakes whoever sleeps on the word.
pub fn futex_wake(word: &AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: only the word's address is used.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 1) };
}

/// Sleeps while the word is `expected`; the word is in memory that others map too. May return early for no reason.
pub fn futex_wait_shared(word: &AtomicU32, expected: u32) {
    let forever = core::ptr::null::<libc::timespec>();
    // SAFETY: the word lives as long as the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, forever) };
}

/// Wakes whoever sleeps on a word in memory that others map too.
pub fn futex_wake_shared(word: &AtomicU32) {
    // SAFETY: only the word's address is used.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Fills the bytes with the host's random ones: getrandom(2), which for so few neither fails nor stops short.
pub fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    // SAFETY: the buffer is as long as it says.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    assert_eq!(result(filled).ok(), Some(32), "the host has no random bytes");
    bytes
}

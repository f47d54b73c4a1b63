//! Calls to the host's kernel as Rust likes them: an error is a value, not -1 and a variable elsewhere.

use core::ffi::CStr;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU32;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Duration;

/// What a call of the C library returned, -1 meaning an error.
pub fn result<T: From<i8> + PartialEq>(returned: T) -> io::Result<T> {
    if returned == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// Has the host's limits be errors: who makes a file too long is told so and not ended, setrlimit(2), and as many
/// descriptors may be had as the host will ever give.
pub fn lift_limits() {
    // SAFETY: it only changes what a signal does, and the other two work on a structure of ours.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let mut limit = core::mem::zeroed::<libc::rlimit>();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// A file without a directory entry, in the host's memory: memfd_create(2).
pub fn memory_file(name: &CStr, flags: libc::c_uint) -> io::Result<File> {
    // SAFETY: the name ends with a zero.
    let descriptor = result(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | flags) })?;
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Memory that other processes can map: such a file, and this process' view of it, for good.
pub struct SharedMemory {
    /// The file.
    pub file: File,
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: it is only bytes; who may touch which is its users' agreement.
unsafe impl Sync for SharedMemory {}
// SAFETY: the same.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Makes so many bytes, of which the host provides each page when it is first touched, filled with zeros.
    pub fn new(name: &CStr, length: usize) -> io::Result<Self> {
        let file = memory_file(name, 0)?;
        file.set_len(length as u64)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address the host chooses replaces nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
        match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { file, base, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Where these bytes are. Panics: they are beyond the end.
    pub fn pointer(&self, offset: usize, length: usize) -> NonNull<u8> {
        assert!(offset <= self.length && length <= self.length - offset, "beyond the end");
        // SAFETY: inside the mapping.
        unsafe { self.base.add(offset) }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: *const u8) -> bool {
        address.addr().wrapping_sub(self.base.addr().get()) < self.length
    }
}

/// Sleeps while the word is `expected`, at most this long: futex(2). May return early for no reason. Whether it was woken
/// or time is over is told.
pub fn futex_wait(word: &AtomicU32, expected: u32, at_most: Option<Duration>) -> Woken {
    let timeout = at_most.map(|time| libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
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
    let forever = ptr::null::<libc::timespec>();
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

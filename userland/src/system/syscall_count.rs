//! The kernel's own count of system calls: Gnomon's /proc/self/syscall_count, which Linux does not have.
//!
//! The file holds, in decimal, how many system calls the thread that reads it has made so far, the read itself
//! included. Opened once and read by pread before and after some work, the two numbers differ by one more than the
//! work made.

use super::errno::Errno;
use super::file::Descriptor;
use crate::call;

/// The open file.
pub struct SyscallCount(Descriptor);

impl SyscallCount {
    /// Opens it; None on a kernel that keeps no such count.
    pub fn open() -> Option<SyscallCount> {
        Descriptor::open("/proc/self/syscall_count", libc::O_RDONLY).ok().map(SyscallCount)
    }

    /// The count now.
    pub fn now(&self) -> Result<i64, Errno> {
        let mut text = [0u8; 32];
        let length = call!(libc::SYS_pread64, self.0.0, text.as_mut_ptr(), text.len(), 0usize)?;
        let digits = String::from_utf8_lossy(&text[..length]).trim().to_string();
        digits.parse().map_err(|_| Errno::EINVAL)
    }

    /// How many system calls `work` makes.
    pub fn of(&self, work: impl FnOnce()) -> Result<i64, Errno> {
        let before = self.now()?;
        work();
        Ok(self.now()? - before - 1)
    }
}

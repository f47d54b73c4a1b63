//! Files in whole pieces: open, read all of it, write it in exactly one call.

use super::errno::Errno;
use super::process::c_string;
use crate::call;

/// open(2) by openat, closing on exec.
pub fn open(path: &str, flags: i32) -> Result<i32, Errno> {
    open_mode(path, flags, 0)
}

/// open(2) with a mode for O_CREAT.
pub fn open_mode(path: &str, flags: i32, mode: u32) -> Result<i32, Errno> {
    let path = c_string(path);
    call!(libc::SYS_openat, libc::AT_FDCWD, path.as_c_str(), flags | libc::O_CLOEXEC, mode)
        .map(|fd| fd as i32)
}

/// A descriptor that closes itself.
#[derive(Debug)]
pub struct Descriptor(pub i32);

impl Descriptor {
    /// Opens `path`.
    pub fn open(path: &str, flags: i32) -> Result<Descriptor, Errno> {
        open(path, flags).map(Descriptor)
    }

    /// One write(2); how much was taken.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        call!(libc::SYS_write, self.0, bytes.as_ptr(), bytes.len())
    }

    /// One read(2) into `bytes`.
    pub fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        call!(libc::SYS_read, self.0, bytes.as_mut_ptr(), bytes.len())
    }

    /// Reads to the end of the file.
    pub fn read_to_end(&self) -> Result<Vec<u8>, Errno> {
        let mut all = Vec::new();
        let mut piece = [0u8; 4096];
        loop {
            match self.read(&mut piece)? {
                0 => return Ok(all),
                length => all.extend_from_slice(&piece[..length]),
            }
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let _ = call!(libc::SYS_close, self.0);
    }
}

/// The whole of a file as text.
pub fn read(path: &str) -> Result<String, Errno> {
    let bytes = Descriptor::open(path, libc::O_RDONLY)?.read_to_end()?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens an existing file, writes `text` in one write(2), closes it.
pub fn write(path: &str, text: &str) -> Result<(), Errno> {
    let written = Descriptor::open(path, libc::O_WRONLY)?.write(text.as_bytes())?;
    if written == text.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// Creates `path` (or empties it) with `bytes` in it.
pub fn create(path: &str, bytes: &[u8], mode: u32) -> Result<(), Errno> {
    let file = Descriptor(open_mode(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, mode)?);
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = &rest[file.write(rest)?..];
    }
    Ok(())
}

/// readlink(2).
pub fn readlink(path: &str) -> Result<String, Errno> {
    let path = c_string(path);
    let mut target = [0u8; 4096];
    let length =
        call!(libc::SYS_readlinkat, libc::AT_FDCWD, path.as_c_str(), target.as_mut_ptr(), target.len())?;
    Ok(String::from_utf8_lossy(&target[..length]).into_owned())
}

/// An all-zero stat structure for the kernel to fill.
fn empty_stat() -> libc::stat {
    // SAFETY: a stat structure of zeros is a valid value: it holds integers only.
    unsafe { std::mem::zeroed() }
}

/// stat(2), following symbolic links; with `flags` AT_SYMLINK_NOFOLLOW, lstat(2).
pub fn status(path: &str, flags: i32) -> Result<libc::stat, Errno> {
    let path = c_string(path);
    let mut status = empty_stat();
    call!(libc::SYS_newfstatat, libc::AT_FDCWD, path.as_c_str(), &mut status, flags)?;
    Ok(status)
}

/// fstat(2).
pub fn status_of(descriptor: i32) -> Result<libc::stat, Errno> {
    let mut status = empty_stat();
    call!(libc::SYS_fstat, descriptor, &mut status)?;
    Ok(status)
}

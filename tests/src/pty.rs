//! A terminal for a program under test.

use rustix::pty::OpenptFlags;
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Our end, the other end, and its path. It has no size, as a serial line has none.
pub fn open() -> std::io::Result<(OwnedFd, File, PathBuf)> {
    let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&ours)?;
    rustix::pty::unlockpt(&ours)?;
    let name = rustix::pty::ptsname(&ours, Vec::new())?;
    let name = PathBuf::from(name.into_string().map_err(std::io::Error::other)?);
    // Without O_NOCTTY a harness that leads a session would make this its own terminal.
    let flags = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    let theirs = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&name)?;
    Ok((ours, theirs, name))
}

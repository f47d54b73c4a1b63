//! How long a file is, what room it has, and whether it is safe: ftruncate(2), fallocate(2), fsync(2) and their like.
//!
//! All files are in memory, so that what is about disks has little to do.

use super::{Caller, file_io::checked_offset};
use crate::{
    abi::{Errno, Result, linux},
    fs::{Descriptor, Kind, attributes::check_size_limit},
};

/// ftruncate(2)
pub fn ftruncate(caller: &mut Caller<'_>, descriptor: Descriptor, length: i64) -> Result<usize> {
    let length = checked_offset(length)?;
    let file = caller.file(descriptor)?;
    if !file.flags().writes() || file.path().inode().kind() != Kind::Regular {
        return Err(Errno::EINVAL.because("only a regular file that is open for writing can be truncated"));
    }
    check_size_limit(length, file.path().inode().metadata().size, caller.task)?;
    file.operations().truncate(length).map(|()| 0)
}

/// fallocate(2)
pub fn fallocate(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    mode: u32,
    offset: i64,
    length: i64,
) -> Result<usize> {
    let file = caller.file(descriptor)?;
    if offset < 0 || length <= 0 {
        return Err(Errno::EINVAL.because("space is asked for at an offset >= 0, more than none"));
    }
    let known = [0, linux::FALLOC_FL_KEEP_SIZE, linux::FALLOC_FL_KEEP_SIZE | linux::FALLOC_FL_PUNCH_HOLE];
    if !known.contains(&mode) {
        return Err(Errno::EOPNOTSUPP.because("space can be made, or a hole"));
    }
    file.must_be_writable()?;
    let inode = file.path().inode();
    match inode.kind() {
        Kind::Fifo => return Err(Errno::ESPIPE.because("a pipe has no space to allocate")),
        Kind::Directory => return Err(Errno::EISDIR.because("a directory has no space to allocate")),
        Kind::Regular => {}
        _ => return Err(Errno::ENODEV.because("only a regular file has space to allocate")),
    }
    let end = (offset as u64).saturating_add(length as u64);
    if mode & linux::FALLOC_FL_KEEP_SIZE == 0 {
        check_size_limit(end, inode.metadata().size, caller.task)?;
    }
    file.operations().allocate(mode, offset as u64, length as u64).map(|()| 0)
}

/// fsync(2) and fdatasync(2): everything is where it will ever be.
pub fn fsync(caller: &mut Caller<'_>, descriptor: Descriptor) -> Result<usize> {
    match caller.file(descriptor)?.path().inode().kind() {
        Kind::Regular | Kind::Directory => Ok(0),
        _ => Err(Errno::EINVAL.because("this object has nothing to bring anywhere")),
    }
}

/// sync(2)
pub fn sync(_caller: &mut Caller<'_>) -> Result<usize> {
    Ok(0)
}

/// syncfs(2)
pub fn syncfs(caller: &mut Caller<'_>, descriptor: Descriptor) -> Result<usize> {
    caller.file(descriptor).map(|_| 0)
}

/// posix_fadvise(2): advice that changes nothing where all files are in memory.
pub fn fadvise64(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    _offset: i64,
    length: i64,
    advice: u32,
) -> Result<usize> {
    let file = caller.file(descriptor)?;
    if file.path().inode().kind() == Kind::Fifo {
        return Err(Errno::ESPIPE.because("there is no reading ahead in a pipe"));
    }
    if length < 0 || advice > linux::POSIX_FADV_NOREUSE {
        return Err(Errno::EINVAL.because("there are six pieces of advice"));
    }
    Ok(0)
}

//! Asking and changing what is known of objects: stat(2), access(2), chmod(2), chown(2), utimensat(2), statfs(2).

use super::{
    Caller,
    places::{find, only},
    stat_formats::{Stat, Statfs, Statx},
};
use crate::{
    abi::{Errno, Result, Timespec, Timeval, UserPointer, linux},
    fs::{
        Descriptor, Kind, MountFlags, Path, Walk,
        attributes::{self, NewTime},
        permission::Wanted,
    },
    ns::{CapabilitySet, Credentials},
};
use alloc::{sync::Arc, vec::Vec};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const HERE: Descriptor = Descriptor::WORKING_DIRECTORY;

fn tell(caller: &Caller<'_>, path: &Path, into: UserPointer<Stat>) -> Result<usize> {
    let stat = Stat::new(&path.inode().metadata(), &caller.credentials());
    caller.space.write(into, &stat).map(|()| 0)
}

/// stat(2)
pub fn stat(caller: &mut Caller<'_>, name: usize, into: UserPointer<Stat>) -> Result<usize> {
    tell(caller, &find(caller, HERE, name, 0)?, into)
}

/// lstat(2)
pub fn lstat(caller: &mut Caller<'_>, name: usize, into: UserPointer<Stat>) -> Result<usize> {
    tell(caller, &find(caller, HERE, name, linux::AT_SYMLINK_NOFOLLOW)?, into)
}

/// fstat(2)
pub fn fstat(caller: &mut Caller<'_>, descriptor: Descriptor, into: UserPointer<Stat>) -> Result<usize> {
    tell(caller, caller.files()?.get_any(descriptor)?.path(), into)
}

/// fstatat(2)
pub fn newfstatat(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    into: UserPointer<Stat>,
    flags: u32,
) -> Result<usize> {
    only(flags, linux::AT_SYMLINK_NOFOLLOW | linux::AT_NO_AUTOMOUNT | linux::AT_EMPTY_PATH)?;
    tell(caller, &find(caller, directory, name, flags)?, into)
}

/// statx(2)
pub fn statx(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    flags: u32,
    mask: u32,
    into: UserPointer<Statx>,
) -> Result<usize> {
    let sync = linux::AT_STATX_SYNC_TYPE;
    if mask & linux::STATX__RESERVED != 0 || flags & sync == sync {
        return Err(Errno::EINVAL.because("statx keeps this bit for later"));
    }
    only(flags, linux::AT_SYMLINK_NOFOLLOW | linux::AT_NO_AUTOMOUNT | linux::AT_EMPTY_PATH | sync)?;
    let path = find(caller, directory, name, flags)?;
    caller.space.write(into, &Statx::new(&path, &caller.credentials())).map(|()| 0)
}

/// access(2)
pub fn access(caller: &mut Caller<'_>, name: usize, mode: u32) -> Result<usize> {
    faccessat2(caller, HERE, name, mode, 0)
}

/// faccessat(2) as the kernel has it, without flags.
pub fn faccessat(caller: &mut Caller<'_>, directory: Descriptor, name: usize, mode: u32) -> Result<usize> {
    faccessat2(caller, directory, name, mode, 0)
}

/// faccessat2(2)
pub fn faccessat2(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    mode: u32,
    flags: u32,
) -> Result<usize> {
    let Some(wanted) = u16::try_from(mode).ok().and_then(Wanted::from_bits) else {
        return Err(Errno::EINVAL.because("access asks for reading, writing, executing"));
    };
    only(flags, linux::AT_EACCESS | linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH)?;
    let credentials = match flags & linux::AT_EACCESS {
        0 => Arc::new(as_real_user(&caller.credentials())),
        _ => caller.credentials(),
    };
    let path = find_as(caller, &credentials, directory, name, flags)?;
    let inode = path.inode();
    let regular = inode.kind() == Kind::Regular;
    if wanted.contains(Wanted::EXECUTE) && regular && path.mount.flags().contains(MountFlags::NO_EXECUTION) {
        return Err(Errno::EACCES.because("programs on this mount do not run"));
    }
    inode.permits(wanted, &credentials, caller.task)?;
    if wanted.contains(Wanted::WRITE) && matches!(inode.kind(), Kind::Regular | Kind::Directory) {
        path.mount.must_be_writable()?;
    }
    Ok(0)
}

/// Who the caller would be without set-user-id: access(2) asks for them.
fn as_real_user(credentials: &Credentials) -> Credentials {
    let is_root = credentials.user_namespace.user(0) == Some(credentials.uid);
    let effective = if is_root { credentials.permitted } else { CapabilitySet::EMPTY };
    Credentials { fsuid: credentials.uid, fsgid: credentials.gid, effective, ..credentials.clone() }
}

/// As [`find`], with these permissions on the way.
fn find_as(
    caller: &Caller<'_>,
    credentials: &Arc<Credentials>,
    directory: Descriptor,
    address: usize,
    flags: u32,
) -> Result<Path> {
    let name = match (flags & linux::AT_EMPTY_PATH != 0, address) {
        (true, 0) => Vec::new(),
        _ => super::places::name(caller, address)?,
    };
    if name.is_empty() {
        return find(caller, directory, address, flags);
    }
    let mut walk: Walk<'_> = super::places::walk(caller, directory, &name)?;
    walk.credentials = credentials.clone();
    walk.find(&name, super::places::last_link(flags))
}

fn set_permissions(caller: &Caller<'_>, path: &Path, mode: u32) -> Result<usize> {
    attributes::change_permissions(path, (mode & 0o7777) as u16, &caller.credentials()).map(|()| 0)
}

/// chmod(2)
pub fn chmod(caller: &mut Caller<'_>, name: usize, mode: u32) -> Result<usize> {
    set_permissions(caller, &find(caller, HERE, name, 0)?, mode)
}

/// fchmod(2)
pub fn fchmod(caller: &mut Caller<'_>, descriptor: Descriptor, mode: u32) -> Result<usize> {
    let file = caller.files()?.get(descriptor)?;
    set_permissions(caller, file.path(), mode)
}

/// fchmodat(2) as the kernel has it, without flags.
pub fn fchmodat(caller: &mut Caller<'_>, directory: Descriptor, name: usize, mode: u32) -> Result<usize> {
    set_permissions(caller, &find(caller, directory, name, 0)?, mode)
}

/// fchmodat2(2)
pub fn fchmodat2(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    mode: u32,
    flags: u32,
) -> Result<usize> {
    only(flags, linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH)?;
    set_permissions(caller, &find(caller, directory, name, flags)?, mode)
}

/// An id as chown(2) takes it: -1 leaves it as it is.
const KEEP: u32 = u32::MAX;

fn set_owner(caller: &Caller<'_>, path: &Path, uid: u32, gid: u32) -> Result<usize> {
    let credentials = caller.credentials();
    let namespace = &credentials.user_namespace;
    let unknown = || Errno::EINVAL.because("the id means nobody in the caller's user namespace");
    let uid = (uid != KEEP).then(|| namespace.user(uid).ok_or_else(unknown)).transpose()?;
    let gid = (gid != KEEP).then(|| namespace.group(gid).ok_or_else(unknown)).transpose()?;
    attributes::change_owner(path, uid, gid, &credentials).map(|()| 0)
}

/// chown(2)
pub fn chown(caller: &mut Caller<'_>, name: usize, uid: u32, gid: u32) -> Result<usize> {
    set_owner(caller, &find(caller, HERE, name, 0)?, uid, gid)
}

/// lchown(2)
pub fn lchown(caller: &mut Caller<'_>, name: usize, uid: u32, gid: u32) -> Result<usize> {
    set_owner(caller, &find(caller, HERE, name, linux::AT_SYMLINK_NOFOLLOW)?, uid, gid)
}

/// fchown(2)
pub fn fchown(caller: &mut Caller<'_>, descriptor: Descriptor, uid: u32, gid: u32) -> Result<usize> {
    let file = caller.files()?.get(descriptor)?;
    set_owner(caller, file.path(), uid, gid)
}

/// fchownat(2)
pub fn fchownat(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    uid: u32,
    gid: u32,
    flags: u32,
) -> Result<usize> {
    only(flags, linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH)?;
    set_owner(caller, &find(caller, directory, name, flags)?, uid, gid)
}

/// Both times, accessed and modified.
type Times = [NewTime; 2];

fn set_times(caller: &Caller<'_>, path: &Path, times: Times) -> Result<usize> {
    let [accessed, modified] = times;
    attributes::change_times(path, accessed, modified, &caller.credentials(), caller.task).map(|()| 0)
}

fn times_from(caller: &Caller<'_>, times: UserPointer<Timeval>) -> Result<Times> {
    let Some(times) = times.optional() else { return Ok([NewTime::Now; 2]) };
    let [accessed, modified] = [caller.space.read(times)?, caller.space.read(times.element(1))?];
    let convert = |time: Timeval| match time.microseconds {
        microseconds @ 0..1_000_000 => {
            Ok(NewTime::At(Timespec { seconds: time.seconds, nanoseconds: microseconds * 1000 }))
        }
        _ => Err(Errno::EINVAL.because("a timeval has microseconds below 10^6")),
    };
    Ok([convert(accessed)?, convert(modified)?])
}

/// utimensat(2)
pub fn utimensat(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    times: UserPointer<Timespec>,
    flags: u32,
) -> Result<usize> {
    let times = match times.optional() {
        None => [NewTime::Now; 2],
        Some(pointer) => {
            let [accessed, modified] = [caller.space.read(pointer)?, caller.space.read(pointer.element(1))?];
            [NewTime::new(accessed), NewTime::new(modified)]
        }
    };
    if times == [NewTime::Keep; 2] {
        return Ok(0);
    }
    if name == 0 && directory != HERE {
        // The times of an open file: futimens(3).
        only(flags, 0)?;
        let file = caller.files()?.get(directory)?;
        return set_times(caller, file.path(), times);
    }
    only(flags, linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH)?;
    let path = find(caller, directory, name, flags)?;
    set_times(caller, &path, times)
}

/// utimes(2)
pub fn utimes(caller: &mut Caller<'_>, name: usize, times: UserPointer<Timeval>) -> Result<usize> {
    futimesat(caller, HERE, name, times)
}

/// futimesat(2)
pub fn futimesat(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    times: UserPointer<Timeval>,
) -> Result<usize> {
    let times = times_from(caller, times)?;
    set_times(caller, &find(caller, directory, name, 0)?, times)
}

/// `struct utimbuf`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UtimeBuffer {
    accessed: i64,
    modified: i64,
}

/// utime(2)
pub fn utime(caller: &mut Caller<'_>, name: usize, times: UserPointer<UtimeBuffer>) -> Result<usize> {
    let at = |seconds| NewTime::At(Timespec { seconds, nanoseconds: 0 });
    let times = match times.optional() {
        None => [NewTime::Now; 2],
        Some(pointer) => {
            let times = caller.space.read(pointer)?;
            [at(times.accessed), at(times.modified)]
        }
    };
    set_times(caller, &find(caller, HERE, name, 0)?, times)
}

/// statfs(2)
pub fn statfs(caller: &mut Caller<'_>, name: usize, into: UserPointer<Statfs>) -> Result<usize> {
    let path = find(caller, HERE, name, 0)?;
    caller.space.write(into, &Statfs::new(&path)).map(|()| 0)
}

/// fstatfs(2)
pub fn fstatfs(caller: &mut Caller<'_>, descriptor: Descriptor, into: UserPointer<Statfs>) -> Result<usize> {
    let file = caller.files()?.get_any(descriptor)?;
    caller.space.write(into, &Statfs::new(file.path())).map(|()| 0)
}

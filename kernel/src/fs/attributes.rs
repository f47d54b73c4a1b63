//! Changing what is known of an object: chmod(2), chown(2), utimensat(2), truncate(2), and who may.

use super::{
    Actor, AttributeChanges, Kind, Metadata, Path,
    metadata::{SET_GROUP_ID, SET_USER_ID},
    naming::drop_set_ids,
    permission::{self, Wanted},
    text_busy::{Purpose, Use},
};
use crate::{
    abi::{Errno, Result, Signal, Timespec, linux},
    ns::{Capability, Credentials},
    time,
};

/// The wall clock, for the times of objects.
pub fn now() -> Timespec {
    Timespec::from_nanoseconds(time::realtime_now())
}

/// chmod(2). Errors: EROFS; EPERM unless the owner's. Set-group-id is left off for a group the caller is not in.
pub fn change_permissions(path: &Path, permissions: u16, credentials: &Credentials) -> Result<()> {
    path.mount.must_be_writable()?;
    let metadata = path.inode().metadata();
    if metadata.kind == Kind::SymbolicLink {
        return Err(Errno::EOPNOTSUPP.because("a symbolic link's permissions mean nothing"));
    }
    permission::must_own(&metadata, credentials)?;
    let outsider = !credentials.in_group(metadata.gid)
        && !permission::capable(&metadata, Capability::FSETID, credentials);
    let permissions = if outsider { permissions & !SET_GROUP_ID } else { permissions };
    path.inode().change(&AttributeChanges { permissions: Some(permissions & 0o7777), ..Default::default() })
}

/// chown(2), in the kernel's own ids; `None` leaves one as it is.
///
/// Errors: EROFS; EPERM: the owner may give its object to a group it is in, and only CAP_CHOWN allows more.
pub fn change_owner(
    path: &Path,
    uid: Option<u32>,
    gid: Option<u32>,
    credentials: &Credentials,
) -> Result<()> {
    path.mount.must_be_writable()?;
    let metadata = path.inode().metadata();
    let owns = credentials.fsuid == metadata.uid;
    let uid_stays = uid.is_none_or(|uid| owns && uid == metadata.uid);
    let gid_allowed = gid.is_none_or(|gid| owns && (gid == metadata.gid || credentials.in_group(gid)));
    if !(uid_stays && gid_allowed || permission::capable(&metadata, Capability::CHOWN, credentials)) {
        return Err(Errno::EPERM.because("giving an object away takes CAP_CHOWN"));
    }
    let permissions = (metadata.kind != Kind::Directory).then(|| after_giving_away(&metadata, credentials));
    path.inode().change(&AttributeChanges { permissions, uid, gid, ..Default::default() })
}

/// A program that ran as its old owner does not go on to run as the new one.
fn after_giving_away(metadata: &Metadata, credentials: &Credentials) -> u16 {
    let mut permissions = metadata.permissions & !SET_USER_ID;
    let insider =
        credentials.in_group(metadata.gid) || permission::capable(metadata, Capability::FSETID, credentials);
    if permissions & 0o010 != 0 || !insider {
        permissions &= !SET_GROUP_ID;
    }
    permissions
}

/// One of the two times that utimensat(2) sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewTime {
    /// UTIME_NOW
    Now,
    /// UTIME_OMIT
    Keep,
    /// Any other.
    At(Timespec),
}

impl NewTime {
    /// What a program gave.
    pub fn new(time: Timespec) -> Self {
        match time.nanoseconds {
            nanoseconds if nanoseconds == i64::from(linux::UTIME_NOW) => Self::Now,
            nanoseconds if nanoseconds == i64::from(linux::UTIME_OMIT) => Self::Keep,
            _ => Self::At(time),
        }
    }

    /// Errors: EINVAL when the nanoseconds are not below 10^9.
    fn check(self) -> Result<()> {
        match self {
            Self::At(time) if !(0..1_000_000_000).contains(&time.nanoseconds) => {
                Err(Errno::EINVAL.because("a file's time has nanoseconds below 10^9"))
            }
            _ => Ok(()),
        }
    }

    fn resolve(self, now: Timespec) -> Option<Timespec> {
        match self {
            Self::Now => Some(now),
            Self::Keep => None,
            Self::At(time) => Some(time),
        }
    }
}

/// utimensat(2). Setting both to now asks only for permission to write; setting anything else takes the owner.
/// Errors: EINVAL, EROFS, EPERM, EACCES.
pub fn change_times(
    path: &Path,
    accessed: NewTime,
    modified: NewTime,
    credentials: &Credentials,
    actor: &dyn Actor,
) -> Result<()> {
    accessed.check()?;
    modified.check()?;
    path.mount.must_be_writable()?;
    let metadata = path.inode().metadata();
    let owner = permission::must_own(&metadata, credentials);
    if (accessed, modified) != (NewTime::Now, NewTime::Now) {
        owner?;
    } else if owner.is_err() {
        path.inode().permits(Wanted::WRITE, credentials, actor)?;
    }
    let now = now();
    path.inode().change(&AttributeChanges {
        accessed: accessed.resolve(now),
        modified: modified.resolve(now),
        ..Default::default()
    })
}

/// truncate(2). Errors: EISDIR; EINVAL for anything but a regular file; EROFS; EACCES; EFBIG over RLIMIT_FSIZE.
pub fn truncate(path: &Path, length: u64, credentials: &Credentials, actor: &dyn Actor) -> Result<()> {
    let inode = path.inode();
    match inode.kind() {
        Kind::Regular => {}
        Kind::Directory => return Err(Errno::EISDIR.because("a directory cannot be truncated")),
        _ => return Err(Errno::EINVAL.because("only a regular file has a length to set")),
    }
    path.mount.must_be_writable()?;
    inode.permits(Wanted::WRITE, credentials, actor)?;
    let _writing = Use::begin(inode, Purpose::Writing)?;
    check_size_limit(length, inode.metadata().size, actor)?;
    drop_set_ids(&**inode, credentials)?;
    inode.truncate(length)
}

/// Whether a file may be made so long. Errors: EFBIG, with SIGXFSZ, beyond RLIMIT_FSIZE, unless it was that long already.
pub fn check_size_limit(length: u64, present: u64, actor: &dyn Actor) -> Result<()> {
    if length <= present || length <= actor.limit(linux::RLIMIT_FSIZE) {
        return Ok(());
    }
    actor.raise(Signal::SIGXFSZ);
    Err(Errno::EFBIG.because("RLIMIT_FSIZE limits the size of files"))
}

//! open(2): from a name to an open file, made on the way if need be.
//!
//! The order of checks is Linux': the flags alone, the way to the directory, the last name, what was found, and only then
//! the change (O_TRUNC).

use super::{
    Actor, Entry, File, FileOperations, Kind, LastLink, LastName, LinkTarget, MountFlags, OpenFlags, Opening,
    Path, Walk,
    attributes::check_size_limit,
    directory_file::DirectoryFile,
    naming::{self, Making},
    permission::{self, Wanted},
    text_busy::{Purpose, Use},
    walk::{Parent, Restrictions},
};
use crate::{
    abi::{Errno, Result},
    ns::Credentials,
};
use alloc::{borrow::Cow, sync::Arc};

/// How to open.
#[derive(Clone, Copy)]
pub struct How {
    /// The flags.
    pub flags: OpenFlags,
    /// Permissions of a new file, the umask already taken off.
    pub permissions: u16,
}

impl How {
    /// Errors: EINVAL for flags that contradict each other.
    pub fn new(mut flags: OpenFlags, permissions: u16) -> Result<Self> {
        if flags.contains(OpenFlags::TEMPORARY) && !(flags.contains(OpenFlags::DIRECTORY) && flags.writes()) {
            return Err(Errno::EINVAL.because("O_TMPFILE takes O_DIRECTORY and write access"));
        }
        if flags.contains(OpenFlags::PATH) {
            flags &= OpenFlags::WITH_PATH;
        }
        if flags.contains(OpenFlags::CREATE | OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL.because("O_CREAT makes regular files only"));
        }
        Ok(Self { flags, permissions })
    }
}

/// Opens, or makes and opens, the file of this name. The result is not in any table yet.
///
/// Errors: those of the walk; EEXIST, EISDIR, ENOTDIR, ELOOP, EACCES, EPERM, EROFS, ENXIO, ENOSPC, ENFILE.
pub fn open(walk: &mut Walk<'_>, name: &[u8], how: How) -> Result<Arc<File>> {
    let flags = how.flags;
    // Asked again when the file is opened; but one that cannot be is not made first, nor emptied.
    File::must_have_room(&walk.credentials)?;
    if !flags.contains(OpenFlags::CREATE) {
        let keep = flags.contains(OpenFlags::NO_FOLLOW);
        let path = walk.find(name, if keep { LastLink::Keep } else { LastLink::Follow })?;
        return open_path(path, flags, &walk.credentials, walk.actor);
    }
    let mut parent = walk.find_parent(name)?;
    loop {
        match open_or_make(walk, &parent, how)? {
            Found::File(file) => return Ok(file),
            Found::Link(link) => match walk.follow_last(&parent.directory, &link)? {
                LinkTarget::Object(path) => return open_existing(walk, path, flags),
                LinkTarget::Name(target) => {
                    parent = walk.parent_from(parent.directory, Cow::Owned(target))?
                }
            },
        }
    }
}

enum Found {
    File(Arc<File>),
    /// The last name is a symbolic link, to be followed.
    Link(Arc<Entry>),
}

fn open_or_make(walk: &mut Walk<'_>, parent: &Parent, how: How) -> Result<Found> {
    let LastName::Name(name) = &parent.last else {
        let path = walk.find_last(parent)?;
        return open_existing(walk, path, how.flags).map(Found::File);
    };
    if parent.slash {
        return Err(Errno::EISDIR.because("a slash follows the name of what will be no directory"));
    }
    let directory = &parent.directory;
    let mut names = directory.entry.names();
    let entry = match naming::find(walk, directory, &mut names, name) {
        Ok(entry) => entry,
        Err(Errno::ENOENT) => {
            directory.mount.must_be_writable()?;
            let making = Making::plain(Kind::Regular, how.permissions);
            let made = naming::make_locked(walk, directory, &mut names, name, making);
            // Where open(2) cannot make files, that is a matter of access; to mknod(2), which fails alike, it is not.
            let made = made.map_err(|error| if error == Errno::EPERM { Errno::EACCES } else { error })?;
            drop(names);
            let purpose = how.flags.writes().then_some(Purpose::Writing);
            return start(directory.with(made), how.flags, purpose, &walk.credentials, walk.actor)
                .map(Found::File);
        }
        Err(error) => return Err(error),
    };
    drop(names);
    let exclusive = how.flags.contains(OpenFlags::EXCLUSIVE);
    if entry.inode().kind() == Kind::SymbolicLink && !exclusive && !how.flags.contains(OpenFlags::NO_FOLLOW) {
        return Ok(Found::Link(entry));
    }
    let path = walk.enter(directory, directory.with(entry))?;
    open_existing(walk, path, how.flags).map(Found::File)
}

/// What O_CREAT found instead of a free name.
fn open_existing(walk: &Walk<'_>, path: Path, flags: OpenFlags) -> Result<Arc<File>> {
    if flags.contains(OpenFlags::EXCLUSIVE) {
        return Err(Errno::EEXIST.because("O_EXCL makes a file or fails"));
    }
    if path.inode().kind() == Kind::Directory {
        return Err(Errno::EISDIR.because("O_CREAT opens no directories"));
    }
    open_path(path, flags, &walk.credentials, walk.actor)
}

/// Opens what is at a place.
pub fn open_path(
    path: Path,
    flags: OpenFlags,
    credentials: &Arc<Credentials>,
    actor: &dyn Actor,
) -> Result<Arc<File>> {
    let kind = path.inode().kind();
    if flags.contains(OpenFlags::DIRECTORY) && kind != Kind::Directory {
        return Err(Errno::ENOTDIR.because("O_DIRECTORY opens only directories"));
    }
    if flags.contains(OpenFlags::TEMPORARY) {
        return Err(Errno::EOPNOTSUPP.because("files without a name are made by memfd_create"));
    }
    if flags.contains(OpenFlags::PATH) {
        return File::new(path, Arc::new(PlaceOnly), flags, credentials.clone());
    }
    may_open(&path, kind, flags, credentials, actor)?;
    let truncates = flags.contains(OpenFlags::TRUNCATE) && kind == Kind::Regular;
    if (flags.writes() || truncates) && matches!(kind, Kind::Regular | Kind::Directory) {
        path.mount.must_be_writable()?;
    }
    let purpose = (flags.writes() || truncates).then_some(Purpose::Writing);
    let file = start(path, flags, purpose, credentials, actor)?;
    if truncates {
        check_size_limit(0, 0, actor)?;
        naming::drop_set_ids(&**file.path().inode(), credentials)?;
        file.path().inode().truncate(0)?;
    }
    Ok(file)
}

fn may_open(
    path: &Path,
    kind: Kind,
    flags: OpenFlags,
    credentials: &Credentials,
    actor: &dyn Actor,
) -> Result<()> {
    match kind {
        Kind::SymbolicLink => return Err(Errno::ELOOP.because("O_NOFOLLOW met a symbolic link")),
        Kind::Directory if flags.asks_to_write() => {
            return Err(Errno::EISDIR.because("a directory is not written like a file"));
        }
        Kind::CharacterDevice | Kind::BlockDevice if path.mount.flags().contains(MountFlags::NO_DEVICES) => {
            return Err(Errno::EACCES.because("devices on this mount do not work"));
        }
        _ => {}
    }
    let mut wanted = Wanted::empty();
    wanted.set(Wanted::READ, flags.asks_to_read());
    wanted.set(Wanted::WRITE, flags.asks_to_write());
    path.inode().permits(wanted, credentials, actor)?;
    if flags.contains(OpenFlags::NO_ACCESS_TIME) {
        permission::must_own(&path.inode().metadata(), credentials)?;
    }
    Ok(())
}

/// Everything is permitted: makes the open file.
fn start(
    path: Path,
    flags: OpenFlags,
    purpose: Option<Purpose>,
    credentials: &Arc<Credentials>,
    actor: &dyn Actor,
) -> Result<Arc<File>> {
    let inode = path.inode().clone();
    let contents = purpose.map(|purpose| Use::begin(&inode, purpose)).transpose()?.flatten();
    let operations: Arc<dyn FileOperations> = match inode.kind() {
        Kind::Directory => Arc::new(DirectoryFile),
        Kind::Socket => return Err(Errno::ENXIO.because("a socket's name is for connect, not for open")),
        _ => inode.open(&Opening { flags, actor })?,
    };
    File::using(path, operations, flags, credentials.clone(), contents)
}

/// Opens a program to run it: a regular file that may be executed. Errors: those of the walk; EACCES.
pub fn open_executable(walk: &mut Walk<'_>, name: &[u8], last_link: LastLink) -> Result<Arc<File>> {
    let path = walk.find(name, last_link)?;
    open_path_to_execute(path, &walk.credentials, walk.actor)
}

/// The same for a place already found, execveat(2). Errors: ELOOP for a symbolic link; EACCES.
pub fn open_path_to_execute(
    path: Path,
    credentials: &Arc<Credentials>,
    actor: &dyn Actor,
) -> Result<Arc<File>> {
    match path.inode().kind() {
        Kind::Regular => {}
        Kind::SymbolicLink => return Err(Errno::ELOOP.because("a symbolic link is no program")),
        _ => return Err(Errno::EACCES.because("only a regular file can be a program")),
    }
    path.inode().permits(Wanted::EXECUTE, credentials, actor)?;
    if path.mount.flags().contains(MountFlags::NO_EXECUTION) {
        return Err(Errno::EACCES.because("programs on this mount do not run"));
    }
    start(path, OpenFlags::READ_ONLY, Some(Purpose::Executing), credentials, actor)
}

/// What a file opened with O_PATH does: nothing; it is a place, held.
struct PlaceOnly;

impl FileOperations for PlaceOnly {}

/// The flags and restrictions of openat2(2) as they come from a program.
///
/// Errors: EINVAL for unknown bits, permissions without O_CREAT or O_TMPFILE, or two restrictions that exclude each other.
pub fn checked_how(flags: u64, permissions: u64, resolve: u64) -> Result<(OpenFlags, u16, Restrictions)> {
    let invalid = || Errno::EINVAL.because("openat2 refuses what open ignores");
    let known = u32::try_from(flags).ok().and_then(OpenFlags::from_bits).ok_or_else(invalid)?;
    let restrictions = Restrictions::from_bits(resolve).ok_or_else(invalid)?;
    let makes = known.intersects(OpenFlags::CREATE.union(OpenFlags::TEMPORARY));
    let path_with_more = known.contains(OpenFlags::PATH) && !OpenFlags::WITH_PATH.contains(known);
    if permissions & !0o7777 != 0
        || (permissions != 0 && !makes)
        || path_with_more
        || restrictions.contains(Restrictions::BENEATH | Restrictions::IN_ROOT)
    {
        return Err(invalid());
    }
    Ok((known, permissions as u16, restrictions))
}

//! Giving and taking names: mkdir(2), mknod(2), symlink(2), link(2), unlink(2), rmdir(2).
//!
//! Each function checks what Linux checks, in its order, holds the lock of the directory's names from the lookup to the
//! change, and then tells the file system. rename(2), which has two directories to lock, is in [`super::renaming`].

use super::{
    AttributeChanges, DeviceNumber, Entry, Inode, Kind, LastName, Metadata, NewNode, Path, Walk,
    entry::Names,
    metadata::{SET_GROUP_ID, SET_USER_ID},
    permission::{self, Wanted},
    walk::{NAME_MAX, Parent},
};
use crate::{
    abi::{Errno, Result},
    ns::{Capability, Credentials},
};
use alloc::{sync::Arc, vec::Vec};

/// What is to be made.
#[derive(Clone, Copy)]
pub struct Making<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its permission bits, the umask already taken off.
    pub permissions: u16,
    /// For device nodes: which device.
    pub represents: DeviceNumber,
    /// For symbolic links: where it leads.
    pub target: &'a [u8],
}

impl Making<'_> {
    /// An object that needs no more than its permissions.
    pub const fn plain(kind: Kind, permissions: u16) -> Self {
        Self { kind, permissions, represents: DeviceNumber::new(0, 0), target: &[] }
    }
}

/// Makes an object under a name that is free.
///
/// Errors: EEXIST; ENOENT when a slash follows the name of what will be no directory, or the directory was removed; EROFS;
/// EACCES; EPERM for a device without CAP_MKNOD.
pub fn make(walk: &Walk<'_>, parent: &Parent, making: Making<'_>) -> Result<Path> {
    let name = free_name(parent)?;
    let directory = &parent.directory;
    let mut names = directory.entry.names();
    must_be_free(walk, directory, &mut names, name)?;
    if parent.slash && making.kind != Kind::Directory {
        return Err(Errno::ENOENT.because("a slash follows the name of what will be no directory"));
    }
    directory.mount.must_be_writable()?;
    let entry = make_locked(walk, directory, &mut names, name, making)?;
    Ok(directory.with(entry))
}

/// The part of [`make`] that open(2) shares: the name is known to be free, its directory's names are locked.
pub fn make_locked(
    walk: &Walk<'_>,
    directory: &Path,
    names: &mut Names,
    name: &[u8],
    making: Making<'_>,
) -> Result<Arc<Entry>> {
    may_add(walk, directory, names)?;
    let device = matches!(making.kind, Kind::CharacterDevice | Kind::BlockDevice);
    if device && !walk.credentials.capable_globally(Capability::MKNOD) {
        return Err(Errno::EPERM.because("making a device node takes CAP_MKNOD"));
    }
    let inode = directory.inode();
    let node = new_node(&inode.metadata(), &walk.credentials, making);
    let made = directory_of(inode)?.create(name, &node)?;
    Ok(directory.entry.adopt(names, name, made))
}

/// Gives an object one more name.
///
/// Errors: EEXIST; EXDEV unless both places are seen through one mount; EPERM for a directory; ENOENT when the object
/// has lost all its names; EACCES, EROFS.
pub fn link(walk: &Walk<'_>, object: &Path, parent: &Parent) -> Result<()> {
    let name = free_name(parent)?;
    let directory = &parent.directory;
    let mut names = directory.entry.names();
    must_be_free(walk, directory, &mut names, name)?;
    if parent.slash {
        return Err(Errno::ENOENT.because("a slash follows the name of what will be no directory"));
    }
    directory.mount.must_be_writable()?;
    if !Arc::ptr_eq(&object.mount, &directory.mount) {
        return Err(Errno::EXDEV.because("a link and its object are on one mount"));
    }
    may_add(walk, directory, &names)?;
    let metadata = object.inode().metadata();
    if metadata.kind == Kind::Directory {
        return Err(Errno::EPERM.because("a directory has only one name"));
    }
    if metadata.links == 0 {
        return Err(Errno::ENOENT.because("an object that lost its last name gets none any more"));
    }
    directory_of(directory.inode())?.link(name, object.inode())
}

/// Takes away the name of anything but a directory.
///
/// Errors: EISDIR; EROFS; ENOENT; ENOTDIR when a slash follows the name of what is no directory; EACCES; EPERM in a sticky
/// directory; EBUSY for a mount point.
pub fn unlink(walk: &Walk<'_>, parent: &Parent) -> Result<()> {
    let LastName::Name(name) = &parent.last else {
        return Err(Errno::EISDIR.because("`.`, `..` and `/` are directories"));
    };
    let directory = &parent.directory;
    directory.mount.must_be_writable()?;
    let mut names = directory.entry.names();
    let victim = find(walk, directory, &mut names, name)?;
    if parent.slash {
        return Err(match victim.inode().kind() {
            Kind::Directory => Errno::EISDIR.because("unlink does not remove directories"),
            _ => Errno::ENOTDIR.because("a slash follows the name of what is no directory"),
        });
    }
    may_take(walk, directory, &names, &victim, false)?;
    if victim.is_mount_point() {
        return Err(Errno::EBUSY.because("something is mounted there"));
    }
    directory_of(directory.inode())?.remove(name)?;
    victim.forget(&mut names);
    Ok(())
}

/// Takes away an empty directory.
///
/// Errors: EINVAL for `.`, ENOTEMPTY for `..`, EBUSY for `/`; EROFS; ENOENT; ENOTDIR; EACCES; EPERM; EBUSY; ENOTEMPTY.
pub fn remove_directory(walk: &Walk<'_>, parent: &Parent) -> Result<()> {
    let name = match &parent.last {
        LastName::Name(name) => name,
        LastName::Dot => return Err(Errno::EINVAL.because("`.` cannot be removed by that name")),
        LastName::DotDot => return Err(Errno::ENOTEMPTY.because("`..` holds the directory one comes from")),
        LastName::Root => return Err(Errno::EBUSY.because("the root is always in use")),
    };
    let directory = &parent.directory;
    directory.mount.must_be_writable()?;
    let mut names = directory.entry.names();
    let victim = find(walk, directory, &mut names, name)?;
    may_take(walk, directory, &names, &victim, true)?;
    if victim.is_mount_point() {
        return Err(Errno::EBUSY.because("something is mounted there"));
    }
    // From here on nothing can be made in it.
    let mut inner = victim.names();
    directory_of(directory.inode())?.remove(name)?;
    inner.set_removed();
    drop(inner);
    victim.forget(&mut names);
    Ok(())
}

fn free_name(parent: &Parent) -> Result<&[u8]> {
    match &parent.last {
        LastName::Name(name) => Ok(name),
        _ => Err(Errno::EEXIST.because("`.`, `..` and `/` always exist")),
    }
}

fn must_be_free(walk: &Walk<'_>, directory: &Path, names: &mut Names, name: &[u8]) -> Result<()> {
    match find(walk, directory, names, name) {
        Ok(_) => Err(Errno::EEXIST.because("the name is taken")),
        Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The entry of a name in a directory whose names are locked.
pub fn find(walk: &Walk<'_>, directory: &Path, names: &mut Names, name: &[u8]) -> Result<Arc<Entry>> {
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG.because("a name has at most 255 bytes"));
    }
    directory.entry.find(names, name, walk.actor)
}

/// An object's directory side. Errors: ENOTDIR.
pub fn directory_of(inode: &Arc<dyn Inode>) -> Result<&dyn super::Directory> {
    inode.directory().ok_or(Errno::ENOTDIR.because("only a directory holds names"))
}

/// Whether a name may be added: the directory must still be there and be writable. Errors: ENOENT, EACCES.
pub fn may_add(walk: &Walk<'_>, directory: &Path, names: &Names) -> Result<()> {
    if names.is_removed() {
        return Err(Errno::ENOENT.because("the directory was removed"));
    }
    directory.inode().permits(Wanted::WRITE | Wanted::EXECUTE, &walk.credentials, walk.actor)
}

/// Whether a name may be taken out, as what it is said to be. Errors: EACCES, EPERM, ENOTDIR, EISDIR, ENOENT.
pub fn may_take(
    walk: &Walk<'_>,
    directory: &Path,
    names: &Names,
    victim: &Entry,
    as_directory: bool,
) -> Result<()> {
    let holder = directory.inode();
    holder.permits(Wanted::WRITE | Wanted::EXECUTE, &walk.credentials, walk.actor)?;
    permission::may_remove(&holder.metadata(), &victim.inode().metadata(), &walk.credentials)?;
    match (as_directory, victim.inode().kind() == Kind::Directory) {
        (true, false) => Err(Errno::ENOTDIR.because("what is to go is no directory")),
        (false, true) => Err(Errno::EISDIR.because("what is to go is a directory")),
        _ if names.is_removed() => Err(Errno::ENOENT.because("the directory was removed")),
        _ => Ok(()),
    }
}

/// Who owns what is made, and with which permissions, inode(7): in a set-group-id directory the group is the directory's.
fn new_node<'a>(directory: &Metadata, credentials: &Credentials, making: Making<'a>) -> NewNode<'a> {
    let inherits = directory.permissions & SET_GROUP_ID != 0;
    let gid = if inherits { directory.gid } else { credentials.fsgid };
    let mut permissions = making.permissions;
    if inherits && making.kind == Kind::Directory {
        permissions |= SET_GROUP_ID;
    } else if inherits
        && !credentials.in_group(gid)
        && !permission::capable(directory, Capability::FSETID, credentials)
    {
        permissions = without_set_group_id(permissions);
    }
    NewNode {
        kind: making.kind,
        permissions,
        uid: credentials.fsuid,
        gid,
        represents: making.represents,
        target: making.target,
    }
}

/// Without set-group-id, where that means running with the group. (Without group execution it never did.)
pub const fn without_set_group_id(permissions: u16) -> u16 {
    match permissions & 0o010 {
        0 => permissions,
        _ => permissions & !SET_GROUP_ID,
    }
}

/// What a write or a change of owner leaves of the permissions, unless CAP_FSETID keeps all: no set-user-id and no
/// set-group-id program changes hands unnoticed.
pub const fn without_set_ids(permissions: u16) -> u16 {
    without_set_group_id(permissions & !SET_USER_ID)
}

/// As [`without_set_ids`], on the object, if it applies.
pub fn drop_set_ids(inode: &dyn Inode, credentials: &Credentials) -> Result<()> {
    let metadata = inode.metadata();
    let permissions = without_set_ids(metadata.permissions);
    if permissions == metadata.permissions
        || metadata.kind != Kind::Regular
        || permission::capable(&metadata, Capability::FSETID, credentials)
    {
        return Ok(());
    }
    inode.change(&AttributeChanges { permissions: Some(permissions), ..AttributeChanges::default() })
}

/// The names on the way to a directory in the whole tree, made where they are missing, for the kernel's own use.
pub fn make_path(walk: &mut Walk<'_>, name: &[u8], permissions: u16) -> Result<Path> {
    let mut so_far: Vec<u8> = Vec::new();
    for part in name.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
        so_far.push(b'/');
        so_far.extend_from_slice(part);
        let parent = walk.find_parent(&so_far)?;
        match make(walk, &parent, Making::plain(Kind::Directory, permissions)) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    so_far.push(b'/');
    walk.find(&so_far, super::LastLink::Follow)
}

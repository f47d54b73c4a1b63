//! From a program's `dirfd`, name and flags to a place: what all the `…at` calls begin with, openat(2).

use super::Caller;
use crate::{
    abi::{Errno, Result, linux},
    fs::{
        Descriptor, LastLink, Path, Walk,
        walk::{PATH_MAX, Parent},
    },
};
use alloc::vec::Vec;

/// A name in a program's memory, at most PATH_MAX bytes. Errors: EFAULT, ENAMETOOLONG.
pub fn name(caller: &Caller<'_>, address: usize) -> Result<Vec<u8>> {
    caller.space.read_string(address, PATH_MAX)
}

/// A walk for this name from `directory`, which only counts for a name that is not absolute.
/// Errors: ENOENT for an empty name; EBADF; ENOTDIR when the descriptor is no directory's.
pub fn walk<'a>(caller: &Caller<'a>, directory: Descriptor, name: &[u8]) -> Result<Walk<'a>> {
    match name.first() {
        None => Err(Errno::ENOENT.because("an empty name names nothing")),
        Some(b'/') => Ok(Walk::new(caller.task, &*caller.filesystem()?)),
        Some(_) => walk_from(caller, directory),
    }
}

/// A walk from `directory`, whatever the name. Errors: EBADF; ENOTDIR when the descriptor is no directory's.
pub fn walk_from<'a>(caller: &Caller<'a>, directory: Descriptor) -> Result<Walk<'a>> {
    let walk = Walk::new(caller.task, &*caller.filesystem()?);
    if directory == Descriptor::WORKING_DIRECTORY {
        return Ok(walk);
    }
    let start = place_of(caller, directory)?;
    if start.inode().directory().is_none() {
        return Err(Errno::ENOTDIR.because("a name begins at a directory"));
    }
    Ok(walk.starting_at(start))
}

/// The place that a descriptor stands for. Errors: EBADF.
pub fn place_of(caller: &Caller<'_>, descriptor: Descriptor) -> Result<Path> {
    if descriptor == Descriptor::WORKING_DIRECTORY {
        return Ok(caller.filesystem()?.cwd());
    }
    Ok(caller.files()?.get_any(descriptor)?.path().clone())
}

/// The place of a name. `flags`: AT_SYMLINK_NOFOLLOW, and AT_EMPTY_PATH, with which an empty name means `directory` itself.
///
/// Errors: EFAULT, ENAMETOOLONG, EBADF and those of the walk.
pub fn find(caller: &Caller<'_>, directory: Descriptor, address: usize, flags: u32) -> Result<Path> {
    let name = match flags & linux::AT_EMPTY_PATH {
        0 => name(caller, address)?,
        // NULL means empty where empty is allowed.
        _ if address == 0 => Vec::new(),
        _ => name(caller, address)?,
    };
    if name.is_empty() && flags & linux::AT_EMPTY_PATH != 0 {
        return place_of(caller, directory);
    }
    walk(caller, directory, &name)?.find(&name, last_link(flags))
}

/// What AT_SYMLINK_NOFOLLOW says of a link at the end of a name.
pub fn last_link(flags: u32) -> LastLink {
    match flags & linux::AT_SYMLINK_NOFOLLOW {
        0 => LastLink::Follow,
        _ => LastLink::Keep,
    }
}

/// The directory and last name of a path that something is done to, and the walk that found it.
pub fn find_parent<'a>(
    caller: &Caller<'a>,
    directory: Descriptor,
    address: usize,
) -> Result<(Walk<'a>, Parent)> {
    let name = name(caller, address)?;
    let mut walk = walk(caller, directory, &name)?;
    let parent = walk.find_parent(&name)?;
    Ok((walk, parent))
}

/// Errors: EINVAL for a flag that is not among those allowed.
pub fn only(flags: u32, allowed: u32) -> Result<()> {
    match flags & !allowed {
        0 => Ok(()),
        _ => Err(Errno::EINVAL.because("the call does not know this flag")),
    }
}

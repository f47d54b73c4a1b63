//! rename(2): a name moves, perhaps over another, perhaps to another directory, and nobody sees it half done.
//!
//! Two directories' names are locked, the ancestor's first. Who is whose ancestor only a rename can change, and there is
//! one at a time: [`MOVES`].

use super::{
    Entry, Kind, LastName, Path, Walk,
    entry::Names,
    naming::{directory_of, find, may_add, may_take},
    permission::Wanted,
    walk::Parent,
};
use crate::{
    abi::{Errno, Result, linux},
    sync::SpinLock,
};
use alloc::sync::Arc;

/// Taken before every directory's names.
static MOVES: SpinLock<()> = SpinLock::new(());

bitflags::bitflags! {
    /// renameat2(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "renameat2(2) describes them")]
    pub struct RenameFlags: u32 {
        const NO_REPLACE = linux::RENAME_NOREPLACE;
        const EXCHANGE = linux::RENAME_EXCHANGE;
    }
}

impl RenameFlags {
    /// Errors: EINVAL for a flag that is not supported, or both at once.
    pub fn new(bits: u32) -> Result<Self> {
        match Self::from_bits(bits) {
            Some(flags) if flags != Self::all() => Ok(flags),
            _ => Err(Errno::EINVAL.because("renameat2 takes RENAME_NOREPLACE or RENAME_EXCHANGE")),
        }
    }
}

/// One side of a rename.
struct Side<'a> {
    directory: &'a Path,
    name: &'a [u8],
    slash: bool,
}

impl<'a> Side<'a> {
    fn new(parent: &'a Parent) -> Option<Self> {
        let LastName::Name(name) = &parent.last else { return None };
        Some(Self { directory: &parent.directory, name, slash: parent.slash })
    }
}

/// Moves a name.
///
/// Errors: EXDEV; EBUSY for `.`, `..` and mount points; EROFS; ENOENT; EEXIST with NO_REPLACE; ENOTDIR, EISDIR when
/// a directory would replace something else or the other way round; EINVAL for a directory moved into itself; ENOTEMPTY;
/// EACCES, EPERM.
pub fn rename(walk: &Walk<'_>, from: &Parent, to: &Parent, flags: RenameFlags) -> Result<()> {
    if !Arc::ptr_eq(&from.directory.mount, &to.directory.mount) {
        return Err(Errno::EXDEV.because("a rename stays on one mount"));
    }
    let busy = || Errno::EBUSY.because("`.` and `..` cannot be moved by that name");
    let from = Side::new(from).ok_or_else(busy)?;
    let to = Side::new(to).ok_or_else(|| match flags.contains(RenameFlags::NO_REPLACE) {
        true => Errno::EEXIST.because("the new name is taken"),
        false => busy(),
    })?;
    from.directory.mount.must_be_writable()?;
    let _moves = MOVES.lock();
    let (source, target) = (&from.directory.entry, &to.directory.entry);
    if Arc::ptr_eq(source, target) {
        return rename_locked(walk, &from, &to, flags, &mut source.names(), None);
    }
    if source.is_within(target) {
        let mut target_names = target.names();
        let mut source_names = source.names();
        return rename_locked(walk, &from, &to, flags, &mut source_names, Some(&mut target_names));
    }
    let mut source_names = source.names();
    let mut target_names = target.names();
    rename_locked(walk, &from, &to, flags, &mut source_names, Some(&mut target_names))
}

/// With both directories' names locked; `into` is `None` when they are one.
fn rename_locked(
    walk: &Walk<'_>,
    from: &Side<'_>,
    to: &Side<'_>,
    flags: RenameFlags,
    names: &mut Names,
    mut into: Option<&mut Names>,
) -> Result<()> {
    let exchange = flags.contains(RenameFlags::EXCHANGE);
    let moving = find(walk, from.directory, names, from.name)?;
    let present = match find(walk, to.directory, into.as_deref_mut().unwrap_or(names), to.name) {
        Ok(_) if flags.contains(RenameFlags::NO_REPLACE) => {
            return Err(Errno::EEXIST.because("the new name is taken"));
        }
        Ok(present) => Some(present),
        Err(Errno::ENOENT) if !exchange => None,
        Err(error) => return Err(error),
    };
    let is_directory = |entry: &Entry| entry.inode().kind() == Kind::Directory;
    let moves_directory = is_directory(&moving);
    let refused_slash = match (&present, exchange) {
        (Some(present), true) => (to.slash && !is_directory(present)) || (from.slash && !moves_directory),
        _ => !moves_directory && (from.slash || to.slash),
    };
    if refused_slash {
        return Err(Errno::ENOTDIR.because("a slash follows the name of what is no directory"));
    }
    if to.directory.entry.is_within(&moving) {
        return Err(Errno::EINVAL.because("a directory cannot move into itself"));
    }
    if let Some(present) = &present
        && from.directory.entry.is_within(present)
    {
        return Err(match exchange {
            true => Errno::EINVAL.because("a directory cannot change places with one inside it"),
            false => Errno::ENOTEMPTY.because("the new name's directory holds what is to move"),
        });
    }
    if present.as_ref().is_some_and(|present| Arc::ptr_eq(present.inode(), moving.inode())) {
        return Ok(());
    }
    may_take(walk, from.directory, names, &moving, moves_directory)?;
    match &present {
        None => may_add(walk, to.directory, into.as_deref().unwrap_or(names))?,
        Some(present) => {
            let as_directory = if exchange { is_directory(present) } else { moves_directory };
            may_take(walk, to.directory, into.as_deref().unwrap_or(names), present, as_directory)?;
        }
    }
    if into.is_some() {
        // A directory that moves elsewhere gets another `..`, which is a change of it.
        for entry in [Some(&moving), present.as_ref().filter(|_| exchange)].into_iter().flatten() {
            if is_directory(entry) {
                entry.inode().permits(Wanted::WRITE, &walk.credentials, walk.actor)?;
            }
        }
    }
    if moving.is_mount_point() || present.as_ref().is_some_and(|present| present.is_mount_point()) {
        return Err(Errno::EBUSY.because("something is mounted there"));
    }
    let directory = directory_of(from.directory.inode())?;
    let replaced = present.as_ref().filter(|entry| !exchange && is_directory(entry));
    let mut inner = replaced.map(|entry| entry.names());
    directory.rename(from.name, to.directory.inode(), to.name, exchange)?;
    if let Some(inner) = &mut inner {
        inner.set_removed();
    }
    drop(inner);
    let (old_parent, new_parent) = (&from.directory.entry, &to.directory.entry);
    match (&present, exchange) {
        (Some(present), true) => exchange_entries(&moving, present, from, to, names, into),
        (present, _) => {
            if let Some(present) = present {
                present.forget(into.as_deref_mut().unwrap_or(names));
            }
            debug_assert!(
                !moves_directory || moving.parent().is_some_and(|parent| Arc::ptr_eq(&parent, old_parent))
            );
            moving.moved(names, new_parent, into, to.name);
        }
    }
    Ok(())
}

fn exchange_entries(
    moving: &Arc<Entry>,
    present: &Arc<Entry>,
    from: &Side<'_>,
    to: &Side<'_>,
    names: &mut Names,
    mut into: Option<&mut Names>,
) {
    moving.moved(names, &to.directory.entry, into.as_deref_mut(), to.name);
    match into {
        Some(into) => present.moved(into, &from.directory.entry, Some(names), from.name),
        None => present.moved(names, &from.directory.entry, None, from.name),
    }
}

//! mount(2) and umount(2): what may be mounted where, and by whom.

use super::{
    Actor, Entry, FileSystem, Mount, MountFlags, Path, devices,
    mount::{self, Options},
    sysfs,
    tmpfs::TemporaryFileSystem,
};
use crate::{
    abi::{Errno, Result, linux},
    mm::reserve,
    ns::{Capability, Credentials},
    sync::SpinLock,
};
use alloc::{sync::Arc, vec::Vec};

/// How a type of file system is made.
#[derive(Clone, Copy)]
pub struct FileSystemType {
    /// As mount(2) and `/proc/filesystems` have it.
    pub name: &'static str,
    /// A new one, or the only one there is. Errors: EINVAL for options it does not know.
    pub make: fn(&Options<'_>) -> Result<Arc<dyn FileSystem>>,
}

/// Every type that can be mounted; proc adds itself, as it stands above this folder. Nothing is taken inside it.
static TYPES: SpinLock<Vec<FileSystemType>> = SpinLock::new(Vec::new());

const OWN_TYPES: [FileSystemType; 3] = [
    FileSystemType { name: "devtmpfs", make: |_| Ok(devices::file_system()) },
    FileSystemType { name: "sysfs", make: |_| Ok(sysfs::file_system()) },
    FileSystemType { name: "tmpfs", make: |options| Ok(TemporaryFileSystem::new("tmpfs", options)?) },
];

/// Adds a type.
pub fn register(new: FileSystemType) {
    TYPES.lock().push(new);
}

/// Every type, in alphabetical order.
pub fn types() -> Vec<FileSystemType> {
    let mut types = TYPES.lock().clone();
    types.extend(OWN_TYPES);
    types.sort_unstable_by_key(|known| known.name);
    types
}

/// Changes of how mounts pass changes on to others: there is one mount namespace, so nobody to pass them to.
const PROPAGATION: u32 = linux::MS_SHARED | linux::MS_PRIVATE | linux::MS_SLAVE | linux::MS_UNBINDABLE;

/// Whether somebody may change what is mounted. Errors: EPERM.
pub fn must_be_allowed(credentials: &Credentials) -> Result<()> {
    match credentials.capable_globally(Capability::SYS_ADMIN) {
        true => Ok(()),
        false => Err(Errno::EPERM.because("mounting takes CAP_SYS_ADMIN")),
    }
}

/// What a call of mount(2) asks for.
pub enum Request<'a> {
    /// Other flags for a mount.
    Remount,
    /// Nothing we would have to do.
    Propagation,
    /// What is at one place at another as well.
    Bind {
        /// With everything mounted below it.
        recursive: bool,
    },
    /// What is mounted at one place at another instead.
    Move,
    /// A file system of this type; `None` where none was named.
    New(Option<&'a [u8]>),
}

impl<'a> Request<'a> {
    /// Tells them apart, in the order in which Linux does.
    pub fn new(flags: u32, kind: Option<&'a [u8]>) -> Self {
        match flags {
            flags if flags & linux::MS_REMOUNT != 0 => Self::Remount,
            flags if flags & linux::MS_BIND != 0 => Self::Bind { recursive: flags & linux::MS_REC != 0 },
            flags if flags & PROPAGATION != 0 => Self::Propagation,
            flags if flags & linux::MS_MOVE != 0 => Self::Move,
            _ => Self::New(kind),
        }
    }
}

/// Mounts a new file system. Errors: ENODEV for an unknown type; EINVAL for its options; EBUSY when it is already mounted
/// just there; ENOTDIR.
pub fn mount_new(place: Path, kind: &[u8], source: &[u8], flags: u32, options: &Options<'_>) -> Result<()> {
    let known = types().into_iter().find(|known| known.name.as_bytes() == kind);
    let known = known.ok_or(Errno::ENODEV.because("there is no such type of file system"))?;
    reserve::check()?;
    mount::check_room(1)?;
    let file_system = (known.make)(options)?;
    let top = mount::cross(place.clone());
    if Arc::ptr_eq(&top.entry, file_system.root()) {
        return Err(Errno::EBUSY.because("it is already mounted there"));
    }
    let root = file_system.root().clone();
    let source = if source.is_empty() { b"none" } else { source };
    mount::attach(&Mount::new(file_system, root, source, mount_flags(flags)), place)
}

/// What a mount forbids. Unless something else is asked for, times of access are kept loosely.
fn mount_flags(flags: u32) -> MountFlags {
    let asked = MountFlags::from_bits_truncate(flags);
    match flags & (linux::MS_NOATIME | linux::MS_STRICTATIME) {
        0 => asked | MountFlags::RELATIVE_ACCESS_TIME,
        linux::MS_STRICTATIME => asked - MountFlags::RELATIVE_ACCESS_TIME,
        _ => asked,
    }
}

/// Shows what is at one place at another as well, with all that is mounted below if it is `recursive`.
///
/// Errors: EINVAL for a place on a mount that is nowhere, but a namespace's file; ENOTDIR; ENOSPC for too many mounts.
pub fn bind(from: &Path, place: Path, recursive: bool) -> Result<()> {
    let copy = |mount: &Arc<Mount>, root: &Arc<Entry>| {
        Mount::new(mount.file_system.clone(), root.clone(), &mount.source, mount.flags())
    };
    let reachable = mount::is_in_tree(&from.mount);
    if !reachable && super::nsfs::handle_at(from).is_none() {
        return Err(Errno::EINVAL.because("what has no place in the tree cannot be mounted"));
    }
    reserve::check()?;
    // All that there is below, before any of the new is among it: the place may be in what is copied.
    let top = copy(&from.mount, &from.entry);
    let mut copies = alloc::vec![(from.mount.clone(), top, place)];
    let mut next = 0;
    while let Some((original, new, _)) = copies.get(next).filter(|_| recursive).cloned() {
        next += 1;
        for child in mount::children(&original) {
            let is_shown = |at: &Path| next > 1 || at.entry.is_within(&from.entry);
            let Some(at) = child.attached().filter(is_shown) else { continue };
            let place = Path { mount: new.clone(), entry: at.entry };
            copies.push((child.clone(), copy(&child, &child.root), place));
        }
    }
    reserve::check()?;
    mount::check_room(copies.len())?;
    copies.into_iter().try_for_each(|(_, new, place)| mount::attach(&new, place))
}

/// Moves a mount. Errors: EINVAL unless `from` is the top of one, and not of the first; ELOOP for a place inside it;
/// ENOTDIR.
pub fn move_mount(from: &Path, place: Path) -> Result<()> {
    if *from != from.mount.top() || from.mount.attached().is_none() {
        return Err(Errno::EINVAL.because("only a mount can be moved, and not the first"));
    }
    let mut outer = Some(place.mount.clone());
    while let Some(mount) = outer {
        if Arc::ptr_eq(&mount, &from.mount) {
            return Err(Errno::ELOOP.because("a mount cannot move into itself"));
        }
        outer = mount.attached().map(|path| path.mount);
    }
    let Some(before) = from.mount.attached() else { return Err(Errno::EINVAL) };
    mount::detach(&from.mount);
    mount::attach(&from.mount, place).inspect_err(|_| {
        if let Err(error) = mount::attach(&from.mount, before) {
            log::warn!("a mount that could not be moved lost its old place: {error}");
        }
    })
}

/// Changes a mount's flags. Errors: EINVAL unless it is the top of one.
pub fn remount(place: &Path, flags: u32) -> Result<()> {
    if *place != place.mount.top() {
        return Err(Errno::EINVAL.because("nothing is mounted there"));
    }
    place.mount.set_flags(mount_flags(flags));
    Ok(())
}

/// umount2(2). `lazily`: out of the tree now, gone when its last user is.
///
/// Errors: EINVAL unless it is the top of a mount; EBUSY for the first mount, one with others on it, or one in use.
pub fn unmount(place: Path, lazily: bool, actor: &dyn Actor) -> Result<()> {
    must_be_allowed(&actor.credentials())?;
    if place != place.mount.top() {
        return Err(Errno::EINVAL.because("nothing is mounted there"));
    }
    let mount = place.mount.clone();
    drop(place);
    if mount.attached().is_none() {
        return Err(match Arc::ptr_eq(&mount, &mount::root().mount) {
            true => Errno::EBUSY.because("the first mount stays"),
            false => Errno::EINVAL.because("it is mounted nowhere"),
        });
    }
    if !lazily {
        // The table's reference and this one; every other is somebody who stands on it, has a file of it open, or
        // has mounted something on it.
        const IDLE: usize = 2;
        if !mount::children(&mount).is_empty() || Arc::strong_count(&mount) > IDLE {
            return Err(Errno::EBUSY.because("the mount is in use"));
        }
    }
    mount::detach_tree(&mount);
    Ok(())
}

//! Mounts: how several trees make one, mount(2).
//!
//! There is one mount namespace. A mount shows a tree, or a part of one, at a place in another mount; a path is therefore
//! a mount and an entry together ([`Path`]). The table of all mounts is short and searched from end to end; an entry
//! counts the mounts on it, so that ordinary lookups never do.

use super::{Entry, Path, metadata::DeviceNumber, recent};
use crate::{
    abi::{Errno, Result, linux},
    sync::{Once, SpinLock},
};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// A tree of objects that can be mounted.
pub trait FileSystem: Send + Sync {
    /// Its type, as in `/proc/filesystems` and mount(2).
    fn kind(&self) -> &'static str;
    /// Its number, `st_dev` of everything on it.
    fn device(&self) -> DeviceNumber;
    /// The top of its tree; always the same entry.
    fn root(&self) -> &Arc<Entry>;
    /// What statfs(2) tells.
    fn statistics(&self) -> Statistics;
    /// Its own options as `/proc/mounts` shows them, each with a comma before it.
    fn describe_options(&self, _out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        Ok(())
    }
}

/// What statfs(2) tells of a file system.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    /// `f_type`: the number that tells its kind, magic.h.
    pub magic: u64,
    /// Bytes in a block; the unit of what follows.
    pub block_size: u64,
    /// All blocks; 0 where that means nothing.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// The most objects there can be.
    pub objects: u64,
    /// How many more there can be.
    pub free_objects: u64,
}

impl Statistics {
    /// Those of a file system without storage.
    pub const fn empty(magic: u64) -> Self {
        Self {
            magic,
            block_size: crate::arch::PAGE_SIZE as u64,
            blocks: 0,
            free: 0,
            objects: 0,
            free_objects: 0,
        }
    }
}

/// The last argument of mount(2): names with values, separated by commas.
pub struct Options<'a>(&'a str);

impl<'a> Options<'a> {
    /// None.
    #[cfg(test)]
    pub const NONE: Options<'static> = Options("");

    /// Those in a text.
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Each with its value, which is empty where there is none.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let each = self.0.split(',').filter(|option| !option.is_empty());
        each.map(|option| option.split_once('=').unwrap_or((option, "")))
    }
}

bitflags::bitflags! {
    /// What a mount forbids, mount(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "mount(2) describes them")]
    pub struct MountFlags: u32 {
        const READ_ONLY = linux::MS_RDONLY;
        const NO_SET_ID = linux::MS_NOSUID;
        const NO_DEVICES = linux::MS_NODEV;
        const NO_EXECUTION = linux::MS_NOEXEC;
        const NO_ACCESS_TIME = linux::MS_NOATIME;
        const NO_DIRECTORY_ACCESS_TIME = linux::MS_NODIRATIME;
        const RELATIVE_ACCESS_TIME = linux::MS_RELATIME;
    }
}

/// A tree, or part of one, shown at some place.
pub struct Mount {
    /// Its number in mountinfo and statx(2).
    pub id: u32,
    /// What is shown.
    pub file_system: Arc<dyn FileSystem>,
    /// The top of what is shown.
    pub root: Arc<Entry>,
    /// The first argument of mount(2), for `/proc/mounts` alone.
    pub source: Vec<u8>,
    flags: AtomicU32,
    /// The place it hides, `None` while it is nowhere. Taken inside [`TABLE`]; nothing is taken inside it.
    attached: SpinLock<Option<Path>>,
}

/// The most mounts there can be, fs.mount-max. It is 100 000 on Linux; here who looks one up looks at all.
pub const MOST: usize = 4096;

/// Every mount that is at some place, in the order of mounting. Nothing but `attached` is taken inside it.
static TABLE: SpinLock<Vec<Arc<Mount>>> = SpinLock::new(Vec::new());
static ROOT: Once<Arc<Mount>> = Once::new();
static NEXT_ID: AtomicU32 = AtomicU32::new(20);
/// Something was mounted where names go by themselves: below a process' directory.
static ON_FLEETING: AtomicBool = AtomicBool::new(false);

impl Mount {
    /// A mount that is nowhere yet, or never will be, as for pipes.
    pub fn new(
        file_system: Arc<dyn FileSystem>,
        root: Arc<Entry>,
        source: &[u8],
        flags: MountFlags,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            file_system,
            root,
            source: source.to_vec(),
            flags: AtomicU32::new(flags.bits()),
            attached: SpinLock::new(None),
        })
    }

    /// What it forbids.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Relaxed))
    }

    /// Changes what it forbids, mount(2) MS_REMOUNT.
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Relaxed);
    }

    /// The place it hides; `None` for the first mount, and for one that is nowhere.
    pub fn attached(&self) -> Option<Path> {
        self.attached.get()
    }

    /// Errors: EROFS when nothing on it may be changed.
    pub fn must_be_writable(&self) -> Result<()> {
        match self.flags().contains(MountFlags::READ_ONLY) {
            true => Err(Errno::EROFS.because("the mount is read-only")),
            false => Ok(()),
        }
    }

    /// The path of its top.
    pub fn top(self: &Arc<Self>) -> Path {
        Path { mount: self.clone(), entry: self.root.clone() }
    }
}

/// The path where everything begins.
///
/// # Panics
/// Before [`set_root`], which boot does first.
pub fn root() -> Path {
    ROOT.get().expect("the root file system is mounted before anything is looked up").top()
}

/// Mounts the first file system. Only the first call does anything.
pub fn set_root(file_system: Arc<dyn FileSystem>, source: &[u8]) {
    ROOT.call_once(|| {
        let mount = Mount::new(file_system.clone(), file_system.root().clone(), source, MountFlags::empty());
        TABLE.lock().push(mount.clone());
        mount
    });
}

/// Whether a process with this root has not the whole tree before it, user_namespaces(7).
pub fn is_changed_root(path: &Path) -> bool {
    *path != cross(root())
}

/// Errors: ENOSPC when there cannot be so many more mounts: to copy a tree into itself doubles it.
pub fn check_room(more: usize) -> Result<()> {
    match TABLE.lock().len() + more > MOST {
        true => Err(Errno::ENOSPC.because("there are as many mounts as there may be")),
        false => Ok(()),
    }
}

/// All mounts, in the order of mounting.
pub fn all() -> Vec<Arc<Mount>> {
    TABLE.lock().clone()
}

/// The top of what is mounted on a path, however many mounts lie on each other there; else the path itself.
pub fn cross(mut path: Path) -> Path {
    while path.entry.is_mount_point() {
        match mounted_on(&path) {
            Some(mount) => path = mount.top(),
            None => break,
        }
    }
    path
}

fn mounted_on(path: &Path) -> Option<Arc<Mount>> {
    TABLE.lock().iter().find(|mount| mount.attached.lock().as_ref() == Some(path)).cloned()
}

/// Whether the mount is attached, directly or not, to the first one.
pub fn is_in_tree(mount: &Arc<Mount>) -> bool {
    let mut mount = mount.clone();
    while let Some(place) = mount.attached() {
        mount = place.mount;
    }
    Arc::ptr_eq(&mount, &root().mount)
}

/// Puts a mount on a path, over what may be mounted there already. Errors: ENOTDIR unless both are directories or neither
/// is; ENOENT when the place was removed, or is on a mount that was taken from its place: nobody could unmount it there.
pub fn attach(mount: &Arc<Mount>, place: Path) -> Result<()> {
    let place = cross(place);
    if place.entry.inode().directory().is_some() != mount.root.inode().directory().is_some() {
        return Err(Errno::ENOTDIR.because("a directory is mounted on a directory and a file on a file"));
    }
    if place.entry.is_removed() {
        return Err(Errno::ENOENT.because("the mount point was removed"));
    }
    if !is_in_tree(&place.mount) {
        return Err(Errno::ENOENT.because("the place is not in the tree any more"));
    }
    if place.mount.file_system.kind() == "proc" {
        ON_FLEETING.store(true, Relaxed);
    }
    place.entry.mounts().fetch_add(1, Relaxed);
    let mut table = TABLE.lock();
    mount.attached.replace(Some(place));
    table.push(mount.clone());
    Ok(())
}

/// Takes a mount from its place. It goes on for those who still use it.
pub fn detach(mount: &Arc<Mount>) {
    // Dropped after the table is free: they may be the last references to what they name.
    let (place, removed);
    let mut table = TABLE.lock();
    place = mount.attached.replace(None);
    removed = table.iter().position(|other| Arc::ptr_eq(other, mount)).map(|index| table.remove(index));
    drop(table);
    recent::clear();
    if let Some(place) = &place {
        place.entry.mounts().fetch_sub(1, Relaxed);
    }
    drop((place, removed));
}

/// Takes a mount from its place, and all that is mounted within it.
pub fn detach_tree(mount: &Arc<Mount>) {
    // No recursion: mounts may be nested deeper than the kernel's stack.
    let mut all = alloc::vec![mount.clone()];
    while let Some(mount) = all.pop() {
        all.extend(children(&mount));
        detach(&mount);
    }
}

/// Takes away what is mounted below names that are no more, as nobody could reach it to unmount it: for the end of a
/// process.
pub fn detach_gone() {
    if !ON_FLEETING.load(Relaxed) {
        return;
    }
    let is_gone = |mount: &Arc<Mount>| {
        let mut at = mount.attached().map(|place| place.entry);
        while let Some(entry) = at {
            if !entry.inode().still_there() {
                return true;
            }
            at = entry.parent();
        }
        false
    };
    all().iter().filter(|mount| is_gone(mount)).for_each(detach_tree);
}

/// Those mounted at places within this one, nearest first.
pub fn children(parent: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let within = |mount: &&Arc<Mount>| {
        mount.attached.lock().as_ref().is_some_and(|place| Arc::ptr_eq(&place.mount, parent))
    };
    TABLE.lock().iter().filter(within).cloned().collect()
}

//! Names in use: the tree that paths are made of.
//!
//! File systems know which names a directory holds; an [`Entry`] is one such name while somebody uses it, as a working
//! directory, an open file, a mount point, or on the way there. Entries know their parents, so `..` and getcwd(2) work,
//! and because all users of one name share its entry, a rename is seen by all of them.
//!
//! A parent knows its children weakly: an unused name is forgotten, unless it is one of the few used last
//! ([`super::recent`]), and asked of the file system again next time.

use super::{Actor, Directory, Inode, recent};
use crate::{
    abi::{Errno, Result},
    sync::{Guard, SpinLock},
};
use alloc::{
    boxed::Box,
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// One name in a tree, and the object it names. Each directory has just one.
pub struct Entry {
    inode: Arc<dyn Inode>,
    /// Taken inside `names` of the parent; nothing is taken inside it.
    place: SpinLock<Place>,
    /// Guards the names of this directory, here and in its file system: held around every lookup and change, whose own
    /// locks are taken inside it. Of two directories', the ancestor's is taken first.
    names: SpinLock<Names>,
    /// How many mounts are attached here.
    mounts: AtomicU32,
}

#[derive(Clone)]
struct Place {
    parent: Option<Arc<Entry>>,
    name: Box<[u8]>,
    removed: bool,
}

/// What a directory's lock guards.
#[derive(Default)]
pub struct Names {
    /// Also holds some that are no longer in use, until they are swept out.
    in_use: BTreeMap<Box<[u8]>, Weak<Entry>>,
    /// The length of `in_use` at which to sweep next.
    sweep_at: usize,
    /// The directory was removed: nothing may be made in it any more.
    removed: bool,
}

impl Entry {
    /// The root of a tree, or an object outside all trees.
    pub fn root(inode: Arc<dyn Inode>) -> Arc<Self> {
        Self::new(inode, Place { parent: None, name: Box::default(), removed: false })
    }

    fn new(inode: Arc<dyn Inode>, place: Place) -> Arc<Self> {
        Arc::new(Self {
            inode,
            place: SpinLock::new(place),
            names: SpinLock::default(),
            mounts: AtomicU32::new(0),
        })
    }

    /// The object named.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The directory it is in; `None` for the root of a tree.
    pub fn parent(&self) -> Option<Arc<Self>> {
        self.place.lock().parent.clone()
    }

    /// Its own name; empty for the root of a tree.
    pub fn name(&self) -> Vec<u8> {
        self.place.lock().name.to_vec()
    }

    /// Whether it was removed since it was found.
    pub fn is_removed(&self) -> bool {
        self.place.lock().removed
    }

    /// How many mounts are attached to it.
    pub fn mounts(&self) -> &AtomicU32 {
        &self.mounts
    }

    /// Whether something is mounted on it.
    pub fn is_mount_point(&self) -> bool {
        self.mounts.load(Relaxed) != 0
    }

    /// Whether it is `other`, or in the tree below it.
    pub fn is_within(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut at = Some(self.clone());
        while let Some(entry) = at {
            if Arc::ptr_eq(&entry, other) {
                return true;
            }
            at = entry.parent();
        }
        false
    }

    /// Locks the directory's names.
    pub fn names(&self) -> Guard<'_, Names> {
        self.names.lock()
    }

    /// Whether it is this name in this directory.
    pub fn is(&self, directory: *const Self, name: &[u8]) -> bool {
        let place = self.place.lock();
        place.parent.as_ref().is_some_and(|parent| Arc::as_ptr(parent) == directory)
            && place.name.iter().eq(name)
    }

    /// The entry of a name in this directory. Errors: ENOENT; ENOTDIR when this is no directory.
    pub fn child(self: &Arc<Self>, name: &[u8], actor: &dyn Actor) -> Result<Arc<Self>> {
        let recent = recent::Place::of(Arc::as_ptr(self), name);
        if let Some(entry) = recent.find(Arc::as_ptr(self), name).filter(|entry| entry.inode.still_there()) {
            return Ok(entry);
        }
        let mut names = self.names.lock();
        let entry = self.find(&mut names, name, actor)?;
        // Before the names are free: nobody can have removed it yet.
        if self.inode.directory().is_some_and(Directory::are_names_for_all) {
            recent.remember(entry.clone());
        }
        Ok(entry)
    }

    /// As [`Self::child`], with the names already locked.
    pub fn find(self: &Arc<Self>, names: &mut Names, name: &[u8], actor: &dyn Actor) -> Result<Arc<Self>> {
        match self.in_use(names, name) {
            Some(entry) if entry.inode.still_there() => Ok(entry),
            _ => self.directory_lookup(name, actor).map(|inode| self.adopt(names, name, inode)),
        }
    }

    /// The entry of a name, if it is in use.
    pub fn in_use(&self, names: &Names, name: &[u8]) -> Option<Arc<Self>> {
        names.in_use.get(name).and_then(Weak::upgrade)
    }

    fn directory_lookup(&self, name: &[u8], actor: &dyn Actor) -> Result<Arc<dyn Inode>> {
        let directory = self.inode.directory();
        directory.ok_or(Errno::ENOTDIR.because("names are looked up in directories"))?.lookup(name, actor)
    }

    /// Makes the entry for an object that the directory holds under this name.
    pub fn adopt(self: &Arc<Self>, names: &mut Names, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Self> {
        let entry = Self::new(inode, Place { parent: Some(self.clone()), name: name.into(), removed: false });
        names.insert(name, &entry);
        entry
    }

    /// Notes that the name was removed. Users of the entry keep the object.
    pub fn forget(&self, names: &mut Names) {
        self.place_if_recent().forget(self);
        let mut place = self.place.lock();
        place.removed = true;
        names.in_use.remove(&place.name);
    }

    fn place_if_recent(&self) -> recent::Place {
        let place = self.place.lock();
        recent::Place::of(place.parent.as_ref().map_or(core::ptr::null(), Arc::as_ptr), &place.name)
    }

    /// Notes that the name moved: out of `from`, whose names are locked, into `parent`, whose names are `into` (`None`:
    /// the same directory). What bore the new name must have been forgotten or moved before.
    pub fn moved(
        self: &Arc<Self>,
        from: &mut Names,
        parent: &Arc<Self>,
        into: Option<&mut Names>,
        new_name: &[u8],
    ) {
        self.place_if_recent().forget(self);
        let mut place = self.place.lock();
        if from.in_use.get(&place.name).is_some_and(|known| known.as_ptr() == Arc::as_ptr(self)) {
            from.in_use.remove(&place.name);
        }
        into.unwrap_or(from).insert(new_name, self);
        place.name = new_name.into();
        let old_parent = place.parent.replace(parent.clone());
        drop(place);
        drop(old_parent);
    }
}

impl Names {
    fn insert(&mut self, name: &[u8], entry: &Arc<Entry>) {
        // A sweep when there are twice as many as the last one left costs little and keeps the useless ones few.
        if self.in_use.len() >= self.sweep_at {
            self.in_use.retain(|_, entry| entry.strong_count() != 0);
            self.sweep_at = (2 * self.in_use.len()).max(16);
        }
        self.in_use.insert(name.into(), Arc::downgrade(entry));
    }

    /// Whether the directory was removed.
    pub fn is_removed(&self) -> bool {
        self.removed
    }

    /// Notes that the directory was removed.
    pub fn set_removed(&mut self) {
        self.removed = true;
    }
}

/// A chain of a million directories, each held only by the next, ends in a loop rather than a recursion: the kernel stack
/// is small and programs decide how deep a tree is.
///
/// The parent is not told. Telling it would take its lock, and then no entry could be let go while that is held.
impl Drop for Entry {
    fn drop(&mut self) {
        let mut parent = self.place.lock().parent.take();
        while let Some(entry) = parent {
            parent = Arc::into_inner(entry).and_then(|entry| entry.place.lock().parent.take());
        }
    }
}

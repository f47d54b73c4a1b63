//! Paths: places in the one tree that mounts make of many, and where a process stands in it.

use super::{Entry, Mount};
use crate::sync::SpinLock;
use alloc::{sync::Arc, vec::Vec};

/// A place: an entry, seen through a mount.
#[derive(Clone)]
pub struct Path {
    /// Through which mount.
    pub mount: Arc<Mount>,
    /// Which entry.
    pub entry: Arc<Entry>,
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entry, &other.entry) && Arc::ptr_eq(&self.mount, &other.mount)
    }
}

impl Path {
    /// The object there.
    pub fn inode(&self) -> &Arc<dyn super::Inode> {
        self.entry.inode()
    }

    /// The same mount, another entry.
    pub fn with(&self, entry: Arc<Entry>) -> Self {
        Self { mount: self.mount.clone(), entry }
    }

    /// One step towards the root of everything: the directory that holds this name, through mount points. `None` at the
    /// top, and for what never had a name.
    pub fn parent(&self) -> Option<Self> {
        let mut here = self.clone();
        while Arc::ptr_eq(&here.entry, &here.mount.root) {
            here = here.mount.attached()?;
        }
        let parent = here.entry.parent()?;
        Some(here.with(parent))
    }

    /// The name of this place as seen from `root`, in one string, as getcwd(2) and `/proc/PID/fd` tell it; together with
    /// whether it can be reached from there.
    pub fn describe(&self, root: &Path) -> Description {
        // What never had a name gets one by being mounted on one.
        let mounted = Arc::ptr_eq(&self.entry, &self.mount.root);
        if let Some(text) = self.inode().pseudo_name().filter(|_| !mounted) {
            return Description { text, reachable: true, removed: false };
        }
        let removed = self.entry.is_removed();
        let mut names = Vec::new();
        let mut here = self.clone();
        let reachable = loop {
            if here == *root {
                break true;
            }
            if Arc::ptr_eq(&here.entry, &here.mount.root) {
                match here.mount.attached() {
                    Some(place) => here = place,
                    None => break false,
                }
                continue;
            }
            let Some(parent) = here.entry.parent() else { break false };
            names.push(here.entry.name());
            here = here.with(parent);
        };
        let mut text = Vec::new();
        for name in names.iter().rev() {
            text.push(b'/');
            text.extend_from_slice(name);
        }
        if text.is_empty() {
            text.push(b'/');
        }
        Description { text, reachable, removed }
    }
}

/// What [`Path::describe`] found.
pub struct Description {
    /// The absolute name, or what stands for one.
    pub text: Vec<u8>,
    /// Whether the walk upwards met the root it was to be seen from.
    pub reachable: bool,
    /// Whether the name has been removed since.
    pub removed: bool,
}

impl Description {
    /// As links in `/proc/PID` show it: with a note when the name is gone.
    pub fn into_link(mut self) -> Vec<u8> {
        if self.removed {
            self.text.extend_from_slice(b" (deleted)");
        }
        self.text
    }
}

/// Where a process stands: what CLONE_FS shares, clone(2).
pub struct PathContext {
    /// Nothing is taken inside it.
    places: SpinLock<Places>,
}

/// The three things a [`PathContext`] holds.
#[derive(Clone)]
pub struct Places {
    /// Where absolute names begin, chroot(2).
    pub root: Path,
    /// Where others begin, chdir(2).
    pub cwd: Path,
    /// Permissions that new objects do not get, umask(2).
    pub umask: u16,
}

impl PathContext {
    /// Both at one place, with the usual umask.
    pub fn new(root: Path) -> Arc<Self> {
        Arc::new(Self { places: SpinLock::new(Places { cwd: root.clone(), root, umask: 0o022 }) })
    }

    /// One of its own for a child, with the same contents.
    pub fn fork(&self) -> Arc<Self> {
        Arc::new(Self { places: SpinLock::new(self.places()) })
    }

    /// All three at one moment.
    pub fn places(&self) -> Places {
        self.places.get()
    }

    /// Where absolute names begin.
    pub fn root(&self) -> Path {
        self.places.lock().root.clone()
    }

    /// Where other names begin.
    pub fn cwd(&self) -> Path {
        self.places.lock().cwd.clone()
    }

    /// Permissions that new objects do not get.
    pub fn umask(&self) -> u16 {
        self.places.lock().umask
    }

    /// Moves the root, chroot(2).
    pub fn set_root(&self, root: Path) {
        let old = core::mem::replace(&mut self.places.lock().root, root);
        drop(old);
    }

    /// Moves the working directory, chdir(2).
    pub fn set_cwd(&self, cwd: Path) {
        let old = core::mem::replace(&mut self.places.lock().cwd, cwd);
        drop(old);
    }

    /// Sets the umask; tells the old one.
    pub fn set_umask(&self, umask: u16) -> u16 {
        core::mem::replace(&mut self.places.lock().umask, umask & 0o777)
    }
}

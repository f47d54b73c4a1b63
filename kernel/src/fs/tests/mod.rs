//! Tests of names and places, each in a small tree of its own; and the tree and actors they share.

mod mounts;
mod naming;
mod opening;
mod renaming;
mod walking;

use super::{
    Actor, Entry, File, FileSystem, KernelActor, Kind, LastLink, Mount, MountFlags, OpenFlags, Path, Walk,
    mount,
    naming::{self as names, Making},
    open::{self, How},
    tmpfs::TemporaryFileSystem,
};
use crate::{
    abi::{Result, Signal, TaskId},
    mm::user::{Destination, Source},
    ns::{CapabilitySet, Credentials},
    sync::{Once, SpinLock},
    time,
};
use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Somebody with credentials and limits, who notes the signals it is sent.
pub struct Somebody {
    pub credentials: Arc<Credentials>,
    pub file_size_limit: u64,
    pub signals: SpinLock<Vec<Signal>>,
}

impl Somebody {
    /// An ordinary user, in these groups besides one of the same number.
    pub fn user(id: u32, groups: &[u32]) -> Self {
        let mut groups = groups.to_vec();
        groups.sort_unstable();
        Self::with(Credentials {
            uid: id,
            euid: id,
            suid: id,
            fsuid: id,
            gid: id,
            egid: id,
            sgid: id,
            fsgid: id,
            groups: Arc::new(groups),
            effective: CapabilitySet::EMPTY,
            permitted: CapabilitySet::EMPTY,
            ..Credentials::initial()
        })
    }

    /// Root.
    pub fn root() -> Self {
        Self::with(Credentials::initial())
    }

    fn with(credentials: Credentials) -> Self {
        let signals = SpinLock::default();
        Self { credentials: Arc::new(credentials), file_size_limit: u64::MAX, signals }
    }
}

impl Actor for Somebody {
    fn thread_id(&self) -> TaskId {
        7
    }

    fn process_id(&self) -> TaskId {
        7
    }

    fn process_group(&self) -> TaskId {
        7
    }

    fn session(&self) -> TaskId {
        7
    }

    fn credentials(&self) -> Arc<Credentials> {
        self.credentials.clone()
    }

    fn blocks_or_ignores(&self, _signal: Signal) -> bool {
        false
    }

    fn raise(&self, signal: Signal) {
        self.signals.lock().push(signal);
    }

    fn limit(&self, _resource: u32) -> u64 {
        self.file_size_limit
    }
}

/// Brings up the clocks that objects take their times from, and a root that no test's tree is in.
pub fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        time::initialize(None).expect("the host has memory for two pages");
        mount::set_root(TemporaryFileSystem::with_permissions("rootfs", 0o755), b"none");
    });
}

/// A tree of its own.
pub struct Tree {
    pub root: Path,
}

impl Tree {
    /// Mounted at a place of its own in the first one, for only what is in that one can be mounted on.
    pub fn new() -> Self {
        static TREES: AtomicU32 = AtomicU32::new(0);
        prepare();
        let file_system = TemporaryFileSystem::with_permissions("tmpfs", 0o755);
        let root = file_system.root().clone();
        let mount = Mount::new(file_system, root, b"none", MountFlags::empty());
        let first = Self { root: mount::root() };
        let name = format!("/{}", TREES.fetch_add(1, Relaxed));
        first.directory(&name);
        mount::attach(&mount, first.find(&name).unwrap()).unwrap();
        Self { root: mount.top() }
    }

    /// A walk of somebody's through it.
    pub fn walk<'a>(&self, actor: &'a dyn Actor) -> Walk<'a> {
        Walk::from_place(actor, self.root.clone())
    }

    /// Makes something, as root.
    pub fn make(&self, name: &str, making: Making<'_>) -> Result<Path> {
        let mut walk = self.walk(&KernelActor);
        let parent = walk.find_parent(name.as_bytes())?;
        names::make(&walk, &parent, making)
    }

    pub fn directory(&self, name: &str) -> Arc<Entry> {
        self.make(name, Making::plain(Kind::Directory, 0o755)).unwrap().entry
    }

    pub fn file(&self, name: &str) -> Arc<Entry> {
        self.make(name, Making::plain(Kind::Regular, 0o644)).unwrap().entry
    }

    pub fn link(&self, name: &str, target: &str) -> Arc<Entry> {
        let making = Making { target: target.as_bytes(), ..Making::plain(Kind::SymbolicLink, 0o777) };
        self.make(name, making).unwrap().entry
    }

    /// What root finds under a name.
    pub fn find(&self, name: &str) -> Result<Path> {
        self.walk(&KernelActor).find(name.as_bytes(), LastLink::Follow)
    }

    /// The name of what somebody finds under a name.
    pub fn reach(&self, name: &str) -> Result<alloc::string::String> {
        let described = self.find(name)?.describe(&self.root);
        Ok(alloc::string::String::from_utf8(described.text).unwrap())
    }

    pub fn open(&self, actor: &dyn Actor, name: &str, flags: OpenFlags) -> Result<Arc<File>> {
        open::open(&mut self.walk(actor), name.as_bytes(), How::new(flags, 0o644)?)
    }
}

/// Reads up to `length` bytes.
pub fn read(file: &File, length: usize) -> Result<Vec<u8>> {
    let mut buffer = alloc::vec![0; length];
    let count = file.read(&KernelActor, &mut Destination::kernel(&mut buffer))?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Writes bytes.
pub fn write(file: &File, bytes: &[u8]) -> Result<usize> {
    file.write(&KernelActor, &mut Source::kernel(bytes))
}

//! File systems without names: where pipes, namespaces and the like have their inodes.
//!
//! stat(2), statfs(2) and `/proc/PID/fd` must say something of every open file, also of one that was never found by a
//! path. Each family of such objects has one mount, which is nowhere in the tree, and each object an entry of its own.

use super::{
    DeviceNumber, Entry, File, FileOperations, FileSystem, Inode, Kind, Metadata, Mount, MountFlags,
    OpenFlags, Opening, Path, Statistics,
    attributes::now,
    metadata::{AttributeChanges, anonymous_device},
};
use crate::{
    abi::{Errno, Result},
    ns::Credentials,
    sync::{Once, SpinLock},
};
use alloc::{format, sync::Arc, vec::Vec};

/// One family of objects without names.
pub struct Family {
    kind: &'static str,
    magic: u64,
    mount: Once<Arc<Mount>>,
}

/// pipe(7)
pub static PIPES: Family = Family::new("pipefs", 0x5049_5045);
/// unix(7)
pub static SOCKETS: Family = Family::new("sockfs", 0x534f_434b);
/// Namespaces, namespaces(7).
pub static NAMESPACES: Family = Family::new("nsfs", 0x6e73_6673);
/// Everything that is only a descriptor: eventfd(2), pidfd_open(2) …
pub static ANONYMOUS: Family = Family::new("anon_inodefs", 0x0904_1934);

struct PseudoFileSystem {
    kind: &'static str,
    magic: u64,
    device: DeviceNumber,
    root: Arc<Entry>,
}

impl FileSystem for PseudoFileSystem {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn root(&self) -> &Arc<Entry> {
        &self.root
    }

    fn statistics(&self) -> Statistics {
        Statistics::empty(self.magic)
    }
}

impl Family {
    const fn new(kind: &'static str, magic: u64) -> Self {
        Self { kind, magic, mount: Once::new() }
    }

    /// The mount all of the family are seen through.
    pub fn mount(&self) -> &Arc<Mount> {
        self.mount.call_once(|| {
            let device = anonymous_device();
            let root = PseudoInode::new(Metadata::plain(device, 0, Kind::Regular, 0), Vec::new());
            let root = Entry::root(Arc::new(root));
            let file_system =
                PseudoFileSystem { kind: self.kind, magic: self.magic, device, root: root.clone() };
            Mount::new(Arc::new(file_system), root, b"none", MountFlags::empty())
        })
    }

    /// What `st_dev` says of them.
    pub fn device(&self) -> DeviceNumber {
        self.mount().file_system.device()
    }

    /// The path of an object of this family.
    pub fn path(&self, inode: Arc<dyn Inode>) -> Path {
        Path { mount: self.mount().clone(), entry: Entry::root(inode) }
    }
}

/// An inode that only has something to say to stat(2).
pub struct PseudoInode {
    /// What it says. Nothing is taken inside it.
    metadata: SpinLock<Metadata>,
    /// What stands for its path.
    name: Vec<u8>,
}

impl PseudoInode {
    /// One that says this of itself, and has this in place of a path.
    pub fn new(metadata: Metadata, name: Vec<u8>) -> Self {
        Self { metadata: SpinLock::new(metadata), name }
    }
}

impl Inode for PseudoInode {
    fn metadata(&self) -> Metadata {
        self.metadata.get()
    }

    fn change(&self, changes: &AttributeChanges) -> Result<()> {
        let mut metadata = self.metadata.lock();
        if metadata.kind == Kind::Unknown {
            return Err(Errno::EOPNOTSUPP.because("an inode shared by many has nothing to set"));
        }
        metadata.apply(changes, now());
        Ok(())
    }

    fn open(self: Arc<Self>, _opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::ENXIO.because("such an object is not opened by name"))
    }

    fn pseudo_name(&self) -> Option<Vec<u8>> {
        Some(self.name.clone())
    }
}

/// An open file that is only a descriptor: `kind` is shown as `anon_inode:[kind]`.
pub fn anonymous_file(
    kind: &str,
    operations: Arc<dyn FileOperations>,
    flags: OpenFlags,
    credentials: Arc<Credentials>,
) -> Result<Arc<File>> {
    // All of them share one inode number, as on Linux: it is the descriptor that matters.
    const NUMBER: u64 = 1;
    let metadata = Metadata::plain(ANONYMOUS.device(), NUMBER, Kind::Unknown, 0o600);
    let name = format!("anon_inode:[{kind}]").into_bytes();
    File::new(ANONYMOUS.path(Arc::new(PseudoInode::new(metadata, name))), operations, flags, credentials)
}

//! memfd_create(2): a file of a tmpfs that never had a name.

use super::{
    super::{DeviceNumber, Entry, File, FileSystem, Kind, Mount, MountFlags, NewNode, OpenFlags, Path},
    TemporaryFileSystem,
    node::Node,
    seals::Seals,
};
use crate::{abi::Result, mm::reserve, ns::Credentials, sync::Once};
use alloc::{sync::Arc, vec::Vec};

/// An empty one, open to read and write. `name` is only shown. Errors: ENOMEM.
pub fn memory_file(name: &[u8], takes_seals: bool, credentials: &Arc<Credentials>) -> Result<Arc<File>> {
    reserve::check()?;
    let mount = mount();
    let new = NewNode {
        kind: Kind::Regular,
        permissions: 0o777,
        uid: credentials.fsuid,
        gid: credentials.fsgid,
        represents: DeviceNumber::default(),
        target: &[],
    };
    let mut node = Node::new(mount.1.account(), &new);
    if let Some(node) = Arc::get_mut(&mut node) {
        node.name = Some(shown_name(name));
        node.add_links(-1);
        node.seals = Seals::new(takes_seals);
    }
    let path = Path { mount: mount.0.clone(), entry: Entry::root(node.clone()) };
    File::new(path, node, OpenFlags::READ_WRITE | OpenFlags::LARGE_FILE, credentials.clone())
}

/// It is shown as a file that was removed at once.
fn shown_name(name: &[u8]) -> Vec<u8> {
    [b"/memfd:", name, b" (deleted)"].concat()
}

/// The file system they are all on, which is nowhere in the tree.
fn mount() -> &'static (Arc<Mount>, Arc<TemporaryFileSystem>) {
    static MOUNT: Once<(Arc<Mount>, Arc<TemporaryFileSystem>)> = Once::new();
    MOUNT.call_once(|| {
        let file_system = TemporaryFileSystem::with_permissions("tmpfs", 0o1777);
        let mount =
            Mount::new(file_system.clone(), file_system.root().clone(), b"tmpfs", MountFlags::empty());
        (mount, file_system)
    })
}

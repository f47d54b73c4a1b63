//! sysfs(5), empty: there are no devices to tell of, but programs mount it and look.

use super::{
    Actor, DeviceNumber, Directory, Entry, FileOperations, FileSystem, Inode, Kind, Listed, Metadata,
    Opening, Statistics, metadata::anonymous_device,
};
use crate::{
    abi::{Errno, Result},
    sync::Once,
};
use alloc::sync::Arc;

/// SYSFS_MAGIC, magic.h.
const MAGIC: u64 = 0x6265_6572;

struct Sysfs {
    device: DeviceNumber,
    root: Arc<Entry>,
}

/// Its one directory.
struct Top {
    device: DeviceNumber,
}

/// The one there is, however often it is mounted.
pub fn file_system() -> Arc<dyn FileSystem> {
    static FILE_SYSTEM: Once<Arc<Sysfs>> = Once::new();
    FILE_SYSTEM
        .call_once(|| {
            let device = anonymous_device();
            Arc::new(Sysfs { device, root: Entry::root(Arc::new(Top { device })) })
        })
        .clone()
}

impl FileSystem for Sysfs {
    fn kind(&self) -> &'static str {
        "sysfs"
    }

    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn root(&self) -> &Arc<Entry> {
        &self.root
    }

    fn statistics(&self) -> Statistics {
        Statistics::empty(MAGIC)
    }
}

impl Inode for Top {
    fn metadata(&self) -> Metadata {
        Metadata { links: 2, ..Metadata::plain(self.device, 1, Kind::Directory, 0o555) }
    }

    fn directory(&self) -> Option<&dyn Directory> {
        Some(self)
    }

    fn open(self: Arc<Self>, _opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::EISDIR.because("directories are opened alike everywhere, and not by their inode"))
    }
}

impl Directory for Top {
    fn lookup(&self, _name: &[u8], _actor: &dyn Actor) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOENT.because("sysfs is empty here"))
    }

    fn list(
        &self,
        _from: u64,
        _actor: &dyn Actor,
        _visitor: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Result<()> {
        Ok(())
    }
}

//! The structures in which programs are told of objects and file systems: stat(2), statx(2), statfs(2).

use crate::{
    abi::{Timespec, linux},
    arch::PAGE_SIZE,
    fs::{Metadata, MountFlags, Path},
    ns::{Credentials, credentials::OVERFLOW_ID},
};
use zerocopy::{Immutable, IntoBytes};

/// `struct stat` of x86-64.
#[repr(C)]
#[derive(Clone, Copy, IntoBytes, Immutable)]
pub struct Stat {
    device: u64,
    inode: u64,
    links: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    padding: u32,
    represents: u64,
    size: i64,
    block_size: i64,
    blocks: i64,
    accessed: Timespec,
    modified: Timespec,
    changed: Timespec,
    unused: [i64; 3],
}

/// Owner and group as the viewer's user namespace calls them.
fn shown_ids(metadata: &Metadata, viewer: &Credentials) -> (u32, u32) {
    let namespace = &viewer.user_namespace;
    (
        namespace.shown_user(metadata.uid).unwrap_or(OVERFLOW_ID),
        namespace.shown_group(metadata.gid).unwrap_or(OVERFLOW_ID),
    )
}

/// What one read or write should best be of: `st_blksize`.
const BLOCK_SIZE: u32 = PAGE_SIZE as u32;

impl Stat {
    /// What is told of an object.
    pub fn new(metadata: &Metadata, viewer: &Credentials) -> Self {
        let (uid, gid) = shown_ids(metadata, viewer);
        Self {
            device: metadata.device.encode(),
            inode: metadata.number,
            links: metadata.links.into(),
            mode: metadata.mode(),
            uid,
            gid,
            padding: 0,
            represents: metadata.represents.encode(),
            size: metadata.size as i64,
            block_size: BLOCK_SIZE.into(),
            blocks: metadata.blocks as i64,
            accessed: metadata.accessed,
            modified: metadata.modified,
            changed: metadata.changed,
            unused: [0; 3],
        }
    }
}

/// `struct statx_timestamp`
#[repr(C)]
#[derive(Clone, Copy, IntoBytes, Immutable)]
struct StatxTime {
    seconds: i64,
    nanoseconds: u32,
    reserved: i32,
}

impl From<Timespec> for StatxTime {
    fn from(time: Timespec) -> Self {
        Self { seconds: time.seconds, nanoseconds: time.nanoseconds as u32, reserved: 0 }
    }
}

/// `struct statx`
#[repr(C)]
#[derive(Clone, Copy, IntoBytes, Immutable)]
pub struct Statx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    padding: u16,
    inode: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    accessed: StatxTime,
    born: StatxTime,
    changed: StatxTime,
    modified: StatxTime,
    represents: [u32; 2],
    device: [u32; 2],
    mount: u64,
    unused: [u64; 13],
}

impl Statx {
    /// What is told of an object at a place.
    pub fn new(path: &Path, viewer: &Credentials) -> Self {
        let metadata = path.inode().metadata();
        let (uid, gid) = shown_ids(&metadata, viewer);
        let is_top = *path == path.mount.top();
        Self {
            mask: linux::STATX_BASIC_STATS | linux::STATX_BTIME | linux::STATX_MNT_ID,
            block_size: BLOCK_SIZE,
            attributes: if is_top { linux::STATX_ATTR_MOUNT_ROOT.into() } else { 0 },
            links: metadata.links,
            uid,
            gid,
            mode: metadata.mode() as u16,
            padding: 0,
            inode: metadata.number,
            size: metadata.size,
            blocks: metadata.blocks,
            attributes_mask: linux::STATX_ATTR_MOUNT_ROOT.into(),
            accessed: metadata.accessed.into(),
            born: metadata.born.into(),
            changed: metadata.changed.into(),
            modified: metadata.modified.into(),
            represents: [metadata.represents.major, metadata.represents.minor],
            device: [metadata.device.major, metadata.device.minor],
            mount: path.mount.id.into(),
            unused: [0; 13],
        }
    }
}

/// `struct statfs`
#[repr(C)]
#[derive(Clone, Copy, IntoBytes, Immutable)]
pub struct Statfs {
    kind: i64,
    block_size: i64,
    blocks: u64,
    free: u64,
    available: u64,
    objects: u64,
    free_objects: u64,
    identity: [u32; 2],
    longest_name: i64,
    fragment_size: i64,
    flags: i64,
    spare: [i64; 4],
}

/// What a mount forbids, as `f_flags` has it, statfs(2): ST_RDONLY and so on.
const FLAGS: [(MountFlags, i64); 7] = [
    (MountFlags::READ_ONLY, 1),
    (MountFlags::NO_SET_ID, 2),
    (MountFlags::NO_DEVICES, 4),
    (MountFlags::NO_EXECUTION, 8),
    (MountFlags::NO_ACCESS_TIME, 0x400),
    (MountFlags::NO_DIRECTORY_ACCESS_TIME, 0x800),
    (MountFlags::RELATIVE_ACCESS_TIME, 0x1000),
];
/// The other flags mean something.
const FLAGS_VALID: i64 = 0x20;

impl Statfs {
    /// What is told of the file system at a place.
    pub fn new(path: &Path) -> Self {
        let statistics = path.mount.file_system.statistics();
        let flags = path.mount.flags();
        let told = FLAGS.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, bit)| bit);
        let device = path.mount.file_system.device().encode();
        Self {
            kind: statistics.magic as i64,
            block_size: statistics.block_size as i64,
            blocks: statistics.blocks,
            free: statistics.free,
            available: statistics.free,
            objects: statistics.objects,
            free_objects: statistics.free_objects,
            identity: [device as u32, (device >> 32) as u32],
            longest_name: linux::NAME_MAX.into(),
            fragment_size: statistics.block_size as i64,
            flags: FLAGS_VALID | told.sum::<i64>(),
            spare: [0; 4],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_interface() {
        assert_eq!((size_of::<Stat>(), size_of::<Statx>(), size_of::<Statfs>()), (144, 256, 120));
    }
}

//! What a file system knows of an object besides its contents, inode(7).

use crate::abi::{Timespec, linux};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What sort of object it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "inode(7) describes them")]
pub enum Kind {
    Fifo,
    CharacterDevice,
    Directory,
    BlockDevice,
    Regular,
    SymbolicLink,
    Socket,
    /// None of these: what is only a descriptor.
    Unknown,
}

/// Every kind with the bits that stand for it in `st_mode`.
const KINDS: [(Kind, u32); 7] = [
    (Kind::Fifo, linux::S_IFIFO),
    (Kind::CharacterDevice, linux::S_IFCHR),
    (Kind::Directory, linux::S_IFDIR),
    (Kind::BlockDevice, linux::S_IFBLK),
    (Kind::Regular, linux::S_IFREG),
    (Kind::SymbolicLink, linux::S_IFLNK),
    (Kind::Socket, linux::S_IFSOCK),
];

impl Kind {
    /// The kind that the upper bits of a `st_mode` name.
    pub fn from_mode(mode: u32) -> Option<Self> {
        KINDS.iter().find(|(_, bits)| *bits == mode & linux::S_IFMT).map(|(kind, _)| *kind)
    }

    /// Its bits in `st_mode`.
    pub fn mode_bits(self) -> u32 {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, bits)| *bits)
    }

    /// Its number in `d_type`, getdents(2): the same bits, moved down.
    pub fn directory_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// Set-user-id on execution.
pub const SET_USER_ID: u16 = 0o4000;
/// Set-group-id on execution; on a directory, what is made in it gets its group.
pub const SET_GROUP_ID: u16 = 0o2000;
/// On a directory: only an object's owner takes it out.
pub const STICKY: u16 = 0o1000;

/// Identifies a device, or a file system, which has the number of one: major and minor number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct DeviceNumber {
    /// 12 bits are used.
    pub major: u32,
    /// 20 bits are used.
    pub minor: u32,
}

impl DeviceNumber {
    /// The two together.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// As `st_dev`, `st_rdev` and mknod(2) have them in one number.
    pub const fn encode(self) -> u64 {
        let (major, minor) = (self.major as u64, self.minor as u64);
        (major & 0xfff) << 8 | (major & !0xfff) << 32 | minor & 0xff | (minor & !0xff) << 12
    }

    /// The reverse, for mknod(2), whose argument has 32 bits.
    pub const fn decode(encoded: u32) -> Self {
        Self { major: encoded >> 8 & 0xfff, minor: encoded & 0xff | encoded >> 12 & 0xfff00 }
    }
}

/// A number for a file system that is on no device.
pub fn anonymous_device() -> DeviceNumber {
    // Minor number 1 is the one that shared memory without a file shows.
    static NEXT: AtomicU32 = AtomicU32::new(2);
    DeviceNumber::new(0, NEXT.fetch_add(1, Relaxed))
}

/// A snapshot of everything stat(2) tells.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// The file system it is on.
    pub device: DeviceNumber,
    /// Tells it from every other object there.
    pub number: u64,
    /// What it is.
    pub kind: Kind,
    /// The lower twelve bits of `st_mode`.
    pub permissions: u16,
    /// How many names it has.
    pub links: u32,
    /// Its owner, in the initial user namespace's terms.
    pub uid: u32,
    /// Its group, likewise.
    pub gid: u32,
    /// For a device node: which device.
    pub represents: DeviceNumber,
    /// Bytes; what a directory or link says here is its file system's business.
    pub size: u64,
    /// Memory it takes, in units of 512 bytes.
    pub blocks: u64,
    /// When it was last read.
    pub accessed: Timespec,
    /// When its contents last changed.
    pub modified: Timespec,
    /// When anything of it last changed.
    pub changed: Timespec,
    /// When it was made.
    pub born: Timespec,
}

impl Metadata {
    /// For objects outside every directory: a regular file, 0600, of root, without a size or times.
    pub const fn plain(device: DeviceNumber, number: u64, kind: Kind, permissions: u16) -> Self {
        let epoch = Timespec { seconds: 0, nanoseconds: 0 };
        Self {
            device,
            number,
            kind,
            permissions,
            links: 1,
            uid: 0,
            gid: 0,
            represents: DeviceNumber::new(0, 0),
            size: 0,
            blocks: 0,
            accessed: epoch,
            modified: epoch,
            changed: epoch,
            born: epoch,
        }
    }

    /// `st_mode`: kind and permissions.
    pub fn mode(&self) -> u32 {
        self.kind.mode_bits() | u32::from(self.permissions)
    }

    /// Makes the changes, at this time.
    pub fn apply(&mut self, changes: &AttributeChanges, now: Timespec) {
        self.permissions = changes.permissions.unwrap_or(self.permissions);
        self.uid = changes.uid.unwrap_or(self.uid);
        self.gid = changes.gid.unwrap_or(self.gid);
        self.accessed = changes.accessed.unwrap_or(self.accessed);
        self.modified = changes.modified.unwrap_or(self.modified);
        self.changed = now;
    }
}

/// What chmod(2), chown(2) and utimensat(2) may change; `None` leaves as it is. The time of change is set by all.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "as in `Metadata`")]
pub struct AttributeChanges {
    pub permissions: Option<u16>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub accessed: Option<Timespec>,
    pub modified: Option<Timespec>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_number_survives_its_encoding() {
        for (major, minor) in [(0, 0), (5, 1), (1, 9), (4, 64), (0xfff, 0xfffff), (259, 300)] {
            let device = DeviceNumber::new(major, minor);
            assert_eq!(DeviceNumber::decode(device.encode() as u32), device);
        }
        assert_eq!(DeviceNumber::new(5, 1).encode(), 0x501);
    }

    #[test]
    fn every_kind_has_its_bits_and_only_those() {
        for (kind, bits) in KINDS {
            assert_eq!(Kind::from_mode(bits | 0o644), Some(kind));
            assert_eq!(kind.mode_bits(), bits);
        }
        assert_eq!(Kind::from_mode(0o644), None);
        assert_eq!(Kind::Directory.directory_type(), 4);
    }
}

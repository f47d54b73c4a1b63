//! The flags of open(2), and which of them live on in the open file.

use crate::abi::linux;

bitflags::bitflags! {
    /// The second argument of open(2). The two lowest bits are no flags but a number: see [`Self::reads`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "open(2) describes them")]
    pub struct OpenFlags: u32 {
        const WRITE_ONLY = linux::O_WRONLY;
        const READ_WRITE = linux::O_RDWR;
        const CREATE = linux::O_CREAT;
        const EXCLUSIVE = linux::O_EXCL;
        const NO_CONTROLLING_TERMINAL = linux::O_NOCTTY;
        const TRUNCATE = linux::O_TRUNC;
        const APPEND = linux::O_APPEND;
        const NON_BLOCKING = linux::O_NONBLOCK;
        const DATA_SYNC = linux::O_DSYNC;
        const ASYNC = linux::FASYNC;
        const DIRECT = linux::O_DIRECT;
        const LARGE_FILE = linux::O_LARGEFILE;
        const DIRECTORY = linux::O_DIRECTORY;
        const NO_FOLLOW = linux::O_NOFOLLOW;
        const NO_ACCESS_TIME = linux::O_NOATIME;
        const CLOSE_ON_EXEC = linux::O_CLOEXEC;
        /// O_SYNC without O_DSYNC.
        const FULL_SYNC = linux::O_SYNC & !linux::O_DSYNC;
        const PATH = linux::O_PATH;
        /// O_TMPFILE without O_DIRECTORY.
        const TEMPORARY = linux::O_TMPFILE & !linux::O_DIRECTORY;
    }
}

impl OpenFlags {
    /// O_RDONLY, which is no bit at all.
    pub const READ_ONLY: Self = Self::empty();

    /// Those that fcntl(2) F_SETFL changes.
    pub const CHANGEABLE: Self = Self::APPEND
        .union(Self::NON_BLOCKING)
        .union(Self::ASYNC)
        .union(Self::DIRECT)
        .union(Self::NO_ACCESS_TIME);

    /// Those that mean something only to open(2) itself; F_GETFL does not show them.
    pub const ONLY_WHILE_OPENING: Self = Self::CREATE
        .union(Self::EXCLUSIVE)
        .union(Self::NO_CONTROLLING_TERMINAL)
        .union(Self::TRUNCATE)
        .union(Self::CLOSE_ON_EXEC);

    /// Those that still count beside O_PATH.
    pub const WITH_PATH: Self =
        Self::PATH.union(Self::DIRECTORY).union(Self::NO_FOLLOW).union(Self::CLOSE_ON_EXEC);

    const ACCESS_MODE: u32 = linux::O_ACCMODE;

    /// Whether it may be read. (The access mode 3 is neither: it is for ioctl(2) alone.)
    #[inline]
    pub fn reads(self) -> bool {
        matches!(self.bits() & Self::ACCESS_MODE, linux::O_RDONLY | linux::O_RDWR)
            && !self.contains(Self::PATH)
    }

    /// Whether it may be written.
    #[inline]
    pub fn writes(self) -> bool {
        matches!(self.bits() & Self::ACCESS_MODE, linux::O_WRONLY | linux::O_RDWR)
            && !self.contains(Self::PATH)
    }

    /// Whether opening asks for permission to read: access mode 3 does, though it does not give it.
    pub fn asks_to_read(self) -> bool {
        self.bits() & Self::ACCESS_MODE != linux::O_WRONLY
    }

    /// Whether opening asks for permission to write.
    pub fn asks_to_write(self) -> bool {
        self.bits() & Self::ACCESS_MODE != linux::O_RDONLY || self.contains(Self::TRUNCATE)
    }
}

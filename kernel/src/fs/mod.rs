//! Files: everything that has a name or a descriptor, and the one tree they are found in.
//!
//! From the bottom up:
//! * [`inode`]: the traits a file system fulfils; [`metadata`], [`permission`]: what is known of an object, and who may
//!   do what with it;
//! * [`entry`], [`mount`], [`path`], [`walk`]: names in use, the trees they make, and the way from a name to a place;
//! * [`open`] with its [`open_flags`], [`naming`], [`renaming`], [`attributes`], [`mounting`]: what is done with a place; each
//!   checks what Linux checks, in its order;
//! * [`mod@file`], [`directory_file`], [`fd_table`], [`locks`], [`text_busy`]: open files, whose operations never wait, their
//!   descriptors, and who keeps whom out;
//! * the objects: [`tmpfs`] with [`initramfs`], [`pipe`], [`socket`], [`event_file`], [`timer_file`], [`epoll`],
//!   [`console`] with [`terminal`], [`devices`], [`nsfs`], [`proc`], [`sysfs`], and [`pseudo`] for what has no name.
//!
//! Tasks stand above this folder: what files must know of who acts, they ask an [`Actor`]. (Only [`proc`], which tells of
//! tasks, stands above them.)

pub mod actor;
pub mod attributes;
pub mod console;
pub mod devices;
pub mod directory_file;
pub mod entry;
pub mod epoll;
pub mod event_file;
pub mod fd_table;
pub mod file;
pub mod initramfs;
pub mod inode;
pub mod locks;
pub mod metadata;
pub mod mount;
pub mod mounting;
pub mod naming;
pub mod nsfs;
pub mod open;
pub mod open_flags;
pub mod path;
pub mod permission;
pub mod pipe;
pub mod proc;
pub mod pseudo;
mod recent;
pub mod renaming;
pub mod socket;
pub mod sysfs;
pub mod terminal;
pub mod text_busy;
pub mod timer_file;
pub mod tmpfs;
pub mod walk;

#[cfg(test)]
mod tests;

pub use actor::{Actor, KernelActor};
pub use devices::random;
pub use entry::Entry;
pub use fd_table::{Descriptor, FileTable};
pub use file::{Answer, Call, File, FileOperations, Positions, Readiness, SeekBase, open_files};
pub use inode::{Directory, Inode, LinkTarget, Listed, NewNode, Opening};
pub use metadata::{AttributeChanges, DeviceNumber, Kind, Metadata};
pub use mount::{FileSystem, Mount, MountFlags, Statistics};
pub use open_flags::OpenFlags;
pub use path::{Path, PathContext};
pub use walk::{LastLink, LastName, Walk};

use crate::sync::Once;

static COMMAND_LINE: Once<&'static str> = Once::new();

/// Makes the root, empty but for `/dev/console`. `command_line` is what `/proc/cmdline` shows.
pub fn initialize(command_line: &'static str) {
    COMMAND_LINE.call_once(|| command_line);
    mount::set_root(tmpfs::TemporaryFileSystem::with_permissions("rootfs", 0o755), b"none");
    if let Err(error) = devices::make_console_node(&KernelActor) {
        log::warn!("/dev/console cannot be made: {error}");
    }
}

/// What was given to [`initialize`].
pub fn command_line() -> &'static str {
    COMMAND_LINE.get().copied().unwrap_or_default()
}

//! Files: everything that has a name or a descriptor, and the one tree they are found in.
//!
//! From the bottom up:
//! * [`inode`]: the traits a file system fulfils; [`metadata`], [`permission`]: what is known of an object, and who may
//!   do what with it;
//! * [`entry`], [`mount`], [`path`], [`walk`]: names in use, the trees they make, and the way from a name to a place;
//! * [`open`], [`naming`], [`attributes`]: what is done with a place; each checks what Linux checks, in its order;
//! * [`file`], [`fd_table`]: open files, whose operations never wait, and their descriptors;
//! * the objects: [`tmpfs`] with [`initramfs`], [`pipe`], [`terminal`], [`devices`], [`nsfs`], [`proc`].
//!
//! Tasks stand above this folder: what files must know of who acts, they ask an [`Actor`].

pub mod actor;
pub mod entry;
pub mod fd_table;
pub mod file;
pub mod inode;
pub mod locks;
pub mod metadata;
pub mod mount;
pub mod open_flags;
pub mod path;
pub mod permission;
pub mod terminal;
pub mod walk;

pub use actor::{Actor, KernelActor};
pub use entry::Entry;
pub use fd_table::{Descriptor, FileTable};
pub use file::{Answer, Call, File, FileOperations, Positions, Readiness, SeekBase, open_files};
pub use inode::{Directory, Inode, LinkTarget, Listed, NewNode, Opening};
pub use metadata::{AttributeChanges, DeviceNumber, Kind, Metadata};
pub use mount::{FileSystem, Mount, MountFlags, Statistics};
pub use open_flags::OpenFlags;
pub use path::{Path, PathContext};
pub use walk::{LastLink, LastName, Walk};

//! What a file system is made of: objects that have metadata, and directories that give them names, inode(7).
//!
//! Two traits, because a directory is an object that can do more. Checks that are the same everywhere (permissions,
//! existing names, mount points) are made above, in [`super::naming`] and [`super::attributes`]; a file system does what
//! it is told and says what it cannot. The usual alternative, one wide table of operations with empty places, says the
//! same less clearly.

use super::{
    Actor, FileOperations, OpenFlags, Path,
    metadata::{AttributeChanges, DeviceNumber, Kind, Metadata},
    permission::{self, Wanted},
};
use crate::{
    abi::{Errno, Result},
    ns::Credentials,
};
use alloc::{sync::Arc, vec::Vec};
use core::any::Any;

/// An object of a file system: a file, a directory, a device node, a symbolic link …
pub trait Inode: Any + Send + Sync {
    /// Everything stat(2) tells of it.
    fn metadata(&self) -> Metadata;

    /// Its kind, which never changes.
    fn kind(&self) -> Kind {
        self.metadata().kind
    }

    /// Stores changed attributes; whether that is permitted was checked. Errors: EPERM where nothing can be changed.
    fn change(&self, _changes: &AttributeChanges) -> Result<()> {
        Err(Errno::EPERM.because("this file system keeps its own attributes"))
    }

    /// Its directory side, if it is one.
    fn directory(&self) -> Option<&dyn Directory> {
        None
    }

    /// Where a symbolic link leads. Errors: EINVAL for anything else; EACCES where looking is not permitted.
    fn follow(&self, _actor: &dyn Actor) -> Result<LinkTarget> {
        Err(Errno::EINVAL.because("only a symbolic link can be read as one"))
    }

    /// What reads and writes go to, made anew for each open(2) or shared by all, as the object likes. Never called for
    /// directories and symbolic links, which are opened alike everywhere.
    fn open(self: Arc<Self>, opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>>;

    /// Sets the length of a regular file's contents, truncate(2). Errors: EINVAL, EFBIG, ENOSPC.
    fn truncate(&self, _length: u64) -> Result<()> {
        Err(Errno::EINVAL.because("only a file with contents has a length to set"))
    }

    /// Whether the credentials permit it. Most objects ask their permission bits.
    fn permits(&self, wanted: Wanted, credentials: &Credentials, _actor: &dyn Actor) -> Result<()> {
        permission::check(&self.metadata(), wanted, credentials)
    }

    /// Whether a name already found may still be used: a process' directory ends with the process.
    fn still_there(&self) -> bool {
        true
    }

    /// What stands for the path of an object that never had a name: `pipe:[7]`, `time:[4026531834]`.
    fn pseudo_name(&self) -> Option<Vec<u8>> {
        None
    }
}

/// An object whose contents are names.
///
/// Callers hold the lock of the directory's [`super::Entry`] around every method but `list`, so two changes of one
/// directory never meet, and a name looked up is remembered before it can be removed.
pub trait Directory: Send + Sync {
    /// The object of this name; never asked for `.` and `..`. Errors: ENOENT.
    fn lookup(&self, name: &[u8], actor: &dyn Actor) -> Result<Arc<dyn Inode>>;

    /// Tells the names (without `.` and `..`) whose position is at least `from`, in the order of positions, until the
    /// visitor returns false. A name keeps its position for as long as it exists, so a reader may go on where it
    /// stopped while others remove what it has seen. Positions start at 2.
    fn list(&self, from: u64, actor: &dyn Actor, visitor: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()>;

    /// Whether a name that one has looked up may be found by another without asking again.
    fn are_names_for_all(&self) -> bool {
        true
    }

    /// Makes an object. The name is free. Errors: EPERM where nothing can be made; ENOSPC.
    fn create(&self, _name: &[u8], _node: &NewNode<'_>) -> Result<Arc<dyn Inode>> {
        Err(Errno::EPERM.because("nothing can be made in this directory"))
    }

    /// Gives an object of the same file system, not a directory, one more name, which is free. Errors: EPERM.
    fn link(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> Result<()> {
        Err(Errno::EPERM.because("this directory takes no links"))
    }

    /// Takes a name out. Errors: ENOTEMPTY for a directory that holds names; EPERM.
    fn remove(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM.because("nothing can be removed from this directory"))
    }

    /// Moves a name into a directory of the same file system (perhaps this one), in place of what bears the new name
    /// there, or, with `exchange`, lets the two change places. Errors: ENOTEMPTY, EPERM.
    fn rename(&self, _name: &[u8], _into: &Arc<dyn Inode>, _new_name: &[u8], _exchange: bool) -> Result<()> {
        Err(Errno::EPERM.because("nothing can be moved in this directory"))
    }
}

/// Where a symbolic link leads.
pub enum LinkTarget {
    /// To whatever has this name, starting from the link's directory.
    Name(Vec<u8>),
    /// To this object itself, whether it has a name or not: the links in `/proc/PID`, proc(5).
    Object(Path),
}

/// An object to be made.
pub struct NewNode<'a> {
    /// What it will be.
    pub kind: Kind,
    /// Its permission bits, the umask already taken off.
    pub permissions: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// For device nodes: which device.
    pub represents: DeviceNumber,
    /// For symbolic links: where it leads.
    pub target: &'a [u8],
}

/// One name in a listing, as getdents(2) tells it.
pub struct Listed<'a> {
    /// Where in the order it stands.
    pub position: u64,
    /// The name.
    pub name: &'a [u8],
    /// The object's number.
    pub number: u64,
    /// The object's kind.
    pub kind: Kind,
}

/// How an object is being opened.
pub struct Opening<'a> {
    /// The flags of open(2).
    pub flags: OpenFlags,
    /// By whom.
    pub actor: &'a dyn Actor,
}

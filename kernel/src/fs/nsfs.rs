//! Namespaces as files, namespaces(7): a descriptor or a bind mount keeps one alive, setns(2) joins it.
//!
//! Everything a namespace answers it answers itself ([`Handle`]); here it gets an inode, whose number is the namespace's,
//! and which, opened, can do nothing but be asked.

use super::{
    Actor, Answer, Call, File, FileOperations, Inode, Kind, Metadata, OpenFlags, Opening, Path,
    permission::{self, Wanted},
    pseudo::NAMESPACES,
};
use crate::{
    abi::{Errno, Result, UserPointer},
    mm::AddressSpace,
    ns::{
        Credentials,
        nsfs::{self, Handle},
    },
};
use alloc::{sync::Arc, vec::Vec};

/// The inode of a namespace, and what it is opened as. Each way to it has an inode of its own; they are one by their number.
struct NamespaceInode(Handle);

/// Everybody may open it: joining what was opened is what takes rights.
const PERMISSIONS: u16 = 0o444;

impl Inode for NamespaceInode {
    fn kind(&self) -> Kind {
        Kind::Regular
    }

    fn metadata(&self) -> Metadata {
        Metadata::plain(NAMESPACES.device(), self.0.number().into(), Kind::Regular, PERMISSIONS)
    }

    fn permits(&self, wanted: Wanted, credentials: &Credentials, _actor: &dyn Actor) -> Result<()> {
        if wanted.contains(Wanted::WRITE) {
            return Err(Errno::EPERM.because("a namespace's file is never written"));
        }
        match permission::everybody_may(PERMISSIONS, wanted) {
            true => Ok(()),
            false => permission::check(&self.metadata(), wanted, credentials),
        }
    }

    fn open(self: Arc<Self>, _opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        Ok(self)
    }

    fn pseudo_name(&self) -> Option<Vec<u8>> {
        Some(self.0.link_text().into_bytes())
    }
}

impl FileOperations for NamespaceInode {
    fn control(&self, call: Call<'_>, space: &AddressSpace, request: u32, argument: usize) -> Result<Answer> {
        let credentials = call.actor.credentials();
        match self.0.ioctl(request, &credentials)? {
            nsfs::Answer::Number(number) => Ok(Answer::Value(number)),
            nsfs::Answer::Descriptor(handle) => Ok(Answer::File(open(handle, &credentials)?)),
            nsfs::Answer::UserId(id) => {
                space.write(UserPointer::new(argument), &id).map(|()| Answer::Value(0))
            }
            nsfs::Answer::Id(id) => space.write(UserPointer::new(argument), &id).map(|()| Answer::Value(0)),
        }
    }
}

/// The place a link in `/proc/PID/ns` leads to.
pub fn path(handle: Handle) -> Path {
    NAMESPACES.path(Arc::new(NamespaceInode(handle)))
}

/// An open file for a namespace.
fn open(handle: Handle, credentials: &Arc<Credentials>) -> Result<Arc<File>> {
    let inode = Arc::new(NamespaceInode(handle));
    File::new(NAMESPACES.path(inode.clone()), inode, OpenFlags::READ_ONLY, credentials.clone())
}

/// The namespace that an open file is.
pub fn handle(file: &File) -> Option<Handle> {
    file.operations_as::<NamespaceInode>().map(|inode| inode.0.clone())
}

/// The namespace at a place, name_to_handle_at(2).
pub fn handle_at(path: &Path) -> Option<Handle> {
    let any: &dyn core::any::Any = &**path.inode();
    any.downcast_ref::<NamespaceInode>().map(|inode| inode.0.clone())
}

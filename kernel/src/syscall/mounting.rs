//! mount(2), umount2(2), and name_to_handle_at(2).

use super::{
    Caller,
    places::{find, only},
};
use crate::{
    abi::{Errno, Result, UserPointer, linux},
    arch::PAGE_SIZE,
    fs::{
        Descriptor,
        mount::Options,
        mounting::{self, Request},
        nsfs,
    },
};
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const HERE: Descriptor = Descriptor::WORKING_DIRECTORY;

/// A number that very old programs put into the upper half of mount's flags.
const MAGIC: u32 = 0xc0ed_0000;
const MAGIC_MASK: u32 = 0xffff_0000;

fn text(caller: &Caller<'_>, address: usize) -> Result<Option<Vec<u8>>> {
    (address != 0).then(|| caller.space.read_string(address, PAGE_SIZE)).transpose()
}

/// mount(2)
pub fn mount(
    caller: &mut Caller<'_>,
    source: usize,
    target: usize,
    kind: usize,
    flags: u32,
    data: usize,
) -> Result<usize> {
    let kind_text = text(caller, kind)?;
    let source_text = text(caller, source)?;
    let data = match data {
        0 => Vec::new(),
        address => caller.space.read_prefix(address, PAGE_SIZE)?,
    };
    let place = find(caller, HERE, target, 0)?;
    mounting::must_be_allowed(&caller.credentials())?;
    let flags = if flags & MAGIC_MASK == MAGIC { flags & !MAGIC_MASK } else { flags };
    match Request::new(flags, kind_text.as_deref()) {
        Request::Remount => mounting::remount(&place, flags),
        Request::Propagation => Ok(()),
        Request::Bind { .. } | Request::Move if source_text.as_ref().is_none_or(Vec::is_empty) => {
            Err(Errno::EINVAL.because("what is to be shown elsewhere has a name"))
        }
        Request::Bind { recursive } => mounting::bind(&find(caller, HERE, source, 0)?, place, recursive),
        Request::Move => mounting::move_mount(&find(caller, HERE, source, 0)?, place),
        Request::New(None) => Err(Errno::EINVAL.because("a new mount has a type")),
        Request::New(Some(kind)) => {
            let options = core::str::from_utf8(&data).map_err(|_| Errno::EINVAL)?;
            let source = source_text.as_deref().unwrap_or(b"none");
            mounting::mount_new(place, kind, source, flags, &Options::new(options))
        }
    }
    .map(|()| 0)
}

/// umount(2)
pub fn umount2(caller: &mut Caller<'_>, target: usize, flags: u32) -> Result<usize> {
    only(flags, linux::MNT_FORCE | linux::MNT_DETACH | linux::MNT_EXPIRE | linux::UMOUNT_NOFOLLOW)?;
    let nofollow = if flags & linux::UMOUNT_NOFOLLOW != 0 { linux::AT_SYMLINK_NOFOLLOW } else { 0 };
    let place = find(caller, HERE, target, nofollow)?;
    mounting::unmount(place, flags & linux::MNT_DETACH != 0, caller.task).map(|()| 0)
}

/// The head of `struct file_handle`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HandleHead {
    bytes: u32,
    kind: u32,
}

/// What follows it for a namespace: `struct nsfs_file_handle`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct NamespaceHandle {
    id: u64,
    kind: u32,
    number: u32,
}

/// FILEID_NSFS
const NAMESPACE_HANDLE: u32 = 241;
/// The most bytes a handle has.
const LARGEST_HANDLE: u32 = 128;

/// name_to_handle_at(2), for namespaces.
pub fn name_to_handle_at(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    path: usize,
    handle: UserPointer<HandleHead>,
    mount_id: UserPointer<i32>,
    flags: u32,
) -> Result<usize> {
    only(flags, linux::AT_SYMLINK_FOLLOW | linux::AT_EMPTY_PATH)?;
    let nofollow = if flags & linux::AT_SYMLINK_FOLLOW == 0 { linux::AT_SYMLINK_NOFOLLOW } else { 0 };
    let path = find(caller, directory, path, flags & linux::AT_EMPTY_PATH | nofollow)?;
    let namespace = nsfs::handle_at(&path);
    let namespace = namespace.ok_or(Errno::EOPNOTSUPP.because("only namespaces have handles"))?;
    let head = caller.space.read(handle)?;
    if head.bytes > LARGEST_HANDLE {
        return Err(Errno::EINVAL.because("a handle has at most 128 bytes"));
    }
    let fits = head.bytes as usize >= size_of::<NamespaceHandle>();
    let kind = if fits { NAMESPACE_HANDLE } else { head.kind };
    caller.space.write(mount_id, &(path.mount.id as i32))?;
    caller.space.write(handle, &HandleHead { bytes: size_of::<NamespaceHandle>() as u32, kind })?;
    if !fits {
        return Err(Errno::EOVERFLOW.because("the handle does not fit"));
    }
    let contents = NamespaceHandle {
        id: namespace.unique_id(),
        kind: namespace.clone_flag(),
        number: namespace.number(),
    };
    caller.space.write(handle.byte_offset(size_of::<HandleHead>()).cast(), &contents).map(|()| 0)
}

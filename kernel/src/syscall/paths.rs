//! Opening, and giving and taking names: open(2), mkdir(2), unlink(2), rename(2), symlink(2), chdir(2) and their like.

use super::{
    Caller, descriptors,
    file_io::may_wait,
    places::{self, find, find_parent, only},
};
use crate::{
    abi::{Errno, Result, UserPointer, linux},
    arch::PAGE_SIZE,
    fs::{
        Descriptor, DeviceNumber, Kind, LastLink, LinkTarget, OpenFlags, Path, attributes,
        naming::{self, Making},
        open::{self, How},
        permission::Wanted,
        pipe::End,
        renaming::{RenameFlags, rename as rename_path},
        walk::{PATH_MAX, Restrictions},
    },
    mm::reserve,
    ns::Capability,
    task::wait,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Permissions that a new object is given; mkdir(2) takes no set-id bits.
const ALL_PERMISSIONS: u32 = 0o7777;
const DIRECTORY_PERMISSIONS: u32 = 0o1777;

fn permissions(caller: &Caller<'_>, mode: u32, allowed: u32) -> Result<u16> {
    match (mode & allowed) as u16 {
        0 => Ok(0),
        wanted => Ok(wanted & !caller.filesystem()?.umask()),
    }
}

/// open(2)
pub async fn open(caller: &mut Caller<'_>, name: usize, flags: u32, mode: u32) -> Result<usize> {
    openat(caller, Descriptor::WORKING_DIRECTORY, name, flags, mode).await
}

/// creat(2)
pub async fn creat(caller: &mut Caller<'_>, name: usize, mode: u32) -> Result<usize> {
    let flags = OpenFlags::CREATE | OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE;
    openat(caller, Descriptor::WORKING_DIRECTORY, name, flags.bits(), mode).await
}

/// openat(2)
pub async fn openat(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    flags: u32,
    mode: u32,
) -> Result<usize> {
    // What it does not know, open(2) ignores.
    let flags = OpenFlags::from_bits_truncate(flags);
    let mode = if flags.contains(OpenFlags::CREATE) { mode } else { 0 };
    open_with(caller, directory, name, flags, mode & ALL_PERMISSIONS, Restrictions::empty()).await
}

/// `struct open_how`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// openat2(2)
pub async fn openat2(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    how: UserPointer<OpenHow>,
    size: usize,
) -> Result<usize> {
    if size < size_of::<OpenHow>() {
        return Err(Errno::EINVAL.because("struct open_how has at least 24 bytes"));
    }
    let rest = size - size_of::<OpenHow>();
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG.because("struct open_how is at most a page"));
    }
    let beyond = caller.space.read_array(UserPointer::<u8>::new(how.element(1).address()), rest)?;
    if beyond.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG.because("openat2 was asked for something that is not known here"));
    }
    let how = caller.space.read(how)?;
    let (flags, mode, restrictions) = open::checked_how(how.flags, how.mode, how.resolve)?;
    open_with(caller, directory, name, flags, mode.into(), restrictions).await
}

async fn open_with(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    address: usize,
    flags: OpenFlags,
    mode: u32,
    restrictions: Restrictions,
) -> Result<usize> {
    // Offsets have 64 bits on this machine, whether a program asks for it or not.
    let flags = flags | OpenFlags::LARGE_FILE;
    let how = How::new(flags, permissions(caller, mode, ALL_PERMISSIONS)?)?;
    let name = places::name(caller, address)?;
    reserve::check()?;
    let file = {
        // Where the directory counts as the root, absolute names too begin there.
        let mut walk = match restrictions.contains(Restrictions::IN_ROOT) {
            true => places::walk_from(caller, directory)?,
            false => places::walk(caller, directory, &name)?,
        };
        walk.restrict(restrictions);
        open::open(&mut walk, &name, how)?
    };
    // A named pipe waits for somebody at its other end, fifo(7).
    if let Some(end) = file.operations_as::<End>()
        && may_wait(&file)
        && let Some(queue) = file.wait_queue()
    {
        let partner = queue.until(|| end.has_partner().then_some(()));
        wait::interruptible(caller.task, caller.user, partner).await?;
    }
    descriptors::install(caller, file, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// mkdir(2)
pub fn mkdir(caller: &mut Caller<'_>, name: usize, mode: u32) -> Result<usize> {
    mkdirat(caller, Descriptor::WORKING_DIRECTORY, name, mode)
}

/// mkdirat(2)
pub fn mkdirat(caller: &mut Caller<'_>, directory: Descriptor, name: usize, mode: u32) -> Result<usize> {
    let permissions = permissions(caller, mode, DIRECTORY_PERMISSIONS)?;
    let (walk, parent) = find_parent(caller, directory, name)?;
    naming::make(&walk, &parent, Making::plain(Kind::Directory, permissions)).map(|_| 0)
}

/// mknod(2)
pub fn mknod(caller: &mut Caller<'_>, name: usize, mode: u32, device: u32) -> Result<usize> {
    mknodat(caller, Descriptor::WORKING_DIRECTORY, name, mode, device)
}

/// mknodat(2)
pub fn mknodat(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    mode: u32,
    device: u32,
) -> Result<usize> {
    let kind = match mode & linux::S_IFMT {
        // Without a kind, a regular file.
        0 => Kind::Regular,
        _ => Kind::from_mode(mode).ok_or(Errno::EINVAL.because("there is no such kind of object"))?,
    };
    match kind {
        Kind::Directory => return Err(Errno::EPERM.because("directories are made by mkdir")),
        Kind::SymbolicLink => return Err(Errno::EINVAL.because("symbolic links are made by symlink")),
        _ => {}
    }
    let permissions = permissions(caller, mode, ALL_PERMISSIONS)?;
    let represents = DeviceNumber::decode(device);
    let (walk, parent) = find_parent(caller, directory, name)?;
    naming::make(&walk, &parent, Making { represents, ..Making::plain(kind, permissions) }).map(|_| 0)
}

/// symlink(2)
pub fn symlink(caller: &mut Caller<'_>, target: usize, name: usize) -> Result<usize> {
    symlinkat(caller, target, Descriptor::WORKING_DIRECTORY, name)
}

/// symlinkat(2)
pub fn symlinkat(
    caller: &mut Caller<'_>,
    target: usize,
    directory: Descriptor,
    name: usize,
) -> Result<usize> {
    let target = places::name(caller, target)?;
    if target.is_empty() {
        return Err(Errno::ENOENT.because("a symbolic link leads somewhere"));
    }
    let (walk, parent) = find_parent(caller, directory, name)?;
    let making = Making { target: &target, ..Making::plain(Kind::SymbolicLink, 0o777) };
    naming::make(&walk, &parent, making).map(|_| 0)
}

/// link(2)
pub fn link(caller: &mut Caller<'_>, from: usize, to: usize) -> Result<usize> {
    linkat(caller, Descriptor::WORKING_DIRECTORY, from, Descriptor::WORKING_DIRECTORY, to, 0)
}

/// linkat(2)
pub fn linkat(
    caller: &mut Caller<'_>,
    from_directory: Descriptor,
    from: usize,
    to_directory: Descriptor,
    to: usize,
    flags: u32,
) -> Result<usize> {
    only(flags, linux::AT_SYMLINK_FOLLOW | linux::AT_EMPTY_PATH)?;
    let nofollow = if flags & linux::AT_SYMLINK_FOLLOW == 0 { linux::AT_SYMLINK_NOFOLLOW } else { 0 };
    let object = find(caller, from_directory, from, flags & linux::AT_EMPTY_PATH | nofollow)?;
    let (walk, parent) = find_parent(caller, to_directory, to)?;
    naming::link(&walk, &object, &parent).map(|()| 0)
}

/// unlink(2)
pub fn unlink(caller: &mut Caller<'_>, name: usize) -> Result<usize> {
    unlinkat(caller, Descriptor::WORKING_DIRECTORY, name, 0)
}

/// rmdir(2)
pub fn rmdir(caller: &mut Caller<'_>, name: usize) -> Result<usize> {
    unlinkat(caller, Descriptor::WORKING_DIRECTORY, name, linux::AT_REMOVEDIR)
}

/// unlinkat(2)
pub fn unlinkat(caller: &mut Caller<'_>, directory: Descriptor, name: usize, flags: u32) -> Result<usize> {
    only(flags, linux::AT_REMOVEDIR)?;
    let (walk, parent) = find_parent(caller, directory, name)?;
    match flags & linux::AT_REMOVEDIR {
        0 => naming::unlink(&walk, &parent),
        _ => naming::remove_directory(&walk, &parent),
    }
    .map(|()| 0)
}

/// rename(2)
pub fn rename(caller: &mut Caller<'_>, from: usize, to: usize) -> Result<usize> {
    renameat2(caller, Descriptor::WORKING_DIRECTORY, from, Descriptor::WORKING_DIRECTORY, to, 0)
}

/// renameat(2)
pub fn renameat(
    caller: &mut Caller<'_>,
    from_directory: Descriptor,
    from: usize,
    to_directory: Descriptor,
    to: usize,
) -> Result<usize> {
    renameat2(caller, from_directory, from, to_directory, to, 0)
}

/// renameat2(2)
pub fn renameat2(
    caller: &mut Caller<'_>,
    from_directory: Descriptor,
    from: usize,
    to_directory: Descriptor,
    to: usize,
    flags: u32,
) -> Result<usize> {
    let flags = RenameFlags::new(flags)?;
    let (walk, from) = find_parent(caller, from_directory, from)?;
    let (_, to) = find_parent(caller, to_directory, to)?;
    rename_path(&walk, &from, &to, flags).map(|()| 0)
}

/// readlink(2)
pub fn readlink(caller: &mut Caller<'_>, name: usize, buffer: usize, length: i32) -> Result<usize> {
    readlinkat(caller, Descriptor::WORKING_DIRECTORY, name, buffer, length)
}

/// readlinkat(2)
pub fn readlinkat(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    name: usize,
    buffer: usize,
    length: i32,
) -> Result<usize> {
    let length = match usize::try_from(length) {
        Ok(length) if length > 0 => length,
        _ => return Err(Errno::EINVAL.because("a link is read into a buffer of some size")),
    };
    let name = places::name(caller, name)?;
    let path = match name.is_empty() {
        // An empty name means a link that was opened itself, with O_PATH.
        true => places::place_of(caller, directory)?,
        false => places::walk(caller, directory, &name)?.find(&name, LastLink::Keep)?,
    };
    let inode = path.inode();
    if inode.kind() != Kind::SymbolicLink {
        return Err(match name.is_empty() {
            true => Errno::ENOENT.because("the descriptor is no link's"),
            false => Errno::EINVAL.because("only a symbolic link can be read as one"),
        });
    }
    let text = match inode.follow(caller.task)? {
        LinkTarget::Name(text) => text,
        LinkTarget::Object(object) => object.describe(&caller.filesystem()?.root()).into_link(),
    };
    if text.len() >= PATH_MAX {
        return Err(Errno::ENAMETOOLONG.because("the place is too deep to be told"));
    }
    let shown = &text[..text.len().min(length)];
    caller.space.write_bytes(buffer, shown)?;
    Ok(shown.len())
}

/// Errors: ENOTDIR; EACCES without permission to search.
fn must_be_enterable(caller: &Caller<'_>, path: &Path) -> Result<()> {
    if path.inode().directory().is_none() {
        return Err(Errno::ENOTDIR.because("one can only be in a directory"));
    }
    path.inode().permits(Wanted::EXECUTE, &caller.credentials(), caller.task)
}

/// chdir(2)
pub fn chdir(caller: &mut Caller<'_>, name: usize) -> Result<usize> {
    let path = find(caller, Descriptor::WORKING_DIRECTORY, name, 0)?;
    must_be_enterable(caller, &path)?;
    caller.filesystem()?.set_cwd(path);
    Ok(0)
}

/// fchdir(2)
pub fn fchdir(caller: &mut Caller<'_>, descriptor: Descriptor) -> Result<usize> {
    let path = caller.files()?.get_any(descriptor)?.path().clone();
    must_be_enterable(caller, &path)?;
    caller.filesystem()?.set_cwd(path);
    Ok(0)
}

/// chroot(2)
pub fn chroot(caller: &mut Caller<'_>, name: usize) -> Result<usize> {
    let path = find(caller, Descriptor::WORKING_DIRECTORY, name, 0)?;
    must_be_enterable(caller, &path)?;
    if !caller.credentials().capable(Capability::SYS_CHROOT) {
        return Err(Errno::EPERM.because("changing the root takes CAP_SYS_CHROOT"));
    }
    caller.filesystem()?.set_root(path);
    Ok(0)
}

/// getcwd(2): the length of the name, its NUL included.
pub fn getcwd(caller: &mut Caller<'_>, buffer: usize, size: usize) -> Result<usize> {
    let places = caller.filesystem()?.places();
    let described = places.cwd.describe(&places.root);
    if described.removed {
        return Err(Errno::ENOENT.because("the working directory was removed"));
    }
    let mut name = if described.reachable { alloc::vec::Vec::new() } else { b"(unreachable)".to_vec() };
    name.extend_from_slice(&described.text);
    name.push(0);
    if name.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG.because("the working directory is too deep to be told"));
    }
    if name.len() > size {
        return Err(Errno::ERANGE.because("the name does not fit into the buffer"));
    }
    caller.space.write_bytes(buffer, &name)?;
    Ok(name.len())
}

/// umask(2)
pub fn umask(caller: &mut Caller<'_>, mask: u32) -> Result<usize> {
    Ok(caller.filesystem()?.set_umask(mask as u16).into())
}

/// truncate(2)
pub fn truncate(caller: &mut Caller<'_>, name: usize, length: i64) -> Result<usize> {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL.because("a length is not negative"))?;
    let path = find(caller, Descriptor::WORKING_DIRECTORY, name, 0)?;
    attributes::truncate(&path, length, &caller.credentials(), caller.task).map(|()| 0)
}

//! Descriptors: dup(2), fcntl(2), ioctl(2), close(2), getdents(2), and the calls that make open files from nothing.

use super::{Caller, places::only};
use crate::{
    abi::{Errno, Result, UserPointer, linux},
    fs::{
        Actor, Answer, Descriptor, File, Kind, OpenFlags, directory_file,
        event_file::event_file,
        permission,
        pipe::{self, End},
        tmpfs::{memory_file::memory_file, node::Node},
    },
    mm::reserve,
};
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::ioctl as requests;

/// Gives the caller a descriptor for a file. Errors: EMFILE, ENOMEM.
pub fn install(caller: &Caller<'_>, file: Arc<File>, close_on_exec: bool) -> Result<usize> {
    let Descriptor(number) = caller.files()?.install(file, close_on_exec, limit(caller))?;
    Ok(number as usize)
}

/// How many descriptors the caller may have.
fn limit(caller: &Caller<'_>) -> u64 {
    caller.task.limit(linux::RLIMIT_NOFILE)
}

fn closes_on_exec(flags: u32) -> bool {
    OpenFlags::from_bits_retain(flags).contains(OpenFlags::CLOSE_ON_EXEC)
}

/// close(2)
pub fn close(caller: &mut Caller<'_>, descriptor: Descriptor) -> Result<usize> {
    caller.files()?.close(descriptor).map(|()| 0)
}

/// CLOSE_RANGE_UNSHARE: with a table of its own.
const WITH_OWN_TABLE: u32 = 2;
/// CLOSE_RANGE_CLOEXEC: close when a program is executed.
const ON_EXEC: u32 = 4;

/// close_range(2)
pub fn close_range(caller: &mut Caller<'_>, first: u32, last: u32, flags: u32) -> Result<usize> {
    only(flags, WITH_OWN_TABLE | ON_EXEC)?;
    if first > last {
        return Err(Errno::EINVAL.because("a range ends where it begins or later"));
    }
    if flags & WITH_OWN_TABLE != 0 {
        caller.task.set_files(caller.files()?.fork()?);
    }
    caller.files()?.close_range(first, last, flags & ON_EXEC != 0);
    Ok(0)
}

/// dup(2)
pub fn dup(caller: &mut Caller<'_>, descriptor: Descriptor) -> Result<usize> {
    let file = caller.files()?.get_any(descriptor)?;
    install(caller, file, false)
}

/// dup2(2)
pub fn dup2(caller: &mut Caller<'_>, from: Descriptor, to: Descriptor) -> Result<usize> {
    if from == to {
        return caller.files()?.get_any(from).map(|_| to.0 as usize);
    }
    duplicate(caller, from, to, false)
}

/// dup3(2)
pub fn dup3(caller: &mut Caller<'_>, from: Descriptor, to: Descriptor, flags: u32) -> Result<usize> {
    only(flags, linux::O_CLOEXEC)?;
    if from == to {
        return Err(Errno::EINVAL.because("dup3 makes another descriptor"));
    }
    duplicate(caller, from, to, closes_on_exec(flags))
}

fn duplicate(caller: &Caller<'_>, from: Descriptor, to: Descriptor, close_on_exec: bool) -> Result<usize> {
    let (files, limit) = (caller.files()?, limit(caller));
    if u64::try_from(to.0).map_or(true, |to| to >= limit) {
        return Err(Errno::EBADF.because("the descriptor is beyond RLIMIT_NOFILE"));
    }
    files.install_at(to, files.get_any(from)?, close_on_exec, limit)?;
    Ok(to.0 as usize)
}

/// Commands that a descriptor opened with O_PATH has too.
const OF_PLACES: [u32; 5] =
    [linux::F_DUPFD, linux::F_DUPFD_CLOEXEC, linux::F_GETFD, linux::F_SETFD, linux::F_GETFL];

/// fcntl(2), but for locks, which may wait.
fn control(caller: &Caller<'_>, descriptor: Descriptor, command: u32, argument: usize) -> Result<usize> {
    let files = caller.files()?;
    let file = match OF_PLACES.contains(&command) {
        true => files.get_any(descriptor)?,
        false => files.get(descriptor)?,
    };
    match command {
        linux::F_DUPFD | linux::F_DUPFD_CLOEXEC => {
            let close_on_exec = command == linux::F_DUPFD_CLOEXEC;
            let Descriptor(number) =
                files.install_from(argument as u32, file, close_on_exec, limit(caller))?;
            Ok(number as usize)
        }
        linux::F_GETFD => files.closes_on_exec(descriptor).map(usize::from),
        linux::F_SETFD => {
            let close_on_exec = argument as u32 & linux::FD_CLOEXEC != 0;
            files.set_close_on_exec(descriptor, close_on_exec).map(|()| 0)
        }
        linux::F_GETFL => Ok(file.flags().bits() as usize),
        linux::F_SETFL => {
            let new = OpenFlags::from_bits_retain(argument as u32);
            if new.difference(file.flags()).contains(OpenFlags::NO_ACCESS_TIME) {
                permission::must_own(&file.path().inode().metadata(), &caller.credentials())?;
            }
            file.set_flags(new);
            Ok(0)
        }
        linux::F_GETPIPE_SZ => pipe_end(&file).map(End::capacity),
        linux::F_SETPIPE_SZ => pipe_end(&file)?.set_capacity(argument as u32 as usize),
        // Signals for a file that becomes ready are not sent, so who is to get them does not matter.
        linux::F_GETOWN | linux::F_SETOWN | linux::F_SETOWN_EX | linux::F_GETSIG => Ok(0),
        linux::F_GETOWN_EX => {
            let nobody = [linux::F_OWNER_PID as i32, 0];
            caller.space.write(UserPointer::new(argument), &nobody).map(|()| 0)
        }
        // No file can be leased.
        linux::F_GETLEASE => Ok(linux::F_UNLCK as usize),
        linux::F_GET_SEALS => in_memory(&file).map(|node| node.seals.bits() as usize),
        linux::F_ADD_SEALS if !file.flags().writes() => {
            Err(Errno::EPERM.because("who seals a file could have written it"))
        }
        linux::F_ADD_SEALS => in_memory(&file)?.seals.add(argument as u32).map(|()| 0),
        _ => Err(Errno::EINVAL.because("fcntl does not know this command")),
    }
}

/// The file in memory that an open file is. Errors: EINVAL.
fn in_memory(file: &File) -> Result<&Node> {
    file.operations_as::<Node>()
        .filter(|_| file.path().inode().kind() == Kind::Regular)
        .ok_or(Errno::EINVAL.because("only a file in memory has seals"))
}

fn pipe_end(file: &File) -> Result<&End> {
    file.operations_as().ok_or(Errno::EBADF.because("only a pipe has a size"))
}

/// fcntl(2)
pub async fn fcntl(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    command: u32,
    argument: usize,
) -> Result<usize> {
    match super::file_locks::Command::new(command) {
        Some(command) => super::file_locks::record_lock(caller, descriptor, command, argument).await,
        None => control(caller, descriptor, command, argument),
    }
}

/// ioctl(2): what every object can do is done here, the rest by the object.
pub fn ioctl(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    request: u32,
    argument: usize,
) -> Result<usize> {
    let files = caller.files()?;
    let file = files.get(descriptor)?;
    match request {
        requests::FIOCLEX => files.set_close_on_exec(descriptor, true).map(|()| 0),
        requests::FIONCLEX => files.set_close_on_exec(descriptor, false).map(|()| 0),
        requests::FIONBIO => {
            let on: i32 = caller.space.read(UserPointer::new(argument))?;
            let mut flags = file.flags();
            flags.set(OpenFlags::NON_BLOCKING, on != 0);
            file.set_flags(flags);
            Ok(0)
        }
        requests::FIONREAD if file.path().inode().kind() == Kind::Regular => {
            let left = file.path().inode().metadata().size.saturating_sub(file.position());
            caller.space.write(UserPointer::new(argument), &(left as i32)).map(|()| 0)
        }
        _ => match file.control(caller.task, &caller.space, request, argument)? {
            Answer::Value(value) => Ok(value),
            Answer::File(file) => install(caller, file, true),
        },
    }
}

/// Bytes in front of the name in `struct linux_dirent64`.
const RECORD_HEADER: usize = 19;

/// getdents64(2)
pub fn getdents64(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    buffer: usize,
    length: u32,
) -> Result<usize> {
    let file = caller.files()?.get(descriptor)?;
    let mut done = 0;
    let mut error = None;
    directory_file::list(&file, caller.task, &mut |listed| {
        let size = (RECORD_HEADER + listed.name.len() + 1).next_multiple_of(align_of::<u64>());
        if done + size > length as usize {
            error = Some(Errno::EINVAL.because("not even one name fits into the buffer"));
            return false;
        }
        let mut record = Vec::with_capacity(size);
        record.extend_from_slice(&listed.number.to_ne_bytes());
        record.extend_from_slice(&(listed.position + 1).to_ne_bytes());
        record.extend_from_slice(&(size as u16).to_ne_bytes());
        record.push(listed.kind.directory_type());
        record.extend_from_slice(listed.name);
        record.resize(size, 0);
        match caller.space.write_bytes(buffer + done, &record) {
            Ok(()) => {
                done += size;
                true
            }
            Err(fault) => {
                error = Some(fault);
                false
            }
        }
    })?;
    match error {
        Some(error) if done == 0 => Err(error),
        _ => Ok(done),
    }
}

/// pipe(2)
pub fn pipe(caller: &mut Caller<'_>, ends: UserPointer<[i32; 2]>) -> Result<usize> {
    pipe2(caller, ends, 0)
}

/// pipe2(2)
pub fn pipe2(caller: &mut Caller<'_>, ends: UserPointer<[i32; 2]>, flags: u32) -> Result<usize> {
    only(flags, linux::O_CLOEXEC | linux::O_NONBLOCK | linux::O_DIRECT)?;
    reserve::check()?;
    let credentials = caller.credentials();
    let (read_end, write_end) = pipe::pipe(OpenFlags::from_bits_retain(flags), &credentials)?;
    install_pair(caller, [read_end, write_end], closes_on_exec(flags), ends)
}

/// Gives the caller descriptors for two files, or none. Errors: EMFILE, ENOMEM, EFAULT.
pub fn install_pair(
    caller: &Caller<'_>,
    [first, second]: [Arc<File>; 2],
    close_on_exec: bool,
    pair: UserPointer<[i32; 2]>,
) -> Result<usize> {
    let files = caller.files()?;
    let first = files.install(first, close_on_exec, limit(caller))?;
    let second =
        files.install(second, close_on_exec, limit(caller)).inspect_err(|_| close_quietly(caller, first))?;
    caller.space.write(pair, &[first.0, second.0]).map(|()| 0).inspect_err(|_| {
        close_quietly(caller, first);
        close_quietly(caller, second);
    })
}

fn close_quietly(caller: &Caller<'_>, descriptor: Descriptor) {
    // Another thread may have closed it in between; then it is closed.
    let _ = caller.files().and_then(|files| files.close(descriptor));
}

/// eventfd(2) without flags
pub fn eventfd(caller: &mut Caller<'_>, count: u32) -> Result<usize> {
    eventfd2(caller, count, 0)
}

/// eventfd(2)
pub fn eventfd2(caller: &mut Caller<'_>, count: u32, flags: u32) -> Result<usize> {
    only(flags, linux::EFD_SEMAPHORE | linux::EFD_CLOEXEC | linux::EFD_NONBLOCK)?;
    reserve::check()?;
    let takes_one = flags & linux::EFD_SEMAPHORE != 0;
    let kept = OpenFlags::from_bits_retain(flags) & OpenFlags::NON_BLOCKING;
    install(caller, event_file(count, takes_one, kept, caller.credentials())?, closes_on_exec(flags))
}

/// The longest name of a file in memory: with `/memfd:` before it, it is one of 256 bytes.
const LONGEST_NAME: usize = 249;

/// memfd_create(2)
pub fn memfd_create(caller: &mut Caller<'_>, name: usize, flags: u32) -> Result<usize> {
    only(flags, linux::MFD_CLOEXEC | linux::MFD_ALLOW_SEALING | linux::MFD_EXEC)?;
    let name = caller.space.read_string(name, LONGEST_NAME + 1).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::EINVAL.because("a memory file's name has at most 249 bytes"),
        error => error,
    })?;
    install(
        caller,
        memory_file(&name, flags & linux::MFD_ALLOW_SEALING != 0, &caller.credentials())?,
        flags & linux::MFD_CLOEXEC != 0,
    )
}

//! The life of processes: fork(2), execve(2), exit(2), wait(2) and their relatives, and who belongs to whom.

use super::Caller;
use crate::{
    abi::{Errno, Result, Signal, TaskId, UserPointer, linux},
    exec::Arguments,
    fs::{Descriptor, File, LastLink, OpenFlags, Walk, open},
    mm,
    ns::Access,
    task::{
        self, Process, Resource, Status, Usage,
        clone::{clone as clone_task, read_arguments},
        clone_arguments::CloneRequest,
        execve::execute,
        pidfd,
        reap::{self, Found, WaitFlags, Which},
        table,
    },
};
use alloc::{format, sync::Arc, vec::Vec};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// fork(2). Errors: EAGAIN, ENOMEM.
pub async fn fork(caller: &mut Caller<'_>) -> Result<usize> {
    clone_task(caller, &CloneRequest::fork()).await
}

/// vfork(2). Errors: EAGAIN, ENOMEM.
pub async fn vfork(caller: &mut Caller<'_>) -> Result<usize> {
    clone_task(caller, &CloneRequest::vfork()).await
}

/// clone(2). Errors: EINVAL for flags that make no sense together; EAGAIN, ENOMEM, EPERM, EMFILE, EFAULT.
pub async fn clone(
    caller: &mut Caller<'_>,
    flags: u64,
    stack: usize,
    parent_tid: usize,
    child_tid: usize,
    tls: usize,
) -> Result<usize> {
    let request = CloneRequest::from_legacy(flags, stack, parent_tid, child_tid, tls);
    clone_task(caller, &request).await
}

/// clone3(2). Errors: see [`read_arguments`]; then as clone(2), and EEXIST for a number that is taken.
pub async fn clone3(caller: &mut Caller<'_>, arguments: usize, size: usize) -> Result<usize> {
    let request = read_arguments(caller, arguments, size)?;
    clone_task(caller, &request).await
}

/// Reads a path. Errors: EFAULT; ENAMETOOLONG.
fn read_path(caller: &Caller<'_>, path: usize) -> Result<Vec<u8>> {
    caller.space.read_string(path, linux::PATH_MAX as usize)
}

fn strings(caller: &Caller<'_>, arguments: usize, environment: usize) -> Result<Arguments> {
    let stack_limit = caller.task.process().limit(Resource::STACK).soft;
    Arguments::from_user(&caller.space, arguments, environment, stack_limit)
}

/// execve(2). Errors: those of the walk, EACCES, ENOEXEC, E2BIG, EFAULT, ENOMEM, ELOOP, EINVAL, ELIBBAD.
pub async fn execve(
    caller: &mut Caller<'_>,
    path: usize,
    arguments: usize,
    environment: usize,
) -> Result<usize> {
    execveat(caller, Descriptor::WORKING_DIRECTORY, path, arguments, environment, 0).await
}

/// execveat(2). Errors: EINVAL for unknown flags; EBADF; then as execve(2).
pub async fn execveat(
    caller: &mut Caller<'_>,
    directory: Descriptor,
    path: usize,
    arguments: usize,
    environment: usize,
    flags: u32,
) -> Result<usize> {
    if flags & !(linux::AT_EMPTY_PATH | linux::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.because("execveat takes AT_EMPTY_PATH and AT_SYMLINK_NOFOLLOW"));
    }
    let name = read_path(caller, path)?;
    let (file, shown) = open_program(caller, directory, &name, flags)?;
    let reachable = shown.is_none_or(|descriptor| closes_later(caller, descriptor));
    let path = match shown {
        None => name,
        Some(Descriptor(number)) if name.is_empty() => format!("/dev/fd/{number}").into_bytes(),
        Some(Descriptor(number)) => [format!("/dev/fd/{number}/").as_bytes(), &name].concat(),
    };
    let strings = strings(caller, arguments, environment)?;
    mm::reserve::check()?;
    execute(caller, file, &path, reachable, strings).await?;
    Ok(0)
}

/// Whether the descriptor is there after the exec, for the interpreter of a script.
fn closes_later(caller: &Caller<'_>, descriptor: Descriptor) -> bool {
    caller.files().is_ok_and(|files| files.closes_on_exec(descriptor) == Ok(false))
}

/// Opens the file to execute, and says through which descriptor it was named, if it was.
fn open_program(
    caller: &Caller<'_>,
    directory: Descriptor,
    name: &[u8],
    flags: u32,
) -> Result<(Arc<File>, Option<Descriptor>)> {
    let last_link = if flags & linux::AT_SYMLINK_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    let context = caller.filesystem()?;
    let walk = Walk::new(caller.task, &context);
    if directory == Descriptor::WORKING_DIRECTORY || name.starts_with(b"/") {
        if name.is_empty() && flags & linux::AT_EMPTY_PATH != 0 {
            return Err(Errno::EACCES.because("a directory cannot be executed"));
        }
        return Ok((open::open_executable(&mut { walk }, name, last_link)?, None));
    }
    let place = caller.files()?.get_any(directory)?.path().clone();
    let file = match name.is_empty() && flags & linux::AT_EMPTY_PATH != 0 {
        true => open::open_path_to_execute(place, &caller.credentials(), caller.task)?,
        false => open::open_executable(&mut walk.starting_at(place), name, last_link)?,
    };
    Ok((file, Some(directory)))
}

/// exit(2): ends the calling thread.
pub fn exit(caller: &mut Caller<'_>, code: i32) -> Result<usize> {
    caller.task.exit(code);
    Ok(0)
}

/// exit_group(2): ends the process.
pub fn exit_group(caller: &mut Caller<'_>, code: i32) -> Result<usize> {
    caller.task.process().end(Status::Exited(code as u8));
    Ok(0)
}

/// `struct rusage`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UserUsage {
    user: [i64; 2],
    system: [i64; 2],
    largest_resident: i64,
    unused: [i64; 3],
    minor_faults: i64,
    major_faults: i64,
    swaps: i64,
    blocks: [i64; 2],
    messages: [i64; 2],
    signals: i64,
    voluntary_switches: i64,
    involuntary_switches: i64,
}

impl From<Usage> for UserUsage {
    fn from(usage: Usage) -> Self {
        let split = |nanoseconds: u64| {
            [nanoseconds / 1_000_000_000, nanoseconds / 1000 % 1_000_000].map(|n| n as i64)
        };
        Self {
            user: split(usage.times.user),
            system: split(usage.times.system),
            largest_resident: usage.largest_resident as i64,
            unused: [0; 3],
            minor_faults: usage.faults as i64,
            major_faults: 0,
            swaps: 0,
            blocks: [0; 2],
            messages: [0; 2],
            signals: 0,
            voluntary_switches: usage.voluntary_switches as i64,
            involuntary_switches: usage.involuntary_switches as i64,
        }
    }
}

/// wait4(2). Errors: EINVAL for unknown options; ESRCH for the one number that has no opposite; ECHILD; EINTR; EFAULT
/// (the child is gone then all the same).
pub async fn wait4(
    caller: &mut Caller<'_>,
    id: i32,
    status: UserPointer<i32>,
    options: u32,
    usage: UserPointer<UserUsage>,
) -> Result<usize> {
    const OPTIONS: WaitFlags = WaitFlags::NOHANG
        .union(WaitFlags::STOPPED)
        .union(WaitFlags::CONTINUED)
        .union(WaitFlags::NOTHREAD)
        .union(WaitFlags::CLONE)
        .union(WaitFlags::ALL);
    let flags = WaitFlags::from_bits(options).filter(|flags| OPTIONS.contains(*flags));
    let flags = flags.ok_or_else(|| Errno::EINVAL.because("wait4 has fewer options than waitid"))?;
    if id == i32::MIN {
        return Err(Errno::ESRCH.because("no process group has this number"));
    }
    let which = match id {
        ..-1 => Which::Group(id.unsigned_abs()),
        -1 => Which::All,
        0 => Which::Group(caller.task.process().group_id()),
        1.. => Which::Process(id as TaskId),
    };
    let Some(found) = reap::wait(caller, which, flags | WaitFlags::EXITED).await? else { return Ok(0) };
    if let Some(status) = status.optional() {
        caller.space.write(status, &found.event.encoded())?;
    }
    if let Some(usage) = usage.optional() {
        caller.space.write(usage, &UserUsage::from(found.usage))?;
    }
    Ok(found.id as usize)
}

/// waitid(2). Errors: EINVAL for unknown options, none of the events, or a number that names nothing; EBADF; ECHILD; EINTR;
/// EAGAIN for a pidfd with O_NONBLOCK; EFAULT.
pub async fn waitid(
    caller: &mut Caller<'_>,
    kind: u32,
    id: i32,
    information: usize,
    options: u32,
    usage: UserPointer<UserUsage>,
) -> Result<usize> {
    const EVENTS: WaitFlags = WaitFlags::EXITED.union(WaitFlags::STOPPED).union(WaitFlags::CONTINUED);
    let flags = WaitFlags::from_bits(options).filter(|flags| flags.intersects(EVENTS));
    let mut flags =
        flags.ok_or_else(|| Errno::EINVAL.because("waitid waits for at least one sort of event"))?;
    let mut nonblocking = false;
    let number = |least| u32::try_from(id).ok().filter(|id| *id >= least).ok_or(Errno::EINVAL);
    let which = match kind {
        linux::P_ALL => Which::All,
        linux::P_PID => Which::Process(number(1)?),
        linux::P_PGID => match number(0)? {
            0 => Which::Group(caller.task.process().group_id()),
            group => Which::Group(group),
        },
        linux::P_PIDFD => {
            let file = caller.files()?.get(Descriptor(number(0)? as i32))?;
            let process =
                pidfd::process(&file).ok_or_else(|| Errno::EBADF.because("the file is not a pidfd"))?;
            nonblocking =
                file.flags().contains(OpenFlags::NON_BLOCKING) && !flags.contains(WaitFlags::NOHANG);
            Which::Process(process.id())
        }
        _ => return Err(Errno::EINVAL.because("there are four kinds of children to wait for")),
    };
    flags.set(WaitFlags::NOHANG, flags.contains(WaitFlags::NOHANG) || nonblocking);
    let result = reap::wait(caller, which, flags).await;
    let found = result.ok().flatten();
    if let (Some(found), Some(usage)) = (found, usage.optional()) {
        caller.space.write(usage, &UserUsage::from(found.usage))?;
    }
    if information != 0 {
        write_information(caller, information, found)?;
    }
    match result? {
        None if nonblocking => Err(Errno::EAGAIN.because("the child of the pidfd has not ended")),
        _ => Ok(0),
    }
}

/// Writes the fields of `siginfo_t` that waitid(2) fills in, and no others; zeros when nothing was found.
fn write_information(caller: &Caller<'_>, address: usize, found: Option<Found>) -> Result<()> {
    let shown = |found: &Found| {
        let namespace = &caller.credentials().user_namespace;
        namespace.shown_user(found.user).unwrap_or(crate::ns::credentials::OVERFLOW_ID) as i32
    };
    let (head, tail) = found.map_or(([0; 3], [0; 3]), |found| {
        let (code, value) = found.event.code_and_value();
        ([Signal::SIGCHLD.number() as i32, 0, code], [found.id as i32, shown(&found), value])
    });
    caller.space.write(UserPointer::new(address), &head)?;
    caller.space.write(UserPointer::new(address).byte_offset(16), &tail)
}

/// getpid(2).
pub fn getpid(caller: &mut Caller<'_>) -> Result<usize> {
    Ok(caller.task.process().id() as usize)
}

/// gettid(2).
pub fn gettid(caller: &mut Caller<'_>) -> Result<usize> {
    Ok(caller.task.id() as usize)
}

/// getppid(2).
pub fn getppid(caller: &mut Caller<'_>) -> Result<usize> {
    Ok(caller.task.process().parent_id() as usize)
}

/// The process of this number, the caller's for 0. Errors: ESRCH.
fn process_or_own(caller: &Caller<'_>, id: i32) -> Result<Arc<Process>> {
    match id {
        0 => Ok(caller.task.process().clone()),
        _ => TaskId::try_from(id)
            .ok()
            .and_then(|id| table::process(id).or_else(|| Some(table::task(id)?.process().clone())))
            .ok_or_else(|| Errno::ESRCH.because("there is no such process")),
    }
}

/// setpgid(2). Errors: EINVAL for a negative group or a thread's number; ESRCH, EPERM, EACCES.
pub fn setpgid(caller: &mut Caller<'_>, id: i32, group: i32) -> Result<usize> {
    let own = caller.task.process().id();
    let id = if id == 0 { own as i32 } else { id };
    let group = if group == 0 { id } else { group };
    let invalid = || Errno::EINVAL.because("groups and processes have positive numbers");
    let group = TaskId::try_from(group).map_err(|_| invalid())?;
    let process = process_or_own(caller, id)?;
    if process.id() as i32 != id {
        return Err(invalid());
    }
    table::set_group(own, process.id(), group)?;
    Ok(0)
}

/// getpgid(2). Errors: ESRCH.
pub fn getpgid(caller: &mut Caller<'_>, id: i32) -> Result<usize> {
    Ok(process_or_own(caller, id)?.group_id() as usize)
}

/// getpgrp(2).
pub fn getpgrp(caller: &mut Caller<'_>) -> Result<usize> {
    Ok(caller.task.process().group_id() as usize)
}

/// setsid(2). Errors: EPERM.
pub fn setsid(caller: &mut Caller<'_>) -> Result<usize> {
    let id = caller.task.process().id();
    table::start_session(id)?;
    Ok(id as usize)
}

/// getsid(2). Errors: ESRCH.
pub fn getsid(caller: &mut Caller<'_>, id: i32) -> Result<usize> {
    Ok(process_or_own(caller, id)?.session_id() as usize)
}

/// set_tid_address(2).
pub fn set_tid_address(caller: &mut Caller<'_>, address: usize) -> Result<usize> {
    caller.task.set_clear_child_tid(address);
    gettid(caller)
}

/// pidfd_open(2). Errors: EINVAL for unknown flags, a number that names nothing, or a thread's without PIDFD_THREAD; ESRCH;
/// EMFILE.
pub fn pidfd_open(caller: &mut Caller<'_>, id: i32, flags: u32) -> Result<usize> {
    /// PIDFD_THREAD has O_EXCL's bit, PIDFD_NONBLOCK O_NONBLOCK's.
    const THREAD: u32 = linux::O_EXCL;
    if flags & !(THREAD | linux::O_NONBLOCK) != 0 || id <= 0 {
        return Err(Errno::EINVAL
            .because("a pidfd is for a positive number, non-blocking or not, of a thread or not"));
    }
    let task = table::task(id as TaskId).ok_or_else(|| Errno::ESRCH.because("there is no such task"))?;
    if flags & THREAD == 0 && !task.is_leader() {
        return Err(Errno::ENOENT.because("without PIDFD_THREAD a pidfd is for a process"));
    }
    let file = pidfd::open(&task, flags & THREAD != 0, flags & linux::O_NONBLOCK != 0, caller.credentials())?;
    install(caller, file)
}

/// pidfd_getfd(2). Errors: EINVAL for flags; EBADF; ESRCH; EPERM; EMFILE.
pub fn pidfd_getfd(
    caller: &mut Caller<'_>,
    pidfd: Descriptor,
    wanted: Descriptor,
    flags: u32,
) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL.because("pidfd_getfd has no flags"));
    }
    let gone = || Errno::ESRCH.because("the process has exited");
    let process = task::pidfd::process(&*caller.files()?.get(pidfd)?);
    let process = process.ok_or_else(|| Errno::EBADF.because("the file is not a pidfd"))?;
    let thread = process.any_thread().ok_or_else(gone)?;
    let own = Arc::ptr_eq(&process, caller.task.process());
    if !own && !thread.may_be_inspected_by(&caller.credentials(), Access::Calls) {
        return Err(Errno::EPERM.because("taking a descriptor takes permission to look into the process"));
    }
    let file = thread.files().ok_or_else(gone)?.get_any(wanted)?;
    install(caller, file)
}

fn install(caller: &Caller<'_>, file: Arc<File>) -> Result<usize> {
    let limit = caller.task.process().limit(Resource::NOFILE).soft;
    caller.files()?.install(file, true, limit).map(|Descriptor(number)| number as usize)
}

/// ptrace(2): nobody is traced here. Errors: EPERM.
pub fn ptrace(_caller: &mut Caller<'_>) -> Result<usize> {
    Err(Errno::EPERM.because("this kernel has no tracing"))
}

/// seccomp(2): Errors: EINVAL, as on a Linux that was built without filters.
pub fn seccomp(_caller: &mut Caller<'_>) -> Result<usize> {
    Err(Errno::EINVAL.because("this kernel has no filters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_laid_out_as_the_c_library_expects() {
        assert_eq!(size_of::<UserUsage>(), size_of::<libc::rusage>());
        let offset = core::mem::offset_of!(UserUsage, minor_faults);
        assert_eq!(offset, core::mem::offset_of!(libc::rusage, ru_minflt));
        assert_eq!(
            core::mem::offset_of!(UserUsage, voluntary_switches),
            core::mem::offset_of!(libc::rusage, ru_nvcsw)
        );
        let times = task::cpu_time::Times { user: 3_000_000_007, system: 1_999_999_999 };
        let shown = UserUsage::from(Usage { times, ..Usage::default() });
        assert_eq!((shown.user, shown.system), ([3, 0], [1, 999_999]));
    }
}

//! Making a task: fork(2), vfork(2), clone(2) and clone3(2) are one thing with different defaults.
//!
//! First everything that can fail is made, in an order that shows in which error is seen, and then the new task is put in
//! its place, which cannot fail. What was made for nothing drops. One thing is not undone, as on Linux: a pending time
//! namespace that the child would have entered stays frozen even when a later step fails.

use super::{
    Caller, Process, Task,
    attention::{self},
    clone_arguments::{CloneArguments, CloneFlags, CloneRequest, Given, LARGEST, SMALLEST},
    limits::Resource,
    pidfd,
    process::{Life, ProcessBeginning},
    serve,
    signal::{Actions, AlternateStack},
    table::{self, Reserved},
    thread::{Beginning, Resources},
    vfork::Release,
    wait,
};
use crate::{
    abi::{Errno, Result, TaskId, UserPointer},
    arch::{Hardware, Machine, UserContext, UserMode},
    fs::{self, Descriptor},
    mm,
    ns::{Capability, Credentials, user::UserNamespace},
    time::{self, HostClock},
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use zerocopy::{FromZeros, IntoBytes};

/// Reads what clone3(2) was given.
///
/// Errors, in this order: E2BIG above 4096 bytes; EINVAL below 64; E2BIG or EFAULT for what lies beyond the structure
/// known here and is not zero, or not there; then those of [`CloneRequest::from_arguments`].
pub fn read_arguments(caller: &Caller<'_>, address: usize, size: usize) -> Result<CloneRequest> {
    if size > LARGEST {
        return Err(Errno::E2BIG.because("clone3's arguments are at most a page"));
    }
    if size < SMALLEST {
        return Err(Errno::EINVAL.because("clone3's arguments have at least 64 bytes"));
    }
    let known = size_of::<CloneArguments>();
    for index in known..size {
        let mut byte = [0];
        caller.space.read_bytes(address.wrapping_add(index), &mut byte)?;
        if byte != [0] {
            return Err(Errno::E2BIG.because("clone3 was asked for something that is not known here"));
        }
    }
    let mut arguments = CloneArguments::new_zeroed();
    caller.space.read_bytes(address, &mut arguments.as_mut_bytes()[..size.min(known)])?;
    CloneRequest::from_arguments(&Given { arguments, size }, |address, count| {
        let numbers = caller.space.read_array::<i32>(UserPointer::new(address), count)?;
        numbers.first().copied().ok_or(Errno::EINVAL)
    })
}

/// Makes a task, and with CLONE_VFORK waits until it has memory of its own. Gives its number.
pub async fn clone(caller: &mut Caller<'_>, request: &CloneRequest) -> Result<usize> {
    let child = make(caller, request)?;
    if let Some(release) = &child.release {
        // Only the end of this task ends the wait, and then nobody sees the result.
        let _ = wait::killable(caller.task, caller.user, release.given()).await;
    }
    Ok(child.number as usize)
}

/// What [`make`] made.
struct Child {
    number: TaskId,
    /// For vfork: what is to be waited for.
    release: Option<Arc<Release>>,
}

fn make(caller: &mut Caller<'_>, request: &CloneRequest) -> Result<Child> {
    let flags = request.flags;
    request.check(caller.task.process().is_init())?;
    mm::reserve::check()?;
    mm::reserve::check_for_task(table::child_count(caller.task.process().id()))?;
    let credentials = credentials(caller, flags)?;
    check_limits(caller.task)?;
    let resources = resources(caller, flags, &credentials)?;
    let number = Reserved::new(wanted_number(request, &credentials)?)?;
    let mut user = registers(caller, request)?;
    user.set_result(0);
    if let Some(space) = &resources.space {
        user.prepare(space.root())?;
    }
    let process = process(caller.task, request, number.number());
    let actions = actions(caller.task, flags);
    let task = Arc::new(Task::made_by(
        caller.task,
        Beginning { id: number.number(), process, resources, credentials, actions },
    ));
    if flags.contains(CloneFlags::VM) && !flags.contains(CloneFlags::VFORK) {
        // Two threads cannot run handlers on one stack.
        task.signals.lock().alternate_stack = AlternateStack::default();
    }
    let descriptor =
        if flags.contains(CloneFlags::PIDFD) { Some(give_pidfd(caller, request, &task)?) } else { None };
    if flags.contains(CloneFlags::INTO_CGROUP) {
        withdraw(caller, descriptor);
        return Err(Errno::EBADF.because("no descriptor here is a control group"));
    }
    if let Err(error) = join_process(caller.task, &task, flags) {
        withdraw(caller, descriptor);
        return Err(error);
    }
    // From here on nothing fails; a number that cannot be written down is its reader's affair, as on Linux.
    drop(number);
    write_numbers(caller, request, &task);
    let release = flags.contains(CloneFlags::VFORK).then(Arc::<Release>::default);
    *task.vfork.lock() = release.clone();
    serve::start(&task, user);
    Ok(Child { number: task.id(), release })
}

/// Errors: EAGAIN when there are as many tasks as there may be, for the user or for the machine.
fn check_limits(maker: &Task) -> Result<()> {
    let limit = maker.process().limit(Resource::NPROC).soft;
    let credentials = maker.credentials();
    let exempt = credentials.uid == 0
        || credentials.capable_globally(Capability::SYS_RESOURCE)
        || credentials.capable_globally(Capability::SYS_ADMIN);
    if maker.with_account(|account| account.tasks.load(Relaxed)) >= limit && !exempt {
        return Err(Errno::EAGAIN.because("the user has as many tasks as RLIMIT_NPROC allows"));
    }
    if table::statistics().tasks >= super::limits::most_tasks() {
        return Err(Errno::EAGAIN.because("the machine has as many tasks as its memory allows"));
    }
    Ok(())
}

/// Who the child is. Errors: those of making a user namespace.
fn credentials(caller: &Caller<'_>, flags: CloneFlags) -> Result<Arc<Credentials>> {
    let present = caller.credentials();
    if !flags.contains(CloneFlags::NEWUSER) {
        return Ok(present);
    }
    if fs::mount::is_changed_root(&caller.filesystem()?.root()) {
        return Err(Errno::EPERM.because("a task with a root directory of its own makes no user namespace"));
    }
    let (_namespace, inside) = UserNamespace::create(&present)?;
    Ok(Arc::new(inside))
}

/// What the child uses: its share of each thing, or a copy.
///
/// Errors: ENOMEM; EPERM without CAP_SYS_ADMIN for a namespace; EINVAL for kinds that do not exist; ENOSPC.
fn resources(caller: &Caller<'_>, flags: CloneFlags, credentials: &Credentials) -> Result<Resources> {
    let files = caller.files()?;
    let files = if flags.contains(CloneFlags::FILES) { files } else { files.fork()? };
    let filesystem = caller.filesystem()?;
    let filesystem = if flags.contains(CloneFlags::FS) { filesystem } else { filesystem.fork() };
    if flags.intersects(CloneFlags::PRIVILEGED_NAMESPACES) {
        if !credentials.capable(Capability::SYS_ADMIN) {
            return Err(Errno::EPERM.because("making a namespace takes CAP_SYS_ADMIN in its user namespace"));
        }
        if flags.contains(CloneFlags::NEWIPC | CloneFlags::SYSVSEM) {
            return Err(Errno::EINVAL.because("semaphores to undo are in one namespace"));
        }
        if flags.intersects(CloneFlags::ABSENT_NAMESPACES) {
            return Err(Errno::EINVAL.because("of the namespaces only time and user namespaces exist here"));
        }
    }
    let (new_time, shares_memory) = (flags.contains(CloneFlags::NEWTIME), flags.contains(CloneFlags::VM));
    let namespaces = caller.namespaces()?.for_new_task(new_time, shares_memory, credentials)?;
    let space = match shares_memory {
        true => caller.space.clone(),
        false => caller.space.fork(namespaces.special_source())?,
    };
    Ok(Resources {
        space: Some(space),
        files: Some(files),
        filesystem: Some(filesystem),
        namespaces: Some(namespaces),
    })
}

/// The number that set_tid asks for. Errors, in this order: EINVAL for more than one, as numbers are not nested here; EINVAL
/// for one no task can have; EPERM without privilege.
fn wanted_number(request: &CloneRequest, credentials: &Credentials) -> Result<Option<TaskId>> {
    match request.wanted_numbers {
        0 => return Ok(None),
        1 => {}
        _ => return Err(Errno::EINVAL.because("set_tid has one number for each nested process namespace")),
    }
    let number = TaskId::try_from(request.wanted_number)
        .ok()
        .filter(|number| (1..table::number_limit()).contains(number));
    let number = number.ok_or_else(|| Errno::EINVAL.because("a task number is above 0 and below pid_max"))?;
    if ![Capability::CHECKPOINT_RESTORE, Capability::SYS_ADMIN]
        .iter()
        .any(|&capability| credentials.capable_globally(capability))
    {
        return Err(Errno::EPERM.because("choosing a task's number takes CAP_CHECKPOINT_RESTORE"));
    }
    Ok(Some(number))
}

/// The registers the child starts with. Errors: ENOMEM; EPERM for a TLS address that no program can have.
fn registers(caller: &mut Caller<'_>, request: &CloneRequest) -> Result<UserContext> {
    let sets_tls = request.flags.contains(CloneFlags::SETTLS);
    if sets_tls && request.tls >= Hardware::USER_END {
        return Err(Errno::EPERM.because("a segment base lies in user memory"));
    }
    let mut user = caller.user.duplicate()?;
    if sets_tls || request.stack.is_some() {
        let mut registers = user.registers();
        if sets_tls {
            registers.fs_base = request.tls as u64;
        }
        if let Some(stack) = request.stack {
            registers.rsp = stack as u64;
        }
        user.set_registers(&registers);
    }
    Ok(user)
}

fn process(maker: &Task, request: &CloneRequest, id: TaskId) -> Arc<Process> {
    if request.flags.contains(CloneFlags::THREAD) {
        return maker.process().clone();
    }
    let exit_signal = match request.flags.contains(CloneFlags::PARENT) {
        true => maker.process().exit_signal(),
        false => request.exit_signal,
    };
    let beginning = ProcessBeginning { id, exit_signal, start_time: time::now(HostClock::Boottime) };
    let shares_memory = request.flags.contains(CloneFlags::VM);
    let process = Arc::new(Process::made_by(maker.process(), beginning, shares_memory));
    process.watch_processor_limit();
    process
}

fn actions(maker: &Task, flags: CloneFlags) -> Arc<Actions> {
    let actions = maker.actions();
    if flags.contains(CloneFlags::SIGHAND) {
        actions
    } else if flags.contains(CloneFlags::CLEAR_SIGHAND) {
        Arc::new(actions.without_handlers())
    } else {
        Arc::new(actions.copy())
    }
}

/// Errors: EMFILE; ENFILE; EFAULT.
fn give_pidfd(caller: &Caller<'_>, request: &CloneRequest, task: &Arc<Task>) -> Result<Descriptor> {
    let file = pidfd::open(task, request.flags.contains(CloneFlags::THREAD), false, caller.credentials())?;
    let limit = caller.task.process().limit(Resource::NOFILE).soft;
    let descriptor = caller.files()?.install(file, true, limit)?;
    let written = caller.space.write(UserPointer::new(request.pidfd), &descriptor.0);
    if written.is_err() {
        withdraw(caller, Some(descriptor));
    }
    written.map(|()| descriptor)
}

fn withdraw(caller: &Caller<'_>, descriptor: Option<Descriptor>) {
    if let (Some(descriptor), Ok(files)) = (descriptor, caller.files()) {
        // Another thread may have closed it already.
        let _ = files.close(descriptor);
    }
}

/// Makes the task one of its process' threads and gives it its place in the table.
///
/// Errors: ERESTARTNOINTR when the maker is to end: nobody will see it.
fn join_process(maker: &Arc<Task>, task: &Arc<Task>, flags: CloneFlags) -> Result<()> {
    let is_thread = flags.contains(CloneFlags::THREAD);
    {
        let mut state = task.process().state.lock();
        if maker.killed() || state.life != Life::Running {
            return Err(Errno::ERESTARTNOINTR);
        }
        state.threads.insert(task.id(), task.clone());
        task.attention.put(attention::STOP, state.stop.is_some());
        task.look_again(&state);
    }
    match is_thread {
        true => table::add_thread(task),
        false => table::add_process(task, maker, flags.contains(CloneFlags::PARENT)),
    }
    Ok(())
}

fn write_numbers(caller: &Caller<'_>, request: &CloneRequest, task: &Arc<Task>) {
    let number = task.id();
    if request.flags.contains(CloneFlags::PARENT_SETTID) {
        let _ = caller.space.write(UserPointer::new(request.parent_tid), &number);
    }
    if request.flags.contains(CloneFlags::CHILD_SETTID)
        && let Some(space) = task.space()
    {
        let _ = space.write(UserPointer::new(request.child_tid), &number);
    }
    if request.flags.contains(CloneFlags::CHILD_CLEARTID) {
        task.clear_child_tid.store(request.child_tid, Relaxed);
    }
}

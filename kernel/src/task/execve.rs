//! Executing a program: execve(2).
//!
//! Up to a point everything can still fail and nothing has changed: the file is opened, scripts are followed, the new
//! memory is built. Then the other threads are ended, and from there on there is no way back: what fails now ends the
//! process. That part is short, and only one thing in it needs memory.

use super::{
    Caller, Process, Task,
    credentials::{AfterExec, Lender, after_exec},
    limits::Resource,
    name::Name,
    privacy::Privacy,
    process::Life,
    signal::AlternateStack,
    status::Status,
    table, wait,
};
use crate::{
    abi::{Errno, Result, Signal},
    arch::{Registers, UserMode},
    exec::{self, Arguments, ExecRequest, Loaded, Program, RunsAs},
    fs::{
        Actor, File, LastLink, MountFlags, Path, PathContext, Walk,
        devices::random,
        metadata::{SET_GROUP_ID, SET_USER_ID},
        open::open_executable,
    },
    mm::{AddressSpace, PageSource, address_space::Limits},
    ns::{Capability, Credentials, Namespaces, credentials::OVERFLOW_ID},
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// An opened program.
struct Opened {
    file: Arc<File>,
    pages: Arc<dyn PageSource>,
}

impl Opened {
    /// Errors: EACCES for a file without pages to map.
    fn new(file: Arc<File>) -> Result<Self> {
        let pages = file.pages(false);
        let pages = pages.map_err(|_| Errno::EACCES.because("a program's file can be mapped"))?;
        Ok(Self { file, pages })
    }
}

impl Program for Opened {
    fn pages(&self) -> Arc<dyn PageSource> {
        self.pages.clone()
    }
}

/// Who executes, and where its names begin.
pub struct Executor<'a> {
    /// Who.
    pub actor: &'a dyn Actor,
    /// Where.
    pub context: &'a PathContext,
    /// As whom.
    pub credentials: &'a Credentials,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// Somebody outside the process could move its root directory.
    pub shares_filesystem: bool,
    /// What the program will find in `[vvar]`.
    pub namespaces: &'a Namespaces,
    /// RLIMIT_STACK and others.
    pub limits: Limits,
    /// personality(2)
    pub personality: u32,
}

/// A program that only has to be started.
pub struct Prepared {
    /// Its memory and first registers.
    pub loaded: Loaded,
    /// Who it runs as.
    pub identity: AfterExec,
    /// Which file it is: the interpreter of a script.
    pub executable: Arc<File>,
    /// Whether who runs it may not read it: then it may not look into its memory either.
    pub unreadable: bool,
}

/// Builds everything a program needs. `path` is what it was called by; `reachable` says whether a script's interpreter
/// will find the script by it.
///
/// Errors: those of [`exec::follow_scripts`] and [`exec::load`]; ENOENT for a script that would not be found; EACCES.
pub fn prepare(
    executor: &Executor<'_>,
    file: Arc<File>,
    path: &[u8],
    reachable: bool,
    mut arguments: Arguments,
) -> Result<Prepared> {
    let open = |name: &[u8]| {
        open_executable(&mut Walk::new(executor.actor, executor.context), name, LastLink::Follow)
            .and_then(Opened::new)
    };
    let program =
        exec::follow_scripts(Opened::new(file)?, path, &mut arguments, &mut |name| match reachable {
            true => open(name),
            false => Err(Errno::ENOENT.because("the script's descriptor will be closed")),
        })?;
    let identity = identity(executor, program.file.path());
    let shown = &identity.credentials.user_namespace;
    let runs_as = RunsAs {
        uid: shown.shown_user(identity.credentials.uid).unwrap_or(OVERFLOW_ID),
        euid: shown.shown_user(identity.credentials.euid).unwrap_or(OVERFLOW_ID),
        gid: shown.shown_group(identity.credentials.gid).unwrap_or(OVERFLOW_ID),
        egid: shown.shown_group(identity.credentials.egid).unwrap_or(OVERFLOW_ID),
        secure: identity.secure,
    };
    let mut random = [0; 16];
    random::fill(&mut random);
    let loaded = exec::load(ExecRequest {
        program: program.pages,
        path,
        arguments: &arguments,
        runs_as,
        special: executor.namespaces.special_source(),
        limits: executor.limits,
        random,
        // Who lends its rights to a program is not to know where its parts are.
        randomized: identity.secure || executor.personality & ADDR_NO_RANDOMIZE == 0,
        open_interpreter: &mut |name| open(name).map(|opened| opened.pages),
    })?;
    let executable = program.file;
    let readable = executable.path().inode().permits(
        crate::fs::permission::Wanted::READ,
        executor.credentials,
        executor.actor,
    );
    Ok(Prepared { loaded, identity, executable, unreadable: readable.is_err() })
}

/// Who runs the program in this file: it may lend its owner's rights.
fn identity(executor: &Executor<'_>, path: &Path) -> AfterExec {
    const GROUP_EXECUTES: u16 = 0o010;
    let metadata = path.inode().metadata();
    let namespace = &executor.credentials.user_namespace;
    let lends =
        |bits| metadata.permissions & bits == bits && !path.mount.flags().contains(MountFlags::NO_SET_ID);
    // Ids that have no place in the user namespace cannot be taken on in it.
    let known = namespace.shown_user(metadata.uid).is_some() && namespace.shown_group(metadata.gid).is_some();
    let lender = Lender {
        user: (known && lends(SET_USER_ID)).then_some(metadata.uid),
        group: (known && lends(SET_GROUP_ID | GROUP_EXECUTES)).then_some(metadata.gid),
    };
    after_exec(executor.credentials, lender, executor.no_new_privileges, executor.shares_filesystem)
}

/// Of personality(2): its programs' parts are where they would be without chance.
const ADDR_NO_RANDOMIZE: u32 = 0x004_0000;

/// Has the caller's process go on as another program.
///
/// Errors: those of [`prepare`] and of [`UserMode::prepare`]; ERESTARTNOINTR when another thread ends the process, or executes a program itself.
pub async fn execute(
    caller: &mut Caller<'_>,
    file: Arc<File>,
    path: &[u8],
    reachable: bool,
    arguments: Arguments,
) -> Result<()> {
    let prepared = {
        let credentials = caller.credentials();
        // Asked before the caller's context is held here, which would count as one more who shares it.
        let shares_filesystem = shares_filesystem(caller.task);
        let executor = Executor {
            actor: caller.task,
            context: &*caller.filesystem()?,
            credentials: &credentials,
            no_new_privileges: caller.task.has_no_new_privileges(),
            shares_filesystem,
            namespaces: &*caller.namespaces()?,
            limits: memory_limits(caller.task.process(), &credentials),
            personality: caller.task.personality(),
        };
        prepare(&executor, file, path, reachable, arguments)?
    };
    caller.user.prepare(prepared.loaded.space.root())?;
    become_only_thread(caller).await?;
    if replace(caller, prepared, path).is_err() {
        // Nothing is left of the program that could be told.
        caller.task.process().end(Status::Killed(Signal::SIGSEGV));
    }
    Ok(())
}

/// Whether tasks other than the threads of its own process share its root and working directory.
fn shares_filesystem(task: &Task) -> bool {
    let Some(filesystem) = task.filesystem() else { return false };
    let threads = task.process().threads();
    let own = threads.iter().filter_map(|thread| thread.filesystem());
    let own = own.filter(|other| Arc::ptr_eq(other, &filesystem)).count();
    // One reference is the variable here.
    Arc::strong_count(&filesystem) > own + 1
}

/// The limits of a process that its memory must know.
pub fn memory_limits(process: &Process, credentials: &Credentials) -> Limits {
    let limit = |resource| process.limit(resource).soft;
    let unlocked = credentials.capable_globally(Capability::IPC_LOCK);
    Limits {
        address_space: limit(Resource::AS),
        data: limit(Resource::DATA),
        stack: limit(Resource::STACK),
        locked: if unlocked { u64::MAX } else { limit(Resource::MEMLOCK) },
    }
}

/// Ends every other thread and takes the place of the first.
async fn become_only_thread(caller: &mut Caller<'_>) -> Result<()> {
    let task = caller.task;
    let process = task.process();
    {
        let state = process.state.lock();
        if task.killed() || state.life != Life::Running {
            return Err(Errno::ERESTARTNOINTR);
        }
        state.kill_threads_except(task.id());
    }
    let alone = process.events.until(|| (process.thread_count() == 1).then_some(()));
    wait::killable(task, caller.user, alone).await.map_err(|_| Errno::ERESTARTNOINTR)?;
    if !task.is_leader() {
        let before = task.id();
        table::become_leader(task);
        let mut state = process.state.lock();
        state.threads.remove(&before);
        state.threads.insert(task.id(), task.clone());
    }
    Ok(())
}

/// Puts the new program in the place of the old. Errors: ENOMEM.
fn replace(caller: &mut Caller<'_>, prepared: Prepared, path: &[u8]) -> Result<()> {
    let Prepared { loaded: Loaded { space, entry, stack }, identity, executable, unreadable } = prepared;
    let task = caller.task;
    let process = task.process();
    let files = caller.files()?;
    // Two references are this task's own and the variable here; with more, somebody else's stay open.
    let files = if Arc::strong_count(&files) > 2 { files.fork()? } else { files };

    super::exit::leave_memory(task, &caller.space);
    enter_memory(caller, space);
    task.release_vfork();
    files.close_on_exec();
    task.set_files(files);
    task.set_actions(Arc::new(task.actions().without_handlers()));
    task.signals.lock().alternate_stack = AlternateStack::default();
    // What the old program had left to go on with is not the new one's.
    let _ = task.take_restart();
    process.delete_timers();

    let before = task.credentials();
    let AfterExec { credentials, secure } = identity;
    let owner_acts = credentials.euid == credentials.uid && credentials.egid == credentials.gid;
    let owner = credentials.user_namespace.clone();
    let more_powerful = super::credentials::differs_in_power(&before, &credentials);
    process.set_privacy(Privacy::new(owner_acts && !more_powerful && !unreadable, owner));
    if secure || more_powerful {
        task.parent_death_signal.store(0, Relaxed);
    }
    task.set_credentials(Arc::new(credentials));
    process.set_executable(Some(executable));
    process.has_executed.store(true, Relaxed);
    process.uses_barriers.store(false, Relaxed);
    process.exit_signal.store(Signal::SIGCHLD.number(), Relaxed);
    task.set_name(Name::new(&exec::command_name(path)));

    caller.user.set_registers(&Registers { rip: entry as u64, rsp: stack as u64, ..Registers::default() });
    caller.user.reset_extended_state();
    Ok(())
}

/// Puts the task into its new memory, and into a pending time namespace with it.
fn enter_memory(caller: &mut Caller<'_>, space: Arc<AddressSpace>) {
    if let Some(namespaces) = caller.task.namespaces() {
        let entered = namespaces.on_exec();
        space.enter_namespace(entered.special_source());
        caller.task.set_namespaces(entered);
    }
    drop(caller.task.set_space(space.clone()));
    caller.space = space;
}

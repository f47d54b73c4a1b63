//! unshare(2) and setns(2): leaving what is shared, and joining a namespace.
//!
//! The order of the checks is part of what programs see, so each function is its own table of them from top to bottom.
//! All or nothing: everything that can fail is prepared first, and then put in place together.

use super::Caller;
use crate::{
    abi::{Errno, Result, linux},
    fs::{self, fd_table::Descriptor},
    ns::{
        Access, Capability, Credentials, Namespaces,
        nsfs::Handle,
        setns::{self, Company},
        user::UserNamespace,
    },
    task::{self, Process, credentials::differs_in_power},
};
use alloc::sync::Arc;
use bitflags::bitflags;

bitflags! {
    /// What unshare(2) and setns(2) name, clone(2)'s flags.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Shares: u64 {
        /// Memory.
        const VM = linux::CLONE_VM as u64;
        /// Root, working directory and umask.
        const FS = linux::CLONE_FS as u64;
        /// Open files.
        const FILES = linux::CLONE_FILES as u64;
        /// Signal actions.
        const SIGHAND = linux::CLONE_SIGHAND as u64;
        /// The process.
        const THREAD = linux::CLONE_THREAD as u64;
        /// Undo values of System V semaphores, of which there are none.
        const SYSVSEM = linux::CLONE_SYSVSEM as u64;
        /// The time namespace of children.
        const NEWTIME = linux::CLONE_NEWTIME as u64;
        /// The user namespace.
        const NEWUSER = linux::CLONE_NEWUSER as u64;
        /// Mounts.
        const NEWNS = linux::CLONE_NEWNS as u64;
        /// Names of the machine.
        const NEWUTS = linux::CLONE_NEWUTS as u64;
        /// System V objects.
        const NEWIPC = linux::CLONE_NEWIPC as u64;
        /// The network.
        const NEWNET = linux::CLONE_NEWNET as u64;
        /// Process numbers.
        const NEWPID = linux::CLONE_NEWPID as u64;
        /// Control groups.
        const NEWCGROUP = linux::CLONE_NEWCGROUP as u64;
    }
}

impl Shares {
    /// Kinds of namespace whose making and joining takes CAP_SYS_ADMIN. (A user namespace takes none.)
    const PRIVILEGED: Self = Self::NEWTIME.union(Self::ABSENT);
    /// Kinds of namespace that do not exist here.
    const ABSENT: Self = Self::NEWNS
        .union(Self::NEWUTS)
        .union(Self::NEWIPC)
        .union(Self::NEWNET)
        .union(Self::NEWPID)
        .union(Self::NEWCGROUP);
    /// All kinds.
    const NAMESPACES: Self = Self::PRIVILEGED.union(Self::NEWUSER);

    /// With what each of them cannot be had without, in this order: a new user namespace needs a process and a root
    /// directory of its own, memory of one's own needs signal actions of one's own, and those a process.
    fn with_implied(mut self) -> Self {
        for (given, implied) in [
            (Self::NEWUSER, Self::THREAD.union(Self::FS)),
            (Self::VM, Self::SIGHAND),
            (Self::SIGHAND, Self::THREAD),
            (Self::NEWNS, Self::FS),
        ] {
            if self.contains(given) {
                self |= implied;
            }
        }
        self
    }
}

fn company(caller: &Caller<'_>) -> Result<Company> {
    let process = caller.task.process();
    let is_only_one = process.thread_count() == 1;
    Ok(Company {
        // A first thread that has exited before the others is still one of the process.
        is_single_threaded: is_only_one && caller.task.id() == process.id(),
        is_alone: is_only_one && !caller.task.shares_memory(),
        owns_file_system_context: !caller.task.shares_filesystem(),
    })
}

fn no_such_kind() -> Errno {
    Errno::EINVAL.because("of the namespaces only time and user namespaces exist here")
}

/// unshare(2). Errors, in this order: EINVAL for other bits; EINVAL for what threads must share; those of copying files
/// and of making a user namespace; EPERM without CAP_SYS_ADMIN; EINVAL for kinds that do not exist; ENOSPC, ENOMEM.
pub fn unshare(caller: &mut Caller<'_>, flags: u64) -> Result<usize> {
    let shares = Shares::from_bits(flags)
        .ok_or_else(|| Errno::EINVAL.because("unshare takes what clone can share, and kinds of namespaces"))?
        .with_implied();
    let company = company(caller)?;
    if shares.intersects(Shares::THREAD | Shares::SIGHAND | Shares::VM) && !company.is_single_threaded
        || shares.contains(Shares::VM) && !company.is_alone
    {
        return Err(Errno::EINVAL.because("threads share memory and signal actions for as long as they live"));
    }
    crate::mm::reserve::check()?;
    let filesystem = if shares.contains(Shares::FS) { Some(caller.filesystem()?.fork()) } else { None };
    let files = if shares.contains(Shares::FILES) { Some(caller.files()?.fork()?) } else { None };
    let before = caller.credentials();
    let user = shares.contains(Shares::NEWUSER).then(|| make_user_namespace(&before, caller)).transpose()?;
    let credentials = user.as_ref().unwrap_or(&before);
    let namespaces = unshared_namespaces(caller, shares, credentials)?;
    // From here on nothing fails.
    if let Some(filesystem) = filesystem {
        caller.task.set_filesystem(filesystem);
    }
    if let Some(files) = files {
        caller.task.set_files(files);
    }
    if let Some(namespaces) = namespaces {
        caller.task.set_namespaces(namespaces);
    }
    if let Some(credentials) = user {
        caller.task.set_credentials(credentials);
    }
    Ok(0)
}

/// The credentials in a new user namespace. Errors: those of making one; EPERM in a root directory that is not the
/// machine's, which being root inside would be a way out of.
fn make_user_namespace(credentials: &Credentials, caller: &Caller<'_>) -> Result<Arc<Credentials>> {
    if fs::mount::is_changed_root(&caller.filesystem()?.root()) {
        return Err(Errno::EPERM.because("a task with a root directory of its own makes no user namespace"));
    }
    let (_namespace, inside) = UserNamespace::create(credentials)?;
    Ok(Arc::new(inside))
}

fn unshared_namespaces(
    caller: &Caller<'_>,
    shares: Shares,
    credentials: &Credentials,
) -> Result<Option<Arc<Namespaces>>> {
    if !shares.intersects(Shares::PRIVILEGED) {
        return Ok(None);
    }
    if !credentials.capable(Capability::SYS_ADMIN) {
        return Err(
            Errno::EPERM.because("making a namespace takes CAP_SYS_ADMIN in the user namespace that owns it")
        );
    }
    if shares.intersects(Shares::ABSENT) {
        return Err(no_such_kind());
    }
    caller.namespaces()?.unshared(credentials).map(Some)
}

/// setns(2) by a namespace's file or by a pidfd. Errors, in this order: EBADF; EINVAL for a file that is neither, or
/// for a kind that is not the file's; for a pidfd EINVAL for a kind that is none, ESRCH when the process has exited,
/// EPERM without permission to look into it; then those of joining.
pub fn setns(caller: &mut Caller<'_>, descriptor: Descriptor, kind: i32) -> Result<usize> {
    let file = caller.file(descriptor)?;
    if let Some(handle) = fs::nsfs::handle(&file) {
        if kind != 0 && kind as u32 != handle.clone_flag() {
            return Err(Errno::EINVAL.because("the file is not of this kind of namespace"));
        }
        return join(caller, &[handle]);
    }
    if let Some(process) = task::pidfd::process(&file) {
        return join(caller, &namespaces_of(&process, kind, caller)?);
    }
    Err(Errno::EINVAL.because("the file is neither a namespace nor a process"))
}

/// The namespaces of a process that a call wants to join, in the order in which they are joined.
fn namespaces_of(process: &Process, kinds: i32, caller: &Caller<'_>) -> Result<alloc::vec::Vec<Handle>> {
    let kinds = Shares::from_bits(kinds as u32 as u64)
        .filter(|kinds| !kinds.is_empty() && Shares::NAMESPACES.contains(*kinds))
        .ok_or_else(|| Errno::EINVAL.because("with a pidfd one says which kinds of namespace to join"))?;
    let gone = || Errno::ESRCH.because("the process has exited");
    let leader = process.leader().ok_or_else(gone)?;
    let own = core::ptr::eq(process, &**caller.task.process());
    if !own && !leader.may_be_inspected_by(&caller.credentials(), Access::Calls) {
        return Err(Errno::EPERM.because("joining a process' namespaces takes permission to look into it"));
    }
    let namespaces = leader.namespaces().ok_or_else(gone)?;
    if kinds.intersects(Shares::ABSENT) {
        return Err(no_such_kind());
    }
    let mut handles = alloc::vec::Vec::new();
    if kinds.contains(Shares::NEWUSER) {
        handles.push(Handle::User(leader.credentials().user_namespace.clone()));
    }
    if kinds.contains(Shares::NEWTIME) {
        handles.push(namespaces.time_handle()?);
    }
    Ok(handles)
}

fn join(caller: &mut Caller<'_>, handles: &[Handle]) -> Result<usize> {
    let company = company(caller)?;
    let before = caller.credentials();
    let mut credentials = before.clone();
    let mut namespaces = None;
    for handle in handles {
        match handle {
            Handle::User(target) => credentials = Arc::new(setns::join_user(target, &credentials, company)?),
            Handle::Time(target) => {
                let home = &credentials.user_namespace;
                let bundle = &*caller.namespaces()?;
                namespaces = Some(setns::join_time(bundle, target, &before, home, company)?);
            }
        }
    }
    // From here on nothing fails.
    if let Some(namespaces) = namespaces {
        caller.space.enter_namespace(namespaces.special_source());
        caller.task.set_namespaces(namespaces);
    }
    if !Arc::ptr_eq(&before, &credentials) {
        if differs_in_power(&before, &credentials) {
            caller.task.forget_parents_rights();
        }
        caller.task.set_credentials(credentials);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_implies_what() {
        let implied = |flags: Shares| flags.with_implied();
        assert_eq!(implied(Shares::NEWTIME), Shares::NEWTIME, "allowed with threads");
        assert_eq!(implied(Shares::VM), Shares::VM | Shares::SIGHAND | Shares::THREAD);
        assert_eq!(implied(Shares::NEWUSER), Shares::NEWUSER | Shares::THREAD | Shares::FS);
        assert_eq!(implied(Shares::NEWNS), Shares::NEWNS | Shares::FS);
    }

    #[test]
    fn only_what_can_be_unshared_is_a_flag() {
        for bits in [0x81, 1 << 32, linux::CLONE_VFORK as u64, linux::CLONE_PARENT as u64] {
            assert!(Shares::from_bits(bits).is_none(), "{bits:#x}");
        }
    }
}

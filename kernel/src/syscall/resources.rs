//! What processes may use and have used: getrlimit(2), getrusage(2), times(2), and personality(2).

use super::{Caller, process::UserUsage};
use crate::{
    abi::{Errno, Result, TaskId, UserPointer, linux},
    ns::{Capability, Credentials},
    task::{Limit, Process, Resource, Task, Usage, cpu_time::TICKS_PER_SECOND, execve::memory_limits, table},
    time::{self, HostClock},
};
use alloc::sync::Arc;

/// The most descriptors that can be allowed, `/proc/sys/fs/nr_open`.
const MOST_DESCRIPTORS: u64 = 1 << 20;

fn change(caller: &Caller<'_>, process: &Arc<Process>, resource: Resource, new: Limit) -> Result<()> {
    if new.soft > new.hard {
        return Err(Errno::EINVAL.because("a soft limit is at most the hard one"));
    }
    if resource == Resource::NOFILE && new.hard > MOST_DESCRIPTORS {
        return Err(Errno::EPERM.because("no process has more than nr_open descriptors"));
    }
    let raises = new.hard > process.limit(resource).hard;
    if raises && !caller.credentials().capable_globally(Capability::SYS_RESOURCE) {
        return Err(Errno::EPERM.because("raising a hard limit takes CAP_SYS_RESOURCE"));
    }
    process.set_limit(resource, new);
    if let Some(thread) = process.any_thread()
        && let Some(space) = thread.space()
    {
        space.set_limits(memory_limits(process, &thread.credentials()));
    }
    Ok(())
}

/// getrlimit(2). Errors: EINVAL, EFAULT.
pub fn getrlimit(caller: &mut Caller<'_>, resource: u32, into: UserPointer<Limit>) -> Result<usize> {
    let limit = caller.task.process().limit(Resource::new(resource)?);
    caller.space.write(into, &limit)?;
    Ok(0)
}

/// setrlimit(2). Errors: EFAULT, EINVAL, EPERM.
pub fn setrlimit(caller: &mut Caller<'_>, resource: u32, from: UserPointer<Limit>) -> Result<usize> {
    let new = caller.space.read(from)?;
    change(caller, caller.task.process(), Resource::new(resource)?, new)?;
    Ok(0)
}

/// Errors: EPERM unless the ids are all the same, or with CAP_SYS_RESOURCE over it.
fn may_limit(own: &Credentials, other: &Credentials) -> Result<()> {
    let same = [other.uid, other.euid, other.suid] == [own.uid; 3]
        && [other.gid, other.egid, other.sgid] == [own.gid; 3];
    match same || own.capable_in(&other.user_namespace, Capability::SYS_RESOURCE) {
        true => Ok(()),
        false => Err(Errno::EPERM.because("another user's limits take CAP_SYS_RESOURCE")),
    }
}

/// prlimit(2). Errors, in this order: EFAULT, ESRCH, EPERM, EINVAL; EFAULT for the old limit, the new one set already.
pub fn prlimit64(
    caller: &mut Caller<'_>,
    id: i32,
    resource: u32,
    new: UserPointer<Limit>,
    old: UserPointer<Limit>,
) -> Result<usize> {
    let new = new.optional().map(|new| caller.space.read(new)).transpose()?;
    let task: Arc<Task> = match id {
        0 => caller.task.clone(),
        _ => table::task(id as TaskId).ok_or_else(|| Errno::ESRCH.because("there is no such process"))?,
    };
    if !Arc::ptr_eq(&task, caller.task) {
        may_limit(&caller.credentials(), &task.credentials())?;
    }
    let resource = Resource::new(resource)?;
    let before = task.process().limit(resource);
    if let Some(new) = new {
        change(caller, task.process(), resource, new)?;
    }
    if let Some(old) = old.optional() {
        caller.space.write(old, &before)?;
    }
    Ok(0)
}

/// getrusage(2). Errors: EINVAL, EFAULT.
pub fn getrusage(caller: &mut Caller<'_>, who: i32, into: UserPointer<UserUsage>) -> Result<usize> {
    const OWN: i32 = linux::RUSAGE_SELF as i32;
    const THREAD: i32 = linux::RUSAGE_THREAD as i32;
    let largest_resident = (caller.space.statistics().peak_resident * crate::arch::PAGE_SIZE / 1024) as u64;
    let mut usage = match who {
        OWN => caller.task.process().usage(),
        THREAD => caller.task.usage(),
        linux::RUSAGE_CHILDREN => caller.task.process().child_usage(),
        _ => return Err(Errno::EINVAL.because("usage is a process', a thread's or the children's")),
    };
    if who != linux::RUSAGE_CHILDREN {
        usage += Usage { largest_resident, ..Usage::default() };
    }
    caller.space.write(into, &UserUsage::from(usage))?;
    Ok(0)
}

/// times(2): gives the ticks since boot, of the host in every namespace. Errors: EFAULT.
pub fn times(caller: &mut Caller<'_>, into: UserPointer<[u64; 4]>) -> Result<usize> {
    let process = caller.task.process();
    if let Some(into) = into.optional() {
        let (user, system) = process.times().ticks();
        let (children_user, children_system) = process.child_usage().times.ticks();
        caller.space.write(into, &[user, system, children_user, children_system])?;
    }
    let second = crate::abi::NANOSECONDS_PER_SECOND;
    Ok(time::now(HostClock::Monotonic) as usize / (second / TICKS_PER_SECOND) as usize)
}

/// personality(2): kept and reported; but for ADDR_NO_RANDOMIZE all behave alike. `0xffffffff` only asks.
pub fn personality(caller: &mut Caller<'_>, wanted: u32) -> Result<usize> {
    let before = caller.task.personality();
    if wanted != u32::MAX {
        caller.task.set_personality(wanted);
    }
    Ok(before as usize)
}

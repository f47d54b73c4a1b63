//! Who runs when and where: policies, priorities and affinity, sched(7).
//!
//! Here they are checked, kept and reported, as on Linux; what they bring about is [`task::sched`]'s and
//! [`task::policy`]'s. Affinity means nothing while one CPU runs.

use super::Caller;
use crate::{
    abi::{Errno, Result, TaskId, Timespec, UserPointer, linux},
    arch::{Hardware, Machine, PAGE_SIZE},
    ns::Capability,
    task::{self, Process, Resource, Task, policy::Policy, table},
    time::TICK,
};
use alloc::{sync::Arc, vec::Vec};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// The CPUs that run: the first.
const ONLINE: u64 = 1;
/// Real-time priorities.
const REAL_TIME: core::ops::RangeInclusive<u32> = 1..=99;
/// What getpriority(2) counts down from, so that its results are never negative.
const NICE_BASE: i32 = 20;

fn no_such_task() -> Errno {
    Errno::ESRCH.because("there is no such task")
}

/// The task of this number, the caller for 0. Errors: EINVAL for a negative number; ESRCH.
fn task_of(caller: &Caller<'_>, id: i32) -> Result<Arc<Task>> {
    match TaskId::try_from(id) {
        Ok(0) => Ok(caller.task.clone()),
        Ok(id) => table::task(id).ok_or_else(no_such_task),
        Err(_) => Err(Errno::EINVAL.because("tasks have positive numbers")),
    }
}

fn is_nice(caller: &Caller<'_>, task: &Task) -> bool {
    caller.credentials().capable_in(&task.credentials().user_namespace, Capability::SYS_NICE)
}

/// Errors: EPERM for another user's task without CAP_SYS_NICE.
fn must_own(caller: &Caller<'_>, task: &Task) -> Result<()> {
    let (own, theirs) = (caller.credentials(), task.credentials());
    match [theirs.uid, theirs.euid].contains(&own.euid) || is_nice(caller, task) {
        true => Ok(()),
        false => Err(Errno::EPERM.because("another user's tasks are scheduled by CAP_SYS_NICE only")),
    }
}

/// sched_yield(2).
pub async fn sched_yield(caller: &mut Caller<'_>) -> Result<usize> {
    task::wait::turn(caller.task, caller.user).await;
    Ok(0)
}

/// Sets how a task is scheduled. Errors: EINVAL for an unknown policy or a priority that it does not have; EPERM.
fn set_policy(caller: &Caller<'_>, task: &Task, wanted: Policy) -> Result<usize> {
    let known =
        [linux::SCHED_NORMAL, linux::SCHED_FIFO, linux::SCHED_RR, linux::SCHED_BATCH, linux::SCHED_IDLE];
    let fits =
        if wanted.is_real_time() { REAL_TIME.contains(&wanted.priority) } else { wanted.priority == 0 };
    if !known.contains(&wanted.policy) || !fits {
        return Err(Errno::EINVAL.because("real-time policies have priorities 1 to 99, others 0"));
    }
    let before = task.policy();
    if !is_nice(caller, task) {
        let limit = task.process().limit(Resource::RTPRIO).soft;
        let rises = wanted.is_real_time()
            && (wanted.policy != before.policy && limit == 0
                || wanted.priority > before.priority && u64::from(wanted.priority) > limit);
        let drops_reset = before.reset_on_fork && !wanted.reset_on_fork;
        let leaves_idle = before.policy == linux::SCHED_IDLE
            && wanted.policy != linux::SCHED_IDLE
            && !may_be_nice(task, before.nice);
        if rises || drops_reset || leaves_idle || wanted.nice < before.nice && !may_be_nice(task, wanted.nice)
        {
            return Err(Errno::EPERM.because("a better place in the schedule takes CAP_SYS_NICE or a limit"));
        }
        must_own(caller, task)?;
    }
    task.set_policy(wanted);
    Ok(0)
}

/// Takes SCHED_RESET_ON_FORK off a policy. Errors: EINVAL for a negative one.
fn split(policy: i32) -> Result<(u32, bool)> {
    let policy = u32::try_from(policy).map_err(|_| Errno::EINVAL)?;
    let reset = policy & linux::SCHED_RESET_ON_FORK != 0;
    Ok((policy & !linux::SCHED_RESET_ON_FORK, reset))
}

/// sched_setscheduler(2). Errors: EINVAL, EFAULT, ESRCH, EPERM.
pub fn sched_setscheduler(
    caller: &mut Caller<'_>,
    id: i32,
    policy: i32,
    parameters: UserPointer<u32>,
) -> Result<usize> {
    let (policy, reset_on_fork) = split(policy)?;
    if parameters.is_null() || id < 0 {
        return Err(Errno::EINVAL.because("a policy comes with its parameters"));
    }
    let priority = caller.space.read(parameters)?;
    let task = task_of(caller, id)?;
    set_policy(caller, &task, Policy { policy, priority, reset_on_fork, ..task.policy() })
}

/// sched_getscheduler(2). Errors: EINVAL, ESRCH.
pub fn sched_getscheduler(caller: &mut Caller<'_>, id: i32) -> Result<usize> {
    let policy = task_of(caller, id)?.policy();
    Ok((policy.policy | if policy.reset_on_fork { linux::SCHED_RESET_ON_FORK } else { 0 }) as usize)
}

/// sched_setparam(2). Errors: EINVAL, EFAULT, ESRCH, EPERM.
pub fn sched_setparam(caller: &mut Caller<'_>, id: i32, parameters: UserPointer<u32>) -> Result<usize> {
    if parameters.is_null() || id < 0 {
        return Err(Errno::EINVAL.because("there are parameters to set"));
    }
    let priority = caller.space.read(parameters)?;
    let task = task_of(caller, id)?;
    set_policy(caller, &task, Policy { priority, ..task.policy() })
}

/// sched_getparam(2). Errors: EINVAL, ESRCH, EFAULT.
pub fn sched_getparam(caller: &mut Caller<'_>, id: i32, into: UserPointer<u32>) -> Result<usize> {
    if into.is_null() {
        return Err(Errno::EINVAL.because("there is somewhere to put the parameters"));
    }
    caller.space.write(into, &task_of(caller, id)?.policy().priority)?;
    Ok(0)
}

fn priorities(policy: i32) -> Result<(u32, u32)> {
    match policy as u32 {
        linux::SCHED_FIFO | linux::SCHED_RR => Ok((*REAL_TIME.start(), *REAL_TIME.end())),
        linux::SCHED_NORMAL | linux::SCHED_BATCH | linux::SCHED_IDLE | linux::SCHED_DEADLINE => Ok((0, 0)),
        _ => Err(Errno::EINVAL.because("no policy has this number")),
    }
}

/// sched_get_priority_max(2). Errors: EINVAL.
pub fn sched_get_priority_max(_caller: &mut Caller<'_>, policy: i32) -> Result<usize> {
    priorities(policy).map(|(_, highest)| highest as usize)
}

/// sched_get_priority_min(2). Errors: EINVAL.
pub fn sched_get_priority_min(_caller: &mut Caller<'_>, policy: i32) -> Result<usize> {
    priorities(policy).map(|(lowest, _)| lowest as usize)
}

/// sched_rr_get_interval(2): a task's slice; 0, which means no end, with SCHED_FIFO. Errors: EINVAL, ESRCH,
/// EFAULT.
pub fn sched_rr_get_interval(caller: &mut Caller<'_>, id: i32, into: UserPointer<Timespec>) -> Result<usize> {
    let policy = task_of(caller, id)?.policy();
    let slice = if policy.has_slices() { TICK * i64::from(policy.share().ticks) } else { 0 };
    caller.space.write(into, &Timespec::from_nanoseconds(slice))?;
    Ok(0)
}

/// sched_setaffinity(2). Errors: EFAULT; ESRCH; EPERM; EINVAL when none of the CPUs is there.
pub fn sched_setaffinity(caller: &mut Caller<'_>, id: i32, length: usize, from: usize) -> Result<usize> {
    let mut bytes = [0; size_of::<u64>()];
    let given = length.min(bytes.len());
    caller.space.read_bytes(from, &mut bytes[..given])?;
    let task = TaskId::try_from(id).map_err(|_| no_such_task()).and_then(|_| task_of(caller, id))?;
    must_own(caller, &task)?;
    let mask = u64::from_ne_bytes(bytes);
    if mask & ONLINE == 0 {
        return Err(Errno::EINVAL.because("a task needs a CPU that is there"));
    }
    task.set_affinity(mask);
    Ok(0)
}

/// sched_getaffinity(2): gives the size of the kernel's own mask. Errors: EINVAL for a mask that is too small or no multiple
/// of eight bytes; ESRCH; EFAULT.
pub fn sched_getaffinity(caller: &mut Caller<'_>, id: i32, length: usize, into: usize) -> Result<usize> {
    const WORD: usize = size_of::<u64>();
    if length < WORD || !length.is_multiple_of(WORD) {
        return Err(Errno::EINVAL.because("a CPU mask has whole words"));
    }
    let task = TaskId::try_from(id).map_err(|_| no_such_task()).and_then(|_| task_of(caller, id))?;
    caller.space.write(UserPointer::new(into), &(task.affinity() & ONLINE))?;
    Ok(WORD)
}

/// getcpu(2): CPU and memory node; either pointer may be NULL. Errors: EFAULT.
pub fn getcpu(caller: &mut Caller<'_>, cpu: UserPointer<u32>, node: UserPointer<u32>) -> Result<usize> {
    if let Some(cpu) = cpu.optional() {
        caller.space.write(cpu, &(Hardware::cpu_number() as u32))?;
    }
    if let Some(node) = node.optional() {
        caller.space.write(node, &0)?;
    }
    Ok(0)
}

/// `struct sched_attr`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    utilization: [u32; 2],
}

/// The size of [`Attributes`] when it was new.
const FIRST_SIZE: usize = 48;

/// sched_getattr(2). Errors: EINVAL for flags, a number or a size that make no sense; ESRCH; EFAULT.
pub fn sched_getattr(caller: &mut Caller<'_>, id: i32, into: usize, size: u32, flags: u32) -> Result<usize> {
    let room = size as usize;
    if into == 0 || flags != 0 || !(FIRST_SIZE..=PAGE_SIZE).contains(&room) {
        return Err(Errno::EINVAL.because("there is room for the attributes"));
    }
    let policy = task_of(caller, id)?.policy();
    let mut attributes = Attributes::new_zeroed();
    let length = room.min(size_of::<Attributes>());
    (attributes.size, attributes.policy) = (length as u32, policy.policy);
    attributes.flags = if policy.reset_on_fork { linux::SCHED_FLAG_RESET_ON_FORK.into() } else { 0 };
    (attributes.nice, attributes.priority) = (policy.nice, policy.priority);
    caller.space.write_bytes(into, &attributes.as_bytes()[..length])?;
    Ok(0)
}

/// sched_setattr(2). Errors: EINVAL; E2BIG for more than is known here; EFAULT; ESRCH; EPERM.
pub fn sched_setattr(caller: &mut Caller<'_>, id: i32, from: usize, flags: u32) -> Result<usize> {
    if from == 0 || flags != 0 || id < 0 {
        return Err(Errno::EINVAL.because("there are attributes to set"));
    }
    let size = match caller.space.read(UserPointer::<u32>::new(from))? as usize {
        0 => FIRST_SIZE,
        size => size,
    };
    let known = size_of::<Attributes>();
    let mut attributes = Attributes::new_zeroed();
    let too_big = |space: &crate::mm::AddressSpace| -> Result<bool> {
        let rest = space.read_array::<u8>(UserPointer::new(from + known), size.saturating_sub(known))?;
        Ok(rest.iter().any(|&byte| byte != 0))
    };
    if !(FIRST_SIZE..=PAGE_SIZE).contains(&size) || too_big(&caller.space)? {
        caller.space.write(UserPointer::new(from), &(known as u32))?;
        return Err(Errno::E2BIG.because("the attributes are of a size that is not known here"));
    }
    caller.space.read_bytes(from, &mut attributes.as_mut_bytes()[..size.min(known)])?;
    let kept = u64::from(linux::SCHED_FLAG_KEEP_ALL);
    let reset = u64::from(linux::SCHED_FLAG_RESET_ON_FORK);
    if attributes.flags & !(kept | reset) != 0 || attributes.policy > i32::MAX as u32 {
        return Err(Errno::EINVAL.because("these attributes mean nothing here"));
    }
    let task = task_of(caller, id)?;
    let before = task.policy();
    let keeps = |flag: u32| attributes.flags & u64::from(flag) != 0;
    let mut wanted = Policy {
        policy: attributes.policy,
        priority: attributes.priority,
        nice: attributes.nice.clamp(-20, 19),
        reset_on_fork: attributes.flags & reset != 0,
    };
    if keeps(linux::SCHED_FLAG_KEEP_POLICY) {
        wanted.policy = before.policy;
    }
    if keeps(linux::SCHED_FLAG_KEEP_PARAMS) {
        (wanted.priority, wanted.nice) = (before.priority, before.nice);
    }
    set_policy(caller, &task, wanted)
}

/// The tasks that getpriority(2) and setpriority(2) are about. Errors: EINVAL; ESRCH for none.
fn tasks_of(caller: &Caller<'_>, kind: i32, who: i32) -> Result<Vec<Arc<Task>>> {
    let tasks: Vec<Arc<Task>> = match kind as u32 {
        linux::PRIO_PROCESS => task_of(caller, who).ok().into_iter().collect(),
        linux::PRIO_PGRP => {
            let group = if who == 0 { caller.task.process().group_id() } else { who as TaskId };
            table::group_members(group).iter().flat_map(|process| process.threads()).collect()
        }
        linux::PRIO_USER => {
            let credentials = caller.credentials();
            let user =
                if who == 0 { Some(credentials.uid) } else { credentials.user_namespace.user(who as u32) };
            let theirs = |task: &Arc<Task>| Some(task.credentials().uid) == user;
            all_processes().flat_map(|process| process.threads()).filter(theirs).collect()
        }
        _ => return Err(Errno::EINVAL.because("priorities are a process', a group's or a user's")),
    };
    if tasks.is_empty() { Err(no_such_task()) } else { Ok(tasks) }
}

fn all_processes() -> impl Iterator<Item = Arc<Process>> {
    core::iter::successors(table::next_process(0), |process| table::next_process(process.id()))
}

/// getpriority(2): 20 less the lowest nice value, so that it is no error. Errors: EINVAL, ESRCH.
pub fn getpriority(caller: &mut Caller<'_>, kind: i32, who: i32) -> Result<usize> {
    let tasks = tasks_of(caller, kind, who)?;
    let lowest = tasks.iter().map(|task| task.policy().nice).min().unwrap_or(0);
    Ok((NICE_BASE - lowest) as usize)
}

fn may_be_nice(task: &Task, nice: i32) -> bool {
    (NICE_BASE - nice) as u64 <= task.process().limit(Resource::NICE).soft
}

/// setpriority(2). Errors: EINVAL, ESRCH; EPERM for another user's; EACCES for a lower value without CAP_SYS_NICE.
pub fn setpriority(caller: &mut Caller<'_>, kind: i32, who: i32, nice: i32) -> Result<usize> {
    let nice = nice.clamp(-20, 19);
    let mut outcome = Ok(0);
    for task in tasks_of(caller, kind, who)? {
        let before = task.policy();
        let one = must_own(caller, &task).and_then(|()| {
            if nice < before.nice && !may_be_nice(&task, nice) && !is_nice(caller, &task) {
                return Err(Errno::EACCES.because("a lower nice value takes CAP_SYS_NICE or RLIMIT_NICE"));
            }
            task.set_policy(Policy { nice, ..before });
            Ok(0)
        });
        outcome = outcome.and(one);
    }
    outcome
}

/// ioprio_get(2). There is no disk to wait for; what was set is kept. Errors: EINVAL, ESRCH.
pub fn ioprio_get(caller: &mut Caller<'_>, kind: i32, who: i32) -> Result<usize> {
    let tasks = tasks_of(caller, kind - 1, who)?;
    Ok(tasks.iter().map(|task| task.io_priority()).max().unwrap_or(0) as usize)
}

/// ioprio_set(2). Errors: EINVAL for an unknown class; EPERM; ESRCH.
pub fn ioprio_set(caller: &mut Caller<'_>, kind: i32, who: i32, priority: u32) -> Result<usize> {
    const REAL_TIME_CLASS: u32 = 1;
    const CLASSES: u32 = 4;
    let class = priority >> 13;
    if class >= CLASSES {
        return Err(Errno::EINVAL.because("there are four classes"));
    }
    if class == REAL_TIME_CLASS && !caller.credentials().capable_globally(Capability::SYS_NICE) {
        return Err(Errno::EPERM.because("the real-time class takes CAP_SYS_NICE"));
    }
    for task in tasks_of(caller, kind - 1, who)? {
        must_own(caller, &task)?;
        task.set_io_priority(priority);
    }
    Ok(0)
}

/// membarrier(2): with one CPU, every switch to another task is a barrier already.
///
/// Errors: EINVAL; EPERM for what must be registered first.
pub fn membarrier(caller: &mut Caller<'_>, command: u32, flags: u32) -> Result<usize> {
    const QUERY: u32 = 0;
    const GLOBAL: u32 = 1;
    const PRIVATE: u32 = 8;
    const REGISTER_PRIVATE: u32 = 16;
    if flags != 0 {
        return Err(Errno::EINVAL.because("membarrier has no flags here"));
    }
    let process = caller.task.process();
    match command {
        QUERY => Ok((GLOBAL | PRIVATE | REGISTER_PRIVATE) as usize),
        GLOBAL => Ok(0),
        REGISTER_PRIVATE => {
            process.register_for_barriers();
            Ok(0)
        }
        PRIVATE if process.is_registered_for_barriers() => Ok(0),
        PRIVATE => Err(Errno::EPERM.because("a process registers before it uses private barriers")),
        _ => Err(Errno::EINVAL.because("this barrier does not exist here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_the_size_of_linux() {
        assert_eq!(size_of::<Attributes>(), 56);
    }

    #[test]
    fn only_real_time_policies_have_priorities() {
        assert_eq!(priorities(1), Ok((1, 99)));
        assert_eq!((priorities(0), priorities(6)), (Ok((0, 0)), Ok((0, 0))));
        assert_eq!((priorities(4).err(), priorities(-1).err()), (Some(Errno::EINVAL), Some(Errno::EINVAL)));
    }
}

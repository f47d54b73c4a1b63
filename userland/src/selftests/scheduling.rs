//! How tasks are to be scheduled: nice values, policies, affinity, I/O priorities, barriers. All is kept and told.

use super::support::{become_nobody, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, equal, holds, in_child, refused, within};
use crate::system::errno::Errno;
use crate::system::time::{SECOND, nanoseconds};

const NOBODY_HAS: i32 = 4_000_000;

/// 20 less the nice value, as the kernel tells it.
fn priority() -> Result<usize, Errno> {
    call!(libc::SYS_getpriority, libc::PRIO_PROCESS, 0)
}

fn set_nice(nice: i32) -> Result<usize, Errno> {
    call!(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice)
}

fn set_policy(policy: i32, priority: u32) -> Result<usize, Errno> {
    call!(libc::SYS_sched_setscheduler, 0, policy, &priority)
}

fn policy() -> Result<usize, Errno> {
    call!(libc::SYS_sched_getscheduler, 0)
}

fn real_time_priority() -> Result<u32, Errno> {
    let mut priority = 0u32;
    call!(libc::SYS_sched_getparam, 0, &mut priority).map(|_| priority)
}

pub fn cases(plan: &mut Plan) {
    nice_values(plan);
    policies(plan);
    attributes(plan);
    places(plan);
    others(plan);
}

fn nice_values(plan: &mut Plan) {
    plan.case("setpriority: a nice value is kept, cut to -20 and 19, and inherited", || {
        needs_root()?;
        for (wanted, kept) in [(5, 15), (100, 1), (-100, 40), (0, 20)] {
            set_nice(wanted).step("setpriority")?;
            equal("getpriority", priority(), Ok(kept))?;
        }
        set_nice(7)?;
        in_child(|| equal("the child's", priority(), Ok(13)))?;
        let group = call!(libc::SYS_getpriority, libc::PRIO_PGRP, 0);
        holds(group.is_ok_and(|group| group >= 13), || format!("the group's best is {group:?}"))?;
        let user = call!(libc::SYS_getpriority, libc::PRIO_USER, 0);
        holds(user.is_ok_and(|user| user >= 13), || format!("the user's best is {user:?}"))?;
        refused("no kind", call!(libc::SYS_getpriority, 3, 0), Errno::EINVAL)?;
        refused("nobody", call!(libc::SYS_setpriority, libc::PRIO_PROCESS, NOBODY_HAS, 0), Errno::ESRCH)
    });
    plan.case("without CAP_SYS_NICE a nice value only rises, and only one's own", || {
        needs_root()?;
        become_nobody()?;
        set_nice(3).step("rising")?;
        refused("falling", set_nice(2), Errno::EACCES)?;
        refused("init's", call!(libc::SYS_setpriority, libc::PRIO_PROCESS, 1, 19), Errno::EPERM)
    });
}

fn policies(plan: &mut Plan) {
    plan.case("each policy has its priorities: 1 to 99 for the real-time ones, 0 for the others", || {
        let bounds = |policy: i32| {
            let lowest = call!(libc::SYS_sched_get_priority_min, policy);
            (lowest, call!(libc::SYS_sched_get_priority_max, policy))
        };
        for policy in [libc::SCHED_FIFO, libc::SCHED_RR] {
            equal("bounds", bounds(policy), (Ok(1), Ok(99)))?;
        }
        for policy in [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE] {
            equal("bounds", bounds(policy), (Ok(0), Ok(0)))?;
        }
        equal("of no policy", bounds(99), (Err(Errno::EINVAL), Err(Errno::EINVAL)))
    });
    plan.case("sched_setscheduler and sched_setparam: a policy is kept with its priority", || {
        needs_root()?;
        equal("at first", (policy(), real_time_priority()), (Ok(0), Ok(0)))?;
        set_policy(libc::SCHED_BATCH, 0).step("SCHED_BATCH")?;
        equal("then", (policy(), real_time_priority()), (Ok(libc::SCHED_BATCH as usize), Ok(0)))?;
        set_policy(libc::SCHED_RR, 10).step("SCHED_RR")?;
        equal("then", (policy(), real_time_priority()), (Ok(libc::SCHED_RR as usize), Ok(10)))?;
        call!(libc::SYS_sched_setparam, 0, &11u32).step("sched_setparam")?;
        equal("then", (policy(), real_time_priority()), (Ok(libc::SCHED_RR as usize), Ok(11)))?;
        in_child(|| equal("the child's", policy(), Ok(libc::SCHED_RR as usize)))?;
        set_policy(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1).step("SCHED_FIFO")?;
        in_child(|| equal("the child's", policy(), Ok(libc::SCHED_OTHER as usize)))?;
        refused("a priority too high", set_policy(libc::SCHED_FIFO, 100), Errno::EINVAL)?;
        refused("none where there is one", set_policy(libc::SCHED_FIFO, 0), Errno::EINVAL)?;
        refused("one where there is none", set_policy(libc::SCHED_OTHER, 1), Errno::EINVAL)?;
        refused("no policy", set_policy(99, 0), Errno::EINVAL)?;
        refused("nobody", call!(libc::SYS_sched_getscheduler, NOBODY_HAS), Errno::ESRCH)?;
        set_policy(libc::SCHED_OTHER, 0).step("SCHED_OTHER")?;
        become_nobody()?;
        refused("real time for nobody", set_policy(libc::SCHED_FIFO, 1), Errno::EPERM)?;
        set_policy(libc::SCHED_IDLE, 0).step("SCHED_IDLE")?;
        refused("back from it", set_policy(libc::SCHED_OTHER, 0), Errno::EPERM)
    });
    plan.case(
        "sched_rr_get_interval: a slice of less than a second with SCHED_RR, no end with SCHED_FIFO",
        || {
            needs_root()?;
            let mut slice = libc::timespec { tv_sec: -1, tv_nsec: -1 };
            set_policy(libc::SCHED_RR, 1).step("SCHED_RR")?;
            call!(libc::SYS_sched_rr_get_interval, 0, &mut slice).step("sched_rr_get_interval")?;
            within("the slice", nanoseconds(&slice), 1, SECOND)?;
            set_policy(libc::SCHED_FIFO, 1).step("SCHED_FIFO")?;
            call!(libc::SYS_sched_rr_get_interval, 0, &mut slice).step("sched_rr_get_interval")?;
            equal("the slice", nanoseconds(&slice), 0)?;
            refused("nobody's", call!(libc::SYS_sched_rr_get_interval, NOBODY_HAS, &mut slice), Errno::ESRCH)
        },
    );
}

/// `struct sched_attr` in its first size, and room for what a later kernel may add.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    times: [u64; 3],
    beyond: [u64; 4],
}

fn attributes(plan: &mut Plan) {
    plan.case("sched_setattr and sched_getattr: policy, priority and nice value in one structure", || {
        needs_root()?;
        let set = |attributes: &Attributes| call!(libc::SYS_sched_setattr, 0, attributes, 0);
        let get = || {
            let mut attributes = Attributes::default();
            call!(libc::SYS_sched_getattr, 0, &mut attributes, 48, 0).map(|_| attributes)
        };
        set(&Attributes { size: 48, nice: 4, ..Attributes::default() }).step("sched_setattr")?;
        let told = get().step("sched_getattr")?;
        equal("size, policy, nice", (told.size, told.policy, told.nice), (48, 0, 4))?;
        equal("getpriority", priority(), Ok(16))?;
        let round_robin = libc::SCHED_RR as u32;
        set(&Attributes { size: 48, policy: round_robin, priority: 9, ..Attributes::default() })
            .step("SCHED_RR")?;
        let told = get().step("sched_getattr")?;
        equal("policy, priority", (told.policy, told.priority), (round_robin, 9))?;
        let mut beyond = Attributes { size: 88, ..Attributes::default() };
        beyond.beyond[3] = 1;
        refused("something nobody knows", set(&beyond), Errno::E2BIG)?;
        let short = call!(libc::SYS_sched_getattr, 0, &mut beyond, 47, 0);
        refused("too little room", short, Errno::EINVAL)?;
        refused("flags", call!(libc::SYS_sched_getattr, 0, &mut beyond, 48, 1), Errno::EINVAL)?;
        refused("nobody", call!(libc::SYS_sched_getattr, NOBODY_HAS, &mut beyond, 48, 0), Errno::ESRCH)
    });
}

fn places(plan: &mut Plan) {
    plan.case("sched_setaffinity: of the CPUs asked for those that are there", || {
        let set = |words: &[u64; 16]| call!(libc::SYS_sched_setaffinity, 0, 128, words.as_ptr());
        let get = || {
            let mut words = [0u64; 128];
            call!(libc::SYS_sched_getaffinity, 0, 1024, words.as_mut_ptr()).map(|_| words)
        };
        let present = get().step("sched_getaffinity")?;
        let word = present.iter().position(|word| *word != 0).step("a CPU")?;
        let first = present[word] & present[word].wrapping_neg();
        let mut one = [0; 16];
        one[word] = first;
        set(&one).step("the first of them")?;
        equal("sched_getaffinity", get().map(|words| words[word]), Ok(first))?;
        in_child(|| equal("the child's", get().map(|words| words[word]), Ok(first)))?;
        refused("none", set(&[0; 16]), Errno::EINVAL)?;
        refused(
            "none that is there",
            set(&{
                let mut far = [0; 16];
                far[15] = 1 << 63;
                far
            }),
            Errno::EINVAL,
        )?;
        refused("nobody", call!(libc::SYS_sched_setaffinity, NOBODY_HAS, 128, &one), Errno::ESRCH)
    });
}

fn others(plan: &mut Plan) {
    plan.case("ioprio_set: class and level are kept", || {
        const PROCESS: i32 = 1;
        let set = |priority: u32| call!(libc::SYS_ioprio_set, PROCESS, 0, priority);
        let best_effort = 2 << 13 | 3;
        set(best_effort).step("best effort")?;
        equal("ioprio_get", call!(libc::SYS_ioprio_get, PROCESS, 0), Ok(best_effort as usize))?;
        set(3 << 13).step("idle")?;
        equal("ioprio_get", call!(libc::SYS_ioprio_get, PROCESS, 0), Ok(3 << 13))?;
        refused("no class", set(7 << 13), Errno::EINVAL)?;
        refused("no kind", call!(libc::SYS_ioprio_get, 9, 0), Errno::EINVAL)?;
        refused("nobody", call!(libc::SYS_ioprio_get, PROCESS, NOBODY_HAS), Errno::ESRCH)
    });
    plan.case("membarrier: a process registers before it uses private barriers", || {
        let barrier = |command: i32| call!(libc::SYS_membarrier, command, 0, 0);
        let all = barrier(libc::MEMBARRIER_CMD_QUERY).step("MEMBARRIER_CMD_QUERY")?;
        let private = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED;
        let register = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
        let wanted = (private | register) as usize;
        holds(all & wanted == wanted, || format!("there are only {all:#x}"))?;
        refused("unregistered", barrier(private), Errno::EPERM)?;
        equal("registering", barrier(register), Ok(0))?;
        equal("then", barrier(private), Ok(0))?;
        refused("no command", barrier(1 << 30), Errno::EINVAL)
    });
    plan.case("personality: told, kept, inherited", || {
        const ASK: u32 = u32::MAX;
        const NO_RANDOM_ADDRESSES: u32 = 0x4_0000;
        let before = call!(libc::SYS_personality, ASK).step("personality")?;
        let set = call!(libc::SYS_personality, NO_RANDOM_ADDRESSES);
        equal("the one before", set, Ok(before))?;
        let now = || -> Outcome {
            equal("now", call!(libc::SYS_personality, ASK), Ok(NO_RANDOM_ADDRESSES as usize))
        };
        now()?;
        in_child(now)
    });
}

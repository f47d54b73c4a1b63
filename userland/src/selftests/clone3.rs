//! clone3(2): what it refuses and in which order, and what CLONE_NEWTIME makes of the child.
//!
//! The order is visible: a call with two mistakes must report the one that is checked first. After the checks,
//! namespaces are made before the process id is, so a fork that fails late has already frozen a pending namespace.

use super::support::{
    self, Base, FAR, is_frozen, is_not_frozen, needs_root, slots, slots_are, slots_of, unshared,
};
use crate::call;
use crate::ktap::{Plan, Running, Step, equal, holds, refused};
use crate::system::clone::{self, CloneArguments, SIZE, Stack};
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::namespace::{self, CLONE_NEWTIME};
use crate::system::process;
use std::sync::atomic::{AtomicI32, Ordering};

const NEWTIME: u64 = CLONE_NEWTIME as u64;
const INTO_CGROUP: u64 = 0x2_0000_0000;
const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// An address that no user memory can have on x86-64 with four-level paging.
const NOT_USER: u64 = 0xffff_8000_0000_0000;

/// Calls clone3 with a size; a child that should not exist leaves at once and is reaped.
fn attempt(arguments: usize, size: usize) -> Result<i32, Errno> {
    let child = call!(libc::SYS_clone3, arguments, size)? as i32;
    if child == 0 {
        process::exit(0);
    }
    let _ = process::wait_with(child, libc::__WALL);
    Ok(child)
}

fn attempt_with(arguments: &CloneArguments) -> Result<i32, Errno> {
    attempt(std::ptr::from_ref(arguments) as usize, SIZE)
}

fn fork_like() -> CloneArguments {
    CloneArguments { exit_signal: libc::SIGCHLD as u64, ..CloneArguments::default() }
}

/// A change to the arguments of a plain fork.
type Change = fn(&mut CloneArguments);

/// The mistakes: what is wrong, the change that makes it so, and the answer. In the order in which they are checked.
const MISTAKES: &[(&str, Change, Errno)] = &[
    ("set_tid_size above 32", |a| (a.set_tid, a.set_tid_size) = (NOT_USER, 33), Errno::EINVAL),
    ("set_tid null with a size", |a| a.set_tid_size = 1, Errno::EINVAL),
    ("set_tid without a size", |a| a.set_tid = NOT_USER, Errno::EINVAL),
    ("exit_signal beyond the low byte", |a| a.exit_signal = 0x111, Errno::EINVAL),
    ("exit_signal 65", |a| a.exit_signal = 65, Errno::EINVAL),
    ("exit_signal 0x80", |a| a.exit_signal = 0x80, Errno::EINVAL),
    ("exit_signal 0x91", |a| a.exit_signal = 0x91, Errno::EINVAL),
    (
        "a bad exit_signal before an unreadable set_tid",
        |a| {
            (a.exit_signal, a.set_tid, a.set_tid_size) = (0x80, NOT_USER, 1);
        },
        Errno::EINVAL,
    ),
    (
        "CLONE_INTO_CGROUP with a descriptor above INT_MAX",
        |a| {
            (a.flags, a.cgroup) = (INTO_CGROUP, 1 << 31);
        },
        Errno::EINVAL,
    ),
    ("an unreadable set_tid", |a| (a.set_tid, a.set_tid_size) = (NOT_USER, 1), Errno::EFAULT),
    (
        "an unreadable set_tid before an unknown flag",
        |a| {
            (a.flags, a.set_tid, a.set_tid_size) = (1 << 34, NOT_USER, 1);
        },
        Errno::EFAULT,
    ),
    ("flag bit 34", |a| a.flags = 1 << 34, Errno::EINVAL),
    ("flag bit 63", |a| a.flags = 1 << 63, Errno::EINVAL),
    ("CLONE_DETACHED", |a| a.flags = 0x40_0000, Errno::EINVAL),
    ("flag 0x81: a signal in the low byte beside CLONE_NEWTIME", |a| a.flags = 0x81, Errno::EINVAL),
    ("flag 0x11: a signal in the low byte", |a| a.flags = 0x11, Errno::EINVAL),
    (
        "CLONE_SIGHAND with CLONE_CLEAR_SIGHAND",
        |a| {
            a.flags = (libc::CLONE_VM | libc::CLONE_SIGHAND) as u64 | CLEAR_SIGHAND;
        },
        Errno::EINVAL,
    ),
    ("CLONE_PARENT with an exit_signal", |a| a.flags = libc::CLONE_PARENT as u64, Errno::EINVAL),
    (
        "CLONE_THREAD with an exit_signal",
        |a| {
            a.flags = (libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM) as u64;
        },
        Errno::EINVAL,
    ),
    ("a stack without a size", |a| a.stack = 0x10000, Errno::EINVAL),
    ("a stack size without a stack", |a| a.stack_size = 0x1000, Errno::EINVAL),
    ("a stack that is not user memory", |a| (a.stack, a.stack_size) = (NOT_USER, 0x1000), Errno::EINVAL),
    ("a stack that wraps around", |a| (a.stack, a.stack_size) = (0x10000, u64::MAX - 0x100), Errno::EINVAL),
    (
        "CLONE_PIDFD and CLONE_PARENT_SETTID to one place",
        |a| {
            a.flags = (libc::CLONE_PIDFD | libc::CLONE_PARENT_SETTID) as u64;
            (a.pidfd, a.parent_tid) = (0x10000, 0x10000);
        },
        Errno::EINVAL,
    ),
    ("CLONE_NEWNS with CLONE_FS", |a| a.flags = (libc::CLONE_NEWNS | libc::CLONE_FS) as u64, Errno::EINVAL),
    (
        "CLONE_NEWUSER with CLONE_FS",
        |a| a.flags = (libc::CLONE_NEWUSER | libc::CLONE_FS) as u64,
        Errno::EINVAL,
    ),
    (
        "CLONE_THREAD without CLONE_SIGHAND",
        |a| {
            (a.flags, a.exit_signal) = ((libc::CLONE_THREAD | libc::CLONE_VM) as u64, 0);
        },
        Errno::EINVAL,
    ),
    ("CLONE_SIGHAND without CLONE_VM", |a| a.flags = libc::CLONE_SIGHAND as u64, Errno::EINVAL),
    (
        "CLONE_THREAD with CLONE_NEWUSER",
        |a| {
            let thread = libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM;
            (a.flags, a.exit_signal) = ((thread | libc::CLONE_NEWUSER) as u64, 0);
        },
        Errno::EINVAL,
    ),
    (
        "CLONE_NEWIPC with CLONE_SYSVSEM",
        |a| {
            a.flags = (libc::CLONE_NEWIPC | libc::CLONE_SYSVSEM) as u64;
        },
        Errno::EINVAL,
    ),
];

/// What an unprivileged caller is refused, and which mistakes are reported before the missing privilege.
const UNPRIVILEGED: &[(&str, Change, Errno)] = &[
    ("CLONE_NEWTIME", |a| a.flags = NEWTIME, Errno::EPERM),
    ("CLONE_NEWUTS", |a| a.flags = libc::CLONE_NEWUTS as u64, Errno::EPERM),
    (
        "CLONE_NEWIPC with CLONE_SYSVSEM",
        |a| {
            a.flags = (libc::CLONE_NEWIPC | libc::CLONE_SYSVSEM) as u64;
        },
        Errno::EPERM,
    ),
    ("CLONE_NEWTIME and a stack without a size", |a| (a.flags, a.stack) = (NEWTIME, 0x10000), Errno::EINVAL),
    ("CLONE_NEWTIME and a bad exit_signal", |a| (a.flags, a.exit_signal) = (NEWTIME, 65), Errno::EINVAL),
];

pub fn cases(plan: &mut Plan) {
    plan.case("a size above 4096 is E2BIG, and the pointer is not looked at", || {
        refused("clone3(NULL, 4097)", attempt(0, 4097), Errno::E2BIG)
    });
    plan.case("a size below 64 is EINVAL, and the pointer is not looked at", || {
        refused("clone3(NULL, 63)", attempt(0, 63), Errno::EINVAL)
    });
    plan.case("an unreadable structure is EFAULT", || {
        refused("clone3(NULL, 64)", attempt(0, 64), Errno::EFAULT)?;
        refused("clone3(kernel address, 88)", attempt(NOT_USER as usize, 88), Errno::EFAULT)
    });
    plan.case("sizes 64, 80 and 88 are the three versions of the structure", || {
        let arguments = fork_like();
        for size in [64, 80, 88] {
            attempt(std::ptr::from_ref(&arguments) as usize, size).step(&format!("clone3 of size {size}"))?;
        }
        Ok(())
    });
    plan.case("bytes past the known structure must be zero, else E2BIG", || {
        let mut words = [0u64; 16];
        words[4] = libc::SIGCHLD as u64;
        attempt(words.as_ptr() as usize, 128).step("clone3 of size 128, zeros behind")?;
        words[15] = 1;
        refused("clone3 of size 128, a one behind", attempt(words.as_ptr() as usize, 128), Errno::E2BIG)?;
        words[4] = 65;
        refused("the same with a bad exit_signal", attempt(words.as_ptr() as usize, 128), Errno::E2BIG)
    });
    plan.case("CLONE_INTO_CGROUP needs the structure of 88 bytes", || {
        let mut arguments = fork_like();
        arguments.flags = INTO_CGROUP;
        refused("size 80", attempt(std::ptr::from_ref(&arguments) as usize, 80), Errno::EINVAL)
    });
    plan.case("exit_signal 0 and 64 are fine", || {
        // Signal 64 would end this process when the child does.
        let ignore = [libc::SIG_IGN, 0, 0, 0];
        call!(libc::SYS_rt_sigaction, 64, &ignore, 0usize, 8usize).step("ignoring signal 64")?;
        for exit_signal in [0, 64] {
            let child = CloneArguments { exit_signal, ..CloneArguments::default() };
            attempt_with(&child).step(&format!("exit_signal {exit_signal}"))?;
        }
        Ok(())
    });
    for (mistake, change, errno) in MISTAKES {
        plan.case(format!("{mistake} is {errno}"), move || {
            let mut arguments = fork_like();
            change(&mut arguments);
            refused("clone3", attempt_with(&arguments), *errno)
        });
    }
    for (mistake, change, errno) in UNPRIVILEGED {
        plan.case(format!("without privilege: {mistake} is {errno}"), move || {
            support::become_nobody()?;
            let mut arguments = fork_like();
            change(&mut arguments);
            refused("clone3", attempt_with(&arguments), *errno)
        });
    }
    plan.case("over the limit of processes EAGAIN, before EPERM for the namespace", || {
        support::become_nobody()?;
        call!(libc::SYS_setrlimit, libc::RLIMIT_NPROC, &[0u64, 0]).step("setrlimit(RLIMIT_NPROC)")?;
        refused("clone3", attempt_with(&fork_like()), Errno::EAGAIN)?;
        let mut arguments = fork_like();
        arguments.flags = NEWTIME;
        refused("clone3(CLONE_NEWTIME)", attempt_with(&arguments), Errno::EAGAIN)
    });
    plan.case("set_tid that exists is EEXIST, out of range EINVAL", || {
        needs_root()?;
        let mut arguments = fork_like();
        let (taken, none) = ([1i32], [-1i32]);
        (arguments.set_tid, arguments.set_tid_size) = (taken.as_ptr() as u64, 1);
        refused("set_tid 1", attempt_with(&arguments), Errno::EEXIST)?;
        arguments.set_tid = none.as_ptr() as u64;
        refused("set_tid -1", attempt_with(&arguments), Errno::EINVAL)
    });
    plan.case("set_tid without privilege is EPERM", || {
        support::become_nobody()?;
        let mut arguments = fork_like();
        let ids = [1i32];
        (arguments.set_tid, arguments.set_tid_size) = (ids.as_ptr() as u64, 1);
        refused("set_tid 1", attempt_with(&arguments), Errno::EPERM)
    });
    plan.case("a fork refused for its flags does not freeze the pending namespace", || {
        needs_root()?;
        unshared()?;
        let mut arguments = fork_like();
        arguments.stack = 0x10000;
        refused("clone3", attempt_with(&arguments), Errno::EINVAL)?;
        is_not_frozen()
    });
    plan.case("a fork refused for its process id has frozen the pending namespace", || {
        needs_root()?;
        unshared()?;
        let ids = [1i32];
        let mut arguments = fork_like();
        (arguments.set_tid, arguments.set_tid_size) = (ids.as_ptr() as u64, 1);
        refused("set_tid 1", attempt_with(&arguments), Errno::EEXIST)?;
        is_frozen()
    });
    new_time(plan);
}

fn new_time(plan: &mut Plan) {
    plan.case(
        "CLONE_NEWTIME without CLONE_VM: the child is inside, with the inherited offsets, frozen",
        || {
            needs_root()?;
            let base = Base::take()?;
            let (before, pending) = unshared()?;
            namespace::set_offsets(FAR).step("setting offsets")?;
            Running::start_by(
                || clone::fork_with(NEWTIME),
                || {
                    let inside = slots()?;
                    equal("the child's two namespaces", &inside.time, &inside.children)?;
                    holds(inside.time != pending && inside.time != before.time, || {
                        format!("the child is in {}, which is not new", inside.time)
                    })?;
                    base.shifted_by(FAR)?;
                    equal("its offsets", namespace::offsets().step("reading offsets")?, FAR)?;
                    is_frozen()
                },
            )?
            .finish()?;
            slots_are(&slots()?, &before.time, &pending)?;
            is_not_frozen()
        },
    );
    plan.case("CLONE_NEWTIME with CLONE_VFORK but no CLONE_VM: the same, like a fork", || {
        needs_root()?;
        let before = slots()?;
        Running::start_by(
            || clone::fork_with(NEWTIME | libc::CLONE_VFORK as u64),
            || {
                let inside = slots()?;
                equal("the child's two namespaces", &inside.time, &inside.children)?;
                holds(inside.time != before.time, || "the child is in the old namespace".into())?;
                is_frozen()
            },
        )?
        .finish()?;
        slots_are(&slots()?, &before.time, &before.time)
    });
    plan.case(
        "CLONE_NEWTIME with CLONE_VM: the child stays, only its children move; its exec enters",
        || {
            needs_root()?;
            let before = slots()?;
            let (read_end, write_end) = process::pipe()?;
            let mut inside = None;
            let words = support::helper_words(&["slots"]);
            let child = clone::vfork_running(NEWTIME, || {
                inside = Some((slots(), is_not_frozen()));
                let _ = call!(libc::SYS_dup2, write_end, 1);
                process::execute(&words);
                126
            })
            .step("clone3(CLONE_NEWTIME | CLONE_VM | CLONE_VFORK)")?;
            process::close(write_end);
            let after_exec = String::from_utf8_lossy(&file::Descriptor(read_end).read_to_end()?).into_owned();
            process::wait(child)?;
            let (inside, writable) = inside.step("what the child saw")?;
            let inside = inside?;
            equal("its namespace before exec", &inside.time, &before.time)?;
            holds(inside.children != before.time, || "no namespace was made for its children".into())?;
            writable?;
            equal("its namespaces after exec", after_exec.trim(), &format!("{0} {0}", inside.children))?;
            slots_are(&slots()?, &before.time, &before.time)
        },
    );
    plan.case("CLONE_NEWTIME for a thread: a thread with children of its own", || {
        needs_root()?;
        let before = slots()?;
        let thread = (libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD) as u64;
        static HOLD: AtomicI32 = AtomicI32::new(0);
        extern "C" fn hold(_: usize) -> i32 {
            while HOLD.load(Ordering::Acquire) == 0 {
                let _ = call!(libc::SYS_futex, HOLD.as_ptr(), libc::FUTEX_WAIT, 0, 0usize);
            }
            0
        }
        let mut stack = Stack::new();
        let ended = AtomicI32::new(1);
        let arguments = CloneArguments {
            flags: NEWTIME | thread | libc::CLONE_CHILD_CLEARTID as u64,
            child_tid: ended.as_ptr() as u64,
            ..CloneArguments::default()
        };
        // SAFETY: the thread makes raw calls only, and its stack outlives it: see the wait for `ended`.
        let id = unsafe { clone::clone3_running(&arguments, &mut stack, hold, 0) }
            .step("clone3(CLONE_NEWTIME | thread)")?;
        let seen = slots_of(id);
        HOLD.store(1, Ordering::Release);
        let _ = call!(libc::SYS_futex, HOLD.as_ptr(), libc::FUTEX_WAKE, 1);
        while ended.load(Ordering::Acquire) != 0 {
            let _ = call!(libc::SYS_sched_yield);
        }
        let seen = seen?;
        equal("the thread's namespace", &seen.time, &before.time)?;
        holds(seen.children != before.time, || "no namespace was made for its children".into())?;
        slots_are(&slots()?, &before.time, &before.time)
    });
    plan.case("CLONE_NEWTIME from a process with two threads is fine", || {
        needs_root()?;
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        let mut arguments = fork_like();
        arguments.flags = NEWTIME;
        let answer = attempt_with(&arguments);
        drop(done);
        let _ = thread.join();
        answer.step("clone3(CLONE_NEWTIME)").map(|_| ())
    });
    plan.case("CLONE_NEWUSER with CLONE_NEWTIME works without privilege", || {
        support::become_nobody()?;
        let mut arguments = fork_like();
        arguments.flags = NEWTIME | libc::CLONE_NEWUSER as u64;
        attempt_with(&arguments).step("clone3(CLONE_NEWUSER | CLONE_NEWTIME)").map(|_| ())
    });
}

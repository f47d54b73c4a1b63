//! unshare(2) with CLONE_NEWTIME: what is refused and in which order, and what changes (very little).

use super::support::{Base, FAR, become_nobody, needs_root, slots, slots_of, unshared};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, equal, holds, refused};
use crate::system::errno::Errno;
use crate::system::namespace::{self, CLONE_NEWTIME};

/// Bits that unshare does not know.
const UNKNOWN: &[(&str, u64)] = &[
    ("0x81, CLONE_NEWTIME with a bit of the signal byte", 0x81),
    ("bit 0", 1),
    ("bit 32", 1 << 32),
    ("bit 32 beside CLONE_NEWTIME", 1 << 32 | CLONE_NEWTIME as u64),
    ("CLONE_VFORK", libc::CLONE_VFORK as u64),
    ("CLONE_PARENT", libc::CLONE_PARENT as u64),
    ("CLONE_PIDFD", libc::CLONE_PIDFD as u64),
    ("CLONE_PTRACE", libc::CLONE_PTRACE as u64),
    ("CLONE_SETTLS", libc::CLONE_SETTLS as u64),
    ("CLONE_IO", libc::CLONE_IO as u64),
];

/// Flags that a process of one thread may unshare although nothing is shared.
const HARMLESS: &[(&str, i32)] = &[
    ("0", 0),
    ("CLONE_FS", libc::CLONE_FS),
    ("CLONE_FILES", libc::CLONE_FILES),
    ("CLONE_SYSVSEM", libc::CLONE_SYSVSEM),
    ("CLONE_THREAD", libc::CLONE_THREAD),
    ("CLONE_SIGHAND", libc::CLONE_SIGHAND),
    ("CLONE_VM", libc::CLONE_VM),
    (
        "CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_NEWTIME",
        libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES,
    ),
];

fn unshare(flags: u64) -> Result<usize, Errno> {
    call!(libc::SYS_unshare, flags)
}

/// Runs `check` while this process has a second thread.
pub fn with_a_second_thread(check: impl FnOnce() -> Outcome) -> Outcome {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let outcome = check();
    drop(done);
    let _ = thread.join();
    outcome
}

pub fn cases(plan: &mut Plan) {
    for (what, flags) in UNKNOWN {
        plan.case(format!("{what} is EINVAL"), move || refused("unshare", unshare(*flags), Errno::EINVAL));
    }
    for (what, flags) in HARMLESS {
        plan.case(format!("unshare({what}) in a process of one thread is fine"), move || {
            needs_root()?;
            unshare(*flags as u64).step("unshare").map(|_| ())
        });
    }
    for (what, flags) in [
        ("CLONE_THREAD", libc::CLONE_THREAD),
        ("CLONE_SIGHAND", libc::CLONE_SIGHAND),
        ("CLONE_VM", libc::CLONE_VM),
        ("CLONE_NEWUSER, which implies CLONE_THREAD,", libc::CLONE_NEWUSER),
        ("CLONE_THREAD with CLONE_NEWTIME", libc::CLONE_THREAD | CLONE_NEWTIME),
    ] {
        plan.case(format!("{what} in a process of two threads is EINVAL"), move || {
            with_a_second_thread(|| refused("unshare", unshare(flags as u64), Errno::EINVAL))
        });
    }
    plan.case(
        "two threads and no privilege: EINVAL for CLONE_THREAD comes before EPERM for CLONE_NEWTIME",
        || {
            become_nobody()?;
            let flags = (libc::CLONE_THREAD | CLONE_NEWTIME) as u64;
            with_a_second_thread(|| refused("unshare", unshare(flags), Errno::EINVAL))
        },
    );
    plan.case("CLONE_NEWTIME in a process of two threads is allowed", || {
        needs_root()?;
        with_a_second_thread(|| unshare(CLONE_NEWTIME as u64).step("unshare").map(|_| ()))
    });
    for (what, flags) in [
        ("CLONE_NEWTIME", CLONE_NEWTIME),
        ("CLONE_NEWUTS", libc::CLONE_NEWUTS),
        ("CLONE_NEWNS", libc::CLONE_NEWNS),
        ("CLONE_NEWPID", libc::CLONE_NEWPID),
    ] {
        plan.case(format!("{what} without privilege is EPERM"), move || {
            become_nobody()?;
            refused("unshare", unshare(flags as u64), Errno::EPERM)
        });
    }
    plan.case("an unknown bit is EINVAL before the missing privilege is EPERM", || {
        become_nobody()?;
        refused("unshare", unshare(0x81), Errno::EINVAL)
    });
    plan.case("CLONE_NEWUSER with CLONE_NEWTIME works without privilege", || {
        become_nobody()?;
        let before = slots()?;
        unshare((libc::CLONE_NEWUSER | CLONE_NEWTIME) as u64).step("unshare")?;
        holds(slots()?.children != before.children, || "no time namespace was made".into())
    });
    plan.case("only the namespace for children changes: the clocks stay, by vDSO and by system call", || {
        needs_root()?;
        let base = Base::take()?;
        let (before, pending) = unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        let after = slots()?;
        equal("the namespace of the caller", &after.time, &before.time)?;
        holds(pending != before.children, || "no namespace was made".into())?;
        base.unshifted()
    });
    plan.case("only the calling thread's namespace for children changes", || {
        needs_root()?;
        let before = slots()?;
        let thread = std::thread::spawn(|| {
            namespace::unshare()?;
            call!(libc::SYS_gettid)
                .and_then(|id| crate::system::file::readlink(&format!("/proc/{id}/ns/time_for_children")))
        });
        let in_thread = thread.join().ok().step("the thread")?.step("unshare in a thread")?;
        holds(in_thread != before.children, || "the thread got no namespace".into())?;
        equal("namespaces of the first thread", slots_of(std::process::id())?, before)
    });
}

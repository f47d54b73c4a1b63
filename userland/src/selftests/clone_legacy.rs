//! Legacy clone(2): its low byte is an exit signal and nothing else, so CLONE_NEWTIME cannot be said there.
//!
//! 0x80 and 0x91 are signals 128 and 145, which do not exist; the call takes them without a look and makes an
//! ordinary child that only `__WALL` can wait for. A program that meant a time namespace gets none, silently.

use super::support::{Slots, slots, unshared};
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, equal, refused};
use crate::system::clone;
use crate::system::errno::Errno;
use crate::system::process::{self, Status};
use std::sync::atomic::{AtomicI32, Ordering};

/// A child by legacy clone with these flags; it checks that its namespaces are `expected`.
fn child_has(flags: usize, expected: Slots) -> Outcome {
    let running =
        Running::start_by(|| clone::legacy(flags), || equal("the child's namespaces", slots()?, expected))?;
    let child = running.child;
    let word = flags & 0xff;
    if word != libc::SIGCHLD as usize {
        refused("wait4 without __WALL", process::wait_with(child, 0), Errno::ECHILD)?;
    }
    running.finish_by(|child| process::wait_with(child, libc::__WALL).map(|(_, status)| status))
}

static SIGNALS: AtomicI32 = AtomicI32::new(0);

extern "C" fn count(_signal: i32) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

pub fn cases(plan: &mut Plan) {
    for (flags, what) in [
        (0x80, "0x80, signal 128"),
        (0x91, "0x91, signal 145"),
        (0xff, "0xff, signal 255"),
        (0, "0, no signal"),
        (libc::SIGUSR1 as usize, "SIGUSR1"),
    ] {
        plan.case(
            format!("flags {what}: no namespace is made, and only __WALL waits for the child"),
            move || {
                if flags == libc::SIGUSR1 as usize {
                    call!(libc::SYS_rt_sigaction, flags, &[libc::SIG_IGN, 0, 0, 0], 0usize, 8usize)?;
                }
                child_has(flags, slots()?)
            },
        );
    }
    plan.case("bits 32 and up are ignored", || {
        child_has(0x80_0000_0000 | libc::SIGCHLD as usize, slots()?)?;
        child_has(1 << 63 | libc::SIGCHLD as usize, slots()?)
    });
    plan.case("a child with exit signal 0x80 enters a pending namespace as any fork does", || {
        super::support::needs_root()?;
        let (_, pending) = unshared()?;
        child_has(0x80, Slots { time: pending.clone(), children: pending })
    });
    plan.case("no signal reaches the parent of a child with exit signal 0x91", || {
        for signal in 1..=64 {
            if ![libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(&signal) {
                // SAFETY: the handler only counts.
                unsafe { libc::signal(signal, count as *const () as usize) };
            }
        }
        let child = clone::legacy(0x91).step("clone")?;
        if child == 0 {
            process::exit(3);
        }
        let (_, status) = process::wait_with(child, libc::__WALL).step("wait4 with __WALL")?;
        equal("how it ended", status, Status::Exited(3))?;
        equal("signals", SIGNALS.load(Ordering::SeqCst), 0)
    });
    plan.case("__WCLONE waits for such children only, plain wait4 for the others only", || {
        let plain = process::spawn(|| 1).step("fork")?;
        let odd = clone::legacy(0x80).step("clone")?;
        if odd == 0 {
            process::exit(2);
        }
        refused("wait4 without __WCLONE", process::wait_with(odd, 0), Errno::ECHILD)?;
        refused("wait4 with __WCLONE", process::wait_with(plain, libc::__WCLONE), Errno::ECHILD)?;
        let (_, status) = process::wait_with(odd, libc::__WCLONE).step("wait4 with __WCLONE")?;
        equal("how it ended", status, Status::Exited(2))?;
        equal("how the other ended", process::wait(plain).step("wait4")?, Status::Exited(1))
    });
}

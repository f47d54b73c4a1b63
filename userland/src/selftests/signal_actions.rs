//! What is done about a signal, signal(7): by default, on behalf of a child, and after fork and exec.

use super::signals::{CODE, SENDER, bit, count, handle, ignore, kill, mask, own_id, pending};
use super::support::{helper_words, output_of};
use crate::call;
use crate::ktap::{Plan, Step, Why, equal, in_child, refused};
use crate::system::errno::Errno;
use crate::system::process::{self, Status};
use crate::system::time::{self, MILLISECOND};
use std::sync::atomic::Ordering::SeqCst;

pub fn cases(plan: &mut Plan) {
    default_actions(plan);
    children(plan);
    inheriting(plan);
}

fn default_actions(plan: &mut Plan) {
    let ends_with = |signal: i32| {
        process::run(|| {
            let _ = kill(own_id(), signal);
            0
        })
    };
    plan.case("by default most signals end the process", move || {
        let deadly =
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 34, 50, 64];
        for signal in deadly {
            equal(&format!("signal {signal}"), ends_with(signal)?, Status::Killed(signal))?;
        }
        Ok(())
    });
    plan.case("by default SIGCHLD, SIGCONT, SIGURG and SIGWINCH do nothing", move || {
        for signal in [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH] {
            equal(&format!("signal {signal}"), ends_with(signal)?, Status::Exited(0))?;
        }
        Ok(())
    });
    plan.case("an ignored signal does nothing, also when it was pending", || {
        mask(libc::SIG_BLOCK, bit(libc::SIGTERM))?;
        kill(own_id(), libc::SIGTERM)?;
        ignore(libc::SIGTERM)?;
        equal("pending", pending()?, 0)?;
        mask(libc::SIG_SETMASK, 0)?;
        kill(own_id(), libc::SIGTERM).step("kill").map(|_| ())
    });
    plan.case("stop and continue: the parent sees both, and SIGKILL ends a stopped process", || {
        let child = process::spawn(|| {
            loop {
                let _ = call!(libc::SYS_pause);
            }
        })?;
        for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
            // An orphaned group would ignore the last three; this child's group has its parent in it.
            kill(child, libc::SIGSTOP)?;
            let stopped = process::wait_with(child, libc::WUNTRACED).step("wait for the stop")?;
            equal("stopped", stopped.1, Status::Stopped(libc::SIGSTOP))?;
            kill(child, libc::SIGCONT)?;
            let continued = process::wait_with(child, libc::WCONTINUED).step("wait for the continuation")?;
            equal(&format!("continued before {signal}"), continued.1, Status::Continued)?;
        }
        kill(child, libc::SIGSTOP)?;
        process::wait_with(child, libc::WUNTRACED)?;
        kill(child, libc::SIGKILL)?;
        equal("killed", process::wait(child)?, Status::Killed(libc::SIGKILL))
    });
    plan.case("processor exceptions: division by zero, a bad instruction, a breakpoint", || {
        // SAFETY: each raises an exception in a child made for it.
        let divide: fn() = || unsafe { std::arch::asm!("xor edx, edx", "xor ecx, ecx", "mov eax, 1", "div ecx", out("eax") _, out("ecx") _, out("edx") _) };
        // SAFETY: as above.
        let undefined: fn() = || unsafe { std::arch::asm!("ud2") };
        // SAFETY: as above.
        let breakpoint: fn() = || unsafe { std::arch::asm!("int3") };
        // SAFETY: as above; HLT is for the kernel only.
        let privileged: fn() = || unsafe { std::arch::asm!("hlt") };
        for (what, raise, signal) in [
            ("a division by zero", divide, libc::SIGFPE),
            ("a bad instruction", undefined, libc::SIGILL),
            ("a breakpoint", breakpoint, libc::SIGTRAP),
            ("a privileged instruction", privileged, libc::SIGSEGV),
        ] {
            let status = process::run(|| {
                raise();
                0
            })?;
            equal(what, status, Status::Killed(signal))?;
        }
        Ok(())
    });
    plan.case("an exception that is blocked or ignored ends the process all the same", || {
        let status = process::run(|| {
            let _ = mask(libc::SIG_BLOCK, !0);
            super::faults::crash();
            0
        })?;
        equal("blocked", status, Status::Killed(libc::SIGSEGV))?;
        let status = process::run(|| {
            let _ = ignore(libc::SIGSEGV);
            super::faults::crash();
            0
        })?;
        equal("ignored", status, Status::Killed(libc::SIGSEGV))
    });
    plan.case("writing to a pipe without readers: SIGPIPE, or EPIPE when that is ignored", || {
        let (read_end, write_end) = process::pipe()?;
        process::close(read_end);
        let status = process::run(|| {
            process::send_byte(write_end);
            0
        })?;
        equal("by default", status, Status::Killed(libc::SIGPIPE))?;
        ignore(libc::SIGPIPE)?;
        refused("ignored", call!(libc::SYS_write, write_end, b"x".as_ptr(), 1usize), Errno::EPIPE)
    });
}

fn children(plan: &mut Plan) {
    plan.case("SIGCHLD tells who ended and how: code CLD_EXITED or CLD_KILLED", || {
        handle(libc::SIGCHLD, 0, 0)?;
        for (work, code) in [(0, 1), (1, 2)] {
            let before = count();
            let child = process::spawn(|| {
                if work == 1 {
                    let _ = kill(own_id(), libc::SIGKILL);
                }
                5
            })?;
            while count() == before {
                time::sleep(MILLISECOND);
            }
            equal("code and child", (CODE.load(SeqCst), SENDER.load(SeqCst)), (code, child))?;
            process::wait(child)?;
        }
        Ok(())
    });
    plan.case("with SIGCHLD ignored, or SA_NOCLDWAIT, children leave no zombies: wait is ECHILD", || {
        ignore(libc::SIGCHLD)?;
        let child = process::spawn(|| 0)?;
        refused("wait", process::wait(child), Errno::ECHILD)?;
        handle(libc::SIGCHLD, libc::SA_NOCLDWAIT, 0)?;
        let child = process::spawn(|| 0)?;
        refused("wait", process::wait(child), Errno::ECHILD)
    });
    plan.case("a stop sends SIGCHLD, unless SA_NOCLDSTOP", || {
        for (flags, expected) in [(0, 1), (libc::SA_NOCLDSTOP, 0)] {
            handle(libc::SIGCHLD, flags, 0)?;
            let before = count();
            let child = process::spawn(|| {
                loop {
                    let _ = call!(libc::SYS_pause);
                }
            })?;
            kill(child, libc::SIGSTOP)?;
            process::wait_with(child, libc::WUNTRACED)?;
            equal(&format!("signals with flags {flags:#x}"), count() - before, expected)?;
            kill(child, libc::SIGKILL)?;
            process::wait(child)?;
        }
        Ok(())
    });
}

fn inheriting(plan: &mut Plan) {
    plan.case("a fork inherits handlers and mask, not what is pending", || {
        handle(libc::SIGUSR1, 0, 0)?;
        mask(libc::SIG_BLOCK, bit(libc::SIGUSR1))?;
        kill(own_id(), libc::SIGUSR1)?;
        in_child(|| {
            equal("pending", pending()?, 0)?;
            equal("mask", mask(libc::SIG_SETMASK, 0)?, bit(libc::SIGUSR1))?;
            equal("count", count(), 0)?;
            kill(own_id(), libc::SIGUSR1)?;
            equal("count", count(), 1)
        })
    });
    plan.case("an exec keeps the mask and what is ignored, and resets handlers", || {
        let words = helper_words(&["file", "/proc/self/status"]);
        let text = output_of(|| {
            let ready = handle(libc::SIGUSR1, 0, 0).and_then(|()| ignore(libc::SIGUSR2));
            if ready.is_ok() && mask(libc::SIG_SETMASK, bit(libc::SIGHUP)).is_ok() {
                process::execute(&words);
            }
            1
        })?;
        let set = |name: &str| -> Result<u64, Why> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).step(name)?;
            u64::from_str_radix(line.trim(), 16).ok().step("a set of signals")
        };
        equal("blocked", set("SigBlk:")?, bit(libc::SIGHUP))?;
        equal("ignored", set("SigIgn:")? & bit(libc::SIGUSR2), bit(libc::SIGUSR2))?;
        equal("caught", set("SigCgt:")? & (bit(libc::SIGUSR1) | bit(libc::SIGUSR2)), 0)
    });
    plan.case("a pending signal stays pending over an exec", || {
        let words = helper_words(&["file", "/proc/self/status"]);
        let text = output_of(|| {
            let _ = mask(libc::SIG_SETMASK, bit(libc::SIGUSR1));
            let _ = kill(own_id(), libc::SIGUSR1);
            process::execute(&words);
            1
        })?;
        let pending = ["SigPnd:", "ShdPnd:"].iter().filter_map(|name| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        });
        equal("pending", pending.fold(0, |all, set| all | set), bit(libc::SIGUSR1))
    });
}

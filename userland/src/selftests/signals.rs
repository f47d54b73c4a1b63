//! Signals: masks, handlers and their flags, what is sent by whom, and which calls they interrupt.

use super::support::{become_nobody, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, Why, equal, holds, in_child, refused, within};
use crate::system::errno::Errno;
use crate::system::process::{self, Status};
use crate::system::time::{self, MILLISECOND, SECOND};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicUsize, Ordering::SeqCst};

/// How often the handler ran, and what it saw last.
pub static COUNT: AtomicI32 = AtomicI32::new(0);
static SIGNAL: AtomicI32 = AtomicI32::new(0);
pub static CODE: AtomicI32 = AtomicI32::new(0);
pub static SENDER: AtomicI32 = AtomicI32::new(0);
static VALUE: AtomicI64 = AtomicI64::new(0);
static ORDER: AtomicI64 = AtomicI64::new(0);
static DEPTH: AtomicI32 = AtomicI32::new(0);
static DEEPEST: AtomicI32 = AtomicI32::new(0);
static STACK: AtomicUsize = AtomicUsize::new(0);
/// A signal that the handler sends to its own process, once.
static ALSO: AtomicI32 = AtomicI32::new(0);

extern "C" fn handler(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let local = 0u8;
    STACK.store(std::ptr::from_ref(&local) as usize, SeqCst);
    DEEPEST.fetch_max(DEPTH.fetch_add(1, SeqCst) + 1, SeqCst);
    SIGNAL.store(signal, SeqCst);
    ORDER.store(ORDER.load(SeqCst) * 100 + i64::from(signal), SeqCst);
    if !information.is_null() {
        // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO; its union is read as integers.
        unsafe {
            CODE.store((*information).si_code, SeqCst);
            SENDER.store((*information).si_pid(), SeqCst);
            VALUE.store((*information).si_value().sival_ptr as i64, SeqCst);
        }
    }
    let also = ALSO.swap(0, SeqCst);
    if also != 0 {
        let _ = call!(libc::SYS_kill, own_id(), also);
    }
    COUNT.fetch_add(1, SeqCst);
    DEPTH.fetch_sub(1, SeqCst);
}

pub fn own_id() -> i32 {
    call!(libc::SYS_getpid).unwrap_or(0) as i32
}

/// Installs the handler for a signal, with SA_SIGINFO and these flags, blocking `mask` while it runs.
pub fn handle(signal: i32, flags: i32, mask: u64) -> Outcome {
    // SAFETY: the handler stores to atomics and makes raw calls only.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags | libc::SA_SIGINFO;
        for number in (1..=64).filter(|number| mask >> (number - 1) & 1 == 1) {
            libc::sigaddset(&mut action.sa_mask, number);
        }
        equal("sigaction", libc::sigaction(signal, &action, std::ptr::null_mut()), 0)
    }
}

pub fn ignore(signal: i32) -> Outcome {
    // SAFETY: a constant.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
    Ok(())
}

pub fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

pub fn mask(how: i32, set: u64) -> Result<u64, Errno> {
    let mut old = 0u64;
    call!(libc::SYS_rt_sigprocmask, how, &set, &mut old, 8usize)?;
    Ok(old)
}

pub fn pending() -> Result<u64, Errno> {
    let mut set = 0u64;
    call!(libc::SYS_rt_sigpending, &mut set, 8usize)?;
    Ok(set)
}

pub fn kill(process: i32, signal: i32) -> Result<usize, Errno> {
    call!(libc::SYS_kill, process, signal)
}

pub fn count() -> i32 {
    COUNT.load(SeqCst)
}

/// A child that sends `signal` to this process after a while.
fn send_later(signal: i32) -> Result<Running, Why> {
    let parent = own_id();
    Running::start(move || {
        time::sleep(30 * MILLISECOND);
        kill(parent, signal).step("kill").map(|_| ())
    })
}

pub fn cases(plan: &mut Plan) {
    sending(plan);
    masking(plan);
    handling(plan);
    interrupting(plan);
}

fn sending(plan: &mut Plan) {
    plan.case("kill: the handler learns signal, sender and code SI_USER", || {
        handle(libc::SIGUSR1, 0, 0)?;
        kill(own_id(), libc::SIGUSR1).step("kill")?;
        equal(
            "count, signal, code",
            (count(), SIGNAL.load(SeqCst), CODE.load(SeqCst)),
            (1, libc::SIGUSR1, 0),
        )?;
        equal("sender", SENDER.load(SeqCst), own_id())
    });
    plan.case("tgkill and tkill: the code is SI_TKILL", || {
        handle(libc::SIGUSR1, 0, 0)?;
        call!(libc::SYS_tgkill, own_id(), own_id(), libc::SIGUSR1).step("tgkill")?;
        equal("count and code", (count(), CODE.load(SeqCst)), (1, -6))?;
        call!(libc::SYS_tkill, own_id(), libc::SIGUSR1).step("tkill")?;
        equal("count and code", (count(), CODE.load(SeqCst)), (2, -6))?;
        refused("tgkill of the wrong group", call!(libc::SYS_tgkill, 1, own_id(), 0), Errno::ESRCH)
    });
    plan.case("rt_sigqueueinfo carries a value", || {
        handle(libc::SIGUSR2, 0, 0)?;
        // signo, errno, code SI_QUEUE, padding, pid, uid, value.
        let mut information = [0i32; 32];
        (information[0], information[2]) = (libc::SIGUSR2, -1);
        (information[4], information[6], information[7]) = (own_id(), 0x1234_5678, 0x9abc);
        call!(libc::SYS_rt_sigqueueinfo, own_id(), libc::SIGUSR2, &information).step("rt_sigqueueinfo")?;
        equal("code", CODE.load(SeqCst), -1)?;
        equal("value", VALUE.load(SeqCst), 0x9abc_1234_5678)
    });
    plan.case(
        "rt_sigqueueinfo: bytes that do not go with a signal are refused, unless its code is known",
        || {
            let blocked = u64::MAX;
            call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &blocked, 0usize, 8).step("rt_sigprocmask")?;
            let send = |signal: i32, code: i32| {
                let mut information = [1i32; 32];
                information[2] = code;
                call!(libc::SYS_rt_sigqueueinfo, own_id(), signal, &information)
            };
            // The furthest codes: poll's with any signal, and those of some signals' own.
            for (signal, code) in
                [(libc::SIGUSR1, 6), (libc::SIGILL, 11), (libc::SIGFPE, 15), (libc::SIGSEGV, 10)]
            {
                equal("the last code", send(signal, code), Ok(0))?;
                refused("the one after", send(signal, code + 1), Errno::E2BIG)?;
            }
            for code in [-7, -60, 0x80] {
                equal("the kernel's codes", send(libc::SIGUSR2, code), Ok(0))?;
            }
            refused("below them", send(libc::SIGUSR2, -8), Errno::E2BIG)
        },
    );
    plan.case("kill: signal 0 only looks, 65 is EINVAL, nobody is ESRCH", || {
        kill(own_id(), 0).step("signal 0")?;
        refused("signal 65", kill(own_id(), 65), Errno::EINVAL)?;
        refused("signal -1", kill(own_id(), -1), Errno::EINVAL)?;
        refused("a process that is not", kill(4_000_000, 0), Errno::ESRCH)?;
        let child = process::spawn(|| 0)?;
        process::wait(child)?;
        refused("a process that was", kill(child, libc::SIGTERM), Errno::ESRCH)
    });
    plan.case("kill of another user's process is EPERM", || {
        needs_root()?;
        let parent = own_id();
        in_child(move || {
            become_nobody()?;
            refused("kill", kill(parent, libc::SIGUSR1), Errno::EPERM)?;
            refused("signal 0", kill(parent, 0), Errno::EPERM)
        })
    });
    plan.case("kill of a group reaches every member, and 0 is one's own group", || {
        let group = own_id();
        call!(libc::SYS_setpgid, 0, 0).step("setpgid")?;
        handle(libc::SIGUSR1, 0, 0)?;
        let member = || super::setns::Waiting::start(|| ()).map(|waiting| (waiting.child, waiting));
        let ((one, _keep_one), (two, _keep_two)) = (member()?, member()?);
        kill(-group, libc::SIGUSR1).step("kill of the group")?;
        kill(0, libc::SIGUSR1).step("kill of 0")?;
        equal("count here", count(), 2)?;
        for child in [one, two] {
            call!(libc::SYS_setpgid, child, child).step("setpgid")?;
        }
        kill(-one, libc::SIGKILL).step("kill of another group")?;
        equal("the first child", process::wait(one)?, Status::Killed(libc::SIGKILL))
    });
}

fn masking(plan: &mut Plan) {
    plan.case("a blocked signal is pending, once, and comes when unblocked", || {
        handle(libc::SIGUSR1, 0, 0)?;
        equal("old mask", mask(libc::SIG_BLOCK, bit(libc::SIGUSR1))?, 0)?;
        for _ in 0..3 {
            kill(own_id(), libc::SIGUSR1)?;
        }
        equal("count", count(), 0)?;
        equal("pending", pending()?, bit(libc::SIGUSR1))?;
        equal("mask", mask(libc::SIG_UNBLOCK, bit(libc::SIGUSR1))?, bit(libc::SIGUSR1))?;
        equal("count", count(), 1)?;
        equal("pending", pending()?, 0)
    });
    plan.case("real-time signals queue, the lower number first", || {
        for signal in [40, 42] {
            handle(signal, 0, !0)?;
        }
        mask(libc::SIG_BLOCK, !0)?;
        for signal in [42, 40, 42, 40] {
            kill(own_id(), signal)?;
        }
        mask(libc::SIG_SETMASK, 0)?;
        equal("count", count(), 4)?;
        equal("order", ORDER.load(SeqCst), 40_40_42_42)
    });
    plan.case("SIGKILL and SIGSTOP can be neither caught nor ignored nor blocked", || {
        for signal in [libc::SIGKILL, libc::SIGSTOP] {
            for action in [[libc::SIG_IGN, 0, 0, 0], [libc::SIG_DFL, 0, 0, 0]] {
                let answer = call!(libc::SYS_rt_sigaction, signal, &action, 0usize, 8usize);
                refused("sigaction", answer, Errno::EINVAL)?;
            }
        }
        mask(libc::SIG_SETMASK, !0)?;
        equal("mask", mask(libc::SIG_SETMASK, 0)?, !(bit(libc::SIGKILL) | bit(libc::SIGSTOP)))
    });
    plan.case("sigaction and sigprocmask refuse bad signals, sizes and ways", || {
        for signal in [0, 65, -1] {
            let answer = call!(libc::SYS_rt_sigaction, signal, 0usize, 0usize, 8usize);
            refused(&format!("signal {signal}"), answer, Errno::EINVAL)?;
        }
        refused("size 4", call!(libc::SYS_rt_sigaction, 10, 0usize, 0usize, 4usize), Errno::EINVAL)?;
        refused("way 3", mask(3, 0), Errno::EINVAL)?;
        refused("size 4", call!(libc::SYS_rt_sigprocmask, 0, 0usize, 0usize, 4usize), Errno::EINVAL)
    });
    plan.case("sigsuspend waits with another mask and puts the old one back", || {
        handle(libc::SIGUSR1, 0, 0)?;
        mask(libc::SIG_SETMASK, bit(libc::SIGUSR1))?;
        let sender = send_later(libc::SIGUSR1)?;
        refused("sigsuspend", call!(libc::SYS_rt_sigsuspend, &0u64, 8usize), Errno::EINTR)?;
        equal("count", count(), 1)?;
        equal("mask", mask(libc::SIG_SETMASK, 0)?, bit(libc::SIGUSR1))?;
        sender.finish()
    });
    plan.case("sigtimedwait takes a blocked signal without a handler, or times out: EAGAIN", || {
        let set = bit(libc::SIGUSR1);
        mask(libc::SIG_BLOCK, set)?;
        let wait = |limit: i64| {
            let mut information = [0i32; 32];
            call!(libc::SYS_rt_sigtimedwait, &set, &mut information, &time::timespec(limit), 8usize)
                .map(|signal| (signal as i32, information[0], information[4]))
        };
        let before = time::read_by_call(1)?;
        refused("nothing pending", wait(20 * MILLISECOND), Errno::EAGAIN)?;
        within("waited", time::read_by_call(1)? - before, 20 * MILLISECOND, 2 * SECOND)?;
        kill(own_id(), libc::SIGUSR1)?;
        equal("pending", wait(SECOND), Ok((libc::SIGUSR1, libc::SIGUSR1, own_id())))?;
        let sender = send_later(libc::SIGUSR1)?;
        equal("sent later", wait(5 * SECOND).map(|answer| answer.0), Ok(libc::SIGUSR1))?;
        sender.finish()
    });
}

fn handling(plan: &mut Plan) {
    plan.case("a handler's own signal and its mask are blocked while it runs", || {
        handle(libc::SIGUSR1, 0, bit(libc::SIGUSR2))?;
        handle(libc::SIGUSR2, 0, 0)?;
        for also in [libc::SIGUSR1, libc::SIGUSR2] {
            ALSO.store(also, SeqCst);
            kill(own_id(), libc::SIGUSR1)?;
        }
        equal("count and depth", (count(), DEEPEST.load(SeqCst)), (4, 1))
    });
    plan.case("SA_NODEFER: the handler can be interrupted by its own signal", || {
        handle(libc::SIGUSR1, libc::SA_NODEFER, 0)?;
        ALSO.store(libc::SIGUSR1, SeqCst);
        kill(own_id(), libc::SIGUSR1)?;
        equal("count and depth", (count(), DEEPEST.load(SeqCst)), (2, 2))
    });
    plan.case("SA_RESETHAND: the second time it is the default", || {
        handle(libc::SIGUSR1, libc::SA_RESETHAND, 0)?;
        kill(own_id(), libc::SIGUSR1)?;
        equal("count", count(), 1)?;
        let status = process::run(|| {
            let _ = kill(own_id(), libc::SIGUSR1);
            0
        })?;
        equal("the second time", status, Status::Killed(libc::SIGUSR1))
    });
    plan.case("SA_ONSTACK: the handler runs on the alternate stack, which is then in use", || {
        let stack = Box::leak(Box::new([0u8; 64 * 1024]));
        let range = stack.as_ptr_range();
        let new = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: 64 * 1024 };
        call!(libc::SYS_sigaltstack, &new, 0usize).step("sigaltstack")?;
        handle(libc::SIGUSR1, libc::SA_ONSTACK, 0)?;
        handle(libc::SIGUSR2, 0, 0)?;
        let on_it = || (range.start as usize..range.end as usize).contains(&STACK.load(SeqCst));
        kill(own_id(), libc::SIGUSR1)?;
        holds(on_it(), || "the handler ran on the ordinary stack".into())?;
        kill(own_id(), libc::SIGUSR2)?;
        holds(!on_it(), || "a handler without SA_ONSTACK ran on it".into())?;
        let mut old = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: -1, ss_size: 0 };
        call!(libc::SYS_sigaltstack, 0usize, &mut old).step("sigaltstack")?;
        equal("size and flags", (old.ss_size, old.ss_flags), (64 * 1024, 0))
    });
    plan.case(
        "sigaltstack refuses small stacks (ENOMEM) and unknown flags (EINVAL), and can be disabled",
        || {
            let stack = Box::leak(Box::new([0u8; 64 * 1024]));
            let mut new = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: 1024 };
            refused("1024 bytes", call!(libc::SYS_sigaltstack, &new, 0usize), Errno::ENOMEM)?;
            (new.ss_size, new.ss_flags) = (64 * 1024, 8);
            refused("flag 8", call!(libc::SYS_sigaltstack, &new, 0usize), Errno::EINVAL)?;
            new.ss_flags = libc::SS_DISABLE;
            call!(libc::SYS_sigaltstack, &new, 0usize).step("disabling")?;
            call!(libc::SYS_sigaltstack, 0usize, &mut new).step("sigaltstack")?;
            equal("flags", new.ss_flags, libc::SS_DISABLE)
        },
    );
    plan.case("a stack overflow is handled on the alternate stack", || {
        let status = process::run(|| {
            let stack = Box::leak(Box::new([0u8; 64 * 1024]));
            let new = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: 64 * 1024 };
            extern "C" fn leave(
                _signal: i32,
                _information: *mut libc::siginfo_t,
                _context: *mut libc::c_void,
            ) {
                process::exit(33);
            }
            // SAFETY: the handler only exits.
            unsafe {
                libc::sigaltstack(&new, std::ptr::null_mut());
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = leave as *const () as usize;
                action.sa_flags = libc::SA_ONSTACK | libc::SA_SIGINFO;
                libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
            }
            #[inline(never)]
            #[allow(unconditional_recursion)]
            fn endless(level: u64) -> u64 {
                let space = std::hint::black_box([level; 512]);
                endless(level + 1) + space[(level % 512) as usize]
            }
            endless(0) as i32
        })?;
        equal("how it ended", status, Status::Exited(33))
    });
    plan.case("a signal that comes in a busy loop is handled", || {
        handle(libc::SIGUSR1, 0, 0)?;
        let sender = send_later(libc::SIGUSR1)?;
        while count() == 0 {
            std::hint::spin_loop();
        }
        sender.finish()
    });
}

fn interrupting(plan: &mut Plan) {
    let read = |descriptor: i32| {
        let mut byte = 0u8;
        call!(libc::SYS_read, descriptor, &mut byte, 1usize)
    };
    plan.case("without SA_RESTART a read is EINTR, with it the read goes on", move || {
        let (read_end, write_end) = process::pipe()?;
        handle(libc::SIGUSR1, 0, 0)?;
        let sender = send_later(libc::SIGUSR1)?;
        refused("read", read(read_end), Errno::EINTR)?;
        sender.finish()?;
        handle(libc::SIGUSR1, libc::SA_RESTART, 0)?;
        let parent = own_id();
        let sender = Running::start(move || {
            time::sleep(30 * MILLISECOND);
            kill(parent, libc::SIGUSR1).step("kill")?;
            time::sleep(30 * MILLISECOND);
            process::send_byte(write_end);
            Ok(())
        })?;
        equal("read", read(read_end), Ok(1))?;
        equal("count", count(), 2)?;
        sender.finish()
    });
    plan.case("a wait is EINTR or restarted likewise", || {
        handle(libc::SIGUSR1, 0, 0)?;
        let sleeper = process::spawn(|| {
            time::sleep(150 * MILLISECOND);
            7
        })?;
        let sender = send_later(libc::SIGUSR1)?;
        let mut word = 0;
        let wait = |word: &mut i32| call!(libc::SYS_wait4, sleeper, word, 0, 0usize);
        refused("wait4", wait(&mut word), Errno::EINTR)?;
        sender.finish()?;
        handle(libc::SIGUSR1, libc::SA_RESTART, 0)?;
        let sender = send_later(libc::SIGUSR1)?;
        equal("wait4", wait(&mut word), Ok(sleeper as usize))?;
        equal("status", Status::from_word(word), Status::Exited(7))?;
        sender.finish()
    });
    plan.case("poll, pause and sleeps are EINTR even with SA_RESTART", || {
        handle(libc::SIGUSR1, libc::SA_RESTART, 0)?;
        let sender = send_later(libc::SIGUSR1)?;
        refused("poll", call!(libc::SYS_poll, 0usize, 0, 5000), Errno::EINTR)?;
        sender.finish()?;
        let sender = send_later(libc::SIGUSR1)?;
        refused("pause", call!(libc::SYS_pause), Errno::EINTR)?;
        sender.finish()?;
        let sender = send_later(libc::SIGUSR1)?;
        let answer = call!(libc::SYS_nanosleep, &time::timespec(5 * SECOND), 0usize);
        refused("nanosleep", answer, Errno::EINTR)?;
        sender.finish()
    });
    plan.case("an ignored signal interrupts nothing", || {
        ignore(libc::SIGUSR1)?;
        let sender = send_later(libc::SIGUSR1)?;
        equal("poll", call!(libc::SYS_poll, 0usize, 0, 80), Ok(0))?;
        sender.finish()
    });
    plan.case("a stop and a continuation do not end a sleep early", || {
        let child = Running::start(|| {
            let before = time::read_by_call(1)?;
            let answer = call!(libc::SYS_nanosleep, &time::timespec(100 * MILLISECOND), 0usize);
            equal("nanosleep", answer, Ok(0))?;
            within("slept", time::read_by_call(1)? - before, 100 * MILLISECOND, 3 * SECOND)
        })?;
        time::sleep(20 * MILLISECOND);
        kill(child.child, libc::SIGSTOP)?;
        time::sleep(10 * MILLISECOND);
        kill(child.child, libc::SIGCONT)?;
        child.finish()
    });
}

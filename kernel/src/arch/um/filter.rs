//! What happens to each host call of a program's process: a seccomp(2) filter, in classic BPF.
//!
//! No call is made without the kernel. An ordinary one is handed over by the host as a *notification*: the caller sleeps
//! in its `syscall` instruction until the kernel has answered, without a signal and without a tracer, which takes a third
//! of the time that ptrace(2) does. But a notification holds the number and the arguments, not the registers; so calls
//! after which the kernel wants those, or wants pages of the process changed, are turned into SIGSYS and arrive through
//! the stub, which takes half as long again.
//!
//! The filter is told where the instruction lies. In the stub, its own call [`stub::TRAP`] is a notification, and the return
//! from a signal is let through, as is asking to die with the kernel, and taking away: munmap(2), and mprotect(2) to
//! nothing but reading. A program that jumps there to do so harms itself: it faults, and is given back what is its own, or
//! is without its slot and ends. Every other call is a notification too, which the kernel lets pass only if it has ordered it.

use super::{layout, operation, stub};
use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};

/// Calls that arrive through the stub.
///
/// Those that change mappings, as the change is made by the stub (munmap(2) is not among them: the host makes the change if
/// it is let make the call itself); those that need or replace registers; and those that are likely to send a signal to
/// the caller. All others work too if they turn out to need the stub, only slower: see
/// [`super::process::Thread::enter_stub`].
const BY_SIGNAL: [i64; 13] = [
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_rt_sigreturn,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_arch_prctl,
    libc::SYS_kill,
    libc::SYS_tgkill,
];

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

// Where `struct seccomp_data` has what is looked at.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const INSTRUCTION_LOW: u32 = 8;
const INSTRUCTION_HIGH: u32 = 12;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// What the kernel is told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Every call, by a notification or a signal.
    ByNotification,
    /// Only programs' calls, by a signal: there are no notifications. See [`super::turns`].
    BySignal,
}

/// The filter.
pub fn program(told: Told) -> Vec<libc::sock_filter> {
    let (stub, ordinary) = match told {
        Told::ByNotification => (stub_rules(), libc::SECCOMP_RET_USER_NOTIF),
        Told::BySignal => (stub_rules_unasked(), libc::SECCOMP_RET_TRAP),
    };
    let over_stub = stub.len() as u8;
    // Where is the instruction? The upper half of its address, then the page. Whatever else it is, the stub's rules do not
    // apply.
    let mut program = vec![
        load(INSTRUCTION_HIGH),
        unless((layout::STUB >> 32) as u32, 3 + over_stub),
        load(INSTRUCTION_LOW),
        statement(BPF_ALU | BPF_AND | BPF_K, !0xfff),
        unless(layout::STUB as u32, over_stub),
    ];
    program.extend(stub);

    // The vsyscall page, which no process can be rid of: as if it were not there.
    program.extend([load(INSTRUCTION_HIGH), unless(0xffff_ffff, 1), answer(libc::SECCOMP_RET_TRAP)]);
    // `int 0x80`: as if that were no system call.
    program.extend([load(ARCHITECTURE), when(AUDIT_ARCH_X86_64, 1), answer(libc::SECCOMP_RET_TRAP)]);
    // A mapping that may replace others.
    program.extend([load(NUMBER), unless(libc::SYS_mmap as u32, 4), load(argument(3))]);
    program.push(libc::sock_filter {
        code: (BPF_JMP | BPF_JSET | BPF_K) as u16,
        jt: 0,
        jf: 1,
        k: libc::MAP_FIXED as u32,
    });
    program.extend([answer(libc::SECCOMP_RET_TRAP), answer(ordinary)]);
    for call in BY_SIGNAL {
        program.extend([unless(call as u32, 1), answer(libc::SECCOMP_RET_TRAP)]);
    }
    program.push(answer(ordinary));
    program
}

/// What the stub may do, which never falls through to what programs may.
fn stub_rules() -> Vec<libc::sock_filter> {
    let mut rules = vec![load(NUMBER)];
    for call in [libc::SYS_rt_sigreturn, libc::SYS_munmap] {
        rules.extend([unless(call as u32, 1), answer(libc::SECCOMP_RET_ALLOW)]);
    }
    rules.extend([
        unless(libc::SYS_mprotect as u32, 4),
        load(argument(2)),
        unless(libc::PROT_READ as u32, 1),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(libc::SECCOMP_RET_USER_NOTIF),
        unless(libc::SYS_prctl as u32, 5),
        load(argument(0)),
        unless(libc::PR_SET_PDEATHSIG as u32, 3),
        load(argument(1)),
        unless(libc::SIGKILL as u32, 1),
        answer(libc::SECCOMP_RET_ALLOW),
    ]);
    rules.push(answer(libc::SECCOMP_RET_USER_NOTIF));
    rules
}

/// What the stub may do when nobody can be asked: no more than it needs, but not only what it was told.
fn stub_rules_unasked() -> Vec<libc::sock_filter> {
    let (allow, kill) = (answer(libc::SECCOMP_RET_ALLOW), answer(libc::SECCOMP_RET_KILL_PROCESS));
    let mut rules = vec![load(NUMBER)];
    for call in [libc::SYS_futex, libc::SYS_rt_sigreturn, libc::SYS_munmap, libc::SYS_mprotect] {
        rules.extend([unless(call as u32, 1), allow]);
    }
    for (call, index, values) in [
        (libc::SYS_mmap, 4, [layout::RAM_DESCRIPTOR, layout::SLOTS_DESCRIPTOR]),
        (libc::SYS_clone, 0, [operation::CLONE_PROCESS, operation::CLONE_THREAD]),
        (libc::SYS_prctl, 0, [libc::PR_SET_PDEATHSIG; 2]),
    ] {
        rules.extend([unless(call as u32, 5), load(argument(index))]);
        rules.extend([when(values[0] as u32, 1), unless(values[1] as u32, 1), allow, kill]);
    }
    rules.push(kill);
    rules
}

const _: () = assert!(stub::TRAP > 0x1000, "the stub's call is none that exists");

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Takes a word of `struct seccomp_data`.
fn load(offset: u32) -> libc::sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

/// Skips so many instructions if the word is this.
fn when(value: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter { jt: skip, ..statement(BPF_JMP | BPF_JEQ | BPF_K, value) }
}

/// Skips so many instructions unless the word is this.
fn unless(value: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter { jf: skip, ..statement(BPF_JMP | BPF_JEQ | BPF_K, value) }
}

fn answer(action: u32) -> libc::sock_filter {
    statement(BPF_RET | BPF_K, action)
}

#[cfg(test)]
#[path = "tests/filter.rs"]
mod tests;

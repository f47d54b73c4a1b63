//! The filter, judged by an interpreter of its few instructions.

use super::*;
use crate::arch::um::operation::Operation;
use crate::arch::{Frame, Permissions};
use libc::{
    SECCOMP_RET_ALLOW as ALLOW, SECCOMP_RET_KILL_PROCESS as KILL, SECCOMP_RET_TRAP as TRAP,
    SECCOMP_RET_USER_NOTIF as NOTIFY,
};

const PROGRAM: u64 = 0x40_1000;
const STUB: u64 = layout::STUB as u64 + 0x123;

/// What the host would do with a call.
fn verdict(told: Told, instruction: u64, number: i64, arguments: &[u64]) -> u32 {
    judge(&program(told), AUDIT_ARCH_X86_64, instruction, number, arguments)
}

fn judge(program: &[libc::sock_filter], arch: u32, instruction: u64, number: i64, arguments: &[u64]) -> u32 {
    let mut data = vec![number as u32, arch, instruction as u32, (instruction >> 32) as u32];
    let arguments = (0..6).map(|index| arguments.get(index).copied().unwrap_or(0));
    data.extend(arguments.flat_map(|argument| [argument as u32, (argument >> 32) as u32]));
    let (mut accumulator, mut at) = (0, 0);
    loop {
        let libc::sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let mut jump = |condition| at += usize::from(if condition { jt } else { jf });
        match u32::from(code) {
            code if code == BPF_LD | BPF_W | BPF_ABS => accumulator = data[k as usize / 4],
            code if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= k,
            code if code == BPF_JMP | BPF_JEQ | BPF_K => jump(accumulator == k),
            code if code == BPF_JMP | BPF_JSET | BPF_K => jump(accumulator & k != 0),
            code if code == BPF_RET | BPF_K => return k,
            code => panic!("code {code:#x}"),
        }
    }
}

#[test]
fn no_call_of_a_program_is_made_by_the_host() {
    for told in [Told::ByNotification, Told::BySignal] {
        for instruction in [PROGRAM, layout::STUB as u64 - 1, layout::STUB as u64 + 0x1000, STUB + (1 << 32)]
        {
            for number in (0..600).chain([stub::TRAP.into(), -1, 0x4000_0027]) {
                let verdict = verdict(told, instruction, number, &[1, 9, 3, 16, 3]);
                assert!([TRAP, NOTIFY].contains(&verdict), "{number} at {instruction:#x}: {verdict:#x}");
            }
        }
    }
}

#[test]
fn the_stub_makes_few_calls_unasked() {
    for number in (0..600).chain([stub::TRAP.into()]) {
        let unasked = [libc::SYS_rt_sigreturn, libc::SYS_munmap].contains(&number);
        let expected = if unasked { ALLOW } else { NOTIFY };
        assert_eq!(verdict(Told::ByNotification, STUB, number, &[]), expected, "{number}");
    }
    for (arguments, expected) in [([1, 9], ALLOW), ([1, 15], NOTIFY), ([38, 9], NOTIFY)] {
        assert_eq!(verdict(Told::ByNotification, STUB, libc::SYS_prctl, &arguments), expected);
    }
    for (protection, expected) in [(1, ALLOW), (0, NOTIFY), (3, NOTIFY), (5, NOTIFY)] {
        assert_eq!(verdict(Told::ByNotification, STUB, libc::SYS_mprotect, &[0, 1, protection]), expected);
    }
}

#[test]
fn without_notifications_the_stub_may_do_what_it_needs_and_ends_with_all_else() {
    let by_signal = |number, arguments: &[u64]| verdict(Told::BySignal, STUB, number, arguments);
    for (number, arguments, expected) in [
        (libc::SYS_mmap, [0, 0, 0, 0, 3], ALLOW),
        (libc::SYS_mmap, [0, 0, 0, 0, 4], ALLOW),
        (libc::SYS_mmap, [0, 0, 0, 0, u64::MAX], KILL),
        (libc::SYS_clone, [operation::CLONE_PROCESS as u64, 0, 0, 0, 0], ALLOW),
        (libc::SYS_clone, [libc::CLONE_FS as u64, 0, 0, 0, 0], KILL),
        (libc::SYS_prctl, [1, 9, 0, 0, 0], ALLOW),
        (libc::SYS_prctl, [38, 0, 0, 0, 0], KILL),
        (libc::SYS_open, [3, 0, 0, 0, 3], KILL),
        (libc::SYS_execve, [0; 5], KILL),
    ] {
        assert_eq!(by_signal(number, &arguments), expected, "{number} {arguments:?}");
    }
}

#[test]
fn what_is_no_system_call_here_is_a_signal() {
    let vsyscall = 0xffff_ffff_ff60_0400;
    assert_eq!(verdict(Told::ByNotification, vsyscall, libc::SYS_time, &[]), TRAP);
    let i386 = 0x4000_0003;
    assert_eq!(judge(&program(Told::ByNotification), i386, PROGRAM, 20, &[]), TRAP);
}

#[test]
fn only_a_mapping_that_may_replace_others_is_a_signal() {
    for (flags, expected) in [(0x22, NOTIFY), (0x32, TRAP)] {
        assert_eq!(verdict(Told::ByNotification, PROGRAM, libc::SYS_mmap, &[0, 1, 3, flags]), expected);
    }
}

#[test]
fn orders_know_which_calls_are_not_asked_about() {
    let pages = 0x1000..0x3000;
    for (operation, is_asked) in [
        (Operation::unmap(pages.clone()), false),
        (Operation::protect(pages.clone(), Permissions::READ), false),
        (Operation::protect(pages.clone(), Permissions::empty()), true),
        (Operation::protect(pages.clone(), Permissions::READ | Permissions::EXECUTE), true),
        (Operation::map(pages, Frame(1), Permissions::READ), true),
        (Operation::map_slot(layout::SLOTS, 0), true),
        (Operation::die_with_kernel(), false),
    ] {
        let asked = verdict(Told::ByNotification, STUB, operation.number, &operation.arguments) == NOTIFY;
        assert_eq!((asked, operation.is_asked()), (is_asked, is_asked), "{operation:?}");
    }
}

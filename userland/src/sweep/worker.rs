//! One process of a sweep: some hundred calls with arguments from its seed, then its end, if it gets that far.
//!
//! It may do to itself whatever it likes. What it must not do is end those who watch it, or spoil what is not the sweep's:
//! an ordinary user cannot, and root gets only tasks of its own, and only files below its own directory.

use super::NUMBERS;
use super::table::{Kind, ROWS};
use super::values::Values;
use crate::call;
use crate::random::Random;
use crate::system::call::{decode, raw};
use crate::system::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many calls a process makes, and a child of it by fork.
const CALLS: usize = 400;
const CALLS_OF_A_CHILD: usize = 40;
/// Forks within forks end at this depth.
const GENERATIONS: u32 = 2;
/// A call that waits is interrupted every so many microseconds.
const ALARM: i64 = 4000;
/// After so many calls the alarm is put right again: calls turn it off, or block its signal.
const BETWEEN_ALARMS: usize = 16;

/// Left out for root: it would end the machine.
const NOT_FOR_ROOT: &[i64] = &[libc::SYS_reboot];

std::arch::global_asm!(
    // sweep_clone(number, registers): a call that makes a task in the same memory, maybe on a stack that is none. The child
    // therefore touches none: it gives the CPU up three times and ends.
    ".global sweep_clone",
    "sweep_clone:",
    "push rbx",
    "mov rax, rdi",
    "mov rbx, rsi",
    "mov rdi, [rbx]",
    "mov rsi, [rbx + 8]",
    "mov rdx, [rbx + 16]",
    "mov r10, [rbx + 24]",
    "mov r8, [rbx + 32]",
    "mov r9, [rbx + 40]",
    "syscall",
    "test rax, rax",
    "jnz 3f",
    "mov ebx, 3",
    "2: mov eax, 24",
    "syscall",
    "dec ebx",
    "jnz 2b",
    "mov eax, 60",
    "xor edi, edi",
    "syscall",
    "3: pop rbx",
    "ret",
);

unsafe extern "C" {
    fn sweep_clone(number: i64, registers: &[usize; 6]) -> i64;
}

/// Who a process of a sweep is.
pub struct Worker {
    pub seed: u64,
    /// Its directory, which it may fill.
    pub directory: String,
    /// The user it becomes; 0 stays root.
    pub user: u32,
}

impl Worker {
    /// Does all of it. `calls` counts, for each number, the calls and those that were not refused.
    pub fn work(self, calls: &[[AtomicU64; 2]; NUMBERS]) -> i32 {
        let _ = call!(libc::SYS_setsid);
        let mut random = Random::new(self.seed);
        limit_itself(&mut random);
        let directory = process::c_string(&self.directory);
        if call!(libc::SYS_chdir, directory.as_c_str()).is_err() || !become_user(self.user) {
            return 1;
        }
        catch_signals();
        let mut values = Values::new(self.user == 0);
        let mut generation = 0;
        let mut own = process_id();
        let mut left = CALLS;
        while left > 0 {
            left -= 1;
            if left.is_multiple_of(BETWEEN_ALARMS) {
                set_alarm();
            }
            let Some((number, registers)) = self.choose(&mut random, &mut values, generation) else {
                continue;
            };
            let [made, done] = &calls[number as usize];
            made.fetch_add(1, Relaxed);
            let answer = match number {
                // SAFETY: whatever the child is, it only makes calls, without a stack.
                libc::SYS_clone | libc::SYS_clone3 | libc::SYS_vfork => unsafe {
                    sweep_clone(number, &registers)
                },
                _ => raw(number, registers),
            };
            done.fetch_add(decode(answer).is_ok().into(), Relaxed);
            if process_id() != own {
                // The child of a fork: it goes its own way, and not for long.
                own = process_id();
                generation += 1;
                random = Random::new(self.seed ^ own as u64);
                left = CALLS_OF_A_CHILD;
            }
        }
        0
    }

    /// A call and its arguments.
    fn choose(&self, random: &mut Random, values: &mut Values, generation: u32) -> Option<(i64, [usize; 6])> {
        let number = random.below(NUMBERS) as i64;
        let row = ROWS.iter().find(|(known, _)| *known == number);
        let is_fork = [libc::SYS_fork, libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3].contains(&number);
        let is_end = [libc::SYS_exit, libc::SYS_exit_group].contains(&number);
        if self.user == 0 && NOT_FOR_ROOT.contains(&number)
            || is_fork && generation >= GENERATIONS
            || is_end && !random.once_in(8)
        {
            return None;
        }
        let kinds = row.map_or(&[Kind::Any; 6][..], |(_, kinds)| kinds);
        let mut registers = [0; 6];
        for (register, kind) in registers.iter_mut().zip(kinds) {
            *register = values.value(random, *kind);
        }
        if number == libc::SYS_clone3 {
            values.shape_clone(random, registers[0]);
        }
        Some((number, registers))
    }
}

fn process_id() -> i64 {
    raw(libc::SYS_getpid, [0; 6])
}

/// Most of them are kept small, so that a sweep is not about memory alone; some are not.
fn limit_itself(random: &mut Random) {
    let mib = 1 << 20;
    let limits = [
        (libc::RLIMIT_AS, if random.once_in(8) { u64::MAX } else { 96 * mib }),
        (libc::RLIMIT_FSIZE, if random.once_in(8) { 16 * mib } else { mib }),
        (libc::RLIMIT_NPROC, 40),
        (libc::RLIMIT_CORE, 0),
    ];
    for (resource, limit) in limits {
        let _ = call!(libc::SYS_setrlimit, resource, &[limit, limit]);
    }
}

fn become_user(user: u32) -> bool {
    user == 0
        || call!(libc::SYS_setgroups, 0, 0usize)
            .and_then(|_| call!(libc::SYS_setgid, user))
            .and_then(|_| call!(libc::SYS_setuid, user))
            .is_ok()
}

extern "C" fn take_note(_signal: i32) {}

/// Signals only interrupt. The processor's own exceptions end the process, which may be running anything by then.
fn catch_signals() {
    let left_alone = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT];
    for signal in (1..=libc::SIGSYS).filter(|signal| !left_alone.contains(signal)) {
        catch(signal);
    }
}

fn catch(signal: i32) {
    // SAFETY: all zeros are a `sigaction` without flags and with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = take_note as *const () as usize;
    // SAFETY: the handler does nothing.
    unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
}

/// Has waits interrupted from now on.
fn set_alarm() {
    catch(libc::SIGALRM);
    let alarm = 1u64 << (libc::SIGALRM - 1);
    let _ = call!(libc::SYS_rt_sigprocmask, libc::SIG_UNBLOCK, &alarm, 0usize, 8);
    let _ = call!(libc::SYS_setitimer, libc::ITIMER_REAL, &[0, ALARM, 0, ALARM], 0usize);
}

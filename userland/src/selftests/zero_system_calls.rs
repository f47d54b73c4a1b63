//! Reading a clock through the vDSO makes no system call, in root and in a namespace, as the kernel itself says.
//!
//! Gnomon counts the system calls of each thread. Linux does not, but a filter of seccomp(2) can make it kill a process
//! at its first system call other than exit, which proves the same.

use super::support::{FAR, measured_clocks, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, equal, failed, skipped};
use crate::system::errno::Errno;
use crate::system::namespace;
use crate::system::process::{self, Status};
use crate::system::syscall_count::SyscallCount;
use crate::system::time;
use crate::system::vdso::Vdso;

/// Readings of each clock.
const READINGS: usize = 1000;

/// Fails unless `work` makes exactly `expected` system calls; without a count, none or some is all that can be told.
fn makes(expected: i64, work: impl FnOnce()) -> Outcome {
    if let Some(count) = SyscallCount::open() {
        return equal("system calls", count.of(work).step("the count")?, expected);
    }
    let status = process::run(|| {
        if allow_only_exit().is_err() {
            process::exit(3);
        }
        work();
        let _ = call!(libc::SYS_exit, 0);
        0
    })?;
    match status {
        Status::Exited(3) => skipped("there is neither a count of system calls nor seccomp"),
        Status::Exited(0) => equal("system calls", 0, expected),
        Status::Killed(libc::SIGSYS) if expected > 0 => Ok(()),
        status => failed(format!("expected no system call, but the filter ended it: {status:?}")),
    }
}

/// From now on any system call of this thread but exit is its death by SIGSYS. (Strict seccomp will not do: it takes
/// the cycle counter away, too.)
fn allow_only_exit() -> Result<usize, Errno> {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // code, jump if true, jump if false, operand: load the number; exit goes on to the last line.
    let program: [(u16, u8, u8, u32); 4] = [
        (LOAD_WORD, 0, 0, 0),
        (JUMP_IF_EQUAL, 1, 0, libc::SYS_exit as u32),
        (RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        (RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = program.map(|(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k });
    let filter = libc::sock_fprog { len: 4, filter: program.as_ptr().cast_mut() };
    call!(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
    call!(libc::SYS_prctl, libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter)
}

fn enter(place: &str) -> Outcome {
    if place == "outside" {
        return Ok(());
    }
    needs_root()?;
    namespace::unshare_and_enter(FAR).step("entering")
}

pub fn cases(plan: &mut Plan) {
    plan.case("nothing makes none, three calls are three", || {
        makes(0, || ())?;
        makes(3, || (0..3).for_each(|_| _ = call!(libc::SYS_getppid)))
    });
    plan.case("a clock that the vDSO does not know is one system call", || {
        let read = super::clock_shift::vdso_clock_gettime()?;
        let mut reading = time::ZERO;
        makes(1, || _ = read(libc::CLOCK_THREAD_CPUTIME_ID, &mut reading))
    });
    for place in ["outside", "inside"] {
        for clock in measured_clocks() {
            plan.case(format!("{place}: {READINGS} readings of {} make none", clock.name), move || {
                enter(place)?;
                let read = super::clock_shift::vdso_clock_gettime()?;
                let mut reading = time::ZERO;
                makes(0, || (0..READINGS).for_each(|_| _ = read(clock.id, &mut reading)))
            });
        }
        plan.case(format!("{place}: gettimeofday, time, clock_getres and getcpu make none"), move || {
            enter(place)?;
            let vdso = Vdso::find().step("the vDSO")?;
            let gettimeofday = vdso.gettimeofday().step("__vdso_gettimeofday")?;
            let seconds = vdso.time().step("__vdso_time")?;
            let resolution = vdso.clock_getres().step("__vdso_clock_getres")?;
            let getcpu = vdso.getcpu().step("__vdso_getcpu")?;
            let (mut value, mut zone) = (libc::timeval { tv_sec: 0, tv_usec: 0 }, [0, 0]);
            let (mut step, mut cpu) = (time::ZERO, 0);
            makes(0, || {
                for _ in 0..READINGS {
                    gettimeofday(&mut value, &mut zone);
                    seconds(&mut value.tv_sec);
                    resolution(1, &mut step);
                    resolution(5, &mut step);
                    getcpu(&mut cpu, std::ptr::null_mut(), 0);
                }
            })
        });
    }
}

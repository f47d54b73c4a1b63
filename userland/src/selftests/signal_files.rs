//! Signals as a file, signalfd(2).

use super::sleeping::NAP;
use super::timers::block;
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, equal, in_child, refused};
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::process;
use crate::system::time::{self, MILLISECOND};

const QUEUED: i32 = 40;

fn set_of(signals: &[i32]) -> u64 {
    signals.iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

fn signal_file(signals: &[i32], flags: i32) -> Result<Descriptor, Errno> {
    let file = call!(libc::SYS_signalfd4, -1, &set_of(signals), 8, flags)?;
    Ok(Descriptor(file as i32))
}

/// What one read gives: of each signal its number, code, process, overrun and value.
fn read(file: &Descriptor, room: usize) -> Result<Vec<[i32; 5]>, Errno> {
    let mut records = [[0i32; 32]; 4];
    let count = call!(libc::SYS_read, file.0, &mut records, room)?;
    let told = |record: &[i32; 32]| [record[0], record[2], record[3], record[8], record[11]];
    Ok(records[..count / 128].iter().map(told).collect())
}

fn is_readable(file: &Descriptor) -> Result<bool, Errno> {
    let mut poll = libc::pollfd { fd: file.0, events: libc::POLLIN, revents: 0 };
    call!(libc::SYS_poll, &mut poll, 1, 0).map(|count| count == 1)
}

fn own_id() -> Result<i32, Errno> {
    call!(libc::SYS_getpid).map(|id| id as i32)
}

fn queue(signal: i32, value: i32) -> Outcome {
    let mut info = [0i32; 32];
    (info[2], info[4], info[6]) = (-1, own_id()?, value);
    call!(libc::SYS_rt_sigqueueinfo, own_id()?, signal, &info).step("rt_sigqueueinfo")?;
    Ok(())
}

pub fn cases(plan: &mut Plan) {
    plan.case("pending signals are read, lowest first, with what came with them", || {
        block(libc::SIGUSR1)?;
        block(QUEUED)?;
        let file = signal_file(&[libc::SIGUSR1, QUEUED], libc::SFD_NONBLOCK)?;
        refused("none", read(&file, 128), Errno::EAGAIN)?;
        equal("readable", is_readable(&file), Ok(false))?;
        queue(QUEUED, 5)?;
        queue(QUEUED, 6)?;
        call!(libc::SYS_kill, own_id()?, libc::SIGUSR1)?;
        equal("readable", is_readable(&file), Ok(true))?;
        refused("too little room", read(&file, 127), Errno::EINVAL)?;
        let own = own_id()?;
        let first = vec![[libc::SIGUSR1, 0, own, 0, 0], [QUEUED, -1, own, 0, 5]];
        equal("two", read(&file, 300), Ok(first))?;
        equal("the third", read(&file, 512), Ok(vec![[QUEUED, -1, own, 0, 6]]))?;
        equal("readable", is_readable(&file), Ok(false))
    });
    plan.case("a reader waits; the set can be changed", || {
        block(libc::SIGUSR1)?;
        block(libc::SIGUSR2)?;
        let file = signal_file(&[libc::SIGUSR1], 0)?;
        let (number, own) = (file.0, own_id()?);
        // The older call, which has no flags.
        let answer = call!(libc::SYS_signalfd, number, &set_of(&[libc::SIGUSR2]), 8);
        equal("signalfd", answer, Ok(number as usize))?;
        let sender = Running::start(move || {
            call!(libc::SYS_kill, own, libc::SIGUSR1).step("kill")?;
            time::sleep(NAP);
            call!(libc::SYS_kill, own, libc::SIGUSR2).step("kill").map(|_| ())
        })?;
        equal("signal", read(&file, 128).map(|told| told[0][0]), Ok(libc::SIGUSR2))?;
        sender.finish()
    });
    plan.case("whose signals they are depends on who reads", || {
        block(libc::SIGUSR1)?;
        let file = signal_file(&[libc::SIGUSR1], libc::SFD_NONBLOCK)?;
        call!(libc::SYS_kill, own_id()?, libc::SIGUSR1)?;
        let number = file.0;
        in_child(move || {
            let file = Descriptor(number);
            equal("readable in the child", is_readable(&file), Ok(false))?;
            refused("read in the child", read(&file, 128), Errno::EAGAIN)?;
            call!(libc::SYS_kill, own_id()?, libc::SIGUSR1)?;
            equal("its own", read(&file, 128).map(|told| told[0][2]), own_id())
        })?;
        equal("in the parent", read(&file, 128).map(|told| told[0][2]), own_id())
    });
    plan.case("signals that are ignored by default are read too, and a child's end", || {
        block(libc::SIGCHLD)?;
        let file = signal_file(&[libc::SIGCHLD], 0)?;
        let child = process::spawn(|| 7)?;
        let mut record = [0i32; 32];
        equal("read", call!(libc::SYS_read, file.0, &mut record, 128), Ok(128))?;
        let told = [record[0], record[2], record[3], record[10]];
        equal("signal, code, process, status", told, [libc::SIGCHLD, 1, child, 7])?;
        process::wait(child)?;
        Ok(())
    });
    plan.case("a timer's signal tells its overrun", || {
        block(QUEUED)?;
        let file = signal_file(&[QUEUED], 0)?;
        let event = [77i32, 0, QUEUED, libc::SIGEV_SIGNAL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut timer = 0i32;
        call!(libc::SYS_timer_create, 1, &event, &mut timer).step("timer_create")?;
        let value = [time::timespec(MILLISECOND), time::timespec(MILLISECOND)];
        call!(libc::SYS_timer_settime, timer, 0, &value, 0usize).step("timer_settime")?;
        time::sleep(NAP);
        let told = read(&file, 128)?[0];
        equal("signal, code, value", [told[0], told[1], told[4]], [QUEUED, -2, 77])?;
        crate::ktap::within("overrun", told[3].into(), NAP / MILLISECOND - 1, 1 << 20)
    });
    plan.case("refusals", || {
        let set = set_of(&[libc::SIGUSR1]);
        let make = |file: i32, size: i32, flags: i32| call!(libc::SYS_signalfd4, file, &set, size, flags);
        refused("size", make(-1, 4, 0), Errno::EINVAL)?;
        refused("flags", make(-1, 8, 1), Errno::EINVAL)?;
        refused("descriptor", make(999, 8, 0), Errno::EBADF)?;
        let (read_end, _) = process::pipe()?;
        refused("a pipe", make(read_end, 8, 0), Errno::EINVAL)?;
        refused("set", call!(libc::SYS_signalfd4, -1, 8usize, 8, 0), Errno::EFAULT)?;
        let file = signal_file(&[libc::SIGUSR1], 0)?;
        refused("write", call!(libc::SYS_write, file.0, &set, 8), Errno::EINVAL)
    });
}

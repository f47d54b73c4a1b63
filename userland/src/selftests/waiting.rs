//! Waiting for children, process groups and sessions.

use super::signals::{kill, own_id};
use crate::call;
use crate::ktap::{Plan, Running, Step, Why, equal, failed, holds, in_child, refused, within};
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::process::{self, Status};
use crate::system::time::{self, MILLISECOND, SECOND};

/// waitid(2): signo, status, code, pid.
fn waitid(kind: u32, id: i32, options: i32) -> Result<[i32; 4], Errno> {
    let mut information = [0i32; 32];
    call!(libc::SYS_waitid, kind, id, &mut information, options, 0usize)?;
    Ok([information[0], information[6], information[2], information[4]])
}

pub fn cases(plan: &mut Plan) {
    plan.case("wait4 gives each child once, with its exit status", || {
        for code in [0, 1, 127, 255, 256 + 3] {
            let child = process::spawn(|| code)?;
            equal("status", process::wait(child)?, Status::Exited(code & 255))?;
            refused("again", process::wait(child), Errno::ECHILD)?;
        }
        Ok(())
    });
    plan.case("fork and vfork by their own numbers: a child in the same group", || {
        let group = call!(libc::SYS_getpgrp).step("getpgrp")?;
        equal("getpgid", call!(libc::SYS_getpgid, 0), Ok(group))?;
        // Neither child calls anything else: the first has no C library set up for it, the second has the parent's stack.
        let child = match call!(libc::SYS_fork).step("fork")? {
            0 => loop {
                let _ = call!(libc::SYS_exit_group, (call!(libc::SYS_getpgrp) == Ok(group)) as i32);
            },
            child => child as i32,
        };
        equal("fork", process::wait(child)?, Status::Exited(1))?;
        let child = match call!(libc::SYS_vfork).step("vfork")? {
            0 => loop {
                let _ = call!(libc::SYS_exit_group, 7);
            },
            child => child as i32,
        };
        equal("vfork", process::wait(child)?, Status::Exited(7))
    });
    plan.case("wait4 for any child finds all of them", || {
        let mut children: Vec<i32> = (0..5).map(|code| process::spawn(|| code)).collect::<Result<_, _>>()?;
        while !children.is_empty() {
            let (child, _) = process::wait_with(-1, 0)?;
            let before = children.len();
            children.retain(|known| *known != child);
            equal("children left", children.len(), before - 1)?;
        }
        refused("none left", process::wait_with(-1, 0), Errno::ECHILD)
    });
    plan.case("WNOHANG is 0 while the child runs", || {
        let child = process::spawn(|| {
            loop {
                let _ = call!(libc::SYS_pause);
            }
        })?;
        equal("wait4", process::wait_with(child, libc::WNOHANG).map(|answer| answer.0), Ok(0))?;
        kill(child, libc::SIGKILL)?;
        equal("status", process::wait(child)?, Status::Killed(libc::SIGKILL))
    });
    plan.case("wait4 refuses unknown options (EINVAL) and foreign processes (ECHILD)", || {
        refused("options", process::wait_with(-1, 0x1000), Errno::EINVAL)?;
        refused("the parent", process::wait(call!(libc::SYS_getppid)? as i32), Errno::ECHILD)?;
        refused("process 1", process::wait(1), Errno::ECHILD)
    });
    plan.case("waitid: exited, killed, left as a zombie by WNOWAIT", || {
        let child = process::spawn(|| 9)?;
        let peek = waitid(libc::P_PID, child, libc::WEXITED | libc::WNOWAIT).step("waitid(WNOWAIT)")?;
        equal("signal, status, code, id", peek, [libc::SIGCHLD, 9, 1, child])?;
        let status = file::read(&format!("/proc/{child}/stat")).step("stat of a zombie")?;
        holds(status.contains(") Z "), || format!("its state: {status}"))?;
        equal("again", waitid(libc::P_ALL, 0, libc::WEXITED), Ok([libc::SIGCHLD, 9, 1, child]))?;
        let child = process::spawn(|| {
            let _ = kill(own_id(), libc::SIGTERM);
            0
        })?;
        equal(
            "killed",
            waitid(libc::P_PID, child, libc::WEXITED),
            Ok([libc::SIGCHLD, libc::SIGTERM, 2, child]),
        )?;
        refused("no options", waitid(libc::P_ALL, 0, 0), Errno::EINVAL)?;
        refused("no children", waitid(libc::P_ALL, 0, libc::WEXITED), Errno::ECHILD)?;
        refused("kind 99", waitid(99, 0, libc::WEXITED), Errno::EINVAL)
    });
    plan.case("waitid with WNOHANG and nothing to tell leaves zeros", || {
        let child = process::spawn(|| {
            loop {
                let _ = call!(libc::SYS_pause);
            }
        })?;
        let answer = waitid(libc::P_PID, child, libc::WEXITED | libc::WNOHANG);
        kill(child, libc::SIGKILL)?;
        process::wait(child)?;
        equal("answer", answer.map(|[signal, _, _, id]| (signal, id)), Ok((0, 0)))
    });
    plan.case("waitid by pidfd", || {
        let child = process::spawn(|| 4)?;
        let pidfd = file::Descriptor(call!(libc::SYS_pidfd_open, child, 0).step("pidfd_open")? as i32);
        let answer = waitid(libc::P_PIDFD, pidfd.0, libc::WEXITED);
        equal("answer", answer, Ok([libc::SIGCHLD, 4, 1, child]))
    });
    plan.case("waits can be for a group", || {
        let child = Running::start(|| call!(libc::SYS_setpgid, 0, 0).step("setpgid").map(|_| ()))?;
        let id = child.child;
        let _ = call!(libc::SYS_setpgid, id, id);
        let other = process::spawn(|| 0)?;
        equal("the group's", process::wait_with(-id, 0).map(|answer| answer.0), Ok(id))?;
        refused("the group's again", process::wait_with(-id, 0), Errno::ECHILD)?;
        equal("one's own group's", process::wait_with(0, 0).map(|answer| answer.0), Ok(other))
    });
    plan.case("an orphan is adopted, by process 1 or by a subreaper", || {
        call!(libc::SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1).step("PR_SET_CHILD_SUBREAPER")?;
        let (read_end, write_end) = process::pipe()?;
        let parent = process::spawn(|| {
            let parent = own_id() as usize;
            let grandchild = process::spawn(|| {
                while call!(libc::SYS_getppid) == Ok(parent) {
                    time::sleep(MILLISECOND);
                }
                process::send_byte(write_end);
                11
            });
            i32::from(grandchild.is_err())
        })?;
        process::wait(parent)?;
        process::await_byte(read_end);
        equal("the adopted child", process::wait_with(-1, 0).map(|answer| answer.1), Ok(Status::Exited(11)))
    });
    plan.case("PR_SET_PDEATHSIG: the child is told of its parent's death", || {
        let (read_end, write_end) = process::pipe()?;
        let parent = process::spawn(|| {
            let (ready_read, ready_write) = process::pipe().unwrap_or((-1, -1));
            let _ = process::spawn(|| {
                let _ = call!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                process::send_byte(ready_write);
                time::sleep(20 * SECOND);
                process::send_byte(write_end);
                0
            });
            process::await_byte(ready_read);
            0
        })?;
        process::close(write_end);
        let before = time::read_by_call(1)?;
        process::wait(parent)?;
        holds(!process::await_byte(read_end), || "the child lived on".into())?;
        within("it took", time::read_by_call(1)? - before, 0, 10 * SECOND)
    });
    resources(plan);
    groups(plan);
}

fn resources(plan: &mut Plan) {
    plan.case("CPU time of children is counted when they have been waited for", || {
        let times = || -> Result<[i64; 4], Why> {
            let mut buffer = [0i64; 4];
            call!(libc::SYS_times, &mut buffer)?;
            Ok(buffer)
        };
        let child = process::spawn(|| {
            let busy = time::read_by_call(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0) + 50 * MILLISECOND;
            while time::read_by_call(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(i64::MAX) < busy {}
            0
        })?;
        process::wait(child)?;
        within("ticks of children", times()?[2] + times()?[3], 3, 1000)
    });
    plan.case("process and thread CPU clocks go on while busy, and stand while asleep", || {
        let busy = |nanoseconds: i64| -> Result<i64, Why> {
            let before = time::read_by_call(libc::CLOCK_PROCESS_CPUTIME_ID)?;
            let end = time::read_by_call(1)? + nanoseconds;
            while time::read_by_call(1)? < end {}
            Ok(time::read_by_call(libc::CLOCK_PROCESS_CPUTIME_ID)? - before)
        };
        holds(busy(30 * MILLISECOND)? > 0, || "the clock stood while busy".into())?;
        let before = time::read_by_call(libc::CLOCK_THREAD_CPUTIME_ID)?;
        time::sleep(50 * MILLISECOND);
        let slept = time::read_by_call(libc::CLOCK_THREAD_CPUTIME_ID)? - before;
        within("CPU time of a sleep of 50 ms", slept, 0, 40 * MILLISECOND)
    });
    plan.case("many children, all reaped", || {
        for round in 0..5 {
            let children: Vec<i32> = (0..20).map(|code| process::spawn(|| code)).collect::<Result<_, _>>()?;
            for (code, child) in children.into_iter().enumerate() {
                equal(&format!("round {round}"), process::wait(child)?, Status::Exited(code as i32))?;
            }
        }
        Ok(())
    });
}

fn groups(plan: &mut Plan) {
    let group = |id: i32| call!(libc::SYS_getpgid, id).map(|group| group as i32);
    let session = |id: i32| call!(libc::SYS_getsid, id).map(|session| session as i32);
    plan.case("setsid makes a session and a group, and refuses a leader: EPERM", move || {
        in_child(move || {
            let id = own_id();
            equal("setsid", call!(libc::SYS_setsid), Ok(id as usize))?;
            equal("group and session", (group(0), session(0)), (Ok(id), Ok(id)))?;
            refused("setsid again", call!(libc::SYS_setsid), Errno::EPERM)?;
            refused("setpgid of a session's leader", call!(libc::SYS_setpgid, 0, 0), Errno::EPERM)?;
            in_child(move || equal("the child's", (group(0), session(0)), (Ok(id), Ok(id))))
        })
    });
    plan.case("setpgid: one's own, a child's before its exec; others are refused", move || {
        let child = super::setns::Waiting::start(|| ())?;
        call!(libc::SYS_setpgid, child.child, child.child).step("of a child")?;
        equal("its group", group(child.child), Ok(child.child))?;
        call!(libc::SYS_setpgid, 0, child.child).step("into the child's group")?;
        equal("own group", group(0), Ok(child.child))?;
        refused("a group that is not", call!(libc::SYS_setpgid, 0, 3_999_999), Errno::EPERM)?;
        refused("group -1", call!(libc::SYS_setpgid, 0, -1), Errno::EINVAL)?;
        refused("process 1", call!(libc::SYS_setpgid, 1, 1), Errno::ESRCH)?;
        refused("getpgid of no process", group(4_000_000), Errno::ESRCH)?;
        refused("getsid of no process", session(4_000_000), Errno::ESRCH)
    });
    plan.case("setpgid of a child after its exec is EACCES", || {
        let (read_end, write_end) = process::pipe()?;
        let words = super::support::helper_words(&["wait"]);
        let (hold_read, hold_write) = process::pipe()?;
        let child = process::spawn(|| {
            let _ = call!(libc::SYS_dup2, write_end, 1);
            let _ = call!(libc::SYS_dup2, hold_read, 0);
            process::execute(&words);
            1
        })?;
        process::close(write_end);
        holds(process::await_byte(read_end), || "the helper did not start".into())?;
        let answer = call!(libc::SYS_setpgid, child, child);
        process::close(hold_write);
        process::wait(child)?;
        refused("setpgid", answer, Errno::EACCES)
    });
    plan.case("fields of /proc/self/stat: id, parent, group, session", move || {
        let text = file::read("/proc/self/stat")?;
        let Some((head, tail)) = text.rsplit_once(") ") else { return failed("no name in stat") };
        let numbers: Vec<i32> =
            tail.split(' ').skip(1).take(3).filter_map(|word| word.parse().ok()).collect();
        let id = head.split(' ').next().and_then(|word| word.parse().ok());
        equal("id", id, Some(own_id()))?;
        let parent = call!(libc::SYS_getppid)? as i32;
        equal("parent, group, session", numbers, vec![parent, group(0)?, session(0)?])
    });
}

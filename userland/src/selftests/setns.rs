//! setns(2) into time namespaces: by nsfs file and by pidfd, what is refused in which order, and what it sets.

use super::support::{Base, FAR, become_nobody, is_frozen, needs_root, slots, slots_are, unshared};
use super::unshare_rules::with_a_second_thread;
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, equal, holds, refused};
use crate::system::clone;
use crate::system::credentials::{self, CLONE_NEWUSER};
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::namespace::{self, CLONE_NEWTIME, TIME, TIME_FOR_CHILDREN};
use crate::system::process;

fn setns(descriptor: i32, kind: i32) -> Result<usize, Errno> {
    call!(libc::SYS_setns, descriptor, kind)
}

fn open(path: &str) -> Result<Descriptor, crate::ktap::Why> {
    Descriptor::open(path, libc::O_RDONLY).step(&format!("opening {path}"))
}

fn pidfd(process: i32) -> Result<Descriptor, crate::ktap::Why> {
    call!(libc::SYS_pidfd_open, process, 0).map(|fd| Descriptor(fd as i32)).step("pidfd_open")
}

/// A child that waits until it is told to end: by dropping this.
pub struct Waiting {
    /// Its process id.
    pub child: i32,
    write_end: i32,
}

impl Waiting {
    /// Forks; the child runs `prepare` before this returns.
    pub fn start(prepare: impl FnOnce()) -> Result<Waiting, crate::ktap::Why> {
        let (ready_read, ready_write) = process::pipe()?;
        let (read_end, write_end) = process::pipe()?;
        let child = process::spawn(|| {
            process::close(write_end);
            prepare();
            process::send_byte(ready_write);
            process::await_byte(read_end);
            0
        })?;
        process::close(ready_write);
        process::close(read_end);
        holds(process::await_byte(ready_read), || "the child ended early".into())?;
        process::close(ready_read);
        Ok(Waiting { child, write_end })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        process::close(self.write_end);
        let _ = process::wait(self.child);
    }
}

pub fn cases(plan: &mut Plan) {
    refusals(plan);
    order(plan);
    effects(plan);
}

fn refusals(plan: &mut Plan) {
    plan.case("a bad descriptor is EBADF", || {
        refused("setns(-1)", setns(-1, CLONE_NEWTIME), Errno::EBADF)?;
        refused("setns(9999)", setns(9999, 0), Errno::EBADF)
    });
    plan.case("an O_PATH descriptor is EBADF", || {
        let path = Descriptor::open(TIME, libc::O_PATH).step("opening with O_PATH")?;
        refused("setns", setns(path.0, CLONE_NEWTIME), Errno::EBADF)
    });
    for kind in [CLONE_NEWUSER, libc::CLONE_NEWUTS, 0x81, 1, CLONE_NEWTIME | CLONE_NEWUSER, -1] {
        plan.case(
            format!("a namespace file and type {kind:#x}, which is not its own, is EINVAL"),
            move || refused("setns", setns(open(TIME)?.0, kind), Errno::EINVAL),
        );
    }
    plan.case("a user namespace file and type CLONE_NEWTIME is EINVAL", || {
        refused("setns", setns(open("/proc/self/ns/user")?.0, CLONE_NEWTIME), Errno::EINVAL)
    });
    for (what, path) in [("regular file", "/proc/self/status"), ("directory", "/"), ("device", "/dev/null")] {
        plan.case(format!("a descriptor of a {what} is EINVAL"), move || {
            refused("setns", setns(open(path)?.0, CLONE_NEWTIME), Errno::EINVAL)?;
            refused("setns of type 0", setns(open(path)?.0, 0), Errno::EINVAL)
        });
    }
    plan.case("a pipe is EINVAL", || {
        let (read_end, _) = process::pipe()?;
        refused("setns", setns(read_end, CLONE_NEWTIME), Errno::EINVAL)
    });
    for kind in [0, 1, CLONE_NEWTIME | 1, CLONE_NEWTIME | libc::CLONE_VM] {
        plan.case(
            format!("a pidfd and type {kind:#x} is EINVAL, also when the process is gone"),
            move || {
                let child = process::spawn(|| 0)?;
                let descriptor = pidfd(child)?;
                refused("setns", setns(descriptor.0, kind), Errno::EINVAL)?;
                process::wait(child)?;
                refused("setns after the end", setns(descriptor.0, kind), Errno::EINVAL)
            },
        );
    }
    plan.case("a pidfd of a zombie is ESRCH, and so it is after the reaping", || {
        let child = process::spawn(|| 0)?;
        let descriptor = pidfd(child)?;
        // WNOWAIT: it has ended and stays a zombie.
        let mut information = [0u64; 16];
        let options = libc::WEXITED | libc::WNOWAIT;
        call!(libc::SYS_waitid, libc::P_PID, child, &mut information, options, 0usize)
            .step("waitid(WNOWAIT)")?;
        refused("setns to a zombie", setns(descriptor.0, CLONE_NEWTIME), Errno::ESRCH)?;
        process::wait(child)?;
        refused("setns after the reaping", setns(descriptor.0, CLONE_NEWTIME), Errno::ESRCH)
    });
    plan.case("a pidfd of a process that may not be traced is EPERM", || {
        needs_root()?;
        let parent = call!(libc::SYS_getpid)? as i32;
        Running::start(move || {
            let descriptor = pidfd(parent)?;
            become_nobody()?;
            refused("setns", setns(descriptor.0, CLONE_NEWTIME), Errno::EPERM)?;
            with_a_second_thread(|| {
                refused("setns with two threads", setns(descriptor.0, CLONE_NEWTIME), Errno::EPERM)
            })
        })?
        .finish()
    });
    plan.case("a caller with two threads is EUSERS, by file and by pidfd", || {
        let file = open(TIME)?;
        let myself = pidfd(call!(libc::SYS_getpid)? as i32)?;
        with_a_second_thread(|| {
            refused("setns by file", setns(file.0, CLONE_NEWTIME), Errno::EUSERS)?;
            refused("setns by pidfd", setns(myself.0, CLONE_NEWTIME), Errno::EUSERS)
        })
    });
    plan.case("a vfork child, which shares its memory, is EUSERS", || {
        let file = open(TIME)?;
        let mut answer = None;
        let child = clone::vfork_running(0, || {
            answer = Some(setns(file.0, CLONE_NEWTIME));
            0
        })
        .step("vfork")?;
        process::wait(child)?;
        refused("setns", answer.step("the child's answer")?, Errno::EUSERS)
    });
    plan.case("without CAP_SYS_ADMIN it is EPERM", || {
        let file = open(TIME)?;
        become_nobody()?;
        refused("setns", setns(file.0, CLONE_NEWTIME), Errno::EPERM)
    });
    plan.case("root of a new user namespace may not enter a namespace of the old one: EPERM", || {
        let file = open(TIME)?;
        credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
        refused("setns", setns(file.0, CLONE_NEWTIME), Errno::EPERM)
    });
    plan.case(
        "root of the old user namespace, in a new one, may not enter the new one's time namespace",
        || {
            // CAP_SYS_ADMIN is needed in the caller's own user namespace too. A sibling user namespace has it in neither.
            needs_root()?;
            let other = Waiting::start(|| {
                let _ = call!(libc::SYS_unshare, CLONE_NEWUSER | CLONE_NEWTIME);
            })?;
            let file = open(&format!("/proc/{}/ns/time_for_children", other.child))?;
            call!(libc::SYS_unshare, CLONE_NEWUSER).step("unshare(CLONE_NEWUSER)")?;
            refused("setns", setns(file.0, CLONE_NEWTIME), Errno::EPERM)
        },
    );
}

fn order(plan: &mut Plan) {
    plan.case("the wrong type is EINVAL before two threads are EUSERS and before EPERM", || {
        let file = open(TIME)?;
        become_nobody()?;
        with_a_second_thread(|| refused("setns", setns(file.0, CLONE_NEWUSER), Errno::EINVAL))
    });
    plan.case("two threads are EUSERS before a missing privilege is EPERM", || {
        let file = open(TIME)?;
        become_nobody()?;
        with_a_second_thread(|| refused("setns", setns(file.0, CLONE_NEWTIME), Errno::EUSERS))
    });
    plan.case("a zombie is ESRCH before two threads are EUSERS", || {
        let child = process::spawn(|| 0)?;
        let descriptor = pidfd(child)?;
        process::wait(child)?;
        with_a_second_thread(|| refused("setns", setns(descriptor.0, CLONE_NEWTIME), Errno::ESRCH))
    });
}

fn effects(plan: &mut Plan) {
    for (path, kind) in
        [(TIME_FOR_CHILDREN, 0), (TIME_FOR_CHILDREN, CLONE_NEWTIME), (TIME, 0), (TIME, CLONE_NEWTIME)]
    {
        plan.case(
            format!("type {kind:#x} enters the namespace of {path}: both links, clocks, frozen"),
            move || {
                needs_root()?;
                let base = Base::take()?;
                let (_, pending) = unshared()?;
                namespace::set_offsets(FAR).step("setting offsets")?;
                if path == TIME {
                    // The namespace of a child that is inside, opened by its `time` link.
                    let child = Waiting::start(|| ())?;
                    let file = open(&format!("/proc/{}/ns/time", child.child))?;
                    setns(file.0, kind).step("setns")?;
                } else {
                    setns(open(path)?.0, kind).step("setns")?;
                }
                slots_are(&slots()?, &pending, &pending)?;
                base.shifted_by(FAR)?;
                is_frozen()
            },
        );
    }
    plan.case("back to the root namespace and in again, as often as one likes", || {
        needs_root()?;
        let base = Base::take()?;
        let (before, pending) = unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        let (root, inner) = (open(TIME)?, open(TIME_FOR_CHILDREN)?);
        for _ in 0..3 {
            setns(inner.0, CLONE_NEWTIME).step("setns into it")?;
            slots_are(&slots()?, &pending, &pending)?;
            base.shifted_by(FAR)?;
            setns(root.0, CLONE_NEWTIME).step("setns back")?;
            slots_are(&slots()?, &before.time, &before.time)?;
            base.unshifted()?;
        }
        Ok(())
    });
    plan.case("setns into the namespace one is in drops the pending one", || {
        needs_root()?;
        let (before, _) = unshared()?;
        namespace::enter(TIME).step("setns to ns/time")?;
        slots_are(&slots()?, &before.time, &before.time)
    });
    plan.case("a pidfd joins the target's own namespace, never the one for its children", || {
        needs_root()?;
        let base = Base::take()?;
        let (before, pending) = unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        // This child is in the namespace and has made another for its own children.
        let child = Waiting::start(|| _ = namespace::unshare())?;
        let its_children = super::support::slots_of(child.child)?.children;
        holds(its_children != pending, || "the target has no pending namespace".into())?;
        setns(pidfd(child.child)?.0, CLONE_NEWTIME).step("setns")?;
        slots_are(&slots()?, &pending, &pending)?;
        base.shifted_by(FAR)?;
        // And a target that only has one pending is in the root namespace.
        namespace::enter(&format!("/proc/{}/ns/time", call!(libc::SYS_getppid)?)).step("setns to root")?;
        slots_are(&slots()?, &before.time, &before.time)
    });
    plan.case("a pidfd with CLONE_NEWUSER and CLONE_NEWTIME enters both", || {
        needs_root()?;
        let child = Waiting::start(|| {
            let _ = credentials::become_root_of_new_user_namespace();
            let _ = namespace::unshare_and_enter(FAR);
        })?;
        let theirs = super::support::slots_of(child.child)?;
        setns(pidfd(child.child)?.0, CLONE_NEWUSER | CLONE_NEWTIME).step("setns")?;
        slots_are(&slots()?, &theirs.time, &theirs.time)
    });
    plan.case("a pidfd with two types does all or nothing", || {
        needs_root()?;
        // Its own user namespace cannot be entered again (EINVAL), so the time namespace is not entered either.
        let before = slots()?;
        let child = Waiting::start(|| _ = namespace::unshare_and_enter(FAR))?;
        let answer = setns(pidfd(child.child)?.0, CLONE_NEWUSER | CLONE_NEWTIME);
        refused("setns", answer, Errno::EINVAL)?;
        equal("namespaces afterwards", slots()?, before)
    });
    plan.case("a process that entered its own new namespace by setns goes on with a fork inside", || {
        needs_root()?;
        let base = Base::take()?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        let expected = slots()?;
        let check = || -> Outcome {
            equal("the child's namespaces", slots()?, expected)?;
            base.shifted_by(FAR)
        };
        crate::ktap::in_child(check)
    });
}

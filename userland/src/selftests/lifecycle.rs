//! What each operation does to the two namespaces of a task, to those of a new task, and whether it freezes.
//!
//! The rule behind all rows: a namespace is frozen by the first task that enters it, and entering is fork without
//! CLONE_VM, exec, and setns. Whatever shares memory stays where it is, because its clocks are read through pages of
//! that memory.

use super::setns::Waiting;
use super::support::{
    self, Base, FAR, Slots, Temporary, c, helper_output, is_frozen, is_not_frozen, needs_root, slots,
    slots_are, slots_of, unshared,
};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child, refused};
use crate::system::clone;
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, CLONE_NEWTIME, Offsets, TIME, TIME_FOR_CHILDREN};
use crate::system::process;
use crate::system::time::SECOND;

/// The slots that the helper prints.
fn parse_slots(text: &str) -> Result<Slots, Why> {
    let mut words = text.split_whitespace().map(str::to_string);
    Ok(Slots { time: words.next().step("a link")?, children: words.next().step("a link")? })
}

/// vfork, then in the child `before_exec` and the helper's report of its slots after the exec.
fn slots_after_vfork_and_exec() -> Result<Slots, Why> {
    let (read_end, write_end) = process::pipe()?;
    let words = support::helper_words(&["slots"]);
    let child = clone::vfork_running(0, || {
        let _ = call!(libc::SYS_dup2, write_end, 1);
        process::execute(&words);
        126
    })
    .step("vfork")?;
    process::close(write_end);
    let text = Descriptor(read_end).read_to_end()?;
    process::wait(child)?;
    parse_slots(&String::from_utf8_lossy(&text))
}

pub fn cases(plan: &mut Plan) {
    plan.case("unshare: the caller stays, its children get a new namespace, nothing is frozen", || {
        needs_root()?;
        let (before, pending) = unshared()?;
        holds(pending != before.time, || "the namespace for children is the old one".into())?;
        slots_are(&slots()?, &before.time, &pending)?;
        is_not_frozen()
    });
    plan.case("unshare twice: the second copies the first one's offsets and replaces it", || {
        needs_root()?;
        let (before, first) = unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        let (between, second) = unshared()?;
        slots_are(&between, &before.time, &first)?;
        holds(second != first, || "the second is the first".into())?;
        equal("offsets of the second", namespace::offsets()?, FAR)?;
        is_not_frozen()
    });
    plan.case("open, stat and readlink of the namespace file freeze nothing", || {
        needs_root()?;
        unshared()?;
        let _open = Descriptor::open(TIME_FOR_CHILDREN, libc::O_RDONLY).step("open")?;
        file::status(TIME_FOR_CHILDREN, 0).step("stat")?;
        file::readlink(TIME_FOR_CHILDREN).step("readlink")?;
        is_not_frozen()
    });
    plan.case("a bind mount of the namespace file freezes nothing", || {
        needs_root()?;
        unshared()?;
        let _mounted = Mounted::on("bind", TIME_FOR_CHILDREN)?;
        is_not_frozen()
    });
    plan.case(
        "a thread shares both: the caller's namespace now, the pending one for children; no freeze",
        || {
            needs_root()?;
            let (before, pending) = unshared()?;
            let thread = std::thread::spawn(|| call!(libc::SYS_gettid).map_err(Why::from).and_then(slots_of));
            let seen = thread.join().ok().step("the thread")??;
            slots_are(&seen, &before.time, &pending)?;
            is_not_frozen()
        },
    );
    plan.case("vfork without exec: the child is where the parent is, no freeze", || {
        needs_root()?;
        let (before, pending) = unshared()?;
        let mut seen = None;
        let child = clone::vfork_running(0, || {
            seen = Some(slots());
            0
        })
        .step("vfork")?;
        process::wait(child)?;
        slots_are(&seen.step("what the child saw")??, &before.time, &pending)?;
        is_not_frozen()
    });
    plan.case("vfork and exec: the child is inside, the parent is not and its namespace is frozen", || {
        needs_root()?;
        let (before, pending) = unshared()?;
        slots_are(&slots_after_vfork_and_exec()?, &pending, &pending)?;
        slots_are(&slots()?, &before.time, &pending)?;
        is_frozen()
    });
    plan.case("fork: the child is inside, the parent is not and its namespace is frozen", || {
        needs_root()?;
        let base = Base::take()?;
        let (before, pending) = unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        in_child(|| {
            slots_are(&slots()?, &pending, &pending)?;
            base.shifted_by(FAR)?;
            is_frozen()
        })?;
        slots_are(&slots()?, &before.time, &pending)?;
        base.unshifted()?;
        is_frozen()
    });
    plan.case("a fork without a pending namespace: the child is where the parent is", || {
        let before = slots()?;
        in_child(|| equal("the child's namespaces", slots()?, before))
    });
    plan.case("exec by the task that has it pending: inside", || {
        needs_root()?;
        let root = slots()?;
        let after = parse_slots(&helper_output(&["slots"], || unshared().map(|_| ()))?)?;
        equal("its two namespaces", &after.time, &after.children)?;
        holds(after.time != root.time, || "exec did not enter".into())
    });
    plan.case("after exec the clocks are shifted", || {
        needs_root()?;
        let distance = |prepare: fn() -> Outcome| -> Result<i64, Why> {
            let text = helper_output(&["clock", "1"], prepare)?;
            let mut words = text.split_whitespace().filter_map(|word| word.parse::<i64>().ok());
            let (realtime, monotonic) = (words.next().step("a reading")?, words.next().step("a reading")?);
            Ok(monotonic - realtime)
        };
        let root = distance(|| Ok(()))?;
        let inside = distance(|| {
            namespace::unshare().step("unshare")?;
            namespace::set_offsets(FAR).step("setting offsets")
        })?;
        let error = inside - root - FAR.monotonic;
        holds(error.abs() < SECOND / 4, || format!("the shift is off by {error} ns"))
    });
    for (what, path, errno) in
        [("ENOENT", "/no/such/program", Errno::ENOENT), ("EACCES", "/proc/self/status", Errno::EACCES)]
    {
        plan.case(format!("an exec that fails with {what} changes nothing and freezes nothing"), move || {
            needs_root()?;
            let (before, pending) = unshared()?;
            let arguments = [c"x".as_ptr(), std::ptr::null()];
            let answer = call!(libc::SYS_execve, c(path).as_c_str(), &arguments, 0usize);
            refused("execve", answer, errno)?;
            slots_are(&slots()?, &before.time, &pending)?;
            is_not_frozen()
        });
    }
    plan.case("setns into the pending namespace: inside, frozen", || {
        needs_root()?;
        let (_, pending) = unshared()?;
        namespace::enter(TIME_FOR_CHILDREN).step("setns")?;
        slots_are(&slots()?, &pending, &pending)?;
        is_frozen()
    });
    creation(plan);
    survival(plan);
}

fn creation(plan: &mut Plan) {
    plan.case("a new namespace copies the offsets of the creator's namespace for children", || {
        needs_root()?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        namespace::unshare().step("unshare inside")?;
        equal("the offsets", namespace::offsets()?, FAR)?;
        is_not_frozen()
    });
    plan.case("offsets count from the host: in a namespace of a namespace they do not add up", || {
        needs_root()?;
        let base = Base::take()?;
        let first = Offsets { monotonic: 1000 * SECOND, boottime: 2000 * SECOND };
        let second = Offsets { monotonic: 5 * SECOND, boottime: 7 * SECOND };
        namespace::unshare_and_enter(first).step("entering")?;
        base.shifted_by(first)?;
        namespace::unshare_and_enter(second).step("entering the next")?;
        base.shifted_by(second)
    });
}

fn survival(plan: &mut Plan) {
    plan.case("an open file keeps a namespace alive after its last task", || {
        needs_root()?;
        let base = Base::take()?;
        let child = Waiting::start(|| _ = namespace::unshare_and_enter(FAR))?;
        let theirs = slots_of(child.child)?;
        let file =
            Descriptor::open(&format!("/proc/{}/ns/time", child.child), libc::O_RDONLY).step("open")?;
        drop(child);
        call!(libc::SYS_setns, file.0, CLONE_NEWTIME).step("setns")?;
        equal("the namespaces", slots()?, theirs)?;
        base.shifted_by(FAR)
    });
    plan.case("a bind mount keeps a namespace alive after its last task", || {
        needs_root()?;
        let base = Base::take()?;
        let child = Waiting::start(|| _ = namespace::unshare_and_enter(FAR))?;
        let theirs = slots_of(child.child)?;
        let mounted = Mounted::on("survival", &format!("/proc/{}/ns/time", child.child))?;
        drop(child);
        namespace::enter(&mounted.0.0).step("setns to the mount")?;
        equal("the namespaces", slots()?, theirs)?;
        base.shifted_by(FAR)
    });
    plan.case("a namespace survives its creator in the creator's children", || {
        needs_root()?;
        let base = Base::take()?;
        let (read_end, write_end) = process::pipe()?;
        let (verdict_read, verdict_write) = process::pipe()?;
        let creator = process::spawn(|| {
            let _ = namespace::unshare().and_then(|()| namespace::set_offsets(FAR));
            let grandchild = process::spawn(|| {
                process::close(write_end);
                process::await_byte(read_end);
                let verdict = base.shifted_by(FAR);
                crate::system::print::write_all(verdict_write, &format!("{verdict:?}"));
                0
            });
            i32::from(grandchild.is_err())
        })?;
        process::close(verdict_write);
        process::wait(creator)?;
        process::close(write_end);
        let verdict = Descriptor(verdict_read).read_to_end()?;
        equal(
            "the grandchild's verdict",
            String::from_utf8_lossy(&verdict).into_owned(),
            "Ok(())".to_string(),
        )
    });
    plan.case("a namespace that is only pending lives as long as the task", || {
        needs_root()?;
        let base = Base::take()?;
        let child = Waiting::start(|| {
            let _ = namespace::unshare().and_then(|()| namespace::set_offsets(FAR));
        })?;
        namespace::enter(&format!("/proc/{}/ns/time_for_children", child.child)).step("setns")?;
        base.shifted_by(FAR)
    });
    plan.case("a zombie has left its namespaces: its links give ENOENT, its offsets read as empty", || {
        let child = process::spawn(|| 0)?;
        let mut information = [0u64; 16];
        let options = libc::WEXITED | libc::WNOWAIT;
        call!(libc::SYS_waitid, libc::P_PID, child, &mut information, options, 0usize).step("waitid")?;
        let path = format!("/proc/{child}/ns/time");
        let link = file::readlink(&path);
        let open = Descriptor::open(&path, libc::O_RDONLY);
        let children = file::readlink(&format!("/proc/{child}/ns/time_for_children"));
        let offsets = file::read(&format!("/proc/{child}/timens_offsets"));
        process::wait(child)?;
        refused("readlink of ns/time", link, Errno::ENOENT)?;
        refused("open of ns/time", open, Errno::ENOENT)?;
        refused("readlink of ns/time_for_children", children, Errno::ENOENT)?;
        equal("its offsets", offsets, Ok(String::new()))
    });
    plan.case("the link of ns/time never changes by what happens to another task", || {
        needs_root()?;
        let before = file::readlink(TIME)?;
        in_child(|| namespace::unshare_and_enter(FAR).step("entering"))?;
        equal("the link", file::readlink(TIME)?, before)
    });
}

/// A bind mount on a temporary file, undone at the end.
pub struct Mounted(pub Temporary);

impl Mounted {
    /// Mounts `source` on a new file.
    pub fn on(name: &str, source: &str) -> Result<Mounted, Why> {
        let target = Temporary::file(name)?;
        let (from, to) = (c(source), c(&target.0));
        call!(libc::SYS_mount, from.as_c_str(), to.as_c_str(), 0usize, libc::MS_BIND, 0usize)
            .step("mount --bind")?;
        Ok(Mounted(target))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let path = c(&self.0.0);
        let _ = call!(libc::SYS_umount2, path.as_c_str(), libc::MNT_DETACH);
    }
}

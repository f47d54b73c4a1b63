//! Threads: each has a namespace for children of its own, all share the one they are in.
//!
//! A time namespace lives in pages of memory, so tasks that share memory cannot differ in it. What they may differ in
//! is what their next child or their next exec will use.

use super::support::{Base, FAR, helper_words, needs_root, output_of, slots, slots_are, slots_of};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child};
use crate::system::namespace::{self, Offsets};
use crate::system::process;
use crate::system::time::SECOND;
use std::sync::Barrier;

/// The slots of the calling thread, by its own id.
fn own_slots() -> Result<super::support::Slots, Why> {
    slots_of(call!(libc::SYS_gettid)?)
}

/// Runs `first` in a new thread while this one waits for it, and gives its outcome.
fn in_thread(work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    std::thread::spawn(work).join().ok().step("the thread")?
}

pub fn cases(plan: &mut Plan) {
    plan.case("two threads unshare: three namespaces for children, one namespace for all", || {
        needs_root()?;
        let before = slots()?;
        let barrier: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
        let spawn = || {
            std::thread::spawn(move || {
                let unshared = namespace::unshare().step("unshare in a thread");
                barrier.wait();
                let seen = own_slots();
                barrier.wait();
                unshared.and(seen)
            })
        };
        let (one, two) = (spawn(), spawn());
        let (one, two) = (one.join().ok().step("a thread")??, two.join().ok().step("a thread")??);
        equal("the first thread's namespace", &one.time, &before.time)?;
        equal("the second thread's namespace", &two.time, &before.time)?;
        holds(one.children != two.children, || "both made the same namespace".into())?;
        holds(one.children != before.children && two.children != before.children, || "not new".into())?;
        equal("the first task's namespaces", slots()?, before)
    });
    plan.case("a fork uses the namespace for children of the thread that forks", || {
        needs_root()?;
        let before = slots()?;
        in_thread(move || {
            namespace::unshare().step("unshare in a thread")?;
            let pending = own_slots()?.children;
            in_child(|| slots_are(&slots()?, &pending, &pending))?;
            holds(pending != before.time, || "not new".into())
        })
    });
    plan.case("a fork by another thread is not affected", || {
        needs_root()?;
        let before = slots()?;
        in_thread(|| namespace::unshare().step("unshare in a thread"))?;
        let barrier: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
        let thread = std::thread::spawn(|| {
            let unshared = namespace::unshare().step("unshare in a thread");
            barrier.wait();
            barrier.wait();
            unshared
        });
        barrier.wait();
        let outcome = in_child(|| equal("the child's namespaces", slots()?, before));
        barrier.wait();
        thread.join().ok().step("the thread")??;
        outcome
    });
    plan.case("exec by a thread that is not the leader: its own pending namespace is entered", || {
        needs_root()?;
        let before = slots()?;
        let words = helper_words(&["slots"]);
        let text = output_of(|| {
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            let thread = std::thread::spawn(move || {
                if namespace::unshare().is_ok() {
                    crate::say!("{}", own_slots().map_or(String::new(), |slots| slots.children));
                    process::execute(&words);
                }
            });
            let _ = thread.join();
            1
        })?;
        let mut lines = text.lines();
        let pending = lines.next().step("the thread's line")?.to_string();
        holds(pending != before.children, || "the thread got no namespace".into())?;
        equal(
            "namespaces after exec",
            lines.next().step("the helper's line")?,
            &format!("{pending} {pending}"),
        )
    });
    plan.case("exec by the leader: a pending namespace of another thread is lost", || {
        needs_root()?;
        let before = slots()?;
        let words = helper_words(&["slots"]);
        let text = output_of(|| {
            let barrier: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
            std::thread::spawn(|| {
                let _ = namespace::unshare();
                barrier.wait();
                barrier.wait();
            });
            barrier.wait();
            process::execute(&words);
            1
        })?;
        equal("namespaces after exec", text.trim(), &format!("{} {}", before.time, before.children))
    });
    plan.case("threads can be made while a namespace is pending, and their clocks stay", || {
        needs_root()?;
        let base = Base::take()?;
        namespace::unshare().step("unshare")?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        in_thread(move || base.unshifted())
    });
    plan.case("a thread inside a namespace reads its clocks", || {
        needs_root()?;
        let base = Base::take()?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        in_thread(move || base.shifted_by(FAR))
    });
    plan.case("a thread's own offsets file is /proc/TID; /proc/self is the leader's", || {
        needs_root()?;
        let other = Offsets { monotonic: 11 * SECOND, boottime: 22 * SECOND };
        namespace::unshare().step("unshare")?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        in_thread(move || {
            let path = format!("/proc/{}/timens_offsets", call!(libc::SYS_gettid)?);
            namespace::unshare().step("unshare in a thread")?;
            crate::system::file::write(&path, "monotonic 11 0\nboottime 22 0\n")
                .step("writing the thread's")?;
            let own = crate::system::file::read(&path).step("reading the thread's")?;
            equal("the thread's offsets", namespace::parse_offsets(&own), Some(other))?;
            equal("the leader's offsets", namespace::offsets()?, FAR)
        })
    });
}

//! /proc/sys/user/max_time_namespaces: how many time namespaces a user may have, in this user namespace and above it.

use super::support::{FAR, become_nobody, helper_words, needs_root, output_of, unshared};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed, in_child, refused};
use crate::system::clone;
use crate::system::credentials::{self, CAP_SYS_ADMIN, CLONE_NEWUSER};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, CLONE_NEWTIME};
use crate::system::process;

const LIMIT: &str = "/proc/sys/user/max_time_namespaces";

fn limit() -> Result<i64, Why> {
    file::read(LIMIT).step("reading the limit")?.trim().parse().ok().step("a number")
}

fn set(text: &str) -> Result<(), Errno> {
    file::write(LIMIT, text)
}

/// A user namespace of our own, where the limit is ours to set.
fn own_limit(most: i64) -> Outcome {
    credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
    set(&most.to_string()).step("setting the limit")?;
    equal("the limit", limit()?, most)
}

pub fn cases(plan: &mut Plan) {
    plan.case("in the root user namespace it is half of the most threads, in a new one 2147483647", || {
        let threads = file::read("/proc/sys/kernel/threads-max").step("reading threads-max")?;
        let threads: i64 = threads.trim().parse().ok().step("a number")?;
        equal("the limit", limit()?, threads / 2)?;
        credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
        equal("the limit in a new user namespace", limit()?, i64::from(i32::MAX))
    });
    plan.case("the file is for reading by all: mode 0644", || {
        equal("mode", file::status(LIMIT, 0).step("stat")?.st_mode, 0o100644)
    });
    plan.case("0 to 2147483647 can be written, anything else is EINVAL", || {
        credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
        for good in ["0", "1\n", "2147483647"] {
            set(good).step(&format!("writing {good:?}"))?;
        }
        for bad in ["-1", "2147483648", "words", "99999999999999999999"] {
            refused(&format!("writing {bad:?}"), set(bad), Errno::EINVAL)?;
        }
        equal("the limit", limit()?, i64::from(i32::MAX))
    });
    plan.case("writing needs CAP_SYS_RESOURCE: without it the open is EACCES", || {
        needs_root()?;
        let limit_before = limit()?;
        credentials::keep_only(&[CAP_SYS_ADMIN]).step("capset")?;
        refused("the write", set("5"), Errno::EACCES)?;
        equal("the limit", limit()?, limit_before)
    });
    plan.case("a user may not write it: EACCES", || {
        become_nobody()?;
        refused("the write", set("5"), Errno::EACCES)
    });
    plan.case("limit 0: unshare and clone3 are ENOSPC", || {
        own_limit(0)?;
        refused("unshare", namespace::unshare(), Errno::ENOSPC)?;
        match clone::fork_with(CLONE_NEWTIME as u64) {
            Ok(0) => process::exit(0),
            answer => refused("clone3", answer, Errno::ENOSPC),
        }
    });
    plan.case(
        "limit 1: a second unshare fails, as the pending namespace counts until it is replaced",
        || {
            own_limit(1)?;
            namespace::unshare().step("the first")?;
            refused("the second", namespace::unshare(), Errno::ENOSPC)
        },
    );
    plan.case("limit 2: unshare again and again works, as each releases the one before", || {
        own_limit(2)?;
        for _ in 0..20 {
            namespace::unshare().step("unshare")?;
        }
        Ok(())
    });
    plan.case("namespaces that an open file keeps alive count", || {
        own_limit(3)?;
        let mut kept = Vec::new();
        for _ in 0..3 {
            namespace::unshare().step("unshare")?;
            kept.push(Descriptor::open(namespace::TIME_FOR_CHILDREN, libc::O_RDONLY).step("open")?);
        }
        refused("one more", namespace::unshare(), Errno::ENOSPC)?;
        kept.remove(0);
        namespace::unshare().step("one more after a close")
    });
    plan.case("namespaces of children that have ended do not count", || {
        own_limit(1)?;
        for _ in 0..10 {
            in_child(|| namespace::unshare_and_enter(FAR).step("entering"))?;
        }
        Ok(())
    });
    plan.case("setns is not limited", || {
        own_limit(1)?;
        namespace::unshare().step("unshare")?;
        set("0").step("setting the limit to 0")?;
        namespace::enter(namespace::TIME_FOR_CHILDREN).step("setns")?;
        in_child(|| Ok(()))
    });
    plan.case("the limit of an outer user namespace holds in an inner one", || {
        own_limit(1)?;
        in_child(|| {
            credentials::become_root_of_new_user_namespace().step("an inner user namespace")?;
            equal("the inner limit", limit()?, i64::from(i32::MAX))?;
            namespace::unshare().step("the first")?;
            refused("the second", namespace::unshare(), Errno::ENOSPC)
        })
    });
    plan.case("a refused unshare leaves everything as it was", || {
        own_limit(1)?;
        let (_, pending) = unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        refused("unshare", namespace::unshare(), Errno::ENOSPC)?;
        equal("the pending namespace", super::support::slots()?.children, pending)?;
        equal("its offsets", namespace::offsets()?, FAR)
    });
    plan.case("unshare of user and time namespace together counts in the new user namespace", || {
        own_limit(0)?;
        // The new user namespace has its own limit, but this one is above it.
        refused("unshare", call!(libc::SYS_unshare, CLONE_NEWUSER | CLONE_NEWTIME), Errno::ENOSPC)
    });
    plan.case("a program that reads the limit after an exec sees its own user namespace's", || {
        let words = helper_words(&["file", LIMIT]);
        let text = output_of(|| match own_limit(7) {
            Ok(()) => {
                process::execute(&words);
                126
            }
            Err(_) => 125,
        })?;
        match text.trim() {
            "7" => Ok(()),
            other => failed(format!("expected 7, got {other:?}")),
        }
    });
}

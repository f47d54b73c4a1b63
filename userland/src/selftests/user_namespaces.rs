//! User namespaces as far as time namespaces need them: ids, their maps, and the capabilities they give.

use super::setns::Waiting;
use super::support::{become_nobody, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child, refused};
use crate::system::credentials::{self, CAP_SYS_ADMIN, CAP_SYS_TIME, CLONE_NEWUSER, NOBODY};
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::process;

/// What Linux calls "all capabilities": up to CAP_CHECKPOINT_RESTORE.
const ALL: u64 = (1 << 41) - 1;

fn unshare_user() -> Outcome {
    call!(libc::SYS_unshare, CLONE_NEWUSER).step("unshare(CLONE_NEWUSER)").map(|_| ())
}

fn map_line(path: &str) -> Result<Vec<u64>, Why> {
    let text = file::read(path).step("reading a map")?;
    Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

pub fn cases(plan: &mut Plan) {
    plan.case("the root user namespace maps every id to itself", || {
        for map in ["/proc/self/uid_map", "/proc/self/gid_map"] {
            let expected = "         0          0 4294967295\n".to_string();
            equal(map, file::read(map).step("reading")?, expected)?;
        }
        Ok(())
    });
    plan.case("a new one: no ids are mapped, one is user 65534 and has every capability", || {
        unshare_user()?;
        equal("uid_map", file::read("/proc/self/uid_map").step("reading")?, String::new())?;
        equal("user", credentials::effective_user(), NOBODY)?;
        equal("group", credentials::effective_group(), NOBODY)?;
        let capabilities = credentials::capabilities().step("capget")?;
        equal("effective", capabilities.effective & ALL, ALL)?;
        equal("permitted", capabilities.permitted & ALL, ALL)
    });
    plan.case("an unprivileged user may map his own id to 0 and then is root inside", || {
        become_nobody()?;
        credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
        equal("user and group", (credentials::effective_user(), credentials::effective_group()), (0, 0))?;
        equal("uid_map", map_line("/proc/self/uid_map")?, vec![0, u64::from(NOBODY), 1])?;
        equal("gid_map", map_line("/proc/self/gid_map")?, vec![0, u64::from(NOBODY), 1])
    });
    plan.case("an unprivileged user may not map another id: EPERM", || {
        become_nobody()?;
        unshare_user()?;
        refused("mapping root", file::write("/proc/self/uid_map", "0 0 1"), Errno::EPERM)?;
        refused(
            "mapping two",
            file::write("/proc/self/uid_map", &format!("0 {} 2", NOBODY - 1)),
            Errno::EPERM,
        )
    });
    plan.case("an unprivileged user must deny setgroups before he maps a group: else EPERM", || {
        become_nobody()?;
        unshare_user()?;
        let map = format!("0 {NOBODY} 1");
        refused("gid_map first", file::write("/proc/self/gid_map", &map), Errno::EPERM)?;
        equal("setgroups", file::read("/proc/self/setgroups").step("reading")?, "allow\n".to_string())?;
        file::write("/proc/self/setgroups", "deny").step("denying")?;
        equal("setgroups", file::read("/proc/self/setgroups").step("reading")?, "deny\n".to_string())?;
        file::write("/proc/self/gid_map", &map).step("gid_map then")?;
        refused("setgroups", call!(libc::SYS_setgroups, 0usize, 0usize), Errno::EPERM)?;
        refused("allowing again", file::write("/proc/self/setgroups", "allow"), Errno::EPERM)
    });
    plan.case("a map is written once: again is EPERM", || {
        let user = credentials::effective_user();
        unshare_user()?;
        file::write("/proc/self/uid_map", &format!("5 {user} 1")).step("the first")?;
        equal("user", credentials::effective_user(), 5)?;
        refused("the second", file::write("/proc/self/uid_map", &format!("5 {user} 1")), Errno::EPERM)
    });
    for bad in ["", "0", "0 0", "x 0 1", "0 0 0", "0 0 -1", "0 0 1 x", "0 0 1\n0 5 1\n", "4294967295 0 2"] {
        plan.case(format!("a map of {bad:?} is EINVAL"), move || {
            needs_root()?;
            unshare_user()?;
            match file::write("/proc/self/uid_map", bad) {
                // An empty write is no map at all, and an error only where something was parsed.
                Ok(()) if bad.is_empty() => Ok(()),
                answer => refused("uid_map", answer, Errno::EINVAL),
            }
        });
    }
    plan.case("root of the parent may map ranges into a child's namespace", || {
        needs_root()?;
        let child = Waiting::start(|| _ = unshare_user())?;
        let map = format!("/proc/{}/uid_map", child.child);
        file::write(&map, "0 0 10\n100 1000 50\n").step("uid_map")?;
        equal("the map", map_line(&map)?, vec![0, 0, 10, 100, 1000, 50])
    });
    plan.case(
        "a map of a parent that has left is refused to others: EPERM for an unprivileged writer",
        || {
            needs_root()?;
            let child = Waiting::start(|| _ = unshare_user())?;
            let map = format!("/proc/{}/uid_map", child.child);
            in_child(move || {
                become_nobody()?;
                let answer = file::write(&map, "0 0 1");
                holds(matches!(answer, Err(Errno::EPERM | Errno::EACCES)), || format!("got {answer:?}"))
            })
        },
    );
    plan.case("ids outside the map read as 65534, and cannot be taken: EINVAL", || {
        needs_root()?;
        let foreign = super::support::Temporary::file("owner")?;
        call!(libc::SYS_chown, super::support::c(&foreign.0).as_c_str(), 12345, 12345).step("chown")?;
        credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
        let status = file::status(&foreign.0, 0).step("stat")?;
        equal("owner of a foreign file", (status.st_uid, status.st_gid), (NOBODY, NOBODY))?;
        refused("setuid", call!(libc::SYS_setuid, 5), Errno::EINVAL)
    });
    plan.case(
        "capabilities inside are for what the namespace owns: not the clock, not another's limits",
        || {
            needs_root()?;
            credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
            holds(
                credentials::has_capability(CAP_SYS_TIME) && credentials::has_capability(CAP_SYS_ADMIN),
                || "capabilities are missing inside".into(),
            )?;
            let now = crate::system::time::timespec(crate::system::time::read_by_call(libc::CLOCK_REALTIME)?);
            refused("clock_settime", call!(libc::SYS_clock_settime, 0, &now), Errno::EPERM)
        },
    );
    plan.case("exec keeps the capabilities of mapped root, and takes those of an unmapped user", || {
        become_nobody()?;
        let effective = |mapped: bool| -> Result<u64, Why> {
            let words = super::support::helper_words(&["capabilities"]);
            let text = super::support::output_of(|| {
                let ready = if mapped {
                    credentials::become_root_of_new_user_namespace()
                } else {
                    call!(libc::SYS_unshare, CLONE_NEWUSER).map(|_| ())
                };
                if ready.is_ok() {
                    process::execute(&words);
                }
                126
            })?;
            u64::from_str_radix(text.trim(), 16).ok().step("a number")
        };
        equal("of mapped root", effective(true)? & ALL, ALL)?;
        equal("of an unmapped user", effective(false)?, 0)
    });
    plan.case(
        "setns into a user namespace gives every capability there, and not into one's own: EINVAL",
        || {
            needs_root()?;
            let child = Waiting::start(|| _ = credentials::become_root_of_new_user_namespace())?;
            let file = file::Descriptor::open(&format!("/proc/{}/ns/user", child.child), libc::O_RDONLY)
                .step("open")?;
            call!(libc::SYS_setns, file.0, CLONE_NEWUSER).step("setns")?;
            equal("effective", credentials::capabilities()?.effective & ALL, ALL)?;
            refused("setns again", call!(libc::SYS_setns, file.0, CLONE_NEWUSER), Errno::EINVAL)
        },
    );
    plan.case("a child's user namespace is the parent's", || {
        unshare_user()?;
        let own = file::readlink("/proc/self/ns/user")?;
        in_child(move || equal("the child's link", file::readlink("/proc/self/ns/user")?, own))
    });
    plan.case("user namespaces nest, 32 deep and no deeper", || {
        become_nobody()?;
        let mut depth = 0;
        loop {
            match credentials::become_root_of_new_user_namespace() {
                Ok(()) => depth += 1,
                Err(errno) => {
                    // Two levels belong to the kernel's own count: what matters is that there is an end.
                    holds(matches!(errno, Errno::ENOSPC | Errno::EUSERS), || format!("got {errno}"))?;
                    return holds((30..=33).contains(&depth), || format!("{depth} levels"));
                }
            }
            holds(depth < 100, || "100 levels".into())?;
        }
    });
}

//! Who may do what with time namespaces: capabilities(7), and whose they must be.

use super::support::{Base, FAR, become_nobody, is_frozen, needs_root, slots, slots_are, unshared};
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, Why, equal, in_child, refused};
use crate::system::credentials::{self, CAP_SYS_ADMIN, CAP_SYS_TIME, Capabilities};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, OFFSETS};

/// Every capability but one.
fn drop_one(capability: u32) -> Outcome {
    let all = credentials::capabilities().step("capget")?;
    let effective = all.effective & !(1 << capability);
    credentials::set_capabilities(Capabilities { effective, ..all }).step("capset")
}

fn restore(all: Capabilities) -> Outcome {
    credentials::set_capabilities(all).step("capset")
}

fn write(file: &Descriptor, text: &str) -> Result<usize, Errno> {
    file.write(text.as_bytes())
}

pub fn cases(plan: &mut Plan) {
    plan.case("unshare(CLONE_NEWTIME) needs CAP_SYS_ADMIN: with all the others it is EPERM", || {
        needs_root()?;
        drop_one(CAP_SYS_ADMIN)?;
        refused("unshare", namespace::unshare(), Errno::EPERM)
    });
    plan.case("unshare(CLONE_NEWTIME) needs nothing but CAP_SYS_ADMIN", || {
        needs_root()?;
        credentials::keep_only(&[CAP_SYS_ADMIN]).step("capset")?;
        namespace::unshare().step("unshare")
    });
    plan.case("fork into a pending namespace needs nothing", || {
        needs_root()?;
        let base = Base::take()?;
        let (_, pending) = unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        become_nobody()?;
        in_child(|| {
            slots_are(&slots()?, &pending, &pending)?;
            base.shifted_by(FAR)
        })
    });
    plan.case("exec into a pending namespace needs nothing", || {
        needs_root()?;
        let (_, pending) = unshared()?;
        // Not by /proc/self/exe's own permissions, which is root's: a helper that everyone may run.
        let printed = super::support::helper_output(&["slots"], || {
            unshared()?;
            credentials::keep_only(&[]).step("capset")
        })?;
        let mut links = printed.split_whitespace();
        let (now, children) = (links.next().step("a link")?, links.next().step("a link")?);
        equal("its namespaces", now, children)?;
        crate::ktap::holds(now != pending, || "it is in the parent's pending namespace".into())
    });
    plan.case(
        "writing offsets needs CAP_SYS_TIME of whoever opened the file: CAP_SYS_ADMIN alone is EPERM",
        || {
            needs_root()?;
            unshared()?;
            drop_one(CAP_SYS_TIME)?;
            refused("the write", file::write(OFFSETS, "monotonic 1 0"), Errno::EPERM)
        },
    );
    plan.case("writing offsets needs nothing but CAP_SYS_TIME", || {
        needs_root()?;
        unshared()?;
        credentials::keep_only(&[CAP_SYS_TIME]).step("capset")?;
        file::write(OFFSETS, "monotonic 1 0").step("the write")
    });
    plan.case("opened with CAP_SYS_TIME, written without it: fine", || {
        needs_root()?;
        unshared()?;
        let file = Descriptor::open(OFFSETS, libc::O_WRONLY).step("open")?;
        credentials::keep_only(&[]).step("capset")?;
        write(&file, "monotonic 1 0").step("the write").map(|_| ())
    });
    plan.case("opened without CAP_SYS_TIME, written with it: EPERM", || {
        needs_root()?;
        unshared()?;
        let all = credentials::capabilities()?;
        drop_one(CAP_SYS_TIME)?;
        let file = Descriptor::open(OFFSETS, libc::O_WRONLY).step("open")?;
        restore(all)?;
        refused("the write", write(&file, "monotonic 1 0"), Errno::EPERM)?;
        file::write(OFFSETS, "monotonic 1 0").step("a write by a new opener")
    });
    plan.case("a namespace owned by a new user namespace takes offsets from its root", || {
        become_nobody()?;
        credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
        namespace::unshare().step("unshare")?;
        namespace::set_offsets(FAR).step("setting offsets")
    });
    plan.case("a namespace of the old user namespace takes none from the root of a new one: EPERM", || {
        needs_root()?;
        namespace::unshare().step("unshare")?;
        credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
        refused("the write", file::write(OFFSETS, "monotonic 1 0"), Errno::EPERM)
    });
    plan.case(
        "without privilege a syntax error is EINVAL, all else EPERM, also in a frozen namespace",
        || {
            become_nobody()?;
            refused("nonsense", file::write(OFFSETS, "nonsense"), Errno::EINVAL)?;
            refused("out of range", file::write(OFFSETS, "monotonic 99999999999 0"), Errno::EPERM)?;
            refused("a good line", file::write(OFFSETS, "monotonic 1 0"), Errno::EPERM)
        },
    );
    plan.case("anyone may read the offsets of any process", || {
        let parent = call!(libc::SYS_getpid)?;
        in_child(move || {
            become_nobody()?;
            file::read(&format!("/proc/{parent}/timens_offsets")).step("reading").map(|_| ())
        })
    });
    for link in ["time", "time_for_children"] {
        plan.case(
            format!("ns/{link} of a process one may not trace: readlink, open, stat EACCES; lstat fine"),
            move || {
                needs_root()?;
                let path = format!("/proc/{}/ns/{link}", call!(libc::SYS_getpid)?);
                in_child(move || {
                    become_nobody()?;
                    refused("readlink", file::readlink(&path), Errno::EACCES)?;
                    refused("open", Descriptor::open(&path, libc::O_RDONLY), Errno::EACCES)?;
                    refused("stat", file::status(&path, 0).map(|_| ()), Errno::EACCES)?;
                    file::status(&path, libc::AT_SYMLINK_NOFOLLOW).step("lstat").map(|_| ())
                })
            },
        );
    }
    plan.case("entering a namespace by setns takes CAP_SYS_ADMIN, not CAP_SYS_TIME", || {
        needs_root()?;
        unshared()?;
        let door = Descriptor::open(namespace::TIME_FOR_CHILDREN, libc::O_RDONLY).step("open")?;
        let enter = |keep: &'static [u32]| -> Result<Result<usize, Errno>, Why> {
            credentials::keep_only(keep).step("capset")?;
            Ok(call!(libc::SYS_setns, door.0, 0))
        };
        Running::start(|| refused("with CAP_SYS_TIME", enter(&[CAP_SYS_TIME])?, Errno::EPERM))?.finish()?;
        enter(&[CAP_SYS_ADMIN])?.step("setns with CAP_SYS_ADMIN")?;
        // A frozen namespace is EACCES only for those who could have written: CAP_SYS_TIME is gone.
        refused("a write", file::write(OFFSETS, "monotonic 1 0"), Errno::EPERM)
    });
    plan.case("a frozen namespace refuses root too: EACCES", || {
        needs_root()?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        is_frozen()
    });
}

//! Freezing: the first task that enters a namespace makes its offsets final. Nothing else does.

use super::support::{FAR, is_frozen, needs_root, unshared};
use crate::ktap::{Plan, Step, equal, in_child, refused};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, OFFSETS, TIME_FOR_CHILDREN};

pub fn cases(plan: &mut Plan) {
    plan.case("the root namespace is frozen from the start", || {
        needs_root()?;
        is_frozen()?;
        refused("zeros over zeros", file::write(OFFSETS, "monotonic 0 0\nboottime 0 0\n"), Errno::EACCES)
    });
    plan.case("a file opened before the freeze gives EACCES after it", || {
        needs_root()?;
        unshared()?;
        let file = Descriptor::open(OFFSETS, libc::O_WRONLY).step("open")?;
        file.write(b"monotonic 1 0").step("a write before")?;
        in_child(|| Ok(()))?;
        refused("a write after", file.write(b"monotonic 1 0"), Errno::EACCES)
    });
    plan.case("writing the same offsets again gives EACCES too", || {
        needs_root()?;
        unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        in_child(|| Ok(()))?;
        refused("the same again", namespace::set_offsets(FAR), Errno::EACCES)
    });
    plan.case(
        "in a frozen namespace a syntax error is EINVAL, out of range ERANGE, a good line EACCES",
        || {
            needs_root()?;
            namespace::unshare_and_enter(FAR).step("entering")?;
            refused("nonsense", file::write(OFFSETS, "nonsense"), Errno::EINVAL)?;
            refused("too far", file::write(OFFSETS, "monotonic 99999999999 0"), Errno::ERANGE)?;
            refused("a good line", file::write(OFFSETS, "monotonic 1 0"), Errno::EACCES)
        },
    );
    plan.case("a freeze keeps the offsets as they are", || {
        needs_root()?;
        unshared()?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        in_child(|| equal("inside", namespace::offsets()?, FAR))?;
        let _ = file::write(OFFSETS, "monotonic 1 0");
        equal("outside", namespace::offsets()?, FAR)
    });
    plan.case("a new namespace of a frozen one is not frozen", || {
        needs_root()?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        unshared()?;
        file::write(OFFSETS, "monotonic 1 0").step("the write")
    });
    plan.case("entering by setns freezes as entering by fork does", || {
        needs_root()?;
        unshared()?;
        let file = Descriptor::open(OFFSETS, libc::O_WRONLY).step("open")?;
        namespace::enter(TIME_FOR_CHILDREN).step("setns")?;
        refused("a write", file.write(b"monotonic 1 0"), Errno::EACCES)
    });
}

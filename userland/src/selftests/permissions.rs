//! Who may do what to files, and how a process changes who it is.

use super::support::{Temporary, become_nobody, c, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, equal, in_child, refused};
use crate::system::credentials::{self, NOBODY};
use crate::system::errno::Errno;
use crate::system::file::Descriptor;

const READ: i32 = libc::O_RDONLY;
const WRITE: i32 = libc::O_WRONLY;

/// A root-owned file of this mode; then the rest as nobody.
fn as_nobody(mode: u32, check: impl FnOnce(&str) -> Outcome) -> Outcome {
    needs_root()?;
    let file = Temporary::with("permission", b"text", 0o644)?;
    call!(libc::SYS_chmod, c(&file.0).as_c_str(), mode).step("chmod")?;
    in_child(|| {
        become_nobody()?;
        check(&file.0)
    })
}

fn ids() -> Result<[u32; 3], Errno> {
    let mut ids = [0u32; 3];
    let [real, effective, saved] = &mut ids;
    call!(libc::SYS_getresuid, real, effective, saved)?;
    Ok(ids)
}

pub fn cases(plan: &mut Plan) {
    for (mode, read, write, execute) in [
        (0o600, false, false, false),
        (0o644, true, false, false),
        (0o602, false, true, false),
        (0o606, true, true, false),
        (0o701, false, false, true),
        (0o777, true, true, true),
        (0o070, false, false, false),
    ] {
        plan.case(format!("mode {mode:04o} of root's file, for another user"), move || {
            as_nobody(mode, |path| {
                let allowed = |what: &str, got: bool, expected: bool| equal(what, got, expected);
                allowed("reading", Descriptor::open(path, READ).is_ok(), read)?;
                allowed("writing", Descriptor::open(path, WRITE).is_ok(), write)?;
                let access = |bits: i32| call!(libc::SYS_access, c(path).as_c_str(), bits).is_ok();
                equal("access", (access(4), access(2), access(1)), (read, write, execute))
            })
        });
    }
    plan.case("root reads and writes what no mode allows, but runs nothing without an x", || {
        needs_root()?;
        let file = Temporary::with("root", b"#!/bin/true\n", 0)?;
        Descriptor::open(&file.0, libc::O_RDWR).step("open")?;
        let access = |bits: i32| call!(libc::SYS_access, c(&file.0).as_c_str(), bits);
        access(6).step("access for reading and writing")?;
        refused("access for execution", access(1), Errno::EACCES)
    });
    plan.case("a directory: x to pass, r to list, w to change", || {
        needs_root()?;
        let directory = Temporary::directory("directory")?;
        let inside = Temporary(format!("{}/file", directory.0));
        crate::system::file::create(&inside.0, b"text", 0o666)?;
        for (mode, pass, list, change) in
            [(0o711, true, false, false), (0o744, false, true, false), (0o773, true, false, true)]
        {
            call!(libc::SYS_chmod, c(&directory.0).as_c_str(), mode).step("chmod")?;
            in_child(|| {
                become_nobody()?;
                equal(&format!("mode {mode:o}, passing"), Descriptor::open(&inside.0, READ).is_ok(), pass)?;
                equal(
                    &format!("mode {mode:o}, listing"),
                    Descriptor::open(&directory.0, READ).is_ok(),
                    list,
                )?;
                let new = c(format!("{}/new", directory.0));
                let made = call!(libc::SYS_mkdir, new.as_c_str(), 0o755);
                equal(&format!("mode {mode:o}, changing"), made.is_ok(), change)?;
                if change {
                    call!(libc::SYS_rmdir, new.as_c_str()).step("rmdir")?;
                } else {
                    refused("mkdir", made, Errno::EACCES)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    });
    plan.case("a sticky directory: only the owner of a file removes it, others EPERM", || {
        needs_root()?;
        let directory = Temporary::directory("sticky")?;
        let inside = Temporary(format!("{}/file", directory.0));
        crate::system::file::create(&inside.0, b"", 0o666)?;
        call!(libc::SYS_chmod, c(&directory.0).as_c_str(), 0o1777).step("chmod")?;
        in_child(|| {
            become_nobody()?;
            refused("unlink", call!(libc::SYS_unlink, c(&inside.0).as_c_str()), Errno::EPERM)?;
            let target = c(format!("{}/other", directory.0));
            let answer = call!(libc::SYS_rename, c(&inside.0).as_c_str(), target.as_c_str());
            refused("rename", answer, Errno::EPERM)
        })
    });
    plan.case("only the owner or root changes mode and times, only root the owner: EPERM", || {
        as_nobody(0o666, |path| {
            refused("chmod", call!(libc::SYS_chmod, c(path).as_c_str(), 0o777), Errno::EPERM)?;
            refused("chown", call!(libc::SYS_chown, c(path).as_c_str(), NOBODY, NOBODY), Errno::EPERM)?;
            let times = [crate::system::time::ZERO; 2];
            let answer = call!(libc::SYS_utimensat, libc::AT_FDCWD, c(path).as_c_str(), &times, 0);
            refused("utimensat", answer, Errno::EPERM)?;
            // "Now" is for whoever may write.
            call!(libc::SYS_utimensat, libc::AT_FDCWD, c(path).as_c_str(), 0usize, 0)
                .step("utimensat to now")
                .map(|_| ())
        })
    });
    plan.case("the group counts, and so do supplementary groups", || {
        needs_root()?;
        let file = Temporary::with("group", b"text", 0o640)?;
        call!(libc::SYS_chown, c(&file.0).as_c_str(), 0, 4321).step("chown")?;
        for (groups, allowed) in [(vec![], false), (vec![4321u32], true), (vec![1, 2, 4321], true)] {
            in_child(|| {
                call!(libc::SYS_setgroups, groups.len(), groups.as_ptr()).step("setgroups")?;
                call!(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY).step("setresgid")?;
                call!(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY).step("setresuid")?;
                equal(&format!("groups {groups:?}"), Descriptor::open(&file.0, READ).is_ok(), allowed)
            })?;
        }
        Ok(())
    });
    changing(plan);
}

fn changing(plan: &mut Plan) {
    plan.case("root takes any id; setuid gives up all three and every capability", || {
        needs_root()?;
        call!(libc::SYS_setuid, 1000).step("setuid")?;
        equal("ids", ids(), Ok([1000; 3]))?;
        let capabilities = credentials::capabilities()?;
        equal("capabilities", (capabilities.effective, capabilities.permitted), (0, 0))?;
        refused("back", call!(libc::SYS_setuid, 0), Errno::EPERM)
    });
    plan.case("seteuid and back: capabilities go and come with the effective id", || {
        needs_root()?;
        let before = credentials::capabilities()?;
        call!(libc::SYS_setresuid, -1, 1000, -1).step("setresuid")?;
        equal("ids", ids(), Ok([0, 1000, 0]))?;
        equal("effective", credentials::capabilities()?.effective, 0)?;
        equal("permitted", credentials::capabilities()?.permitted, before.permitted)?;
        call!(libc::SYS_setresuid, -1, 0, -1).step("setresuid")?;
        equal("effective", credentials::capabilities()?.effective, before.effective)
    });
    plan.case("a user may take only ids he has: real, effective or saved", || {
        needs_root()?;
        call!(libc::SYS_setresuid, 1, 2, 3).step("setresuid")?;
        call!(libc::SYS_setresuid, 3, 1, 2).step("among the three")?;
        equal("ids", ids(), Ok([3, 1, 2]))?;
        refused("another", call!(libc::SYS_setresuid, 4, -1, -1), Errno::EPERM)?;
        refused("setuid to another", call!(libc::SYS_setuid, 4), Errno::EPERM)?;
        refused("setgid to another", call!(libc::SYS_setgid, 4), Errno::EPERM)?;
        refused("setgroups", call!(libc::SYS_setgroups, 0, 0usize), Errno::EPERM)
    });
    plan.case("access asks for the real id, open for the effective one", || {
        needs_root()?;
        let file = Temporary::with("real", b"text", 0o600)?;
        call!(libc::SYS_setresuid, 1000, 0, 0).step("setresuid")?;
        refused("access", call!(libc::SYS_access, c(&file.0).as_c_str(), 4), Errno::EACCES)?;
        Descriptor::open(&file.0, READ).step("open").map(|_| ())
    });
    plan.case("getgroups tells what setgroups set; a short list is EINVAL", || {
        needs_root()?;
        call!(libc::SYS_setgroups, 3, &[7u32, 5, 6]).step("setgroups")?;
        let mut groups = [0u32; 8];
        equal("how many", call!(libc::SYS_getgroups, 0, 0usize), Ok(3))?;
        equal("getgroups", call!(libc::SYS_getgroups, 8, &mut groups), Ok(3))?;
        groups[..3].sort_unstable();
        equal("groups", &groups[..3], &[5, 6, 7])?;
        refused("room for two", call!(libc::SYS_getgroups, 2, &mut groups), Errno::EINVAL)
    });
    plan.case("capset: what is not permitted cannot be had again: EPERM", || {
        needs_root()?;
        let all = credentials::capabilities()?;
        credentials::keep_only(&[credentials::CAP_SYS_TIME]).step("capset")?;
        refused("all again", credentials::set_capabilities(all), Errno::EPERM)?;
        let mut version = [0x1234_5678u32, 0];
        refused("another version", call!(libc::SYS_capget, &mut version, &mut [0u32; 6]), Errno::EINVAL)?;
        equal("the version it knows", version[0], 0x2008_0522)?;
        version[1] = 999_999;
        equal("asked for nothing else", call!(libc::SYS_capget, &mut version, 0usize), Ok(0))
    });
    plan.case("mount, chroot, sethostname, reboot and settimeofday are not for users: EPERM", || {
        become_nobody()?;
        let mount = call!(libc::SYS_mount, c"none", c"/tmp", c"tmpfs", 0, 0usize);
        refused("mount", mount, Errno::EPERM)?;
        refused("umount2", call!(libc::SYS_umount2, c"/proc", 0), Errno::EPERM)?;
        refused("chroot", call!(libc::SYS_chroot, c"/"), Errno::EPERM)?;
        refused("sethostname", call!(libc::SYS_sethostname, c"name", 4), Errno::EPERM)?;
        refused("reboot", call!(libc::SYS_reboot, 0xfee1_deadu32, 672_274_793, 0, 0usize), Errno::EPERM)?;
        let now = [0u64; 2];
        refused("settimeofday", call!(libc::SYS_settimeofday, &now, 0usize), Errno::EPERM)
    });
}

//! Who a task is: the calls that set two ids at once, or those that count for files; and a name of the machine.

use super::support::{Temporary, c, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, in_child, refused};
use crate::system::credentials::{CAP_SYS_ADMIN, capabilities, keep_only};
use crate::system::errno::Errno;
use crate::system::file;

/// Real, effective and saved id.
fn three(number: i64) -> Result<[u32; 3], Errno> {
    let mut ids = [u32::MAX; 3];
    let [real, effective, saved] = ids.each_mut();
    call!(number, real, effective, saved).map(|_| ids)
}

fn users() -> Result<[u32; 3], Errno> {
    three(libc::SYS_getresuid)
}

fn groups() -> Result<[u32; 3], Errno> {
    three(libc::SYS_getresgid)
}

fn setreuid(real: i32, effective: i32) -> Result<(), Errno> {
    call!(libc::SYS_setreuid, real, effective).map(|_| ())
}

fn setregid(real: i32, effective: i32) -> Result<(), Errno> {
    call!(libc::SYS_setregid, real, effective).map(|_| ())
}

/// The fourth number of a line such as `Uid: real effective saved file-system`.
fn file_system_id(line: &str) -> Result<u32, Why> {
    let status = file::read("/proc/self/status").step("reading the status")?;
    let numbers = status.lines().find_map(|text| text.strip_prefix(line)).step(line)?;
    numbers.split_whitespace().nth(3).and_then(|number| number.parse().ok()).step("a fourth number")
}

pub fn cases(plan: &mut Plan) {
    plan.case("setreuid: an effective id that is not the real one is saved too, and -1 leaves an id", || {
        needs_root()?;
        setreuid(-1, 11).step("setreuid(-1, 11)")?;
        equal("ids", users(), Ok([0, 11, 11]))?;
        setreuid(-1, 0).step("back to the real one")?;
        setreuid(22, 11).step("setreuid(22, 11)")?;
        equal("ids", users(), Ok([22, 11, 11]))?;
        setreuid(11, 22).step("exchanging them")?;
        equal("ids", users(), Ok([11, 22, 22]))?;
        refused("what is not one's own", setreuid(-1, 33), Errno::EPERM)?;
        refused("root", setreuid(0, -1), Errno::EPERM)
    });
    plan.case("setregid: the same for groups, by CAP_SETGID", || {
        needs_root()?;
        setregid(22, 11).step("setregid(22, 11)")?;
        equal("ids", groups(), Ok([22, 11, 11]))?;
        keep_only(&[CAP_SYS_ADMIN])?;
        setregid(11, 22).step("exchanging them")?;
        equal("ids", groups(), Ok([11, 22, 22]))?;
        refused("what is not one's own", setregid(-1, 33), Errno::EPERM)
    });
    plan.case("giving up root by setreuid takes every capability", || {
        needs_root()?;
        setreuid(11, 11).step("setreuid")?;
        equal("capabilities", capabilities().map(|sets| (sets.effective, sets.permitted)), Ok((0, 0)))
    });
    plan.case("setfsuid and setfsgid: who one is to files, told by the call itself, never an error", || {
        needs_root()?;
        let kept = Temporary::with("fs-id", b"text", 0o600)?;
        equal("the one before", call!(libc::SYS_setfsgid, 22), Ok(0))?;
        equal("asking", call!(libc::SYS_setfsgid, -1), Ok(22))?;
        equal("in the status", file_system_id("Gid:")?, 22)?;
        equal("the one before", call!(libc::SYS_setfsuid, 11), Ok(0))?;
        equal("asking", call!(libc::SYS_setfsuid, -1), Ok(11))?;
        equal("in the status", file_system_id("Uid:")?, 11)?;
        equal("the other ids", (users(), groups()), (Ok([0, 0, 0]), Ok([0, 0, 0])))?;
        refused("root's file", file::read(&kept.0), Errno::EACCES)?;
        let made = super::support::temporary("made");
        file::create(&made, b"", 0o600).step("making a file")?;
        let status = file::status(&made, 0).step("stat")?;
        equal("whose it is", (status.st_uid, status.st_gid), (11, 22))?;
        equal("back", call!(libc::SYS_setfsuid, 0), Ok(11))?;
        equal("root's file", file::read(&kept.0), Ok("text".into()))?;
        call!(libc::SYS_unlink, c(&made).as_c_str()).step("unlink")?;
        in_child(|| -> Outcome {
            call!(libc::SYS_setresuid, 11, 11, 11).step("setresuid")?;
            equal("not allowed", call!(libc::SYS_setfsuid, 0), Ok(11))?;
            equal("so it stays", call!(libc::SYS_setfsuid, -1), Ok(11))
        })
    });
    plan.case("setdomainname: uname tells it; it takes CAP_SYS_ADMIN, and has 64 bytes at most", || {
        needs_root()?;
        let domain = || {
            // SAFETY: a structure of bytes.
            let mut names: libc::utsname = unsafe { std::mem::zeroed() };
            call!(libc::SYS_uname, &mut names)?;
            let bytes = names.domainname.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8);
            Ok::<_, Errno>(bytes.collect::<Vec<u8>>())
        };
        let set = |name: &[u8]| call!(libc::SYS_setdomainname, name.as_ptr(), name.len()).map(|_| ());
        let before = domain().step("uname")?;
        set(b"sundial").step("setdomainname")?;
        equal("uname", domain(), Ok(b"sundial".to_vec()))?;
        set(&before).step("putting it back")?;
        refused("too long", set(&[b'x'; 65]), Errno::EINVAL)?;
        keep_only(&[])?;
        refused("without capability", set(b"x"), Errno::EPERM)
    });
    plan.case("ptrace: nobody traces the threads of its own process", || {
        const ATTACH: i32 = 16;
        let own = call!(libc::SYS_getpid).step("getpid")?;
        refused("PTRACE_ATTACH", call!(libc::SYS_ptrace, ATTACH, own, 0, 0), Errno::EPERM)
    });
    plan.case("seccomp: an operation that does not exist", || {
        refused("operation 99", call!(libc::SYS_seccomp, 99, 0, 0usize), Errno::EINVAL)
    });
}

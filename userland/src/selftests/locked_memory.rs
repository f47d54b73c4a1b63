//! Memory that stays in RAM: mlock2(2), munlock(2), mlockall(2), munlockall(2), as VmLck in the status tells it.

use super::mappings::PAGE;
use super::memory::{map, munmap};
use super::support::{become_nobody, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child, refused};
use crate::system::errno::Errno;
use crate::system::file;

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Locked memory, in pages.
fn locked() -> Result<usize, Why> {
    let status = file::read("/proc/self/status").step("reading the status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).step("VmLck")?;
    let kib: usize =
        line.split_whitespace().next().and_then(|number| number.parse().ok()).step("a number")?;
    Ok(kib * 1024 / PAGE)
}

/// Which of some pages are there.
fn present(address: usize, pages: usize) -> Result<Vec<u8>, Errno> {
    let mut there = vec![0; pages];
    call!(libc::SYS_mincore, address, pages * PAGE, there.as_mut_ptr())?;
    Ok(there.iter().map(|page| page & 1).collect())
}

fn mlock2(address: usize, length: usize, flags: u32) -> Result<(), Errno> {
    call!(libc::SYS_mlock2, address, length, flags).map(|_| ())
}

fn munlock(address: usize, length: usize) -> Result<(), Errno> {
    call!(libc::SYS_munlock, address, length).map(|_| ())
}

pub fn cases(plan: &mut Plan) {
    plan.case(
        "mlock2 brings pages in, or with MLOCK_ONFAULT locks those that come; munlock undoes it",
        || {
            needs_root()?;
            let address = map(4, READ_WRITE)?;
            mlock2(address, 2 * PAGE, libc::MLOCK_ONFAULT).step("MLOCK_ONFAULT")?;
            equal("locked", locked()?, 2)?;
            equal("present", present(address, 4), Ok(vec![0; 4]))?;
            // A part of a page is the whole of it.
            mlock2(address + 2 * PAGE + 5, 10, 0).step("mlock2")?;
            equal("locked", locked()?, 3)?;
            equal("present", present(address, 4), Ok(vec![0, 0, 1, 0]))?;
            munlock(address + PAGE, 2 * PAGE).step("munlock")?;
            equal("locked", locked()?, 1)?;
            in_child(|| equal("the child's", locked()?, 0))?;
            munmap(address, 4 * PAGE).step("munmap")?;
            equal("unmapped", locked()?, 0)?;
            refused("a hole", mlock2(address, PAGE, 0), Errno::ENOMEM)?;
            refused("unlocking a hole", munlock(address, PAGE), Errno::ENOMEM)?;
            refused("an unknown flag", mlock2(address, PAGE, 2), Errno::EINVAL)
        },
    );
    plan.case("mlockall: what is there, or what will be; munlockall ends both", || {
        needs_root()?;
        let all = |flags: i32| call!(libc::SYS_mlockall, flags).map(|_| ());
        all(libc::MCL_FUTURE | libc::MCL_ONFAULT).step("MCL_FUTURE")?;
        let before = locked()?;
        let later = map(3, READ_WRITE)?;
        equal("with what came", locked()?, before + 3)?;
        munmap(later, 3 * PAGE).step("munmap")?;
        all(libc::MCL_CURRENT | libc::MCL_ONFAULT).step("MCL_CURRENT")?;
        let now = locked()?;
        holds(now > 10, || format!("only {now} pages are locked"))?;
        map(3, READ_WRITE)?;
        equal("nothing that comes", locked()?, now)?;
        call!(libc::SYS_munlockall).step("munlockall")?;
        equal("then", locked()?, 0)?;
        refused("nothing", all(0), Errno::EINVAL)?;
        refused("an unknown flag", all(8), Errno::EINVAL)?;
        refused("only how, not what", all(libc::MCL_ONFAULT), Errno::EINVAL)
    });
    plan.case("without CAP_IPC_LOCK there is a limit, RLIMIT_MEMLOCK", || {
        needs_root()?;
        let limit = |pages: u64| -> Outcome {
            let limit = [pages * PAGE as u64; 2];
            call!(libc::SYS_setrlimit, libc::RLIMIT_MEMLOCK, &limit).step("setrlimit").map(|_| ())
        };
        let address = map(4, READ_WRITE)?;
        limit(2)?;
        become_nobody()?;
        mlock2(address, 2 * PAGE, 0).step("within it")?;
        refused("beyond it", mlock2(address + 2 * PAGE, PAGE, 0), Errno::ENOMEM)?;
        limit(0)?;
        refused("with none", mlock2(address, PAGE, 0), Errno::EPERM)
    });
}

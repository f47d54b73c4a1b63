//! Taking all there is of something: the one too many is refused with the right error, and all can be given back.

use super::memory::{map, munmap};
use super::support::Temporary;
use crate::call;
use crate::ktap::{Outcome, Plan, Step, equal, holds, refused, within};
use crate::system::credentials;
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::process;
use crate::system::time::{self, SECOND};

const PAGE: usize = 4096;

/// The most mappings a program may have: vm.max_map_count.
const MOST_MAPPINGS: usize = 65_530;

/// An ordinary user that nothing else runs as.
const SOMEBODY: u32 = 64_323;

/// Sets soft and hard limit.
fn limit(resource: libc::__rlimit_resource_t, most: u64) -> Outcome {
    call!(libc::SYS_prlimit64, 0, resource, &[most, most], 0usize).step("prlimit").map(drop)
}

/// Does a thing until it is refused; how often it worked, and why it then did not.
fn until_refused(most: usize, mut act: impl FnMut(usize) -> Result<usize, Errno>) -> (usize, Option<Errno>) {
    for done in 0..most {
        if let Err(errno) = act(done) {
            return (done, Some(errno));
        }
    }
    (most, None)
}

pub fn cases(plan: &mut Plan) {
    plan.case("mappings: ENOMEM for one too many, and all can be unmapped", || {
        let pages = 2 * MOST_MAPPINGS + 2;
        let start = map(pages, libc::PROT_NONE)?;
        let whole = map(4, libc::PROT_READ | libc::PROT_WRITE)?;
        let split = |index: usize| call!(libc::SYS_mprotect, start + 2 * index * PAGE, PAGE, libc::PROT_READ);
        let (splits, why) = until_refused(MOST_MAPPINGS, split);
        equal("the last", why, Some(Errno::ENOMEM))?;
        // Each makes two more, and the program has some of its own.
        within("splits", splits, MOST_MAPPINGS / 2 - 100, MOST_MAPPINGS / 2)?;
        refused("another", split(splits), Errno::ENOMEM)?;
        // Something new may be one more than what is there may be split into.
        let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let one_more = |_| call!(libc::SYS_mmap, 0usize, PAGE, libc::PROT_READ, shared, -1, 0usize);
        let (new, why) = until_refused(4, one_more);
        equal("the last new one", why, Some(Errno::ENOMEM))?;
        within("new ones", new, 1, 2)?;
        refused("a hole", munmap(whole + PAGE, PAGE), Errno::ENOMEM)?;
        refused("an end apart", call!(libc::SYS_mprotect, whole, PAGE, libc::PROT_READ), Errno::ENOMEM)?;
        munmap(whole, PAGE).step("unmapping an end")?;
        let moved = || call!(libc::SYS_mremap, whole + PAGE, 3 * PAGE, 9 * PAGE, libc::MREMAP_MAYMOVE);
        // Each that is unmapped was one between two others.
        let unmap = |index: usize| munmap(start + 2 * index * PAGE, PAGE);
        for index in 1..4 {
            refused("to move", moved(), Errno::ENOMEM)?;
            unmap(index).step("unmapping one")?;
        }
        unmap(4).and_then(|_| unmap(5)).step("unmapping two")?;
        moved().step("moving")?;
        munmap(start, pages * PAGE).step("unmapping all")?;
        map(1, libc::PROT_READ).map(drop)
    });
    plan.case("directories: two thousand within each other, whose path is longer than a path may be", || {
        const DEPTH: usize = 2000;
        let top = Temporary::directory("deep")?;
        let mut at = Descriptor::open(&top.0, libc::O_RDONLY).step("opening the first")?;
        for _ in 0..DEPTH {
            call!(libc::SYS_mkdirat, at.0, c"directory", 0o700).step("mkdirat")?;
            at = Descriptor(
                call!(libc::SYS_openat, at.0, c"directory", libc::O_RDONLY).step("openat")? as i32
            );
        }
        call!(libc::SYS_fchdir, at.0).step("fchdir")?;
        let mut path = vec![0u8; 64 * 1024];
        refused("getcwd", call!(libc::SYS_getcwd, path.as_mut_ptr(), path.len()), Errno::ENAMETOOLONG)?;
        call!(libc::SYS_chdir, c"/").step("chdir")?;
        for _ in 0..DEPTH {
            at = Descriptor(call!(libc::SYS_openat, at.0, c"..", libc::O_RDONLY).step("openat ..")? as i32);
            call!(libc::SYS_unlinkat, at.0, c"directory", libc::AT_REMOVEDIR).step("unlinkat")?;
        }
        Ok(())
    });
    plan.case(
        "watches: as many as there are descriptors, all ready at once, and gone with their files",
        || {
            const FILES: u64 = 4000;
            limit(libc::RLIMIT_NOFILE, FILES)?;
            let watcher = Descriptor(call!(libc::SYS_epoll_create1, 0).step("epoll_create1")? as i32);
            let mut files = Vec::new();
            let (watches, why) = until_refused(FILES as usize, |_| {
                let file = Descriptor(call!(libc::SYS_eventfd2, 1, 0)? as i32);
                let event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
                call!(libc::SYS_epoll_ctl, watcher.0, libc::EPOLL_CTL_ADD, file.0, &raw const event)?;
                files.push(file);
                Ok(0)
            });
            equal("the last", why, Some(Errno::EMFILE))?;
            let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; FILES as usize];
            let mut ready = || {
                call!(
                    libc::SYS_epoll_pwait,
                    watcher.0,
                    events.as_mut_ptr(),
                    FILES as usize,
                    0,
                    0usize,
                    8usize
                )
            };
            equal("ready", ready(), Ok(watches))?;
            files.clear();
            equal("ready once they are closed", ready(), Ok(0))
        },
    );
    plan.case("processes: EAGAIN for one too many of a user's, and room again when they have ended", || {
        const MOST: usize = 30;
        if credentials::effective_user() == 0 {
            credentials::become_user(SOMEBODY).step("giving up root")?;
        } else {
            return crate::ktap::skipped("others may run as this user");
        }
        limit(libc::RLIMIT_NPROC, MOST as u64)?;
        let mut children = Vec::new();
        let (forked, why) = until_refused(2 * MOST, |_| {
            children.push(process::spawn(|| {
                time::sleep(30 * SECOND);
                0
            })?);
            Ok(0)
        });
        for child in &children {
            call!(libc::SYS_kill, *child, libc::SIGKILL).step("kill")?;
        }
        for child in children {
            process::wait(child).step("waiting")?;
        }
        equal("the last", why, Some(Errno::EAGAIN))?;
        holds(forked == MOST - 1, || format!("{forked} were made"))?;
        process::run(|| 0).map(drop).step("one more afterwards")
    });
}

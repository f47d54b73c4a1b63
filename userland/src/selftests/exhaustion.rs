//! Taking all there is of something: the one too many is refused with the right error, and all can be given back.

use super::memory::{map, munmap};
use super::support::Temporary;
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child, on_gnomon, refused, skipped, within};
use crate::system::credentials;
use crate::system::errno::Errno;
use crate::system::file;
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

/// A number of the whole machine's, set for as long as a case takes; others' machines are left as they are.
struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    fn new(path: &'static str, number: i32) -> Result<Self, Why> {
        if !on_gnomon() {
            return skipped("not on a machine that others work on");
        }
        let before = file::read(path).step(path)?;
        file::write(path, &number.to_string()).step(path)?;
        Ok(Self { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = file::write(self.path, &self.before);
    }
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
        let link = call!(libc::SYS_readlink, c"/proc/self/cwd", path.as_mut_ptr(), path.len());
        refused("readlink", link, Errno::ENAMETOOLONG)?;
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
            return skipped("others may run as this user");
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
    plan.case(
        "task numbers: EAGAIN when all below kernel.pid_max are taken, and none given above it",
        || {
            const MOST: i32 = 400;
            let _setting = Setting::new("/proc/sys/kernel/pid_max", MOST)?;
            refused("fewer than are kept", file::write("/proc/sys/kernel/pid_max", "300"), Errno::EINVAL)?;
            let mut children = Vec::new();
            let (_, why) = until_refused(2 * MOST as usize, |_| {
                children.push(process::spawn(|| {
                    time::sleep(30 * SECOND);
                    0
                })?);
                Ok(0)
            });
            for child in &children {
                call!(libc::SYS_kill, *child, libc::SIGKILL).step("kill")?;
            }
            for child in &children {
                process::wait(*child).step("waiting")?;
            }
            equal("the last", why, Some(Errno::EAGAIN))?;
            holds(!children.is_empty() && children.iter().all(|number| *number < MOST), || {
                format!("{children:?}")
            })?;
            process::run(|| 0).map(drop).step("one more afterwards")
        },
    );
    plan.case("open files: ENFILE when there are fs.file-max of them, but not to CAP_SYS_ADMIN", || {
        let counts = file::read("/proc/sys/fs/file-nr").step("file-nr")?;
        let open: usize = counts.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let directory = Temporary::directory("open")?;
        let made = format!("{}/made", directory.0);
        let _setting = Setting::new("/proc/sys/fs/file-max", (open + 20) as i32)?;
        in_child(|| {
            let mut files = Vec::new();
            let null = || call!(libc::SYS_openat, libc::AT_FDCWD, c"/dev/null", libc::O_RDONLY);
            for _ in 0..40 {
                files.push(null().step("as root")?);
            }
            credentials::become_user(SOMEBODY).step("giving up root")?;
            refused("open", null(), Errno::ENFILE)?;
            refused("before it is made", file::create(&made, b"", 0o600), Errno::ENFILE)?;
            refused("pipe", call!(libc::SYS_pipe2, &mut [0i32; 2], 0), Errno::ENFILE)?;
            refused("eventfd", call!(libc::SYS_eventfd2, 0, 0), Errno::ENFILE)?;
            refused("socket", call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0), Errno::ENFILE)?;
            let first = files.pop().step("a file")? as i32;
            equal("dup2 makes no file", call!(libc::SYS_dup3, first, 900, 0), Ok(900))?;
            for file in files.drain(..) {
                call!(libc::SYS_close, file).step("close")?;
            }
            null().map(drop).step("with room again")
        })
    });
}

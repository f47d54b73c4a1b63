//! /proc/PID/timens_offsets as a file: where it is, whose it is, and what calls it understands besides read and write.

use super::support::{FAR, become_nobody, needs_root, slots, unshared};
use crate::call;
use crate::ktap::{Plan, Step, equal, holds, in_child, refused, skipped};
use crate::system::credentials::NOBODY;
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, OFFSETS};

/// The file of a process in the root namespace.
const ZEROS: &str = "monotonic           0         0\nboottime            0         0\n";

fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    std::thread::spawn(work).join().ok()
}

/// The file opened for writing in a pending namespace.
fn pending_file(flags: i32) -> Result<Descriptor, crate::ktap::Why> {
    needs_root()?;
    unshared()?;
    Descriptor::open(OFFSETS, flags).step("open")
}

pub fn cases(plan: &mut Plan) {
    plan.case("it is there under /proc/self, /proc/PID and /proc/TID of a thread", || {
        file::read(OFFSETS).step("/proc/self")?;
        file::read(&format!("/proc/{}/timens_offsets", std::process::id())).step("/proc/PID")?;
        let of_thread = on_a_thread(|| {
            let id = call!(libc::SYS_gettid)?;
            file::read(&format!("/proc/{id}/timens_offsets"))
        });
        of_thread.step("the thread")?.step("/proc/TID").map(|_| ())
    });
    plan.case("it is not under /proc/PID/task/TID nor /proc/thread-self: ENOENT", || {
        let path = format!("/proc/self/task/{}/timens_offsets", call!(libc::SYS_gettid)?);
        refused("task/TID", file::read(&path), Errno::ENOENT)?;
        refused("thread-self", file::read("/proc/thread-self/timens_offsets"), Errno::ENOENT)
    });
    plan.case("a process in the root namespace reads zeros", || {
        equal("the text", file::read(OFFSETS), Ok(ZEROS.into()))
    });
    plan.case("a kernel thread reads as zeros", || {
        match file::read("/proc/2/status") {
            Ok(status) if status.contains("Kthread:\t1") => {}
            _ => return skipped("process 2 is no kernel thread here"),
        }
        equal("the text", file::read("/proc/2/timens_offsets"), Ok(ZEROS.into()))
    });
    plan.case("it shows and sets the namespace for children, not the one the task is in", || {
        needs_root()?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        let inside = slots()?;
        unshared()?;
        file::write(OFFSETS, "monotonic 7 0\nboottime 8 0\n").step("writing")?;
        equal(
            "the text",
            file::read(OFFSETS),
            Ok("monotonic           7         0\nboottime            8         0\n".into()),
        )?;
        namespace::enter(namespace::TIME).step("back to the namespace one is in")?;
        equal("its offsets", namespace::offsets()?, FAR)?;
        equal("namespaces", slots()?, inside)
    });
    plan.case("a regular file, mode 0644, size 0", || {
        let status = file::status(OFFSETS, 0).step("stat")?;
        equal("mode", status.st_mode, libc::S_IFREG | 0o644)?;
        equal("size", status.st_size, 0)
    });
    plan.case(
        "owned by the effective ids; by root when the process is not dumpable, then not to be opened",
        || {
            needs_root()?;
            become_nobody()?;
            let owner = |what: &str, expected: u32| {
                let status = file::status(OFFSETS, 0).step("stat")?;
                equal(what, (status.st_uid, status.st_gid), (expected, expected))
            };
            owner("owner of a dumpable process's file", NOBODY)?;
            Descriptor::open(OFFSETS, libc::O_RDWR).step("open of one's own")?;
            call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0).step("prctl")?;
            owner("owner of an undumpable process's file", 0)?;
            refused("open for writing", Descriptor::open(OFFSETS, libc::O_WRONLY), Errno::EACCES)?;
            Descriptor::open(OFFSETS, libc::O_RDONLY).step("open for reading").map(|_| ())
        },
    );
    plan.case("a change of user makes the file root's until the process is dumpable again", || {
        needs_root()?;
        in_child(|| {
            crate::system::credentials::become_user(NOBODY).step("giving up root")?;
            equal("owner", file::status(OFFSETS, 0).step("stat")?.st_uid, 0)?;
            refused("open for writing", Descriptor::open(OFFSETS, libc::O_WRONLY), Errno::EACCES)
        })
    });
    plan.case("poll says readable and writable at once", || {
        let file = Descriptor::open(OFFSETS, libc::O_RDONLY).step("open")?;
        let mut poll = libc::pollfd { fd: file.0, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        equal("poll", call!(libc::SYS_poll, &mut poll, 1, 0), Ok(1))?;
        equal("events", poll.revents, libc::POLLIN | libc::POLLOUT)
    });
    plan.case("ftruncate and O_TRUNC succeed and do nothing, O_APPEND does no harm", || {
        let file = pending_file(libc::O_RDWR)?;
        namespace::set_offsets(FAR).step("setting offsets")?;
        call!(libc::SYS_ftruncate, file.0, 0).step("ftruncate")?;
        let truncating =
            Descriptor::open(OFFSETS, libc::O_WRONLY | libc::O_TRUNC).step("open with O_TRUNC")?;
        equal("offsets after O_TRUNC", namespace::offsets()?, FAR)?;
        drop(truncating);
        let appending =
            Descriptor::open(OFFSETS, libc::O_WRONLY | libc::O_APPEND).step("open with O_APPEND")?;
        appending.write(b"monotonic 3 0").step("a write with O_APPEND")?;
        appending.write(b"monotonic 4 0").step("another")?;
        equal("offsets", namespace::offsets()?.monotonic, 4 * crate::system::time::SECOND)
    });
    plan.case("pread reads from where it is told", || {
        let file = Descriptor::open(OFFSETS, libc::O_RDONLY).step("open")?;
        let mut bytes = [0u8; 9];
        equal("pread", call!(libc::SYS_pread64, file.0, bytes.as_mut_ptr(), 9usize, 32usize), Ok(9))?;
        equal("bytes", &bytes, b"boottime ")
    });
    plan.case("reads of one byte each give the same text", || {
        let file = Descriptor::open(OFFSETS, libc::O_RDONLY).step("open")?;
        let mut text = Vec::new();
        let mut byte = [0u8; 1];
        while file.read(&mut byte).step("read")? == 1 {
            text.push(byte[0]);
        }
        equal("text", String::from_utf8_lossy(&text).into_owned(), ZEROS.to_string())
    });
    plan.case("pwrite is ESPIPE at any offset", || {
        let file = pending_file(libc::O_WRONLY)?;
        for offset in [0usize, 1, 100] {
            let text = b"monotonic 1 0";
            let answer = call!(libc::SYS_pwrite64, file.0, text.as_ptr(), text.len(), offset);
            refused(&format!("pwrite at {offset}"), answer, Errno::ESPIPE)?;
        }
        Ok(())
    });
    plan.case(
        "writev is one write a segment: a line in two segments is EINVAL, two lines are two writes",
        || {
            let file = pending_file(libc::O_WRONLY)?;
            let segments = |one: &'static [u8], two: &'static [u8]| {
                let vector = [(one.as_ptr(), one.len()), (two.as_ptr(), two.len())];
                call!(libc::SYS_writev, file.0, &vector, 2)
            };
            refused("a split line", segments(b"monotonic 1 ", b"0\n"), Errno::EINVAL)?;
            equal("two lines", segments(b"monotonic 5 0\n", b"boottime 6 0\n"), Ok(27))?;
            let offsets = namespace::offsets()?;
            equal("offsets", (offsets.monotonic, offsets.boottime), (5_000_000_000, 6_000_000_000))
        },
    );
    plan.case("mmap of a descriptor that cannot be read is EACCES", || {
        let file = pending_file(libc::O_WRONLY)?;
        let answer =
            call!(libc::SYS_mmap, 0usize, 4096usize, libc::PROT_READ, libc::MAP_PRIVATE, file.0, 0usize);
        refused("mmap", answer, Errno::EACCES)
    });
    plan.case("a write moves no position: the next one works too", || {
        let file = pending_file(libc::O_RDWR)?;
        for _ in 0..3 {
            file.write(b"monotonic 1 0").step("a write")?;
        }
        equal("position", call!(libc::SYS_lseek, file.0, 0, libc::SEEK_CUR), Ok(0))
    });
    plan.case("two descriptors see one namespace", || {
        let file = pending_file(libc::O_RDWR)?;
        namespace::set_offsets(FAR).step("setting offsets by another")?;
        let text = file.read_to_end().step("read")?;
        let text = String::from_utf8_lossy(&text).into_owned();
        holds(namespace::parse_offsets(&text) == Some(FAR), || format!("got {text:?}"))
    });
}

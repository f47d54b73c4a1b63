//! What is in a file: vectors at an offset, space and holes, copies, locks, files without a name, counters.

use super::files::Tree;
use super::support::{self, Temporary};
use crate::call;
use crate::ktap::{Plan, Running, Step, Why, equal, in_child, refused, within};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process;
use crate::system::time::{self, MILLISECOND};

const PAGE: i64 = 4096;
/// For preadv2 and pwritev2: where the file stands.
const HERE: i64 = -1;

fn make(name: &str, text: &str) -> Result<Descriptor, Errno> {
    file::create(name, text.as_bytes(), 0o644)?;
    Descriptor::open(name, libc::O_RDWR)
}

fn position(file: &Descriptor) -> Result<usize, Errno> {
    call!(libc::SYS_lseek, file.0, 0, libc::SEEK_CUR)
}

fn vector(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// One of the calls that write two pieces at an offset.
fn write_two(number: i64, file: &Descriptor, offset: i64, flags: i32) -> Result<usize, Errno> {
    let vectors = [vector(b"ab"), vector(b"cde")];
    call!(number, file.0, vectors.as_ptr(), 2, offset, 0, flags)
}

/// One of the calls that read two pieces at an offset: into two bytes and four.
fn read_two(number: i64, file: &Descriptor, offset: i64, flags: i32) -> Result<(usize, Vec<u8>), Errno> {
    let mut pieces = [vec![b'.'; 2], vec![b'.'; 4]];
    let vectors = pieces
        .each_mut()
        .map(|piece| libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() });
    let count = call!(number, file.0, vectors.as_ptr(), 2, offset, 0, flags)?;
    Ok((count, pieces.concat()))
}

pub fn cases(plan: &mut Plan) {
    vectors(plan);
    space(plan);
    copies(plan);
    locks(plan);
    storage(plan);
    nameless(plan);
    counters(plan);
}

fn vectors(plan: &mut Plan) {
    plan.case("preadv and pwritev go to an offset and leave the position alone", || {
        let _tree = Tree::make("vectors")?;
        let file = make("a", "0123456789")?;
        equal("pwritev", write_two(libc::SYS_pwritev, &file, 2, 0), Ok(5))?;
        equal("the file", file::read("a"), Ok("01abcde789".into()))?;
        equal("preadv", read_two(libc::SYS_preadv, &file, 5, 0), Ok((5, b"de789.".to_vec())))?;
        equal("preadv at the end", read_two(libc::SYS_preadv, &file, 10, 0), Ok((0, b"......".to_vec())))?;
        equal("the position", position(&file), Ok(0))?;
        refused("before the start", read_two(libc::SYS_preadv, &file, -1, 0), Errno::EINVAL)?;
        refused("before the start", write_two(libc::SYS_pwritev, &file, -2, 0), Errno::EINVAL)?;
        let (pipe, _other) = process::pipe()?;
        refused("of a pipe", read_two(libc::SYS_preadv, &Descriptor(pipe), 0, 0), Errno::ESPIPE)
    });
    plan.case("preadv2 and pwritev2 do the same, and with offset -1 go on where the file stands", || {
        let _tree = Tree::make("vectors2")?;
        let file = make("a", "0123456789")?;
        equal("pwritev2", write_two(libc::SYS_pwritev2, &file, 1, 0), Ok(5))?;
        equal("the position", position(&file), Ok(0))?;
        equal("preadv2 here", read_two(libc::SYS_preadv2, &file, HERE, 0), Ok((6, b"0abcde".to_vec())))?;
        equal("the position", position(&file), Ok(6))?;
        equal("pwritev2 here", write_two(libc::SYS_pwritev2, &file, HERE, 0), Ok(5))?;
        equal("the file", file::read("a"), Ok("0abcdeabcde".into()))?;
        refused("a flag nobody knows", read_two(libc::SYS_preadv2, &file, 0, 1 << 20), Errno::EOPNOTSUPP)?;
        refused("a flag nobody knows", write_two(libc::SYS_pwritev2, &file, 0, 1 << 20), Errno::EOPNOTSUPP)
    });
}

fn space(plan: &mut Plan) {
    plan.case("fallocate: makes the file longer, or only its space, or a hole that reads as zeros", || {
        let _tree = Tree::make("space")?;
        let file = make("a", "text")?;
        let size = |file: &Descriptor| file::status_of(file.0).map(|status| status.st_size);
        let space =
            |mode: i32, from: i64, length: i64| call!(libc::SYS_fallocate, file.0, mode, from, length);
        const HOLE: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        space(libc::FALLOC_FL_KEEP_SIZE, 0, 4 * PAGE).step("KEEP_SIZE")?;
        equal("size", size(&file), Ok(4))?;
        space(0, 0, 2 * PAGE).step("mode 0")?;
        equal("size", size(&file), Ok(2 * PAGE))?;
        let mut bytes = [1; 6];
        call!(libc::SYS_pread64, file.0, bytes.as_mut_ptr(), 6, 0).step("pread64")?;
        equal("what is there", &bytes, b"text\0\0")?;
        space(HOLE, 1, 2).step("PUNCH_HOLE")?;
        call!(libc::SYS_pread64, file.0, bytes.as_mut_ptr(), 6, 0).step("pread64")?;
        equal("with a hole", &bytes, b"t\0\0t\0\0")?;
        refused("no length", space(0, 0, 0), Errno::EINVAL)?;
        refused("before the start", space(0, -1, 1), Errno::EINVAL)?;
        let only_read = Descriptor::open("a", libc::O_RDONLY)?;
        refused("only readable", call!(libc::SYS_fallocate, only_read.0, 0, 0i64, PAGE), Errno::EBADF)
    });
    plan.case("fallocate of more than there is: ENOSPC, and all that was there is there again", || {
        support::needs_root()?;
        let small = Small::mount()?;
        let file = Descriptor::open(&format!("{}/a", small.0.0), libc::O_RDWR | libc::O_CREAT)?;
        call!(libc::SYS_pwrite64, file.0, c"text", 4, 2 * PAGE).step("pwrite64")?;
        refused("20 pages", call!(libc::SYS_fallocate, file.0, 0, 0i64, 20 * PAGE), Errno::ENOSPC)?;
        let status = file::status_of(file.0)?;
        equal("size and blocks", (status.st_size, status.st_blocks), (2 * PAGE + 4, PAGE / 512))?;
        equal("16 pages", call!(libc::SYS_fallocate, file.0, 0, 0i64, 16 * PAGE), Ok(0))?;
        equal("blocks", file::status_of(file.0)?.st_blocks, 16 * PAGE / 512)?;
        let mut bytes = [1; 4];
        call!(libc::SYS_pread64, file.0, bytes.as_mut_ptr(), 4, 2 * PAGE).step("pread64")?;
        equal("what is there", &bytes, b"text")
    });
}

/// A file system with room for sixteen pages, unmounted when it goes.
struct Small(Temporary);

impl Small {
    fn mount() -> Result<Small, Why> {
        let place = Temporary::directory("small")?;
        let target = process::c_string(&place.0);
        call!(libc::SYS_mount, c"none", target.as_c_str(), c"tmpfs", 0, c"size=64k").step("mount")?;
        Ok(Small(place))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let target = process::c_string(&self.0.0);
        let _ = call!(libc::SYS_umount2, target.as_c_str(), libc::MNT_DETACH);
    }
}

fn copies(plan: &mut Plan) {
    plan.case("a copy of a gigabyte does not keep others from running when their time has come", || {
        let (endless, nowhere) =
            (Descriptor::open("/dev/urandom", 0)?, Descriptor::open("/dev/null", libc::O_WRONLY)?);
        let child = process::spawn(|| {
            loop {
                if let Err(errno) = call!(libc::SYS_sendfile, nowhere.0, endless.0, 0usize, 1usize << 30) {
                    return errno.0;
                }
            }
        })?;
        let mut sleeps = [0; 11];
        for taken in &mut sleeps {
            let start = time::read_by_call(libc::CLOCK_MONOTONIC)?;
            time::sleep(MILLISECOND);
            *taken = time::read_by_call(libc::CLOCK_MONOTONIC)? - start;
        }
        sleeps.sort_unstable();
        call!(libc::SYS_kill, child, libc::SIGKILL).step("kill")?;
        equal("the copier", process::wait(child), Ok(process::Status::Killed(libc::SIGKILL)))?;
        within("most sleeps", sleeps[5], MILLISECOND, 50 * MILLISECOND)
    });
    plan.case("copy_file_range: with offsets it moves those, without it moves the positions", || {
        let _tree = Tree::make("copies")?;
        let (from, to) = (make("from", "0123456789")?, make("to", "")?);
        let (mut from_at, mut to_at) = (3i64, 1i64);
        let copied = call!(libc::SYS_copy_file_range, from.0, &mut from_at, to.0, &mut to_at, 4usize, 0);
        equal("copied", copied, Ok(4))?;
        equal("the offsets", (from_at, to_at), (7, 5))?;
        equal("the positions", (position(&from), position(&to)), (Ok(0), Ok(0)))?;
        equal("the copy", file::read("to"), Ok("\x003456".into()))?;
        let copied = call!(libc::SYS_copy_file_range, from.0, 0usize, to.0, 0usize, 100usize, 0);
        equal("copied to the end", copied, Ok(10))?;
        equal("the positions", (position(&from), position(&to)), (Ok(10), Ok(10)))?;
        equal("the copy", file::read("to"), Ok("0123456789".into()))?;
        let answer = call!(libc::SYS_copy_file_range, from.0, 0usize, to.0, 0usize, 1usize, 1);
        refused("a flag", answer, Errno::EINVAL)?;
        let only_read = Descriptor::open("to", libc::O_RDONLY)?;
        let answer = call!(libc::SYS_copy_file_range, from.0, 0usize, only_read.0, 0usize, 1usize, 0);
        refused("only readable", answer, Errno::EBADF)
    });
    plan.case(
        "copy_file_range in one file: what is behind its end is not copied, and overlaps nothing",
        || {
            let _tree = Tree::make("copies")?;
            let file = make("a", "0123456789")?;
            let copy = |mut from: i64, mut to: i64, count: usize| {
                call!(libc::SYS_copy_file_range, file.0, &mut from, file.0, &mut to, count, 0)
            };
            equal("from the end", copy(10, 0, 10), Ok(0))?;
            equal("from behind it", copy(100, 102, 10), Ok(0))?;
            refused("onto itself", copy(0, 5, 10), Errno::EINVAL)?;
            equal("to the end", copy(5, 10, 100), Ok(5))?;
            equal("the contents", file::read("a"), Ok("012345678956789".into()))
        },
    );
    plan.case("pread and pwrite: EINVAL when they would end behind the largest position", || {
        let _tree = Tree::make("ends")?;
        let file = make("a", "0123456789")?;
        let mut bytes = [0u8; 10];
        let mut at =
            |call: i64, place: i64, length: usize| call!(call, file.0, bytes.as_mut_ptr(), length, place);
        for number in [libc::SYS_pread64, libc::SYS_pwrite64] {
            refused("one too many", at(number, i64::MAX - 9, 10), Errno::EINVAL)?;
            equal("nothing there", at(number, i64::MAX, 0), Ok(0))?;
        }
        equal("to the largest", at(libc::SYS_pread64, i64::MAX - 10, 10), Ok(0))
    });
}

fn locks(plan: &mut Plan) {
    let flock = |file: &Descriptor, operation: i32| {
        call!(libc::SYS_flock, file.0, operation | libc::LOCK_NB).map(|_| ())
    };
    plan.case("flock: many may share, one alone may have it; the lock is the open file's", move || {
        let _tree = Tree::make("locks")?;
        let first = make("a", "")?;
        let second = Descriptor::open("a", libc::O_RDONLY)?;
        flock(&first, libc::LOCK_SH).step("sharing")?;
        flock(&second, libc::LOCK_SH).step("sharing with another")?;
        refused("alone", flock(&second, libc::LOCK_EX), Errno::EAGAIN)?;
        flock(&first, libc::LOCK_UN).step("unlocking")?;
        flock(&second, libc::LOCK_EX).step("alone")?;
        refused("sharing", flock(&first, libc::LOCK_SH), Errno::EAGAIN)?;
        // A child's descriptor is of the same open file, so it holds the same lock and can give it up.
        in_child(|| flock(&second, libc::LOCK_UN).step("unlocking in a child"))?;
        flock(&first, libc::LOCK_EX).step("after the child")?;
        drop(first);
        flock(&second, libc::LOCK_EX).step("after closing")?;
        refused("no operation", flock(&second, 0), Errno::EINVAL)
    });
}

fn storage(plan: &mut Plan) {
    plan.case("fsync, fdatasync, syncfs and sync: a file's bytes are safe; a pipe has no such thing", || {
        let _tree = Tree::make("storage")?;
        let file = make("a", "text")?;
        let (pipe, _other) = process::pipe()?;
        for (name, number) in [("fsync", libc::SYS_fsync), ("fdatasync", libc::SYS_fdatasync)] {
            call!(number, file.0).step(name)?;
            refused(name, call!(number, 987), Errno::EBADF)?;
            refused(name, call!(number, pipe), Errno::EINVAL)?;
        }
        call!(libc::SYS_syncfs, file.0).step("syncfs")?;
        refused("syncfs", call!(libc::SYS_syncfs, 987), Errno::EBADF)?;
        equal("sync", call!(libc::SYS_sync), Ok(0))
    });
    plan.case("posix_fadvise: six pieces of advice, none for a pipe", || {
        let _tree = Tree::make("advice")?;
        let file = make("a", "text")?;
        for advice in 0..6 {
            equal("advice", call!(libc::SYS_fadvise64, file.0, 0i64, 4i64, advice), Ok(0))?;
        }
        refused("a seventh", call!(libc::SYS_fadvise64, file.0, 0i64, 4i64, 6), Errno::EINVAL)?;
        refused("a negative length", call!(libc::SYS_fadvise64, file.0, 0i64, -1i64, 0), Errno::EINVAL)?;
        let (pipe, _other) = process::pipe()?;
        refused("a pipe", call!(libc::SYS_fadvise64, pipe, 0i64, 0i64, 0), Errno::ESPIPE)
    });
}

fn nameless(plan: &mut Plan) {
    plan.case("memfd_create: a file in memory that only its descriptor leads to", || {
        let file = Descriptor(
            call!(libc::SYS_memfd_create, c"mine", libc::MFD_CLOEXEC).step("memfd_create")? as i32,
        );
        file.write(b"text")?;
        equal("flags", call!(libc::SYS_fcntl, file.0, libc::F_GETFD), Ok(libc::FD_CLOEXEC as usize))?;
        let path = format!("/proc/self/fd/{}", file.0);
        equal("its link", file::readlink(&path), Ok("/memfd:mine (deleted)".into()))?;
        equal("opened once more", file::read(&path), Ok("text".into()))?;
        call!(libc::SYS_ftruncate, file.0, 2i64).step("ftruncate")?;
        equal("shortened", file::read(&path), Ok("te".into()))?;
        refused("an unknown flag", call!(libc::SYS_memfd_create, c"x", 1 << 20), Errno::EINVAL)?;
        let long = process::c_string("x".repeat(250));
        refused("a long name", call!(libc::SYS_memfd_create, long.as_c_str(), 0), Errno::EINVAL)
    });
}

fn counters(plan: &mut Plan) {
    let add = |counter: &Descriptor, value: u64| counter.write(&value.to_ne_bytes());
    let take = |counter: &Descriptor| {
        let mut bytes = [0; 8];
        counter.read(&mut bytes).map(|_| u64::from_ne_bytes(bytes))
    };
    plan.case("eventfd: writing adds, reading takes all, or one at a time as a semaphore", move || {
        let counter = Descriptor(call!(libc::SYS_eventfd, 3).step("eventfd")? as i32);
        add(&counter, 4)?;
        equal("all", take(&counter), Ok(7))?;
        let flags = libc::EFD_SEMAPHORE | libc::EFD_NONBLOCK;
        let counter = Descriptor(call!(libc::SYS_eventfd2, 2, flags).step("eventfd2")? as i32);
        equal("one and one", (take(&counter), take(&counter)), (Ok(1), Ok(1)))?;
        refused("none is left", take(&counter), Errno::EAGAIN)?;
        add(&counter, u64::MAX - 1)?;
        refused("more than it holds", add(&counter, 1), Errno::EAGAIN)?;
        refused("what no counter holds", add(&counter, u64::MAX), Errno::EINVAL)?;
        refused("a short read", counter.read(&mut [0; 7]), Errno::EINVAL)?;
        refused("an unknown flag", call!(libc::SYS_eventfd2, 0, 2), Errno::EINVAL)
    });
    plan.case("a reader of an empty eventfd waits for who adds", move || {
        let counter = Descriptor(call!(libc::SYS_eventfd2, 0, libc::EFD_CLOEXEC).step("eventfd2")? as i32);
        let child = Running::start(|| {
            time::sleep(20 * MILLISECOND);
            add(&counter, 5).step("adding").map(|_| ())
        })?;
        equal("what came", take(&counter), Ok(5))?;
        child.finish()
    });
}

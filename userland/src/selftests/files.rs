//! Files in a tree: open and its flags, positions, attributes, mounts.

use super::support::{Temporary, c, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child, refused, within};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};

pub const CREATE: i32 = libc::O_CREAT;
pub const WRITE: i32 = libc::O_WRONLY;
const READ_WRITE: i32 = libc::O_RDWR;

/// A directory of our own, and removed with everything in it.
pub struct Tree(pub String);

impl Tree {
    pub fn make(name: &str) -> Result<Tree, Why> {
        let path = super::support::temporary(name);
        call!(libc::SYS_mkdir, c(&path).as_c_str(), 0o755).step("mkdir")?;
        call!(libc::SYS_chdir, c(&path).as_c_str()).step("chdir")?;
        Ok(Tree(path))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = call!(libc::SYS_chdir, c"/");
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn open(path: &str, flags: i32) -> Result<Descriptor, Errno> {
    file::open_mode(path, flags, 0o644).map(Descriptor)
}

pub fn put(path: &str, text: &str) -> Outcome {
    file::create(path, text.as_bytes(), 0o644).step(&format!("writing {path}"))
}

pub fn holds_text(path: &str, text: &str) -> Outcome {
    equal(path, file::read(path), Ok(text.to_string()))
}

/// A call with one path, two paths, or a path and a number.
pub fn one(number: i64, path: &str) -> Result<usize, Errno> {
    call!(number, c(path).as_c_str())
}

pub fn two(number: i64, first: &str, second: &str) -> Result<usize, Errno> {
    call!(number, c(first).as_c_str(), c(second).as_c_str())
}

fn with(number: i64, path: &str, value: i64) -> Result<usize, Errno> {
    call!(number, c(path).as_c_str(), value)
}

pub fn mkdir(path: &str) -> Result<usize, Errno> {
    with(libc::SYS_mkdir, path, 0o755)
}

pub fn seek(file: &Descriptor, offset: i64, whence: i32) -> Result<usize, Errno> {
    call!(libc::SYS_lseek, file.0, offset, whence)
}

/// Type and mode, links, size.
pub fn facts(path: &str) -> Result<(u32, u64, i64), Why> {
    let status = file::status(path, libc::AT_SYMLINK_NOFOLLOW).step(&format!("lstat of {path}"))?;
    Ok((status.st_mode, status.st_nlink, status.st_size))
}

pub fn cases(plan: &mut Plan) {
    opening(plan);
    positions(plan);
    attributes(plan);
    mounting(plan);
}

fn opening(plan: &mut Plan) {
    plan.case(
        "O_CREAT makes, O_EXCL refuses what is there, O_TRUNC empties, O_APPEND goes to the end",
        || {
            let _tree = Tree::make("open")?;
            refused("without O_CREAT", open("a", WRITE), Errno::ENOENT)?;
            open("a", WRITE | CREATE | libc::O_EXCL).step("O_CREAT | O_EXCL")?.write(b"hello")?;
            refused("O_EXCL again", open("a", WRITE | CREATE | libc::O_EXCL), Errno::EEXIST)?;
            let append = open("a", WRITE | libc::O_APPEND)?;
            append.write(b" world")?;
            seek(&append, 0, libc::SEEK_SET)?;
            append.write(b"!")?;
            holds_text("a", "hello world!")?;
            open("a", WRITE | libc::O_TRUNC).step("O_TRUNC")?;
            holds_text("a", "")
        },
    );
    plan.case("what a descriptor may not do is EBADF", || {
        let _tree = Tree::make("may")?;
        put("a", "text")?;
        refused("writing", open("a", libc::O_RDONLY)?.write(b"x"), Errno::EBADF)?;
        refused("reading", open("a", WRITE)?.read(&mut [0; 4]), Errno::EBADF)?;
        refused("reading a path", open("a", libc::O_PATH)?.read(&mut [0; 4]), Errno::EBADF)?;
        refused("a descriptor that is not", call!(libc::SYS_read, 987, &mut [0u8; 4], 4), Errno::EBADF)
    });
    plan.case("O_DIRECTORY wants a directory, writing wants none: ENOTDIR, EISDIR", || {
        let _tree = Tree::make("kind")?;
        put("a", "")?;
        refused("a file", open("a", libc::O_DIRECTORY), Errno::ENOTDIR)?;
        refused("writing a directory", open(".", WRITE), Errno::EISDIR)?;
        refused("making one", open(".", WRITE | CREATE), Errno::EISDIR)?;
        refused("reading one", open(".", libc::O_RDONLY)?.read(&mut [0; 4]), Errno::EISDIR)
    });
    plan.case("the umask takes bits from a new file's mode", || {
        let _tree = Tree::make("umask")?;
        call!(libc::SYS_umask, 0o027).step("umask")?;
        equal("umask", call!(libc::SYS_umask, 0o027), Ok(0o027))?;
        file::open_mode("a", WRITE | CREATE, 0o666)?;
        with(libc::SYS_mkdir, "d", 0o777)?;
        equal("modes", (facts("a")?.0, facts("d")?.0), (0o100640, 0o40750))
    });
    plan.case("an open file lives on when its name is gone", || {
        let _tree = Tree::make("gone")?;
        put("a", "text")?;
        let file = open("a", READ_WRITE)?;
        one(libc::SYS_unlink, "a").step("unlink")?;
        refused("its name", open("a", READ_WRITE), Errno::ENOENT)?;
        equal("its bytes", file.read_to_end(), Ok(b"text".to_vec()))?;
        file.write(b" more").step("write")?;
        let status = file::status_of(file.0)?;
        equal("links and size", (status.st_nlink, status.st_size), (0, 9))
    });
}

fn positions(plan: &mut Plan) {
    plan.case("lseek: from the start, from here, from the end; not before the start", || {
        let _tree = Tree::make("seek")?;
        put("a", "0123456789")?;
        let file = open("a", READ_WRITE)?;
        equal("set", seek(&file, 4, libc::SEEK_SET), Ok(4))?;
        equal("current", seek(&file, 3, libc::SEEK_CUR), Ok(7))?;
        equal("end", seek(&file, -2, libc::SEEK_END), Ok(8))?;
        refused("before the start", seek(&file, -1, libc::SEEK_SET), Errno::EINVAL)?;
        refused("a way that is not", seek(&file, 0, 99), Errno::EINVAL)?;
        let mut bytes = [0; 4];
        equal("read", file.read(&mut bytes), Ok(2))?;
        equal("bytes", &bytes[..2], b"89")
    });
    plan.case("writing behind the end leaves zeros between", || {
        let _tree = Tree::make("hole")?;
        let file = open("a", READ_WRITE | CREATE)?;
        seek(&file, 10_000, libc::SEEK_SET)?;
        file.write(b"x")?;
        seek(&file, 0, libc::SEEK_SET)?;
        let all = file.read_to_end()?;
        equal("size", all.len(), 10_001)?;
        holds(all[..10_000].iter().all(|byte| *byte == 0) && all[10_000] == b'x', || "other bytes".into())
    });
    plan.case("pread and pwrite leave the position", || {
        let _tree = Tree::make("pread")?;
        put("a", "0123456789")?;
        let file = open("a", READ_WRITE)?;
        let mut bytes = [0u8; 3];
        equal("pread64", call!(libc::SYS_pread64, file.0, &mut bytes, 3, 5), Ok(3))?;
        equal("bytes", &bytes, b"567")?;
        equal("pwrite64", call!(libc::SYS_pwrite64, file.0, b"XY".as_ptr(), 2, 8), Ok(2))?;
        equal("position", seek(&file, 0, libc::SEEK_CUR), Ok(0))?;
        equal("behind the end", call!(libc::SYS_pread64, file.0, &mut bytes, 3, 100), Ok(0))?;
        refused("a negative offset", call!(libc::SYS_pread64, file.0, &mut bytes, 3, -1), Errno::EINVAL)?;
        holds_text("a", "01234567XY")
    });
    plan.case("a child by fork shares the position", || {
        let _tree = Tree::make("share")?;
        put("a", "0123456789")?;
        let file = open("a", READ_WRITE)?;
        let descriptor = file.0;
        in_child(move || seek(&Descriptor(descriptor), 6, libc::SEEK_SET).step("lseek").map(|_| ()))?;
        equal("position", seek(&file, 0, libc::SEEK_CUR), Ok(6))
    });
    plan.case("truncate and ftruncate shorten and lengthen", || {
        let _tree = Tree::make("truncate")?;
        put("a", "0123456789")?;
        with(libc::SYS_truncate, "a", 4).step("truncate")?;
        holds_text("a", "0123")?;
        call!(libc::SYS_ftruncate, open("a", READ_WRITE)?.0, 6).step("ftruncate")?;
        holds_text("a", "0123\0\0")?;
        refused("to -1", with(libc::SYS_truncate, "a", -1), Errno::EINVAL)?;
        refused("a directory", with(libc::SYS_truncate, ".", 0), Errno::EISDIR)?;
        refused("a reader", call!(libc::SYS_ftruncate, open("a", libc::O_RDONLY)?.0, 0), Errno::EINVAL)
    });
    plan.case("a file of a mebibyte, written and read in odd pieces", || {
        let _tree = Tree::make("large")?;
        let file = open("a", READ_WRITE | CREATE)?;
        let piece: Vec<u8> = (0..4999u32).map(|index| (index * 7) as u8).collect();
        for _ in 0..210 {
            equal("write", file.write(&piece), Ok(4999))?;
        }
        seek(&file, 0, libc::SEEK_SET)?;
        let all = file.read_to_end()?;
        equal("size", all.len(), 210 * 4999)?;
        holds(all.chunks(4999).all(|chunk| chunk == piece), || "other bytes".into())
    });
}

fn attributes(plan: &mut Plan) {
    plan.case("chmod, chown, utimensat and what stat then says", || {
        needs_root()?;
        let _tree = Tree::make("attributes")?;
        put("a", "text")?;
        with(libc::SYS_chmod, "a", 0o4751).step("chmod")?;
        equal("mode", facts("a")?.0, 0o104751)?;
        call!(libc::SYS_chown, c"a", 12, 34).step("chown")?;
        let status = file::status("a", 0)?;
        equal(
            "owner, and the set-user-id bit gone",
            (status.st_uid, status.st_gid, status.st_mode),
            (12, 34, 0o100751),
        )?;
        call!(libc::SYS_chown, c"a", -1, 56).step("chown of the group")?;
        equal("owner", (file::status("a", 0)?.st_uid, file::status("a", 0)?.st_gid), (12, 56))?;
        let times = [time::timespec(1000 * SECOND + 5), time::timespec(2000 * SECOND + 7)];
        call!(libc::SYS_utimensat, libc::AT_FDCWD, c"a", &times, 0).step("utimensat")?;
        let status = file::status("a", 0)?;
        equal(
            "times",
            (status.st_atime, status.st_atime_nsec, status.st_mtime, status.st_mtime_nsec),
            (1000, 5, 2000, 7),
        )?;
        let bad = [libc::timespec { tv_sec: 0, tv_nsec: -1 }, time::ZERO];
        refused("a bad time", call!(libc::SYS_utimensat, libc::AT_FDCWD, c"a", &bad, 0), Errno::EINVAL)
    });
    plan.case("writing moves the modification time, reading does not", || {
        let _tree = Tree::make("mtime")?;
        put("a", "text")?;
        let old = [time::timespec(SECOND), time::timespec(SECOND)];
        call!(libc::SYS_utimensat, libc::AT_FDCWD, c"a", &old, 0).step("utimensat")?;
        open("a", 0)?.read_to_end()?;
        equal("after a read", file::status("a", 0)?.st_mtime, 1)?;
        open("a", WRITE)?.write(b"x")?;
        let now = time::read_by_call(0)? / SECOND;
        within("after a write", file::status("a", 0)?.st_mtime, now - 5, now + 1)
    });
    plan.case("statx and access say the same as stat", || {
        let _tree = Tree::make("statx")?;
        put("a", "text")?;
        let mut buffer = [0u32; 64];
        call!(libc::SYS_statx, libc::AT_FDCWD, c"a", 0, 0x7ff, &mut buffer).step("statx")?;
        let status = file::status("a", 0)?;
        equal("mode", buffer[7] & 0xffff, status.st_mode)?;
        equal(
            "inode and size",
            (u64::from(buffer[8]) | u64::from(buffer[9]) << 32, buffer[10]),
            (status.st_ino, 4),
        )?;
        with(libc::SYS_access, "a", 0).step("access F_OK")?;
        refused("access of nothing", with(libc::SYS_access, "x", 0), Errno::ENOENT)?;
        refused("access with odd bits", with(libc::SYS_access, "a", 8), Errno::EINVAL)
    });
}

fn mounting(plan: &mut Plan) {
    plan.case("a tmpfs mounted over a directory hides it, is busy while used, and uncovers it", || {
        needs_root()?;
        let tree = Tree::make("mount")?;
        mkdir("d")?;
        put("d/below", "below")?;
        let target = format!("{}/d", tree.0);
        let mount = |kind: &str| {
            call!(libc::SYS_mount, c"none", c(&target).as_c_str(), c(kind).as_c_str(), 0, 0usize)
        };
        mount("tmpfs").step("mount")?;
        let outcome = (|| {
            refused("below", open("d/below", 0), Errno::ENOENT)?;
            put("d/above", "above")?;
            holds_text("d/above", "above")?;
            let _open = open("d/above", 0)?;
            refused("umount while used", with(libc::SYS_umount2, &target, 0), Errno::EBUSY)?;
            refused("rmdir of the mount", one(libc::SYS_rmdir, &target), Errno::EBUSY)?;
            refused("rename out of it", two(libc::SYS_rename, "d/above", "above"), Errno::EXDEV)?;
            refused("link out of it", two(libc::SYS_link, "d/above", "above"), Errno::EXDEV)?;
            let mounts = file::read("/proc/self/mounts")?;
            holds(mounts.contains(&format!(" {target} tmpfs ")), || "it is not listed".into())
        })();
        with(libc::SYS_umount2, &target, 0).step("umount")?;
        outcome?;
        holds_text("d/below", "below")?;
        refused("umount again", with(libc::SYS_umount2, &target, 0), Errno::EINVAL)?;
        refused("a file system that is not", mount("nothingfs"), Errno::ENODEV)
    });
    plan.case("what is mounted below a process' directory goes with the process", || {
        needs_root()?;
        let child = process::spawn(|| {
            time::sleep(60_000 * MILLISECOND);
            0
        })?;
        let target = c(format!("/proc/{child}/task"));
        let listed =
            || file::read("/proc/self/mounts").map(|mounts| mounts.contains(&format!(" /proc/{child}/")));
        let mounted = call!(libc::SYS_mount, c"none", target.as_c_str(), c"tmpfs", 0, 0usize);
        let before = listed();
        call!(libc::SYS_kill, child, libc::SIGKILL).step("kill")?;
        process::wait(child)?;
        mounted.step("mount")?;
        equal("listed before, and after", (before?, listed()?), (true, false))
    });
    plan.case("nothing is mounted on what was unmounted lazily, not even by those who are there", || {
        needs_root()?;
        let tree = Tree::make("detached")?;
        mkdir("d")?;
        let target = c(format!("{}/d", tree.0));
        call!(libc::SYS_mount, c"none", target.as_c_str(), c"tmpfs", 0, 0usize).step("mount")?;
        let entered = one(libc::SYS_chdir, "d").and_then(|_| mkdir("e"));
        call!(libc::SYS_umount2, target.as_c_str(), libc::MNT_DETACH).step("umount")?;
        entered.step("going there")?;
        refused("mount", call!(libc::SYS_mount, c"none", c"e", c"tmpfs", 0, 0usize), Errno::ENOENT)?;
        refused("bind", call!(libc::SYS_mount, c"/dev", c"e", 0usize, libc::MS_BIND, 0usize), Errno::ENOENT)
    });
    plan.case("/proc can be mounted elsewhere too", || {
        needs_root()?;
        let directory = Temporary::directory("proc")?;
        let target = c(&directory.0);
        call!(libc::SYS_mount, c"proc", target.as_c_str(), c"proc", 0, 0usize).step("mount")?;
        let text = file::read(&format!("{}/self/comm", directory.0));
        call!(libc::SYS_umount2, target.as_c_str(), 0).step("umount")?;
        text.step("reading self/comm").map(|_| ())
    });
}

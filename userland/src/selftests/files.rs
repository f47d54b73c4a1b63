//! Files in a tree: open and its flags, positions, directories, links, renames, paths of every kind.

use super::nsfs::directory;
use super::support::{Temporary, c, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child, refused, within};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};

const CREATE: i32 = libc::O_CREAT;
const WRITE: i32 = libc::O_WRONLY;
const READ_WRITE: i32 = libc::O_RDWR;

/// A directory of our own, and removed with everything in it.
pub struct Tree(String);

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

fn open(path: &str, flags: i32) -> Result<Descriptor, Errno> {
    file::open_mode(path, flags, 0o644).map(Descriptor)
}

fn put(path: &str, text: &str) -> Outcome {
    file::create(path, text.as_bytes(), 0o644).step(&format!("writing {path}"))
}

fn holds_text(path: &str, text: &str) -> Outcome {
    equal(path, file::read(path), Ok(text.to_string()))
}

/// A call with one path, two paths, or a path and a number.
fn one(number: i64, path: &str) -> Result<usize, Errno> {
    call!(number, c(path).as_c_str())
}

fn two(number: i64, first: &str, second: &str) -> Result<usize, Errno> {
    call!(number, c(first).as_c_str(), c(second).as_c_str())
}

fn with(number: i64, path: &str, value: i64) -> Result<usize, Errno> {
    call!(number, c(path).as_c_str(), value)
}

fn mkdir(path: &str) -> Result<usize, Errno> {
    with(libc::SYS_mkdir, path, 0o755)
}

fn seek(file: &Descriptor, offset: i64, whence: i32) -> Result<usize, Errno> {
    call!(libc::SYS_lseek, file.0, offset, whence)
}

/// Type and mode, links, size.
fn facts(path: &str) -> Result<(u32, u64, i64), Why> {
    let status = file::status(path, libc::AT_SYMLINK_NOFOLLOW).step(&format!("lstat of {path}"))?;
    Ok((status.st_mode, status.st_nlink, status.st_size))
}

pub fn cases(plan: &mut Plan) {
    opening(plan);
    positions(plan);
    directories(plan);
    links(plan);
    renaming(plan);
    paths(plan);
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

fn directories(plan: &mut Plan) {
    plan.case("mkdir, rmdir: EEXIST, ENOENT, ENOTDIR, ENOTEMPTY, EINVAL", || {
        let _tree = Tree::make("mkdir")?;
        mkdir("d").step("mkdir")?;
        refused("again", mkdir("d"), Errno::EEXIST)?;
        refused("over the tree", mkdir("/"), Errno::EEXIST)?;
        refused("below nothing", mkdir("x/y"), Errno::ENOENT)?;
        put("a", "")?;
        refused("below a file", mkdir("a/y"), Errno::ENOTDIR)?;
        refused("rmdir of a file", one(libc::SYS_rmdir, "a"), Errno::ENOTDIR)?;
        refused("unlink of a directory", one(libc::SYS_unlink, "d"), Errno::EISDIR)?;
        put("d/a", "")?;
        refused("rmdir of a full one", one(libc::SYS_rmdir, "d"), Errno::ENOTEMPTY)?;
        refused("rmdir of .", one(libc::SYS_rmdir, "d/."), Errno::EINVAL)?;
        refused("rmdir of ..", one(libc::SYS_rmdir, "d/.."), Errno::ENOTEMPTY)?;
        one(libc::SYS_unlink, "d/a")?;
        one(libc::SYS_rmdir, "d/").step("rmdir with a slash").map(|_| ())
    });
    plan.case("links of a directory: two, and one more for each below it", || {
        let _tree = Tree::make("nlink")?;
        mkdir("d")?;
        // Some file systems do not count, and say 1 for every directory.
        if facts("d")?.1 == 1 {
            return crate::ktap::skipped("this file system does not count links of directories");
        }
        equal("empty", facts("d")?.1, 2)?;
        mkdir("d/e")?;
        equal("with one", facts("d")?.1, 3)
    });
    plan.case("getdents64 lists every name once, with its kind, for a thousand names", || {
        let _tree = Tree::make("list")?;
        for number in 0..1000 {
            put(&format!("file-{number:04}"), "")?;
        }
        mkdir("directory")?;
        two(libc::SYS_symlink, "anywhere", "link")?;
        let mut entries = directory(".")?;
        entries.sort();
        equal("names", entries.len(), 1000 + 2 + 2)?;
        let kind = |name: &str| entries.iter().find(|entry| entry.0 == name).map(|entry| entry.1);
        equal(
            "kinds",
            (kind("."), kind("directory"), kind("link"), kind("file-0500")),
            (Some(libc::DT_DIR), Some(libc::DT_DIR), Some(libc::DT_LNK), Some(libc::DT_REG)),
        )?;
        entries.dedup();
        equal("names once", entries.len(), 1004)
    });
    plan.case("a buffer too small for one name is EINVAL; rewinding starts again", || {
        let _tree = Tree::make("small")?;
        let here = open(".", libc::O_RDONLY)?;
        let mut buffer = [0u8; 512];
        refused("8 bytes", call!(libc::SYS_getdents64, here.0, &mut buffer, 8), Errno::EINVAL)?;
        let first = call!(libc::SYS_getdents64, here.0, &mut buffer, 512).step("getdents64")?;
        equal("the end", call!(libc::SYS_getdents64, here.0, &mut buffer, 512), Ok(0))?;
        seek(&here, 0, libc::SEEK_SET)?;
        equal("again", call!(libc::SYS_getdents64, here.0, &mut buffer, 512), Ok(first))?;
        put("a", "")?;
        refused("of a file", call!(libc::SYS_getdents64, open("a", 0)?.0, &mut buffer, 512), Errno::ENOTDIR)
    });
    plan.case("getcwd, chdir, fchdir: where one is, also when it is gone", || {
        let tree = Tree::make("cwd")?;
        mkdir("d")?;
        let cwd = || -> Result<String, Errno> {
            let mut buffer = [0u8; 4096];
            let length = call!(libc::SYS_getcwd, &mut buffer, 4096)?;
            Ok(String::from_utf8_lossy(&buffer[..length - 1]).into_owned())
        };
        one(libc::SYS_chdir, "d/../d/.").step("chdir")?;
        equal("cwd", cwd(), Ok(format!("{}/d", tree.0)))?;
        refused("a short buffer", call!(libc::SYS_getcwd, &mut [0u8; 4], 4), Errno::ERANGE)?;
        let here = open(".", libc::O_RDONLY)?;
        one(libc::SYS_chdir, "/")?;
        call!(libc::SYS_fchdir, here.0).step("fchdir")?;
        one(libc::SYS_rmdir, &format!("{}/d", tree.0)).step("rmdir of where one is")?;
        refused("cwd", cwd(), Errno::ENOENT)?;
        refused("a new file there", open("a", WRITE | CREATE), Errno::ENOENT)?;
        refused("chdir to a file", one(libc::SYS_chdir, "/proc/version"), Errno::ENOTDIR)
    });
}

fn links(plan: &mut Plan) {
    plan.case("hard links are one file; of directories EPERM, over a name EEXIST", || {
        let _tree = Tree::make("link")?;
        put("a", "text")?;
        two(libc::SYS_link, "a", "b").step("link")?;
        equal("links", facts("a")?.1, 2)?;
        equal("inode", file::status("a", 0)?.st_ino, file::status("b", 0)?.st_ino)?;
        put("b", "other")?;
        holds_text("a", "other")?;
        one(libc::SYS_unlink, "a")?;
        equal("links", facts("b")?.1, 1)?;
        mkdir("d")?;
        refused("a directory", two(libc::SYS_link, "d", "e"), Errno::EPERM)?;
        refused("over a name", two(libc::SYS_link, "b", "d"), Errno::EEXIST)?;
        refused("of nothing", two(libc::SYS_link, "x", "y"), Errno::ENOENT)
    });
    plan.case("symbolic links: relative, absolute, through directories, dangling", || {
        let tree = Tree::make("symlink")?;
        mkdir("d")?;
        put("d/a", "text")?;
        two(libc::SYS_symlink, "d/a", "relative")?;
        two(libc::SYS_symlink, &format!("{}/d", tree.0), "absolute")?;
        two(libc::SYS_symlink, "../d/a", "d/up")?;
        two(libc::SYS_symlink, "nothing", "dangling")?;
        holds_text("relative", "text")?;
        holds_text("absolute/a", "text")?;
        holds_text("absolute/up", "text")?;
        refused("dangling", open("dangling", 0), Errno::ENOENT)?;
        refused("O_NOFOLLOW", open("relative", libc::O_NOFOLLOW), Errno::ELOOP)?;
        equal("readlink", file::readlink("relative"), Ok("d/a".into()))?;
        equal("lstat", (facts("relative")?.0 & libc::S_IFMT, facts("relative")?.2), (libc::S_IFLNK, 3))?;
        put("dangling", "made")?;
        holds_text("nothing", "made")?;
        refused("over a name", two(libc::SYS_symlink, "x", "d"), Errno::EEXIST)?;
        refused("readlink of a file", file::readlink("d/a"), Errno::EINVAL)
    });
    plan.case("forty links in a row are fine, forty-one ELOOP, a circle ELOOP", || {
        let _tree = Tree::make("chain")?;
        put("link0", "text")?;
        for number in 1..=41 {
            two(libc::SYS_symlink, &format!("link{}", number - 1), &format!("link{number}"))?;
        }
        holds_text("link40", "text")?;
        refused("forty-one", open("link41", 0), Errno::ELOOP)?;
        two(libc::SYS_symlink, "two", "one")?;
        two(libc::SYS_symlink, "one", "two")?;
        refused("a circle", open("one", 0), Errno::ELOOP)
    });
    plan.case("readlink cuts without a zero, and refuses a size of 0", || {
        let _tree = Tree::make("cut")?;
        two(libc::SYS_symlink, "0123456789", "link")?;
        let mut bytes = [b'z'; 8];
        equal("readlink", call!(libc::SYS_readlink, c"link", &mut bytes, 4), Ok(4))?;
        equal("bytes", &bytes, b"0123zzzz")?;
        refused("size 0", call!(libc::SYS_readlink, c"link", &mut bytes, 0), Errno::EINVAL)
    });
    plan.case("/proc/self/fd: links to what is open, and a way to open it again", || {
        let tree = Tree::make("fd")?;
        put("a", "text")?;
        let file = open("a", libc::O_RDONLY)?;
        let path = format!("/proc/self/fd/{}", file.0);
        equal("link", file::readlink(&path), Ok(format!("{}/a", tree.0)))?;
        holds_text(&path, "text")?;
        one(libc::SYS_unlink, "a")?;
        equal("link of what is gone", file::readlink(&path), Ok(format!("{}/a (deleted)", tree.0)))?;
        holds_text(&path, "text")?;
        let (read_end, _) = process::pipe()?;
        let link = file::readlink(&format!("/proc/self/fd/{read_end}"))?;
        holds(link.starts_with("pipe:["), || format!("a pipe's link is {link}"))
    });
}

fn renaming(plan: &mut Plan) {
    let rename = |from: &str, to: &str| two(libc::SYS_rename, from, to);
    plan.case("rename moves, replaces files by files and empty directories by directories", move || {
        let _tree = Tree::make("rename")?;
        put("a", "a")?;
        put("b", "b")?;
        rename("a", "b").step("over a file")?;
        holds_text("b", "a")?;
        refused("the old name", open("a", 0), Errno::ENOENT)?;
        mkdir("d")?;
        mkdir("e")?;
        put("d/x", "x")?;
        rename("d", "e").step("over an empty directory")?;
        holds_text("e/x", "x")?;
        rename("e/x", "y").step("to another directory")?;
        holds_text("y", "x")?;
        rename("y", "y").step("onto itself")?;
        holds_text("y", "x")
    });
    plan.case("rename refuses: kinds, full directories, into itself, what is not", move || {
        let _tree = Tree::make("refuse")?;
        put("a", "a")?;
        mkdir("d")?;
        mkdir("e")?;
        put("e/x", "")?;
        refused("a file over a directory", rename("a", "d"), Errno::EISDIR)?;
        refused("a directory over a file", rename("d", "a"), Errno::ENOTDIR)?;
        refused("over a full directory", rename("d", "e"), Errno::ENOTEMPTY)?;
        refused("into itself", rename("d", "d/x"), Errno::EINVAL)?;
        refused("nothing", rename("x", "y"), Errno::ENOENT)?;
        refused(".", rename(".", "y"), Errno::EBUSY)?;
        refused("to nowhere", rename("a", "x/y"), Errno::ENOENT)?;
        let flags =
            |flags: u32| call!(libc::SYS_renameat2, libc::AT_FDCWD, c"a", libc::AT_FDCWD, c"e", flags);
        refused("RENAME_NOREPLACE", flags(1), Errno::EEXIST)?;
        refused("unknown flags", flags(0x100), Errno::EINVAL)
    });
    plan.case("two names of one file: rename does nothing", move || {
        let _tree = Tree::make("same")?;
        put("a", "text")?;
        two(libc::SYS_link, "a", "b")?;
        rename("a", "b").step("rename")?;
        equal("links", facts("a")?.1, 2)
    });
}

fn paths(plan: &mut Plan) {
    plan.case("paths: empty, dots, many slashes, through files, too long", || {
        let tree = Tree::make("paths")?;
        put("a", "text")?;
        mkdir("d")?;
        refused("empty", open("", 0), Errno::ENOENT)?;
        holds_text("./d//../././a", "text")?;
        holds_text(&format!("/../..{}/a", tree.0), "text")?;
        refused("a file with a slash", open("a/", 0), Errno::ENOTDIR)?;
        refused("through a file", open("a/../a", 0), Errno::ENOTDIR)?;
        refused("through nothing", open("x/../a", 0), Errno::ENOENT)?;
        open("d/", libc::O_RDONLY).step("a directory with a slash")?;
        refused("a name of 256 bytes", open(&"n".repeat(256), 0), Errno::ENAMETOOLONG)?;
        put(&"n".repeat(255), "")?;
        refused("a path of 4096 bytes", open(&"./".repeat(2048), 0), Errno::ENAMETOOLONG)?;
        open(&"./".repeat(2047), libc::O_RDONLY).step("a path of 4094 bytes").map(|_| ())
    });
    plan.case("paths relative to a directory's descriptor", || {
        let _tree = Tree::make("at")?;
        mkdir("d")?;
        put("d/a", "text")?;
        let directory = open("d", libc::O_RDONLY | libc::O_DIRECTORY)?;
        let at = |descriptor: i32, path: &str| call!(libc::SYS_openat, descriptor, c(path).as_c_str(), 0, 0);
        at(directory.0, "a").step("openat")?;
        at(987, "/proc/version").step("an absolute path needs no descriptor")?;
        refused("a closed descriptor", at(987, "a"), Errno::EBADF)?;
        refused("a file's descriptor", at(open("d/a", 0)?.0, "a"), Errno::ENOTDIR)?;
        let status = call!(libc::SYS_newfstatat, directory.0, c"", &mut [0u64; 18], libc::AT_EMPTY_PATH);
        equal("AT_EMPTY_PATH", status, Ok(0))?;
        refused(
            "unlinkat of a directory",
            call!(libc::SYS_unlinkat, libc::AT_FDCWD, c"d", 0),
            Errno::EISDIR,
        )?;
        refused(
            "unlinkat with unknown flags",
            call!(libc::SYS_unlinkat, libc::AT_FDCWD, c"d", 1),
            Errno::EINVAL,
        )
    });
    plan.case("names may hold any byte but slash and zero", || {
        let _tree = Tree::make("bytes")?;
        for name in [" ", "\n", "\\", "*", "..."] {
            put(name, name)?;
            holds_text(name, name)?;
        }
        equal("names", directory(".")?.len(), 7)
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

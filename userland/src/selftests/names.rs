//! Names of files: directories, links, renaming, and how a path is walked, path_resolution(7).

use super::files::{CREATE, Tree, WRITE, facts, holds_text, mkdir, one, open, put, seek, two};
use super::nsfs::directory;
use super::support::c;
use crate::call;
use crate::ktap::{Plan, Step, equal, holds, refused};
use crate::system::errno::Errno;
use crate::system::file::{self};
use crate::system::process;

pub fn cases(plan: &mut Plan) {
    directories(plan);
    links(plan);
    renaming(plan);
    paths(plan);
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

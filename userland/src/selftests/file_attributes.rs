//! What is said of a file: how it comes to be, its mode, owner, times and names, and attributes it does not have.

use super::files::Tree;
use super::support::{become_nobody, c, needs_root};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, holds, in_child, refused};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process;

fn put(path: &str, text: &str) -> Outcome {
    file::create(path, text.as_bytes(), 0o644).step("writing a file")
}

fn directory(path: &str) -> Result<Descriptor, Why> {
    Descriptor::open(path, libc::O_DIRECTORY).step("opening a directory")
}

/// Type and permissions.
fn mode(path: &str) -> Result<u32, Why> {
    Ok(file::status(path, libc::AT_SYMLINK_NOFOLLOW).step("lstat")?.st_mode)
}

pub fn cases(plan: &mut Plan) {
    making(plan);
    permissions(plan);
    owners(plan);
    times(plan);
    names(plan);
    openat2(plan);
    extended(plan);
}

fn making(plan: &mut Plan) {
    plan.case("creat makes a file, or empties the one there is, for writing only", || {
        let _tree = Tree::make("creat")?;
        call!(libc::SYS_umask, 0o022).step("umask")?;
        let made = Descriptor(call!(libc::SYS_creat, c"a", 0o666).step("creat")? as i32);
        equal("mode", mode("a")?, libc::S_IFREG | 0o644)?;
        made.write(b"text")?;
        refused("reading", made.read(&mut [0; 4]), Errno::EBADF)?;
        call!(libc::SYS_creat, c"a", 0o600).step("creat again")?;
        equal("what is left", file::read("a"), Ok(String::new()))?;
        equal("mode", mode("a")?, libc::S_IFREG | 0o644)
    });
    plan.case("mknod: a plain file, a pipe, and for root a device", || {
        needs_root()?;
        let _tree = Tree::make("mknod")?;
        let mknod = |path: &str, mode: u32, device: u32| {
            call!(libc::SYS_mknod, c(path).as_c_str(), mode, device).map(|_| ())
        };
        call!(libc::SYS_umask, 0).step("umask")?;
        mknod("plain", 0o640, 0).step("a plain file")?;
        equal("plain", mode("plain")?, libc::S_IFREG | 0o640)?;
        mknod("pipe", libc::S_IFIFO | 0o600, 0).step("a pipe")?;
        equal("pipe", mode("pipe")?, libc::S_IFIFO | 0o600)?;
        refused("what is there", mknod("pipe", libc::S_IFIFO, 0), Errno::EEXIST)?;
        refused("a directory", mknod("directory", libc::S_IFDIR, 0), Errno::EPERM)?;
        refused("no type there is", mknod("nothing", 0o130_000, 0), Errno::EINVAL)?;
        // Character device 1:3 is null, in every directory.
        mknod("null", libc::S_IFCHR | 0o666, 1 << 8 | 3).step("a device")?;
        let status = file::status("null", 0).step("stat")?;
        equal("its number", status.st_rdev, 1 << 8 | 3)?;
        in_child(|| {
            become_nobody()?;
            call!(libc::SYS_chdir, c"/tmp").step("chdir")?;
            refused("as nobody", mknod("gnomon-null", libc::S_IFCHR, 1 << 8 | 3), Errno::EPERM)
        })
    });
}

fn permissions(plan: &mut Plan) {
    plan.case("fchmod changes what a descriptor leads to, fchmodat2 with AT_EMPTY_PATH too", || {
        let _tree = Tree::make("fchmod")?;
        put("a", "")?;
        let file = Descriptor::open("a", libc::O_RDONLY)?;
        call!(libc::SYS_fchmod, file.0, 0o4751).step("fchmod")?;
        equal("mode", mode("a")?, libc::S_IFREG | 0o4751)?;
        refused("no descriptor", call!(libc::SYS_fchmod, 987, 0o600), Errno::EBADF)?;
        let path = Descriptor::open("a", libc::O_PATH)?;
        refused("a mere path", call!(libc::SYS_fchmod, path.0, 0o600), Errno::EBADF)?;
        call!(libc::SYS_fchmodat2, path.0, c"", 0o600, libc::AT_EMPTY_PATH).step("fchmodat2")?;
        equal("mode", mode("a")?, libc::S_IFREG | 0o600)
    });
    plan.case("fchmod and fchown: pipes and sockets have a mode and an owner too; what is only a descriptor has no kind", || {
        needs_root()?;
        let (pipe, _other) = process::pipe().map(|(a, b)| (Descriptor(a), Descriptor(b))).step("pipe")?;
        let socket = call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0).step("socket")?;
        for (file, kind) in [(pipe, libc::S_IFIFO), (Descriptor(socket as i32), libc::S_IFSOCK)] {
            call!(libc::SYS_fchmod, file.0, 0o640).step("fchmod")?;
            call!(libc::SYS_fchown, file.0, 11, 22).step("fchown")?;
            let status = file::status_of(file.0)?;
            equal("mode", status.st_mode, kind | 0o640)?;
            equal("owner", (status.st_uid, status.st_gid), (11, 22))?;
        }
        let event = Descriptor(call!(libc::SYS_eventfd2, 0, 0).step("eventfd2")? as i32);
        equal("its kind", file::status_of(event.0)?.st_mode & libc::S_IFMT, 0)
    });
    plan.case("fchmodat2: follows links unless told not to, and a link has no mode of its own", || {
        let _tree = Tree::make("fchmodat2")?;
        put("a", "")?;
        call!(libc::SYS_symlink, c"a", c"link").step("symlink")?;
        let here = directory(".")?;
        call!(libc::SYS_fchmodat2, here.0, c"link", 0o640, 0).step("fchmodat2")?;
        equal("mode", mode("a")?, libc::S_IFREG | 0o640)?;
        let of_link = call!(libc::SYS_fchmodat2, here.0, c"link", 0o600, libc::AT_SYMLINK_NOFOLLOW);
        refused("the link", of_link, Errno::EOPNOTSUPP)?;
        equal("mode", mode("link")?, libc::S_IFLNK | 0o777)?;
        call!(libc::SYS_fchmodat2, here.0, c"a", 0o604, libc::AT_SYMLINK_NOFOLLOW).step("no link")?;
        equal("mode", mode("a")?, libc::S_IFREG | 0o604)?;
        refused("an unknown flag", call!(libc::SYS_fchmodat2, here.0, c"a", 0, 1), Errno::EINVAL)
    });
}

fn owners(plan: &mut Plan) {
    plan.case("fchown: gives a file away, -1 leaves an id, and the set-id bits go", || {
        needs_root()?;
        let _tree = Tree::make("fchown")?;
        put("a", "")?;
        let file = Descriptor::open("a", libc::O_RDONLY)?;
        let owner = || file::status("a", 0).map(|status| (status.st_uid, status.st_gid));
        call!(libc::SYS_fchmod, file.0, 0o6755).step("fchmod")?;
        call!(libc::SYS_fchown, file.0, 11, 22).step("fchown")?;
        equal("owner", owner(), Ok((11, 22)))?;
        equal("mode", mode("a")?, libc::S_IFREG | 0o755)?;
        call!(libc::SYS_fchown, file.0, -1, 33).step("fchown of the group")?;
        equal("owner", owner(), Ok((11, 33)))?;
        refused("no descriptor", call!(libc::SYS_fchown, 987, 0, 0), Errno::EBADF)?;
        in_child(|| {
            become_nobody()?;
            refused("as nobody", call!(libc::SYS_fchown, file.0, 0, 0), Errno::EPERM)
        })
    });
}

fn times(plan: &mut Plan) {
    plan.case("utime, utimes and futimesat set both times, in seconds or microseconds, or to now", || {
        let _tree = Tree::make("times")?;
        put("a", "")?;
        let here = directory(".")?;
        let times = || {
            let status = file::status("a", 0).step("stat")?;
            let times = (status.st_atime, status.st_atime_nsec, status.st_mtime, status.st_mtime_nsec);
            Ok::<_, Why>(times)
        };
        call!(libc::SYS_utime, c"a", &[111i64, 222]).step("utime")?;
        equal("after utime", times()?, (111, 0, 222, 0))?;
        call!(libc::SYS_utimes, c"a", &[333i64, 4, 555, 999_999]).step("utimes")?;
        equal("after utimes", times()?, (333, 4_000, 555, 999_999_000))?;
        call!(libc::SYS_futimesat, here.0, c"a", &[1i64, 2, 3, 4]).step("futimesat")?;
        equal("after futimesat", times()?, (1, 2_000, 3, 4_000))?;
        let too_many = [1i64, 1_000_000, 3, 4];
        refused("a million microseconds", call!(libc::SYS_utimes, c"a", &too_many), Errno::EINVAL)?;
        for (name, number) in [("utime", libc::SYS_utime), ("utimes", libc::SYS_utimes)] {
            call!(number, c"a", &[1i64, 0, 1, 0]).step(name)?;
            call!(number, c"a", 0usize).step(name)?;
            holds(times()?.2 > 1_000_000, || format!("{name} did not set the present time"))?;
            refused(name, call!(number, c"absent", 0usize), Errno::ENOENT)?;
        }
        Ok(())
    });
}

fn names(plan: &mut Plan) {
    plan.case("renameat moves a name from one open directory to another", || {
        let _tree = Tree::make("renameat")?;
        for path in [c"from", c"to"] {
            call!(libc::SYS_mkdir, path, 0o755).step("mkdir")?;
        }
        put("from/a", "text")?;
        let (from, to) = (directory("from")?, directory("to")?);
        call!(libc::SYS_renameat, from.0, c"a", to.0, c"b").step("renameat")?;
        equal("what was moved", file::read("to/b"), Ok("text".into()))?;
        refused("once more", call!(libc::SYS_renameat, from.0, c"a", to.0, c"b"), Errno::ENOENT)?;
        refused("into itself", call!(libc::SYS_renameat, -100, c"to", to.0, c"c"), Errno::EINVAL)
    });
}

fn openat2(plan: &mut Plan) {
    let open = |directory: &Descriptor, path: &str, flags: i32, mode: u64, resolve: u64| {
        let how = [flags as u64, mode, resolve];
        call!(libc::SYS_openat2, directory.0, c(path).as_c_str(), &how, 24)
            .map(|number| Descriptor(number as i32))
    };
    plan.case("openat2: opens as openat does, but takes no flag it does not know", move || {
        let _tree = Tree::make("openat2")?;
        put("a", "text")?;
        let here = directory(".")?;
        let mut bytes = [0; 4];
        open(&here, "a", libc::O_RDONLY, 0, 0).step("openat2")?.read(&mut bytes)?;
        equal("what is there", &bytes, b"text")?;
        refused(
            "a mode for nothing made",
            open(&here, "a", libc::O_RDONLY, 0o600, 0).map(drop),
            Errno::EINVAL,
        )?;
        refused("an unknown flag", open(&here, "a", 1 << 30, 0, 0).map(drop), Errno::EINVAL)?;
        refused("an unknown way", open(&here, "a", 0, 0, 1 << 20).map(drop), Errno::EINVAL)?;
        let how = [0u64; 4];
        refused("a short structure", call!(libc::SYS_openat2, here.0, c"a", &how, 16), Errno::EINVAL)?;
        call!(libc::SYS_openat2, here.0, c"a", &how, 32).step("a longer one")?;
        let beyond = [0u64, 0, 0, 1];
        refused("with something in it", call!(libc::SYS_openat2, here.0, c"a", &beyond, 32), Errno::E2BIG)
    });
    plan.case("openat2 stays beneath a directory, in it as a root, or off links, as told", move || {
        let _tree = Tree::make("resolve")?;
        for path in [c"in", c"in/deep"] {
            call!(libc::SYS_mkdir, path, 0o755).step("mkdir")?;
        }
        put("outside", "outside")?;
        put("in/a", "inside")?;
        for (target, name) in [(c"/a", c"in/absolute"), (c"../outside", c"in/up"), (c"a", c"in/link")] {
            call!(libc::SYS_symlink, target, name).step("symlink")?;
        }
        let inside = directory("in")?;
        let beneath = |path: &str| open(&inside, path, 0, 0, libc::RESOLVE_BENEATH).map(drop);
        beneath("deep/../a").step("beneath")?;
        beneath("link").step("a link that stays")?;
        for path in ["../outside", "up", "absolute", "/a"] {
            refused(path, beneath(path), Errno::EXDEV)?;
        }
        let rooted = |path: &str| open(&inside, path, 0, 0, libc::RESOLVE_IN_ROOT).map(drop);
        for path in ["absolute", "/a", "../../a", "link"] {
            rooted(path).step(path)?;
        }
        refused("up and out", rooted("up"), Errno::ENOENT)?;
        let plain = |path: &str| open(&inside, path, 0, 0, libc::RESOLVE_NO_SYMLINKS).map(drop);
        plain("deep/../a").step("without links")?;
        refused("a link", plain("link"), Errno::ELOOP)
    });
}

fn extended(plan: &mut Plan) {
    plan.case("extended attributes: what is set is there, and where none can be, it is said", || {
        let _tree = Tree::make("extended")?;
        put("a", "")?;
        call!(libc::SYS_symlink, c"a", c"link").step("symlink")?;
        let file = Descriptor::open("a", libc::O_RDWR)?;
        let mut bytes = [0u8; 64];
        for name in ["a", "link"] {
            let path = c(name);
            let path = path.as_c_str();
            let set = call!(libc::SYS_setxattr, path, c"user.shade", c"long", 4, 0);
            let got = call!(libc::SYS_getxattr, path, c"user.shade", bytes.as_mut_ptr(), 64);
            let listed = call!(libc::SYS_listxattr, path, bytes.as_mut_ptr(), 64);
            let removed = call!(libc::SYS_removexattr, path, c"user.shade");
            consistent(name, set, got, listed, removed)?;
        }
        let set = call!(libc::SYS_fsetxattr, file.0, c"user.shade", c"long", 4, 0);
        let got = call!(libc::SYS_fgetxattr, file.0, c"user.shade", bytes.as_mut_ptr(), 64);
        let listed = call!(libc::SYS_flistxattr, file.0, bytes.as_mut_ptr(), 64);
        let removed = call!(libc::SYS_fremovexattr, file.0, c"user.shade");
        consistent("the descriptor", set, got, listed, removed)?;
        let set = call!(libc::SYS_lsetxattr, c"a", c"user.shade", c"long", 4, 0);
        let got = call!(libc::SYS_lgetxattr, c"a", c"user.shade", bytes.as_mut_ptr(), 64);
        let listed = call!(libc::SYS_llistxattr, c"a", bytes.as_mut_ptr(), 64);
        let removed = call!(libc::SYS_lremovexattr, c"a", c"user.shade");
        consistent("no link", set, got, listed, removed)?;
        let absent = call!(libc::SYS_lgetxattr, c"absent", c"user.shade", bytes.as_mut_ptr(), 64);
        refused("no file", absent, Errno::ENOENT)?;
        let unnamed = call!(libc::SYS_fgetxattr, file.0, c"", bytes.as_mut_ptr(), 64);
        refused("no name", unnamed, Errno::ERANGE)
    });
}

/// The four answers for one attribute of four bytes must fit each other: either it was there meanwhile or it never was.
fn consistent(
    what: &str,
    set: Result<usize, Errno>,
    got: Result<usize, Errno>,
    listed: Result<usize, Errno>,
    removed: Result<usize, Errno>,
) -> Outcome {
    let answers = (set, got, listed, removed);
    let fits = match answers {
        (Ok(0), Ok(4), Ok(length), Ok(0)) => length >= "user.shade\0".len(),
        (Err(Errno::EOPNOTSUPP), Err(errno), Ok(_) | Err(Errno::EOPNOTSUPP), Err(Errno::EOPNOTSUPP)) => {
            [Errno::ENODATA, Errno::EOPNOTSUPP].contains(&errno)
        }
        _ => false,
    };
    holds(fits, || format!("{what}: setting, getting, listing, removing gave {answers:?}"))
}

//! Namespaces as files: the links under /proc/PID/ns, what they open to, and the questions one may ask (ioctl_nsfs(2)).

use super::lifecycle::Mounted;
use super::support::{FAR, c, needs_root, slots, unshared};
use crate::call;
use crate::ktap::{Plan, Step, Why, equal, failed, holds, in_child, refused, skipped};
use crate::system::credentials::{self, CLONE_NEWUSER};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, CLONE_NEWTIME, TIME, TIME_FOR_CHILDREN};

const GET_USERNS: usize = 0xb701;
const GET_PARENT: usize = 0xb702;
const GET_NSTYPE: usize = 0xb703;
const GET_OWNER_UID: usize = 0xb704;
/// Reads a u64: `_IOR(0xb7, 13, u64)`.
const GET_ID: usize = 0x8008_b70d;

/// The number of the root time namespace.
const ROOT: u64 = 4_026_531_834;
/// The first number that a namespace made later can have.
const FIRST_NEW: u64 = 0xf000_0000;
/// What statfs says of nsfs.
const MAGIC: i64 = 0x6e73_6673;

fn open(path: &str) -> Result<Descriptor, Why> {
    Descriptor::open(path, libc::O_RDONLY).step(&format!("opening {path}"))
}

/// The number in a link such as `time:[4026531834]`.
fn number(link: &str) -> Result<u64, Why> {
    let digits = link.strip_prefix("time:[").and_then(|rest| rest.strip_suffix(']'));
    digits.and_then(|digits| digits.parse().ok()).step(&format!("a number in {link:?}"))
}

/// Device and inode.
fn identity(path: &str) -> Result<(u64, u64), Why> {
    let status = file::status(path, 0).step(&format!("stat of {path}"))?;
    Ok((status.st_dev, status.st_ino))
}

fn ioctl(file: &Descriptor, request: usize) -> Result<usize, Errno> {
    call!(libc::SYS_ioctl, file.0, request, 0usize)
}

/// The names in a directory with their types, in the order the kernel gives them.
pub fn directory(path: &str) -> Result<Vec<(String, u8)>, Why> {
    let directory = Descriptor::open(path, libc::O_RDONLY | libc::O_DIRECTORY).step("opening a directory")?;
    let mut entries = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let length =
            call!(libc::SYS_getdents64, directory.0, buffer.as_mut_ptr(), buffer.len()).step("getdents64")?;
        if length == 0 {
            return Ok(entries);
        }
        // Each record: u64 inode, i64 offset, u16 length, u8 type, the name with its NUL.
        let mut at = 0;
        while at < length {
            let size = usize::from(u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]));
            let name = &buffer[at + 19..at + size];
            let end = name.iter().position(|byte| *byte == 0).step("the end of a name")?;
            entries.push((String::from_utf8_lossy(&name[..end]).into_owned(), buffer[at + 18]));
            at += size;
        }
    }
}

pub fn cases(plan: &mut Plan) {
    links(plan);
    files(plan);
    questions(plan);
    mounts(plan);
}

fn links(plan: &mut Plan) {
    plan.case("both links read time:[NUMBER]; the root namespace is 4026531834", || {
        let root = format!("time:[{ROOT}]");
        let slots = slots()?;
        if slots.time != root {
            return skipped("this is not the root namespace");
        }
        equal("links", (slots.time, slots.children), (root.clone(), root))
    });
    plan.case("a new namespace has a number from 0xF0000000 up, and the word time in both links", || {
        needs_root()?;
        let (_, pending) = unshared()?;
        holds(number(&pending)? >= FIRST_NEW, || format!("got {pending}"))
    });
    plan.case(
        "two namespaces alive have two numbers; a number is used again after its namespace is gone",
        || {
            needs_root()?;
            let mut seen = std::collections::BTreeSet::new();
            let mut last = String::new();
            for _ in 0..50 {
                let (_, pending) = unshared()?;
                holds(pending != last, || format!("{pending} twice in a row"))?;
                seen.insert(pending.clone());
                last = pending;
            }
            // Others on this machine may take numbers meanwhile; without any, two alternate.
            holds(seen.len() < 40, || format!("{} numbers for 50 namespaces", seen.len()))
        },
    );
    plan.case("/proc/PID/ns lists symbolic links, time before time_for_children, in Linux's order", || {
        const ORDER: &[&str] = &[
            "net",
            "uts",
            "ipc",
            "pid",
            "pid_for_children",
            "user",
            "mnt",
            "cgroup",
            "time",
            "time_for_children",
        ];
        let entries = directory("/proc/self/ns")?;
        let names: Vec<&str> =
            entries.iter().map(|(name, _)| name.as_str()).filter(|name| !name.starts_with('.')).collect();
        for wanted in ["user", "time", "time_for_children"] {
            holds(names.contains(&wanted), || format!("{wanted} is missing in {names:?}"))?;
        }
        let sorted: Vec<&str> = ORDER.iter().copied().filter(|name| names.contains(name)).collect();
        equal("names", names, sorted)?;
        for (name, kind) in entries.iter().filter(|(name, _)| !name.starts_with('.')) {
            equal(&format!("type of {name}"), *kind, libc::DT_LNK)?;
        }
        Ok(())
    });
    plan.case("lstat of a link: mode 0120777, size 0; the directory: mode 0511, two links", || {
        for link in [TIME, TIME_FOR_CHILDREN] {
            let status = file::status(link, libc::AT_SYMLINK_NOFOLLOW).step("lstat")?;
            equal(link, (status.st_mode, status.st_size), (0o120777, 0))?;
        }
        let status = file::status("/proc/self/ns", 0).step("stat")?;
        equal("the directory", (status.st_mode, status.st_nlink), (0o40511, 2))
    });
    plan.case("the link of a descriptor reads time:[NUMBER], also when opened by time_for_children", || {
        needs_root()?;
        let (_, pending) = unshared()?;
        let file = open(TIME_FOR_CHILDREN)?;
        equal("link", file::readlink(&format!("/proc/self/fd/{}", file.0)), Ok(pending))
    });
    plan.case("the links are the same under /proc/PID/task/TID/ns", || {
        needs_root()?;
        let (before, pending) = unshared()?;
        let id = call!(libc::SYS_gettid)?;
        let of_task = super::support::slots_of(format!("self/task/{id}"))?;
        super::support::slots_are(&of_task, &before.time, &pending)
    });
    plan.case("an unknown name under ns is ENOENT", || {
        refused("readlink", file::readlink("/proc/self/ns/times"), Errno::ENOENT)
    });
}

fn files(plan: &mut Plan) {
    plan.case("stat of the target: regular, mode 0100444, one link, size 0, the inode in the link", || {
        let status = file::status(TIME, 0).step("stat")?;
        equal("mode", status.st_mode, 0o100444)?;
        equal("links and size", (status.st_nlink, status.st_size), (1, 0))?;
        equal("inode", status.st_ino, number(&slots()?.time)?)?;
        equal("device, as of the user namespace", status.st_dev, identity("/proc/self/ns/user")?.0)
    });
    plan.case("statfs says nsfs", || {
        let mut buffer = [0i64; 16];
        call!(libc::SYS_fstatfs, open(TIME)?.0, &mut buffer).step("fstatfs")?;
        equal("type", buffer[0], MAGIC)
    });
    plan.case("device and inode identify a namespace, however it was opened", || {
        needs_root()?;
        let root = identity(TIME)?;
        unshared()?;
        let pending = identity(TIME_FOR_CHILDREN)?;
        holds(pending != root, || "the pending namespace is the root".into())?;
        let file = open(TIME_FOR_CHILDREN)?;
        let status = file::status_of(file.0).step("fstat")?;
        equal("fstat", (status.st_dev, status.st_ino), pending)?;
        in_child(move || {
            equal("the child's time", identity(TIME)?, pending)?;
            equal("the child's time_for_children", identity(TIME_FOR_CHILDREN)?, pending)
        })
    });
    for (flags, errno) in [
        (libc::O_WRONLY, Errno::EPERM),
        (libc::O_RDWR, Errno::EPERM),
        (libc::O_RDONLY | libc::O_NOFOLLOW, Errno::ELOOP),
        (libc::O_RDONLY | libc::O_DIRECTORY, Errno::ENOTDIR),
    ] {
        plan.case(format!("open with flags {flags:#o} is {errno}"), move || {
            refused("open", Descriptor::open(TIME, flags), errno)
        });
    }
    plan.case("read is EINVAL, write EBADF, lseek ESPIPE, mmap ENODEV", || {
        let file = open(TIME)?;
        refused("read", file.read(&mut [0; 8]), Errno::EINVAL)?;
        refused("write", file.write(b"x"), Errno::EBADF)?;
        refused("lseek", call!(libc::SYS_lseek, file.0, 0, libc::SEEK_SET), Errno::ESPIPE)?;
        let answer =
            call!(libc::SYS_mmap, 0usize, 4096usize, libc::PROT_READ, libc::MAP_PRIVATE, file.0, 0usize);
        refused("mmap", answer, Errno::ENODEV)
    });
    plan.case("unlink of a link is EPERM", || {
        needs_root()?;
        refused("unlink", call!(libc::SYS_unlink, c(TIME).as_c_str()), Errno::EPERM)
    });
    plan.case("name_to_handle_at: 16 bytes of type 241: id, kind, number", || {
        let file = open(TIME)?;
        let mut handle = [0u32; 8];
        handle[0] = 24;
        let mut mount = 0i32;
        let answer =
            call!(libc::SYS_name_to_handle_at, file.0, c"", &mut handle, &mut mount, libc::AT_EMPTY_PATH);
        match answer {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                return skipped("this kernel gives no handles of namespaces");
            }
            answer => answer.step("name_to_handle_at")?,
        };
        equal("bytes and type", (handle[0], handle[1]), (16, 241))?;
        equal("kind", handle[4], CLONE_NEWTIME as u32)?;
        equal("number", u64::from(handle[5]), number(&slots()?.time)?)
    });
}

fn questions(plan: &mut Plan) {
    plan.case("NS_GET_NSTYPE is CLONE_NEWTIME, of both links", || {
        for link in [TIME, TIME_FOR_CHILDREN] {
            equal(link, ioctl(&open(link)?, GET_NSTYPE), Ok(CLONE_NEWTIME as usize))?;
        }
        equal(
            "of a user namespace",
            ioctl(&open("/proc/self/ns/user")?, GET_NSTYPE),
            Ok(CLONE_NEWUSER as usize),
        )
    });
    plan.case("NS_GET_USERNS gives the owner, closing on exec", || {
        let owner = Descriptor(ioctl(&open(TIME)?, GET_USERNS).step("NS_GET_USERNS")? as i32);
        let status = file::status_of(owner.0).step("fstat")?;
        equal("the owner", (status.st_dev, status.st_ino), identity("/proc/self/ns/user")?)?;
        equal("its flags", call!(libc::SYS_fcntl, owner.0, libc::F_GETFD), Ok(libc::FD_CLOEXEC as usize))
    });
    plan.case("NS_GET_USERNS of a namespace made with a user namespace gives that one", || {
        call!(libc::SYS_unshare, CLONE_NEWUSER | CLONE_NEWTIME).step("unshare")?;
        let owner = Descriptor(ioctl(&open(TIME_FOR_CHILDREN)?, GET_USERNS).step("NS_GET_USERNS")? as i32);
        let status = file::status_of(owner.0).step("fstat")?;
        equal("the owner", (status.st_dev, status.st_ino), identity("/proc/self/ns/user")?)
    });
    plan.case("NS_GET_USERNS is EPERM when the owner is outside the caller's user namespace", || {
        let file = open(TIME)?;
        credentials::become_root_of_new_user_namespace().step("a new user namespace")?;
        refused("NS_GET_USERNS", ioctl(&file, GET_USERNS), Errno::EPERM)
    });
    plan.case("NS_GET_PARENT and NS_GET_OWNER_UID are EINVAL: time namespaces have no parent", || {
        let file = open(TIME)?;
        refused("NS_GET_PARENT", ioctl(&file, GET_PARENT), Errno::EINVAL)?;
        let mut id = 0u32;
        let answer = call!(libc::SYS_ioctl, file.0, GET_OWNER_UID, &mut id);
        refused("NS_GET_OWNER_UID", answer, Errno::EINVAL)
    });
    plan.case("NS_GET_OWNER_UID of a user namespace is who made it", || {
        let mut id = 77u32;
        super::support::become_nobody()?;
        call!(libc::SYS_unshare, CLONE_NEWUSER).step("unshare(CLONE_NEWUSER)")?;
        let file = open("/proc/self/ns/user")?;
        call!(libc::SYS_ioctl, file.0, GET_OWNER_UID, &mut id).step("NS_GET_OWNER_UID")?;
        // The map is not written yet, so the id reads as the overflow id, which is the same number.
        equal("the owner's id", id, credentials::NOBODY)
    });
    plan.case("NS_GET_ID: a number of 64 bits, 2 for the root time namespace, different for others", || {
        needs_root()?;
        let id = |path: &str| -> Result<Result<u64, Errno>, Why> {
            let file = open(path)?;
            let mut id = 0u64;
            Ok(call!(libc::SYS_ioctl, file.0, GET_ID, &mut id).map(|_| id))
        };
        let root = match id(TIME)? {
            Err(Errno::ENOTTY) => return skipped("kernels before 6.18 give no ids"),
            answer => answer.step("NS_GET_ID")?,
        };
        if number(&slots()?.time)? == ROOT {
            equal("id of the root namespace", root, 2)?;
        }
        unshared()?;
        let first = id(TIME_FOR_CHILDREN)?.step("NS_GET_ID")?;
        unshared()?;
        let second = id(TIME_FOR_CHILDREN)?.step("NS_GET_ID")?;
        // Numbers of inodes come again, ids never.
        holds(root < first && first < second, || format!("ids {root}, {first}, {second}"))
    });
    plan.case("questions about mount and process namespaces are EINVAL, or ENOTTY where unknown", || {
        let file = open(TIME)?;
        // _IOR(0xb7, 5, u64), then the four that translate process ids with an int argument.
        for request in [0x8008_b705usize, 0x8004_b706, 0x8004_b707, 0x8004_b708, 0x8004_b709] {
            let mut answer = [0u64; 4];
            match call!(libc::SYS_ioctl, file.0, request, &mut answer) {
                Err(Errno::EINVAL | Errno::ENOTTY) => {}
                other => return failed(format!("request {request:#x}: {other:?}")),
            }
        }
        Ok(())
    });
    plan.case("any other question is ENOTTY", || {
        let file = open(TIME)?;
        for request in [libc::TCGETS as usize, 0xb700, 0xb7ff, 0] {
            refused(&format!("request {request:#x}"), ioctl(&file, request), Errno::ENOTTY)?;
        }
        Ok(())
    });
}

fn mounts(plan: &mut Plan) {
    for link in [TIME, TIME_FOR_CHILDREN] {
        plan.case(format!("a bind mount of {link} shows as nsfs with root time:[NUMBER]"), move || {
            needs_root()?;
            let (before, pending) = unshared()?;
            let expected = if link == TIME { before.time } else { pending };
            let mounted = Mounted::on("mount", link)?;
            equal("what is mounted", identity(&mounted.0.0)?, identity(link)?)?;
            let text = file::read("/proc/self/mountinfo").step("reading mountinfo")?;
            let line = text.lines().find(|line| line.split(' ').nth(4) == Some(&mounted.0.0));
            let line = line.step("its line in mountinfo")?;
            equal("its root", line.split(' ').nth(3).unwrap_or(""), &expected)?;
            let (_, tail) = line.split_once(" - ").step("the separator in mountinfo")?;
            equal("its type", tail.split(' ').next().unwrap_or(""), "nsfs")?;
            let mounts = file::read("/proc/self/mounts").step("reading mounts")?;
            let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(&mounted.0.0));
            equal("its type in mounts", line.step("its line in mounts")?.split(' ').nth(2), Some("nsfs"))
        });
    }
    plan.case("umount of the bind mount leaves the file below", || {
        needs_root()?;
        namespace::unshare_and_enter(FAR).step("entering")?;
        let mounted = Mounted::on("below", TIME)?;
        let path = c(&mounted.0.0);
        call!(libc::SYS_umount2, path.as_c_str(), 0).step("umount")?;
        let status = file::status(&mounted.0.0, 0).step("stat")?;
        equal("mode", status.st_mode, libc::S_IFREG | 0o644)
    });
}

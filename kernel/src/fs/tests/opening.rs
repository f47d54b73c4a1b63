//! open(2), and what is done with what was opened.

use super::{Somebody, Tree, read, write};
use crate::{
    abi::{Errno, Signal, linux},
    fs::{
        AttributeChanges, KernelActor, OpenFlags, SeekBase,
        attributes::{self, NewTime},
        open::{How, checked_how},
    },
    mm::user::Source,
};

const READ: OpenFlags = OpenFlags::READ_ONLY;
const WRITE: OpenFlags = OpenFlags::WRITE_ONLY;
const BOTH: OpenFlags = OpenFlags::READ_WRITE;
const CREATE: OpenFlags = OpenFlags::CREATE;

#[test]
fn what_is_opened_how() {
    let tree = Tree::new();
    tree.directory("/d");
    tree.file("/file");
    tree.link("/link", "file");
    tree.link("/dangling", "made");
    tree.link("/loop", "loop");
    let temporary = OpenFlags::TEMPORARY | OpenFlags::DIRECTORY;
    for (name, flags, result) in [
        ("/file", READ, Ok(())),
        ("/d", BOTH | temporary, Err(Errno::EOPNOTSUPP)),
        ("/file", BOTH | temporary, Err(Errno::ENOTDIR)),
        ("/none", READ, Err(Errno::ENOENT)),
        ("/d", READ, Ok(())),
        ("/d", WRITE, Err(Errno::EISDIR)),
        ("/d", READ | OpenFlags::TRUNCATE, Err(Errno::EISDIR)),
        ("/d", READ | CREATE, Err(Errno::EISDIR)),
        ("/.", READ | CREATE, Err(Errno::EISDIR)),
        ("/new/", READ | CREATE, Err(Errno::EISDIR)),
        ("/file/", READ, Err(Errno::ENOTDIR)),
        ("/file", READ | OpenFlags::DIRECTORY, Err(Errno::ENOTDIR)),
        ("/file", BOTH | CREATE | OpenFlags::EXCLUSIVE, Err(Errno::EEXIST)),
        ("/link", READ | OpenFlags::NO_FOLLOW, Err(Errno::ELOOP)),
        ("/link", READ | OpenFlags::NO_FOLLOW | OpenFlags::PATH, Ok(())),
        ("/link", WRITE | CREATE | OpenFlags::NO_FOLLOW, Err(Errno::ELOOP)),
        ("/loop", READ, Err(Errno::ELOOP)),
        ("/loop", WRITE | CREATE, Err(Errno::ELOOP)),
        ("/dangling", WRITE | CREATE | OpenFlags::EXCLUSIVE, Err(Errno::EEXIST)),
        ("/dangling", WRITE | CREATE, Ok(())),
        ("/made", READ, Ok(())),
        ("/new", WRITE | CREATE | OpenFlags::EXCLUSIVE, Ok(())),
    ] {
        assert_eq!(tree.open(&KernelActor, name, flags).map(|_| ()), result, "{name} {flags:?}");
    }
}

#[test]
fn flags_are_checked_before_anything_else() {
    let how = |bits| How::new(OpenFlags::from_bits_retain(bits), 0).map(|_| ());
    assert_eq!(how(linux::O_TMPFILE), Err(Errno::EINVAL));
    assert_eq!(how(linux::O_CREAT | linux::O_DIRECTORY), Err(Errno::EINVAL));
    assert_eq!(how(linux::O_PATH | linux::O_CREAT | linux::O_DIRECTORY), Ok(()), "O_PATH drops the other");
    assert_eq!(checked_how(0, 0o644, 0).err(), Some(Errno::EINVAL));
    assert_eq!(checked_how(1 << 40, 0, 0).err(), Some(Errno::EINVAL));
    assert_eq!(checked_how(0, 0, 0x18).err(), Some(Errno::EINVAL));
    assert!(checked_how(linux::O_CREAT.into(), 0o644, 0x8).is_ok());
}

#[test]
fn contents_are_read_and_written() {
    let tree = Tree::new();
    let file = tree.open(&KernelActor, "/file", BOTH | CREATE).unwrap();
    assert_eq!(write(&file, b"hello"), Ok(5));
    assert_eq!(read(&file, 10).unwrap(), b"");
    assert_eq!(file.seek(1, SeekBase::Start), Ok(1));
    assert_eq!(read(&file, 3).unwrap(), b"ell");
    assert_eq!(file.seek(-1, SeekBase::End), Ok(4));
    assert_eq!(file.seek(-5, SeekBase::Current), Err(Errno::EINVAL));
    assert_eq!(file.write_at(&KernelActor, 10_000, &mut Source::kernel(b"x")), Ok(1));
    assert_eq!(file.seek(0, SeekBase::End), Ok(10_001));
    assert_eq!(file.seek(0, SeekBase::Hole), Ok(4096));
    assert_eq!(file.seek(4096, SeekBase::Data), Ok(8192));
    assert_eq!(file.seek(10_001, SeekBase::Data), Err(Errno::ENXIO));
    file.set_position(4000);
    assert_eq!(read(&file, 6001).unwrap(), [&[0; 6000][..], b"x"].concat());
    let only = tree.open(&KernelActor, "/file", WRITE | OpenFlags::TRUNCATE).unwrap();
    assert_eq!(read(&only, 1), Err(Errno::EBADF));
    assert_eq!(file.path().inode().metadata().size, 0);
}

#[test]
fn appending_goes_to_the_end_whoever_wrote_it() {
    let tree = Tree::new();
    let one = tree.open(&KernelActor, "/log", WRITE | CREATE | OpenFlags::APPEND).unwrap();
    let other = tree.open(&KernelActor, "/log", BOTH | OpenFlags::APPEND).unwrap();
    for (file, text) in [(&one, "a"), (&other, "b"), (&one, "c")] {
        write(file, text.as_bytes()).unwrap();
    }
    assert_eq!(other.write_at(&KernelActor, 0, &mut Source::kernel(b"d")), Ok(1));
    other.set_position(0);
    assert_eq!(read(&other, 10).unwrap(), b"abcd");
    assert_eq!(one.position(), 3);
}

#[test]
fn a_removed_file_lives_while_it_is_open() {
    let tree = Tree::new();
    let held = crate::mm::frames::tests::held();
    let file = tree.open(&KernelActor, "/file", BOTH | CREATE).unwrap();
    write(&file, &[7; 10_000]).unwrap();
    let mut walk = tree.walk(&KernelActor);
    let parent = walk.find_parent(b"/file").unwrap();
    super::names::unlink(&walk, &parent).unwrap();
    file.set_position(0);
    assert_eq!(read(&file, 20_000).unwrap().len(), 10_000);
    assert_eq!(crate::mm::frames::tests::held(), held + 3);
    assert_eq!(file.path().describe(&tree.root).into_link(), b"/file (deleted)");
    drop(file);
    assert_eq!(crate::mm::frames::tests::held(), held, "every frame is back");
}

#[test]
fn permission_bits_are_those_of_one_class() {
    let tree = Tree::new();
    let file = tree.file("/file");
    let (owner, member, other) =
        (Somebody::user(1000, &[]), Somebody::user(1001, &[500]), Somebody::user(1002, &[]));
    for (permissions, results) in
        [(0o640, [true, true, false]), (0o004, [false, false, true]), (0o040, [false, true, false])]
    {
        let changes = AttributeChanges {
            permissions: Some(permissions),
            uid: Some(1000),
            gid: Some(500),
            ..Default::default()
        };
        file.inode().change(&changes).unwrap();
        let may = [&owner, &member, &other].map(|actor| tree.open(actor, "/file", READ).is_ok());
        assert_eq!(may, results, "{permissions:o}");
    }
    assert!(tree.open(&KernelActor, "/file", BOTH).is_ok(), "CAP_DAC_OVERRIDE");
}

#[test]
fn owners_change_attributes_and_others_do_not() {
    let tree = Tree::new();
    tree.file("/file");
    let path = tree.find("/file").unwrap();
    let (owner, other) = (Somebody::user(1000, &[7]).credentials, Somebody::user(1001, &[]).credentials);
    let root = Somebody::root().credentials;
    attributes::change_owner(&path, Some(1000), Some(1000), &root).unwrap();
    assert_eq!(attributes::change_permissions(&path, 0o6755, &other), Err(Errno::EPERM));
    assert_eq!(attributes::change_permissions(&path, 0o6755, &owner), Ok(()));
    assert_eq!(path.inode().metadata().permissions, 0o6755);
    assert_eq!(attributes::change_owner(&path, Some(1001), None, &owner), Err(Errno::EPERM));
    assert_eq!(attributes::change_owner(&path, None, Some(8), &owner), Err(Errno::EPERM));
    assert_eq!(attributes::change_owner(&path, None, Some(7), &owner), Ok(()));
    assert_eq!(path.inode().metadata().permissions, 0o755, "set-id bits do not survive a change of owner");
    attributes::change_owner(&path, None, Some(9), &root).unwrap();
    attributes::change_permissions(&path, 0o2755, &owner).unwrap();
    assert_eq!(path.inode().metadata().permissions, 0o755, "set-group-id for a group one is not in");
}

#[test]
fn times_are_set_by_the_owner_and_touched_by_writers() {
    let tree = Tree::new();
    let file = tree.file("/file");
    file.inode().change(&AttributeChanges { permissions: Some(0o666), ..Default::default() }).unwrap();
    let path = tree.find("/file").unwrap();
    let user = Somebody::user(1000, &[]);
    let set =
        |accessed, modified| attributes::change_times(&path, accessed, modified, &user.credentials, &user);
    let at = |seconds, nanoseconds| NewTime::new(crate::abi::Timespec { seconds, nanoseconds });
    assert_eq!(set(NewTime::Now, NewTime::Now), Ok(()));
    assert_eq!(set(NewTime::Now, NewTime::Keep), Err(Errno::EPERM));
    assert_eq!(set(at(1, 0), at(2, 0)), Err(Errno::EPERM));
    assert_eq!(set(at(1, -1), at(2, 0)), Err(Errno::EINVAL));
    let root = Somebody::root();
    attributes::change_times(&path, at(-5, 7), NewTime::Keep, &root.credentials, &root).unwrap();
    assert_eq!(path.inode().metadata().accessed.seconds, -5);
}

#[test]
fn the_size_limit_cuts_then_refuses_with_a_signal() {
    let tree = Tree::new();
    let file = tree.open(&KernelActor, "/file", WRITE | CREATE).unwrap();
    let mut actor = Somebody::root();
    actor.file_size_limit = 10;
    assert_eq!(file.write(&actor, &mut Source::kernel(&[0; 20])), Ok(10));
    assert_eq!(file.write(&actor, &mut Source::kernel(&[0; 20])), Err(Errno::EFBIG));
    assert_eq!(*actor.signals.lock(), [Signal::SIGXFSZ]);
    let path = tree.find("/file").unwrap();
    let truncate = |length| attributes::truncate(&path, length, &actor.credentials, &actor);
    assert_eq!(truncate(11), Err(Errno::EFBIG));
    assert_eq!(truncate(9), Ok(()));
    assert_eq!(truncate(10), Ok(()));
}

#[test]
fn a_write_takes_set_user_id_away() {
    let tree = Tree::new();
    let program = tree.file("/program");
    program.inode().change(&AttributeChanges { permissions: Some(0o4777), ..Default::default() }).unwrap();
    let user = Somebody::user(1000, &[]);
    let file = tree.open(&user, "/program", WRITE).unwrap();
    file.write(&user, &mut Source::kernel(b"evil")).unwrap();
    assert_eq!(program.inode().metadata().permissions, 0o777);
}

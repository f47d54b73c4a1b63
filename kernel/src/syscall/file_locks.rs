//! Locks on files as programs ask for them: the lock commands of fcntl(2), and flock(2).

use super::Caller;
use crate::{
    abi::{Errno, Result, UserPointer, linux},
    fs::{
        Descriptor, File,
        locks::{self, Family, Lock, Owner, file_id},
    },
    task::wait,
};
use core::ops::Range;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct flock`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FileLock {
    kind: i16,
    whence: i16,
    padding: u32,
    start: i64,
    length: i64,
    process: i32,
    padding_at_end: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Test,
    Set,
    SetAndWait,
}

/// One of fcntl's lock commands.
#[derive(Clone, Copy)]
pub struct Command {
    action: Action,
    of_open_file: bool,
}

/// All of them: number, what it does, and whether the lock belongs to the open file rather than the process.
const COMMANDS: [(u32, Action, bool); 6] = [
    (linux::F_GETLK, Action::Test, false),
    (linux::F_SETLK, Action::Set, false),
    (linux::F_SETLKW, Action::SetAndWait, false),
    (linux::F_OFD_GETLK, Action::Test, true),
    (linux::F_OFD_SETLK, Action::Set, true),
    (linux::F_OFD_SETLKW, Action::SetAndWait, true),
];

impl Command {
    /// The command of this number, if it is about locks.
    pub fn new(number: u32) -> Option<Self> {
        let found = COMMANDS.iter().find(|(known, _, _)| *known == number);
        found.map(|&(_, action, of_open_file)| Self { action, of_open_file })
    }
}

const SHARED: i16 = linux::F_RDLCK as i16;
const EXCLUSIVE: i16 = linux::F_WRLCK as i16;
const NONE: i16 = linux::F_UNLCK as i16;

/// The bytes that a `struct flock` names. Errors: EINVAL, EOVERFLOW.
fn range(lock: &FileLock, file: &File) -> Result<Range<u64>> {
    let base = match lock.whence as u32 {
        linux::SEEK_SET => 0,
        linux::SEEK_CUR => file.position() as i64,
        linux::SEEK_END => file.path().inode().metadata().size as i64,
        _ => return Err(Errno::EINVAL.because("there are three places to count from")),
    };
    let overflow = || Errno::EOVERFLOW.because("a lock's range ends within 63 bits");
    let start = base.checked_add(lock.start).ok_or_else(overflow)?;
    let (start, end) = match lock.length {
        // To the end, wherever that will be.
        0 => (start, i64::MAX),
        length @ ..0 => (start.saturating_add(length), start),
        length => (start, start.checked_add(length).ok_or_else(overflow)?),
    };
    match u64::try_from(start) {
        Ok(start) if end == i64::MAX => Ok(start..u64::MAX),
        Ok(start) => Ok(start..end as u64),
        Err(_) => Err(Errno::EINVAL.because("a lock's range does not begin before the file")),
    }
}

/// fcntl(2) F_SETLK and its kin.
pub async fn record_lock(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    command: Command,
    argument: usize,
) -> Result<usize> {
    let files = caller.files()?;
    let file = files.get(descriptor)?;
    let pointer = UserPointer::<FileLock>::new(argument);
    let asked = caller.space.read(pointer)?;
    if command.of_open_file && asked.process != 0 {
        return Err(Errno::EINVAL.because("a lock of an open file names no process"));
    }
    let range = range(&asked, &file)?;
    let owner = if command.of_open_file { Owner::OpenFile(file_id(&file)) } else { Owner::Table(files.id()) };
    let process = if command.of_open_file { u32::MAX } else { caller.task.process().id() };
    let wanted = Lock { owner, process, range: range.clone(), exclusive: asked.kind == EXCLUSIVE };
    if command.action == Action::Test {
        if ![SHARED, EXCLUSIVE].contains(&asked.kind) {
            return Err(Errno::EINVAL.because("F_GETLK asks for a read lock or a write lock"));
        }
        let answer = match locks::test(Family::Record, file.path(), &wanted) {
            None => FileLock { kind: NONE, ..asked },
            Some(held) => shown(&held),
        };
        return caller.space.write(pointer, &answer).map(|()| 0);
    }
    match asked.kind {
        SHARED => file.must_be_readable()?,
        EXCLUSIVE => file.must_be_writable()?,
        NONE => {
            locks::free(Family::Record, file.path(), owner, range);
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL.because("a lock is a read lock or a write lock")),
    }
    take(caller, Family::Record, &file, wanted, command.action == Action::SetAndWait).await
}

fn shown(held: &Lock) -> FileLock {
    FileLock {
        kind: if held.exclusive { EXCLUSIVE } else { SHARED },
        whence: linux::SEEK_SET as i16,
        padding: 0,
        start: held.range.start as i64,
        length: if held.range.end == u64::MAX { 0 } else { (held.range.end - held.range.start) as i64 },
        process: held.process as i32,
        padding_at_end: 0,
    }
}

async fn take(
    caller: &mut Caller<'_>,
    family: Family,
    file: &File,
    wanted: Lock,
    waits: bool,
) -> Result<usize> {
    match locks::set(family, file.path(), wanted.clone()) {
        Err(Errno::EAGAIN) if waits => {}
        other => return other.map(|()| 0),
    }
    let freed = locks::wait_queue().until(|| match locks::set(family, file.path(), wanted.clone()) {
        Err(Errno::EAGAIN) => None,
        other => Some(other),
    });
    wait::interruptible(caller.task, caller.user, freed).await?.map(|()| 0)
}

/// flock(2)
pub async fn flock(caller: &mut Caller<'_>, descriptor: Descriptor, operation: u32) -> Result<usize> {
    if operation & linux::LOCK_MAND != 0 {
        // Once asked for a lock that binds others; for long it has meant nothing.
        return Ok(0);
    }
    let exclusive = match operation & !linux::LOCK_NB {
        linux::LOCK_SH => Some(false),
        linux::LOCK_EX => Some(true),
        linux::LOCK_UN => None,
        _ => return Err(Errno::EINVAL.because("flock locks, shared or not, or unlocks")),
    };
    let file = caller.files()?.get(descriptor)?;
    let owner = Owner::OpenFile(file_id(&file));
    let Some(exclusive) = exclusive else {
        locks::free(Family::Whole, file.path(), owner, 0..u64::MAX);
        return Ok(0);
    };
    let process = caller.task.process().id();
    let wanted = Lock { owner, process, range: 0..u64::MAX, exclusive };
    take(caller, Family::Whole, &file, wanted, operation & linux::LOCK_NB == 0).await
}

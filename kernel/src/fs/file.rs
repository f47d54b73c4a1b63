//! Open files: what a file descriptor stands for, "open file description" in open(2).
//!
//! Nothing here ever waits. What would have to wait fails with EAGAIN, and the object says when to try again: it has a
//! [`WaitQueue`] and can tell its readiness. Only the system call layer waits, in one place, where a signal can interrupt
//! it. That keeps tasks out of this folder, and makes O_NONBLOCK and poll(2) the simple case rather than the odd one.

use super::{Actor, OpenFlags, Path, epoll::Watchers, text_busy::Use};
use crate::{
    abi::{Errno, Result, linux},
    mm::{
        AddressSpace, PageSource,
        user::{Destination, Source},
    },
    ns::{Capability, Credentials},
    sync::{SpinLock, WaitQueue},
};
use alloc::sync::Arc;
use core::{
    any::Any,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

bitflags::bitflags! {
    /// What could be done now without waiting: the bits of poll(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "poll(2) describes them")]
    pub struct Readiness: u32 {
        const IN = linux::POLLIN;
        const PRIORITY = linux::POLLPRI;
        const OUT = linux::POLLOUT;
        const ERROR = linux::POLLERR;
        const HANG_UP = linux::POLLHUP;
        const INVALID = linux::POLLNVAL;
        const READ_NORMAL = linux::POLLRDNORM;
        const WRITE_NORMAL = linux::POLLWRNORM;
        const READ_HANG_UP = linux::POLLRDHUP;
    }
}

impl Readiness {
    /// There is something to read.
    pub const READABLE: Self = Self::IN.union(Self::READ_NORMAL);
    /// There is room to write.
    pub const WRITABLE: Self = Self::OUT.union(Self::WRITE_NORMAL);
    /// What an object that never makes anybody wait says.
    pub const ALWAYS: Self = Self::READABLE.union(Self::WRITABLE);
}

/// One read, write or ioctl: through which open file, by whom, where.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The open file.
    pub file: &'a File,
    /// Who does it.
    pub actor: &'a dyn Actor,
    /// Where in the contents, in bytes; 0 where there is no such thing.
    pub offset: u64,
    /// Since when the caller has waited for this, in host monotonic nanoseconds; `None` at the first attempt.
    pub waiting_since: Option<i64>,
}

/// What ioctl(2) answers.
pub enum Answer {
    /// A number.
    Value(usize),
    /// An open file, for which the caller is given a descriptor with close-on-exec.
    File(Arc<File>),
}

/// How far lseek(2) can be told to go from where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeekBase {
    /// SEEK_SET.
    Start,
    /// SEEK_CUR.
    Current,
    /// SEEK_END.
    End,
    /// SEEK_DATA: to the first byte from here on that is stored.
    Data,
    /// SEEK_HOLE: to the first byte from here on that is not.
    Hole,
}

/// What an open file does. Defaults are those of an object that cannot do it.
pub trait FileOperations: Any + Send + Sync {
    /// Takes bytes; fewer than there is room for, and 0 at the end. Errors: EAGAIN when there are none yet.
    fn read(&self, _call: Call<'_>, _into: &mut Destination<'_>) -> Result<usize> {
        Err(Errno::EINVAL.because("this object cannot be read"))
    }

    /// Gives bytes; perhaps fewer than there are. Errors: EAGAIN when there is no room yet (who tries again does so with the
    /// same bytes from the start), EPIPE when there never will be.
    fn write(&self, _call: Call<'_>, _from: &mut Source<'_>) -> Result<usize> {
        Err(Errno::EINVAL.because("this object cannot be written"))
    }

    /// Whether a write of so many bytes that does not fail has written all of them.
    fn writes_whole(&self, _length: usize) -> bool {
        false
    }

    /// Whether it has positions: if not, lseek, pread and pwrite are ESPIPE.
    fn positions(&self) -> Positions {
        Positions::None
    }

    /// How long the contents are, for SEEK_END; `None` where that cannot be said.
    fn length(&self) -> Option<u64> {
        None
    }

    /// The start of the next stored (`data`) or not stored range at or after `offset`, which lies before the end.
    /// `None`: no further. What has no holes is all data.
    fn next_range(&self, offset: u64, data: bool) -> Option<u64> {
        if data { Some(offset) } else { self.length() }
    }

    /// Its open file has ended, though a call may still have the object in hand.
    fn closed(&self) {}

    /// What would not have to wait now.
    fn readiness(&self, _file: &File) -> Readiness {
        Readiness::ALWAYS
    }

    /// Woken whenever `readiness` may have changed; `None` where it never does.
    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// Whether a read waits for nothing but news: it has no `patience`, nor a time-out.
    fn waits_for_ever(&self) -> bool {
        true
    }

    /// When a read that waits since `_since` should be tried again though nothing happened, both in host monotonic
    /// nanoseconds: a terminal's VTIME, termios(3). `None`: it may wait for ever.
    fn patience(&self, _since: i64) -> Option<i64> {
        None
    }

    /// ioctl(2). Errors: ENOTTY for a request it does not know.
    fn control(
        &self,
        _call: Call<'_>,
        _space: &AddressSpace,
        _request: u32,
        _argument: usize,
    ) -> Result<Answer> {
        Err(Errno::ENOTTY.because("this object does not know that request"))
    }

    /// What mmap(2) maps of this open file, which the mapping keeps open. `stores`: the mapping is shared, and is or can be
    /// made writable. Errors: ENODEV; EPERM when it stores and the file is sealed against that.
    fn pages(&self, _file: &Arc<File>, _stores: bool) -> Result<Arc<dyn PageSource>> {
        Err(Errno::ENODEV.because("this object has no pages to map"))
    }

    /// ftruncate(2). Errors: EINVAL.
    fn truncate(&self, _length: u64) -> Result<()> {
        Err(Errno::EINVAL.because("only a file with contents has a length to set"))
    }

    /// fallocate(2) with mode 0 or FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE. Errors: EOPNOTSUPP, ENODEV.
    fn allocate(&self, _mode: u32, _offset: u64, _length: u64) -> Result<()> {
        Err(Errno::ENODEV.because("this object has no space to allocate"))
    }

    /// Lines `name:\tvalue` for `/proc/PID/fdinfo`.
    fn describe(&self, _out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        Ok(())
    }
}

/// What positions an object has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Positions {
    /// It is a stream.
    None,
    /// It has contents, and each open file is at some place in them.
    Some,
    /// It takes every position and is always at 0: `/dev/null`.
    Ignored,
    /// It has a position and pread(2), but pwrite(2) is ESPIPE: some files of proc.
    ReadOnly,
}

/// An open file description: shared by all descriptors that were duplicated or inherited from one open(2).
pub struct File {
    path: Path,
    operations: Arc<dyn FileOperations>,
    /// What the operations say of that, which is always the same.
    positions: Positions,
    /// Access mode and status flags; the latter change, fcntl(2) F_SETFL.
    flags: AtomicU32,
    /// Taken around a whole read or write, so those of two threads do not overlap, as POSIX asks. Address spaces and the
    /// object's own locks are taken inside it.
    position: SpinLock<u64>,
    credentials: Arc<Credentials>,
    /// What it does to the contents of a regular file, if that excludes others.
    _use: Option<Use>,
    /// The epoll(7) files it was put into.
    pub(super) watchers: Watchers,
}

static OPEN_FILES: AtomicUsize = AtomicUsize::new(0);

/// The most there may be, fs.file-max. As on today's Linux systems it is no limit until somebody sets one: each file
/// is charged to a process' limit first.
pub static MOST_FILES: AtomicU64 = AtomicU64::new(i64::MAX as u64);

/// How many open files there are.
pub fn open_files() -> usize {
    OPEN_FILES.load(Relaxed)
}

impl File {
    /// One at position 0. `credentials` are kept: some objects judge a write by who opened them.
    ///
    /// Errors: those of [`Self::must_have_room`].
    pub fn new(
        path: Path,
        operations: Arc<dyn FileOperations>,
        flags: OpenFlags,
        credentials: Arc<Credentials>,
    ) -> Result<Arc<Self>> {
        Self::using(path, operations, flags, credentials, None)
    }

    /// The same for one that writes or executes the contents of a regular file.
    pub fn using(
        path: Path,
        operations: Arc<dyn FileOperations>,
        flags: OpenFlags,
        credentials: Arc<Credentials>,
        contents: Option<Use>,
    ) -> Result<Arc<Self>> {
        Self::must_have_room(&credentials)?;
        OPEN_FILES.fetch_add(1, Relaxed);
        let kept = flags.difference(OpenFlags::ONLY_WHILE_OPENING).bits();
        Ok(Arc::new(Self {
            path,
            positions: operations.positions(),
            operations,
            flags: AtomicU32::new(kept),
            position: SpinLock::new(0),
            credentials,
            _use: contents,
            watchers: Watchers::default(),
        }))
    }

    /// Errors: ENFILE when there are as many open files as there may be, unless CAP_SYS_ADMIN asks: somebody has to be
    /// able to log in and raise the limit.
    pub fn must_have_room(credentials: &Credentials) -> Result<()> {
        let room = (open_files() as u64) < MOST_FILES.load(Relaxed);
        match room || credentials.capable_globally(Capability::SYS_ADMIN) {
            true => Ok(()),
            false => Err(Errno::ENFILE.because("the machine has as many open files as it may")),
        }
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What reads and writes go to.
    pub fn operations(&self) -> &Arc<dyn FileOperations> {
        &self.operations
    }

    /// The same as what it really is, if it is a `T`.
    pub fn operations_as<T: FileOperations>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.operations;
        any.downcast_ref()
    }

    /// Access mode and status flags, fcntl(2) F_GETFL.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Relaxed))
    }

    /// Changes the flags that can change after opening, fcntl(2) F_SETFL; ignores the others.
    pub fn set_flags(&self, flags: OpenFlags) {
        let kept = self.flags().difference(OpenFlags::CHANGEABLE);
        self.flags.store(kept.union(flags.intersection(OpenFlags::CHANGEABLE)).bits(), Relaxed);
    }

    /// Who opened it.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// Where the next read or write goes.
    pub fn position(&self) -> u64 {
        *self.position.lock()
    }

    /// Sets the position as it is, for directories.
    pub fn set_position(&self, position: u64) {
        *self.position.lock() = position;
    }

    fn call<'a>(&'a self, actor: &'a dyn Actor, offset: u64) -> Call<'a> {
        Call { file: self, actor, offset, waiting_since: None }
    }

    /// read(2). Errors: EBADF when it is not open for reading; else as the object says.
    #[inline(always)]
    pub fn read(&self, actor: &dyn Actor, into: &mut Destination<'_>) -> Result<usize> {
        self.must_be_readable()?;
        self.read_on(actor, None, into)
    }

    /// The same for one who knows that it is open for reading, and may have waited since some moment (host monotonic
    /// nanoseconds).
    #[inline(always)]
    pub fn read_on(
        &self,
        actor: &dyn Actor,
        waiting_since: Option<i64>,
        into: &mut Destination<'_>,
    ) -> Result<usize> {
        if self.positions == Positions::None {
            return self.operations.read(Call { waiting_since, ..self.call(actor, 0) }, into);
        }
        self.read_here(actor, waiting_since, into)
    }

    /// Reads where the last read has ended.
    fn read_here(
        &self,
        actor: &dyn Actor,
        waiting_since: Option<i64>,
        into: &mut Destination<'_>,
    ) -> Result<usize> {
        let mut position = self.position.lock();
        let count = self.operations.read(Call { waiting_since, ..self.call(actor, *position) }, into)?;
        if self.positions != Positions::Ignored {
            *position += count as u64;
        }
        Ok(count)
    }

    /// pread(2). Errors: ESPIPE on a stream; EBADF.
    pub fn read_at(&self, actor: &dyn Actor, offset: u64, into: &mut Destination<'_>) -> Result<usize> {
        self.must_have_read_positions()?;
        self.must_be_readable()?;
        self.operations.read(self.call(actor, offset), into)
    }

    /// write(2). Errors: EBADF when it is not open for writing; else as the object says.
    #[inline(always)]
    pub fn write(&self, actor: &dyn Actor, from: &mut Source<'_>) -> Result<usize> {
        self.must_be_writable()?;
        self.write_on(actor, from)
    }

    /// The same for one who knows that it is open for writing.
    #[inline(always)]
    pub fn write_on(&self, actor: &dyn Actor, from: &mut Source<'_>) -> Result<usize> {
        if self.positions == Positions::None {
            return self.operations.write(self.call(actor, 0), from);
        }
        self.write_here(actor, from)
    }

    /// Writes where the last write has ended.
    fn write_here(&self, actor: &dyn Actor, from: &mut Source<'_>) -> Result<usize> {
        let mut position = self.position.lock();
        let count = self.operations.write(self.call(actor, *position), from)?;
        match self.positions {
            // Who appends is where the end is.
            Positions::Some if self.flags().contains(OpenFlags::APPEND) => {
                *position = self.operations.length().unwrap_or(*position);
            }
            Positions::Some => *position += count as u64,
            // What pwrite cannot do, a write does not move either: every write of such a file starts it afresh.
            Positions::None | Positions::Ignored | Positions::ReadOnly => {}
        }
        Ok(count)
    }

    /// pwrite(2). Errors: ESPIPE on a stream; EBADF. With O_APPEND it appends all the same, as the man page warns.
    pub fn write_at(&self, actor: &dyn Actor, offset: u64, from: &mut Source<'_>) -> Result<usize> {
        self.must_have_write_positions()?;
        self.must_be_writable()?;
        self.operations.write(self.call(actor, offset), from)
    }

    /// ioctl(2). Errors: ENOTTY; as the object says.
    pub fn control(
        &self,
        actor: &dyn Actor,
        space: &AddressSpace,
        request: u32,
        argument: usize,
    ) -> Result<Answer> {
        self.operations.control(self.call(actor, 0), space, request, argument)
    }

    /// Errors: ESPIPE.
    pub fn must_have_read_positions(&self) -> Result<()> {
        match self.positions {
            Positions::None => Err(Errno::ESPIPE.because("a stream cannot be read at a position")),
            Positions::Some | Positions::Ignored | Positions::ReadOnly => Ok(()),
        }
    }

    /// Errors: ESPIPE.
    pub fn must_have_write_positions(&self) -> Result<()> {
        match self.positions {
            Positions::Some | Positions::Ignored => Ok(()),
            Positions::None | Positions::ReadOnly => {
                Err(Errno::ESPIPE.because("this object cannot be written at a position"))
            }
        }
    }

    /// Errors: EBADF.
    pub fn must_be_readable(&self) -> Result<()> {
        match self.flags().reads() {
            true => Ok(()),
            false => Err(Errno::EBADF.because("the file is not open for reading")),
        }
    }

    /// Errors: EBADF.
    pub fn must_be_writable(&self) -> Result<()> {
        match self.flags().writes() {
            true => Ok(()),
            false => Err(Errno::EBADF.because("the file is not open for writing")),
        }
    }

    /// lseek(2): the new position. Errors: ESPIPE on a stream; EINVAL for one below 0; ENXIO for data beyond the end.
    pub fn seek(&self, offset: i64, base: SeekBase) -> Result<u64> {
        match self.positions {
            Positions::None => return Err(Errno::ESPIPE.because("a stream has no position")),
            Positions::Ignored => return Ok(0),
            Positions::Some | Positions::ReadOnly => {}
        }
        let mut position = self.position.lock();
        let length =
            || self.operations.length().ok_or(Errno::EINVAL.because("the end of this file is not known"));
        let new = match base {
            SeekBase::Start => Some(offset),
            SeekBase::Current => (*position as i64).checked_add(offset),
            SeekBase::End => (length()? as i64).checked_add(offset),
            SeekBase::Data | SeekBase::Hole => {
                let within = u64::try_from(offset).ok().filter(|offset| *offset < length().unwrap_or(0));
                within
                    .and_then(|offset| self.operations.next_range(offset, base == SeekBase::Data))
                    .map(|found| Some(found as i64))
                    .ok_or(Errno::ENXIO.because("SEEK_DATA and SEEK_HOLE start before the end"))?
            }
        };
        match new {
            Some(new) if new >= 0 => {
                *position = new as u64;
                Ok(*position)
            }
            _ => Err(Errno::EINVAL.because("a position is not negative and fits into 63 bits")),
        }
    }

    /// What mmap(2) maps; it keeps the file open. `stores`: as in [`FileOperations::pages`]. Errors: ENODEV, EPERM.
    pub fn pages(self: &Arc<Self>, stores: bool) -> Result<Arc<dyn PageSource>> {
        self.operations.pages(self, stores)
    }

    /// What would not have to wait now.
    pub fn readiness(&self) -> Readiness {
        self.operations.readiness(self)
    }

    /// Woken whenever [`Self::readiness`] may have changed; `None` where it never does.
    pub fn wait_queue(&self) -> Option<&WaitQueue> {
        self.operations.wait_queue()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        super::locks::file_closed(self);
        super::epoll::file_closed(self);
        self.operations.closed();
        OPEN_FILES.fetch_sub(1, Relaxed);
    }
}

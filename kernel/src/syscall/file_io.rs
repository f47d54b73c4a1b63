//! Reading and writing: read(2), write(2), readv(2), pread(2), lseek(2) and their like.
//!
//! The objects never wait; here is where a call waits for them, so that a signal can end it: [`reading`], [`writing`].

use super::Caller;
use crate::{
    abi::{Errno, Result, Signal, UserPointer, linux},
    arch::UserContext,
    fs::{
        Actor, Descriptor, File, OpenFlags, Positions, SeekBase,
        socket::{Socket, SocketKind},
    },
    mm::{
        AddressSpace,
        user::{Destination, IoVector, Source},
    },
    sync::WaitQueue,
    task::{
        Task,
        wait::{self, Waiting, unless_again},
    },
    time::{self, HostClock, events::Deadline},
};
use alloc::sync::Arc;

/// The buffers a program names.
#[derive(Clone, Copy)]
enum Buffers {
    One { address: usize, length: usize },
    Many { vectors: UserPointer<IoVector>, count: usize },
}

impl Buffers {
    #[inline(always)]
    fn destination(self, space: &AddressSpace) -> Result<Destination<'_>> {
        match self {
            Self::One { address, length } => Destination::user(space, address, length),
            Self::Many { vectors, count } => Destination::vectors(space, vectors, count),
        }
    }

    fn source(self, space: &AddressSpace) -> Result<Source<'_>> {
        match self {
            Self::One { address, length } => Source::user(space, address, length),
            Self::Many { vectors, count } => Source::vectors(space, vectors, count),
        }
    }
}

/// Errors: EINVAL for so many bytes from there on when a position could not say where they end.
fn must_end(offset: u64, length: usize) -> Result<()> {
    match i64::try_from(length as u64).is_ok_and(|length| (offset as i64).checked_add(length).is_some()) {
        true => Ok(()),
        false => Err(Errno::EINVAL.because("a position is at most the largest off_t")),
    }
}

/// An offset as a program gives it. Errors: EINVAL when negative.
pub fn checked_offset(offset: i64) -> Result<u64> {
    u64::try_from(offset).map_err(|_| Errno::EINVAL.because("an offset is not negative"))
}

/// Whether a call on this file may wait.
pub fn may_wait(file: &File) -> bool {
    !file.flags().contains(OpenFlags::NON_BLOCKING) && file.wait_queue().is_some()
}

/// Waits on a queue as [`wait::on`] does, at most so many nanoseconds.
///
/// Errors: EAGAIN when time is up; ERESTARTSYS when a signal came, EINTR where a call made again would wait again.
pub async fn patiently<T>(
    task: &Task,
    user: &mut UserContext,
    queue: &WaitQueue,
    timeout: Option<i64>,
    attempt: impl FnMut() -> Option<T>,
) -> Result<T> {
    let Some(timeout) = timeout else { return wait::on(task, user, queue, attempt).await };
    let deadline = Deadline::Monotonic(time::now(HostClock::Monotonic).saturating_add(timeout));
    match wait::until(task, user, Some(deadline), queue.until(attempt)).await {
        Ok(outcome) => outcome.ok_or_else(|| Errno::EAGAIN.because("the socket's timeout has passed")),
        Err(_) => Err(Errno::EINTR),
    }
}

/// How long a socket lets a call wait to receive, and to send.
fn timeouts(file: &File) -> [Option<i64>; 2] {
    let options = file.operations_as::<Socket>().map(Socket::options);
    options.map_or([None; 2], |options| [options.receive_timeout, options.send_timeout])
}

/// Reads, waiting if need be. Errors: EBADF; ERESTARTSYS when a signal came first; those of the object.
async fn reading(caller: &mut Caller<'_>, file: &File, buffers: Buffers) -> Result<usize> {
    file.must_be_readable()?;
    match file.read(caller.task, &mut buffers.destination(&caller.space)?) {
        Err(Errno::EAGAIN) if may_wait(file) => reading_later(caller, file, buffers).await,
        other => other,
    }
}

async fn reading_later(caller: &mut Caller<'_>, file: &File, buffers: Buffers) -> Result<usize> {
    let Some(queue) = file.wait_queue() else { return Err(Errno::EAGAIN) };
    let (task, space) = (caller.task, &caller.space);
    let attempt = |since| {
        let into = buffers.destination(space);
        unless_again(into.and_then(|mut into| file.read_on(task, since, &mut into)))
    };
    let timeout = timeouts(file)[0];
    if timeout.is_some() || file.operations().waits_for_ever() {
        return patiently(task, caller.user, queue, timeout, || attempt(None)).await?;
    }
    let since = time::now(HostClock::Monotonic);
    let attempt = || attempt(Some(since));
    loop {
        // What is being waited for may itself change how long to wait for more: termios(3), VTIME.
        let patience = file.operations().patience(since);
        let outcome = queue.until(|| match attempt() {
            Some(result) => Some(Some(result)),
            None => (file.operations().patience(since) != patience).then_some(None),
        });
        let deadline = patience.map(Deadline::Monotonic);
        let outcome = wait::until(task, caller.user, deadline, outcome).await?;
        if let Some(result) = outcome.flatten().or_else(&attempt) {
            return result;
        }
    }
}

/// Writes all there is, waiting if need be. `make` makes the source: a failed attempt may have looked at the bytes.
///
/// Errors, when nothing was written: EBADF; ERESTARTSYS; EPIPE, with SIGPIPE; those of the object.
pub async fn writing<'a>(
    task: &Arc<Task>,
    user: &mut UserContext,
    file: &File,
    make: impl Fn() -> Result<Source<'a>>,
) -> Result<usize> {
    file.must_be_writable()?;
    let mut source = make()?;
    let mut done = 0;
    let mut result = file.write(task, &mut source);
    loop {
        let error = match result {
            Ok(count) => {
                done += count;
                if count == 0 || source.remaining() == 0 || !may_wait(file) {
                    return Ok(done);
                }
                result = file.write(task, &mut source);
                continue;
            }
            Err(error) => error,
        };
        let queue = file.wait_queue().filter(|_| error == Errno::EAGAIN && may_wait(file));
        let Some(queue) = queue else {
            if error == Errno::EPIPE && signals_broken_pipe(file) {
                task.raise(Signal::SIGPIPE);
            }
            return if done > 0 { Ok(done) } else { Err(error) };
        };
        let attempt = || {
            if done == 0 {
                match make() {
                    Ok(new) => source = new,
                    Err(error) => return Some(Err(error)),
                }
            }
            unless_again(file.write(task, &mut source))
        };
        result = match patiently(task, user, queue, timeouts(file)[1], attempt).await {
            Ok(result) => result,
            Err(_) if done > 0 => return Ok(done),
            Err(interrupted) => return Err(interrupted),
        };
    }
}

/// Whether EPIPE comes with SIGPIPE: from all that carry streams.
fn signals_broken_pipe(file: &File) -> bool {
    file.operations_as::<Socket>().is_none_or(|socket| socket.kind() == SocketKind::Stream)
}

async fn writing_buffers(caller: &mut Caller<'_>, file: &File, buffers: Buffers) -> Result<usize> {
    writing(caller.task, caller.user, file, || buffers.source(&caller.space)).await
}

/// read(2), where there is something to be read.
pub fn read_now(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    address: usize,
    length: usize,
) -> Result<usize> {
    let file = caller.file_if(descriptor, OpenFlags::reads)?;
    let seen = file.wait_queue().map(WaitQueue::news);
    let mut into = Destination::user(&caller.space, address, length)?;
    match (file.read_on(caller.task, None, &mut into), seen) {
        (Err(Errno::EAGAIN), Some(seen)) if !file.flags().contains(OpenFlags::NON_BLOCKING) => {
            if file.operations().waits_for_ever() {
                let buffer = IoVector { base: address, length };
                caller.waiting = Some(Waiting::to_read(file, buffer, seen));
            }
            Err(Errno::WOULD_WAIT)
        }
        (other, _) => other,
    }
}

/// read(2), after [`read_now`], from what may be waited for in other ways.
pub async fn read(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    address: usize,
    length: usize,
) -> Result<usize> {
    let file = caller.file_if(descriptor, OpenFlags::reads)?;
    reading_later(caller, &file, Buffers::One { address, length }).await
}

/// write(2), where all of it goes at once or nothing.
pub fn write_now(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    address: usize,
    length: usize,
) -> Result<usize> {
    let file = caller.file_if(descriptor, OpenFlags::writes)?;
    if !file.operations().writes_whole(length) && may_wait(&file) {
        return Err(Errno::WOULD_WAIT);
    }
    match file.write_on(caller.task, &mut Source::user(&caller.space, address, length)?) {
        Err(Errno::EAGAIN) if may_wait(&file) => Err(Errno::WOULD_WAIT),
        Err(Errno::EPIPE) => {
            if signals_broken_pipe(&file) {
                caller.task.raise(Signal::SIGPIPE);
            }
            Err(Errno::EPIPE)
        }
        other => other,
    }
}

/// write(2), after [`write_now`].
pub async fn write(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    address: usize,
    length: usize,
) -> Result<usize> {
    let file = caller.file(descriptor)?;
    writing_buffers(caller, &file, Buffers::One { address, length }).await
}

/// readv(2)
pub async fn readv(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    vectors: UserPointer<IoVector>,
    count: usize,
) -> Result<usize> {
    let file = caller.file(descriptor)?;
    reading(caller, &file, Buffers::Many { vectors, count }).await
}

/// writev(2)
pub async fn writev(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    vectors: UserPointer<IoVector>,
    count: usize,
) -> Result<usize> {
    let file = caller.file(descriptor)?;
    if splits_writes(&file) {
        return write_each(caller, &file, vectors, count);
    }
    writing_buffers(caller, &file, Buffers::Many { vectors, count }).await
}

/// Whether each buffer of a writev is a write of its own: where a write is a message, not part of a stream.
fn splits_writes(file: &File) -> bool {
    file.operations().positions() == Positions::ReadOnly
}

fn write_each(
    caller: &Caller<'_>,
    file: &File,
    vectors: UserPointer<IoVector>,
    count: usize,
) -> Result<usize> {
    file.must_be_writable()?;
    // Made for its checks of the whole.
    Source::vectors(&caller.space, vectors, count)?;
    let mut done = 0;
    for vector in caller.space.read_array(vectors, count)? {
        let mut source = Source::user(&caller.space, vector.base, vector.length)?;
        match file.write(caller.task, &mut source) {
            Ok(count) => {
                done += count;
                if count < vector.length {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn read_positioned(
    caller: &Caller<'_>,
    descriptor: Descriptor,
    buffers: Buffers,
    offset: i64,
) -> Result<usize> {
    let offset = checked_offset(offset)?;
    let file = caller.file(descriptor)?;
    file.must_have_read_positions()?;
    file.must_be_readable()?;
    let mut into = buffers.destination(&caller.space)?;
    must_end(offset, into.remaining())?;
    file.read_at(caller.task, offset, &mut into)
}

fn write_positioned(
    caller: &Caller<'_>,
    descriptor: Descriptor,
    buffers: Buffers,
    offset: i64,
) -> Result<usize> {
    let offset = checked_offset(offset)?;
    let file = caller.file(descriptor)?;
    file.must_have_write_positions()?;
    file.must_be_writable()?;
    let mut from = buffers.source(&caller.space)?;
    must_end(offset, from.remaining())?;
    file.write_at(caller.task, offset, &mut from)
}

/// pread(2)
pub fn pread64(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    address: usize,
    length: usize,
    offset: i64,
) -> Result<usize> {
    read_positioned(caller, descriptor, Buffers::One { address, length }, offset)
}

/// pwrite(2)
pub fn pwrite64(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    address: usize,
    length: usize,
    offset: i64,
) -> Result<usize> {
    write_positioned(caller, descriptor, Buffers::One { address, length }, offset)
}

/// preadv(2)
pub fn preadv(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    vectors: UserPointer<IoVector>,
    count: usize,
    offset: i64,
) -> Result<usize> {
    read_positioned(caller, descriptor, Buffers::Many { vectors, count }, offset)
}

/// pwritev(2)
pub fn pwritev(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    vectors: UserPointer<IoVector>,
    count: usize,
    offset: i64,
) -> Result<usize> {
    write_positioned(caller, descriptor, Buffers::Many { vectors, count }, offset)
}

/// The offset of preadv2(2) that means: at the file's position.
const AT_POSITION: i64 = -1;

/// The flags of preadv2(2) that change nothing where all files are in memory.
const HARMLESS_FLAGS: u32 = linux::RWF_HIPRI | linux::RWF_DSYNC | linux::RWF_SYNC;

fn check_flags(flags: u32) -> Result<()> {
    match flags & !HARMLESS_FLAGS {
        0 => Ok(()),
        _ => {
            Err(Errno::EOPNOTSUPP
                .because("of preadv2's flags only those that ask for nothing special are known"))
        }
    }
}

/// preadv2(2)
pub async fn preadv2(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    vectors: UserPointer<IoVector>,
    count: usize,
    offset: i64,
    _offset_high: usize,
    flags: u32,
) -> Result<usize> {
    check_flags(flags)?;
    match offset {
        AT_POSITION => readv(caller, descriptor, vectors, count).await,
        offset => preadv(caller, descriptor, vectors, count, offset),
    }
}

/// pwritev2(2)
pub async fn pwritev2(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    vectors: UserPointer<IoVector>,
    count: usize,
    offset: i64,
    _offset_high: usize,
    flags: u32,
) -> Result<usize> {
    check_flags(flags)?;
    match offset {
        AT_POSITION => writev(caller, descriptor, vectors, count).await,
        offset => pwritev(caller, descriptor, vectors, count, offset),
    }
}

/// lseek(2)
pub fn lseek(caller: &mut Caller<'_>, descriptor: Descriptor, offset: i64, whence: u32) -> Result<usize> {
    let file = caller.file(descriptor)?;
    let base = match whence {
        linux::SEEK_SET => SeekBase::Start,
        linux::SEEK_CUR => SeekBase::Current,
        linux::SEEK_END => SeekBase::End,
        linux::SEEK_DATA => SeekBase::Data,
        linux::SEEK_HOLE => SeekBase::Hole,
        _ => return Err(Errno::EINVAL.because("there are five places to seek from")),
    };
    file.seek(offset, base).map(|position| position as usize)
}

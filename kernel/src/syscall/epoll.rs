//! Watching many files at once: epoll_create(2), epoll_ctl(2), epoll_wait(2).

use super::{
    Caller,
    descriptors::install,
    places::only,
    polling::{TimeOut, set_mask},
};
use crate::{
    abi::{Errno, Result, SignalSet, Timespec, UserPointer, linux},
    fs::{
        Descriptor,
        epoll::{Interest, epoll_file, epoll_of},
    },
    mm::reserve,
    task::wait,
    time::events::Deadline,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct epoll_event`, which on x86-64 has no padding.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Event {
    events: u32,
    data: u64,
}

/// epoll_create(2). Errors: EINVAL for a size that is none; as [`epoll_create1`].
pub fn epoll_create(caller: &mut Caller<'_>, size: i32) -> Result<usize> {
    if size <= 0 {
        return Err(Errno::EINVAL.because("the size, which means nothing, is positive"));
    }
    epoll_create1(caller, 0)
}

/// epoll_create1(2). Errors: EINVAL, ENOMEM, EMFILE.
pub fn epoll_create1(caller: &mut Caller<'_>, flags: u32) -> Result<usize> {
    only(flags, linux::EPOLL_CLOEXEC)?;
    reserve::check()?;
    install(caller, epoll_file(caller.credentials())?, flags != 0)
}

/// epoll_ctl(2). Errors, in this order: EFAULT; EBADF; EPERM for a file that never makes anybody wait; EINVAL for what is
/// no epoll file, or watches itself; those of the operation.
pub fn epoll_ctl(
    caller: &mut Caller<'_>,
    epoll: Descriptor,
    operation: u32,
    descriptor: Descriptor,
    event: UserPointer<Event>,
) -> Result<usize> {
    let event = match operation {
        linux::EPOLL_CTL_DEL => Event { events: 0, data: 0 },
        _ => caller.space.read(event)?,
    };
    let files = caller.files()?;
    let (epoll, file) = (files.get(epoll)?, files.get(descriptor)?);
    if file.wait_queue().is_none() {
        return Err(Errno::EPERM.because("this file never makes anybody wait"));
    }
    if core::ptr::eq(&*epoll, &*file) {
        return Err(Errno::EINVAL.because("an epoll file does not watch itself"));
    }
    let epoll = epoll_of(&epoll)?;
    let interest = Interest::from_bits_retain(event.events);
    match operation {
        linux::EPOLL_CTL_ADD => {
            reserve::check()?;
            epoll.add(descriptor, &file, interest, event.data)
        }
        linux::EPOLL_CTL_MOD => epoll.modify(descriptor, &file, interest, event.data),
        linux::EPOLL_CTL_DEL => epoll.remove(descriptor, &file),
        _ => Err(Errno::EINVAL.because("a watched file is added, modified or removed")),
    }
    .map(|()| 0)
}

/// Errors: EBADF; EINVAL for no room, or more than there could be; EINVAL for another file; EFAULT; EINTR, whatever the handler's flags.
async fn wait_until(
    caller: &mut Caller<'_>,
    epoll: Descriptor,
    into: UserPointer<Event>,
    room: i32,
    time_out: TimeOut,
) -> Result<usize> {
    const MOST: usize = i32::MAX as usize / size_of::<Event>();
    let file = caller.files()?.get(epoll)?;
    let room = usize::try_from(room).ok().filter(|room| (1..=MOST).contains(room));
    let room = room.ok_or_else(|| Errno::EINVAL.because("there is room for one event at least"))?;
    let epoll = epoll_of(&file)?;
    let space = caller.space.clone();
    let harvest = || {
        let mut index = 0;
        let mut tell = |events, data| {
            index += 1;
            space.write(into.element(index - 1), &Event { events, data })
        };
        match epoll.harvest(room, &mut tell) {
            Ok(0) => None,
            answer => Some(answer),
        }
    };
    if let Some(answer) = harvest() {
        return answer;
    }
    if time_out.deadline.is_some_and(Deadline::has_passed) {
        return Ok(0);
    }
    let Some(queue) = file.wait_queue() else { return Ok(0) };
    let found = wait::until(caller.task, caller.user, time_out.deadline, queue.until(harvest)).await;
    found.map_err(|_| Errno::EINTR)?.unwrap_or(Ok(0))
}

/// epoll_wait(2)
pub async fn epoll_wait(
    caller: &mut Caller<'_>,
    epoll: Descriptor,
    into: UserPointer<Event>,
    room: i32,
    milliseconds: i32,
) -> Result<usize> {
    wait_until(caller, epoll, into, room, TimeOut::milliseconds(milliseconds)).await
}

/// epoll_pwait(2). Errors: EINVAL for a mask of another size; EFAULT; as epoll_wait(2).
pub async fn epoll_pwait(
    caller: &mut Caller<'_>,
    epoll: Descriptor,
    into: UserPointer<Event>,
    room: i32,
    milliseconds: i32,
    mask: UserPointer<SignalSet>,
    mask_size: usize,
) -> Result<usize> {
    set_mask(caller, mask, mask_size)?;
    wait_until(caller, epoll, into, room, TimeOut::milliseconds(milliseconds)).await
}

/// epoll_pwait2(2). Errors: EFAULT and EINVAL for the time; as epoll_pwait(2).
pub async fn epoll_pwait2(
    caller: &mut Caller<'_>,
    epoll: Descriptor,
    into: UserPointer<Event>,
    room: i32,
    time_out: UserPointer<Timespec>,
    mask: UserPointer<SignalSet>,
    mask_size: usize,
) -> Result<usize> {
    let given = time_out.optional().map(|pointer| caller.space.read(pointer)?.checked()).transpose()?;
    set_mask(caller, mask, mask_size)?;
    wait_until(caller, epoll, into, room, TimeOut::after(given)).await
}

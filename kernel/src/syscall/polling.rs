//! Waiting for one of several files: poll(2), select(2), and the forms of both with a signal mask.
//!
//! All four become one thing: a list of open files with what is wanted of each, looked at now and after every wake-up
//! until there is an answer, a deadline, or a signal.

use super::Caller;
use crate::{
    abi::{Errno, Result, SignalSet, Timespec, Timeval, UserPointer, linux},
    fs::{Actor, Descriptor, File, FileTable, Readiness},
    sync::Registration,
    task::{serve::Restart, wait},
    time::events::Deadline,
};
use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};
use core::{future::poll_fn, task::Poll};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct pollfd`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PollDescriptor {
    descriptor: i32,
    wanted: u16,
    found: u16,
}

/// One file that is waited for.
struct Watched {
    file: Arc<File>,
    wanted: Readiness,
}

impl Watched {
    /// What is wanted and there; errors and hang-ups are always wanted.
    fn look(&self) -> Readiness {
        const ALWAYS_WANTED: Readiness = Readiness::ERROR.union(Readiness::HANG_UP);
        self.file.readiness() & (self.wanted | ALWAYS_WANTED)
    }
}

/// Waits until one of the files has something that is wanted of it, or for ever if there is none; tells of each, in
/// order. `None` when the deadline came first.
async fn watch(
    caller: &mut Caller<'_>,
    watched: &[Watched],
    deadline: Option<Deadline>,
) -> Result<Option<Vec<Readiness>>> {
    let look = || {
        let something = watched.iter().any(|watched| !watched.look().is_empty());
        something.then(|| watched.iter().map(Watched::look).collect::<Vec<_>>())
    };
    if let Some(found) = look() {
        return Ok(Some(found));
    }
    if deadline.is_some_and(Deadline::has_passed) {
        return Ok(None);
    }
    let mut registrations: Vec<Registration<'_>> =
        watched.iter().filter_map(|watched| Some(watched.file.wait_queue()?.registration())).collect();
    let ready = poll_fn(|context| {
        registrations.iter_mut().for_each(|registration| registration.renew(context.waker()));
        look().map_or(Poll::Pending, Poll::Ready)
    });
    wait::until(caller.task, caller.user, deadline, ready).await
}

/// Nothing keeps an interrupted wait from starting anew, except a handler that ran: signal(7).
fn restart_unless_handled(error: Errno) -> Errno {
    if error == Errno::ERESTARTSYS { Errno::ERESTARTNOHAND } else { error }
}

/// A relative time-out that a program gave, and its end.
#[derive(Clone, Copy)]
pub struct TimeOut {
    /// When it is over; `None`: never.
    pub deadline: Option<Deadline>,
}

impl TimeOut {
    /// That many nanoseconds from now.
    pub fn after(nanoseconds: Option<i64>) -> Self {
        Self { deadline: nanoseconds.map(Deadline::after) }
    }

    /// That many milliseconds from now; a negative number means never.
    pub fn milliseconds(milliseconds: i32) -> Self {
        const NANOSECONDS: i64 = 1_000_000;
        Self::after((milliseconds >= 0).then(|| i64::from(milliseconds) * NANOSECONDS))
    }

    /// How much is left, where there is an end.
    fn remaining(self) -> Option<i64> {
        self.deadline.map(Deadline::remaining)
    }
}

async fn poll_until(
    caller: &mut Caller<'_>,
    list: UserPointer<PollDescriptor>,
    count: u32,
    time_out: TimeOut,
) -> Result<usize> {
    if u64::from(count) > caller.task.limit(linux::RLIMIT_NOFILE) {
        return Err(Errno::EINVAL.because("poll takes at most RLIMIT_NOFILE descriptors"));
    }
    let mut list_read = caller.space.read_array(list, count as usize)?;
    let files = caller.files()?;
    let mut watched = Vec::new();
    watched.try_reserve_exact(list_read.len()).map_err(|_| Errno::ENOMEM)?;
    let mut bad = 0;
    for entry in &mut list_read {
        entry.found = 0;
        if entry.descriptor < 0 {
            continue;
        }
        match files.get(Descriptor(entry.descriptor)) {
            Ok(file) => {
                watched.push(Watched { file, wanted: Readiness::from_bits_retain(entry.wanted.into()) });
            }
            Err(_) => {
                entry.found = Readiness::INVALID.bits() as u16;
                bad += 1;
            }
        }
    }
    drop(files);
    // A bad descriptor is an answer: then there is no waiting.
    let deadline = if bad > 0 { Some(Deadline::after(0)) } else { time_out.deadline };
    let found = watch(caller, &watched, deadline).await.map_err(restart_unless_handled)?.unwrap_or_default();
    let good = list_read.iter_mut().filter(|entry| entry.descriptor >= 0 && entry.found == 0);
    for (entry, found) in good.zip(&found) {
        entry.found = found.bits() as u16;
    }
    for (index, entry) in list_read.iter().enumerate() {
        caller.space.write(list.element(index), entry)?;
    }
    Ok(list_read.iter().filter(|entry| entry.found != 0).count())
}

/// poll(2)
pub async fn poll(
    caller: &mut Caller<'_>,
    list: UserPointer<PollDescriptor>,
    count: u32,
    milliseconds: i32,
) -> Result<usize> {
    poll_once_more(caller, list, count, TimeOut::milliseconds(milliseconds)).await
}

/// poll(2), which after a signal that is not handled goes on until its time is over and not anew: the caller has not been
/// told how much was left.
async fn poll_once_more(
    caller: &mut Caller<'_>,
    list: UserPointer<PollDescriptor>,
    count: u32,
    time_out: TimeOut,
) -> Result<usize> {
    match poll_until(caller, list, count, time_out).await {
        Err(Errno::ERESTARTNOHAND) => {
            caller.task.restart_with(go_on_polling(list, count, time_out));
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        result => result,
    }
}

fn go_on_polling(list: UserPointer<PollDescriptor>, count: u32, time_out: TimeOut) -> Restart {
    Restart::new(move |caller| Box::pin(poll_once_more(caller, list, count, time_out)))
}

/// ppoll(2)
pub async fn ppoll(
    caller: &mut Caller<'_>,
    list: UserPointer<PollDescriptor>,
    count: u32,
    time_out: UserPointer<Timespec>,
    mask: UserPointer<SignalSet>,
    mask_size: usize,
) -> Result<usize> {
    let given = time_out.optional().map(|pointer| caller.space.read(pointer)?.checked()).transpose()?;
    set_mask(caller, mask, mask_size)?;
    let ends = TimeOut::after(given);
    let result = poll_until(caller, list, count, ends).await;
    tell_remaining(caller, time_out, ends);
    result
}

/// Sets a mask for the duration of the call, if there is one. Errors: EINVAL for a set of another size; EFAULT.
pub fn set_mask(caller: &Caller<'_>, mask: UserPointer<SignalSet>, size: usize) -> Result<()> {
    let Some(mask) = mask.optional() else { return Ok(()) };
    if size != size_of::<SignalSet>() {
        return Err(Errno::EINVAL.because("a signal set has eight bytes"));
    }
    let mask = caller.space.read(mask)?;
    caller.task.set_temporary_mask(mask);
    Ok(())
}

/// The time left is told, if it can be: a time-out in memory that cannot be written is no error.
fn tell_remaining(caller: &Caller<'_>, time_out: UserPointer<Timespec>, ends: TimeOut) {
    if let (Some(pointer), Some(remaining)) = (time_out.optional(), ends.remaining()) {
        let _ = caller.space.write(pointer, &Timespec::from_nanoseconds(remaining));
    }
}

/// The three sets of select(2): where each is in the program, what it stands for, and what poll(2) calls that.
struct SetOfDescriptors {
    pointer: UserPointer<u64>,
    means: Readiness,
    words: Vec<u64>,
}

const BITS: usize = u64::BITS as usize;

impl SetOfDescriptors {
    fn read(caller: &Caller<'_>, pointer: UserPointer<u64>, means: Readiness, count: usize) -> Result<Self> {
        let words = match pointer.optional() {
            Some(pointer) => caller.space.read_array(pointer, count.div_ceil(BITS))?,
            None => Vec::new(),
        };
        Ok(Self { pointer, means, words })
    }

    fn contains(&self, number: usize) -> bool {
        self.words.get(number / BITS).is_some_and(|word| word >> (number % BITS) & 1 != 0)
    }
}

const FOR_READING: Readiness = Readiness::READABLE.union(Readiness::HANG_UP).union(Readiness::ERROR);
const FOR_WRITING: Readiness = Readiness::WRITABLE.union(Readiness::ERROR);

async fn select_until(
    caller: &mut Caller<'_>,
    count: i32,
    sets: [UserPointer<u64>; 3],
    time_out: TimeOut,
) -> Result<usize> {
    let count =
        usize::try_from(count).map_err(|_| Errno::EINVAL.because("there are no negative descriptors"))?;
    let files = caller.files()?;
    let count = count.min(files.capacity());
    let [reading, writing, exceptions] = sets;
    let sets = [
        SetOfDescriptors::read(caller, reading, FOR_READING, count)?,
        SetOfDescriptors::read(caller, writing, FOR_WRITING, count)?,
        SetOfDescriptors::read(caller, exceptions, Readiness::PRIORITY, count)?,
    ];
    let (numbers, watched) = watched_by(&files, &sets, count)?;
    drop(files);
    let found =
        watch(caller, &watched, time_out.deadline).await.map_err(restart_unless_handled)?.unwrap_or_default();
    let mut total = 0;
    for set in &sets {
        let Some(pointer) = set.pointer.optional() else { continue };
        let mut answer = vec![0u64; set.words.len()];
        for (number, found) in numbers.iter().zip(&found) {
            if set.contains(*number) && found.intersects(set.means) {
                answer[number / BITS] |= 1 << (number % BITS);
                total += 1;
            }
        }
        caller.space.write_array(pointer, &answer)?;
    }
    Ok(total)
}

/// The files in the sets, with their numbers. Errors: EBADF.
fn watched_by(
    files: &FileTable,
    sets: &[SetOfDescriptors; 3],
    count: usize,
) -> Result<(Vec<usize>, Vec<Watched>)> {
    let mut numbers = Vec::new();
    let mut watched = Vec::new();
    for number in 0..count {
        let wanted = sets.iter().filter(|set| set.contains(number)).map(|set| set.means);
        let wanted = wanted.fold(Readiness::empty(), Readiness::union);
        if !wanted.is_empty() {
            watched.push(Watched { file: files.get(Descriptor(number as i32))?, wanted });
            numbers.push(number);
        }
    }
    Ok((numbers, watched))
}

/// select(2)
pub async fn select(
    caller: &mut Caller<'_>,
    count: i32,
    reading: UserPointer<u64>,
    writing: UserPointer<u64>,
    exceptions: UserPointer<u64>,
    time_out: UserPointer<Timeval>,
) -> Result<usize> {
    let given = match time_out.optional() {
        None => None,
        Some(pointer) => {
            let Timeval { seconds, microseconds } = caller.space.read(pointer)?;
            // A second or more in microseconds is taken as such.
            let seconds = seconds.saturating_add(microseconds / 1_000_000);
            Some(Timespec { seconds, nanoseconds: microseconds % 1_000_000 * 1000 }.checked()?)
        }
    };
    let ends = TimeOut::after(given);
    let result = select_until(caller, count, [reading, writing, exceptions], ends).await;
    if let (Some(pointer), Some(remaining)) = (time_out.optional(), ends.remaining()) {
        let _ = caller.space.write(pointer, &Timeval::from_nanoseconds(remaining));
    }
    result
}

/// The last argument of pselect6: where the mask is, and its size.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MaskArgument {
    mask: usize,
    size: usize,
}

/// pselect(2)
pub async fn pselect6(
    caller: &mut Caller<'_>,
    count: i32,
    reading: UserPointer<u64>,
    writing: UserPointer<u64>,
    exceptions: UserPointer<u64>,
    time_out: UserPointer<Timespec>,
    mask: UserPointer<MaskArgument>,
) -> Result<usize> {
    let mask = mask.optional().map(|pointer| caller.space.read(pointer)).transpose()?;
    let given = time_out.optional().map(|pointer| caller.space.read(pointer)?.checked()).transpose()?;
    if let Some(MaskArgument { mask, size }) = mask {
        set_mask(caller, UserPointer::new(mask), size)?;
    }
    let ends = TimeOut::after(given);
    let result = select_until(caller, count, [reading, writing, exceptions], ends).await;
    tell_remaining(caller, time_out, ends);
    result
}

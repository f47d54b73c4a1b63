//! futex(2) and the list of robust ones.

use super::{Caller, clocks::absolute};
use crate::{
    abi::{ClockId, Errno, Result, TaskId, Timespec, UserPointer, linux},
    ns::Access,
    task::{
        futex::{self, ANY, Word, robust},
        table,
        wait::Waiting,
    },
    time::{HostClock, events::Deadline},
};
use alloc::{sync::Arc, vec::Vec};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Set in the operation: only threads of this memory mean the word, and it saves looking who else might.
const PRIVATE: u32 = linux::FUTEX_PRIVATE_FLAG;
/// Set in the operation: the deadline is one of the wall clock.
const REALTIME: u32 = linux::FUTEX_CLOCK_REALTIME;

/// What the fourth argument of an operation is, if it is a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Time {
    /// A length.
    Relative,
    /// A moment, of the monotonic clock or with FUTEX_CLOCK_REALTIME of the wall clock.
    Absolute,
    /// A moment of the wall clock, always.
    OfDay,
}

/// The operations that wait, and how the time is meant that they wait at most.
const WAITING: [(u32, Time); 5] = [
    (linux::FUTEX_WAIT, Time::Relative),
    (linux::FUTEX_LOCK_PI, Time::OfDay),
    (linux::FUTEX_LOCK_PI2, Time::Absolute),
    (linux::FUTEX_WAIT_BITSET, Time::Absolute),
    (linux::FUTEX_WAIT_REQUEUE_PI, Time::Absolute),
];

/// futex(2), the operations that are over at once. Errors: ENOSYS; those of the operation.
pub fn futex_now(
    caller: &mut Caller<'_>,
    address: usize,
    operation: u32,
    value: u32,
    second_count: usize,
    second_address: usize,
    third: u32,
) -> Result<usize> {
    let shared = operation & PRIVATE == 0;
    let word = Word { address, shared };
    let second = Word { address: second_address, shared };
    let waits_for_ever = second_count == 0;
    let (first_count, second_count) = (value as i32, second_count as i32);
    let space = &caller.space;
    match operation & !PRIVATE {
        linux::FUTEX_WAIT if waits_for_ever => wait_for_ever(caller, word, value, ANY),
        linux::FUTEX_WAIT_BITSET if waits_for_ever => wait_for_ever(caller, word, value, third),
        linux::FUTEX_WAKE => futex::wake(space, word, first_count, ANY),
        linux::FUTEX_WAKE_BITSET => futex::wake(space, word, first_count, third),
        linux::FUTEX_REQUEUE => futex::requeue(space, word, second, first_count, second_count, None),
        linux::FUTEX_CMP_REQUEUE => {
            futex::requeue(space, word, second, first_count, second_count, Some(third))
        }
        linux::FUTEX_WAKE_OP => futex::wake_and_change(space, word, second, first_count, second_count, third),
        linux::FUTEX_UNLOCK_PI => futex::unlock(caller, word),
        linux::FUTEX_CMP_REQUEUE_PI => {
            futex::requeue_to_lock(space, word, second, first_count, second_count, third)
        }
        _ => Err(Errno::WOULD_WAIT),
    }
}

/// Without a time-out, waiting takes no more than a place.
#[inline(always)]
fn wait_for_ever(caller: &mut Caller<'_>, word: Word, expected: u32, bitset: u32) -> Result<usize> {
    let place = futex::Place::take(caller, word, expected, bitset)?;
    caller.waiting = Some(Waiting::Futex(place));
    Err(Errno::WOULD_WAIT)
}

/// futex(2), the operations that may wait, in other ways.
///
/// Errors, in this order: EFAULT and EINVAL for the time; ENOSYS; then those of the operation.
pub async fn futex(
    caller: &mut Caller<'_>,
    address: usize,
    operation: u32,
    value: u32,
    time_address: usize,
    second_address: usize,
    third: u32,
) -> Result<usize> {
    let shared = operation & PRIVATE == 0;
    let word = Word { address, shared };
    let command = operation & !(PRIVATE | REALTIME);
    let time = WAITING.iter().find(|(waiting, _)| *waiting == command).map(|(_, time)| *time);
    let deadline = match time.filter(|_| time_address != 0) {
        Some(time) => Some(deadline(caller, time, operation & REALTIME != 0, time_address)?),
        None => None,
    };
    if operation & REALTIME != 0 && time != Some(Time::Absolute) {
        return Err(Errno::ENOSYS.because("this operation has no choice of clocks"));
    }
    match command {
        linux::FUTEX_WAIT => futex::wait(caller, word, value, ANY, deadline).await,
        linux::FUTEX_WAIT_BITSET => futex::wait(caller, word, value, third, deadline).await,
        linux::FUTEX_LOCK_PI | linux::FUTEX_LOCK_PI2 => futex::lock(caller, word, deadline, false).await,
        linux::FUTEX_TRYLOCK_PI => futex::lock(caller, word, None, true).await,
        linux::FUTEX_WAIT_REQUEUE_PI => {
            let lock = Word { address: second_address, shared };
            futex::wait_for_lock(caller, word, value, lock, deadline).await
        }
        _ => Err(Errno::ENOSYS.because("this futex operation does not exist")),
    }
}

/// A deadline, shifted by the caller's time namespace if it is an absolute one of the monotonic clock.
/// Errors: EFAULT; EINVAL.
fn deadline(caller: &Caller<'_>, time: Time, of_wall_clock: bool, address: usize) -> Result<Deadline> {
    let value = caller.space.read(UserPointer::<Timespec>::new(address))?.checked()?;
    Ok(match time {
        Time::Relative => Deadline::after(value),
        Time::Absolute if !of_wall_clock => absolute(caller, HostClock::Monotonic, value),
        Time::Absolute | Time::OfDay => absolute(caller, HostClock::Realtime, value),
    })
}

/// `struct futex_waitv`: one word, and for those who wait what it says.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct WaitedWord {
    value: u64,
    address: usize,
    flags: u32,
    reserved: u32,
}

impl WaitedWord {
    /// The word, and what it should say. Errors: EFAULT, EINVAL.
    fn read(caller: &Caller<'_>, from: UserPointer<Self>) -> Result<(Word, u32)> {
        let waited = caller.space.read(from)?;
        if waited.reserved != 0 {
            return Err(Errno::EINVAL.because("what is reserved is zero"));
        }
        Ok((sized_word(waited.address, waited.flags, &[waited.value])?, waited.value as u32))
    }
}

/// The word that these flags mean: 32 bits wide, private or not; there are no others.
///
/// Errors: EINVAL for other flags, or a value that such a word cannot have.
fn sized_word(address: usize, flags: u32, values: &[u64]) -> Result<Word> {
    const SIZE: u32 = 2;
    let fits = values.iter().all(|value| u32::try_from(*value).is_ok());
    if flags & !PRIVATE != SIZE || !fits {
        return Err(Errno::EINVAL.because("futex words have 32 bits"));
    }
    Ok(Word { address, shared: flags & PRIVATE == 0 })
}

/// An absolute time-out on a clock that the caller chooses. Errors: EINVAL for another clock, EFAULT, EINVAL for no time.
fn chosen_deadline(
    caller: &Caller<'_>,
    time: UserPointer<Timespec>,
    clock: ClockId,
) -> Result<Option<Deadline>> {
    let Some(time) = time.optional() else { return Ok(None) };
    let clock = match clock {
        ClockId::MONOTONIC => HostClock::Monotonic,
        ClockId::REALTIME => HostClock::Realtime,
        _ => return Err(Errno::EINVAL.because("a time-out is one of the monotonic or the wall clock")),
    };
    Ok(Some(absolute(caller, clock, caller.space.read(time)?.checked()?)))
}

/// futex_waitv(2). Errors: EINVAL, EFAULT, EAGAIN, ETIMEDOUT, EINTR.
pub async fn futex_waitv(
    caller: &mut Caller<'_>,
    list: UserPointer<WaitedWord>,
    count: u32,
    flags: u32,
    time: UserPointer<Timespec>,
    clock: ClockId,
) -> Result<usize> {
    const MOST: u32 = 128;
    if flags != 0 || !(1..=MOST).contains(&count) || list.address() == 0 {
        return Err(Errno::EINVAL.because("one to 128 words are waited on"));
    }
    let deadline = chosen_deadline(caller, time, clock)?;
    let mut words = Vec::with_capacity(count as usize);
    for index in 0..count as usize {
        words.push(WaitedWord::read(caller, list.element(index))?);
    }
    futex::wait_for_any(caller, &words, deadline).await
}

/// futex_wake(2): FUTEX_WAKE_BITSET under another number. Errors: EINVAL, EFAULT.
pub fn futex_wake(
    caller: &mut Caller<'_>,
    address: usize,
    mask: u64,
    count: i32,
    flags: u32,
) -> Result<usize> {
    let word = sized_word(address, flags, &[mask])?;
    if count == 0 {
        return Ok(0);
    }
    futex::wake(&caller.space, word, count, mask as u32)
}

/// futex_wait(2): FUTEX_WAIT_BITSET, with the clock of its deadline chosen by its id.
/// Errors: EINVAL, EFAULT, EAGAIN, ETIMEDOUT, EINTR.
pub async fn futex_wait(
    caller: &mut Caller<'_>,
    address: usize,
    value: u64,
    mask: u64,
    flags: u32,
    time: UserPointer<Timespec>,
    clock: ClockId,
) -> Result<usize> {
    let word = sized_word(address, flags, &[value, mask])?;
    let deadline = chosen_deadline(caller, time, clock)?;
    futex::wait(caller, word, value as u32, mask as u32, deadline).await
}

/// futex_requeue(2): FUTEX_CMP_REQUEUE, by a description of the two words.
/// Errors: EINVAL, also when one is private and the other is not; EFAULT; EAGAIN when the first word does not say what is expected.
pub fn futex_requeue(
    caller: &mut Caller<'_>,
    words: UserPointer<WaitedWord>,
    flags: u32,
    wake: i32,
    requeue: i32,
) -> Result<usize> {
    if flags != 0 || words.is_null() {
        return Err(Errno::EINVAL.because("two words are given, and no flags but theirs"));
    }
    let [from, to] = [words.element(0), words.element(1)].map(|word| WaitedWord::read(caller, word));
    let ((from, expected), (to, _)) = (from?, to?);
    if from.shared != to.shared {
        return Err(Errno::EINVAL.because("waiters are moved between words of one kind"));
    }
    futex::requeue(&caller.space, from, to, wake, requeue, Some(expected))
}

/// set_robust_list(2). Errors: EINVAL for a head of another size.
pub fn set_robust_list(caller: &mut Caller<'_>, head: usize, size: usize) -> Result<usize> {
    if size != size_of::<robust::Head>() {
        return Err(Errno::EINVAL.because("the head of a robust list has 24 bytes"));
    }
    caller.task.set_robust_list(head);
    Ok(0)
}

/// get_robust_list(2). Errors: ESRCH; EPERM without permission to look into the task; EFAULT.
pub fn get_robust_list(
    caller: &mut Caller<'_>,
    id: i32,
    head: UserPointer<usize>,
    size: UserPointer<usize>,
) -> Result<usize> {
    let task = match id {
        0 => caller.task.clone(),
        _ => table::task(id as TaskId).ok_or_else(|| Errno::ESRCH.because("there is no such task"))?,
    };
    let own = Arc::ptr_eq(task.process(), caller.task.process());
    if !own && !task.may_be_inspected_by(&caller.credentials(), Access::Calls) {
        return Err(Errno::EPERM.because("looking at a robust list takes permission to look into the task"));
    }
    caller.space.write(size, &size_of::<robust::Head>())?;
    caller.space.write(head, &task.robust_list())?;
    Ok(0)
}

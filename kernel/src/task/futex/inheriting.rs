//! Locks that the kernel gives from one task to the next: FUTEX_LOCK_PI and its companions, futex(2).
//!
//! The word says who holds the lock. A program takes a free one and gives back one that nobody waits for by itself; for
//! all else it calls the kernel, which writes the next holder into the word before it wakes it. So a lock is never free
//! while somebody waits, and who waits longest is next.
//!
//! The holder is to inherit the priority of those who wait, so that nobody in between can keep it from going on. Here
//! tasks run in turn whatever their priorities are, so nobody can, and there is nothing to inherit.

use super::{ANY, Place, QUEUES, Queues, Word};
use crate::{
    abi::{Errno, Result, TaskId, linux},
    mm::{AddressSpace, user::FutexKey},
    sync::Guard,
    task::{Caller, Task, table},
    time::events::Deadline,
};
use alloc::{sync::Arc, vec::Vec};
use core::{
    future::poll_fn,
    sync::atomic::Ordering::{AcqRel, Acquire, Release},
    task::Poll,
};
use linux::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};

/// One who waits for a lock, or first for a condition and then for a lock.
pub struct Heir {
    task: TaskId,
    /// Where the lock's word is for it.
    space: Arc<AddressSpace>,
    address: usize,
    /// By what the lock is known.
    lock: FutexKey,
    /// Whether other processes than its own may hold it.
    shared: bool,
}

impl Heir {
    fn new(caller: &Caller<'_>, lock: Word) -> Result<Self> {
        Ok(Self {
            task: caller.task.id(),
            space: caller.space.clone(),
            address: lock.address,
            lock: lock.key(&caller.space)?,
            shared: lock.shared,
        })
    }

    /// Makes it the holder if nobody is; else marks the word as one that somebody waits for. Tells whether it is.
    ///
    /// Errors: EFAULT; EDEADLK when it holds the lock already; ESRCH when the holder is no task, EPERM when it cannot
    /// mean this word; EINVAL when others wait on the word for something else.
    fn acquire(&self, queues: &Queues<FutexKey, Heir>) -> Result<bool> {
        if queues.has_others(self.lock) {
            return Err(Errno::EINVAL.because("a lock is not waited on as anything else"));
        }
        let waiters = if queues.first_heir(self.lock).is_some() { FUTEX_WAITERS } else { 0 };
        let change = |old: u32| match old & FUTEX_TID_MASK {
            0 => Some(self.task | waiters | (old & FUTEX_OWNER_DIED)),
            holder if holder == self.task => None,
            _ => Some(old | FUTEX_WAITERS),
        };
        let before = self
            .space
            .with_atomic_u32(self.address, true, |word| word.fetch_update(AcqRel, Acquire, change))?;
        match before.map(|old| old & FUTEX_TID_MASK) {
            Err(_) => Err(Errno::EDEADLK.because("the caller holds the lock")),
            Ok(0) => Ok(true),
            Ok(holder) => self.check_holder(holder).map(|()| false),
        }
    }

    fn check_holder(&self, holder: TaskId) -> Result<()> {
        let holder =
            table::task(holder).ok_or_else(|| Errno::ESRCH.because("the lock's holder is no task"))?;
        match self.shared || holder.space().is_some_and(|space| Arc::ptr_eq(&space, &self.space)) {
            true => Ok(()),
            false => Err(Errno::EPERM.because("a private lock is held by who shares the memory")),
        }
    }

    /// Makes it the holder of a lock that is given up.
    fn inherit(&self, died: u32) -> Result<()> {
        let value = self.task | FUTEX_WAITERS | died;
        self.space.with_atomic_u32(self.address, true, |word| word.store(value, Release))
    }
}

/// FUTEX_LOCK_PI, FUTEX_LOCK_PI2, and with `only_try` FUTEX_TRYLOCK_PI: takes the lock, waiting for it if need be.
///
/// Errors: EINVAL, EFAULT, EDEADLK, ESRCH; EAGAIN when it is held; ETIMEDOUT. A signal does not end it.
pub async fn lock(
    caller: &mut Caller<'_>,
    word: Word,
    deadline: Option<Deadline>,
    only_try: bool,
) -> Result<usize> {
    let mut heir = Some(Heir::new(caller, word)?);
    let mut place = Place(None);
    let taken = poll_fn(|context| {
        let mut queues = QUEUES.lock();
        if let Some(ticket) = place.0 {
            return if queues.was_woken(ticket) { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let Some(new) = heir.take() else { return Poll::Pending };
        match new.acquire(&queues) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) if only_try => Poll::Ready(Err(Errno::EAGAIN.because("the lock is held"))),
            Ok(false) => {
                place.0 = Some(queues.enter_as_heir(new.lock, new, context.waker().clone()));
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    });
    let outcome = caller.wait_until(deadline, taken).await;
    match outcome {
        Ok(Some(result)) => result.map(|()| 0),
        // Somebody may have given it the lock just now.
        _ if place.leave() => Ok(0),
        Ok(None) => Err(Errno::ETIMEDOUT),
        Err(_) => Err(Errno::ERESTARTNOINTR),
    }
}

/// FUTEX_UNLOCK_PI. Errors: EINVAL, EFAULT; EPERM when the caller does not hold it.
pub fn unlock(caller: &Caller<'_>, word: Word) -> Result<usize> {
    let key = word.key(&caller.space)?;
    let holder = caller.task.id();
    let queues = QUEUES.lock();
    let held = caller.space.with_atomic_u32(word.address, true, |word| word.load(Acquire))? & FUTEX_TID_MASK;
    if held != holder {
        return Err(Errno::EPERM.because("only who holds the lock gives it up"));
    }
    if queues.has_others(key) {
        return Err(Errno::EINVAL.because("a lock is not waited on as anything else"));
    }
    if queues.first_heir(key).is_none() {
        return caller.space.with_atomic_u32(word.address, true, |word| word.store(0, Release)).map(|()| 0);
    }
    give_to_heir(queues, key, 0)?;
    Ok(0)
}

/// Writes the next holder into the word and wakes it.
fn give_to_heir(mut queues: Guard<'_, Queues<FutexKey, Heir>>, lock: FutexKey, died: u32) -> Result<()> {
    let given = queues.first_heir(lock).map_or(Ok(()), |heir| heir.inherit(died));
    // It is woken even if its word has gone: nobody else would.
    queues.wake(lock, 1, ANY);
    given
}

/// Gives every lock that others wait for, and that this task holds when it ends, to who is next.
pub fn leave_to_heirs(task: &Task) {
    let is_held = |heir: &Heir| {
        let word = heir.space.with_atomic_u32(heir.address, false, |word| word.load(Acquire));
        word.is_ok_and(|value| value & FUTEX_TID_MASK == task.id())
    };
    let waits_for_lock = |(key, heir): &(FutexKey, &Heir)| *key == heir.lock && is_held(heir);
    let held: Vec<FutexKey> = QUEUES.lock().heirs().filter(waits_for_lock).map(|(key, _)| key).collect();
    for lock in held {
        // A word that cannot be written is its program's own affair.
        let _ = give_to_heir(QUEUES.lock(), lock, FUTEX_OWNER_DIED);
    }
}

/// FUTEX_WAIT_REQUEUE_PI: waits on a word that says `expected` until moved to a lock, and there until it is given that.
///
/// Errors: EINVAL, EFAULT; EAGAIN when the word says something else, or a signal comes after the move; ETIMEDOUT.
pub async fn wait_for_lock(
    caller: &mut Caller<'_>,
    word: Word,
    expected: u32,
    lock: Word,
    deadline: Option<Deadline>,
) -> Result<usize> {
    let key = word.key(&caller.space)?;
    let mut heir = Some(Heir::new(caller, lock)?);
    if heir.as_ref().is_some_and(|heir| heir.lock == key) {
        return Err(Errno::EINVAL.because("a condition and its lock are two words"));
    }
    let space = caller.space.clone();
    let mut place = Place(None);
    let given = poll_fn(|context| {
        let mut queues = QUEUES.lock();
        if let Some(ticket) = place.0 {
            return if queues.was_woken(ticket) { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        match space.with_atomic_u32(word.address, false, |word| word.load(Acquire)) {
            Ok(value) if value == expected => {
                let waker = context.waker().clone();
                place.0 = heir.take().map(|heir| queues.enter_as_heir(key, heir, waker));
                Poll::Pending
            }
            Ok(_) => Poll::Ready(Err(Errno::EAGAIN.because("the futex word has another value"))),
            Err(error) => Poll::Ready(Err(error)),
        }
    });
    let outcome = caller.wait_until(deadline, given).await;
    let was_moved = place.0.is_some_and(|ticket| QUEUES.lock().place(ticket) != Some(key));
    match outcome {
        Ok(Some(result)) => result.map(|()| 0),
        _ if place.leave() => Ok(0),
        Ok(None) => Err(Errno::ETIMEDOUT),
        // What it waited for has happened, so waiting for that anew would be in vain.
        Err(_) if was_moved => Err(Errno::EAGAIN.because("a signal came while waiting for the lock")),
        Err(_) => Err(Errno::ERESTARTNOINTR),
    }
}

/// FUTEX_CMP_REQUEUE_PI: gives the lock to the first who waits for the condition if it is free, and moves others to it;
/// tells how many in all.
///
/// Errors: EINVAL for other counts, the same word twice, or waiters that do not expect this lock; EFAULT; EAGAIN when the
/// condition's word says something else; EDEADLK, ESRCH.
pub fn requeue_to_lock(
    space: &AddressSpace,
    word: Word,
    lock: Word,
    wake: i32,
    requeue: i32,
    expected: u32,
) -> Result<usize> {
    let requeue = usize::try_from(requeue).ok().filter(|_| wake == 1);
    let requeue =
        requeue.ok_or_else(|| Errno::EINVAL.because("one is woken at most, for whom the lock is free"))?;
    let (key, lock) = (word.key(space)?, lock.key(space)?);
    if key == lock {
        return Err(Errno::EINVAL.because("a condition and its lock are two words"));
    }
    let mut queues = QUEUES.lock();
    let value = space.with_atomic_u32(word.address, false, |word| word.load(Acquire))?;
    if value != expected {
        return Err(Errno::EAGAIN.because("the futex word has another value"));
    }
    if queues.has_others(key) || queues.heirs_in(key).any(|heir| heir.lock != lock) {
        return Err(Errno::EINVAL.because("somebody waits here for something else"));
    }
    let Some(first) = queues.first_heir(key) else { return Ok(0) };
    let woken = if first.acquire(&queues)? { queues.wake(key, 1, ANY) } else { 0 };
    let moved = queues.requeue(key, lock, requeue);
    if moved > 0
        && let Some(heir) = queues.first_heir(lock)
    {
        // Whoever holds it must not give it up without asking here.
        heir.space.with_atomic_u32(heir.address, true, |word| word.fetch_or(FUTEX_WAITERS, AcqRel))?;
    }
    Ok(woken + moved)
}

//! Locks that the kernel gives from one task to the next: FUTEX_LOCK_PI and its companions, futex(2).
//!
//! The word says who holds the lock. A program takes a free one and gives back one that nobody waits for by itself; for
//! all else it calls the kernel, which writes the next holder into the word before it wakes it. So a lock is never free
//! while somebody waits; next is who has the highest rank, and of several who waits longest. The rank is lent to the holder
//! meanwhile: [`priority`].

use super::{ANY, Place, QUEUES, Queues, Word, priority};
use crate::{
    abi::{Errno, Result, TaskId, linux},
    mm::{AddressSpace, user::FutexKey},
    task::{Caller, Task, table},
    time::events::Deadline,
};
use alloc::sync::Arc;
use core::{
    sync::atomic::Ordering::{AcqRel, Acquire, Release},
    task::Waker,
};
use linux::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};

/// One who waits for a lock, or first for a condition and then for a lock.
pub struct Heir {
    pub(super) task: Arc<Task>,
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
            task: caller.task.clone(),
            space: caller.space.clone(),
            address: lock.address,
            lock: lock.key(&caller.space)?,
            shared: lock.shared,
        })
    }

    /// Makes it the holder if nobody is; else marks the word as one that somebody waits for, and gives the holder.
    ///
    /// Errors: EFAULT; EDEADLK when it holds the lock already; ESRCH when the holder is no task, EPERM when it cannot
    /// mean this word; EINVAL when others wait on the word for something else.
    fn acquire(&self, queues: &Queues<FutexKey, Heir>) -> Result<Option<Arc<Task>>> {
        if queues.has_others(self.lock) {
            return Err(Errno::EINVAL.because("a lock is not waited on as anything else"));
        }
        let waiters = if queues.first_heir(self.lock).is_some() { FUTEX_WAITERS } else { 0 };
        let own = self.task.id();
        let change = |old: u32| match old & FUTEX_TID_MASK {
            0 => Some(own | waiters | (old & FUTEX_OWNER_DIED)),
            holder if holder == own => None,
            _ => Some(old | FUTEX_WAITERS),
        };
        let before = self
            .space
            .with_atomic_u32(self.address, true, |word| word.fetch_update(AcqRel, Acquire, change))?;
        match before.map(|old| old & FUTEX_TID_MASK) {
            Err(_) => Err(Errno::EDEADLK.because("the caller holds the lock")),
            Ok(0) => Ok(None),
            Ok(holder) => self.checked_holder(holder).map(Some),
        }
    }

    fn checked_holder(&self, holder: TaskId) -> Result<Arc<Task>> {
        let holder =
            table::task(holder).ok_or_else(|| Errno::ESRCH.because("the lock's holder is no task"))?;
        match self.shared || holder.space().is_some_and(|space| Arc::ptr_eq(&space, &self.space)) {
            true => Ok(holder),
            false => Err(Errno::EPERM.because("a private lock is held by who shares the memory")),
        }
    }

    /// Makes it the holder of a lock that is given up.
    fn inherit(&self, died: u32) -> Result<()> {
        let value = self.task.id() | FUTEX_WAITERS | died;
        self.space.with_atomic_u32(self.address, true, |word| word.store(value, Release))
    }
}

/// FUTEX_LOCK_PI, FUTEX_LOCK_PI2, and with `only_try` FUTEX_TRYLOCK_PI: takes the lock, waiting for it if need be.
///
/// Errors: EINVAL, EFAULT, ESRCH; EDEADLK when the caller holds it, or its holder waits for what the caller holds; EAGAIN
/// when it is held; ETIMEDOUT. A signal does not end it.
pub async fn lock(
    caller: &mut Caller<'_>,
    word: Word,
    deadline: Option<Deadline>,
    only_try: bool,
) -> Result<usize> {
    let heir = Heir::new(caller, word)?;
    let Some(place) = take_or_enter(caller, heir, only_try)? else { return Ok(0) };
    let outcome = place.until_woken(caller, deadline).await;
    // Whatever has ended the waiting: somebody may have given it the lock just now.
    match (place.leave(), outcome) {
        (true, _) => Ok(0),
        (false, Ok(_)) => Err(Errno::ETIMEDOUT),
        (false, Err(_)) => Err(Errno::ERESTARTNOINTR),
    }
}

/// `None`: the caller holds the lock now.
fn take_or_enter(caller: &Caller<'_>, heir: Heir, only_try: bool) -> Result<Option<Place>> {
    let (lock, task) = (heir.lock, caller.task);
    let mut queues = QUEUES.lock();
    let Some(holder) = heir.acquire(&queues)? else {
        // Others wait if it was freed behind the kernel's back.
        priority::changed(&mut queues, lock, Some(task.clone()));
        return Ok(None);
    };
    if only_try {
        return Err(Errno::EAGAIN.because("the lock is held"));
    }
    if priority::waits_for(&queues, &holder, task) {
        return Err(Errno::EDEADLK.because("the lock's holder waits for what the caller holds"));
    }
    let ticket = queues.enter_as_heir(lock, task.rank(), heir, Waker::from(task.clone()));
    priority::changed(&mut queues, lock, Some(holder));
    Ok(Some(Place(Some(ticket))))
}

/// FUTEX_UNLOCK_PI. Errors: EINVAL, EFAULT; EPERM when the caller does not hold it.
pub fn unlock(caller: &Caller<'_>, word: Word) -> Result<usize> {
    let key = word.key(&caller.space)?;
    let holder = caller.task.id();
    let mut queues = QUEUES.lock();
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
    give_to_heir(&mut queues, key, 0)?;
    Ok(0)
}

/// Writes the next holder into the word and wakes it.
fn give_to_heir(queues: &mut Queues<FutexKey, Heir>, lock: FutexKey, died: u32) -> Result<()> {
    let Some((heir, _)) = queues.first_heir(lock) else { return Ok(()) };
    let (holder, given) = (heir.task.clone(), heir.inherit(died));
    // It is woken even if its word has gone: nobody else would.
    queues.wake(lock, 1, ANY);
    priority::changed(queues, lock, Some(holder));
    given
}

/// Gives every lock that others wait for, and that this task holds when it ends, to who is next.
pub fn leave_to_heirs(task: &Task) {
    let mut queues = QUEUES.lock();
    while let Some(lock) = priority::lock_held_by(&queues, task) {
        // A word that cannot be written is its program's own affair.
        let _ = give_to_heir(&mut queues, lock, FUTEX_OWNER_DIED);
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
    let heir = Heir::new(caller, lock)?;
    if heir.lock == key {
        return Err(Errno::EINVAL.because("a condition and its lock are two words"));
    }
    let place = enter_if(caller, word, key, expected, heir)?;
    let outcome = place.until_woken(caller, deadline).await;
    let was_moved = place.0.as_ref().is_some_and(|ticket| QUEUES.lock().place(ticket) != Some(key));
    match (place.leave(), outcome) {
        (true, _) => Ok(0),
        (false, Ok(_)) => Err(Errno::ETIMEDOUT),
        // What it waited for has happened, so waiting for that anew would be in vain.
        (false, Err(_)) if was_moved => {
            Err(Errno::EAGAIN.because("a signal came while waiting for the lock"))
        }
        (false, Err(_)) => Err(Errno::ERESTARTNOINTR),
    }
}

/// Takes a place where heirs wait for a condition, if its word says `expected`.
fn enter_if(caller: &Caller<'_>, word: Word, key: FutexKey, expected: u32, heir: Heir) -> Result<Place> {
    let mut queues = QUEUES.lock();
    word.must_say(&caller.space, expected)?;
    let waker = Waker::from(caller.task.clone());
    Ok(Place(Some(queues.enter_as_heir(key, caller.task.rank(), heir, waker))))
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
    word.must_say(space, expected)?;
    if queues.has_others(key) || queues.heirs_in(key).any(|(heir, _)| heir.lock != lock) {
        return Err(Errno::EINVAL.because("somebody waits here for something else"));
    }
    let Some((first, _)) = queues.first_heir(key) else { return Ok(0) };
    let (task, holder) = (first.task.clone(), first.acquire(&queues)?);
    let woken = if holder.is_none() { queues.wake(key, 1, ANY) } else { 0 };
    let moved = queues.requeue(key, lock, requeue);
    priority::changed(&mut queues, lock, Some(holder.unwrap_or(task)));
    if moved > 0
        && let Some((heir, _)) = queues.first_heir(lock)
    {
        // Whoever holds it must not give it up without asking here.
        heir.space.with_atomic_u32(heir.address, true, |word| word.fetch_or(FUTEX_WAITERS, AcqRel))?;
    }
    Ok(woken + moved)
}

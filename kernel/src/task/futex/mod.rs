//! Futexes: how threads wait for each other with the kernel's help, futex(2).
//!
//! The lock, semaphore or condition is a word in the programs' memory, and as long as nobody has to wait the kernel does not
//! know of it. Waiting is "sleep if the word still says so": looking and queueing happen under one lock, which wakers
//! take too, so a wake-up that follows a change of the word is never missed.

mod inheriting;
mod operation;
mod priority;
mod queues;
pub mod robust;
mod several;

pub use inheriting::{leave_to_heirs, lock, requeue_to_lock, unlock, wait_for_lock};
pub use operation::Operation;
pub use priority::rank_changed;
pub use several::wait_for_any;

use super::{Caller, serve::Restart};
use crate::{
    abi::{Errno, Result},
    mm::{AddressSpace, user::FutexKey},
    sync::SpinLock,
    time::events::Deadline,
};
use alloc::boxed::Box;
use core::{
    future::poll_fn,
    sync::atomic::Ordering::{AcqRel, Acquire},
    task::{Poll, Waker},
};
use inheriting::Heir;
use queues::{Queues, Ticket};

/// Everybody who waits. Taken outside an address space's lock and the run queue's. (One lock for all is the simple choice
/// as long as one CPU runs; a table of locks by key is the usual one.)
static QUEUES: SpinLock<Queues<FutexKey, Heir>> = SpinLock::new(Queues::new());

/// Matches every waiter: FUTEX_BITSET_MATCH_ANY.
pub const ANY: u32 = u32::MAX;

/// A word that is waited on: where, and whether others than the threads of this memory may mean the same one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word {
    /// Its address.
    pub address: usize,
    /// Without FUTEX_PRIVATE_FLAG.
    pub shared: bool,
}

impl Word {
    /// By what all who mean it know it. Errors: EINVAL when it is not aligned; EFAULT.
    #[inline(always)]
    fn key(self, space: &AddressSpace) -> Result<FutexKey> {
        use crate::arch::{Hardware, Machine};
        if !self.address.is_multiple_of(size_of::<u32>()) {
            return Err(Errno::EINVAL.because("a futex word is aligned to four bytes"));
        }
        if self.address >= Hardware::USER_END {
            return Err(Errno::EFAULT.because("a futex word lies in user memory"));
        }
        if self.shared { space.shared_key(self.address) } else { Ok(space.private_key(self.address)) }
    }

    fn value(self, space: &AddressSpace) -> Result<u32> {
        space.with_atomic_u32(self.address, false, |value| value.load(Acquire))
    }

    /// Errors: EFAULT; EAGAIN when it says something else.
    #[inline(always)]
    fn must_say(self, space: &AddressSpace, expected: u32) -> Result<()> {
        match self.value(space)? {
            value if value == expected => Ok(()),
            _ => Err(Errno::EAGAIN.because("the futex word has another value")),
        }
    }
}

impl queues::Key for FutexKey {
    fn spread(self) -> usize {
        let (whose, address) = match self {
            Self::Private(space, address) => (space as usize, address),
            Self::Shared(object, offset) => ((object.device ^ object.inode << 6) as usize, offset as usize),
        };
        // Words lie at multiples of four; and those of threads often a page or more apart.
        whose ^ address >> 2 ^ address >> 12
    }
}

/// A place in a queue; given up when dropped.
pub struct Place(Option<Ticket>);

impl Place {
    /// Takes one if the word says `expected`. (Who waits is woken as a task, so it need not be waiting yet.)
    ///
    /// Errors: EINVAL for no bits or a misaligned word; EFAULT; EAGAIN when it says something else.
    #[inline(always)]
    pub fn take(caller: &Caller<'_>, word: Word, expected: u32, bitset: u32) -> Result<Self> {
        if bitset == 0 {
            return Err(Errno::EINVAL.because("a waiter without bits would never be woken"));
        }
        let key = word.key(&caller.space)?;
        let mut queues = QUEUES.lock();
        word.must_say(&caller.space, expected)?;
        let ticket = queues.enter(key, caller.task.own_rank(), bitset, Waker::from(caller.task.clone()));
        Ok(Self(Some(ticket)))
    }

    fn was_woken(&self) -> bool {
        self.0.as_ref().is_none_or(|ticket| QUEUES.lock().was_woken(ticket))
    }

    /// Gives it up if it has been woken; tells whether.
    #[inline(always)]
    pub fn is_over(&mut self) -> bool {
        let mut queues = QUEUES.lock();
        if self.0.as_ref().is_some_and(|ticket| queues.was_woken(ticket)) {
            self.0.take().map(|ticket| queues.leave(ticket));
        }
        self.0.is_none()
    }

    /// Waits until woken; `None` when the deadline has passed first. Errors: ERESTARTSYS.
    async fn until_woken(&self, caller: &mut Caller<'_>, deadline: Option<Deadline>) -> Result<Option<()>> {
        let woken = poll_fn(|_| if self.was_woken() { Poll::Ready(()) } else { Poll::Pending });
        caller.wait_until(deadline, woken).await
    }

    /// Gives it up early; tells whether it had been woken.
    pub fn give_up(&mut self) -> bool {
        self.0.take().is_some_and(leave)
    }

    fn leave(mut self) -> bool {
        self.give_up()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            leave(ticket);
        }
    }
}

fn leave(ticket: Ticket) -> bool {
    let mut queues = QUEUES.lock();
    if !queues.has_heirs() {
        return queues.leave(ticket);
    }
    let waited_on = queues.place(&ticket);
    let was_woken = queues.leave(ticket);
    if let Some(key) = waited_on {
        priority::changed(&mut queues, key, None);
    }
    was_woken
}

/// FUTEX_WAIT_BITSET: waits until woken, if the word says `expected`.
///
/// Errors: EINVAL for no bits or a misaligned word; EFAULT; EAGAIN when it says something else; ETIMEDOUT; and the
/// restarts: with a deadline through restart_syscall(2).
pub async fn wait(
    caller: &mut Caller<'_>,
    word: Word,
    expected: u32,
    bitset: u32,
    deadline: Option<Deadline>,
) -> Result<usize> {
    let place = Place::take(caller, word, expected, bitset)?;
    let outcome = place.until_woken(caller, deadline).await;
    // Whatever has ended the waiting: somebody may have woken it just now, and must not have done so in vain.
    if place.leave() {
        return Ok(0);
    }
    match (outcome, deadline) {
        (Ok(_), _) => Err(Errno::ETIMEDOUT),
        (Err(error), None) => Err(error),
        (Err(_), Some(_)) => {
            caller.task.restart_with(go_on_waiting(word, expected, bitset, deadline));
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
    }
}

fn go_on_waiting(word: Word, expected: u32, bitset: u32, deadline: Option<Deadline>) -> Restart {
    Restart::new(move |caller| Box::pin(wait(caller, word, expected, bitset, deadline)))
}

/// How many a count from a program stands for: Linux wakes one before it compares.
fn at_least_one(count: i32) -> usize {
    usize::try_from(count).unwrap_or(1).max(1)
}

/// FUTEX_WAKE_BITSET: wakes at most `count` whose bits meet `bitset`; tells how many.
///
/// Errors: EINVAL for no bits or a misaligned word; EFAULT.
#[inline]
pub fn wake(space: &AddressSpace, word: Word, count: i32, bitset: u32) -> Result<usize> {
    if bitset == 0 {
        return Err(Errno::EINVAL.because("a wake-up without bits would reach nobody"));
    }
    let key = word.key(space)?;
    let mut queues = QUEUES.lock();
    no_heirs(&queues, key)?;
    Ok(queues.wake(key, at_least_one(count), bitset))
}

/// Errors: EINVAL when somebody waits on the word who cannot just be woken.
fn no_heirs(queues: &Queues<FutexKey, Heir>, key: FutexKey) -> Result<()> {
    match queues.first_heir(key) {
        None => Ok(()),
        Some(_) => Err(Errno::EINVAL.because("who waits for a lock is given it, not woken")),
    }
}

/// FUTEX_CMP_REQUEUE, and without `expected` FUTEX_REQUEUE: wakes some who wait on one word and has others wait on
/// another; tells how many in all.
///
/// Errors: EINVAL for negative counts or a misaligned word; EFAULT; EAGAIN when the first word says something else.
pub fn requeue(
    space: &AddressSpace,
    from: Word,
    to: Word,
    wake: i32,
    requeue: i32,
    expected: Option<u32>,
) -> Result<usize> {
    let negative = || Errno::EINVAL.because("so many cannot be woken or moved");
    let wake = usize::try_from(wake).map_err(|_| negative())?;
    let requeue = usize::try_from(requeue).map_err(|_| negative())?;
    let (from_key, to_key) = (from.key(space)?, to.key(space)?);
    let mut queues = QUEUES.lock();
    if let Some(expected) = expected {
        from.must_say(space, expected)?;
    }
    no_heirs(&queues, from_key)?;
    let woken = queues.wake(from_key, wake, ANY);
    Ok(woken + queues.requeue(from_key, to_key, requeue))
}

/// FUTEX_WAKE_OP: changes the second word, wakes who waits on the first and, depending on what the second said, on it
/// too; tells how many.
///
/// Errors: EINVAL for a misaligned word; EFAULT; ENOSYS for an unknown operation.
pub fn wake_and_change(
    space: &AddressSpace,
    first: Word,
    second: Word,
    wake_first: i32,
    wake_second: i32,
    encoded: u32,
) -> Result<usize> {
    let (first_key, second_key) = (first.key(space)?, second.key(space)?);
    let operation = Operation::decode(encoded)?;
    let mut queues = QUEUES.lock();
    no_heirs(&queues, first_key)?;
    no_heirs(&queues, second_key)?;
    let old = space.with_atomic_u32(second.address, true, |value| {
        let change = |old| Some(operation.changed(old));
        value.fetch_update(AcqRel, Acquire, change).unwrap_or_else(|old| old)
    })?;
    let mut woken = queues.wake(first_key, at_least_one(wake_first), ANY);
    if operation.holds(old) {
        woken += queues.wake(second_key, at_least_one(wake_second), ANY);
    }
    Ok(woken)
}

//! Futexes: how threads wait for each other with the kernel's help, futex(2).
//!
//! The lock, semaphore or condition is a word in the programs' memory, and as long as nobody has to wait the kernel does not
//! know of it. Waiting is "sleep if the word still says so": looking and queueing happen under one lock, which wakers
//! take too, so a wake-up that follows a change of the word is never missed.

mod inheriting;
mod operation;
mod queues;
pub mod robust;
mod several;

pub use inheriting::{leave_to_heirs, lock, requeue_to_lock, unlock, wait_for_lock};
pub use operation::Operation;
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
    task::{Context, Poll},
};
use inheriting::Heir;
use queues::Queues;

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
struct Place(Option<queues::Ticket<FutexKey>>);

impl Place {
    /// Gives it up early; tells whether it had been woken.
    fn leave(mut self) -> bool {
        self.0.take().is_some_and(|ticket| QUEUES.lock().leave(ticket))
    }

    /// Takes the place if the word says `expected`, and from then on waits to be woken.
    fn poll(
        &mut self,
        context: &Context<'_>,
        space: &AddressSpace,
        word: Word,
        key: FutexKey,
        expected: u32,
        bitset: u32,
    ) -> Poll<Result<()>> {
        let mut queues = QUEUES.lock();
        if let Some(ticket) = self.0 {
            if !queues.was_woken(ticket) {
                return Poll::Pending;
            }
            self.0 = None;
            return Poll::Ready(Ok(()));
        }
        match space.with_atomic_u32(word.address, false, |value| value.load(Acquire)) {
            Ok(value) if value == expected => {
                self.0 = Some(queues.enter(key, bitset, context.waker().clone()));
                Poll::Pending
            }
            Ok(_) => Poll::Ready(Err(Errno::EAGAIN.because("the futex word has another value"))),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            QUEUES.lock().leave(ticket);
        }
    }
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
    if bitset == 0 {
        return Err(Errno::EINVAL.because("a waiter without bits would never be woken"));
    }
    let key = word.key(&caller.space)?;
    let space = caller.space.clone();
    let mut place = Place(None);
    let woken = poll_fn(|context| place.poll(context, &space, word, key, expected, bitset));
    let outcome = caller.wait_until(deadline, woken).await;
    if let Ok(Some(result)) = outcome {
        return result.map(|()| 0);
    }
    // Somebody may have woken it just now, and must not have done so in vain.
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
        let value = space.with_atomic_u32(from.address, false, |value| value.load(Acquire))?;
        if value != expected {
            return Err(Errno::EAGAIN.because("the futex word has another value"));
        }
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

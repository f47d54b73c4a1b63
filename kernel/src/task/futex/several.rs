//! Waiting on several words at once: futex_waitv(2).

use super::{ANY, Place, QUEUES, Word};
use crate::{
    abi::{Errno, Result},
    task::Caller,
    time::events::Deadline,
};
use alloc::vec::Vec;
use core::{future::poll_fn, sync::atomic::Ordering::Acquire, task::Poll};

/// Waits until one of the words is woken, if each says what is expected of it; tells which one was.
///
/// Errors: EINVAL for a misaligned word; EFAULT; EAGAIN when one says something else; ETIMEDOUT; ERESTARTSYS.
pub async fn wait_for_any(
    caller: &mut Caller<'_>,
    words: &[(Word, u32)],
    deadline: Option<Deadline>,
) -> Result<usize> {
    let keys = words.iter().map(|(word, _)| word.key(&caller.space)).collect::<Result<Vec<_>>>()?;
    let space = caller.space.clone();
    let mut places: Vec<Place> = Vec::new();
    let woken = poll_fn(|context| {
        let mut queues = QUEUES.lock();
        if places.is_empty() {
            for (word, expected) in words {
                match space.with_atomic_u32(word.address, false, |value| value.load(Acquire)) {
                    Ok(value) if value == *expected => {}
                    Ok(_) => {
                        return Poll::Ready(Err(Errno::EAGAIN.because("a futex word has another value")));
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            places
                .extend(keys.iter().map(|key| Place(Some(queues.enter(*key, ANY, context.waker().clone())))));
            return Poll::Pending;
        }
        let was_woken = |place: &Place| place.0.is_some_and(|ticket| queues.was_woken(ticket));
        places.iter().position(was_woken).map_or(Poll::Pending, |index| Poll::Ready(Ok(index)))
    });
    let outcome = caller.wait_until(deadline, woken).await;
    if let Ok(Some(result)) = outcome {
        return result;
    }
    // Somebody may have woken one just now, and must not have done so in vain.
    let woken: Vec<bool> = places.into_iter().map(Place::leave).collect();
    match (woken.iter().position(|woken| *woken), outcome) {
        (Some(index), _) => Ok(index),
        (None, Ok(_)) => Err(Errno::ETIMEDOUT),
        (None, Err(error)) => Err(error),
    }
}

//! Waiting on several words at once: futex_waitv(2).

use super::{ANY, Place, Word};
use crate::{
    abi::{Errno, Result},
    task::Caller,
    time::events::Deadline,
};
use alloc::vec::Vec;
use core::{future::poll_fn, task::Poll};

/// Waits until one of the words is woken, if each says what is expected of it; tells which one was.
///
/// Errors: EINVAL for a misaligned word; EFAULT; EAGAIN when one says something else; ETIMEDOUT; ERESTARTSYS.
pub async fn wait_for_any(
    caller: &mut Caller<'_>,
    words: &[(Word, u32)],
    deadline: Option<Deadline>,
) -> Result<usize> {
    // Whatever any of them says: each has to be a word.
    words.iter().try_for_each(|(word, _)| word.key(&caller.space).map(|_| ()))?;
    let mut places: Vec<Place> = Vec::with_capacity(words.len());
    for (word, expected) in words {
        match Place::take(caller, *word, *expected, ANY) {
            Ok(place) => places.push(place),
            // One that was woken meanwhile has been woken, whatever the next word says.
            Err(error) => return places.into_iter().position(Place::leave).ok_or(error),
        }
    }
    let woken = poll_fn(|_| places.iter().position(Place::was_woken).map_or(Poll::Pending, Poll::Ready));
    let outcome = caller.wait_until(deadline, woken).await;
    // Somebody may have woken one just now, and must not have done so in vain.
    let woken: Vec<bool> = places.into_iter().map(Place::leave).collect();
    match (woken.iter().position(|woken| *woken), outcome) {
        (Some(index), _) => Ok(index),
        (None, Ok(_)) => Err(Errno::ETIMEDOUT),
        (None, Err(error)) => Err(error),
    }
}

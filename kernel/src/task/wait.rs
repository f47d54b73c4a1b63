//! The ways in which a task waits: until something happens, until a signal wants it, until it is too late.
//!
//! Every wait of a system call goes through here, for two reasons. A signal must end it: the task is its own waker, so a
//! signal simply wakes it and the wait looks at [`Task::interrupted`] after the awaited thing did not come. And when the
//! task really has to wait another one will run, so this is where its extended state is put away; a call that finds
//! what it wants at once never pays for that.

use super::{Task, run_queue::Place, sched};
use crate::{
    abi::{Errno, Result},
    arch::{UserContext, UserMode},
    sync::WaitQueue,
    time::events::{self, Deadline},
};
use alloc::sync::Arc;
use core::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Waits for `future`, or for a signal that is to be delivered.
///
/// Errors: ERESTARTSYS when a signal came first. The future is asked once more before that is found, so what has
/// happened is never lost to a signal.
pub async fn interruptible<F: Future>(task: &Task, user: &mut UserContext, future: F) -> Result<F::Output> {
    unless(user, future, || task.interrupted()).await
}

/// Like [`interruptible`], but only a signal that ends the task ends the wait: for vfork(2), whose caller must not run
/// while the child uses its memory.
pub async fn killable<F: Future>(task: &Task, user: &mut UserContext, future: F) -> Result<F::Output> {
    unless(user, future, || task.killed()).await
}

/// Like [`interruptible`], with a deadline: `None` when it has passed first. What has happened wins over a deadline that
/// passed at the same time, and a deadline over a signal.
pub async fn until<F: Future>(
    task: &Task,
    user: &mut UserContext,
    deadline: Option<Deadline>,
    future: F,
) -> Result<Option<F::Output>> {
    match deadline {
        Some(_) => interruptible(task, user, events::before(deadline, future)).await,
        None => interruptible(task, user, future).await.map(Some),
    }
}

/// Like [`interruptible`], until what an object's queue tells of lets `attempt` give something. (The same as waiting for
/// [`WaitQueue::until`], in one future instead of three.)
pub async fn on<T>(
    task: &Task,
    user: &mut UserContext,
    queue: &WaitQueue,
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<T> {
    let mut registration = queue.registration();
    let mut was_woken = false;
    poll_fn(|context| {
        // Who has been woken mostly finds what it waited for, and then needs no new place.
        if core::mem::replace(&mut was_woken, true)
            && let Some(value) = attempt()
        {
            return Poll::Ready(Ok(value));
        }
        // Register before looking: what happens in between then wakes us.
        registration.renew(context.waker());
        if let Some(value) = attempt() {
            return Poll::Ready(Ok(value));
        }
        if task.interrupted() {
            return Poll::Ready(Err(Errno::ERESTARTSYS));
        }
        user.park();
        Poll::Pending
    })
    .await
}

/// Gives the CPU up for a turn, if another task could use it that this one does not outrank: sched_yield(2).
pub async fn turn(task: &Arc<Task>, user: &mut UserContext) {
    give_up(task, user, Place::Back).await;
}

/// Lets everybody have a turn who could use it, whatever their rank.
pub async fn turn_of_all(task: &Arc<Task>, user: &mut UserContext) {
    give_up(task, user, Place::Last).await;
}

async fn give_up(task: &Arc<Task>, user: &mut UserContext, place: Place) {
    if sched::others_wait() {
        user.park();
        sched::yield_now(task, place, false).await;
    }
}

async fn unless<F: Future>(
    user: &mut UserContext,
    future: F,
    interrupted: impl Fn() -> bool,
) -> Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        if interrupted() {
            return Poll::Ready(Err(Errno::ERESTARTSYS));
        }
        user.park();
        Poll::Pending
    })
    .await
}

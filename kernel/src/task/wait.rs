//! The ways in which a task waits: until something happens, until a signal wants it, until it is too late.
//!
//! Every wait of a system call goes through here, for two reasons. A signal must end it: the task is its own waker, so a
//! signal simply wakes it and the wait looks at [`Task::interrupted`] after the awaited thing did not come. And when the
//! task really has to wait another one will run, so this is where its extended state is put away; a call that finds
//! what it wants at once never pays for that.

use super::{Caller, Task, futex, run_queue::Place, sched};
use crate::{
    abi::{Errno, Result},
    arch::{UserContext, UserMode},
    fs::File,
    mm::user::{Destination, IoVector},
    sync::{News, WaitQueue},
    time::{
        HostClock, clocksource,
        events::{self, Deadline},
        now,
    },
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
/// [`WaitQueue::until`], in one future instead of three, and `attempt` is only made when there is something new.)
///
/// `seen`: how much had happened at the queue before the last attempt, if there was one.
pub async fn on<T>(
    task: &Task,
    user: &mut UserContext,
    queue: &WaitQueue,
    mut seen: Option<News>,
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<T> {
    let mut registration = queue.registration();
    poll_fn(|context| {
        let mut is_registered = false;
        loop {
            let news = queue.news();
            if seen.replace(news) != Some(news)
                && let Some(value) = attempt()
            {
                return Poll::Ready(Ok(value));
            }
            if is_registered {
                break;
            }
            // And look once more: what happens from here on wakes the task.
            registration.renew(context.waker());
            is_registered = true;
        }
        look(user, None, || task.interrupted())
    })
    .await
}

/// A wait that the first handler of a call leaves: one of those that many calls come to, and that take no future of the
/// call's own.
pub enum Waiting {
    /// To be woken from this place: futex(2).
    Futex(futex::Place),
    /// To read something: read(2).
    Reading {
        /// From this file.
        file: Arc<File>,
        /// How much had happened to it before the first attempt.
        seen: News,
        /// The buffer in the program's memory.
        buffer: IoVector,
    },
}

impl Waiting {
    /// Waits for what `caller.waiting` says (in place: moving it costs more than a look). Gives what the call does.
    #[inline(always)]
    pub async fn go_on(caller: &mut Caller<'_>) -> Result<usize> {
        let (task, user, space) = (caller.task, &mut *caller.user, &caller.space);
        match &mut caller.waiting {
            None => Err(Errno::EAGAIN),
            Some(Self::Futex(place)) => {
                let woken = poll_fn(|_| {
                    let found = if place.is_over() { Some(0) } else { None };
                    look(user, found, || task.interrupted())
                });
                match woken.await {
                    // It may have been woken just now.
                    Err(_) if place.give_up() => Ok(0),
                    outcome => outcome,
                }
            }
            Some(Self::Reading { file, seen, buffer }) => {
                let Some(queue) = file.wait_queue() else { return Err(Errno::EAGAIN) };
                on(task, user, queue, Some(*seen), || {
                    let into = Destination::user(space, buffer.base, buffer.length);
                    unless_again(into.and_then(|mut into| file.read(task, &mut into)))
                })
                .await?
            }
        }
    }
}

/// `None` for EAGAIN: to be tried again.
pub fn unless_again<T>(result: Result<T>) -> Option<Result<T>> {
    match result {
        Err(Errno::EAGAIN) => None,
        other => Some(other),
    }
}

/// One look of a wait: gives what was found, or the interruption; else the CPU is about to go to another task.
#[inline(always)]
fn look<T>(user: &mut UserContext, found: Option<T>, interrupted: impl Fn() -> bool) -> Poll<Result<T>> {
    match found {
        Some(value) => Poll::Ready(Ok(value)),
        None if interrupted() => Poll::Ready(Err(Errno::ERESTARTSYS)),
        None => {
            user.park();
            Poll::Pending
        }
    }
}

/// Gives the CPU up for a turn, if another task could use it that this one does not outrank: sched_yield(2).
pub async fn turn(task: &Arc<Task>, user: &mut UserContext) {
    if sched::others_wait() {
        user.park();
        sched::yield_now(task, Place::Back, false).await;
    }
}

/// Sleeps for a moment, in which tasks of any rank run; shorter if the task is to end.
pub async fn moment(task: &Arc<Task>, user: &mut UserContext) {
    const MOMENT: i64 = 1_000_000;
    let end = Deadline::Monotonic(now(HostClock::Monotonic) + MOMENT);
    // Whoever is to end sees to that next.
    let _ = killable(task, user, events::sleep_until(end)).await;
}

/// Lets another task run after an interrupt, if it is not this one's turn any more.
pub async fn end_turn(task: &Arc<Task>, user: &mut UserContext) {
    if sched::others_wait()
        && let Some(place) = sched::turn_ends(task)
    {
        user.park();
        sched::yield_now(task, place, true).await;
    }
}

/// A preemption point, for calls that take long: does for the clock what an interrupt would do while a program runs. (The
/// alternative, a turn for others after each piece of work, gives who takes whole turns nearly all of the CPU, and does
/// not wake those whose time has come.)
pub async fn preemption_point(task: &Arc<Task>, user: &mut UserContext) {
    if clocksource::is_virtual() {
        // Time stands still.
        turn(task, user).await;
    } else if now(HostClock::Monotonic) >= events::alarm() {
        events::alarm_rang();
        sched::attend_interrupts();
        events::program_alarm(true);
        end_turn(task, user).await;
    }
}

async fn unless<F: Future>(
    user: &mut UserContext,
    future: F,
    interrupted: impl Fn() -> bool,
) -> Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let found = match future.as_mut().poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        };
        look(user, found, &interrupted)
    })
    .await
}

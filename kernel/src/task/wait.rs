//! The ways in which a task waits: until something happens, until a signal wants it, until it is too late.
//!
//! Every wait of a system call goes through here, for two reasons. A signal must end it: the task is its own waker, so a
//! signal simply wakes it and the wait looks at [`Task::interrupted`] after the awaited thing did not come. And when the
//! task really has to wait another one will run, so this is where its extended state is put away; a call that finds
//! what it wants at once never pays for that.

use super::{Task, futex, run_queue::Place, sched};
use crate::{
    abi::{Errno, Result},
    arch::{UserContext, UserMode},
    fs::File,
    mm::{
        AddressSpace,
        user::{Destination, IoVector},
    },
    sync::{News, WaitQueue, Watch},
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
    task::{Poll, Waker},
};

/// Waits for `future`, or for a signal that is to be delivered.
///
/// Errors: ERESTARTSYS when a signal came first. The future is asked once more before that is found, so what has
/// happened is never lost to a signal.
pub fn interruptible<F: Future>(
    task: &Task,
    user: &mut UserContext,
    future: F,
) -> impl Future<Output = Result<F::Output>> {
    unless(user, future, || task.interrupted())
}

/// Like [`interruptible`], but only a signal that ends the task ends the wait: for vfork(2), whose caller must not run
/// while the child uses its memory.
pub fn killable<F: Future>(
    task: &Task,
    user: &mut UserContext,
    future: F,
) -> impl Future<Output = Result<F::Output>> {
    unless(user, future, || task.killed())
}

/// Like [`interruptible`], with a deadline: `None` when it has passed first. What has happened wins over a deadline that
/// passed at the same time, and a deadline over a signal.
pub fn until<F: Future>(
    task: &Task,
    user: &mut UserContext,
    deadline: Option<Deadline>,
    future: F,
) -> impl Future<Output = Result<Option<F::Output>>> {
    interruptible(task, user, events::before(deadline, future))
}

/// Like [`interruptible`], until what an object's queue tells of lets `attempt` give something. (The same as waiting for
/// [`WaitQueue::until`], in one future instead of three, and `attempt` is only made when there is something new.)
pub async fn on<T>(
    task: &Task,
    user: &mut UserContext,
    queue: &WaitQueue,
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<T> {
    let mut registration = queue.registration();
    poll_fn(|context| {
        let found = registration.look(context.waker(), &mut attempt);
        look(user, found, || task.interrupted())
    })
    .await
}

/// A wait that the first handler of a call leaves: one of those that many calls come to. The loop that serves the task
/// looks at it itself, and no future is made, kept and gone through for it.
pub enum Waiting {
    /// To be woken from this place: futex(2).
    Futex(futex::Place),
    /// To read something: read(2).
    Reading(Reading),
}

/// A read that found nothing.
pub struct Reading {
    file: Arc<File>,
    buffer: IoVector,
    watch: Watch,
}

impl Waiting {
    /// To read from this file into a buffer in the program's memory. `seen`: how much had happened to the file before the
    /// first attempt.
    pub fn to_read(file: Arc<File>, buffer: IoVector, seen: News) -> Self {
        Self::Reading(Reading { file, buffer, watch: Watch::since(Some(seen)) })
    }

    /// Looks whether it has come; gives what the call does then, or the interruption. Else the CPU is about to go to another
    /// task, and `waker` is woken when it is time for the next look.
    #[inline(always)]
    pub fn look(
        &mut self,
        task: &Arc<Task>,
        user: &mut UserContext,
        space: &AddressSpace,
        waker: &Waker,
    ) -> Poll<Result<usize>> {
        let found = match self {
            Self::Futex(place) => place.is_over().then_some(Ok(0)),
            Self::Reading(reading) => reading.attempt(task, space, waker),
        };
        look(user, found, || task.interrupted()).map(|outcome| match (outcome, self) {
            // It may have been woken just now.
            (Err(interrupted), Self::Futex(place)) => {
                if place.give_up() {
                    Ok(0)
                } else {
                    Err(interrupted)
                }
            }
            (outcome, _) => outcome.flatten(),
        })
    }
}

impl Reading {
    #[inline(always)]
    fn attempt(&mut self, task: &Arc<Task>, space: &AddressSpace, waker: &Waker) -> Option<Result<usize>> {
        let Self { file, buffer, watch } = self;
        watch.look(file.wait_queue()?, waker, || {
            let into = Destination::user(space, buffer.base, buffer.length);
            unless_again(into.and_then(|mut into| file.read_on(task, None, &mut into)))
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.watch.has_place()
            && let Some(queue) = self.file.wait_queue()
        {
            self.watch.leave(queue);
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

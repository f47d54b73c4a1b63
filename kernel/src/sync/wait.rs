//! Waiting for something to become true, as futures.
//!
//! A task's kernel side is one future, and waiting is `.await`: the task gives up the CPU and its place on the kernel
//! stack, and keeps only the few values it needs afterwards. (The usual design, a kernel stack for each task and an
//! assembly switch between them, costs 16 KiB a task, needs a guard page under each, and has to be written again for
//! every machine.)

use super::SpinLock;
use alloc::collections::BTreeMap;
use core::{
    future::poll_fn,
    task::{Poll, Waker},
};

/// Those who wait for one thing to change.
#[derive(Default)]
pub struct WaitQueue {
    /// Taken inside any other lock; nothing is taken inside it.
    waiters: SpinLock<Waiters>,
}

#[derive(Default)]
struct Waiters {
    next: u64,
    /// By order of arrival.
    wakers: BTreeMap<u64, Waker>,
}

impl WaitQueue {
    /// With nobody in it.
    pub const fn new() -> Self {
        Self { waiters: SpinLock::new(Waiters { next: 0, wakers: BTreeMap::new() }) }
    }

    /// Wakes everyone; they look for themselves whether what they wait for has come.
    pub fn wake_all(&self) {
        let wakers = core::mem::take(&mut self.waiters.lock().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    /// A place in the queue, not yet taken.
    pub fn registration(&self) -> Registration<'_> {
        Registration { queue: self, place: None }
    }

    /// Waits until `condition` gives something. It is asked first, and again after every wake-up.
    pub async fn until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        let mut registration = self.registration();
        poll_fn(|context| {
            // Register before looking: what happens in between then wakes us.
            registration.renew(context.waker());
            match condition() {
                Some(value) => Poll::Ready(value),
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// One waiter's place in a [`WaitQueue`]; given up when dropped.
pub struct Registration<'a> {
    queue: &'a WaitQueue,
    place: Option<u64>,
}

impl Registration<'_> {
    /// Takes a place (a new one after having been woken), to be woken through `waker`.
    pub fn renew(&mut self, waker: &Waker) {
        let mut waiters = self.queue.waiters.lock();
        match self.place.and_then(|place| waiters.wakers.get_mut(&place)) {
            Some(present) => present.clone_from(waker),
            None => {
                let place = waiters.next;
                waiters.next += 1;
                waiters.wakers.insert(place, waker.clone());
                self.place = Some(place);
            }
        }
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.queue.waiters.lock().wakers.remove(&place);
        }
    }
}

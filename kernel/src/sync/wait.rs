//! Waiting for something to become true, as futures.
//!
//! A task's kernel side is one future, and waiting is `.await`: the task gives up the CPU and its place on the kernel
//! stack, and keeps only the few values it needs afterwards. (The usual design, a kernel stack for each task and an
//! assembly switch between them, costs 16 KiB a task, needs a guard page under each, and has to be written again for
//! every machine.)

use super::SpinLock;
use alloc::vec::Vec;
use core::{
    future::poll_fn,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    task::{Poll, Waker},
};

/// Those who wait for one thing to change.
#[derive(Default)]
pub struct WaitQueue {
    /// Taken inside any other lock; nothing is taken inside it.
    waiters: SpinLock<Waiters>,
    reading: AtomicU32,
    writing: AtomicU32,
}

#[derive(Default)]
struct Waiters {
    next: u64,
    /// By order of arrival, so that a place is found by halving.
    wakers: Vec<(u64, Waker)>,
}

impl Waiters {
    fn find(&self, Place(place): Place) -> Option<usize> {
        self.wakers.binary_search_by_key(&place, |(place, _)| *place).ok()
    }
}

/// How much has happened at a queue: for those who want to be told of what is new, and not of what is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct News {
    /// Times there was something new to read.
    pub reading: u32,
    /// Times there was new room to write.
    pub writing: u32,
}

impl WaitQueue {
    /// With nobody in it.
    pub const fn new() -> Self {
        Self {
            waiters: SpinLock::new(Waiters { next: 0, wakers: Vec::new() }),
            reading: AtomicU32::new(0),
            writing: AtomicU32::new(0),
        }
    }

    /// Wakes everyone; they look for themselves whether what they wait for has come.
    pub fn wake_all(&self) {
        self.reading.fetch_add(1, Relaxed);
        self.writing.fetch_add(1, Relaxed);
        self.wake();
    }

    /// The same, where there is something new to read and nothing else.
    pub fn wake_readers(&self) {
        self.reading.fetch_add(1, Relaxed);
        self.wake();
    }

    /// The same, where there is new room to write and nothing else.
    pub fn wake_writers(&self) {
        self.writing.fetch_add(1, Relaxed);
        self.wake();
    }

    fn wake(&self) {
        let mut waiters = self.waiters.lock();
        if waiters.wakers.is_empty() {
            return;
        }
        // Nearly always it is one.
        if waiters.wakers.len() == 1 {
            let woken = waiters.wakers.pop();
            drop(waiters);
            return woken.into_iter().for_each(|(_, waker)| waker.wake());
        }
        let woken = core::mem::take(&mut waiters.wakers);
        drop(waiters);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// How much has happened.
    pub fn news(&self) -> News {
        News { reading: self.reading.load(Relaxed), writing: self.writing.load(Relaxed) }
    }

    /// Takes a place, a new one after having been woken, to be woken through `waker`.
    pub fn enter(&self, place: &mut Option<Place>, waker: &Waker) {
        let mut waiters = self.waiters.lock();
        match place.and_then(|place| waiters.find(place)) {
            Some(index) => waiters.wakers[index].1.clone_from(waker),
            None => {
                let new = waiters.next;
                waiters.next += 1;
                waiters.wakers.push((new, waker.clone()));
                *place = Some(Place(new));
            }
        }
    }

    /// Gives a place up.
    pub fn leave(&self, place: Place) {
        let mut waiters = self.waiters.lock();
        let waker = waiters.find(place).map(|index| waiters.wakers.remove(index));
        drop(waiters);
        drop(waker);
    }

    /// A place in the queue, not yet taken.
    pub fn registration(&self) -> Registration<'_> {
        Registration { queue: self, watch: Watch::since(None) }
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

/// One waiter's place in a [`WaitQueue`], which is to be given up there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(u64);

/// One waiter's place in a [`WaitQueue`], and how much he has seen: for those who cannot borrow the queue meanwhile.
pub struct Watch {
    place: Option<Place>,
    seen: Option<News>,
}

impl Watch {
    /// Of one who has no place yet; `seen`: how much had happened before he last looked, if he did.
    pub fn since(seen: Option<News>) -> Self {
        Self { place: None, seen }
    }

    /// Makes the attempt if there is anything new. If it gives nothing, `waker` is woken when there is more.
    #[inline(always)]
    pub fn look<T>(
        &mut self,
        queue: &WaitQueue,
        waker: &Waker,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let mut has_entered = false;
        loop {
            if self.place.is_some()
                && self.has_news(queue)
                && let Some(value) = attempt()
            {
                if !has_entered {
                    // Whoever brought the news takes everybody out of the queue.
                    self.place = None;
                }
                return Some(value);
            }
            if has_entered {
                return None;
            }
            // And look once more: what happens from here on wakes him.
            queue.enter(&mut self.place, waker);
            has_entered = true;
        }
    }

    fn has_news(&mut self, queue: &WaitQueue) -> bool {
        let news = queue.news();
        self.seen.replace(news) != Some(news)
    }

    /// Whether there may be a place to give up.
    pub fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// Gives it up.
    pub fn leave(&mut self, queue: &WaitQueue) {
        if let Some(place) = self.place.take() {
            queue.leave(place);
        }
    }
}

/// One waiter's place in a [`WaitQueue`]; given up when dropped.
pub struct Registration<'a> {
    queue: &'a WaitQueue,
    watch: Watch,
}

impl Registration<'_> {
    /// Takes a place (a new one after having been woken), to be woken through `waker`.
    pub fn renew(&mut self, waker: &Waker) {
        self.queue.enter(&mut self.watch.place, waker);
    }

    /// See [`Watch::look`].
    pub fn look<T>(&mut self, waker: &Waker, attempt: impl FnMut() -> Option<T>) -> Option<T> {
        self.watch.look(self.queue, waker, attempt)
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.watch.leave(self.queue);
    }
}

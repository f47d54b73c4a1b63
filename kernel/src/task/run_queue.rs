//! The queue of tasks that could run: highest rank first, and first come, first served within a rank.
//!
//! It is one list, linked through the tasks, so nothing is allocated to put one in. Nearly always all tasks in it have the
//! same rank, and a task goes to the end; to find its place a real-time task passes those before it only.

use super::Task;
use alloc::sync::Arc;

/// Where in the queue a task goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Behind those of its rank.
    Back,
    /// Before those of its rank: the CPU was taken from it in the midst of its turn.
    Front,
}

/// The queue.
#[derive(Default)]
pub struct RunQueue {
    first: Option<Arc<Task>>,
    last: Option<Arc<Task>>,
}

impl RunQueue {
    /// An empty one.
    pub const fn new() -> Self {
        Self { first: None, last: None }
    }

    /// The rank of the first, and of the last; `None` when there is nobody.
    pub fn first_rank(&self) -> Option<u32> {
        self.first.as_ref().map(|task| task.schedule.rank())
    }

    /// See [`Self::first_rank`].
    pub fn last_rank(&self) -> Option<u32> {
        self.last.as_ref().map(|task| task.schedule.rank())
    }

    /// Puts a task in, which must not be in it.
    pub fn push(&mut self, task: Arc<Task>, place: Place) {
        let is_end = place == Place::Back && self.last_rank().is_none_or(|last| last >= task.schedule.rank());
        match is_end {
            true => self.append(task),
            false => self.insert(task, place),
        }
    }

    #[inline(always)]
    fn append(&mut self, task: Arc<Task>) {
        match self.last.replace(task.clone()) {
            Some(last) => *last.schedule.next.lock() = Some(task),
            None => self.first = Some(task),
        }
    }

    #[cold]
    fn insert(&mut self, task: Arc<Task>, place: Place) {
        let rank = task.schedule.rank();
        let goes_before = |other: &Arc<Task>| other.schedule.rank() + u32::from(place == Place::Back) > rank;
        let mut before: Option<Arc<Task>> = None;
        let mut behind = self.first.clone();
        while let Some(other) = behind.take_if(|other| goes_before(other)) {
            behind = other.schedule.next.lock().clone();
            before = Some(other);
        }
        if behind.is_none() {
            return self.append(task);
        }
        *task.schedule.next.lock() = behind;
        match before {
            Some(before) => *before.schedule.next.lock() = Some(task),
            None => self.first = Some(task),
        }
    }

    /// Takes out the task whose turn it is. `throttled`: whether that is not a real-time task's, while there are others.
    pub fn pop(&mut self, throttled: impl FnOnce() -> bool) -> Option<Arc<Task>> {
        if self.first.as_ref()?.schedule.is_special() {
            self.bring_forward(throttled);
        }
        self.take_first()
    }

    fn take_first(&mut self) -> Option<Arc<Task>> {
        let task = self.first.take()?;
        self.first = task.schedule.next.lock().take();
        if self.first.is_none() {
            self.last = None;
        }
        Some(task)
    }

    /// Passes over those whose turn it is not, for one round at most.
    #[cold]
    fn bring_forward(&mut self, throttled: impl FnOnce() -> bool) {
        let Some(end) = self.last.clone() else { return };
        let throttled = throttled() && end.schedule.rank() == 0;
        loop {
            let Some(first) = &self.first else { return };
            let passes = first.schedule.is_passed_over() || throttled && first.schedule.rank() != 0;
            if !passes || Arc::ptr_eq(first, &end) {
                break;
            }
            if let Some(task) = self.take_first() {
                self.append(task);
            }
        }
        if throttled {
            // The real-time tasks are behind now. Whoever is first stays so, which is all that is wanted.
            let chosen = self.take_first();
            self.sort();
            if let Some(chosen) = chosen {
                self.put_first(chosen);
            }
        }
    }

    fn put_first(&mut self, task: Arc<Task>) {
        let behind = self.first.replace(task.clone());
        if behind.is_none() {
            self.last = Some(task.clone());
        }
        *task.schedule.next.lock() = behind;
    }

    /// Puts all in order again: somebody's rank has changed.
    pub fn sort(&mut self) {
        let mut old = core::mem::take(self);
        while let Some(task) = old.take_first() {
            self.push(task, Place::Back);
        }
    }
}

//! Clocks of processor time, clock_getcpuclockid(3), and waiting for a moment of one.
//!
//! Such a clock stands still while nobody it counts has a CPU, so there is nothing to wait for then. When a task of a
//! process that somebody waits for is given the CPU, the machine's alarm is set for the earliest moment at which the clock
//! could get there; when the task gives the CPU up, it is taken back. A switch to any other task costs one look at a
//! counter, and a trap nothing. (Linux looks at every tick of a running task, which is up to 4 ms late.)
//!
//! One CPU runs, so no clock here is faster than the host's. With several, the time to a process' moment would have to be
//! divided by the number of its threads that run.

use crate::{
    sync::SpinLock,
    task::{Process, Task, sched},
    time::{
        HostClock,
        events::{self, Armed},
        now,
        timer::Moment,
    },
};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    task::Wake,
    vec::Vec,
};
use core::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::Waker,
};

/// What a clock counts.
#[derive(Clone)]
enum Counted {
    /// A process, its threads that have ended too.
    Process(Weak<Process>),
    /// One thread.
    Thread(Weak<Task>),
}

/// A clock of processor time.
#[derive(Clone)]
pub struct ProcessorClock {
    counted: Counted,
    /// Not the time spent in the kernel.
    only_user: bool,
}

impl ProcessorClock {
    /// Of a process.
    pub fn of_process(process: &Arc<Process>, only_user: bool) -> Self {
        Self { counted: Counted::Process(Arc::downgrade(process)), only_user }
    }

    /// Of a thread.
    pub fn of_thread(task: &Arc<Task>, only_user: bool) -> Self {
        Self { counted: Counted::Thread(Arc::downgrade(task)), only_user }
    }

    /// What it shows, in nanoseconds; `None` once what it counts is gone.
    pub fn read(&self) -> Option<i64> {
        let times = match &self.counted {
            Counted::Process(process) => process.upgrade()?.times(),
            Counted::Thread(task) => task.upgrade()?.times(),
        };
        Some(if self.only_user { times.user } else { times.total() } as i64)
    }

    /// Whether it is this thread's.
    pub fn is_of(&self, task: &Arc<Task>) -> bool {
        matches!(&self.counted, Counted::Thread(_)) && self.counts(task)
    }

    /// When it shows `at` nanoseconds.
    pub fn moment(&self, at: i64) -> ProcessorMoment {
        ProcessorMoment { clock: self.clone(), at }
    }

    fn process(&self) -> Option<Arc<Process>> {
        match &self.counted {
            Counted::Process(process) => process.upgrade(),
            Counted::Thread(task) => task.upgrade().map(|task| task.process().clone()),
        }
    }

    /// Whether it runs while this task does, which is one of its process.
    fn counts(&self, task: &Arc<Task>) -> bool {
        match &self.counted {
            Counted::Process(_) => true,
            Counted::Thread(counted) => core::ptr::eq(counted.as_ptr(), Arc::as_ptr(task)),
        }
    }
}

/// A moment on a clock of processor time.
#[derive(Clone)]
pub struct ProcessorMoment {
    clock: ProcessorClock,
    at: i64,
}

impl Moment for ProcessorMoment {
    type Alarm = Option<Place>;

    fn distance(&self) -> i64 {
        self.clock.read().map_or(i64::MAX, |now| self.at.saturating_sub(now))
    }

    fn later(&self, by: i64) -> Self {
        Self { at: self.at.saturating_add(by), ..self.clone() }
    }

    fn alarm(&self, waker: &Waker) -> Option<Place> {
        let process = self.clock.process()?;
        let place = process.alarms.enter(self.clone(), waker.clone());
        if let Some(task) = sched::current()
            && Arc::ptr_eq(task.process(), &process)
        {
            process.alarms.program(&task);
        }
        Some(Place { process: Arc::downgrade(&process), place })
    }
}

/// Who waits for moments of the clocks of one process and its threads.
#[derive(Default)]
pub struct Alarms {
    /// How many: seen without the lock.
    count: AtomicUsize,
    /// A process' state and the queue of deadlines are taken inside it.
    queue: SpinLock<Queue>,
}

#[derive(Default)]
struct Queue {
    next_place: u64,
    waiting: BTreeMap<u64, (ProcessorMoment, Waker)>,
    /// While a task of the process has the CPU: the earliest time at which one of the moments could have come.
    ringing: Option<Armed>,
}

/// So long, in nanoseconds, a program gets on at least between two looks at its clocks.
const SHORTEST: i64 = 50_000;

impl Alarms {
    fn enter(&self, moment: ProcessorMoment, waker: Waker) -> u64 {
        let mut queue = self.queue.lock();
        let place = queue.next_place;
        queue.next_place += 1;
        queue.waiting.insert(place, (moment, waker));
        self.count.store(queue.waiting.len(), Relaxed);
        place
    }

    fn leave(&self, place: u64) {
        let mut queue = self.queue.lock();
        let left = queue.waiting.remove(&place);
        self.count.store(queue.waiting.len(), Relaxed);
        if queue.waiting.is_empty() {
            queue.ringing = None;
        }
        drop(queue);
        drop(left);
    }

    /// Called when a task of the process is given the CPU.
    pub fn resumed(&self, task: &Arc<Task>) {
        if self.count.load(Relaxed) != 0 {
            self.program(task);
        }
    }

    /// Called when it gives the CPU up.
    pub fn paused(&self) {
        if self.count.load(Relaxed) != 0 {
            self.queue.lock().ringing = None;
        }
    }

    /// Sets the alarm for the first moment that can come while `task` runs.
    #[cold]
    fn program(&self, task: &Arc<Task>) {
        let mut queue = self.queue.lock();
        let moments = queue.waiting.values().map(|(moment, _)| moment);
        let first = moments.filter(|moment| moment.clock.counts(task)).map(Moment::distance).min();
        queue.ringing = first.map(|distance| {
            let moment = now(HostClock::Monotonic).saturating_add(distance.max(SHORTEST));
            events::arm(moment, Arc::new(Bell(Arc::downgrade(task))).into())
        });
    }

    /// Wakes those whose moment has come.
    fn ring(&self, task: &Arc<Task>) {
        let due: Vec<(ProcessorMoment, Waker)> = {
            let mut queue = self.queue.lock();
            queue.ringing = None;
            let due = queue.waiting.extract_if(.., |_, (moment, _)| moment.distance() <= 0);
            let due = due.map(|(_, due)| due).collect();
            self.count.store(queue.waiting.len(), Relaxed);
            due
        };
        due.into_iter().for_each(|(_, waker)| waker.wake());
        if task.schedule.is_running() {
            self.resumed(task);
        }
    }
}

/// Wakes who waits for moments of the processor clocks that run while this task does.
struct Bell(Weak<Task>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(task) = self.0.upgrade() {
            task.process().alarms.ring(&task);
        }
    }
}

/// A place among those who wait; given up when dropped.
pub struct Place {
    process: Weak<Process>,
    place: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(process) = self.process.upgrade() {
            process.alarms.leave(self.place);
        }
    }
}

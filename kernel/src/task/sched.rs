//! Who runs: tasks that can go on wait in a queue, and each is polled until it has to wait or its time slice is over.
//!
//! A task is a future, so switching to another is returning from one `poll` and calling the next, all on the CPU's one
//! kernel stack. What makes a task runnable is being woken, and its waker is the task itself: the queue is a list linked
//! through the tasks, so waking allocates nothing and cannot fail.
//!
//! The order is round robin: whoever is woken goes to the end, and a timer tick (4 ms) takes the CPU from a program when
//! others wait. Policies and priorities, sched(7), are kept and reported but change nothing: with a queue this short in
//! practice, what they would buy does not pay for the room they take.

use super::Task;
use crate::{
    abi::linux,
    arch::{Hardware, Interrupts, MAX_CPUS, Machine},
    fs::console,
    sync::{PerCpu, SpinLock},
    time::{self, clocksource, events, virtual_time},
    trace::events::{Event, record},
};
use alloc::{boxed::Box, sync::Arc, task::Wake};
use core::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

/// A task's kernel side.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the scheduler keeps in each task.
#[derive(Default)]
pub struct Schedule {
    /// What it does; `None` before it starts and after it has ended. Held while it is polled, so outside everything.
    work: SpinLock<Option<Work>>,
    /// It is in the queue.
    queued: AtomicBool,
    /// It is being polled.
    running: AtomicBool,
    /// It has come to a halt because its process was stopped.
    stopped: AtomicBool,
    /// The task behind it in the queue. Taken inside the queue's lock.
    next: SpinLock<Option<Arc<Task>>>,
    /// It is about to give the CPU up because it was told to, not because it has to wait.
    preempted: AtomicBool,
    /// Times it gave the CPU up.
    voluntary_switches: AtomicU64,
    /// Times the CPU was taken from it.
    involuntary_switches: AtomicU64,
}

impl Schedule {
    /// Whether it has a CPU now.
    pub fn is_running(&self) -> bool {
        self.running.load(Relaxed)
    }

    /// Whether it has a CPU or wants one.
    pub fn is_runnable(&self) -> bool {
        self.is_running() || self.queued.load(Relaxed)
    }

    /// Whether it has come to a halt because its process was stopped.
    pub fn has_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    pub(super) fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped, Relaxed);
    }

    /// How often it gave the CPU up, and how often it was taken.
    pub fn switches(&self) -> (u64, u64) {
        (self.voluntary_switches.load(Relaxed), self.involuntary_switches.load(Relaxed))
    }
}

/// The tasks that could run. Taken inside any other lock; inside it only a task's `next` is.
static QUEUE: SpinLock<Queue> = SpinLock::new(Queue { first: None, last: None });
/// How many there are in it: to be seen without the lock.
static WAITING: AtomicUsize = AtomicUsize::new(0);

struct Queue {
    first: Option<Arc<Task>>,
    last: Option<Arc<Task>>,
}

impl Queue {
    fn push(&mut self, task: Arc<Task>) {
        match self.last.replace(task.clone()) {
            Some(last) => *last.schedule.next.lock() = Some(task),
            None => self.first = Some(task),
        }
        WAITING.fetch_add(1, Relaxed);
    }

    fn pop(&mut self) -> Option<Arc<Task>> {
        let task = self.first.take()?;
        self.first = task.schedule.next.lock().take();
        if self.first.is_none() {
            self.last = None;
        }
        WAITING.fetch_sub(1, Relaxed);
        Some(task)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        wake(self);
    }
}

/// Makes a task look again at what it waits for.
pub fn wake(task: &Arc<Task>) {
    if !task.schedule.queued.swap(true, Relaxed) {
        QUEUE.lock().push(task.clone());
    }
}

/// Gives a new task its work, and the CPU when it is its turn.
pub fn start(task: &Arc<Task>, work: Work) {
    *task.schedule.work.lock() = Some(work);
    wake(task);
}

/// Whether some other task could run now.
pub fn others_wait() -> bool {
    WAITING.load(Relaxed) != 0
}

/// Gives the CPU up, if another task could use it. `involuntarily`: because it was taken away.
pub async fn yield_now(task: &Arc<Task>, involuntarily: bool) {
    let mut yielded = false;
    poll_fn(|_| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        task.schedule.preempted.store(involuntarily, Relaxed);
        wake(task);
        Poll::Pending
    })
    .await;
}

/// The task each CPU runs, for a panic to name it.
static CURRENT: PerCpu<SpinLock<Option<Arc<Task>>>> = PerCpu::new([const { SpinLock::new(None) }; MAX_CPUS]);
/// Cycles all CPUs together spent idle.
static IDLE_CYCLES: AtomicU64 = AtomicU64::new(0);
/// How often a CPU went from one task to another.
static SWITCHES: AtomicU64 = AtomicU64::new(0);

/// The task this CPU runs, if there is one. For a panic, it does not wait to find out.
pub fn current() -> Option<Arc<Task>> {
    CURRENT.get().try_lock().and_then(|task| task.clone())
}

/// What the scheduler knows of the whole system, for proc(5).
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    /// Tasks that have a CPU or want one.
    pub runnable: usize,
    /// How often a CPU went from one task to another.
    pub switches: u64,
    /// Nanoseconds all CPUs together spent idle.
    pub idle: u64,
}

/// As of now.
pub fn statistics() -> Statistics {
    let running = CURRENT.all().filter(|task| task.try_lock().is_none_or(|task| task.is_some())).count();
    Statistics {
        runnable: WAITING.load(Relaxed) + running,
        switches: SWITCHES.load(Relaxed),
        idle: super::cpu_time::nanoseconds(IDLE_CYCLES.load(Relaxed)),
    }
}

/// Runs tasks, for as long as the machine does.
pub fn run() -> ! {
    loop {
        let next = QUEUE.lock().pop();
        match next {
            Some(task) => poll(task),
            None => idle(),
        }
    }
}

fn poll(task: Arc<Task>) {
    SWITCHES.fetch_add(1, Relaxed);
    // Only from here on do wake-ups count for the next time.
    task.schedule.queued.store(false, Relaxed);
    *CURRENT.get().lock() = Some(task.clone());
    task.schedule.running.store(true, Relaxed);
    task.cpu_time.resumed();
    task.process().alarms.resumed(&task);
    events::program_alarm(true);
    if clocksource::is_virtual() {
        record(clocksource::cycles(), task.id(), Event::Runs);
        virtual_time::watch();
    }

    let waker = Waker::from(task.clone());
    let mut work = task.schedule.work.lock();
    let ended = match work.as_mut() {
        Some(future) => future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready(),
        None => false,
    };
    let finished = if ended { work.take() } else { None };
    drop(work);
    // What the task held is dropped when no lock is.
    drop(finished);

    let switches = match task.schedule.preempted.swap(false, Relaxed) {
        true => &task.schedule.involuntary_switches,
        false => &task.schedule.voluntary_switches,
    };
    switches.fetch_add(1, Relaxed);
    task.cpu_time.paused();
    task.process().alarms.paused();
    task.schedule.running.store(false, Relaxed);
    *CURRENT.get().lock() = None;
}

fn idle() {
    events::program_alarm(false);
    let before = clocksource::cycles();
    // In virtual time nobody waits for a clock.
    if !(clocksource::is_virtual() && virtual_time::jump()) {
        Hardware::idle();
    }
    IDLE_CYCLES.fetch_add(clocksource::cycles().saturating_sub(before), Relaxed);
    attend_interrupts();
}

/// Does what devices and the clock have asked for. Gives whether the task that was interrupted should let others run: in
/// virtual time a device does not end its time slice.
pub fn attend_interrupts() -> bool {
    let interrupts = Hardware::take_interrupts();
    let alarm = interrupts.contains(Interrupts::ALARM);
    let slice_over = if clocksource::is_virtual() {
        alarm && virtual_time::watchdog_rang()
    } else {
        if alarm {
            events::alarm_rang();
        }
        true
    };
    time::interrupt();
    if interrupts.contains(Interrupts::CONSOLE) {
        console::receive();
    }
    if interrupts.contains(Interrupts::LOSS) {
        super::exit::end_lost();
    }
    slice_over
}

/// How a task is to be scheduled, sched(7): what sched_setscheduler(2) and setpriority(2) set and others read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// SCHED_OTHER, SCHED_FIFO …
    pub policy: u32,
    /// 1 to 99 for the real-time policies, else 0.
    pub priority: u32,
    /// -20 to 19; lower is more.
    pub nice: i32,
    /// SCHED_RESET_ON_FORK
    pub reset_on_fork: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { policy: linux::SCHED_NORMAL, priority: 0, nice: 0, reset_on_fork: false }
    }
}

impl Policy {
    /// What a new task inherits.
    pub fn for_new_task(self) -> Self {
        match self.reset_on_fork {
            true if self.is_real_time() || self.nice < 0 => Self::default(),
            true => Self { reset_on_fork: false, ..self },
            false => self,
        }
    }

    /// SCHED_FIFO or SCHED_RR.
    pub fn is_real_time(self) -> bool {
        matches!(self.policy, linux::SCHED_FIFO | linux::SCHED_RR)
    }
}

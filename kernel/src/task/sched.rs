//! Who runs: tasks that can go on wait in a queue, and each is polled until it has to wait or its time slice is over.
//!
//! A task is a future, so switching to another is returning from one `poll` and calling the next, all on the CPU's one
//! kernel stack. What makes a task runnable is being woken, and its waker is the task itself: the queue is a list linked
//! through the tasks, so waking allocates nothing and cannot fail.
//!
//! The order is by rank ([`Policy::rank`]): a real-time task runs before every task of a lower rank, and takes the CPU when
//! it is woken, at the latest when the program that has it would go on. Within a rank the order is round robin: whoever is
//! woken goes to the end, and a timer tick (4 ms) takes the CPU from a program when others wait, except with SCHED_FIFO.
//! Nice values make slices longer, or have a task passed over for some rounds after a slice.
//!
//! Real-time programs that never wait leave others 50 ms of each second, as Linux' do: somebody has to be able to end
//! them. A task that holds a lock for which others wait has the highest of their ranks: [`inherit`].

use super::{
    Task, attention,
    policy::Policy,
    run_queue::{Place, RunQueue},
};
use crate::{
    arch::{Hardware, Interrupts, MAX_CPUS, Machine},
    fs::console,
    sync::{PerCpu, SpinLock},
    time::{self, TICK, clocksource, events, timekeeper, virtual_time},
    trace::events::{Event, record},
};
use alloc::{boxed::Box, sync::Arc, task::Wake};
use core::{
    cmp::Ordering::{Equal, Greater, Less},
    future::{Future, poll_fn},
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

/// A task's kernel side.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the scheduler keeps in each task.
#[derive(Default)]
pub struct Schedule {
    /// What it does, and the task as its waker, which is thus made once; `None` before it starts and after it has ended. Held
    /// while it is polled, so outside everything.
    work: SpinLock<Option<(Work, Waker)>>,
    /// It is in the queue.
    queued: AtomicBool,
    /// It is being polled.
    running: AtomicBool,
    /// It has come to a halt because its process was stopped.
    stopped: AtomicBool,
    /// The task behind it in the queue. Taken inside the queue's lock.
    pub(super) next: SpinLock<Option<Arc<Task>>>,
    /// Its rank, and in the lower half for how many rounds it is passed over: one word, as it is 0 for most.
    standing: AtomicU32,
    /// The rank that others lend it; 0 for none.
    inherited: AtomicU32,
    /// Ticks it has had of its slice.
    ticks: AtomicU32,
    /// It is about to give the CPU up because it was told to, not because it has to wait.
    preempted: AtomicBool,
    /// Times it gave the CPU up.
    voluntary_switches: AtomicU64,
    /// Times the CPU was taken from it.
    involuntary_switches: AtomicU64,
}

/// The half of [`Schedule`]'s standing that is the rank.
const RANK_SHIFT: u32 = 16;

impl Schedule {
    /// That of a task with this policy.
    pub fn new(policy: Policy) -> Self {
        Self { standing: AtomicU32::new(policy.rank() << RANK_SHIFT), ..Self::default() }
    }

    /// Its policy's rank, or a higher one that it inherits.
    pub fn rank(&self) -> u32 {
        self.standing.load(Relaxed) >> RANK_SHIFT
    }

    /// Whether it is a real-time task or one to be passed over.
    pub fn is_special(&self) -> bool {
        self.standing.load(Relaxed) != 0
    }

    /// Whether it is to be passed over this time.
    pub fn is_passed_over(&self) -> bool {
        let passed = |standing: u32| (0 < standing && standing < 1 << RANK_SHIFT).then(|| standing - 1);
        self.standing.fetch_update(Relaxed, Relaxed, passed).is_ok()
    }

    /// Whether it has its rank from others.
    pub fn inherits(&self) -> bool {
        self.inherited.load(Relaxed) != 0
    }

    fn set_standing(&self, policy: Policy, rounds: u32) {
        let rank = policy.rank().max(self.inherited.load(Relaxed));
        self.standing.store(rank << RANK_SHIFT | rounds, Relaxed);
    }

    /// Counts a tick; true when that ends the slice.
    fn ends_slice(&self, policy: Policy) -> bool {
        let share = policy.share();
        if self.ticks.fetch_add(1, Relaxed) + 1 < share.ticks {
            return false;
        }
        self.ticks.store(0, Relaxed);
        self.set_standing(policy, share.rounds_without);
        true
    }

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
static QUEUE: SpinLock<RunQueue> = SpinLock::new(RunQueue::new());
/// How many there are in it: to be seen without the lock.
static WAITING: AtomicUsize = AtomicUsize::new(0);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let rank = self.schedule.rank();
        if enqueue(self, Place::Back) && rank != 0 {
            interrupt_current();
        }
    }
}

/// Makes a task look again at what it waits for.
pub fn wake(task: &Arc<Task>) {
    task.clone().wake();
}

/// False: it was in the queue already.
fn enqueue(task: Arc<Task>, place: Place) -> bool {
    let is_new = !task.schedule.queued.swap(true, Relaxed);
    if is_new {
        QUEUE.lock().push(task, place);
        WAITING.fetch_add(1, Relaxed);
    }
    is_new
}

/// Has the task that runs look whether it is still its turn, before its program goes on.
#[cold]
fn interrupt_current() {
    if let Some(current) = current() {
        current.attention.set(attention::TURN);
    }
}

/// Brings a task's place in line with its policy, which has changed.
pub fn policy_changed(task: &Task, policy: Policy) {
    let mut queue = QUEUE.lock();
    task.schedule.set_standing(policy, 0);
    queue.sort();
    drop(queue);
    interrupt_current();
}

/// Lends a task the rank of others, who wait for it; 0 takes back what was lent. Tells whether its rank has changed.
pub fn inherit(task: &Task, rank: u32) -> bool {
    let schedule = &task.schedule;
    let before = schedule.rank();
    if schedule.inherited.swap(rank, Relaxed) != rank {
        policy_changed(task, task.policy());
    }
    schedule.rank() != before
}

/// Gives a new task its work, and the CPU when it is its turn.
pub fn start(task: &Arc<Task>, work: Work) {
    *task.schedule.work.lock() = Some((work, task.clone().into()));
    wake(task);
}

/// Whether some other task could run now.
pub fn others_wait() -> bool {
    WAITING.load(Relaxed) != 0
}

/// Whether a task that waits has a higher rank than this one, which runs.
pub fn is_outranked(task: &Task) -> bool {
    !is_throttled() && QUEUE.lock().first_rank().is_some_and(|rank| rank > task.schedule.rank())
}

/// After an interrupt: the place to which the task that runs must go, as others wait; `None`: it goes on.
pub fn turn_ends(task: &Task) -> Option<Place> {
    let rank = task.schedule.rank();
    let queue = QUEUE.lock();
    let (first, last) = queue.first_rank().zip(queue.last_rank())?;
    drop(queue);
    let throttled = count_real_time(rank, last);
    match first.cmp(&rank) {
        Greater if !throttled => Some(Place::Front),
        _ if throttled && rank != 0 => Some(Place::Front),
        Less => None,
        // While real-time tasks have to wait, the others have turns among themselves.
        Equal | Greater => {
            let policy = task.policy();
            let has_slices = policy.has_slices() && !task.schedule.inherits();
            (has_slices && task.schedule.ends_slice(policy)).then_some(Place::Back)
        }
    }
}

/// Ticks that real-time tasks had while others waited; from [`REAL_TIME_LIMIT`] up to a second's, it is the others' turn.
static REAL_TIME_TICKS: AtomicU32 = AtomicU32::new(0);
const REAL_TIME_LIMIT: u32 = (SECOND / TICK * 95 / 100) as u32;
const SECOND: i64 = 1_000_000_000;

/// The tick after the last one that was counted: interrupts come in between, too.
static NEXT_TICK: AtomicI64 = AtomicI64::new(0);

/// Counts a tick, if there was one, of a task of this rank; gives whether it is the others' turn. `last`: the lowest rank
/// that waits.
fn count_real_time(rank: u32, last: u32) -> bool {
    let next_tick = timekeeper::next_tick();
    if NEXT_TICK.swap(next_tick, Relaxed) == next_tick {
        return is_throttled();
    }
    let before = REAL_TIME_TICKS.load(Relaxed);
    let now = match before >= REAL_TIME_LIMIT {
        _ if rank != 0 && last != 0 => 0,
        false if rank == 0 => 0,
        true if before as i64 >= SECOND / TICK => 0,
        _ => before + 1,
    };
    REAL_TIME_TICKS.store(now, Relaxed);
    now >= REAL_TIME_LIMIT
}

fn is_throttled() -> bool {
    REAL_TIME_TICKS.load(Relaxed) >= REAL_TIME_LIMIT
}

/// Gives the CPU up, if another task could use it, and goes to this place. `involuntarily`: because it was taken away.
pub async fn yield_now(task: &Arc<Task>, place: Place, involuntarily: bool) {
    let mut yielded = false;
    poll_fn(|_| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        task.schedule.preempted.store(involuntarily, Relaxed);
        enqueue(task.clone(), place);
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
    let mut was_idle = true;
    loop {
        let next = QUEUE.lock().pop(is_throttled);
        match next {
            Some(task) => {
                WAITING.fetch_sub(1, Relaxed);
                // From then on there are ticks.
                if core::mem::take(&mut was_idle) {
                    events::program_alarm(true);
                }
                poll(task);
            }
            None => {
                drop(CURRENT.get().replace(None));
                idle();
                was_idle = true;
            }
        }
    }
}

fn poll(task: Arc<Task>) {
    SWITCHES.fetch_add(1, Relaxed);
    // Only from here on do wake-ups count for the next time.
    task.schedule.queued.store(false, Relaxed);
    drop(CURRENT.get().replace(Some(task.clone())));
    task.schedule.running.store(true, Relaxed);
    task.cpu_time.resumed();
    task.process().alarms.resumed(&task);
    if clocksource::is_virtual() {
        record(clocksource::cycles(), task.id(), Event::Runs);
        virtual_time::watch();
    }

    let mut work = task.schedule.work.lock();
    let ended = match work.as_mut() {
        Some((future, waker)) => future.as_mut().poll(&mut Context::from_waker(waker)).is_ready(),
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

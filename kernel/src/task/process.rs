//! A process: what all threads of a thread group have in common, clone(2) CLONE_THREAD.
//!
//! Numbers first, then what is shared, then the one lock that orders its life: threads come and go, signals are sent to
//! it, it stops, it ends and becomes a zombie until its parent has waited for it.

use super::{
    Task, attention,
    cpu_time::{Times, Usage},
    limits::{Limit, Limits, Resource, UNLIMITED},
    privacy::Privacy,
    signal::Pending,
    status::Status,
    timers::{
        interval::{IntervalTimer, Which},
        limit::ProcessorLimit,
        posix::PosixTimers,
        processor::Alarms,
    },
};
use crate::{
    abi::{Signal, SignalSet, TaskId},
    fs::{File, Path},
    ns::user::UserNamespace,
    sync::{Once, SpinLock, WaitQueue},
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// A process.
pub struct Process {
    id: TaskId,
    /// Copies of what [`super::kinship::Kinship`] says, to be read without the table's lock; it writes them.
    pub(super) parent: AtomicU32,
    pub(super) group: AtomicU32,
    pub(super) session: AtomicU32,
    /// What its parent is sent when it ends: a signal's number, 0 for nothing, or any other byte legacy clone was given.
    pub(super) exit_signal: AtomicU32,
    /// It has executed a program since it was made: setpgid(2) is no longer its parent's business.
    pub(super) has_executed: AtomicBool,
    /// Its program will use private barriers: membarrier(2).
    pub(super) uses_barriers: AtomicBool,
    /// PR_SET_CHILD_SUBREAPER: its descendants' orphans become its children.
    pub(super) is_subreaper: AtomicBool,
    /// Who may look into its memory; shared by whoever shares that. Nothing is taken inside it.
    privacy: SpinLock<Arc<Privacy>>,
    /// setitimer(2): made when they are first set.
    interval_timers: [Once<Arc<IntervalTimer>>; Which::COUNT],
    /// RLIMIT_CPU: made when there is such a limit.
    processor_limit: Once<Arc<ProcessorLimit>>,
    /// timer_create(2). Nothing is taken inside it.
    pub(super) timers: SpinLock<PosixTimers>,
    /// Who waits for a moment of its processor time, or of one of its threads'.
    pub(super) alarms: Alarms,
    start_time: i64,
    /// Nothing is taken inside it.
    limits: SpinLock<Limits>,
    /// Which file it executes. Nothing is taken inside it.
    executable: SpinLock<Option<Arc<File>>>,
    /// Taken inside the table's lock; inside it are taken a task's `signals` and the run queue's lock.
    pub(super) state: SpinLock<State>,
    /// Woken when a child has ended, stopped or gone on, for wait4(2).
    pub(super) child_events: WaitQueue,
    /// Woken when a thread has ended, for execve(2), and when it is a zombie, for a pidfd's poll(2).
    pub(super) events: WaitQueue,
}

/// How far a process has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Its threads run.
    Running,
    /// Every thread is to end, and then it has this status.
    Ending(Status),
    /// All threads have ended; it remains until it is waited for.
    Zombie(Status),
}

/// A stop by SIGSTOP or its like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop {
    /// Which signal.
    pub signal: Signal,
    /// Whether every thread has come to a halt, and the parent was told.
    pub complete: bool,
}

/// What the parent has not yet been told by wait4(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reports {
    /// It was stopped by this signal.
    pub stopped: Option<Signal>,
    /// It was continued.
    pub continued: bool,
}

/// What the process' lock guards.
pub struct State {
    /// Threads that have not ended, by number.
    pub threads: BTreeMap<TaskId, Arc<Task>>,
    /// Signals sent to the process as a whole.
    pub pending: Pending,
    /// How far it has come.
    pub life: Life,
    /// The stop it is in, if any.
    pub stop: Option<Stop>,
    /// How many times SIGCONT was sent to it: a stop that was decided upon before one must not begin after it.
    pub continues: u64,
    /// What wait4(2) will report.
    pub reports: Reports,
    /// What threads that have ended had used.
    pub ended: Usage,
    /// What children that were waited for had used.
    pub children: Usage,
}

/// What a new process begins with.
pub struct ProcessBeginning {
    /// Its number.
    pub id: TaskId,
    /// What its parent is sent when it ends.
    pub exit_signal: u32,
    /// Host boottime, in nanoseconds.
    pub start_time: i64,
}

impl Process {
    /// The first one.
    pub fn first(beginning: ProcessBeginning, limits: Limits) -> Self {
        Self::with(beginning, limits, None, Arc::new(Privacy::new(true, UserNamespace::initial())))
    }

    /// One made by `maker`, in the same memory or in a copy of it.
    pub fn made_by(maker: &Process, beginning: ProcessBeginning, shares_memory: bool) -> Self {
        let privacy = maker.privacy();
        let privacy = if shares_memory { privacy } else { Arc::new(privacy.fork()) };
        Self::with(beginning, *maker.limits.lock(), maker.executable.get(), privacy)
    }

    fn with(
        beginning: ProcessBeginning,
        limits: Limits,
        executable: Option<Arc<File>>,
        privacy: Arc<Privacy>,
    ) -> Self {
        let ProcessBeginning { id, exit_signal, start_time } = beginning;
        Self {
            id,
            parent: AtomicU32::new(0),
            group: AtomicU32::new(0),
            session: AtomicU32::new(0),
            exit_signal: AtomicU32::new(exit_signal),
            has_executed: AtomicBool::new(false),
            uses_barriers: AtomicBool::new(false),
            is_subreaper: AtomicBool::new(false),
            privacy: SpinLock::new(privacy),
            interval_timers: Default::default(),
            processor_limit: Once::new(),
            timers: SpinLock::default(),
            alarms: Alarms::default(),
            start_time,
            limits: SpinLock::new(limits),
            executable: SpinLock::new(executable),
            state: SpinLock::new(State {
                threads: BTreeMap::new(),
                pending: Pending::default(),
                life: Life::Running,
                stop: None,
                continues: 0,
                reports: Reports::default(),
                ended: Usage::default(),
                children: Usage::default(),
            }),
            child_events: WaitQueue::new(),
            events: WaitQueue::new(),
        }
    }

    /// Its number, getpid(2).
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Its parent's number, getppid(2); 0 for init.
    pub fn parent_id(&self) -> TaskId {
        self.parent.load(Relaxed)
    }

    /// Its process group, getpgid(2).
    pub fn group_id(&self) -> TaskId {
        self.group.load(Relaxed)
    }

    /// Its session, getsid(2).
    pub fn session_id(&self) -> TaskId {
        self.session.load(Relaxed)
    }

    /// What its parent is sent when it ends: a signal's number, 0 for nothing, or any byte that legacy clone was given.
    pub fn exit_signal(&self) -> u32 {
        self.exit_signal.load(Relaxed)
    }

    /// Whether it is the one that must not end, and that no signal without a handler harms.
    pub fn is_init(&self) -> bool {
        self.id == super::kinship::INIT
    }

    /// When it was made, as host boottime in nanoseconds.
    pub fn start_time(&self) -> i64 {
        self.start_time
    }

    /// Who may look into its memory.
    pub fn privacy(&self) -> Arc<Privacy> {
        self.privacy.get()
    }

    pub(super) fn set_privacy(&self, privacy: Privacy) {
        drop(self.privacy.replace(Arc::new(privacy)));
    }

    /// PR_GET_CHILD_SUBREAPER
    pub fn is_subreaper(&self) -> bool {
        self.is_subreaper.load(Relaxed)
    }

    /// PR_SET_CHILD_SUBREAPER
    pub fn set_subreaper(&self, wanted: bool) {
        self.is_subreaper.store(wanted, Relaxed);
    }

    /// Whether it said that it will use private barriers, membarrier(2).
    pub fn is_registered_for_barriers(&self) -> bool {
        self.uses_barriers.load(Relaxed)
    }

    /// Says so.
    pub fn register_for_barriers(&self) {
        self.uses_barriers.store(true, Relaxed);
    }

    /// Its first thread, which other threads' ends do not concern; `None` once it was waited for.
    pub fn leader(&self) -> Option<Arc<Task>> {
        super::table::task(self.id)
    }

    /// Its threads that have not ended, by number.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        self.state.lock().threads.values().cloned().collect()
    }

    /// The first of its threads that have not ended, in whose name things asked of the process are done.
    pub fn any_thread(&self) -> Option<Arc<Task>> {
        self.state.lock().threads.values().next().cloned()
    }

    /// How many threads have not ended.
    pub fn thread_count(&self) -> usize {
        self.state.lock().threads.len()
    }

    /// Whether all its threads have ended.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state.lock().life, Life::Zombie(_))
    }

    /// Its status once it is a zombie.
    pub fn zombie_status(&self) -> Option<Status> {
        match self.state.lock().life {
            Life::Zombie(status) => Some(status),
            _ => None,
        }
    }

    /// One of its three timers, setitimer(2).
    pub fn interval_timer(self: &Arc<Self>, which: Which) -> &IntervalTimer {
        self.interval_timers[which as usize].call_once(|| IntervalTimer::new(self, which))
    }

    /// Called when a SIGALRM sent to it was taken.
    pub(super) fn alarm_taken(&self) {
        if let Some(timer) = self.interval_timers[Which::Real as usize].get() {
            timer.signal_taken();
        }
    }

    /// A resource limit.
    pub fn limit(&self, resource: Resource) -> Limit {
        self.limits.lock().get(resource)
    }

    /// All limits.
    pub fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    /// Sets one.
    pub fn set_limit(self: &Arc<Self>, resource: Resource, limit: Limit) {
        self.limits.lock().set(resource, limit);
        if resource == Resource::CPU {
            self.watch_processor_limit();
        }
    }

    /// Has its processor time watched if it is limited.
    pub(super) fn watch_processor_limit(self: &Arc<Self>) {
        let limit = self.limit(Resource::CPU);
        if limit.soft != UNLIMITED || self.processor_limit.is_completed() {
            self.processor_limit.call_once(|| ProcessorLimit::new(self)).watch(limit);
        }
    }

    /// Which file it executes; `None` for what never executed one.
    pub fn executable(&self) -> Option<Path> {
        self.executable.get().map(|file| file.path().clone())
    }

    /// Keeps the file open as one that is executed, so that nobody writes it.
    pub(super) fn set_executable(&self, file: Option<Arc<File>>) {
        drop(self.executable.replace(file));
    }

    /// Processor time of all its threads, those that have ended too.
    pub fn times(&self) -> Times {
        self.usage().times
    }

    /// What all its threads have used, those that have ended too.
    pub fn usage(&self) -> Usage {
        let state = self.state.lock();
        let mut usage = state.ended;
        for thread in state.threads.values() {
            usage += thread.usage();
        }
        usage
    }

    /// What its children that were waited for had used.
    pub fn child_usage(&self) -> Usage {
        self.state.lock().children
    }

    /// Makes every thread end, and the process with this status; the first to do so decides it. Init does not end.
    pub fn end(&self, status: Status) {
        self.state.lock().end(status);
    }
}

impl State {
    /// [`Process::end`], for whoever holds the lock.
    pub fn end(&mut self, status: Status) {
        if self.life == Life::Running {
            self.life = Life::Ending(status);
            self.stop = None;
            self.kill_threads_except(0);
        }
    }

    /// Makes every thread but one end.
    pub fn kill_threads_except(&self, survivor: TaskId) {
        for (&id, thread) in &self.threads {
            if id != survivor {
                thread.attention.set(attention::KILLED);
                super::sched::wake(thread);
            }
        }
    }

    /// Forgets pending signals, the threads' too.
    pub fn discard(&mut self, signals: SignalSet) {
        self.pending.discard(signals);
        for thread in self.threads.values() {
            thread.signals.lock().pending.discard(signals);
        }
    }
}

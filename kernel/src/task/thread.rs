//! One task: a thread of control with everything that is its own or that it holds a share of, clone(2).
//!
//! What several tasks may share is in an `Arc` of its own (memory, files, root and working directory, signal actions,
//! namespaces), so every mixture of clone's flags is just a choice between cloning the `Arc` and copying what is in it.
//! What all threads of a process have in common is in [`Process`].

use super::{
    attention::Attention,
    cpu_time::{CpuTime, Times, Usage},
    execve::memory_limits,
    futex,
    limits::Membership,
    name::Name,
    policy::Policy,
    process::Process,
    sched::{self, Schedule},
    serve::Restart,
    signal::{Action, Actions, ThreadSignals},
    state::TaskState,
    vfork::Release,
};
use crate::{
    abi::{Result, Signal, TaskId, Timespec},
    fs::{Descriptor, File, OpenFlags, fd_table::FileTable, path::PathContext},
    mm::AddressSpace,
    ns::{Access, Credentials, Namespaces, user::UserNamespace},
    sync::SpinLock,
    time::HostClock,
};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A task.
pub struct Task {
    /// Changes only when a thread that is not the leader executes a program, and becomes it.
    id: AtomicU32,
    process: Arc<Process>,
    /// What is to be looked at before the program runs again.
    pub(super) attention: Attention,
    system_calls: AtomicU64,
    pub(super) cpu_time: CpuTime,
    /// The scheduler's part.
    pub(super) schedule: Schedule,
    /// Nothing but a file table's slots is taken inside it, and nothing in it is dropped inside it.
    resources: SpinLock<Resources>,
    /// Whether its clocks show another time than the host's: who reads one where they do not need not look further.
    is_shifted: AtomicBool,
    /// As `resources`.
    credentials: SpinLock<Arc<Credentials>>,
    /// As `resources`. Whose task it is: changes with the real user id.
    membership: SpinLock<Membership>,
    /// Taken inside the process' state, or alone; nothing is taken inside it.
    pub(super) signals: SpinLock<ThreadSignals>,
    /// As `resources`, but for the actions' own lock.
    actions: SpinLock<Arc<Actions>>,
    /// As `resources`.
    name: SpinLock<Name>,
    /// As `resources`.
    policy: SpinLock<Policy>,
    /// As `resources`. How restart_syscall(2) goes on.
    restart: SpinLock<Option<Restart>>,
    /// As `resources`. Whom a vfork(2) keeps waiting for this task.
    pub(super) vfork: SpinLock<Option<Arc<Release>>>,
    /// Addresses in the task's memory, or 0: set_tid_address(2) and set_robust_list(2).
    pub(super) clear_child_tid: AtomicUsize,
    pub(super) robust_list: AtomicUsize,
    /// The signal it gets when the thread that made it ends, or 0: prctl(2) PR_SET_PDEATHSIG.
    pub(super) parent_death_signal: AtomicU32,
    /// 1 after PR_SET_NO_NEW_PRIVS.
    pub(super) no_new_privileges: AtomicU32,
    /// PR_SET_TIMERSLACK, in nanoseconds. Kept and reported; every deadline here is exact.
    pub(super) timer_slack: AtomicU64,
    /// personality(2)
    pub(super) personality: AtomicU32,
    /// The CPUs it may use, a bit each: sched_setaffinity(2).
    pub(super) affinity: AtomicU64,
    /// ioprio_set(2). Kept and reported; there is no disk.
    pub(super) io_priority: AtomicU32,
    /// What it passed to exit(2): the low eight bits.
    pub(super) exit_code: AtomicU32,
    /// Page faults, for getrusage(2).
    pub(super) faults: AtomicU64,
}

/// What a task gives up when it exits; until then all are there.
pub struct Resources {
    /// Its memory.
    pub space: Option<Arc<AddressSpace>>,
    /// Its open files.
    pub files: Option<Arc<FileTable>>,
    /// Its root, working directory and umask.
    pub filesystem: Option<Arc<PathContext>>,
    /// Its namespaces.
    pub namespaces: Option<Arc<Namespaces>>,
}

impl Resources {
    /// Those of a task that has exited.
    pub const NONE: Self = Self { space: None, files: None, filesystem: None, namespaces: None };
}

/// The default of PR_SET_TIMERSLACK.
pub const DEFAULT_TIMER_SLACK: u64 = 50_000;

/// What a new task begins with.
pub struct Beginning {
    /// Its number.
    pub id: TaskId,
    /// The process it belongs to.
    pub process: Arc<Process>,
    /// What it uses.
    pub resources: Resources,
    /// Who it is.
    pub credentials: Arc<Credentials>,
    /// What is done about its signals.
    pub actions: Arc<Actions>,
}

impl Task {
    /// The first one.
    pub fn first(beginning: Beginning, name: Name) -> Self {
        Self::with(beginning, name, ThreadSignals::default(), Policy::default(), None)
    }

    /// One that `maker` makes.
    pub fn made_by(maker: &Task, beginning: Beginning) -> Self {
        let signals = maker.signals.lock().for_new_task();
        let task =
            Self::with(beginning, maker.name(), signals, maker.policy.lock().for_new_task(), Some(maker));
        task.no_new_privileges.store(maker.no_new_privileges.load(Relaxed), Relaxed);
        task
    }

    fn with(
        beginning: Beginning,
        name: Name,
        signals: ThreadSignals,
        policy: Policy,
        maker: Option<&Task>,
    ) -> Self {
        let Beginning { id, process, resources, credentials, actions } = beginning;
        let inherited = |field: fn(&Task) -> u64, default: u64| maker.map_or(default, field);
        Self {
            id: AtomicU32::new(id),
            process,
            attention: Attention::default(),
            system_calls: AtomicU64::new(0),
            cpu_time: CpuTime::default(),
            schedule: Schedule::new(policy),
            is_shifted: AtomicBool::new(
                resources.namespaces.as_ref().is_some_and(|bundle| bundle.is_shifted()),
            ),
            resources: SpinLock::new(resources),
            membership: SpinLock::new(Membership::new(credentials.uid)),
            credentials: SpinLock::new(credentials),
            signals: SpinLock::new(signals),
            actions: SpinLock::new(actions),
            name: SpinLock::new(name),
            policy: SpinLock::new(policy),
            restart: SpinLock::new(None),
            vfork: SpinLock::new(None),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            parent_death_signal: AtomicU32::new(0),
            no_new_privileges: AtomicU32::new(0),
            timer_slack: AtomicU64::new(inherited(
                |task| task.timer_slack.load(Relaxed),
                DEFAULT_TIMER_SLACK,
            )),
            personality: AtomicU32::new(inherited(|task| task.personality.load(Relaxed).into(), 0) as u32),
            affinity: AtomicU64::new(inherited(|task| task.affinity.load(Relaxed), u64::MAX)),
            io_priority: AtomicU32::new(inherited(|task| task.io_priority.load(Relaxed).into(), 0) as u32),
            exit_code: AtomicU32::new(0),
            faults: AtomicU64::new(0),
        }
    }

    /// Its number, gettid(2).
    pub fn id(&self) -> TaskId {
        self.id.load(Relaxed)
    }

    pub(super) fn set_id(&self, id: TaskId) {
        self.id.store(id, Relaxed);
    }

    /// The process it is a thread of.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Whether it is its process' first thread, or has become it by executing a program.
    pub fn is_leader(&self) -> bool {
        self.id() == self.process.id()
    }

    /// What it is doing.
    pub fn state(&self) -> TaskState {
        if self.resources.lock().space.is_none() {
            TaskState::Zombie
        } else if self.schedule.has_stopped() {
            TaskState::Stopped
        } else if self.schedule.is_runnable() {
            TaskState::Running
        } else {
            TaskState::Sleeping
        }
    }

    /// Processor time it has used.
    pub fn times(&self) -> Times {
        self.cpu_time.read()
    }

    /// What it has used.
    pub fn usage(&self) -> Usage {
        let (voluntary_switches, involuntary_switches) = self.schedule.switches();
        Usage {
            times: self.times(),
            faults: self.faults.load(Relaxed),
            voluntary_switches,
            involuntary_switches,
            largest_resident: 0,
        }
    }

    /// Whether another task uses the same memory.
    pub fn shares_memory(&self) -> bool {
        // The task has it, and the loop that serves it.
        const OWN: usize = 2;
        self.resources.lock().space.as_ref().is_some_and(|space| Arc::strong_count(space) > OWN)
    }

    /// Whether another task has the same root, working directory and umask.
    pub fn shares_filesystem(&self) -> bool {
        self.resources.lock().filesystem.as_ref().is_some_and(|filesystem| Arc::strong_count(filesystem) > 1)
    }

    /// How many system calls it has made.
    pub fn system_calls(&self) -> u64 {
        self.system_calls.load(Relaxed)
    }

    /// Counts one more; only the task itself does, so no atomic addition is needed.
    pub(super) fn count_system_call(&self) {
        self.system_calls.store(self.system_calls.load(Relaxed) + 1, Relaxed);
    }

    /// Its memory; `None` once it has exited.
    pub fn space(&self) -> Option<Arc<AddressSpace>> {
        self.resources.lock().space.clone()
    }

    /// Its open files; `None` once it has exited.
    pub fn files(&self) -> Option<Arc<FileTable>> {
        self.resources.lock().files.clone()
    }

    /// Its root, working directory and umask; `None` once it has exited.
    pub fn filesystem(&self) -> Option<Arc<PathContext>> {
        self.resources.lock().filesystem.clone()
    }

    /// Its namespaces; `None` once it has exited.
    pub fn namespaces(&self) -> Option<Arc<Namespaces>> {
        self.resources.lock().namespaces.clone()
    }

    /// Whether its clocks show another time than the host's.
    #[inline(always)]
    pub fn is_shifted(&self) -> bool {
        self.is_shifted.load(Relaxed)
    }

    /// What it is told when a clock of the host shows `host`.
    #[inline]
    pub fn told(&self, clock: HostClock, host: Timespec) -> Timespec {
        self.with_namespaces(|namespaces| namespaces.told(clock, host)).unwrap_or(host)
    }

    /// One of its open files, if it was opened for that; `None` once the task has exited. Errors: EBADF.
    #[inline(always)]
    pub fn file_if(
        &self,
        descriptor: Descriptor,
        suits: impl Fn(OpenFlags) -> bool,
    ) -> Option<Result<Arc<File>>> {
        let resources = self.resources.lock();
        Some(resources.files.as_deref()?.get_if(descriptor, suits))
    }

    /// Looks at its namespaces without taking a share of them. Nothing may be locked in `look`.
    pub fn with_namespaces<R>(&self, look: impl FnOnce(&Namespaces) -> R) -> Option<R> {
        self.resources.lock().namespaces.as_deref().map(look)
    }

    pub(super) fn set_space(&self, space: Arc<AddressSpace>) -> Option<Arc<AddressSpace>> {
        self.resources.lock().space.replace(space)
    }

    pub(super) fn give_up_resources(&self) -> Resources {
        self.resources.replace(Resources::NONE)
    }

    /// Gives it a file table of its own, unshare(2) CLONE_FILES.
    pub fn set_files(&self, files: Arc<FileTable>) {
        let before = self.resources.lock().files.replace(files);
        drop(before);
    }

    /// Gives it a root and working directory of its own, unshare(2) CLONE_FS.
    pub fn set_filesystem(&self, filesystem: Arc<PathContext>) {
        let before = self.resources.lock().filesystem.replace(filesystem);
        drop(before);
    }

    /// Replaces its namespaces.
    pub fn set_namespaces(&self, namespaces: Arc<Namespaces>) {
        self.is_shifted.store(namespaces.is_shifted(), Relaxed);
        let before = self.resources.lock().namespaces.replace(namespaces);
        drop(before);
    }

    /// Who it is and what it may do.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.get()
    }

    /// Looks at who it is without taking a share of that. No lock may be taken in `look` but a user namespace's.
    pub fn with_credentials<R>(&self, look: impl FnOnce(&Credentials) -> R) -> R {
        look(&self.credentials.lock())
    }

    /// Makes it someone else. Only the task itself does.
    pub fn set_credentials(&self, credentials: Arc<Credentials>) {
        let before = self.credentials.replace(credentials.clone());
        if before.uid != credentials.uid {
            drop(self.membership.replace(Membership::new(credentials.uid)));
        }
        // How much it may lock depends on who it is.
        if let Some(space) = self.space() {
            space.set_limits(memory_limits(&self.process, &credentials));
        }
    }

    /// It has become someone else: those who had rights over it before have them no more.
    pub fn forget_parents_rights(&self) {
        self.set_parent_death_signal(0);
        self.process.privacy().set_dumpable(0);
    }

    /// PR_GET_TIMERSLACK, in nanoseconds.
    pub fn timer_slack(&self) -> u64 {
        self.timer_slack.load(Relaxed)
    }

    /// PR_SET_TIMERSLACK; 0 brings the default back.
    pub fn set_timer_slack(&self, nanoseconds: u64) {
        self.timer_slack.store(if nanoseconds == 0 { DEFAULT_TIMER_SLACK } else { nanoseconds }, Relaxed);
    }

    /// Has executing a program never give it more rights, for good.
    pub fn set_no_new_privileges(&self) {
        self.no_new_privileges.store(1, Relaxed);
    }

    /// Whether executing a program never gives it more rights, prctl(2) PR_SET_NO_NEW_PRIVS.
    pub fn has_no_new_privileges(&self) -> bool {
        self.no_new_privileges.load(Relaxed) != 0
    }

    /// Whether someone with these credentials may look into it, ptrace(2) PTRACE_MODE_READ.
    ///
    /// The threads of its own process always may; that is for the caller to ask.
    pub fn may_be_inspected_by(&self, credentials: &Credentials, access: Access) -> bool {
        const OWN: u32 = 1;
        let privacy = self.process.privacy();
        let hidden = privacy.dumpable() != OWN;
        // Memory that is gone stays hidden, and belongs to nobody but the machine.
        let owner = if self.space().is_some() { privacy.owner().clone() } else { UserNamespace::initial() };
        credentials.may_inspect(&self.credentials(), hidden.then_some(&owner), access)
    }

    /// Looks at its user's account.
    pub(super) fn with_account<R>(&self, look: impl FnOnce(&super::limits::Account) -> R) -> R {
        look(self.membership.lock().account())
    }

    /// What is done about its signals.
    pub fn actions(&self) -> Arc<Actions> {
        self.actions.get()
    }

    /// What is done about one.
    #[inline]
    pub fn action(&self, signal: Signal) -> Action {
        self.actions.lock().get(signal)
    }

    pub(super) fn set_actions(&self, actions: Arc<Actions>) {
        drop(self.actions.replace(actions));
    }

    /// Its name, as in `/proc/PID/comm`.
    pub fn name(&self) -> Name {
        *self.name.lock()
    }

    /// Renames it.
    pub fn set_name(&self, name: Name) {
        *self.name.lock() = name;
    }

    /// How it is scheduled, sched(7).
    pub fn policy(&self) -> Policy {
        *self.policy.lock()
    }

    /// Sets that, whatever it is.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.lock() = policy;
        sched::policy_changed(self, policy);
        futex::rank_changed(self);
    }

    /// Whom it runs before, as of now: those of a lower rank. Its own, or a higher one that it inherits.
    pub fn rank(&self) -> u32 {
        self.schedule.rank()
    }

    /// Its own rank.
    pub fn own_rank(&self) -> u32 {
        if self.schedule.inherits() { self.policy().rank() } else { self.rank() }
    }

    /// Says how the call that now fails with ERESTART_RESTARTBLOCK goes on if no handler runs.
    pub fn restart_with(&self, restart: Restart) {
        drop(self.restart.replace(Some(restart)));
    }

    /// What [`Self::restart_with`] left, once.
    pub fn take_restart(&self) -> Option<Restart> {
        self.restart.lock().take()
    }
}

/// Numbers that are read and set as they are: the functions for each.
macro_rules! numbers {
    ($($(#[$description:meta])* $name:ident $set:ident: $type:ty;)*) => {
        impl Task {
            $(
                $(#[$description])*
                pub fn $name(&self) -> $type {
                    self.$name.load(Relaxed)
                }

                /// Sets that.
                pub fn $set(&self, value: $type) {
                    self.$name.store(value, Relaxed);
                }
            )*
        }
    };
}

numbers! {
    /// The signal it gets when the thread that made it ends; 0 for none.
    parent_death_signal set_parent_death_signal: u32;
    /// personality(2)
    personality set_personality: u32;
    /// The CPUs it may use, a bit each.
    affinity set_affinity: u64;
    /// ioprio_get(2)
    io_priority set_io_priority: u32;
    /// Where its number is to be replaced by 0 when it ends, set_tid_address(2); 0 for nowhere.
    clear_child_tid set_clear_child_tid: usize;
    /// Where the list of its robust futexes begins, or 0.
    robust_list set_robust_list: usize;
}

//! All tasks and processes by number, with their [kinship](super::kinship): the one place from which a `pid_t` leads to
//! anything.
//!
//! A number stays taken as long as a thread, a process (its zombie too), a group or a session bears it, so it never
//! comes to mean something else while anybody could still use it. Numbers are given out in turn, not lowest first: a
//! program that keeps a stale one should meet ESRCH, not a stranger.

use super::{
    Process, Task,
    kinship::{INIT, Kinship},
};
use crate::{
    abi::{Errno, Result, TaskId},
    fs::mount,
    sync::SpinLock,
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::{
    ops::{
        Bound::{Excluded, Unbounded},
        RangeInclusive,
    },
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// Numbers are below this, `/proc/sys/kernel/pid_max`: at first Linux' default for a small machine.
static NUMBER_LIMIT: AtomicU32 = AtomicU32::new(*NUMBER_LIMITS.end());
/// What it can be set to: above [`FIRST_AFTER_LIMIT`], and no more than there can be tasks.
pub const NUMBER_LIMITS: RangeInclusive<TaskId> = FIRST_AFTER_LIMIT + 1..=32_768;
/// Where counting begins again after the limit: low numbers are left to what started at boot.
const FIRST_AFTER_LIMIT: TaskId = 300;

struct Table {
    /// Threads until they have ended; a process' first thread until the process was waited for.
    tasks: BTreeMap<TaskId, Arc<Task>>,
    /// Processes until they were waited for.
    processes: BTreeMap<TaskId, Arc<Process>>,
    kinship: Kinship,
    last_number: TaskId,
}

/// Taken outside every other lock of this folder, and never while one of a file's or a memory's is held.
static TABLE: SpinLock<Table> = SpinLock::new(Table {
    tasks: BTreeMap::new(),
    processes: BTreeMap::new(),
    kinship: Kinship::new(),
    last_number: 0,
});

/// Tasks made since boot, `processes` in `/proc/stat`.
static MADE: AtomicU64 = AtomicU64::new(0);

impl Table {
    fn is_free(&self, number: TaskId) -> bool {
        !self.tasks.contains_key(&number) && !self.kinship.uses(number)
    }

    fn next_number(&mut self) -> Result<TaskId> {
        let limit = number_limit();
        let following = |number| if number + 1 < limit { number + 1 } else { FIRST_AFTER_LIMIT };
        let mut number = following(self.last_number);
        for _ in 0..limit {
            if self.is_free(number) {
                self.last_number = number;
                return Ok(number);
            }
            number = following(number);
        }
        Err(Errno::EAGAIN.because("every task number is taken"))
    }

    fn mirror(&self, id: TaskId) {
        if let Some(process) = self.processes.get(&id) {
            process.parent.store(self.kinship.parent(id), Relaxed);
            process.group.store(self.kinship.group(id), Relaxed);
            process.session.store(self.kinship.session(id), Relaxed);
        }
    }
}

/// What every number given from now on is below.
pub fn number_limit() -> TaskId {
    NUMBER_LIMIT.load(Relaxed)
}

/// Sets it to a number of [`NUMBER_LIMITS`]. Numbers above it that are taken stay so.
pub fn set_number_limit(limit: TaskId) {
    NUMBER_LIMIT.store(limit, Relaxed);
}

/// A number set aside for a new task; given back when dropped without having become one.
pub struct Reserved(TaskId);

/// Numbers set aside. Taken inside the table's lock.
static RESERVED: SpinLock<Vec<TaskId>> = SpinLock::new(Vec::new());

impl Reserved {
    /// The next free number, or just the one that set_tid of clone3(2) asks for.
    ///
    /// Errors: EAGAIN when none is free; EINVAL for one that no task can have; EEXIST for one that is taken.
    pub fn new(wanted: Option<TaskId>) -> Result<Self> {
        let mut table = TABLE.lock();
        let mut reserved = RESERVED.lock();
        let number = match wanted {
            None => loop {
                let number = table.next_number()?;
                if !reserved.contains(&number) {
                    break number;
                }
            },
            Some(number) if !(1..number_limit()).contains(&number) => {
                return Err(Errno::EINVAL.because("a task number is above 0 and below pid_max"));
            }
            Some(number) if !table.is_free(number) || reserved.contains(&number) => {
                return Err(Errno::EEXIST.because("the task number asked for is taken"));
            }
            Some(number) => number,
        };
        reserved.push(number);
        Ok(Self(number))
    }

    /// The number.
    pub fn number(&self) -> TaskId {
        self.0
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        RESERVED.lock().retain(|&number| number != self.0);
    }
}

/// Enters the first task and its process.
pub fn add_init(task: &Arc<Task>) {
    let mut table = TABLE.lock();
    table.kinship.add_init();
    table.processes.insert(INIT, task.process().clone());
    table.last_number = INIT;
    table.mirror(INIT);
    enter(&mut table, task);
}

/// Enters a new process with its first thread, made by `maker`. With `as_sibling` it is the child of the maker's parent.
pub fn add_process(task: &Arc<Task>, maker: &Task, as_sibling: bool) {
    let mut table = TABLE.lock();
    let made_by = maker.process().id();
    let (parent, thread) = match as_sibling {
        true => (table.kinship.parent(made_by), table.kinship.parent_thread(made_by)),
        false => (made_by, maker.id()),
    };
    table.kinship.add(task.id(), parent, thread, made_by);
    table.processes.insert(task.id(), task.process().clone());
    table.mirror(task.id());
    enter(&mut table, task);
}

/// Enters a further thread of a process.
pub fn add_thread(task: &Arc<Task>) {
    enter(&mut TABLE.lock(), task);
}

fn enter(table: &mut Table, task: &Arc<Task>) {
    table.tasks.insert(task.id(), task.clone());
    MADE.fetch_add(1, Relaxed);
}

/// Removes a thread that has ended and is not its process' first.
pub fn remove_thread(id: TaskId) {
    let removed = TABLE.lock().tasks.remove(&id);
    drop(removed);
    mount::detach_gone();
}

/// Makes `task` its process' first thread, in place of the one that was: it has executed a program.
pub fn become_leader(task: &Arc<Task>) {
    let mut table = TABLE.lock();
    let leader = task.process().id();
    table.tasks.remove(&task.id());
    task.set_id(leader);
    let former = table.tasks.insert(leader, task.clone());
    drop(table);
    drop(former);
}

/// Removes a zombie that was waited for, if nobody has before.
pub fn remove_process(id: TaskId) -> Option<Arc<Process>> {
    let mut table = TABLE.lock();
    let process = table.processes.remove(&id)?;
    table.kinship.remove(id);
    let leader = table.tasks.remove(&id);
    drop(table);
    drop(leader);
    mount::detach_gone();
    Some(process)
}

/// The task of this number.
pub fn task(id: TaskId) -> Option<Arc<Task>> {
    TABLE.lock().tasks.get(&id).cloned()
}

/// Whether there is a task of this number, in this process.
pub fn is_thread_of(id: TaskId, process: *const Process) -> bool {
    TABLE.lock().tasks.get(&id).is_some_and(|task| core::ptr::eq(Arc::as_ptr(task.process()), process))
}

/// The process of this number.
pub fn process(id: TaskId) -> Option<Arc<Process>> {
    TABLE.lock().processes.get(&id).cloned()
}

/// The process with the lowest number above `id`.
pub fn next_process(id: TaskId) -> Option<Arc<Process>> {
    let table = TABLE.lock();
    table.processes.range((Excluded(id), Unbounded)).next().map(|(_, process)| process.clone())
}

/// The thread of a process with the lowest number above `id`, of those that have not ended.
pub fn next_thread(process: &Process, id: TaskId) -> Option<Arc<Task>> {
    let state = process.state.lock();
    state.threads.range((Excluded(id), Unbounded)).next().map(|(_, thread)| thread.clone())
}

/// The processes of a group.
pub fn group_members(group: TaskId) -> Vec<Arc<Process>> {
    let table = TABLE.lock();
    table.kinship.members(group).filter_map(|id| table.processes.get(&id).cloned()).collect()
}

/// A child, and the thread of its parent that it belongs to.
pub struct Child {
    /// The child.
    pub process: Arc<Process>,
    /// Which thread made it, or adopted it.
    pub parent_thread: TaskId,
}

/// The child of a process with the lowest number above `after`; with `eventful`, of those that something has happened to.
pub fn next_child(parent: TaskId, after: TaskId, eventful: bool) -> Option<Child> {
    let table = TABLE.lock();
    let id = table.kinship.next_child(parent, after, eventful)?;
    Some(Child { process: table.processes.get(&id)?.clone(), parent_thread: table.kinship.parent_thread(id) })
}

/// Notes that something has happened to a process that its parent may wait for, or that it was waited for.
pub fn note_event(id: TaskId, is_there: bool) {
    TABLE.lock().kinship.note_event(id, is_there);
}

/// The session a group belongs to, if there is such a group.
pub fn session_of_group(group: TaskId) -> Option<TaskId> {
    TABLE.lock().kinship.session_of_group(group)
}

/// Gives a child another parent, through one of its threads.
pub fn adopt(child: TaskId, parent: TaskId, parent_thread: TaskId) {
    let mut table = TABLE.lock();
    table.kinship.adopt(child, parent, parent_thread);
    table.mirror(child);
}

/// setpgid(2): see [`Kinship::set_group`].
pub fn set_group(caller: TaskId, id: TaskId, group: TaskId) -> Result<()> {
    let mut table = TABLE.lock();
    let executed = table.processes.get(&id).is_some_and(|process| process.has_executed.load(Relaxed));
    table.kinship.set_group(caller, id, group, executed)?;
    table.mirror(id);
    Ok(())
}

/// setsid(2): see [`Kinship::start_session`].
pub fn start_session(caller: TaskId) -> Result<()> {
    let mut table = TABLE.lock();
    table.kinship.start_session(caller)?;
    table.mirror(caller);
    Ok(())
}

fn is_dead(table: &Table, id: TaskId) -> bool {
    table.processes.get(&id).is_none_or(|process| process.is_zombie())
}

/// Whether nobody outside the group could continue it: [`Kinship::is_orphaned`].
pub fn is_group_orphaned(group: TaskId) -> bool {
    let table = TABLE.lock();
    table.kinship.is_orphaned(group, 0, &|id| is_dead(&table, id))
}

/// The groups that the end of this process orphans: of its own, and those of its children.
pub fn groups_orphaned_by(id: TaskId) -> Vec<TaskId> {
    let table = TABLE.lock();
    let kinship = &table.kinship;
    let dead = |id| is_dead(&table, id);
    let mut groups = kinship.groups_kept(id);
    groups.retain(|&group| !kinship.is_orphaned(group, 0, &dead) && kinship.is_orphaned(group, id, &dead));
    groups
}

/// How many there are, for proc(5).
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    /// Threads, and first threads of zombies.
    pub tasks: usize,
    /// Tasks made since boot.
    pub made: u64,
    /// The number given out last.
    pub last_number: TaskId,
}

/// How many children a process has.
pub fn child_count(parent: TaskId) -> usize {
    TABLE.lock().kinship.child_count(parent)
}

/// As of now.
pub fn statistics() -> Statistics {
    let table = TABLE.lock();
    Statistics { tasks: table.tasks.len(), made: MADE.load(Relaxed), last_number: table.last_number }
}

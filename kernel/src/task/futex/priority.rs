//! Priority inheritance, sched(7): who holds a lock has the rank of the highest who waits for it, until it gives the lock
//! up. So nobody of a rank in between keeps it from doing so.
//!
//! What is kept is who holds each lock that somebody waits for, and all else is worked out from that and the queues, along
//! the chain: the holder may itself wait for a lock, whose holder then inherits too. Only the two ends of a wait come here,
//! and locks that nobody has to wait for never do.

use super::{Heir, QUEUES, Queues};
use crate::{
    mm::user::FutexKey,
    sync::SpinLock,
    task::{Task, sched},
};
use alloc::{collections::BTreeMap, sync::Arc};

/// Who holds each lock that heirs wait for. Taken inside [`QUEUES`]; nothing is taken inside it.
static HOLDERS: SpinLock<BTreeMap<FutexKey, Arc<Task>>> = SpinLock::new(BTreeMap::new());

/// Those who wait for a lock have changed, or who holds it has: lends and takes back what follows from that. `holder`:
/// who has it now; `None` if that is the same as before.
pub fn changed(queues: &mut Queues<FutexKey, Heir>, lock: FutexKey, holder: Option<Arc<Task>>) {
    let mut holders = HOLDERS.lock();
    let before = holders.remove(&lock);
    let holder = holder.or_else(|| before.clone());
    if let Some(holder) = &holder
        && queues.first_heir(lock).is_some()
    {
        holders.insert(lock, holder.clone());
    }
    drop(holders);
    before.into_iter().chain(holder).for_each(|task| lend(queues, task));
}

/// Gives a task the rank that it inherits, and goes on to the holder of what it waits for itself.
fn lend(queues: &mut Queues<FutexKey, Heir>, task: Arc<Task>) {
    let mut next = Some(task);
    // A chain has an end: `waits_for` has seen to that, but for locks whose words programs have changed by themselves.
    for _ in 0..LONGEST {
        let Some(task) = next else { return };
        let locks = HOLDERS.lock();
        let held = locks.iter().filter(|(_, holder)| Arc::ptr_eq(holder, &task)).map(|(lock, _)| *lock);
        let rank = held.filter_map(|lock| queues.first_heir(lock)).map(|(_, rank)| rank).max();
        drop(locks);
        if !sched::inherit(&task, rank.unwrap_or(0)) {
            return;
        }
        queues.set_rank(|heir| Arc::ptr_eq(&heir.task, &task), task.rank());
        next = whom_it_waits_for(queues, &task);
    }
}

/// The locks of one chain that are followed at most.
const LONGEST: usize = 1024;

/// The holder of the lock that a task waits for, if it waits for one.
fn whom_it_waits_for(queues: &Queues<FutexKey, Heir>, task: &Task) -> Option<Arc<Task>> {
    let lock = queues.find_heir(|heir| core::ptr::eq(&*heir.task, task))?;
    HOLDERS.lock().get(&lock).cloned()
}

/// Whether a task waits for what another holds, at once or along a chain.
pub fn waits_for(queues: &Queues<FutexKey, Heir>, task: &Arc<Task>, other: &Arc<Task>) -> bool {
    let chain = core::iter::successors(Some(task.clone()), |task| whom_it_waits_for(queues, task));
    queues.has_heirs() && chain.take(LONGEST).any(|task| Arc::ptr_eq(&task, other))
}

/// One of the locks that a task holds and others wait for.
pub fn lock_held_by(queues: &Queues<FutexKey, Heir>, task: &Task) -> Option<FutexKey> {
    if !queues.has_heirs() {
        return None;
    }
    let holders = HOLDERS.lock();
    holders.iter().find(|(_, holder)| core::ptr::eq(&***holder, task)).map(|(lock, _)| *lock)
}

/// A task has another rank of its own, which counts where it waits for a lock.
pub fn rank_changed(task: &Task) {
    let mut queues = QUEUES.lock();
    if queues.has_heirs() {
        queues.set_rank(|heir| core::ptr::eq(&*heir.task, task), task.rank());
        if let Some(holder) = whom_it_waits_for(&queues, task) {
            lend(&mut queues, holder);
        }
    }
}

//! Sending: what becomes of a signal before anybody sees it.
//!
//! A signal is decided upon when it is sent as far as it can be: it undoes stops and stops undo it, it is dropped when
//! ignored, and one that ends the process does so at once. Only what a handler is to see, or what is blocked, is kept.

use super::{
    ThreadSignals,
    action::{self, DefaultAction, STOPPING},
    info::{SignalInfo, code},
    notify,
    pending::{Charge, FIRST_REAL_TIME, Pledge},
};
use crate::{
    abi::{Errno, Result, Signal, SignalSet, TaskId},
    sync::WaitQueue,
    task::{
        Task, attention,
        limits::Resource,
        process::{Life, Process, State},
        sched,
        status::{Event, Status},
        table,
    },
};
use alloc::sync::Arc;

/// Woken when a signal becomes pending that is blocked, whoever's it is: those who wait for that are few, and look
/// themselves whether it is one of theirs, signalfd(2). (What is not blocked goes to its handler.)
pub static PENDING: WaitQueue = WaitQueue::new();

/// To whom.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// To this thread.
    Thread(&'a Arc<Task>),
    /// To whichever thread of the process wants it.
    Process(&'a Arc<Process>),
}

/// Sends a signal to one thread. Errors: EAGAIN when a program queues more than RLIMIT_SIGPENDING.
pub fn send_to_task(task: &Arc<Task>, info: SignalInfo) -> Result<()> {
    send(Target::Thread(task), &info, None)
}

/// Sends a signal to a process. Errors: as [`send_to_task`].
#[inline]
pub fn send_to_process(process: &Arc<Process>, info: SignalInfo) -> Result<()> {
    send(Target::Process(process), &info, None)
}

/// Sends a signal of something that keeps its own count of those pending, to a process or one thread of it.
pub fn from_source(process: &Arc<Process>, thread: Option<&Arc<Task>>, info: SignalInfo, pledge: Pledge) {
    // It is never refused: room for it was set aside before.
    let _ = send(thread.map_or(Target::Process(process), Target::Thread), &info, Some(pledge));
}

/// Sends a signal to every process of a group. Errors: ESRCH when there is none; else the last one's.
pub fn send_to_group(group: TaskId, info: SignalInfo) -> Result<()> {
    let mut result = Err(Errno::ESRCH.because("there is no such process group"));
    for process in table::group_members(group) {
        result = send_to_process(&process, info);
    }
    result
}

fn send(target: Target<'_>, info: &SignalInfo, pledge: Option<Pledge>) -> Result<()> {
    let Some(signal) = info.number() else { return Ok(()) };
    let process = match target {
        Target::Thread(task) => task.process(),
        Target::Process(process) => process,
    };
    let mut state = process.state.lock();
    if state.life != Life::Running {
        return Ok(());
    }
    let continued = settle_stops(&mut state, signal);
    let result = accept(&mut state, process, target, signal, info, pledge);
    drop(state);
    if continued {
        notify::parent(process, Event::Continued);
    }
    result
}

/// SIGCONT undoes every stop, those that are only pending too, and a stop undoes a pending SIGCONT: this happens when the
/// signal is sent, even if it is blocked or ignored. Tells whether a stopped process goes on.
fn settle_stops(state: &mut State, signal: Signal) -> bool {
    const CONCERNED: SignalSet = STOPPING.union(SignalSet::of(Signal::SIGCONT));
    if !CONCERNED.contains(signal) {
        return false;
    }
    if signal != Signal::SIGCONT {
        state.discard(SignalSet::of(Signal::SIGCONT));
        return false;
    }
    state.discard(STOPPING);
    state.continues += 1;
    let Some(stop) = state.stop.take() else { return false };
    state.reports.stopped = None;
    state.reports.continued = stop.complete;
    state.threads.values().for_each(sched::wake);
    stop.complete
}

fn accept(
    state: &mut State,
    process: &Arc<Process>,
    target: Target<'_>,
    signal: Signal,
    info: &SignalInfo,
    pledge: Option<Pledge>,
) -> Result<()> {
    let Some(addressee) = choose(state, process, target, signal) else { return Ok(()) };
    let action = addressee.action(signal);
    let (wanted, awaited) = {
        let signals = addressee.signals.lock();
        (signals.wants(signal), signals.awaited.contains(signal))
    };
    let blocked = !wanted || awaited;
    // Init is not harmed by what it has no handler for. (What is blocked waits: a handler may still come.)
    let harmless = process.is_init() && action.handler == action::DEFAULT;
    if !blocked && (action.ignores(signal) || harmless) {
        return Ok(());
    }
    let fatal = action.handler == action::DEFAULT
        && matches!(action::default_of(signal), DefaultAction::Terminate | DefaultAction::DumpCore);
    // What has come to a halt is ended by SIGKILL only; everything else waits until it is continued.
    let halted = addressee.schedule.has_stopped() && signal != Signal::SIGKILL;
    if fatal && !blocked && !harmless && !halted {
        state.end(Status::Killed(signal));
        return Ok(());
    }
    queue(state, &addressee, target, signal, info, pledge, blocked)?;
    if blocked {
        PENDING.wake_readers();
    }
    if wanted {
        addressee.attention.set(attention::SIGNAL);
    }
    if wanted || awaited {
        sched::wake(&addressee);
    }
    Ok(())
}

/// The thread that is to deal with it: the one meant; or one that does not block it, the first thread if it can be. If
/// all block it, it is kept for the process, and any thread will do for the question whether it is ignored.
fn choose(state: &State, process: &Process, target: Target<'_>, signal: Signal) -> Option<Arc<Task>> {
    if let Target::Thread(task) = target {
        return Some(task.clone());
    }
    if state.threads.len() == 1 {
        return state.threads.first_key_value().map(|(_, thread)| thread.clone());
    }
    let reachable = |signals: &ThreadSignals| signals.wants(signal) || signals.awaited.contains(signal);
    let leader = state.threads.get(&process.id());
    let mut candidates = leader.into_iter().chain(state.threads.values());
    candidates
        .find(|thread| !thread.killed() && reachable(&thread.signals.lock()))
        .or(leader)
        .or(state.threads.values().next())
        .cloned()
}

fn queue(
    state: &mut State,
    addressee: &Task,
    target: Target<'_>,
    signal: Signal,
    info: &SignalInfo,
    pledge: Option<Pledge>,
    blocked: bool,
) -> Result<()> {
    let real_time = signal.number() >= FIRST_REAL_TIME;
    // A source has room set aside, and a standard signal on its way to its handler is nothing that piles up.
    let charge = if (real_time || blocked) && pledge.is_none() { charge(addressee) } else { None };
    // Above the limit, a standard signal is still kept with what came with it: there is at most one of each.
    let forgotten = real_time && charge.is_none() && pledge.is_none();
    if forgotten && info.is_from_program() && info.code != code::USER && info.code != code::THREAD {
        return Err(Errno::EAGAIN.because("RLIMIT_SIGPENDING signals are queued already"));
    }
    let mut signals;
    let pending = match target {
        Target::Thread(_) => {
            signals = addressee.signals.lock();
            &mut signals.pending
        }
        Target::Process(_) => &mut state.pending,
    };
    if forgotten {
        pending.push_forgotten(signal);
    } else if pledge.is_some() || pending.would_take(signal) {
        pending.push(signal, info, pledge, charge);
    }
    Ok(())
}

/// One more on the account of the task's user; `None` above RLIMIT_SIGPENDING.
#[inline(never)]
fn charge(addressee: &Task) -> Option<Charge> {
    let limit = addressee.process().limit(Resource::SIGPENDING).soft;
    addressee.with_account(|account| Charge::new(&account.signals, limit))
}

/// Sends a signal that cannot be refused, about something the thread itself has done: if it blocks or ignores it, its
/// default happens. Not even init survives that.
pub fn force(task: &Arc<Task>, info: SignalInfo) {
    let Some(signal) = info.number() else { return };
    let process = task.process();
    let mut state = process.state.lock();
    let actions = task.actions();
    let action = actions.get(signal);
    let mut signals = task.signals.lock();
    if signals.blocked.contains(signal) || action.ignores(signal) || action.handler == action::DEFAULT {
        drop(signals);
        actions.set(signal, action::Action { handler: action::DEFAULT, ..action });
        state.end(Status::Killed(signal));
        return;
    }
    if signals.pending.would_take(signal) {
        signals.pending.push(signal, &info, None, None);
    }
    drop(signals);
    task.attention.set(attention::SIGNAL);
}

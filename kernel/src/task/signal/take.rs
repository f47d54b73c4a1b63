//! Taking the next signal that is to be delivered, and doing what needs no handler.

use super::{
    ThreadSignals,
    action::{self, Action, ActionFlags, DefaultAction},
    info::SignalInfo,
    pending::Taken,
    stop,
};
use crate::{
    abi::{Signal, SignalSet},
    task::{
        Task,
        process::{Life, State},
        status::Status,
        table,
    },
};
use alloc::sync::Arc;
use core::{future::poll_fn, task::Poll};

/// Finds the next signal with a handler, and what that is. What was pending before it and has none is dealt with on the way:
/// ignored, or it ends or stops the process, and then the task's attention says so and there is nothing to deliver. What came
/// with it is the caller's, as it is too large to be handed on.
#[inline]
pub fn next(task: &Arc<Task>, taken: &mut Taken) -> Option<(Signal, Action)> {
    loop {
        let process = task.process();
        let continues = {
            let mut state = process.state.lock();
            if state.life != Life::Running || !take(task, &mut state, |signals| signals.blocked, taken) {
                return None;
            }
            state.continues
        };
        if !taken.complete() {
            continue;
        }
        let Some(signal) = taken.info.number() else { continue };
        let action = task.action(signal);
        match action.handler {
            action::IGNORE => continue,
            action::DEFAULT => {}
            _ => {
                if action.has(ActionFlags::RESETHAND) {
                    task.actions().set(signal, Action { handler: action::DEFAULT, ..action });
                }
                return Some((signal, action));
            }
        }
        if process.is_init() {
            continue;
        }
        match action::default_of(signal) {
            DefaultAction::Ignore | DefaultAction::Continue => continue,
            DefaultAction::Terminate | DefaultAction::DumpCore => {
                process.end(Status::Killed(signal));
                return None;
            }
            DefaultAction::Stop => {
                // An orphaned group has nobody who would continue it, so the terminal's stops are not for it.
                if signal != Signal::SIGSTOP && table::is_group_orphaned(process.group_id()) {
                    continue;
                }
                if stop::begin(process, signal, continues) {
                    return None;
                }
            }
        }
    }
}

/// Takes the first pending signal that is not in the set which `blocked` names: the thread's own before its process'. It
/// is to be completed when no lock is held any more. False: there is none.
#[inline]
pub fn take(
    task: &Task,
    state: &mut State,
    blocked: impl FnOnce(&ThreadSignals) -> SignalSet,
    taken: &mut Taken,
) -> bool {
    let mut signals = task.signals.lock();
    let blocked = blocked(&signals);
    let is_own = signals.pending.offers(blocked);
    let pending = if is_own { &mut signals.pending } else { &mut state.pending };
    let found = pending.take(blocked, taken);
    task.look_at(state, &signals);
    drop(signals);
    if taken.info.signal == Signal::SIGALRM.number() as i32 && found && !is_own {
        task.process().alarm_taken();
    }
    found
}

impl Task {
    /// Takes one of these signals if it is pending, blocked or not.
    pub fn take_pending(&self, wanted: SignalSet) -> Option<SignalInfo> {
        let mut taken = Taken::default();
        while take(self, &mut self.process().state.lock(), |_| SignalSet(!wanted.0), &mut taken) {
            if taken.complete() {
                return Some(taken.info);
            }
        }
        None
    }

    /// Waits until one of these signals is pending, blocked or not, and takes it: sigwaitinfo(2).
    pub async fn awaited_signal(&self, awaited: SignalSet) -> SignalInfo {
        // The signals stay blocked meanwhile; being awaited, they are kept even if they would be ignored.
        let _awaiting = Awaiting::new(self, awaited);
        poll_fn(|_| self.take_pending(awaited).map_or(Poll::Pending, Poll::Ready)).await
    }
}

/// For as long as it lives, the task is woken by signals that it blocks.
struct Awaiting<'a>(&'a Task);

impl<'a> Awaiting<'a> {
    fn new(task: &'a Task, awaited: SignalSet) -> Self {
        task.signals.lock().awaited = awaited;
        Self(task)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.signals.lock().awaited = SignalSet::EMPTY;
    }
}

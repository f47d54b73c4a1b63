//! Taking the next signal that is to be delivered, and doing what needs no handler.

use super::{
    action::{self, Action, ActionFlags, DefaultAction},
    info::SignalInfo,
    pending::Taken,
    stop,
};
use crate::{
    abi::{Signal, SignalSet},
    task::{
        Task, attention,
        process::{Life, State},
        status::Status,
        table,
    },
};
use alloc::sync::Arc;
use core::{future::poll_fn, task::Poll};

/// A signal whose handler is to run.
pub struct Delivery {
    /// Which.
    pub signal: Signal,
    /// What came with it.
    pub info: SignalInfo,
    /// What is to be done.
    pub action: Action,
}

/// The next signal with a handler. What was pending before it and has none is dealt with on the way: ignored, or it ends
/// or stops the process, and then the task's attention says so and there is nothing to deliver.
pub fn next(task: &Arc<Task>) -> Option<Delivery> {
    loop {
        let process = task.process();
        let (taken, continues) = {
            let mut state = process.state.lock();
            if state.life != Life::Running {
                return None;
            }
            let blocked = task.signals.lock().blocked;
            let Some(taken) = take(task, &mut state, blocked) else {
                task.attention.clear(attention::SIGNAL);
                return None;
            };
            (taken, state.continues)
        };
        let Some((info, signal)) = taken.complete().and_then(|info| Some((info, info.number()?))) else {
            continue;
        };
        let actions = task.actions();
        let action = actions.get(signal);
        match action.handler {
            action::IGNORE => continue,
            action::DEFAULT => {}
            _ => {
                if action.has(ActionFlags::RESETHAND) {
                    actions.set(signal, Action { handler: action::DEFAULT, ..action });
                }
                return Some(Delivery { signal, info, action });
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

/// Takes the first pending signal that is not in `blocked`: the thread's own before its process'. It is to be completed
/// when no lock is held any more.
pub fn take(task: &Task, state: &mut State, blocked: SignalSet) -> Option<Taken> {
    let own = task.signals.lock().pending.take(blocked);
    let taken = own.or_else(|| {
        let taken = state.pending.take(blocked)?;
        if taken.number() == Some(Signal::SIGALRM) {
            task.process().alarm_taken();
        }
        Some(taken)
    });
    task.look_again(state);
    taken
}

impl Task {
    /// Takes one of these signals if it is pending, blocked or not.
    pub fn take_pending(&self, wanted: SignalSet) -> Option<SignalInfo> {
        loop {
            let taken = take(self, &mut self.process().state.lock(), SignalSet(!wanted.0))?;
            if let Some(info) = taken.complete() {
                return Some(info);
            }
        }
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

//! Taking the next signal that is to be delivered, and doing what needs no handler.

use super::{
    action::{self, Action, ActionFlags, DefaultAction},
    info::SignalInfo,
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
        let mut state = process.state.lock();
        if state.life != Life::Running {
            return None;
        }
        let blocked = task.signals.lock().blocked;
        let Some(info) = take(task, &mut state, blocked) else {
            task.attention.clear(attention::SIGNAL);
            return None;
        };
        let Some(signal) = info.number() else { continue };
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
                state.end(Status::Killed(signal));
                return None;
            }
            DefaultAction::Stop => {
                let continues = state.continues;
                drop(state);
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

/// Takes the first pending signal that is not in `blocked`: the thread's own before its process'.
pub fn take(task: &Task, state: &mut State, blocked: SignalSet) -> Option<SignalInfo> {
    let own = task.signals.lock().pending.take(blocked);
    let info = own.or_else(|| state.pending.take(blocked));
    task.look_again(state);
    info
}

impl Task {
    /// Waits until one of these signals is pending, blocked or not, and takes it: sigwaitinfo(2).
    pub async fn awaited_signal(&self, awaited: SignalSet) -> SignalInfo {
        // The signals stay blocked meanwhile; being awaited, they are kept even if they would be ignored.
        let _awaiting = Awaiting::new(self, awaited);
        poll_fn(|_| {
            let mut state = self.process().state.lock();
            match take(self, &mut state, SignalSet(!awaited.0)) {
                Some(info) => Poll::Ready(info),
                None => Poll::Pending,
            }
        })
        .await
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

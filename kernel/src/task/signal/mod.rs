//! Signals, signal(7): how they are sent, kept, and delivered.
//!
//! * [`info`] is what comes with a signal, [`action`] what a process wants done about it, [`pending`] where it waits;
//! * [`send`] decides what becomes of one that is sent, and [`permission`] whether it may be;
//! * [`take`] picks the next to be delivered and carries out what needs no handler;
//! * [`frame`] is what a handler finds on its stack, which may be an [`alternate_stack`], and [`deliver`] puts it there; [`restart`] decides what becomes of
//!   the system call it interrupted;
//! * [`stop`] is where stopped processes wait, and [`notify`] tells parents.

pub mod action;
pub mod alternate_stack;
pub mod deliver;
pub mod frame;
pub mod info;
pub mod notify;
pub mod pending;
pub mod permission;
pub mod restart;
pub mod send;
pub mod stop;
pub mod take;

pub use action::{Action, Actions};
pub use alternate_stack::AlternateStack;
pub use info::SignalInfo;
pub use pending::Pending;
pub use send::{force, send_to_group, send_to_process, send_to_task};

use super::{Process, Task, attention, process::State};
use crate::abi::{Signal, SignalSet};

/// What one thread keeps about its signals.
#[derive(Default)]
pub struct ThreadSignals {
    /// Those sent to this thread alone.
    pub pending: Pending,
    /// Those it does not want now: the signal mask.
    pub blocked: SignalSet,
    /// The mask to go back to once what a temporary one was for is over.
    pub saved_mask: Option<SignalSet>,
    /// Blocked ones that it waits for all the same: sigtimedwait(2).
    pub awaited: SignalSet,
    /// Where handlers with SA_ONSTACK run.
    pub alternate_stack: AlternateStack,
    /// The last exception, for the frames of the handlers of its signal.
    pub last_fault: LastFault,
}

/// What the processor said of an exception: `trapno`, `err` and `cr2` of a signal frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LastFault {
    /// The exception's number.
    pub vector: u8,
    /// Its error code.
    pub error_code: u32,
    /// For a page fault, the address.
    pub address: u64,
}

impl ThreadSignals {
    /// What a new task begins with: the same mask, and the same alternate stack, until its maker decides otherwise.
    pub fn for_new_task(&self) -> Self {
        Self { blocked: self.blocked, alternate_stack: self.alternate_stack, ..Self::default() }
    }

    /// Whether the signal would reach this thread now.
    pub fn wants(&self, signal: Signal) -> bool {
        !self.blocked.contains(signal)
    }
}

impl Task {
    /// Whether something is to be done before it goes on waiting.
    pub fn interrupted(&self) -> bool {
        self.attention.interrupts()
    }

    /// Whether it is to end.
    pub fn killed(&self) -> bool {
        self.attention.has(attention::KILLED)
    }

    /// Its signal mask.
    pub fn blocked(&self) -> SignalSet {
        self.signals.lock().blocked
    }

    /// Sets its signal mask, in which SIGKILL and SIGSTOP never are. Only the task itself does.
    pub fn set_blocked(&self, mask: SignalSet) {
        self.change_signals(|signals| signals.blocked = mask);
    }

    /// Sets a mask for the duration of a wait, pselect(2). There is nothing to undo: once the call is over the mask from
    /// before comes back, after the handler of the signal that ended the wait.
    pub fn set_temporary_mask(&self, mask: SignalSet) {
        self.attention.set(attention::MASK);
        self.change_signals(|signals| {
            let before = core::mem::replace(&mut signals.blocked, mask);
            signals.saved_mask.get_or_insert(before);
        });
    }

    /// Changes its mask, and what goes with it, and works out what that lets through. Only the task itself does.
    #[inline]
    fn change_signals(&self, change: impl FnOnce(&mut ThreadSignals)) {
        let state = self.process().state.lock();
        let mut signals = self.signals.lock();
        change(&mut signals);
        signals.blocked = signals.blocked.without(action::UNCATCHABLE);
        self.look_at(&state, &signals);
    }

    /// Brings the mask from before [`Self::set_temporary_mask`] back.
    pub(super) fn restore_mask(&self) {
        let before = self.signals.lock().saved_mask.take();
        self.attention.clear(attention::MASK);
        if let Some(before) = before {
            self.set_blocked(before);
        }
    }

    /// Works out anew whether there is a signal to deliver. `state` is its process'.
    pub(super) fn look_again(&self, state: &State) {
        self.look_at(state, &self.signals.lock());
    }

    #[inline]
    fn look_at(&self, state: &State, signals: &ThreadSignals) {
        let pending = signals.pending.set().union(state.pending.set());
        self.attention.put(attention::SIGNAL, !pending.without(signals.blocked).is_empty());
    }

    /// Where its handlers with SA_ONSTACK run.
    pub fn alternate_stack(&self) -> AlternateStack {
        self.signals.lock().alternate_stack
    }

    /// Sets that.
    pub fn set_alternate_stack(&self, stack: AlternateStack) {
        self.signals.lock().alternate_stack = stack;
    }

    /// The signals pending for it alone, for its process, and those it blocks: for `/proc/PID/status`.
    pub fn pending_and_blocked(&self) -> (SignalSet, SignalSet, SignalSet) {
        let state = self.process().state.lock();
        let signals = self.signals.lock();
        (signals.pending.set(), state.pending.set(), signals.blocked)
    }
}

impl Process {
    /// Forgets signals that are pending for it or for one of its threads: they are ignored from now on.
    pub fn forget_pending(&self, signals: SignalSet) {
        let mut state = self.state.lock();
        state.discard(signals);
        for thread in state.threads.values() {
            thread.look_again(&state);
        }
    }
}

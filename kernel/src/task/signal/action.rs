//! What a process wants done about each signal, sigaction(2), and what is done if it wants nothing, signal(7).

use crate::{
    abi::{Signal, SignalSet, linux},
    sync::SpinLock,
};
use alloc::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct sigaction` as the system call takes it on x86-64 (the C library's own differs).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Action {
    /// Where the handler is; 0 is SIG_DFL and 1 SIG_IGN.
    pub handler: usize,
    /// SA_ flags.
    pub flags: u64,
    /// Where the handler returns to: code that makes the call rt_sigreturn. Linux demands it on x86-64.
    pub restorer: usize,
    /// Blocked while the handler runs.
    pub mask: SignalSet,
}

/// The handler that means the default.
pub const DEFAULT: usize = 0;
/// The handler that means to ignore.
pub const IGNORE: usize = 1;

bitflags::bitflags! {
    /// The flags of an [`Action`] that this kernel knows, sigaction(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "sigaction(2) describes them")]
    pub struct ActionFlags: u64 {
        const NOCLDSTOP = linux::SA_NOCLDSTOP as u64;
        const NOCLDWAIT = linux::SA_NOCLDWAIT as u64;
        const SIGINFO = linux::SA_SIGINFO as u64;
        const EXPOSE_TAGBITS = linux::SA_EXPOSE_TAGBITS as u64;
        const RESTORER = linux::SA_RESTORER as u64;
        const ONSTACK = linux::SA_ONSTACK as u64;
        const RESTART = linux::SA_RESTART as u64;
        const NODEFER = linux::SA_NODEFER as u64;
        const RESETHAND = linux::SA_RESETHAND as u64;
    }
}

impl Action {
    /// The flags this kernel knows.
    pub fn known_flags(&self) -> ActionFlags {
        ActionFlags::from_bits_truncate(self.flags)
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: ActionFlags) -> bool {
        self.known_flags().contains(flag)
    }

    /// Whether the signal, if sent now and not blocked, would do nothing.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.handler {
            IGNORE => true,
            DEFAULT => default_of(signal) == DefaultAction::Ignore || signal == Signal::SIGCONT,
            _ => false,
        }
    }
}

/// What happens to a process that has no handler for a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultAction {
    /// It ends.
    Terminate,
    /// It ends; where core files exist, it leaves one.
    DumpCore,
    /// It stops.
    Stop,
    /// It goes on, which happens when the signal is sent; nothing is left to do then.
    Continue,
    /// Nothing.
    Ignore,
}

/// Every signal whose default is not to terminate, signal(7).
const DEFAULTS: &[(Signal, DefaultAction)] = &[
    (Signal::SIGQUIT, DefaultAction::DumpCore),
    (Signal::SIGILL, DefaultAction::DumpCore),
    (Signal::SIGTRAP, DefaultAction::DumpCore),
    (Signal::SIGABRT, DefaultAction::DumpCore),
    (Signal::SIGBUS, DefaultAction::DumpCore),
    (Signal::SIGFPE, DefaultAction::DumpCore),
    (Signal::SIGSEGV, DefaultAction::DumpCore),
    (Signal::SIGXCPU, DefaultAction::DumpCore),
    (Signal::SIGXFSZ, DefaultAction::DumpCore),
    (Signal::SIGSYS, DefaultAction::DumpCore),
    (Signal::SIGSTOP, DefaultAction::Stop),
    (Signal::SIGTSTP, DefaultAction::Stop),
    (Signal::SIGTTIN, DefaultAction::Stop),
    (Signal::SIGTTOU, DefaultAction::Stop),
    (Signal::SIGCONT, DefaultAction::Continue),
    (Signal::SIGCHLD, DefaultAction::Ignore),
    (Signal::SIGURG, DefaultAction::Ignore),
    (Signal::SIGWINCH, DefaultAction::Ignore),
];

/// What a signal does by default.
pub fn default_of(signal: Signal) -> DefaultAction {
    DEFAULTS
        .iter()
        .find(|(which, _)| *which == signal)
        .map_or(DefaultAction::Terminate, |(_, action)| *action)
}

/// The signals that stop a process.
pub const STOPPING: SignalSet = SignalSet::of(Signal::SIGSTOP)
    .union(SignalSet::of(Signal::SIGTSTP))
    .union(SignalSet::of(Signal::SIGTTIN))
    .union(SignalSet::of(Signal::SIGTTOU));

/// The signals that cannot be caught, blocked or ignored.
pub const UNCATCHABLE: SignalSet = SignalSet::of(Signal::SIGKILL).union(SignalSet::of(Signal::SIGSTOP));

/// An action for each signal.
type Table = [Action; Signal::COUNT];

/// The actions of a process, or of several that were cloned with CLONE_SIGHAND.
///
/// The table is 2 KiB, and most processes never differ from their parent before they exec: so a fork shares it, and the
/// first change copies it.
pub struct Actions(SpinLock<Arc<Table>>);

impl Default for Actions {
    fn default() -> Self {
        Self(SpinLock::new(Arc::new([Action::default(); Signal::COUNT])))
    }
}

impl Actions {
    /// What is done about a signal.
    pub fn get(&self, signal: Signal) -> Action {
        self.0.lock()[signal.index()]
    }

    /// Sets what is done about a signal; gives what was.
    pub fn set(&self, signal: Signal, action: Action) -> Action {
        let mut table = self.0.lock();
        core::mem::replace(&mut Arc::make_mut(&mut table)[signal.index()], action)
    }

    /// For a fork: equal, but from now on separate.
    pub fn copy(&self) -> Self {
        Self(SpinLock::new(self.0.get()))
    }

    /// For exec, whose new program has none of the old handlers, and for CLONE_CLEAR_SIGHAND: what was caught gets its
    /// default; what was ignored stays so.
    pub fn without_handlers(&self) -> Self {
        let mut table = *self.0.get();
        for action in &mut table {
            *action = Action {
                handler: if action.handler == IGNORE { IGNORE } else { DEFAULT },
                ..Action::default()
            };
        }
        Self(SpinLock::new(Arc::new(table)))
    }

    /// The signals that are ignored, and those that have a handler: SigIgn and SigCgt in proc_pid_status(5).
    pub fn ignored_and_caught(&self) -> (SignalSet, SignalSet) {
        let table = self.0.get();
        let (mut ignored, mut caught) = (SignalSet::EMPTY, SignalSet::EMPTY);
        for (number, action) in (1..).zip(table.iter()) {
            let Ok(signal) = Signal::new(number) else { break };
            match action.handler {
                DEFAULT => {}
                IGNORE => ignored.insert(signal),
                _ => caught.insert(signal),
            }
        }
        (ignored, caught)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_signal_7() {
        use DefaultAction::{DumpCore, Ignore, Stop, Terminate};
        let expected = [
            (1, Terminate),
            (3, DumpCore),
            (9, Terminate),
            (11, DumpCore),
            (13, Terminate),
            (17, Ignore),
            (19, Stop),
            (22, Stop),
            (23, Ignore),
            (28, Ignore),
            (29, Terminate),
            (31, DumpCore),
            (32, Terminate),
            (64, Terminate),
        ];
        for (number, action) in expected {
            assert_eq!(default_of(Signal::new(number).unwrap()), action, "signal {number}");
        }
    }

    #[test]
    fn copies_are_separate_after_the_first_change() {
        let first = Actions::default();
        let ignore = Action { handler: IGNORE, flags: 7, ..Action::default() };
        let caught = Action { handler: 0x1000, ..Action::default() };
        first.set(Signal::SIGINT, ignore);
        let second = first.copy();
        second.set(Signal::SIGTERM, caught);
        assert_eq!((first.get(Signal::SIGTERM).handler, second.get(Signal::SIGINT)), (DEFAULT, ignore));
        let after_exec = second.without_handlers();
        assert_eq!(after_exec.get(Signal::SIGTERM), Action::default());
        assert_eq!(after_exec.get(Signal::SIGINT), Action { handler: IGNORE, ..Action::default() });
        let (ignored, found) = second.ignored_and_caught();
        assert_eq!((ignored, found), (SignalSet::of(Signal::SIGINT), SignalSet::of(Signal::SIGTERM)));
    }
}

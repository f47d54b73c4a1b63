//! Signals by number, and sets of them, signal(7).

use super::{Errno, Result, linux};

/// A signal: 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident)*) => {
        #[allow(missing_docs, dead_code, reason = "signal(7) describes them all, used or not")]
        impl Signal {
            $(pub const $name: Self = Self(linux::$name as u8);)*
        }
    };
}

signals! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM
    SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO
    SIGPWR SIGSYS
}

impl Signal {
    /// How many there are; they count from 1.
    pub const COUNT: usize = 64;

    /// The signal of this number. Errors: EINVAL outside 1 to 64.
    pub fn new(number: u32) -> Result<Self> {
        Self::numbered(number).ok_or_else(|| Errno::EINVAL.because("signals are numbered 1 to 64"))
    }

    /// The signal of this number, if there is one.
    pub const fn numbered(number: u32) -> Option<Self> {
        match number {
            1..=64 => Some(Self(number as u8)),
            _ => None,
        }
    }

    /// 1 to 64.
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Its place in a table of `Signal::COUNT`: 0 to 63.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }
}

/// A set of signals: bit `n - 1` stands for signal `n`, as in the kernel's `sigset_t`.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);

    /// Just this one.
    pub const fn of(signal: Signal) -> Self {
        Self(1 << signal.index())
    }

    /// Whether it holds the signal.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::of(signal).0 != 0
    }

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without what the other holds.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest signal in it.
    pub fn first(self) -> Option<Signal> {
        (!self.is_empty()).then(|| Signal(self.0.trailing_zeros() as u8 + 1))
    }

    /// Puts one in.
    pub fn insert(&mut self, signal: Signal) {
        *self = self.union(Self::of(signal));
    }

    /// Takes one out.
    pub fn remove(&mut self, signal: Signal) {
        *self = self.without(Self::of(signal));
    }
}

//! How a process ended or what happened to it, as wait(2) encodes it.

use super::signal::info::SignalInfo;
use crate::abi::{Signal, linux};

/// How a thread or a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// By exit(2), with the low eight bits of its argument.
    Exited(u8),
    /// By a signal. No core file is ever written, so the bit that tells of one is never set.
    Killed(Signal),
}

impl Status {
    /// As wait4(2) tells it.
    pub const fn encoded(self) -> i32 {
        match self {
            Self::Exited(code) => (code as i32) << 8,
            Self::Killed(signal) => signal.number() as i32,
        }
    }

    /// As waitid(2) and SIGCHLD tell it: `si_code` and `si_status`.
    pub const fn code_and_value(self) -> (i32, i32) {
        match self {
            Self::Exited(code) => (linux::CLD_EXITED as i32, code as i32),
            Self::Killed(signal) => (linux::CLD_KILLED as i32, signal.number() as i32),
        }
    }
}

/// What wait4(2) can report of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It has ended.
    Ended(Status),
    /// It was stopped by a signal.
    Stopped(Signal),
    /// It was continued.
    Continued,
}

impl Event {
    /// As wait4(2) tells it.
    pub const fn encoded(self) -> i32 {
        match self {
            Self::Ended(status) => status.encoded(),
            Self::Stopped(signal) => (signal.number() as i32) << 8 | 0x7f,
            Self::Continued => 0xffff,
        }
    }

    /// As waitid(2) and SIGCHLD tell it: `si_code` and `si_status`.
    pub const fn code_and_value(self) -> (i32, i32) {
        match self {
            Self::Ended(status) => status.code_and_value(),
            Self::Stopped(signal) => (linux::CLD_STOPPED as i32, signal.number() as i32),
            Self::Continued => (linux::CLD_CONTINUED as i32, Signal::SIGCONT.number() as i32),
        }
    }

    /// The signal that tells of it.
    pub fn signal_info(
        self,
        signal: Signal,
        process: crate::abi::TaskId,
        user: u32,
        times: super::cpu_time::Times,
    ) -> SignalInfo {
        let (code, value) = self.code_and_value();
        let (user_ticks, system_ticks) = times.ticks();
        SignalInfo::child(signal, code, process, user, value, user_ticks, system_ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_the_macros_of_wait_2_take_apart() {
        let cases = [
            (Event::Ended(Status::Exited(3)), 0x300, (1, 3)),
            (Event::Ended(Status::Killed(Signal::SIGSEGV)), 11, (2, 11)),
            (Event::Stopped(Signal::SIGTSTP), 0x147f, (5, 20)),
            (Event::Continued, 0xffff, (6, 18)),
        ];
        for (event, encoded, told) in cases {
            assert_eq!((event.encoded(), event.code_and_value()), (encoded, told), "{event:?}");
        }
    }
}

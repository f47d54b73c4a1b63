//! What comes with a signal: `siginfo_t`, sigaction(2).
//!
//! A program sees 128 bytes, of which Linux keeps the first 48 while the signal is pending; so does Gnomon. They are
//! three numbers that every signal has and 32 bytes whose meaning depends on the code. A queued signal may have been
//! made up by its sender, rt_sigqueueinfo(2), so the bytes are kept as they are and not taken apart into an enum.

use crate::abi::{Signal, TaskId, linux};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Why a signal was sent: `si_code` for signals that are not an exception's.
pub mod code {
    use super::linux;
    /// By kill(2).
    pub const USER: i32 = linux::SI_USER as i32;
    /// By the kernel.
    pub const KERNEL: i32 = linux::SI_KERNEL as i32;
    /// By a timer of timer_create(2).
    pub const TIMER: i32 = linux::SI_TIMER;
    /// By tkill(2) or tgkill(2).
    pub const THREAD: i32 = linux::SI_TKILL;
}

/// A pending signal with what came with it; laid out as the beginning of `siginfo_t`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SignalInfo {
    /// `si_signo`
    pub signal: i32,
    /// `si_errno`
    pub errno: i32,
    /// `si_code`
    pub code: i32,
    padding: u32,
    /// The rest, from offset 16 on.
    pub fields: [u64; 4],
}

/// `siginfo_t` as programs see it.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UserSignalInfo {
    /// What is kept.
    pub info: SignalInfo,
    /// Zero in what the kernel writes.
    pub rest: [u64; 10],
}

/// Two 32-bit fields in the place of a 64-bit one.
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl SignalInfo {
    const fn new(signal: Signal, code: i32, fields: [u64; 4]) -> Self {
        Self { signal: signal.number() as i32, errno: 0, code, padding: 0, fields }
    }

    /// From the kernel itself, with nothing to tell.
    pub const fn kernel(signal: Signal) -> Self {
        Self::new(signal, code::KERNEL, [0; 4])
    }

    /// From a process: `code` is [`code::USER`] or [`code::THREAD`], `user` is its real user id.
    pub const fn user(signal: Signal, code: i32, process: TaskId, user: u32) -> Self {
        Self::new(signal, code, [pair(process, user), 0, 0, 0])
    }

    /// About an instruction that could not be executed: `address` is where, or what it wanted to touch.
    pub const fn fault(signal: Signal, code: i32, address: usize) -> Self {
        Self::new(signal, code, [address as u64, 0, 0, 0])
    }

    /// About a child: `status` is its exit code or a signal, the times are in clock ticks (100 in a second).
    pub const fn child(
        signal: Signal,
        code: i32,
        process: TaskId,
        user: u32,
        status: i32,
        user_ticks: u64,
        system_ticks: u64,
    ) -> Self {
        Self::new(signal, code, [pair(process, user), pair(status as u32, 0), user_ticks, system_ticks])
    }

    /// From a timer, timer_create(2).
    pub const fn timer(signal: Signal, timer: i32, value: u64) -> Self {
        Self::new(signal, code::TIMER, [pair(timer as u32, 0), value, 0, 0])
    }

    /// Says how often a timer expired beyond the first time.
    pub const fn set_overrun(&mut self, overrun: i32) {
        self.fields[0] = pair(self.fields[0] as u32, overrun as u32);
    }

    /// What is told of a signal whose details were lost because the queue was full: signal(7).
    pub const fn forgotten(signal: Signal) -> Self {
        Self::new(signal, code::USER, [0; 4])
    }

    /// The same, said to be of the signal of this number.
    pub const fn renumbered(self, number: u32) -> Self {
        Self { signal: number as i32, ..self }
    }

    /// Which signal; `None` when a program made up the number.
    pub const fn number(&self) -> Option<Signal> {
        Signal::numbered(self.signal as u32)
    }

    /// Whether a program could have made it: codes up to zero are theirs.
    pub const fn is_from_program(&self) -> bool {
        self.code <= 0
    }

    /// `si_pid`, for the codes that have it.
    #[cfg(test)]
    pub const fn process(&self) -> TaskId {
        self.fields[0] as TaskId
    }

    /// As a program is to see it.
    pub const fn for_user(self) -> UserSignalInfo {
        UserSignalInfo { info: self, rest: [0; 10] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn laid_out_as_linux_does() {
        use crate::abi::linux::siginfo_t;
        assert_eq!(size_of::<SignalInfo>(), 48);
        assert_eq!(size_of::<UserSignalInfo>(), size_of::<siginfo_t>());
        assert_eq!((offset_of!(SignalInfo, code), offset_of!(SignalInfo, fields)), (8, 16));
        let info = SignalInfo::child(Signal::SIGCHLD, 1, 77, 1000, 3, 5, 6);
        let bytes = info.as_bytes();
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(
            [word(0), word(8), word(16), word(20), word(24), word(32), word(40)],
            [17, 1, 77, 1000, 3, 5, 6]
        );
    }
}

//! Signals as a file, signalfd(2): who reads it takes signals that are pending for it, instead of having a handler run.
//!
//! Whose signals they are is decided by who reads or polls, not by who made the file: a forked child finds its own.

use super::{
    Task, sched,
    signal::{SignalInfo, info::code, send::PENDING},
    table,
};
use crate::{
    abi::{Errno, Result, Signal, SignalSet},
    fs::{Call, File, FileOperations, OpenFlags, Readiness, pseudo::anonymous_file},
    mm::user::Destination,
    ns::Credentials,
    sync::{SpinLock, WaitQueue},
};
use alloc::sync::Arc;
use core::fmt;
use zerocopy::{Immutable, IntoBytes};

/// What an open signal file is: a set of signals.
pub struct SignalFile(SpinLock<SignalSet>);

/// A new one. `flags`: O_NONBLOCK counts.
pub fn open(wanted: SignalSet, flags: OpenFlags, credentials: Arc<Credentials>) -> Result<Arc<File>> {
    let file = Arc::new(SignalFile(SpinLock::new(wanted)));
    anonymous_file("signalfd", file, flags | OpenFlags::READ_WRITE, credentials)
}

/// The signal file behind an open file. Errors: EINVAL for other files.
pub fn of(file: &File) -> Result<&SignalFile> {
    file.operations_as().ok_or_else(|| Errno::EINVAL.because("the file is not a signal file"))
}

impl SignalFile {
    /// Which signals are taken from now on.
    pub fn set(&self, wanted: SignalSet) {
        *self.0.lock() = wanted;
        PENDING.wake_readers();
    }
}

/// `struct signalfd_siginfo`
#[repr(C)]
#[derive(Clone, Copy, Default, IntoBytes, Immutable)]
struct Record {
    signal: u32,
    errno: i32,
    code: i32,
    process: u32,
    user: u32,
    descriptor: i32,
    timer: u32,
    band: u32,
    overrun: u32,
    trap: u32,
    status: i32,
    integer: i32,
    pointer: u64,
    user_time: u64,
    system_time: u64,
    address: u64,
    address_least_bit: u16,
    padding: u16,
    system_call: i32,
    call_address: u64,
    architecture: u32,
    padding_2: [u8; 28],
}

const BYTES: usize = size_of::<Record>();
const _: () = assert!(BYTES == 128);

impl Record {
    /// Which fields are meant depends on why the signal was sent, sigaction(2).
    fn new(info: &SignalInfo) -> Self {
        let [first, second, third, fourth] = info.fields;
        let (low, high) = (first as u32, (first >> 32) as u32);
        let common =
            Self { signal: info.signal as u32, errno: info.errno, code: info.code, ..Self::default() };
        let from_somebody = Self { process: low, user: high, ..common };
        let with_value = |record| Self { integer: second as i32, pointer: second, ..record };
        match info.number() {
            _ if info.code == code::TIMER => with_value(Self { timer: low, overrun: high, ..common }),
            _ if info.code == code::USER || info.code == code::THREAD => from_somebody,
            _ if info.is_from_program() => with_value(from_somebody),
            Some(Signal::SIGCHLD) if info.code < code::KERNEL => {
                Self { status: second as i32, user_time: third, system_time: fourth, ..from_somebody }
            }
            Some(Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE | Signal::SIGTRAP)
                if info.code < code::KERNEL =>
            {
                Self { address: first, ..common }
            }
            _ => from_somebody,
        }
    }
}

impl FileOperations for SignalFile {
    /// As many signals as there are and as there is room for. Errors: EINVAL for less room than one takes; EAGAIN.
    fn read(&self, call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        if into.remaining() < BYTES {
            return Err(Errno::EINVAL.because("a signal is read in 128 bytes"));
        }
        let reader = table::task(call.actor.thread_id()).ok_or(Errno::EINVAL)?;
        let wanted = *self.0.lock();
        let mut done = 0;
        while into.remaining() >= BYTES
            && let Some(info) = reader.take_pending(wanted)
        {
            match into.put(Record::new(&info).as_bytes()) {
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if done == 0 { Err(Errno::EAGAIN.because("no such signal is pending")) } else { Ok(done) }
    }

    fn readiness(&self, _file: &File) -> Readiness {
        // Whoever asks does so on its own account.
        let is_pending = |task: Arc<Task>| {
            let (own, shared, _) = task.pending_and_blocked();
            own.union(shared).0 & self.0.lock().0 != 0
        };
        match sched::current().is_some_and(is_pending) {
            true => Readiness::IN,
            false => Readiness::empty(),
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&PENDING)
    }

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "sigmask:\t{:016x}", self.0.lock().0)
    }
}

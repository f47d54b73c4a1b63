//! Terminals. There is one, the [`super::console`].
//!
//! Bytes come from the machine's interrupt ([`Terminal::receive`]) and go through the [`line_discipline`] to who reads;
//! what is written goes through the [`output`] side to the machine, both as [`termios`] says. [`controls`] are the ioctls,
//! [`job_control`] who may.

mod controls;
pub mod job_control;
pub mod line_discipline;
pub mod output;
pub mod termios;

use super::{Answer, Call, File, FileOperations, OpenFlags, Opening, Readiness};
use crate::{
    abi::{Errno, Result, Signal},
    mm::{
        AddressSpace,
        user::{Destination, Source},
    },
    sync::{SpinLock, WaitQueue},
    time::{self, HostClock},
};
use alloc::sync::Arc;
use arrayvec::ArrayVec;
use job_control::Jobs;
use line_discipline::{Echo, LineDiscipline, Meaning};
use output::{OutputProcessor, TAB};
use termios::{Input, Local, Special, Termios, WindowSize};

/// Bytes of output that are processed at once.
const CHUNK: usize = 256;
/// The unit of VTIME, in nanoseconds.
const TENTH_OF_SECOND: i64 = 100_000_000;

/// A terminal.
pub struct Terminal {
    /// Address spaces' locks are taken inside it; nothing that knows tasks is.
    state: SpinLock<State>,
    /// Nothing is taken inside it.
    jobs: SpinLock<Jobs>,
    changed: WaitQueue,
    wire: Wire,
}

/// What is at the other end.
pub struct Wire {
    /// Sends bytes.
    pub write: fn(&[u8]),
    /// The next byte that has come.
    pub read: fn() -> Option<u8>,
}

#[derive(Default)]
struct State {
    termios: Termios,
    window: WindowSize,
    input: LineDiscipline,
    output: OutputProcessor,
    /// Output waits for the key that starts it again.
    stopped: bool,
    /// Nobody has room for what comes over the wire, so it is left there.
    full: bool,
    /// When the last byte came, in host monotonic nanoseconds; kept while VTIME is not 0.
    last_byte: i64,
}

impl Terminal {
    /// One at the end of a wire.
    pub fn new(wire: Wire) -> Arc<Self> {
        Arc::new(Self {
            state: SpinLock::default(),
            jobs: SpinLock::default(),
            changed: WaitQueue::new(),
            wire,
        })
    }

    fn jobs(&self) -> Jobs {
        *self.jobs.lock()
    }

    fn set_jobs(&self, jobs: Jobs) {
        *self.jobs.lock() = jobs;
    }

    /// Something has come over the wire: takes as much of it as there is room for.
    pub fn receive(&self) {
        loop {
            {
                let state = &mut *self.state.lock();
                state.full = !state.input.has_room(&state.termios);
                if state.full {
                    return;
                }
            }
            let Some(byte) = (self.wire.read)() else { return };
            self.take_in(byte);
        }
    }

    /// There may be room again for what was left on the wire.
    fn receive_rest(&self) {
        if self.state.lock().full {
            self.receive();
        }
    }

    fn take_in(&self, byte: u8) {
        let meaning = {
            let state = &mut *self.state.lock();
            if state.termios.number(Special::Time) != 0 {
                state.last_byte = time::now(HostClock::Monotonic);
            }
            let mut echo = Echo { output: &mut state.output, write: &mut |bytes| (self.wire.write)(bytes) };
            let meaning = state.input.receive(byte, &state.termios, &mut echo);
            match meaning {
                Meaning::Stop => state.stopped = true,
                Meaning::Start | Meaning::Signal(_) => state.stopped = false,
                Meaning::Input if state.termios.input().contains(Input::IXANY) => state.stopped = false,
                Meaning::Input => {}
            }
            meaning
        };
        if let Meaning::Signal(signal) = meaning {
            job_control::signal_group(self.foreground(), signal);
        }
        self.changed.wake_all();
    }

    fn read(&self, call: &Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        let room = into.remaining();
        if room == 0 {
            return Ok(0);
        }
        let mut state = self.state.lock();
        let State { termios, input, .. } = &mut *state;
        let nonblocking = call.file.flags().contains(OpenFlags::NON_BLOCKING);
        let (least, timed) = (termios.number(Special::Minimum), termios.number(Special::Time) != 0);
        let least = if nonblocking { 1 } else { usize::from(least).min(room) };
        let satisfied = match (termios.is_canonical(), least) {
            (true, _) => input.has(1, termios),
            // Without a count, something now or nothing soon.
            (false, 0) => !timed || input.has(1, termios),
            (false, least) => input.has(least, termios),
        };
        if !satisfied && !self.patience_is_over(&state, call.waiting_since) {
            return Err(Errno::EAGAIN.because("nothing that could be read has been typed"));
        }
        let State { termios, input, .. } = &mut *state;
        let result = input.read(room, termios, &mut |bytes| into.put(bytes));
        drop(state);
        self.receive_rest();
        result
    }

    fn patience_is_over(&self, state: &State, since: Option<i64>) -> bool {
        let deadline = since.and_then(|since| state.patience(since));
        deadline.is_some_and(|deadline| time::now(HostClock::Monotonic) >= deadline)
    }

    fn write(&self, from: &mut Source<'_>) -> Result<usize> {
        let mut done = 0;
        let mut buffer = [0; CHUNK];
        while from.remaining() > 0 {
            if self.state.lock().stopped {
                return if done > 0 {
                    Ok(done)
                } else {
                    Err(Errno::EAGAIN.because("output was stopped by a key"))
                };
            }
            let count = match from.take(&mut buffer) {
                Ok(count) => count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            let state = &mut *self.state.lock();
            // In one piece: on a machine that is a process each is a call to its host.
            let mut processed = ArrayVec::<u8, { CHUNK * TAB }>::new();
            state.output.process(&buffer[..count], &state.termios, &mut |bytes| {
                processed.extend(bytes.iter().copied())
            });
            (self.wire.write)(&processed);
            done += count;
        }
        Ok(done)
    }
}

impl State {
    /// When a read that waits since some moment has waited long enough, by VTIME: from its beginning, or with VMIN from
    /// the last byte, once there is one.
    fn patience(&self, since: i64) -> Option<i64> {
        let tenths = i64::from(self.termios.number(Special::Time));
        if tenths == 0 || self.termios.is_canonical() {
            return None;
        }
        match self.termios.number(Special::Minimum) {
            0 => Some(since + tenths * TENTH_OF_SECOND),
            _ if self.input.length() > 0 => Some(self.last_byte + tenths * TENTH_OF_SECOND),
            _ => None,
        }
    }
}

/// An open terminal.
///
/// Job control is the same by whichever name it was opened. (Linux exempts what was opened as `/dev/console`; then a
/// shell that was started on it could not keep its background jobs from reading what is typed.)
pub struct TerminalFile {
    terminal: Arc<Terminal>,
}

impl TerminalFile {
    /// Opens it by one of its names. A session's leader that has no controlling terminal gets this one, unless O_NOCTTY
    /// or it is opened as the console, open(2).
    pub fn open(terminal: &Arc<Terminal>, is_console: bool, opening: &Opening<'_>) -> Arc<Self> {
        let wanted = !opening.flags.contains(OpenFlags::NO_CONTROLLING_TERMINAL) && !is_console;
        if wanted && opening.flags.reads() {
            terminal.offer_to(opening.actor);
        }
        Arc::new(Self { terminal: terminal.clone() })
    }
}

impl FileOperations for TerminalFile {
    fn read(&self, call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        self.terminal.must_be_foreground(call.actor, Signal::SIGTTIN)?;
        self.terminal.read(&call, into)
    }

    fn write(&self, call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        let asks = self.terminal.state.lock().termios.local().contains(Local::TOSTOP);
        if asks {
            self.terminal.must_be_foreground(call.actor, Signal::SIGTTOU)?;
        }
        self.terminal.write(from)
    }

    fn readiness(&self, _file: &File) -> Readiness {
        let state = self.terminal.state.lock();
        let (least, timed) =
            (state.termios.number(Special::Minimum), state.termios.number(Special::Time) != 0);
        let least = if timed { 1 } else { usize::from(least).max(1) };
        let mut readiness = Readiness::empty();
        readiness.set(Readiness::READABLE, state.input.has(least, &state.termios));
        readiness.set(Readiness::WRITABLE, !state.stopped);
        readiness
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.terminal.changed)
    }

    fn waits_for_ever(&self) -> bool {
        false
    }

    fn patience(&self, since: i64) -> Option<i64> {
        self.terminal.state.lock().patience(since)
    }

    fn control(&self, call: Call<'_>, space: &AddressSpace, request: u32, argument: usize) -> Result<Answer> {
        controls::control(&self.terminal, call.actor, space, request, argument).map(Answer::Value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_from_the_start_or_from_the_last_byte() {
        let raw = Termios::default().with_local(Local::empty(), Local::ICANON).with_number(Special::Time, 3);
        let mut state = State { termios: raw.with_number(Special::Minimum, 0), ..State::default() };
        assert_eq!(state.patience(5), Some(5 + 300_000_000));
        state.termios = raw.with_number(Special::Minimum, 2);
        assert_eq!(state.patience(5), None, "the first byte is waited for without end");
        state.last_byte = 7;
        let mut output = OutputProcessor::default();
        let mut echo = Echo { output: &mut output, write: &mut |_| {} };
        state.input.receive(b'x', &state.termios, &mut echo);
        assert_eq!(state.patience(5), Some(7 + 300_000_000));
    }
}

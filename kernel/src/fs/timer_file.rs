//! timerfd_create(2): a timer that is read, and polled, like any other file.
//!
//! It knows host time only: an absolute time has been turned into that when it comes here, and stays what it was
//! whatever namespace its holder enters later.

use super::{Call, File, FileOperations, OpenFlags, Readiness, pseudo::anonymous_file};
use crate::{
    abi::{ClockId, Errno, Result, Timespec},
    mm::user::Destination,
    ns::Credentials,
    sync::{Registration, SpinLock, WaitQueue},
    time::{
        events::Deadline,
        timekeeper::{WALL_CLOCK_SET, settings},
        timer::{Owner, Setting, Timer, bell},
    },
};
use alloc::sync::Arc;
use core::task::Waker;

const BYTES: usize = size_of::<u64>();

/// What an open timer file is.
pub struct TimerFile {
    clock: ClockId,
    /// The queue of deadlines and that of those who wait for the wall clock are taken inside it.
    state: SpinLock<State>,
    changed: WaitQueue,
    bell: Waker,
}

#[derive(Default)]
struct State {
    timer: Timer<Deadline>,
    /// How often it has expired and was not read.
    ticks: u64,
    /// With TFD_TIMER_CANCEL_ON_SET.
    cancels: Option<Cancels>,
    /// As timerfd_settime(2) was given them.
    flags: u32,
}

/// That the timer is worth nothing once the wall clock is set.
struct Cancels {
    /// How often it had been set.
    settings: u64,
    watch: Registration<'static>,
}

impl State {
    /// Whether the wall clock was set since this was last asked, if that cancels it.
    fn was_cancelled(&mut self) -> bool {
        let now = settings();
        self.cancels.as_mut().is_some_and(|cancels| core::mem::replace(&mut cancels.settings, now) != now)
    }

    fn is_cancelled(&self) -> bool {
        self.cancels.as_ref().is_some_and(|cancels| cancels.settings != settings())
    }

    /// Counts what a periodic timer would have done since it expired.
    fn catch_up(&mut self, bell: &Waker) {
        self.ticks = self.ticks.saturating_add(self.timer.go_on(bell).saturating_sub(1));
    }
}

/// A new timer, not set. `flags`: O_NONBLOCK counts.
pub fn timer_file(clock: ClockId, flags: OpenFlags, credentials: Arc<Credentials>) -> Result<Arc<File>> {
    let timer = Arc::new_cyclic(|timer| TimerFile {
        clock,
        state: SpinLock::default(),
        changed: WaitQueue::new(),
        bell: bell(timer.clone()),
    });
    anonymous_file("timerfd", timer, flags | OpenFlags::READ_WRITE, credentials)
}

/// The timer behind an open file. Errors: EINVAL for other files.
pub fn timer_of(file: &File) -> Result<&TimerFile> {
    file.operations_as().ok_or_else(|| Errno::EINVAL.because("the file is not a timer"))
}

impl TimerFile {
    /// The clock it was made for.
    pub fn clock(&self) -> ClockId {
        self.clock
    }

    /// Sets it, and forgets what was not read. `cancels`: whether setting the wall clock ends it. Tells what it was set to.
    ///
    /// Errors: ECANCELED when the wall clock was set since it was last set; the timer is set all the same.
    pub fn set(
        &self,
        first: Option<Deadline>,
        interval: i64,
        cancels: bool,
        flags: u32,
    ) -> (Setting, Result<()>) {
        let mut state = self.state.lock();
        state.timer.skip();
        let before = state.timer.setting();
        let now = settings();
        let seen = state.cancels.as_ref().map_or(now, |cancels| cancels.settings);
        let cancelled = cancels && first.is_some() && seen != now;
        state.cancels = cancels.then(|| {
            let mut watch = WALL_CLOCK_SET.registration();
            watch.renew(&self.bell);
            // Only one that is set says so; to another it is left to be read.
            Cancels { settings: if first.is_some() { now } else { seen }, watch }
        });
        state.ticks = 0;
        state.flags = flags;
        state.timer.set(first, interval, &self.bell);
        match cancelled {
            true => (before, Err(Errno::ECANCELED.because("the wall clock was set"))),
            false => (before, Ok(())),
        }
    }

    /// How it stands.
    pub fn setting(&self) -> Setting {
        let mut state = self.state.lock();
        state.catch_up(&self.bell);
        state.timer.setting()
    }
}

impl Owner for TimerFile {
    fn look(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let expired = state.timer.expired(&self.bell);
        state.ticks += u64::from(expired);
        if let Some(cancels) = &mut state.cancels {
            cancels.watch.renew(&self.bell);
        }
        let news = expired || state.is_cancelled();
        drop(state);
        if news {
            self.changed.wake_readers();
        }
    }
}

impl FileOperations for TimerFile {
    /// Errors: EINVAL for less than eight bytes; EAGAIN; ECANCELED when the wall clock was set.
    fn read(&self, _call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        if into.remaining() < BYTES {
            return Err(Errno::EINVAL.because("a timer is read in eight bytes"));
        }
        let mut state = self.state.lock();
        if state.was_cancelled() {
            state.ticks = 0;
            state.timer.stay();
            return Err(Errno::ECANCELED.because("the wall clock was set"));
        }
        if state.ticks == 0 {
            return Err(Errno::EAGAIN.because("the timer has not expired"));
        }
        state.catch_up(&self.bell);
        let ticks = core::mem::take(&mut state.ticks);
        drop(state);
        into.put(&ticks.to_ne_bytes())
    }

    fn readiness(&self, _file: &File) -> Readiness {
        let state = self.state.lock();
        match state.ticks > 0 || state.is_cancelled() {
            true => Readiness::READABLE.difference(Readiness::READ_NORMAL),
            false => Readiness::empty(),
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.changed)
    }

    fn describe(&self, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        let (ticks, flags, setting) = {
            let state = self.state.lock();
            (state.ticks, state.flags, state.timer.setting())
        };
        let [value, interval] =
            [setting.remaining.unwrap_or(0), setting.interval].map(Timespec::from_nanoseconds);
        writeln!(out, "clockid: {}\nticks: {ticks}\nsettime flags: 0{flags:o}", self.clock.0)?;
        writeln!(out, "it_value: ({}, {})", value.seconds, value.nanoseconds)?;
        writeln!(out, "it_interval: ({}, {})", interval.seconds, interval.nanoseconds)
    }
}

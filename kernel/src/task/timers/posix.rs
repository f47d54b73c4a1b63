//! Timers that a process makes, timer_create(2): each sends a signal, or is only looked at.
//!
//! A periodic timer goes on when its signal is taken, and what it missed until then goes with the signal as its overrun.
//! So each has at most one signal pending, for which room is set aside when it is made. A signal still pending when its
//! timer is set anew or deleted is dropped when it would be taken.

use super::{Expiry, processor::ProcessorClock};
use crate::{
    abi::{Errno, Result, Signal},
    sync::SpinLock,
    task::{
        Process, Task,
        limits::Resource,
        signal::{
            self, SignalInfo,
            pending::{Charge, Pledge, Source},
        },
    },
    time::{
        HostClock,
        timer::{Owner, Setting, Timer, bell},
    },
};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::Waker,
};

/// Which clock a timer goes by.
#[derive(Clone)]
pub enum TimerClock {
    /// One of the host's.
    Host(HostClock),
    /// One of processor time.
    Processor(ProcessorClock),
}

/// What happens when a timer expires, sigevent(3type).
pub enum Notification {
    /// SIGEV_NONE
    None,
    /// SIGEV_SIGNAL and SIGEV_THREAD_ID
    Signal {
        /// Which.
        signal: Signal,
        /// `si_value`; without one, the timer's number.
        value: Option<u64>,
        /// To this thread alone.
        thread: Option<Weak<Task>>,
    },
}

/// A timer.
pub struct PosixTimer {
    /// Its number in its process.
    pub id: i32,
    clock: TimerClock,
    notification: Notification,
    process: Weak<Process>,
    /// What setting an alarm takes is taken inside it.
    state: SpinLock<State>,
    bell: Waker,
    /// A signal of it is pending.
    is_pending: AtomicBool,
    _charge: Charge,
}

#[derive(Default)]
struct State {
    timer: Timer<Expiry>,
    /// How often it was set.
    settings: u64,
    /// That number when a signal was last sent.
    sent_in: u64,
    /// Times it has expired for which no signal was taken.
    expirations: u64,
    /// What came with the last signal taken: the times beyond the first.
    overrun: i32,
}

/// The timers of a process.
#[derive(Default)]
pub struct PosixTimers {
    next: i32,
    timers: BTreeMap<i32, Arc<PosixTimer>>,
}

impl Process {
    /// Makes a timer for one of its tasks.
    ///
    /// Errors: EAGAIN when RLIMIT_SIGPENDING signals and timers are there already.
    pub fn make_timer(
        self: &Arc<Self>,
        task: &Task,
        clock: TimerClock,
        notification: Notification,
    ) -> Result<Arc<PosixTimer>> {
        let limit = self.limit(Resource::SIGPENDING).soft;
        let charge = task.with_account(|account| Charge::new(&account.signals, limit));
        let charge = charge.ok_or_else(|| Errno::EAGAIN.because("a timer counts for RLIMIT_SIGPENDING"))?;
        let mut timers = self.timers.lock();
        while timers.timers.contains_key(&timers.next) {
            timers.next = timers.next.wrapping_add(1) & i32::MAX;
        }
        let id = timers.next;
        timers.next = timers.next.wrapping_add(1) & i32::MAX;
        let timer = Arc::new_cyclic(|timer| PosixTimer {
            id,
            clock,
            notification,
            process: Arc::downgrade(self),
            state: SpinLock::default(),
            bell: bell(timer.clone()),
            is_pending: AtomicBool::new(false),
            _charge: charge,
        });
        timers.timers.insert(id, timer.clone());
        Ok(timer)
    }

    /// The timer of this number. Errors: EINVAL.
    pub fn timer(&self, id: i32) -> Result<Arc<PosixTimer>> {
        self.timers.lock().timers.get(&id).cloned().ok_or_else(unknown)
    }

    /// Deletes one. Errors: EINVAL.
    pub fn delete_timer(&self, id: i32) -> Result<()> {
        let timer = self.timers.lock().timers.remove(&id).ok_or_else(unknown)?;
        timer.disarm();
        Ok(())
    }

    /// Called when a signal is no longer ignored: timers that it kept from going on do so.
    pub fn signal_matters(&self, signal: Signal) {
        let timers: Vec<_> = self.timers.lock().timers.values().cloned().collect();
        timers.iter().for_each(|timer| timer.signal_matters(signal));
    }

    /// Deletes all: at the end, and when another program is executed.
    pub fn delete_timers(&self) {
        let timers = core::mem::take(&mut self.timers.lock().timers);
        timers.into_values().for_each(|timer| timer.disarm());
    }
}

fn unknown() -> Errno {
    Errno::EINVAL.because("the process has no such timer")
}

impl PosixTimer {
    /// The clock it goes by.
    pub fn clock(&self) -> &TimerClock {
        &self.clock
    }

    fn is_silent(&self) -> bool {
        matches!(self.notification, Notification::None)
    }

    /// Sets it; tells how it stood. `first` is a moment of its clock.
    pub fn set(&self, first: Option<Expiry>, interval: i64) -> Setting {
        let mut state = self.state.lock();
        let before = self.look_at(&mut state);
        state.settings += 1;
        (state.expirations, state.overrun) = (0, 0);
        // One that is not set has no interval either.
        let interval = if first.is_some() { interval } else { 0 };
        match self.is_silent() {
            true => state.timer.set_silently(first, interval),
            false => state.timer.set(first, interval, &self.bell),
        }
        before
    }

    fn disarm(&self) {
        self.set(None, 0);
    }

    /// How it stands.
    pub fn setting(&self) -> Setting {
        self.look_at(&mut self.state.lock())
    }

    fn look_at(&self, state: &mut State) -> Setting {
        state.expirations = state.expirations.saturating_add(state.timer.skip());
        let setting = state.timer.setting();
        // One that is set never shows zero, which would say that it is not; unless nobody is told of it anyway.
        let least = i64::from(!self.is_silent());
        Setting { remaining: setting.remaining.map(|remaining| remaining.max(least)), ..setting }
    }

    /// timer_getoverrun(2)
    pub fn overrun(&self) -> i32 {
        self.state.lock().overrun
    }

    /// Called when the process no longer ignores a signal: a periodic timer that it kept from going on does so.
    fn signal_matters(&self, which: Signal) {
        if matches!(self.notification, Notification::Signal { signal, .. } if signal == which)
            && !self.is_pending.load(Relaxed)
        {
            self.state.lock().timer.go_on(&self.bell);
        }
    }

    fn notify(self: &Arc<Self>) {
        let Notification::Signal { signal, value, thread } = &self.notification else { return };
        let (Some(process), thread) = (self.process.upgrade(), thread.as_ref().map(Weak::upgrade)) else {
            return;
        };
        // What is pending of an earlier setting stands for this one now.
        if thread.as_ref().is_some_and(Option::is_none) || self.is_pending.swap(true, Relaxed) {
            return;
        }
        let info = SignalInfo::timer(*signal, self.id, value.unwrap_or(self.id as u64));
        signal::send::from_source(&process, thread.flatten().as_ref(), info, Pledge::new(self.clone()));
    }
}

impl Owner for PosixTimer {
    fn look(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if !state.timer.expired(&self.bell) {
            return;
        }
        state.sent_in = state.settings;
        drop(state);
        self.notify();
    }
}

impl Source for PosixTimer {
    fn taken(&self, info: &mut SignalInfo) -> bool {
        let mut state = self.state.lock();
        if state.sent_in != state.settings {
            return false;
        }
        let times = state.expirations.saturating_add(state.timer.go_on(&self.bell));
        state.expirations = 0;
        state.overrun = i32::try_from(times.saturating_sub(1)).unwrap_or(i32::MAX);
        info.set_overrun(state.overrun);
        true
    }

    fn no_longer_pending(&self) {
        self.is_pending.store(false, Relaxed);
    }
}

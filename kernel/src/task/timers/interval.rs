//! The three timers every process has, setitimer(2): of elapsed time, of time spent in its program, of processor time.
//! Each sends a signal of its own.

use super::{Expiry, processor::ProcessorClock};
use crate::{
    abi::Signal,
    sync::SpinLock,
    task::{
        Process,
        signal::{self, SignalInfo},
    },
    time::{
        events::Deadline,
        timer::{Owner, Setting, Timer, bell},
    },
};
use alloc::sync::{Arc, Weak};
use core::task::Waker;

/// Which of the three; in the order of the numbers of setitimer(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// ITIMER_REAL
    Real,
    /// ITIMER_VIRTUAL
    Virtual,
    /// ITIMER_PROF
    Profiling,
}

impl Which {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// By its number.
    pub fn new(number: u32) -> Option<Self> {
        [Self::Real, Self::Virtual, Self::Profiling].get(number as usize).copied()
    }

    const fn signal(self) -> Signal {
        match self {
            Self::Real => Signal::SIGALRM,
            Self::Virtual => Signal::SIGVTALRM,
            Self::Profiling => Signal::SIGPROF,
        }
    }
}

/// One of them.
pub struct IntervalTimer {
    process: Weak<Process>,
    which: Which,
    /// What setting an alarm takes is taken inside it.
    timer: SpinLock<Timer<Expiry>>,
    bell: Waker,
}

impl IntervalTimer {
    /// One of a process, not set.
    pub fn new(process: &Arc<Process>, which: Which) -> Arc<Self> {
        Arc::new_cyclic(|timer| Self {
            process: Arc::downgrade(process),
            which,
            timer: SpinLock::default(),
            bell: bell(timer.clone()),
        })
    }

    /// How it stands.
    pub fn setting(&self) -> Setting {
        let timer = self.timer.lock();
        let setting = timer.setting();
        // One whose signal has yet to be taken is not set.
        Setting { remaining: setting.remaining.filter(|_| !timer.is_due_to_go_on()), ..setting }
    }

    /// Sets it, relative to now; tells how it stood.
    pub fn set(&self, remaining: i64, interval: i64) -> Setting {
        let before = self.setting();
        let first = (remaining != 0).then(|| self.after(remaining)).flatten();
        self.timer.lock().set(first, interval, &self.bell);
        before
    }

    fn after(&self, nanoseconds: i64) -> Option<Expiry> {
        let of_process = |only_user| {
            let clock = ProcessorClock::of_process(&self.process.upgrade()?, only_user);
            Some(Expiry::Processor(clock.moment(clock.read()?.saturating_add(nanoseconds))))
        };
        match self.which {
            Which::Real => Some(Expiry::Host(Deadline::after(nanoseconds))),
            Which::Virtual => of_process(true),
            Which::Profiling => of_process(false),
        }
    }

    /// Called when its signal was taken: the timer of elapsed time goes on.
    pub fn signal_taken(&self) {
        self.timer.lock().go_on(&self.bell);
    }
}

impl Owner for IntervalTimer {
    fn look(self: &Arc<Self>) {
        let mut timer = self.timer.lock();
        let expired = timer.expired(&self.bell);
        // Processor time passes only while the program gets on, so those need not wait until it has taken notice.
        if expired && self.which != Which::Real {
            timer.go_on(&self.bell);
        }
        drop(timer);
        if let Some(process) = self.process.upgrade().filter(|_| expired) {
            // A signal that is pending already is not queued a second time; nothing else can go wrong with this one.
            let _ = signal::send_to_process(&process, SignalInfo::kernel(self.which.signal()));
        }
    }
}

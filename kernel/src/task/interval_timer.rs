//! The interval timer of a process: SIGALRM after so much time, and again and again, setitimer(2) and alarm(2).
//!
//! Its deadline lies in the queue of all deadlines, and what is woken there is the timer itself: a waker need not be a
//! task. The signal is sent on the spot.

use super::{
    Process,
    signal::{self, SignalInfo},
};
use crate::{
    abi::Signal,
    sync::SpinLock,
    time::{
        self, HostClock,
        events::{self, Armed},
    },
};
use alloc::{
    sync::{Arc, Weak},
    task::Wake,
};

/// How long, in nanoseconds. Zeros: it is not armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// Until it next expires.
    pub remaining: i64,
    /// Between that and every later time; 0: it expires only once.
    pub interval: i64,
}

/// One process' timer of elapsed time, ITIMER_REAL.
#[derive(Default)]
pub struct IntervalTimer(SpinLock<State>);

/// The queue of deadlines is taken inside its lock.
#[derive(Default)]
struct State {
    /// Host monotonic nanoseconds.
    deadline: i64,
    interval: i64,
    armed: Option<Armed>,
}

impl IntervalTimer {
    /// What is left of it.
    pub fn setting(&self) -> Setting {
        let state = self.0.lock();
        match state.armed {
            // An armed timer never shows zero, which would say that it is not.
            Some(_) => Setting {
                remaining: (state.deadline - time::now(HostClock::Monotonic)).max(1),
                interval: state.interval,
            },
            None => Setting { remaining: 0, interval: state.interval },
        }
    }

    /// Sets it for `process`, whose timer it is; tells what it was before.
    pub fn set(&self, process: &Arc<Process>, setting: Setting) -> Setting {
        let before = self.setting();
        let deadline = time::now(HostClock::Monotonic).saturating_add(setting.remaining);
        let armed = (setting.remaining != 0).then(|| Bell::arm(process, deadline));
        let old = self.0.replace(State { deadline, interval: setting.interval, armed });
        drop(old);
        before
    }

    /// Called when a deadline has come: whether it is the present one. A periodic timer goes on, from where it should have
    /// rung, without ringing for what was missed.
    fn rang(&self, process: &Arc<Process>, deadline: i64) -> bool {
        let mut state = self.0.lock();
        if state.armed.is_none() || state.deadline != deadline {
            return false;
        }
        state.armed = None;
        if state.interval > 0 {
            let late = (time::now(HostClock::Monotonic) - deadline).max(0);
            let missed = late / state.interval;
            state.deadline = deadline.saturating_add(state.interval.saturating_mul(missed + 1));
            state.armed = Some(Bell::arm(process, state.deadline));
        }
        true
    }
}

/// What the queue of deadlines wakes.
struct Bell {
    process: Weak<Process>,
    deadline: i64,
}

impl Bell {
    fn arm(process: &Arc<Process>, deadline: i64) -> Armed {
        events::arm(deadline, Arc::new(Self { process: Arc::downgrade(process), deadline }).into())
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let Some(process) = self.process.upgrade() else { return };
        if process.interval_timer.rang(&process, self.deadline) {
            // A signal that is pending already is not queued a second time; nothing else can go wrong with this one.
            let _ = signal::send_to_process(&process, SignalInfo::kernel(Signal::SIGALRM));
        }
    }
}

//! The limit of processor time, getrlimit(2) RLIMIT_CPU: beyond the soft one a process is sent SIGXCPU, every second anew,
//! and beyond the hard one it is ended.

use super::{Expiry, processor::ProcessorClock};
use crate::{
    abi::{NANOSECONDS_PER_SECOND, Signal},
    sync::SpinLock,
    task::{
        Limit, Process, Resource,
        limits::UNLIMITED,
        signal::{self, SignalInfo},
        status::Status,
    },
    time::timer::{Owner, Timer, bell},
};
use alloc::sync::{Arc, Weak};
use core::task::Waker;

/// What watches over it in one process.
pub struct ProcessorLimit {
    process: Weak<Process>,
    /// What setting an alarm takes is taken inside it.
    timer: SpinLock<Timer<Expiry>>,
    bell: Waker,
}

impl ProcessorLimit {
    /// For a process; nothing is watched yet.
    pub fn new(process: &Arc<Process>) -> Arc<Self> {
        Arc::new_cyclic(|limit| Self {
            process: Arc::downgrade(process),
            timer: SpinLock::default(),
            bell: bell(limit.clone()),
        })
    }

    /// Watches for the next of these limits to be reached.
    pub fn watch(&self, limit: Limit) {
        let Some(process) = self.process.upgrade() else { return };
        let seconds = limit.soft.min(limit.hard);
        let first = (seconds != UNLIMITED).then(|| {
            let at = seconds.saturating_mul(NANOSECONDS_PER_SECOND);
            Expiry::Processor(
                ProcessorClock::of_process(&process, false).moment(i64::try_from(at).unwrap_or(i64::MAX)),
            )
        });
        self.timer.lock().set(first, 0, &self.bell);
    }
}

impl Owner for ProcessorLimit {
    fn look(self: &Arc<Self>) {
        let Some(process) = self.process.upgrade() else { return };
        if !self.timer.lock().expired(&self.bell) {
            return;
        }
        let limit = process.limit(Resource::CPU);
        if process.times().total() / NANOSECONDS_PER_SECOND >= limit.hard {
            process.end(Status::Killed(Signal::SIGKILL));
            return;
        }
        // It is the kernel's own, which is never refused.
        let _ = signal::send_to_process(&process, SignalInfo::kernel(Signal::SIGXCPU));
        process.set_limit(Resource::CPU, Limit { soft: limit.soft.saturating_add(1), ..limit });
    }
}

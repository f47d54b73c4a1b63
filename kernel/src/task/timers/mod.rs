//! Timers that belong to a process, and the clocks of processor time that some of them go by.
//!
//! * [`processor`]: clocks that run while a task or a process has a CPU, and who waits for a moment of one;
//! * [`interval`]: the three timers every process has, setitimer(2);
//! * [`posix`]: those it makes, timer_create(2);
//! * [`limit`]: the one that watches over its processor time, RLIMIT_CPU.
//!
//! (Timers that are files belong to whoever holds them: [`crate::fs::timer_file`].)

pub mod interval;
pub mod limit;
pub mod posix;
pub mod processor;

use crate::time::{events::Deadline, timer::Moment};
use core::task::Waker;
use processor::ProcessorMoment;

/// When a timer of a process expires.
#[derive(Clone)]
pub enum Expiry {
    /// On a clock of the host.
    Host(Deadline),
    /// On a clock of processor time.
    Processor(ProcessorMoment),
}

/// What such a moment keeps.
#[allow(dead_code, reason = "an alarm is only held, and dropped")]
pub enum ExpiryAlarm {
    /// Of a clock of the host.
    Host(<Deadline as Moment>::Alarm),
    /// Of a clock of processor time.
    Processor(<ProcessorMoment as Moment>::Alarm),
}

impl Moment for Expiry {
    type Alarm = ExpiryAlarm;

    fn distance(&self) -> i64 {
        match self {
            Self::Host(moment) => moment.distance(),
            Self::Processor(moment) => moment.distance(),
        }
    }

    fn later(&self, by: i64) -> Self {
        match self {
            Self::Host(moment) => Self::Host(moment.later(by)),
            Self::Processor(moment) => Self::Processor(moment.later(by)),
        }
    }

    fn alarm(&self, waker: &Waker) -> ExpiryAlarm {
        match self {
            Self::Host(moment) => ExpiryAlarm::Host(moment.alarm(waker)),
            Self::Processor(moment) => ExpiryAlarm::Processor(moment.alarm(waker)),
        }
    }
}

//! What happened, in order: a closed list of events and a ring that keeps the latest of them.
//!
//! It is kept in virtual time, where the same scenario gives the same events at the same moments on every run and on
//! every machine; two runs that differ are compared line by line. In real time it would cost each system call something
//! and could be compared with nothing, so nothing is kept.

use crate::abi::Signal;
use alloc::{collections::VecDeque, vec::Vec};
use spin::mutex::SpinMutex;

/// How many events are kept; older ones are forgotten, and counted.
const CAPACITY: usize = 16_384;

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A system call is over.
    Call {
        /// Its number.
        number: usize,
        /// What it left in the result register.
        result: isize,
    },
    /// A task is given the CPU.
    Runs,
    /// A task goes to its handler of a signal.
    Handler {
        /// Which.
        signal: Signal,
    },
    /// A task has ended.
    Ends,
    /// Nobody could go on: time has moved to the next deadline.
    Jump,
}

/// An event, when it happened, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Nanoseconds since boot.
    pub moment: u64,
    /// The task's id; 0: none.
    pub task: u32,
    /// What happened.
    pub event: Event,
}

/// What is kept.
struct Ring {
    records: VecDeque<Record>,
    forgotten: u64,
}

/// `None` while nothing is kept. Nothing is taken inside it.
static RING: SpinMutex<Option<Ring>> = SpinMutex::new(None);

/// Begins to keep events.
pub fn begin() {
    *RING.lock() = Some(Ring { records: VecDeque::with_capacity(CAPACITY), forgotten: 0 });
}

/// Keeps one.
pub fn record(moment: u64, task: u32, event: Event) {
    let mut ring = RING.lock();
    let Some(ring) = ring.as_mut() else { return };
    if ring.records.len() == CAPACITY {
        ring.records.pop_front();
        ring.forgotten += 1;
    }
    ring.records.push_back(Record { moment, task, event });
}

/// What is kept, oldest first, and how many were forgotten before.
pub fn kept() -> (Vec<Record>, u64) {
    RING.lock()
        .as_ref()
        .map_or((Vec::new(), 0), |ring| (ring.records.iter().copied().collect(), ring.forgotten))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_the_others_counted() {
        record(1, 1, Event::Runs);
        assert_eq!(kept().0.len(), 0, "nothing is kept before it is wanted");
        begin();
        for moment in 0..CAPACITY as u64 + 3 {
            record(moment, 1, Event::Runs);
        }
        let (records, forgotten) = kept();
        assert_eq!((records.len(), forgotten, records[0].moment), (CAPACITY, 3, 3));
        *RING.lock() = None;
    }
}

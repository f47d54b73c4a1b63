//! Signals sent and not yet delivered, signal(7).
//!
//! A standard signal is pending once, however often it was sent; a real-time signal queues each time. Both come out by
//! number, lowest first, and among equals in the order they were sent. Before all others come the signals that an
//! instruction caused: their handler must see the registers of that very instruction.

use super::info::SignalInfo;
use crate::abi::{Signal, SignalSet};
use alloc::{collections::VecDeque, sync::Arc};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The first signal that queues.
pub const FIRST_REAL_TIME: u32 = 32;

/// Signals that an instruction causes.
const SYNCHRONOUS: SignalSet = SignalSet::of(Signal::SIGSEGV)
    .union(SignalSet::of(Signal::SIGBUS))
    .union(SignalSet::of(Signal::SIGILL))
    .union(SignalSet::of(Signal::SIGTRAP))
    .union(SignalSet::of(Signal::SIGFPE))
    .union(SignalSet::of(Signal::SIGSYS));

/// One more signal queued on somebody's account (RLIMIT_SIGPENDING); given back when dropped.
pub struct Charge(Arc<AtomicU64>);

impl Charge {
    /// One more, unless that would be more than `limit`.
    pub fn new(account: &Arc<AtomicU64>, limit: u64) -> Option<Self> {
        let within = |count: u64| (count < limit).then_some(count + 1);
        account.fetch_update(Relaxed, Relaxed, within).ok()?;
        Some(Self(account.clone()))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What sends a signal and has more to say when it is taken: a timer.
pub trait Source: Send + Sync {
    /// Completes what comes with the signal. False: it is out of date, and nobody is to see it. Called without any lock.
    fn taken(&self, info: &mut SignalInfo) -> bool;

    /// It was taken or forgotten. Called under any lock.
    fn no_longer_pending(&self);
}

/// That a signal of a source is pending, or about to be.
pub struct Pledge(Arc<dyn Source>);

impl Pledge {
    /// That of this source.
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self(source)
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        self.0.no_longer_pending();
    }
}

/// A signal that was taken out, to be looked at once no lock is held.
pub struct Taken {
    info: SignalInfo,
    pledge: Option<Pledge>,
}

impl Taken {
    /// What came with it; `None` when it is out of date.
    pub fn complete(mut self) -> Option<SignalInfo> {
        let is_valid = self.pledge.as_ref().is_none_or(|pledge| pledge.0.taken(&mut self.info));
        is_valid.then_some(self.info)
    }

    /// Which signal.
    pub fn number(&self) -> Option<Signal> {
        self.info.number()
    }
}

struct Entry {
    info: SignalInfo,
    pledge: Option<Pledge>,
    _charge: Option<Charge>,
}

/// The signals pending for one thread, or for a whole process.
#[derive(Default)]
pub struct Pending {
    set: SignalSet,
    /// In the order they were sent. A signal in `set` may be missing here: then its details were lost.
    queue: VecDeque<Entry>,
}

impl Pending {
    /// Which ones.
    pub fn set(&self) -> SignalSet {
        self.set
    }

    /// Whether another one would change anything.
    pub fn would_take(&self, signal: Signal) -> bool {
        signal.number() >= FIRST_REAL_TIME || !self.set.contains(signal)
    }

    /// Adds a signal with its details.
    pub fn push(&mut self, signal: Signal, info: SignalInfo, charge: Option<Charge>) {
        self.set.insert(signal);
        self.queue.push_back(Entry { info, pledge: None, _charge: charge });
    }

    /// Adds one of a source that keeps its own count: it is queued even if the signal is pending already.
    pub fn push_from(&mut self, signal: Signal, info: SignalInfo, pledge: Pledge) {
        self.set.insert(signal);
        self.queue.push_back(Entry { info, pledge: Some(pledge), _charge: None });
    }

    /// Adds a signal whose details nobody has room for.
    pub fn push_forgotten(&mut self, signal: Signal) {
        self.set.insert(signal);
    }

    /// Takes out the first that is not in `blocked`.
    pub fn take(&mut self, blocked: SignalSet) -> Option<Taken> {
        let deliverable = self.set.without(blocked);
        let urgent = SignalSet(deliverable.0 & SYNCHRONOUS.0);
        let signal = urgent.first().or(deliverable.first())?;
        let is_it = |entry: &Entry| entry.info.signal == signal.number() as i32;
        let Some(place) = self.queue.iter().position(is_it) else {
            self.set.remove(signal);
            return Some(Taken { info: SignalInfo::forgotten(signal), pledge: None });
        };
        let Entry { info, pledge, .. } = self.queue.remove(place)?;
        if !self.queue.iter().skip(place).any(is_it) {
            self.set.remove(signal);
        }
        Some(Taken { info, pledge })
    }

    /// Forgets every signal in the set.
    pub fn discard(&mut self, unwanted: SignalSet) {
        if self.set.0 & unwanted.0 != 0 {
            self.set = self.set.without(unwanted);
            self.queue.retain(|entry| entry.info.number().is_some_and(|signal| !unwanted.contains(signal)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(number: u32) -> Signal {
        Signal::new(number).unwrap()
    }

    fn send(pending: &mut Pending, number: u32, sender: u32) {
        if pending.would_take(signal(number)) {
            pending.push(signal(number), SignalInfo::user(signal(number), 0, sender, 0), None);
        }
    }

    #[test]
    fn standard_signals_merge_and_real_time_signals_queue() {
        let mut pending = Pending::default();
        for (number, sender) in [(40, 1), (34, 2), (15, 3), (15, 4), (40, 5), (11, 6), (2, 7)] {
            send(&mut pending, number, sender);
        }
        let order: Vec<_> = core::iter::from_fn(|| pending.take(SignalSet::of(signal(2)))?.complete())
            .map(|info| (info.signal, info.process()))
            .collect();
        assert_eq!(order, [(11, 6), (15, 3), (34, 2), (40, 1), (40, 5)]);
        assert_eq!(pending.set(), SignalSet::of(signal(2)));
        pending.discard(SignalSet::of(signal(2)));
        assert!(pending.take(SignalSet::EMPTY).is_none());
        pending.push_forgotten(signal(50));
        assert_eq!(
            pending.take(SignalSet::EMPTY).unwrap().complete(),
            Some(SignalInfo::forgotten(signal(50)))
        );
        assert!(pending.set().is_empty());
    }

    #[test]
    fn charges_stop_at_the_limit_and_come_back() {
        let account = Arc::new(AtomicU64::new(0));
        let mut pending = Pending::default();
        pending.push(signal(40), SignalInfo::forgotten(signal(40)), Charge::new(&account, 1));
        assert!(Charge::new(&account, 1).is_none());
        pending.take(SignalSet::EMPTY);
        assert_eq!(account.load(Relaxed), 0);
    }

    use alloc::vec::Vec;
}

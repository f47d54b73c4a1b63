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
#[derive(Default)]
pub struct Taken {
    /// What came with it.
    pub info: SignalInfo,
    pledge: Option<Pledge>,
}

impl Taken {
    /// Completes what came with it. False: it is out of date.
    #[inline]
    pub fn complete(&mut self) -> bool {
        self.pledge.is_none() || self.pledge.take().is_some_and(|pledge| pledge.0.taken(&mut self.info))
    }
}

#[derive(Default)]
struct Entry {
    info: SignalInfo,
    pledge: Option<Pledge>,
    charge: Option<Charge>,
}

/// The signals pending for one thread, or for a whole process.
#[derive(Default)]
pub struct Pending {
    set: SignalSet,
    /// Whether there is only one, which is `only` then and not in the queue. That is nearly always so.
    is_alone: bool,
    only: Entry,
    /// All others, in the order they were sent. A signal in `set` may be missing here: then its details were lost.
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

    /// Adds a signal with its details. One with a pledge is of a source that keeps its own count: it is queued even if the
    /// signal is pending already.
    #[inline]
    pub fn push(
        &mut self,
        signal: Signal,
        info: &SignalInfo,
        pledge: Option<Pledge>,
        charge: Option<Charge>,
    ) {
        if self.set.is_empty() {
            self.is_alone = true;
            // Field by field: they are written where they stay. What is vacant has no pledge and no charge, and few bring one.
            self.only.info = *info;
            if pledge.is_some() {
                self.only.pledge = pledge;
            }
            if charge.is_some() {
                self.only.charge = charge;
            }
        } else {
            self.leave_alone_no_more();
            self.queue.push_back(Entry { info: *info, pledge, charge });
        }
        self.set.insert(signal);
    }

    /// Puts the only one, if there is one, where it is one of several.
    #[cold]
    fn leave_alone_no_more(&mut self) {
        if core::mem::take(&mut self.is_alone) {
            self.queue.push_back(core::mem::take(&mut self.only));
        }
    }

    /// Adds a signal whose details nobody has room for.
    pub fn push_forgotten(&mut self, signal: Signal) {
        self.leave_alone_no_more();
        self.set.insert(signal);
    }

    /// Whether there is one that is not in `blocked`.
    pub fn offers(&self, blocked: SignalSet) -> bool {
        !self.set.without(blocked).is_empty()
    }

    /// Takes out the first that is not in `blocked`. False: there is none.
    #[inline]
    pub fn take(&mut self, blocked: SignalSet, taken: &mut Taken) -> bool {
        if !self.offers(blocked) {
            return false;
        }
        if self.is_alone {
            self.is_alone = false;
            self.set = SignalSet::EMPTY;
            taken.info = self.only.info;
            if self.only.pledge.is_some() {
                taken.pledge = self.only.pledge.take();
            }
            if self.only.charge.is_some() {
                self.only.charge = None;
            }
        } else {
            *taken = self.take_one_of_several(blocked);
        }
        true
    }

    #[cold]
    fn take_one_of_several(&mut self, blocked: SignalSet) -> Taken {
        let deliverable = self.set.without(blocked);
        let urgent = SignalSet(deliverable.0 & SYNCHRONOUS.0);
        let Some(signal) = urgent.first().or(deliverable.first()) else { return Taken::default() };
        let is_it = |entry: &Entry| entry.info.signal == signal.number() as i32;
        let place = self.queue.iter().position(is_it);
        let Some(Entry { info, pledge, .. }) = place.and_then(|place| self.queue.remove(place)) else {
            self.set.remove(signal);
            return Taken { info: SignalInfo::forgotten(signal), pledge: None };
        };
        if !self.queue.iter().any(is_it) {
            self.set.remove(signal);
        }
        Taken { info, pledge }
    }

    /// Forgets every signal in the set.
    pub fn discard(&mut self, unwanted: SignalSet) {
        if self.set.0 & unwanted.0 != 0 {
            self.leave_alone_no_more();
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
            pending.push(signal(number), &SignalInfo::user(signal(number), 0, sender, 0), None, None);
        }
    }

    fn take(pending: &mut Pending, blocked: SignalSet) -> Option<SignalInfo> {
        let mut taken = Taken::default();
        (pending.take(blocked, &mut taken) && taken.complete()).then_some(taken.info)
    }

    #[test]
    fn standard_signals_merge_and_real_time_signals_queue() {
        let mut pending = Pending::default();
        for (number, sender) in [(40, 1), (34, 2), (15, 3), (15, 4), (40, 5), (11, 6), (2, 7)] {
            send(&mut pending, number, sender);
        }
        let order: Vec<_> = core::iter::from_fn(|| take(&mut pending, SignalSet::of(signal(2))))
            .map(|info| (info.signal, info.process()))
            .collect();
        assert_eq!(order, [(11, 6), (15, 3), (34, 2), (40, 1), (40, 5)]);
        assert_eq!(pending.set(), SignalSet::of(signal(2)));
        pending.discard(SignalSet::of(signal(2)));
        assert_eq!(take(&mut pending, SignalSet::EMPTY), None);
        pending.push_forgotten(signal(50));
        assert_eq!(take(&mut pending, SignalSet::EMPTY), Some(SignalInfo::forgotten(signal(50))));
        assert!(pending.set().is_empty());
    }

    #[test]
    fn one_that_is_alone_is_like_any_other() {
        let mut pending = Pending::default();
        send(&mut pending, 15, 1);
        send(&mut pending, 15, 2);
        assert_eq!(take(&mut pending, SignalSet::of(signal(15))), None);
        assert_eq!(take(&mut pending, SignalSet::EMPTY).unwrap().process(), 1);
        assert_eq!(take(&mut pending, SignalSet::EMPTY), None);
        send(&mut pending, 15, 3);
        pending.discard(SignalSet::of(signal(15)));
        send(&mut pending, 40, 4);
        send(&mut pending, 10, 5);
        assert_eq!(take(&mut pending, SignalSet::EMPTY).unwrap().process(), 5);
        assert_eq!(take(&mut pending, SignalSet::EMPTY).unwrap().process(), 4);
        assert!(pending.set().is_empty());
    }

    #[test]
    fn charges_stop_at_the_limit_and_come_back() {
        let account = Arc::new(AtomicU64::new(0));
        let mut pending = Pending::default();
        pending.push(signal(40), &SignalInfo::forgotten(signal(40)), None, Charge::new(&account, 1));
        assert!(Charge::new(&account, 1).is_none());
        take(&mut pending, SignalSet::EMPTY);
        assert_eq!(account.load(Relaxed), 0);
    }

    use alloc::vec::Vec;
}

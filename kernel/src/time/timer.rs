//! A timer as a program sets one: it expires at a moment and then, perhaps, again and again.
//!
//! timerfd_create(2), timer_create(2) and setitimer(2) differ in whom they tell and agree in all else, which is here. A
//! periodic timer that has expired does not go on by itself but when its owner has taken notice, and then it counts what
//! it missed: a period of a nanosecond that nobody attends to costs nothing. (A timer that set itself again at once
//! would keep the machine busy for as long as the program likes.)

use alloc::{
    sync::{Arc, Weak},
    task::Wake,
};
use core::task::Waker;

/// A moment on some clock that can wake somebody.
pub trait Moment: Clone {
    /// What has to be kept for the waker to be woken.
    type Alarm;

    /// Nanoseconds until then; negative once it has passed.
    fn distance(&self) -> i64;

    /// So many nanoseconds after this one.
    fn later(&self, by: i64) -> Self;

    /// Has the waker woken then, or earlier: who is woken looks whether it has come.
    fn alarm(&self, waker: &Waker) -> Self::Alarm;
}

/// How a timer stands, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// Until it expires, 0 when that has come; `None` when it is not set to.
    pub remaining: Option<i64>,
    /// Between that and every later time; 0: it expires only once.
    pub interval: i64,
}

/// A timer.
pub struct Timer<M: Moment> {
    /// When it expires; for a periodic one that has not gone on yet, when it did.
    next: Option<M>,
    interval: i64,
    /// There while it has not expired.
    alarm: Option<M::Alarm>,
}

impl<M: Moment> Default for Timer<M> {
    fn default() -> Self {
        Self { next: None, interval: 0, alarm: None }
    }
}

impl<M: Moment> Timer<M> {
    /// Sets it: to expire first at `first`, or not at all, and then every `interval` nanoseconds if that is not 0.
    /// `bell` is woken, and has to ask whether it [`expired`](Self::expired).
    pub fn set(&mut self, first: Option<M>, interval: i64, bell: &Waker) {
        self.alarm = first.as_ref().map(|first| first.alarm(bell));
        (self.next, self.interval) = (first, interval);
    }

    /// Sets one that wakes nobody, and is only looked at.
    pub fn set_silently(&mut self, first: Option<M>, interval: i64) {
        (self.next, self.interval, self.alarm) = (first, interval, None);
    }

    /// How it stands.
    pub fn setting(&self) -> Setting {
        let remaining = self.next.as_ref().map(|next| next.distance().max(0));
        Setting { remaining, interval: self.interval }
    }

    /// Whether it has expired since it was set or went on; tells it once.
    pub fn expired(&mut self, bell: &Waker) -> bool {
        let Some(next) = self.next.as_ref().filter(|_| self.alarm.is_some()) else { return false };
        if next.distance() > 0 {
            self.alarm = Some(next.alarm(bell));
            return false;
        }
        self.alarm = None;
        if self.interval == 0 {
            self.next = None;
        }
        true
    }

    /// Whether it has expired and would go on.
    pub fn is_due_to_go_on(&self) -> bool {
        self.next.is_some() && self.alarm.is_none()
    }

    /// Has a periodic timer that expired go on, at the next multiple of its interval. Tells how often it would have
    /// expired up to now, that once included.
    pub fn go_on(&mut self, bell: &Waker) -> u64 {
        let times = self.skip();
        if self.is_due_to_go_on() {
            self.alarm = self.next.as_ref().map(|next| next.alarm(bell));
        }
        times
    }

    /// The same without an alarm: for a timer that is only looked at.
    pub fn skip(&mut self) -> u64 {
        let Some(next) = self.next.as_ref().filter(|_| self.alarm.is_none() && self.interval > 0) else {
            return 0;
        };
        let distance = next.distance();
        if distance > 0 {
            return 0;
        }
        let times = distance.unsigned_abs() / self.interval as u64 + 1;
        self.next = Some(next.later((times as i64).saturating_mul(self.interval)));
        times
    }

    /// Has an expired one stay so.
    pub fn stay(&mut self) {
        if self.alarm.is_none() {
            self.next = None;
        }
    }
}

/// What owns a timer and is told when to look at it.
pub trait Owner: Send + Sync + 'static {
    /// Looks whether the timer has expired, and does what is to be done then.
    fn look(self: &Arc<Self>);
}

struct Bell<O>(Weak<O>);

impl<O: Owner> Wake for Bell<O> {
    fn wake(self: Arc<Self>) {
        if let Some(owner) = self.0.upgrade() {
            owner.look();
        }
    }
}

/// A waker that has an owner look, without keeping it alive.
pub fn bell<O: Owner>(owner: Weak<O>) -> Waker {
    Arc::new(Bell(owner)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicI64, Ordering::Relaxed};
    use std::thread_local;

    thread_local!(static NOW: AtomicI64 = const { AtomicI64::new(0) });

    fn now() -> i64 {
        NOW.with(|now| now.load(Relaxed))
    }

    fn pass(nanoseconds: i64) {
        NOW.with(|now| now.fetch_add(nanoseconds, Relaxed));
    }

    #[derive(Clone, PartialEq, Debug)]
    struct At(i64);

    impl Moment for At {
        type Alarm = ();

        fn distance(&self) -> i64 {
            self.0 - now()
        }

        fn later(&self, by: i64) -> Self {
            Self(self.0 + by)
        }

        fn alarm(&self, _waker: &Waker) {}
    }

    fn setting(remaining: impl Into<Option<i64>>, interval: i64) -> Setting {
        Setting { remaining: remaining.into(), interval }
    }

    #[test]
    fn once() {
        let (mut timer, bell) = (Timer::default(), Waker::noop());
        timer.set(Some(At(now() + 10)), 0, bell);
        pass(9);
        assert_eq!((timer.expired(bell), timer.setting()), (false, setting(1, 0)));
        pass(1);
        assert_eq!((timer.setting(), timer.expired(bell)), (setting(0, 0), true));
        assert_eq!((timer.expired(bell), timer.setting(), timer.go_on(bell)), (false, setting(None, 0), 0));
    }

    #[test]
    fn periodically_it_waits_for_its_owner_and_keeps_its_rhythm() {
        let (mut timer, bell) = (Timer::default(), Waker::noop());
        timer.set(Some(At(now() + 10)), 4, bell);
        pass(10);
        assert!(timer.expired(bell) && timer.is_due_to_go_on());
        pass(9);
        assert!(!timer.expired(bell), "it has not gone on");
        assert_eq!((timer.go_on(bell), timer.setting()), (3, setting(3, 4)));
        pass(3);
        assert!(timer.expired(bell));
        assert_eq!((timer.skip(), timer.go_on(bell), timer.setting()), (1, 0, setting(4, 4)));
    }
}

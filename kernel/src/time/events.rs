//! Deadlines: who is to be woken when, with one alarm for all.
//!
//! A deadline is a moment of the host's monotonic clock. They are kept in order, and the machine's alarm is set for the
//! first of them, to the nanosecond; there is no periodic tick to wait for. The alarm's own clock may differ a little
//! from the one deadlines are measured by; who is woken too early, if ever, sees that and waits again, so nothing is early.
//! (A wheel of timers would make arming constant instead of logarithmic, at the price of rounding or of cascades.)

use super::{
    clocksource,
    timekeeper::{self, HostClock, WALL_CLOCK_SET, now},
    timer::Moment,
};
use crate::{
    arch::{Hardware, Machine},
    sync::{Registration, SpinLock},
};
use alloc::collections::BTreeMap;
use core::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// Later than any clock will ever be.
pub const NEVER: i64 = i64::MAX;

/// The deadlines, by moment and then by age.
struct Queue {
    next_place: u64,
    waiting: BTreeMap<(i64, u64), Waker>,
    /// What the alarm is set for; [`NEVER`] when it is not set or has rung.
    alarm: i64,
}

/// Nothing is taken inside it.
static QUEUE: SpinLock<Queue> =
    SpinLock::new(Queue { next_place: 0, waiting: BTreeMap::new(), alarm: NEVER });

/// Wakes everybody whose moment has come.
pub(super) fn wake_due(now: i64) {
    loop {
        let waker = {
            let mut queue = QUEUE.lock();
            if queue.alarm <= now {
                queue.alarm = NEVER;
            }
            match queue.waiting.first_entry() {
                Some(first) if first.key().0 <= now => first.remove(),
                _ => return,
            }
        };
        waker.wake();
    }
}

/// Sets the alarm for the first deadline, or for the next tick if that is earlier and `ticking`: when programs run and
/// want the coarse clocks kept up and the CPU shared. Called before a CPU goes to user mode or to sleep.
pub fn program_alarm(ticking: bool) {
    let mut queue = QUEUE.lock();
    let deadline = queue.waiting.first_key_value().map_or(NEVER, |((moment, _), _)| *moment);
    let moment = if ticking { deadline.min(timekeeper::next_tick()) } else { deadline };
    // An alarm that rings too early is harmless, and setting it costs: only set it when it would ring too late. A CPU
    // that goes to sleep is not disturbed by a tick nobody needs.
    if moment < queue.alarm || (!ticking && moment != queue.alarm) {
        queue.set_alarm(moment);
    }
}

impl Queue {
    fn set_alarm(&mut self, moment: i64) {
        self.alarm = moment;
        if clocksource::is_virtual() {
            return;
        }
        let distance =
            (moment != NEVER).then(|| moment.saturating_sub(now(HostClock::Monotonic)).max(0) as u64);
        Hardware::set_alarm(distance);
    }
}

/// The moment the alarm is set for; [`NEVER`] when it is not.
pub fn alarm() -> i64 {
    QUEUE.lock().alarm
}

/// Says that the alarm has rung, whatever it was set for: the next [`program_alarm`] sets it anew.
pub fn alarm_rang() {
    QUEUE.lock().alarm = NEVER;
}

/// A waker's place in the queue; given up when dropped.
pub struct Armed {
    key: (i64, u64),
}

/// Has `waker` woken at a moment. A waker is anything that can be told: a task, or a timer of its own.
pub fn arm(moment: i64, waker: Waker) -> Armed {
    let mut queue = QUEUE.lock();
    let key = (moment, queue.next_place);
    queue.next_place += 1;
    queue.waiting.insert(key, waker);
    // Who arms may go on running, so nobody else would look at the queue before the next tick.
    if moment < queue.alarm {
        queue.set_alarm(moment);
    }
    Armed { key }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let waker = QUEUE.lock().waiting.remove(&self.key);
        // Dropped after the lock: it may be the last hold on a timer.
        drop(waker);
    }
}

/// A deadline on one of the clocks that tell it: monotonic (and boottime, the same here), or one of the two wall clocks,
/// which may be set while one waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadline {
    /// Host monotonic nanoseconds.
    Monotonic(i64),
    /// Nanoseconds since 1970.
    Realtime(i64),
    /// The same in atomic time.
    Tai(i64),
}

impl From<i64> for Deadline {
    fn from(host_monotonic: i64) -> Self {
        Self::Monotonic(host_monotonic)
    }
}

/// One alarm for one deadline; off when dropped.
pub struct Alarm {
    _armed: Armed,
    _clock_set: Option<Registration<'static>>,
}

impl Deadline {
    /// When a clock of the host shows `at` nanoseconds.
    pub fn on(clock: HostClock, at: i64) -> Self {
        match clock {
            HostClock::Realtime | HostClock::RealtimeCoarse => Self::Realtime(at),
            HostClock::Tai => Self::Tai(at),
            _ => Self::Monotonic(at),
        }
    }

    /// So many nanoseconds from now.
    pub fn after(nanoseconds: i64) -> Self {
        Self::Monotonic(now(HostClock::Monotonic).saturating_add(nanoseconds))
    }

    fn parts(self) -> (HostClock, i64) {
        match self {
            Self::Monotonic(at) => (HostClock::Monotonic, at),
            Self::Realtime(at) => (HostClock::Realtime, at),
            Self::Tai(at) => (HostClock::Tai, at),
        }
    }

    /// Nanoseconds left; 0 when it has passed.
    pub fn remaining(self) -> i64 {
        self.distance().max(0)
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.distance() <= 0
    }
}

impl Moment for Deadline {
    type Alarm = Alarm;

    fn distance(&self) -> i64 {
        let (clock, at) = self.parts();
        at.saturating_sub(now(clock))
    }

    fn later(&self, by: i64) -> Self {
        let (clock, at) = self.parts();
        Self::on(clock, at.saturating_add(by))
    }

    /// What is woken may be woken too early, when the clock is set; it looks again.
    fn alarm(&self, waker: &Waker) -> Alarm {
        // Watching the clock before reading it: no setting is missed.
        let clock_set = (!matches!(self, Self::Monotonic(_))).then(|| {
            let mut registration = WALL_CLOCK_SET.registration();
            registration.renew(waker);
            registration
        });
        let moment = match (*self, self.distance()) {
            (Self::Monotonic(at), _) => at,
            (_, NEVER) => NEVER,
            (_, distance) => now(HostClock::Monotonic).saturating_add(distance),
        };
        Alarm { _armed: arm(moment, waker.clone()), _clock_set: clock_set }
    }
}

/// Waits until a moment has passed, never less.
pub async fn sleep_until<M: Moment>(moment: M) {
    let mut alarm = None;
    poll_fn(|context| {
        if moment.distance() <= 0 {
            return Poll::Ready(());
        }
        // Set anew each time: a wake-up may have used the old one, or the moment may have moved.
        alarm = Some(moment.alarm(context.waker()));
        Poll::Pending
    })
    .await;
}

/// Waits for `future`, but not beyond a deadline: `None` if that came first. Without one, waits as long as it takes.
pub async fn before<F: Future>(deadline: Option<Deadline>, future: F) -> Option<F::Output> {
    let mut future = core::pin::pin!(future);
    let mut timeout = core::pin::pin!(deadline.map(sleep_until));
    poll_fn(|context: &mut Context<'_>| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        match timeout.as_mut().as_pin_mut().map(|timeout: Pin<&mut _>| timeout.poll(context)) {
            Some(Poll::Ready(())) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    })
    .await
}

//! Both sides of the sequence counter, in every order that the memory model allows.
//!
//! loom runs each test body once for every way in which two threads can meet, including the ways no x86 would take: a
//! relaxed load may give any value that was ever stored and not yet overtaken. The bodies note what they saw; afterwards a
//! test asserts that everything that should be possible *was* seen (else nothing would have been tested) and nothing else.
#![cfg(loom)]

mod machine;

use gnomon_vdso::clocks::{Class, Clock};
use gnomon_vdso::cycles::Conversion;
use gnomon_vdso::page::{MODE_TSC, TimeData};
use gnomon_vdso::read::read;
use gnomon_vdso::write::{Counter, Offset, fill_namespace_page};
use loom::sync::Arc;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use machine::Task;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// What the processor's counter shows throughout.
const NOW: u64 = 1_000;

/// A state of the system's page: a counter and a base time.
#[derive(Clone, Copy)]
struct State {
    cycle_last: u64,
    conversion: Conversion,
    seconds: u64,
    fraction: u64,
}

/// No field is the same in both, and no mixture of them shows either's time; [`mixtures`] makes sure.
const OLD: State =
    State { cycle_last: 900, conversion: Conversion { mult: 3, shift: 1 }, seconds: 10, fraction: 4_000 };
const NEW: State =
    State { cycle_last: 970, conversion: Conversion { mult: 7, shift: 2 }, seconds: 20, fraction: 60_000 };

impl State {
    /// What a high-resolution clock shows at [`NOW`].
    fn time(self) -> (i64, i64) {
        let Conversion { mult, shift } = self.conversion;
        let nanoseconds = ((NOW - self.cycle_last) * u64::from(mult) + self.fraction) >> shift;
        (self.seconds as i64, nanoseconds as i64)
    }

    /// What a coarse clock shows.
    fn coarse_time(self) -> (i64, i64) {
        (self.seconds as i64, self.fraction as i64)
    }

    fn publish(self, page: &TimeData, clock: Clock) {
        page.update(|update| {
            if clock.class() != Class::Coarse {
                update.counter(clock.class(), &Counter::new(MODE_TSC, self.cycle_last, self.conversion));
            }
            update.base(clock, self.seconds, self.fraction);
        });
    }
}

/// Every time that some fields of the one and the rest of the other would show.
fn mixtures() -> BTreeSet<(i64, i64)> {
    let pick = |bits: u32, bit: u32| if bits >> bit & 1 == 0 { OLD } else { NEW };
    (1..31)
        .map(|bits| {
            let conversion =
                Conversion { mult: pick(bits, 0).conversion.mult, shift: pick(bits, 1).conversion.shift };
            let (seconds, fraction) = (pick(bits, 2).seconds, pick(bits, 3).fraction);
            State { cycle_last: pick(bits, 4).cycle_last, conversion, seconds, fraction }.time()
        })
        .collect()
}

#[test]
fn a_mixture_could_be_told() {
    assert!(!mixtures().contains(&OLD.time()) && !mixtures().contains(&NEW.time()));
}

/// A time, and whether the reader had to begin again.
type Outcome = ((i64, i64), bool);

/// Runs a reader beside a writer that goes from [`OLD`] to [`NEW`], in every way, and gives what the reader saw.
fn race(
    clock: Clock,
    prepare: fn(&[TimeData; 2]),
    system: usize,
    write: fn(&TimeData, Clock),
    read: fn(&[TimeData; 2], Clock) -> Outcome,
) -> BTreeSet<Outcome> {
    static SEEN: Mutex<BTreeSet<Outcome>> = Mutex::new(BTreeSet::new());
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    SEEN.lock().unwrap().clear();
    let mut model = loom::model::Builder::new();
    // A thread may be interrupted this often at any point of the other's progress. Two threads with one update and one
    // reading between them have few more to offer, and each further costs many times the runs.
    model.preemption_bound = Some(3);
    model.check(move || {
        let pages = Arc::new([TimeData::default(), TimeData::default()]);
        prepare(&pages);
        OLD.publish(&pages[system], clock);
        // The reader is the second thread, not the first: loom looks for other orders from a store back to the latest
        // access, and would take the writer's own look at the counter for the only one.
        let reader = {
            let pages = pages.clone();
            thread::spawn(move || {
                let outcome = read(&pages, clock);
                SEEN.lock().unwrap().insert(outcome);
            })
        };
        write(&pages[system], clock);
        reader.join().unwrap();
    });
    SEEN.lock().unwrap().clone()
}

/// The reader of the image.
fn by_vdso(pages: &[TimeData; 2], clock: Clock) -> Outcome {
    let counter = || NOW;
    let task = Task::new(pages, &counter);
    let time = task.gettime(clock.id() as i32).expect("the kernel is not asked");
    (time, task.readings.get() > 1)
}

/// The reader of the kernel.
fn by_kernel(pages: &[TimeData; 2], clock: Clock) -> Outcome {
    let readings = std::cell::Cell::new(0);
    let cycles = |_| {
        readings.set(readings.get() + 1);
        Some(NOW)
    };
    let time = read(&pages[0], clock, cycles).expect("there is a counter");
    ((time.seconds as i64, time.nanoseconds as i64), readings.get() > 1)
}

fn to_new(page: &TimeData, clock: Clock) {
    NEW.publish(page, clock);
}

/// Old at once, new at once, new at the second try. (Old at the second try is impossible: the counter has changed.)
fn expected(old: (i64, i64), new: (i64, i64)) -> BTreeSet<Outcome> {
    BTreeSet::from([(old, false), (new, false), (new, true)])
}

#[test]
fn in_root_a_reader_sees_the_old_time_or_the_new() {
    for clock in [Clock::MONOTONIC, Clock::MONOTONIC_RAW] {
        let seen = race(clock, |_| (), 0, to_new, by_vdso);
        assert_eq!(seen, expected(OLD.time(), NEW.time()), "{clock:?}");
    }
}

#[test]
fn so_does_the_kernel() {
    let seen = race(Clock::MONOTONIC, |_| (), 0, to_new, by_kernel);
    assert_eq!(seen, expected(OLD.time(), NEW.time()));
}

#[test]
fn a_coarse_clock_is_old_or_new() {
    let seen = race(Clock::MONOTONIC_COARSE, |_| (), 0, to_new, by_vdso);
    assert_eq!(seen, BTreeSet::from([(OLD.coarse_time(), false), (NEW.coarse_time(), false)]));
}

#[test]
fn in_a_namespace_a_reader_sees_the_old_time_or_the_new_shifted() {
    fn namespace(pages: &[TimeData; 2]) {
        let monotonic = Offset { seconds: 1_000, nanoseconds: 1 };
        fill_namespace_page(&pages[0], monotonic, Offset::default());
    }
    let shifted = |(seconds, nanoseconds): (i64, i64)| (seconds + 1_000, nanoseconds + 1);
    for clock in [Clock::MONOTONIC, Clock::MONOTONIC_RAW] {
        let seen = race(clock, namespace, 1, to_new, by_vdso);
        assert_eq!(seen, expected(shifted(OLD.time()), shifted(NEW.time())), "{clock:?}");
    }
}

/// Without the counter the same tests would see mixtures: they can fail.
#[test]
fn without_the_counter_readings_are_torn() {
    fn without_counter(page: &TimeData, clock: Clock) {
        let data = page.clock_data(clock);
        data.cycle_last.store(NEW.cycle_last, Relaxed);
        data.mult.store(NEW.conversion.mult, Relaxed);
        data.shift.store(NEW.conversion.shift, Relaxed);
        data.entry(clock).seconds.store(NEW.seconds, Relaxed);
        data.entry(clock).nanoseconds.store(NEW.fraction, Relaxed);
    }
    let seen = race(Clock::MONOTONIC, |_| (), 0, without_counter, by_vdso);
    assert!(seen.iter().any(|(time, _)| mixtures().contains(time)), "{seen:?}");
}

/// The fence at the beginning of an update is needed: with stores in the same order but no fence, a reader that has read
/// a new field need not see the odd counter.
#[test]
fn without_the_writers_fence_readings_are_torn() {
    fn without_fence(page: &TimeData, clock: Clock) {
        let data = page.clock_data(clock);
        data.sequence.begin();
        data.cycle_last.store(NEW.cycle_last, Relaxed);
        data.mult.store(NEW.conversion.mult, Relaxed);
        data.shift.store(NEW.conversion.shift, Relaxed);
        data.entry(clock).seconds.store(NEW.seconds, Relaxed);
        data.entry(clock).nanoseconds.store(NEW.fraction, Relaxed);
        data.sequence.end();
    }
    let seen = race(Clock::MONOTONIC, |_| (), 0, without_fence, by_vdso);
    assert!(seen.iter().any(|(time, _)| mixtures().contains(time)), "{seen:?}");
}

//! What each function does with each clock, each pointer and each state of the page.
#![cfg(not(loom))]

mod machine;

use gnomon_vdso::calls::{self, SystemCall, Timespec, Timeval, Timezone};
use gnomon_vdso::clocks::{Class, Clock, TICK_NANOSECONDS};
use gnomon_vdso::cycles::Conversion;
use gnomon_vdso::page::{MODE_NONE, MODE_TSC, TimeData};
use gnomon_vdso::write::Counter;
use machine::{ANSWER, Task};
use std::cell::Cell;
use std::ptr::null_mut;

/// A counter of a nanosecond a cycle that stood at 1000 when every clock showed its id and that many microseconds.
fn publish(page: &TimeData) {
    let counter = Counter::new(MODE_TSC, 1000, Conversion { mult: 1 << 8, shift: 8 });
    page.update(|update| {
        update.counter(Class::HighResolution, &counter);
        update.counter(Class::Raw, &Counter { mult: 2 << 8, ..counter });
        for clock in Clock::ALL {
            let nanoseconds = u64::from(clock.id()) * 1000;
            let coarse = clock.class() == Class::Coarse;
            update.base(clock, clock.id().into(), if coarse { nanoseconds } else { nanoseconds << 8 });
        }
        update.resolution(3);
        update.time_zone(300, 2);
    });
}

fn root() -> [TimeData; 2] {
    let pages = [TimeData::new(), TimeData::new()];
    publish(&pages[0]);
    pages
}

#[test]
fn each_clock_is_read_its_way() {
    let pages = root();
    let counter = || 1005;
    let task = Task::new(&pages, &counter);
    for (clock, moved) in [(0, 5), (1, 5), (4, 10), (5, 0), (6, 0), (7, 5), (11, 5)] {
        assert_eq!(task.gettime(clock), Ok((clock.into(), i64::from(clock) * 1000 + moved)), "clock {clock}");
    }
    assert_eq!(task.readings.get(), 5, "a coarse clock has no use for the counter");
    assert!(task.calls.borrow().is_empty());
}

#[test]
fn every_other_id_is_the_kernels_business() {
    let pages = root();
    let counter = || 1005;
    let known: Vec<_> = Clock::ALL.iter().map(|clock| clock.id() as i32).collect();
    for clock in (-70..70).chain([i32::MIN, i32::MAX, 1 << 30]).filter(|clock| !known.contains(clock)) {
        let task = Task::new(&pages, &counter);
        assert_eq!(task.gettime(clock), Err(ANSWER));
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { calls::clock_getres(&task, clock, null_mut()) }, ANSWER);
        let calls = task.calls.into_inner();
        assert_eq!((calls[0].0, calls[0].1[0] as i32), (SystemCall::ClockGettime, clock));
        assert_eq!(calls[1], (SystemCall::ClockGetres, [clock as usize, 0, 0]));
    }
}

#[test]
fn a_counter_that_cannot_be_read_is_the_kernels_business() {
    for mode in [MODE_NONE, 2, 3, 77, -1] {
        let pages = root();
        let counter = Counter::new(mode, 1000, Conversion { mult: 1, shift: 0 });
        pages[0].update(|update| {
            update.counter(Class::HighResolution, &counter);
            update.counter(Class::Raw, &counter);
        });
        let counter = || 1005;
        let task = Task::new(&pages, &counter);
        for clock in [0, 1, 4, 7, 11] {
            assert_eq!(task.gettime(clock), Err(ANSWER), "mode {mode}");
        }
        let mut day = Timeval::default();
        // SAFETY: a local, and NULL.
        assert_eq!(unsafe { calls::gettimeofday(&task, &raw mut day, null_mut()) }, ANSWER);
        assert_eq!(task.calls.borrow().last().unwrap().0, SystemCall::Gettimeofday);
        // What needs no counter is answered all the same.
        assert_eq!(task.gettime(6), Ok((6, 6000)));
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { calls::time(&task, null_mut()) }, 0);
        assert_eq!(task.calls.borrow().len(), 6);
    }
}

/// The functions other than clock_gettime, which answer the same in root and in every namespace.
fn unshifted(pages: &[TimeData; 2]) {
    let counter = || 500_000_999;
    let task = Task::new(pages, &counter);
    let (mut day, mut zone, mut seconds) = (Timeval::default(), Timezone::default(), 77);
    // SAFETY: locals, and NULL where it is allowed, here and below.
    unsafe {
        assert_eq!(calls::gettimeofday(&task, &raw mut day, &raw mut zone), 0);
        assert_eq!(calls::gettimeofday(&task, null_mut(), null_mut()), 0);
        assert_eq!((calls::time(&task, &raw mut seconds), seconds), (0, 0));
        assert_eq!(calls::time(&task, null_mut()), 0);
    }
    assert_eq!((day.tv_sec, day.tv_usec), (0, 499_999), "microseconds are cut, not rounded");
    assert_eq!((zone.tz_minuteswest, zone.tz_dsttime), (300, 2));
    for clock in Clock::ALL {
        let mut resolution = Timespec { tv_sec: 9, tv_nsec: 9 };
        // SAFETY: as above.
        unsafe {
            assert_eq!(calls::clock_getres(&task, clock.id() as i32, &raw mut resolution), 0);
            assert_eq!(calls::clock_getres(&task, clock.id() as i32, null_mut()), 0);
        }
        let expected = if clock.class() == Class::Coarse { TICK_NANOSECONDS } else { 3 };
        assert_eq!(resolution, Timespec { tv_sec: 0, tv_nsec: expected.into() });
    }
    assert!(task.calls.borrow().is_empty());
}

#[test]
fn the_friends_of_clock_gettime() {
    unshifted(&root());
}

#[test]
fn the_time_zone_alone_needs_no_counter() {
    let pages = root();
    pages[0].update(|update| {
        update.counter(Class::HighResolution, &Counter::new(MODE_NONE, 0, Conversion { mult: 0, shift: 0 }));
    });
    let task = Task::new(&pages, &|| unreachable!());
    let mut zone = Timezone::default();
    // SAFETY: NULL and a local.
    assert_eq!(unsafe { calls::gettimeofday(&task, null_mut(), &raw mut zone) }, 0);
    assert_eq!(zone.tz_minuteswest, 300);
}

#[test]
fn the_processor_and_its_node() {
    let pages = root();
    let counter = || 0;
    let mut task = Task::new(&pages, &counter);
    let (mut cpu, mut node) = (77, 77);
    // SAFETY: locals, and NULL where it is allowed.
    unsafe {
        assert_eq!(calls::getcpu(&task, &raw mut cpu, &raw mut node), ANSWER, "no segment: the kernel knows");
        assert_eq!(task.calls.borrow()[0].0, SystemCall::Getcpu);
        task.processor = Some(3 << 12 | 41);
        assert_eq!(calls::getcpu(&task, &raw mut cpu, &raw mut node), 0);
        assert_eq!(calls::getcpu(&task, null_mut(), null_mut()), 0);
    }
    assert_eq!((cpu, node, task.calls.borrow().len()), (41, 3, 1));
}

#[test]
fn an_update_in_the_middle_is_noticed() {
    let pages = root();
    let first = Cell::new(true);
    // The first reading of the counter happens before an update that the reader has seen nothing of yet.
    let counter = || {
        if first.take() {
            pages[0].update(|update| {
                update.counter(
                    Class::HighResolution,
                    &Counter::new(MODE_TSC, 2000, Conversion { mult: 1, shift: 0 }),
                );
                update.base(Clock::MONOTONIC, 50, 60);
            });
        }
        2007
    };
    let task = Task::new(&pages, &counter);
    assert_eq!(task.gettime(1), Ok((50, 67)));
    assert_eq!(task.readings.get(), 2);
}

#[test]
fn an_update_is_odd_while_it_lasts() {
    let pages = root();
    let sequences = || pages[0].clocks.each_ref().map(|clock| clock.sequence.read());
    let before = sequences();
    pages[0].update(|_| assert_eq!(sequences(), before.map(|sequence| sequence + 1)));
    assert_eq!(sequences(), before.map(|sequence| sequence + 2));
    assert!(before.iter().all(|sequence| sequence % 2 == 0));
}

#[cfg(feature = "time_ns")]
mod inside {
    use super::*;
    use gnomon_vdso::page::MODE_TIME_NAMESPACE;
    use gnomon_vdso::write::{Offset, fill_namespace_page};

    const MONOTONIC: Offset = Offset { seconds: -1, nanoseconds: 999_999_999 };
    const BOOTTIME: Offset = Offset { seconds: 70, nanoseconds: 1 };

    fn pages() -> [TimeData; 2] {
        let pages = [TimeData::new(), TimeData::new()];
        fill_namespace_page(&pages[0], MONOTONIC, BOOTTIME);
        publish(&pages[1]);
        pages
    }

    #[test]
    fn each_clock_is_shifted_its_way() {
        let pages = pages();
        let counter = || 1005;
        let task = Task::new(&pages, &counter);
        // Minus one nanosecond is minus a second and 999 999 999 nanoseconds, and a carry.
        let expected = [
            (0, 0, 5),
            (1, 1, 1004),
            (4, 4, 4009),
            (5, 5, 5000),
            (6, 6, 5999),
            (7, 77, 7006),
            (11, 11, 11005),
        ];
        for (clock, seconds, nanoseconds) in expected {
            assert_eq!(task.gettime(clock), Ok((seconds, nanoseconds)), "clock {clock}");
        }
        assert!(task.calls.borrow().is_empty());
    }

    #[test]
    fn the_rest_is_the_same() {
        unshifted(&pages());
    }

    #[test]
    fn a_counter_that_cannot_be_read_is_the_kernels_business() {
        let pages = pages();
        pages[1].update(|update| {
            update.counter(
                Class::HighResolution,
                &Counter::new(MODE_NONE, 0, Conversion { mult: 0, shift: 0 }),
            );
        });
        let counter = || 1005;
        let task = Task::new(&pages, &counter);
        assert_eq!(task.gettime(1), Err(ANSWER));
        assert_eq!(task.gettime(6), Ok((6, 5999)));
    }

    #[test]
    fn a_namespaces_page_holds_offsets_and_its_mark_and_nothing_else() {
        let page = TimeData::new();
        fill_namespace_page(&page, MONOTONIC, BOOTTIME);
        let mut expected = vec![0u64; size_of::<TimeData>() / 8];
        for table in [0, 232 / 8] {
            expected[table] = 1 | (MODE_TIME_NAMESPACE as u64) << 32;
            for (clock, offset) in
                [(1, MONOTONIC), (4, MONOTONIC), (6, MONOTONIC), (7, BOOTTIME), (9, BOOTTIME)]
            {
                let entry = table + 5 + clock * 2;
                expected[entry..entry + 2]
                    .copy_from_slice(&[offset.seconds as u64, offset.nanoseconds.into()]);
            }
        }
        // SAFETY: the page is integers without gaps, aligned to more than eight, and nobody writes to it now.
        let found = unsafe { std::slice::from_raw_parts((&raw const page).cast::<u64>(), expected.len()) };
        assert_eq!(found, expected);
    }
}

#[cfg(not(feature = "time_ns"))]
#[test]
fn without_namespaces_a_companion_page_is_never_asked_for() {
    // `Task` has two pages; the second holds other clocks, and an asserted address.
    let pages = root();
    publish(&pages[1]);
    unshifted(&pages);
}

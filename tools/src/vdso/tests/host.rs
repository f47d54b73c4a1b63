//! The image on real pages: beside this machine's own clocks, beside a busy writer, and the reader on Linux's own page.

use super::super::figures::cycles;
use super::super::place::Form;
use super::calls::{Calls, by_system_call, nanoseconds};
use super::image;
use gnomon_vdso::calls::Timespec;
use gnomon_vdso::clocks::{Class, Clock};
use gnomon_vdso::cycles::{Conversion, SECOND};
use gnomon_vdso::page::{MODE_TSC, TimeData};
use gnomon_vdso::write::{Counter, Offset};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The counter, and what `look` saw at that moment: again, until nothing came between.
fn at_once<T>(look: impl Fn() -> T) -> (u64, T) {
    const CLOSE: u64 = 300_000;
    loop {
        let (before, seen, after) = (cycles(), look(), cycles());
        if after - before < CLOSE {
            return (before, seen);
        }
    }
}

/// This machine's counter against its own clock, over 100 ms.
fn hertz() -> u64 {
    let read = || nanoseconds(by_system_call(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC_RAW).unwrap());
    let (first, start) = at_once(read);
    std::thread::sleep(Duration::from_millis(100));
    let (last, end) = at_once(read);
    (i128::from(last - first) * i128::from(SECOND) / (end - start)) as u64
}

/// Publishes this machine's clocks as they are now.
fn publish_host(page: &TimeData, conversion: Conversion) {
    let (cycles, times) = at_once(|| {
        Clock::ALL.map(|clock| by_system_call(libc::SYS_clock_gettime, clock.id() as i32).unwrap())
    });
    let counter = Counter::new(MODE_TSC, cycles, conversion);
    page.update(|update| {
        update.counter(Class::HighResolution, &counter);
        update.counter(Class::Raw, &counter);
        for (clock, now) in Clock::ALL.into_iter().zip(times) {
            let shift = if clock.class() == Class::Coarse { 0 } else { conversion.shift };
            update.base(clock, now.tv_sec as u64, (now.tv_nsec as u64) << shift);
        }
    });
}

#[test]
fn clocks_run_as_this_machines_do() {
    let conversion = Conversion::for_frequency(hertz(), 600);
    let offset = Offset { seconds: -3, nanoseconds: 999_999_999 };
    let root = Calls::new(image(), Form::Root);
    let inside = Calls::inside(offset, offset);
    publish_host(root.placed.time_page(), conversion);
    publish_host(inside.placed.companion_page(), conversion);
    let end = Instant::now() + Duration::from_millis(1300);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        for clock in Clock::ALL.into_iter().filter(|clock| clock.class() != Class::Coarse) {
            let id = clock.id() as i32;
            let shift = if matches!(id, 1 | 4 | 7) { -2_000_000_001 } else { 0 };
            let before = nanoseconds(by_system_call(libc::SYS_clock_gettime, id).unwrap());
            let times =
                [nanoseconds(root.gettime(id).unwrap()), nanoseconds(inside.gettime(id).unwrap()) - shift];
            let after = nanoseconds(by_system_call(libc::SYS_clock_gettime, id).unwrap());
            // Calibration, the time it took to look at seven clocks one after the other, and the host's own steering.
            let slack = 2_000_000;
            for time in times {
                assert!(before - slack < time && time < after + slack, "{clock:?}: {before} {time} {after}");
            }
        }
    }
}

#[test]
fn a_reader_beside_a_busy_writer_never_steps_back() {
    let calls = Calls::new(image(), Form::Root);
    let conversion = Conversion::for_frequency(hertz(), 600);
    let done = AtomicBool::new(false);
    publish_host(calls.placed.time_page(), conversion);
    std::thread::scope(|scope| {
        let page = calls.placed.time_page();
        scope.spawn(|| {
            // What a tick does, as fast as it goes: whole seconds and shifted nanoseconds carried forward exactly.
            let entry = page.clock_data(Clock::MONOTONIC).entry(Clock::MONOTONIC);
            let mut seconds = entry.seconds.load(Ordering::Relaxed);
            let mut fraction = u128::from(entry.nanoseconds.load(Ordering::Relaxed));
            let mut last = page.clock_data(Clock::MONOTONIC).cycle_last.load(Ordering::Relaxed);
            while !done.load(Ordering::Relaxed) {
                let now = cycles();
                fraction += conversion.shifted(now.saturating_sub(last));
                last = last.max(now);
                while fraction >= u128::from(SECOND) << conversion.shift {
                    fraction -= u128::from(SECOND) << conversion.shift;
                    seconds += 1;
                }
                page.update(|update| {
                    update.counter(Class::HighResolution, &Counter::new(MODE_TSC, last, conversion));
                    update.base(Clock::MONOTONIC, seconds, fraction as u64);
                });
                std::thread::sleep(Duration::from_micros(1));
            }
        });
        let mut last = i128::MIN;
        let end = Instant::now() + Duration::from_millis(400);
        while Instant::now() < end {
            for _ in 0..1000 {
                let time = nanoseconds(calls.gettime(1).unwrap());
                assert!(time >= last, "stepped back from {last} to {time}");
                last = time;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// The layout is Linux's, so this crate's reader can read the page of a Linux of the right age, live.
#[test]
fn the_reader_reads_the_page_of_this_machines_linux() {
    let Some(page) = host_page() else {
        eprintln!(
            "skipped: this machine's kernel has no page of Linux 6.15 to 6.18, or does not use the TSC"
        );
        return;
    };
    for _ in 0..10_000 {
        for clock in Clock::ALL {
            // Through the C library, hence through Linux's own vDSO.
            let host = || {
                let mut time = Timespec::default();
                // SAFETY: writes to a local that has the layout of a `libc::timespec`.
                unsafe { libc::clock_gettime(clock.id() as i32, (&raw mut time).cast()) };
                nanoseconds(time)
            };
            let ordered_cycles = |_mode| {
                // SAFETY: as elsewhere; the fence keeps the counter from being read early.
                unsafe { std::arch::x86_64::_mm_lfence() };
                Some(cycles())
            };
            let before = host();
            let time = gnomon_vdso::read::read(page, clock, ordered_cycles).unwrap();
            let after = host();
            let time = i128::from(time.seconds) * i128::from(SECOND) + i128::from(time.nanoseconds);
            assert!(before <= time && time <= after, "{clock:?}: {before} {time} {after}");
        }
    }
}

fn host_page() -> Option<&'static TimeData> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    if !matches!((numbers.next()?, numbers.next()?), (6, 15..=18)) {
        return None;
    }
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vvar]"))?;
    let start = usize::from_str_radix(line.split('-').next()?, 16).ok()?;
    // SAFETY: the first page of [vvar], readable for as long as the process lives; all atomics.
    let page: &TimeData = unsafe { &*std::ptr::with_exposed_provenance(start) };
    (page.clocks[0].clock_mode.load(Ordering::Relaxed) == MODE_TSC).then_some(page)
}

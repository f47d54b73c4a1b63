//! The image at work: called in this process, on pages that the writer has filled, and compared with this machine's
//! own clocks.

use super::super::figures::cycles;
use super::super::place::{Form, Placed};
use super::super::steps;
use super::{image, image_without_namespaces};
use gnomon_vdso::calls::{Timespec, Timeval, Timezone};
use gnomon_vdso::clocks::{Class, Clock, TICK_NANOSECONDS};
use gnomon_vdso::cycles::{Conversion, SECOND};
use gnomon_vdso::page::{MODE_NONE, MODE_TSC, TimeData};
use gnomon_vdso::write::{Counter, Offset, fill_namespace_page};
use std::mem::transmute;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type ClockCall = extern "C" fn(i32, *mut Timespec) -> i32;
type DayCall = extern "C" fn(*mut Timeval, *mut Timezone) -> i32;
type SecondsCall = extern "C" fn(*mut i64) -> i64;
type CpuCall = extern "C" fn(*mut u32, *mut u32, *const u8) -> i32;

/// The image's functions, called as a program calls them.
struct Calls {
    placed: Placed,
    gettime: ClockCall,
    getres: ClockCall,
    day: DayCall,
    seconds: SecondsCall,
    cpu: CpuCall,
}

impl Calls {
    fn new(image: &[u8], form: Form) -> Calls {
        let placed = Placed::new(image, form).unwrap();
        let function = |name: &str| placed.function(&format!("__vdso_{name}")).unwrap();
        // SAFETY: the functions have these signatures, and the image stays mapped as long as this value lives.
        unsafe {
            Calls {
                gettime: transmute::<usize, ClockCall>(function("clock_gettime")),
                getres: transmute::<usize, ClockCall>(function("clock_getres")),
                day: transmute::<usize, DayCall>(function("gettimeofday")),
                seconds: transmute::<usize, SecondsCall>(function("time")),
                cpu: transmute::<usize, CpuCall>(function("getcpu")),
                placed,
            }
        }
    }

    /// In a namespace with these offsets.
    fn inside(monotonic: Offset, boottime: Offset) -> Calls {
        let calls = Calls::new(image(), Form::Namespace);
        fill_namespace_page(calls.placed.time_page(), monotonic, boottime);
        calls
    }

    fn gettime(&self, clock: i32) -> Result<Timespec, i32> {
        let mut time = Timespec::default();
        match (self.gettime)(clock, &raw mut time) {
            0 => Ok(time),
            error => Err(error),
        }
    }

    fn getres(&self, clock: i32) -> Result<Timespec, i32> {
        let mut time = Timespec::default();
        match (self.getres)(clock, &raw mut time) {
            0 => Ok(time),
            error => Err(error),
        }
    }
}

/// The same by system call; a negative errno for an error.
fn by_system_call(number: i64, clock: i32) -> Result<Timespec, i32> {
    let mut time = Timespec::default();
    // SAFETY: writes to a local of the right size.
    match unsafe { libc::syscall(number, clock, &raw mut time) } {
        0 => Ok(time),
        _ => Err(-std::io::Error::last_os_error().raw_os_error().unwrap()),
    }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * i128::from(SECOND) + i128::from(time.tv_nsec)
}

/// What a clock shows in [`stand_still`]: different for each, near the end of a second.
fn shown(clock: Clock) -> Timespec {
    let id = i64::from(clock.id());
    Timespec { tv_sec: 1000 + 10 * id, tv_nsec: 999_999_000 + id }
}

/// Publishes clocks that do not move.
fn stand_still(page: &TimeData) {
    let conversion = Conversion { mult: 0, shift: 8 };
    let counter = Counter::new(MODE_TSC, cycles(), conversion);
    page.update(|update| {
        update.counter(Class::HighResolution, &counter);
        update.counter(Class::Raw, &counter);
        for clock in Clock::ALL {
            let Timespec { tv_sec, tv_nsec } = shown(clock);
            let shift = if clock.class() == Class::Coarse { 0 } else { conversion.shift };
            update.base(clock, tv_sec as u64, (tv_nsec as u64) << shift);
        }
        update.resolution(7);
        update.time_zone(-60, 1);
    });
}

/// What every form has in common.
fn unshifted_calls(calls: &Calls) {
    let real = shown(Clock::REALTIME);
    let (mut day, mut zone) = (Timeval::default(), Timezone::default());
    assert_eq!((calls.day)(&raw mut day, &raw mut zone), 0);
    assert_eq!((day.tv_sec, day.tv_usec), (real.tv_sec, real.tv_nsec / 1000));
    assert_eq!((zone.tz_minuteswest, zone.tz_dsttime), (-60, 1));
    assert_eq!((calls.day)(null_mut(), null_mut()), 0);
    let mut again = Timezone::default();
    assert_eq!((calls.day)(null_mut(), &raw mut again), 0);
    assert_eq!(again, zone);
    let mut stored = 0;
    assert_eq!(((calls.seconds)(&raw mut stored), stored), (real.tv_sec, real.tv_sec));
    assert_eq!((calls.seconds)(null_mut()), real.tv_sec);
    for clock in Clock::ALL {
        let expected = if clock.class() == Class::Coarse { TICK_NANOSECONDS.into() } else { 7 };
        assert_eq!(calls.getres(clock.id() as i32), Ok(Timespec { tv_sec: 0, tv_nsec: expected }));
        assert_eq!((calls.getres)(clock.id() as i32, null_mut()), 0);
    }
}

#[test]
fn in_root_the_page_is_read_as_it_is() {
    for image in [image(), image_without_namespaces()] {
        let calls = Calls::new(image, Form::Root);
        stand_still(calls.placed.time_page());
        for clock in Clock::ALL {
            assert_eq!(calls.gettime(clock.id() as i32), Ok(shown(clock)), "{clock:?}");
        }
        unshifted_calls(&calls);
    }
}

#[test]
fn in_a_namespace_offsets_are_added_and_carried() {
    let offsets = [(0, 0), (5, 0), (-1, 999_999_999), (-700, 1), (1, 1000), (i64::MAX / 2, 999_999_999)];
    for (seconds, part) in offsets {
        let monotonic = Offset { seconds, nanoseconds: part };
        let boottime = Offset { seconds: seconds + 1, nanoseconds: part };
        let calls = Calls::inside(monotonic, boottime);
        stand_still(calls.placed.companion_page());
        for clock in Clock::ALL {
            let offset = match clock.id() {
                1 | 4 | 6 => monotonic,
                7 => boottime,
                _ => Offset::default(),
            };
            let offset = Timespec { tv_sec: offset.seconds, tv_nsec: offset.nanoseconds.into() };
            let time = calls.gettime(clock.id() as i32).unwrap();
            assert_eq!(nanoseconds(time), nanoseconds(shown(clock)) + nanoseconds(offset), "{clock:?}");
            assert!((0..SECOND as i64).contains(&time.tv_nsec), "{time:?}");
        }
        unshifted_calls(&calls);
    }
}

#[test]
fn what_the_page_does_not_have_the_kernel_answers() {
    let calls = Calls::new(image(), Form::Root);
    stand_still(calls.placed.time_page());
    for clock in [10, 12, 15, 16, 23, 24, 31, 32, 33, 64, i32::MAX, i32::MIN, -1, -2] {
        let (by_call, by_image) = (by_system_call(libc::SYS_clock_gettime, clock), calls.gettime(clock));
        assert_eq!(by_image.err(), by_call.err(), "clock_gettime of {clock}");
        assert_eq!(
            calls.getres(clock),
            by_system_call(libc::SYS_clock_getres, clock),
            "clock_getres of {clock}"
        );
    }
    assert_eq!(calls.gettime(10), Err(-libc::EINVAL));
    assert_eq!((calls.gettime)(libc::CLOCK_THREAD_CPUTIME_ID, null_mut()), -libc::EFAULT);
    // A clock of this thread moves on while it is read three times.
    let read = |()| nanoseconds(by_system_call(libc::SYS_clock_gettime, 3).unwrap());
    let (before, time, after) = (read(()), nanoseconds(calls.gettime(3).unwrap()), read(()));
    assert!(before < time && time < after, "{before} {time} {after}");
}

#[test]
fn without_a_counter_the_kernel_answers() {
    for calls in [Calls::new(image(), Form::Root), Calls::inside(Offset::default(), Offset::default())] {
        // All zeros but the mark of the namespace: mode MODE_NONE.
        assert_eq!(MODE_NONE, 0);
        for clock in [0, 1, 4, 7, 11] {
            let read = |()| nanoseconds(by_system_call(libc::SYS_clock_gettime, clock).unwrap());
            let (before, time, after) = (read(()), nanoseconds(calls.gettime(clock).unwrap()), read(()));
            assert!(before < time && time < after, "{clock}: {before} {time} {after}");
        }
        let mut day = Timeval::default();
        assert_eq!((calls.day)(&raw mut day, null_mut()), 0);
        assert!(day.tv_sec > 1_700_000_000);
        assert_eq!((calls.seconds)(null_mut()), 0, "time() reads the page whatever the mode");
    }
}

#[test]
fn a_bad_pointer_is_the_programs_own_fault() {
    let calls = Calls::new(image(), Form::Root);
    stand_still(calls.placed.time_page());
    let gettime = calls.placed.function("__vdso_clock_gettime").unwrap();
    for clock in [0, 1, 4, 5, 6, 7, 11] {
        let error = steps::count(calls.placed.text(), &[(gettime, [clock, 0, 0])]).unwrap_err();
        assert!(error.to_string().contains("died of signal 11"), "{error}");
    }
}

#[test]
fn in_root_the_companion_is_never_touched_and_in_a_namespace_it_is() {
    // The companion of the root form cannot be accessed, so the tests above have shown the first half. For the other:
    // a namespace's page where the companion cannot be accessed kills whoever follows it.
    let calls = Calls::new(image(), Form::Root);
    fill_namespace_page(calls.placed.time_page(), Offset::default(), Offset::default());
    for (name, clock) in [("clock_gettime", 1), ("clock_gettime", 4), ("clock_gettime", 6), ("time", 0)] {
        let mut time = Timespec::default();
        let function = calls.placed.function(&format!("__vdso_{name}")).unwrap();
        let arguments = if name == "time" { [0; 3] } else { [clock, (&raw mut time).addr(), 0] };
        let error = steps::count(calls.placed.text(), &[(function, arguments)]).unwrap_err();
        assert!(error.to_string().contains("died of signal 11"), "{name}: {error}");
    }
}

#[test]
fn the_processor_is_the_one_linux_says() {
    let calls = Calls::new(image(), Form::Root);
    let by_call = || {
        let (mut cpu, mut node) = (u32::MAX, u32::MAX);
        // SAFETY: writes to locals of the right size.
        unsafe { libc::syscall(libc::SYS_getcpu, &raw mut cpu, &raw mut node, null::<u8>()) };
        (cpu, node)
    };
    // The thread may be moved between two questions, but not every time.
    let agree = (0..100).any(|_| {
        let (before, (mut cpu, mut node)) = (by_call(), (u32::MAX, u32::MAX));
        assert_eq!((calls.cpu)(&raw mut cpu, &raw mut node, null()), 0);
        before == (cpu, node) && before == by_call()
    });
    assert!(agree);
    assert_eq!((calls.cpu)(null_mut(), null_mut(), null()), 0);
}

/// This machine's counter against its own clock, over 100 ms.
fn hertz() -> u64 {
    let read = || (cycles(), by_system_call(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC_RAW).unwrap());
    let (first, start) = read();
    std::thread::sleep(Duration::from_millis(100));
    let (last, end) = read();
    ((last - first) as i128 * i128::from(SECOND) / (nanoseconds(end) - nanoseconds(start))) as u64
}

/// Publishes this machine's clocks as they are now.
fn publish_host(page: &TimeData, conversion: Conversion) {
    let counter = Counter::new(MODE_TSC, cycles(), conversion);
    page.update(|update| {
        update.counter(Class::HighResolution, &counter);
        update.counter(Class::Raw, &counter);
        for clock in Clock::ALL {
            let now = by_system_call(libc::SYS_clock_gettime, clock.id() as i32).unwrap();
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
            // Calibration, the time it took to publish seven clocks one after the other, and the host's own steering.
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

//! The image at work: called in this process, on pages that the writer has filled.

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

type ClockCall = extern "C" fn(i32, *mut Timespec) -> i32;
type DayCall = extern "C" fn(*mut Timeval, *mut Timezone) -> i32;
type SecondsCall = extern "C" fn(*mut i64) -> i64;
type CpuCall = extern "C" fn(*mut u32, *mut u32, *const u8) -> i32;

/// The image's functions, called as a program calls them.
pub struct Calls {
    pub placed: Placed,
    gettime: ClockCall,
    getres: ClockCall,
    day: DayCall,
    seconds: SecondsCall,
    cpu: CpuCall,
}

impl Calls {
    pub fn new(image: &[u8], form: Form) -> Calls {
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
    pub fn inside(monotonic: Offset, boottime: Offset) -> Calls {
        let calls = Calls::new(image(), Form::Namespace);
        fill_namespace_page(calls.placed.time_page(), monotonic, boottime);
        calls
    }

    pub fn gettime(&self, clock: i32) -> Result<Timespec, i32> {
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
pub fn by_system_call(number: i64, clock: i32) -> Result<Timespec, i32> {
    let mut time = Timespec::default();
    // SAFETY: writes to a local of the right size.
    match unsafe { libc::syscall(number, clock, &raw mut time) } {
        0 => Ok(time),
        _ => Err(-std::io::Error::last_os_error().raw_os_error().unwrap()),
    }
}

pub fn nanoseconds(time: Timespec) -> i128 {
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
    assert!(before <= time && time <= after, "{before} {time} {after}");
}

#[test]
fn without_a_counter_the_kernel_answers() {
    for calls in [Calls::new(image(), Form::Root), Calls::inside(Offset::default(), Offset::default())] {
        // All zeros but the mark of the namespace: mode MODE_NONE.
        assert_eq!(MODE_NONE, 0);
        for clock in [0, 1, 4, 7, 11] {
            let read = |()| nanoseconds(by_system_call(libc::SYS_clock_gettime, clock).unwrap());
            let (before, time, after) = (read(()), nanoseconds(calls.gettime(clock).unwrap()), read(()));
            assert!(before <= time && time <= after, "{clock}: {before} {time} {after}");
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

//! The functions a program calls: clock_gettime and its friends, on whatever machine they are placed.
//!
//! Each does what the system call of its name does, from the page, and makes that system call whenever the page does not
//! have the answer; the kernel then knows the namespace itself, so both ways agree. Like system calls they
//! return a negative errno, the C library makes -1 and `errno` of it. Unlike system calls they write through the
//! caller's pointer with the caller's rights: a bad pointer is SIGSEGV, not EFAULT.

use crate::atomics::Ordering::Relaxed;
use crate::clocks::{Class, Clock, TICK_NANOSECONDS};
use crate::page::{MODE_TIME_NAMESPACE, RandomData, TimeData};
use crate::read::{Instead, NAMESPACES, Time, carried, coarse, high_resolution, shifted};
use core::hint::cold_path;

/// The selector of the segment whose limit is `node << 12 | cpu`: entry 15 of the GDT, privilege level 3, as in Linux.
pub const PROCESSOR_SELECTOR: u16 = 15 << 3 | 3;

/// What the functions need of the place they run in.
pub trait Machine {
    /// Page 0, as this task sees it.
    fn time_page(&self) -> &TimeData;
    /// Where `part` of page 0 is on the companion page.
    ///
    /// A part rather than the page: an address on the one is a constant away from the same on the other, which saves
    /// computing it twice.
    ///
    /// # Safety
    /// `part` is on page 0, and page 0 has turned out to be a namespace's: in root there is no companion page.
    unsafe fn on_companion_page<'a, T>(&'a self, part: &'a T) -> &'a T;
    /// The random page, which is the same in every namespace.
    fn random_page(&self) -> &RandomData;
    /// The counter that a `clock_mode` names, read after all earlier loads of the program; `None` if there is no such
    /// counter.
    fn cycles(&self, mode: i32) -> Option<u64>;
    /// The number of this processor in bits 0 to 11, of its node from bit 12 on; `None` if the kernel has not left it
    /// where it can be read.
    fn processor(&self) -> Option<u32>;
    /// The system call: what the kernel returns, a negative errno for an error.
    ///
    /// # Safety
    /// As for the call: the kernel writes through the pointers among the arguments.
    unsafe fn system_call(&self, number: SystemCall, arguments: [usize; 3]) -> i32;
}

/// The system calls behind the functions, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SystemCall {
    /// gettimeofday(2)
    Gettimeofday = 96,
    /// clock_gettime(2)
    ClockGettime = 228,
    /// clock_getres(2)
    ClockGetres = 229,
    /// getcpu(2)
    Getcpu = 309,
    /// getrandom(2)
    Getrandom = 318,
}

/// `struct timespec`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timespec {
    /// Seconds.
    pub tv_sec: i64,
    /// Nanoseconds.
    pub tv_nsec: i64,
}

/// `struct timeval`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeval {
    /// Seconds.
    pub tv_sec: i64,
    /// Microseconds.
    pub tv_usec: i64,
}

/// `struct timezone`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timezone {
    /// Minutes west of Greenwich.
    pub tz_minuteswest: i32,
    /// Kind of daylight saving.
    pub tz_dsttime: i32,
}

/// The time on `clock` as this task sees it; `None`: ask the kernel.
///
/// Each class has a copy of the reader to itself, in which the table's place is a constant.
#[inline(always)]
fn now<M: Machine>(machine: &M, clock: Clock, class: Class) -> Option<Time> {
    match class {
        Class::HighResolution => high_resolution_now::<0, M>(machine, clock),
        Class::Coarse => coarse_now(machine, clock),
        Class::Raw => high_resolution_now::<1, M>(machine, clock),
    }
}

#[inline(always)]
fn high_resolution_now<const INSTANCE: usize, M: Machine>(machine: &M, clock: Clock) -> Option<Time> {
    let data = &machine.time_page().clocks[INSTANCE];
    let entry = data.entry(clock);
    let cycles = |mode| machine.cycles(mode);
    // What is rare is the kernel's to compute: more of it here would cost registers.
    let ask = |_| None;
    match high_resolution::<NAMESPACES>(data, entry, None, cycles, ask) {
        Ok(time) => Some(carried(time)),
        Err(Instead::NoCounter) => None,
        Err(Instead::NamespacePage) => {
            // SAFETY: parts of a namespace's page, as was just found.
            let (system, base) =
                unsafe { (machine.on_companion_page(data), machine.on_companion_page(entry)) };
            let time = high_resolution::<false>(system, base, Some(entry), cycles, ask).ok()?;
            Some(carried(time))
        }
    }
}

#[inline(always)]
fn coarse_now<M: Machine>(machine: &M, clock: Clock) -> Option<Time> {
    let data = &machine.time_page().clocks[0];
    let entry = data.entry(clock);
    let shifted_on_companion = |offset| {
        // SAFETY: parts of a namespace's page: nothing else keeps a coarse clock from being read.
        let (system, base) = unsafe { (machine.on_companion_page(data), machine.on_companion_page(entry)) };
        coarse::<false>(system, base).map(|time| carried(shifted(time, offset)))
    };
    coarse::<NAMESPACES>(data, entry).or_else(shifted_on_companion).ok()
}

/// Whether this is a namespace's page.
#[inline(always)]
fn on_namespace_page(page: &TimeData) -> bool {
    page.clocks[0].clock_mode.load(Relaxed) == MODE_TIME_NAMESPACE
}

/// The system's page, wherever it is: for what is the same in every namespace.
#[inline(always)]
fn system_page<M: Machine>(machine: &M) -> &TimeData {
    let page = machine.time_page();
    if NAMESPACES && on_namespace_page(page) {
        // SAFETY: the whole of a namespace's page.
        return unsafe { machine.on_companion_page(page) };
    }
    page
}

/// clock_gettime(2): 0, or a negative errno from the system call.
///
/// # Safety
/// `time` is valid for writes, or the program is meant to fault.
#[inline(always)]
pub unsafe fn clock_gettime<M: Machine>(machine: &M, clock: i32, time: *mut Timespec) -> i32 {
    let Some(now) = Clock::new(clock).and_then(|(clock, class)| now(machine, clock, class)) else {
        cold_path();
        // SAFETY: the caller's promise is the system call's.
        return unsafe { machine.system_call(SystemCall::ClockGettime, [clock as usize, time as usize, 0]) };
    };
    // SAFETY: by the caller's promise.
    unsafe { *time = Timespec { tv_sec: now.seconds as i64, tv_nsec: now.nanoseconds as i64 } };
    0
}

/// gettimeofday(2): 0, or a negative errno from the system call. Either pointer may be NULL.
///
/// # Safety
/// Each pointer is NULL or valid for writes, or the program is meant to fault.
#[inline(always)]
pub unsafe fn gettimeofday<M: Machine>(machine: &M, time: *mut Timeval, zone: *mut Timezone) -> i32 {
    if !time.is_null() {
        let Some(now) = now(machine, Clock::REALTIME, Class::HighResolution) else {
            // SAFETY: the caller's promise is the system call's.
            return unsafe {
                machine.system_call(SystemCall::Gettimeofday, [time as usize, zone as usize, 0])
            };
        };
        // The nanoseconds are below 2^30, and saying so makes the division a narrow one.
        let microseconds = now.nanoseconds as u32 / 1000;
        // SAFETY: by the caller's promise.
        unsafe { *time = Timeval { tv_sec: now.seconds as i64, tv_usec: microseconds.into() } };
    }
    if !zone.is_null() {
        let page = system_page(machine);
        let (tz_minuteswest, tz_dsttime) = (page.tz_minuteswest.load(Relaxed), page.tz_dsttime.load(Relaxed));
        // SAFETY: by the caller's promise.
        unsafe { *zone = Timezone { tz_minuteswest, tz_dsttime } };
    }
    0
}

/// time(2): seconds since 1970, also stored unless the pointer is NULL.
///
/// One aligned word is read, so there is nothing to be torn and no need for the sequence counter.
///
/// # Safety
/// `time` is NULL or valid for writes, or the program is meant to fault.
#[inline(always)]
pub unsafe fn time<M: Machine>(machine: &M, time: *mut i64) -> i64 {
    // Nearly every program says time(NULL), and for that nothing follows the load.
    if time.is_null() {
        return realtime_seconds(machine);
    }
    let seconds = realtime_seconds(machine);
    // SAFETY: by the caller's promise.
    unsafe { *time = seconds };
    seconds
}

#[inline(always)]
fn realtime_seconds<M: Machine>(machine: &M) -> i64 {
    let seconds = |page: &TimeData| page.clocks[0].entry(Clock::REALTIME).seconds.load(Relaxed) as i64;
    let page = machine.time_page();
    if NAMESPACES && on_namespace_page(page) {
        cold_path();
        // SAFETY: the whole of a namespace's page.
        return seconds(unsafe { machine.on_companion_page(page) });
    }
    seconds(page)
}

/// clock_getres(2): 0, or a negative errno from the system call. The pointer may be NULL.
///
/// # Safety
/// `resolution` is NULL or valid for writes, or the program is meant to fault.
#[inline(always)]
pub unsafe fn clock_getres<M: Machine>(machine: &M, clock: i32, resolution: *mut Timespec) -> i32 {
    let nanoseconds = match Clock::new(clock).map(|(_, class)| class) {
        Some(Class::HighResolution | Class::Raw) => system_page(machine).hrtimer_res.load(Relaxed),
        Some(Class::Coarse) => TICK_NANOSECONDS,
        None => {
            let arguments = [clock as usize, resolution as usize, 0];
            // SAFETY: the caller's promise is the system call's.
            return unsafe { machine.system_call(SystemCall::ClockGetres, arguments) };
        }
    };
    if !resolution.is_null() {
        // SAFETY: by the caller's promise.
        unsafe { *resolution = Timespec { tv_sec: 0, tv_nsec: nanoseconds.into() } };
    }
    0
}

/// getcpu(2): 0, or a negative errno from the system call. Either pointer may be NULL.
///
/// # Safety
/// Each pointer is NULL or valid for writes, or the program is meant to fault.
#[inline(always)]
pub unsafe fn getcpu<M: Machine>(machine: &M, cpu: *mut u32, node: *mut u32) -> i32 {
    let Some(processor) = machine.processor() else {
        // SAFETY: the caller's promise is the system call's.
        return unsafe { machine.system_call(SystemCall::Getcpu, [cpu as usize, node as usize, 0]) };
    };
    // SAFETY: both by the caller's promise.
    unsafe {
        if !cpu.is_null() {
            *cpu = processor & 0xfff;
        }
        if !node.is_null() {
            *node = processor >> 12;
        }
    }
    0
}

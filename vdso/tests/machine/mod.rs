//! A machine to run the readers on: two pages side by side, a counter that says what it is told, a kernel that takes notes.

#![allow(dead_code, reason = "each test uses its part")]

use gnomon_vdso::calls::{Machine, SystemCall, Timespec, clock_gettime};
use gnomon_vdso::page::{MODE_TSC, RandomData, TimeData};
use std::cell::{Cell, RefCell};
use std::ptr;

/// What the kernel answers to every call here: a number no function makes up by itself.
pub const ANSWER: i32 = -1234;

/// One task's view: its pages, its counter, its kernel.
pub struct Task<'pages> {
    /// Page 0 and the companion page.
    pub pages: &'pages [TimeData; 2],
    /// What the counter of [`MODE_TSC`] shows; called anew for every reading.
    pub counter: &'pages dyn Fn() -> u64,
    /// How often it has been read.
    pub readings: Cell<usize>,
    /// What the processor's segment says.
    pub processor: Option<u32>,
    /// What the kernel's generator says.
    pub random: RandomData,
    /// The system calls made.
    pub calls: RefCell<Vec<(SystemCall, [usize; 3])>>,
}

impl<'pages> Task<'pages> {
    /// A task on these pages, with this counter.
    pub fn new(pages: &'pages [TimeData; 2], counter: &'pages dyn Fn() -> u64) -> Self {
        Task {
            pages,
            counter,
            readings: Cell::new(0),
            processor: None,
            random: RandomData::default(),
            calls: RefCell::default(),
        }
    }

    /// clock_gettime(2): the time, or what the kernel said.
    pub fn gettime(&self, clock: i32) -> Result<(i64, i64), i32> {
        let mut time = Timespec::default();
        // SAFETY: the time goes to a local.
        match unsafe { clock_gettime(self, clock, &raw mut time) } {
            0 => Ok((time.tv_sec, time.tv_nsec)),
            error => Err(error),
        }
    }
}

impl Machine for Task<'_> {
    fn time_page(&self) -> &TimeData {
        &self.pages[0]
    }

    unsafe fn on_companion_page<'a, T>(&'a self, part: &'a T) -> &'a T {
        let pages = self.pages.as_ptr();
        let address = (&raw const *part).expose_provenance();
        let first = pages.expose_provenance();
        assert!(
            (first..first + size_of::<TimeData>()).contains(&address),
            "asked for a part of another page"
        );
        // SAFETY: the same place in the second of two values of the same type, exposed as a whole just now.
        unsafe { &*ptr::with_exposed_provenance(address + size_of::<TimeData>()) }
    }

    fn random_page(&self) -> &RandomData {
        &self.random
    }

    fn cycles(&self, mode: i32) -> Option<u64> {
        self.readings.set(self.readings.get() + 1);
        (mode == MODE_TSC).then(|| (self.counter)())
    }

    fn processor(&self) -> Option<u32> {
        self.processor
    }

    unsafe fn system_call(&self, number: SystemCall, arguments: [usize; 3]) -> i32 {
        self.calls.borrow_mut().push((number, arguments));
        ANSWER
    }
}

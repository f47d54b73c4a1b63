//! How much processor time a task has used, and where: times(2), getrusage(2), CLOCK_THREAD_CPUTIME_ID.
//!
//! The cycle counter is read whenever a task goes from its program into the kernel or back, which takes about ten
//! instructions each way and makes the division exact. (Linux by default samples it with the timer tick and scales; a
//! kernel that takes its ticks only in user mode would never see itself working.)

use crate::{abi::NANOSECONDS_PER_SECOND, time::clocksource};
use core::{
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Clock ticks in a second, as times(2), wait(2) and proc(5) count: `sysconf(_SC_CLK_TCK)`.
pub const TICKS_PER_SECOND: u64 = 100;

/// Processor time, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// In the program.
    pub user: u64,
    /// In the kernel on its account.
    pub system: u64,
}

impl Times {
    /// Both.
    pub const fn total(self) -> u64 {
        self.user + self.system
    }

    /// Both in clock ticks, rounded down.
    pub const fn ticks(self) -> (u64, u64) {
        const NANOSECONDS: u64 = NANOSECONDS_PER_SECOND / TICKS_PER_SECOND;
        (self.user / NANOSECONDS, self.system / NANOSECONDS)
    }
}

impl AddAssign for Times {
    fn add_assign(&mut self, other: Self) {
        self.user += other.user;
        self.system += other.system;
    }
}

/// One task's account, in cycles. Only the CPU that runs the task writes it, so plain loads and stores do.
#[derive(Default)]
pub struct CpuTime {
    /// While it has a CPU.
    total: Stopwatch,
    /// While it is in its program.
    user: Stopwatch,
}

/// Adds up how long something goes on. While it does, the moment it began is already taken off the sum, so beginning and
/// ending are one addition each; that makes the sum negative, by which a reader knows.
#[derive(Default)]
struct Stopwatch(AtomicU64);

impl Stopwatch {
    fn begin(&self, now: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(now), Relaxed);
    }

    fn end(&self, now: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(now), Relaxed);
    }

    fn read(&self, now: u64) -> u64 {
        let sum = self.0.load(Relaxed);
        if (sum as i64) < 0 { sum.wrapping_add(now) } else { sum }
    }
}

impl CpuTime {
    /// The task is given the CPU, in the kernel.
    pub fn resumed(&self) {
        self.total.begin(clocksource::cycles());
    }

    /// The task gives up the CPU.
    pub fn paused(&self) {
        self.total.end(clocksource::cycles());
    }

    /// The task goes on to its program, at this count.
    pub fn leaves_kernel(&self, now: u64) {
        self.user.begin(now);
    }

    /// The task comes back from its program, at this count.
    pub fn enters_kernel(&self, now: u64) {
        self.user.end(now);
    }

    /// What it has used up to now.
    pub fn read(&self) -> Times {
        let now = clocksource::cycles();
        let user = nanoseconds(self.user.read(now));
        Times { user, system: nanoseconds(self.total.read(now)).saturating_sub(user) }
    }
}

/// How long so many cycles take.
pub fn nanoseconds(cycles: u64) -> u64 {
    let frequency = u128::from(clocksource::frequency().max(1));
    (u128::from(cycles) * u128::from(NANOSECONDS_PER_SECOND) / frequency) as u64
}

/// What getrusage(2) adds up, of threads that have ended or of children that were waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Processor time.
    pub times: Times,
    /// Page faults; none of them ever waits for a disk.
    pub faults: u64,
    /// Times it gave the CPU up to wait.
    pub voluntary_switches: u64,
    /// Times it was taken away.
    pub involuntary_switches: u64,
    /// The most memory it had, in KiB: of several, the largest.
    pub largest_resident: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.times += other.times;
        self.faults += other.faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.largest_resident = self.largest_resident.max(other.largest_resident);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopwatch_can_be_read_while_it_runs() {
        let watch = Stopwatch::default();
        watch.begin(1000);
        assert_eq!(watch.read(1300), 300);
        watch.end(1500);
        assert_eq!(watch.read(9999), 500);
        watch.begin(10_000);
        assert_eq!(watch.read(10_001), 501);
    }

    #[test]
    fn ticks_are_hundredths_of_a_second_rounded_down() {
        assert_eq!(Times { user: 1_019_999_999, system: 9_999_999 }.ticks(), (101, 0));
    }

    #[test]
    fn usage_adds_up_but_memory_does_not() {
        let mut sum = Usage { faults: 2, largest_resident: 50, ..Usage::default() };
        sum += Usage {
            faults: 3,
            largest_resident: 40,
            times: Times { user: 1, system: 2 },
            ..Usage::default()
        };
        assert_eq!((sum.faults, sum.largest_resident, sum.times.total()), (5, 50, 3));
    }
}

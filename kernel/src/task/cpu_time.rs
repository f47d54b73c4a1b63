//! How much processor time a task has used, and where: times(2), getrusage(2), CLOCK_THREAD_CPUTIME_ID.
//!
//! The cycle counter is read whenever a task goes from its program into the kernel or back, which takes about ten
//! instructions each way and makes the division exact. (Linux by default samples it with the timer tick and scales; a
//! kernel that takes its ticks only in user mode would never see itself working.)

use crate::{
    abi::NANOSECONDS_PER_SECOND,
    arch::{Hardware, Machine},
};
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

/// One task's account, in cycles. Only the CPU that runs the task writes it, so plain loads and stores do; others
/// may read, and see it as of the last time the task changed sides.
#[derive(Default)]
pub struct CpuTime {
    user: AtomicU64,
    system: AtomicU64,
    /// The counter when the task last changed sides or was given the CPU.
    mark: AtomicU64,
}

fn add(counter: &AtomicU64, cycles: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(cycles), Relaxed);
}

impl CpuTime {
    fn since_mark(&self) -> u64 {
        let now = Hardware::cycles();
        // A CPU whose counter is a little behind must not charge an age.
        let passed = now.saturating_sub(self.mark.load(Relaxed));
        self.mark.store(now, Relaxed);
        passed
    }

    /// The task is given the CPU, in the kernel.
    pub fn resumed(&self) {
        self.mark.store(Hardware::cycles(), Relaxed);
    }

    /// The task goes on to its program, or gives up the CPU.
    pub fn leaves_kernel(&self) {
        add(&self.system, self.since_mark());
    }

    /// The task comes back from its program.
    pub fn enters_kernel(&self) {
        add(&self.user, self.since_mark());
    }

    /// What it has used. `running`: it is the one that asks, so the time since it entered the kernel counts too.
    pub fn read(&self, running: bool) -> Times {
        let current = if running { Hardware::cycles().saturating_sub(self.mark.load(Relaxed)) } else { 0 };
        Times {
            user: nanoseconds(self.user.load(Relaxed)),
            system: nanoseconds(self.system.load(Relaxed).wrapping_add(current)),
        }
    }
}

/// How long so many cycles take.
pub fn nanoseconds(cycles: u64) -> u64 {
    let frequency = u128::from(Hardware::cycle_counter().frequency.max(1));
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

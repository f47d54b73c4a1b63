//! How a task is to be scheduled, sched(7): what was asked for, and what it means for the order of tasks.
//!
//! A nice value is a weight: each step is worth a quarter more or less of the CPU, as on Linux. Here a weight is how many
//! ticks a slice has, or how many rounds a task is passed over after a slice; whole numbers, so one step alone does nothing.

use crate::abi::linux;

/// What sched_setscheduler(2) and setpriority(2) set and others read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// SCHED_OTHER, SCHED_FIFO …
    pub policy: u32,
    /// 1 to 99 for the real-time policies, else 0.
    pub priority: u32,
    /// -20 to 19; lower is more.
    pub nice: i32,
    /// SCHED_RESET_ON_FORK
    pub reset_on_fork: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { policy: linux::SCHED_NORMAL, priority: 0, nice: 0, reset_on_fork: false }
    }
}

impl Policy {
    /// What a new task inherits.
    pub fn for_new_task(self) -> Self {
        match self.reset_on_fork {
            true if self.is_real_time() || self.nice < 0 => Self::default(),
            true => Self { reset_on_fork: false, ..self },
            false => self,
        }
    }

    /// Whom it runs before: those of a lower rank. 0 for all but the real-time policies.
    pub fn rank(self) -> u32 {
        if self.is_real_time() { self.priority } else { 0 }
    }

    /// Whether others of its rank have their turn after some time.
    pub fn has_slices(self) -> bool {
        self.policy != linux::SCHED_FIFO
    }

    /// What it gets beside others of its rank.
    pub fn share(self) -> Share {
        let weight = |nice: i32| WEIGHTS[nice.unsigned_abs().min(20) as usize];
        match self.policy {
            linux::SCHED_RR => Share { ticks: 1, rounds_without: 0 },
            linux::SCHED_IDLE => Share { ticks: 1, rounds_without: IDLE_ROUNDS },
            _ if self.nice < 0 => Share { ticks: weight(self.nice), rounds_without: 0 },
            _ => Share { ticks: 1, rounds_without: weight(self.nice) - 1 },
        }
    }

    /// SCHED_FIFO or SCHED_RR.
    pub fn is_real_time(self) -> bool {
        matches!(self.policy, linux::SCHED_FIFO | linux::SCHED_RR)
    }
}

/// What a task gets of the CPU when others of its rank want it too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// The ticks of a slice.
    pub ticks: u32,
    /// For how many rounds it is passed over after a slice.
    pub rounds_without: u32,
}

/// 1.25 to the power of the index.
const WEIGHTS: [u32; 21] = [1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 9, 12, 15, 18, 23, 28, 36, 44, 56, 69, 87];
/// SCHED_IDLE: less than any nice value gives, but not nothing, or it could not even be ended.
const IDLE_ROUNDS: u32 = 340;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_grow_by_a_quarter_a_step() {
        for (step, weight) in WEIGHTS.iter().enumerate() {
            let exact = 5u128.pow(step as u32) * 1000 / 4u128.pow(step as u32);
            assert!((u128::from(*weight) * 1000).abs_diff(exact) <= 500, "{step}");
        }
    }

    #[test]
    fn niceness_only_counts_without_real_time() {
        let of = |policy, priority, nice| Policy { policy, priority, nice, reset_on_fork: false };
        assert_eq!(of(linux::SCHED_FIFO, 7, 0).rank(), 7);
        assert_eq!(of(linux::SCHED_RR, 7, 19).share(), Share { ticks: 1, rounds_without: 0 });
        assert_eq!(of(linux::SCHED_NORMAL, 0, 0).share(), Share { ticks: 1, rounds_without: 0 });
        assert_eq!(of(linux::SCHED_BATCH, 0, 10).share(), Share { ticks: 1, rounds_without: 8 });
        assert_eq!(of(linux::SCHED_NORMAL, 0, -20).share(), Share { ticks: 87, rounds_without: 0 });
    }
}

//! Data of which every CPU has its own.

use crate::arch::{Hardware, MAX_CPUS, Machine};

/// One `T` for each CPU. The kernel is not preempted and a task does not move while it runs kernel code up to its next
/// wait, so the value stays this CPU's own until then; it is behind `&` all the same, and brings its own cell or lock.
pub struct PerCpu<T>([T; MAX_CPUS]);

impl<T> PerCpu<T> {
    /// Wraps one value for each.
    pub const fn new(values: [T; MAX_CPUS]) -> Self {
        Self(values)
    }

    /// This CPU's.
    pub fn get(&self) -> &T {
        &self.0[Hardware::cpu_number()]
    }

    /// All of them, by CPU number.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

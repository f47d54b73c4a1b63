//! Who makes a system call: what every handler is given.

use crate::{arch::UserContext, mm::AddressSpace, task::Task};
use alloc::sync::Arc;

/// The calling task, as its serving loop holds it.
pub struct Caller<'a> {
    /// The task.
    pub task: &'a Arc<Task>,
    /// Its registers.
    pub user: &'a mut UserContext,
    /// Its memory, where the call's pointers lead. (Also in the task; here without a lock. execve replaces both.)
    pub space: Arc<AddressSpace>,
}

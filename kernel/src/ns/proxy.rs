//! The two slots every task has, and what each operation does to them, time_namespaces(7).
//!
//! `time` is the namespace whose offsets apply to the task now; `children` the one that a process it makes, or a program
//! it executes, will be in. They differ ("pending") between unshare(2) and the next of these. All tasks that share
//! memory have the same `time`, since only operations that give a task memory of its own, or that need it to be alone,
//! change it; and so the pages mapped into that memory are right for each of them.

use super::{Credentials, nsfs::Handle, time::TimeNamespace, translate};
use crate::{
    abi::{Result, Timespec},
    mm::special::SpecialSource,
    time::HostClock,
};
use alloc::sync::Arc;

pub use super::time::TimeNamespace as Time;

/// A task's namespaces. Bundles are never changed, only replaced.
#[derive(Clone)]
pub struct Namespaces {
    /// Whose offsets apply.
    pub time: Arc<TimeNamespace>,
    /// Where children and executed programs go.
    pub children: Arc<TimeNamespace>,
}

impl Namespaces {
    /// Host time.
    pub fn initial() -> Arc<Self> {
        Self::entered(TimeNamespace::initial())
    }

    /// Both slots one namespace, which is frozen with it.
    fn entered(namespace: Arc<TimeNamespace>) -> Arc<Self> {
        namespace.freeze();
        Arc::new(Self { time: namespace.clone(), children: namespace })
    }

    fn is_pending(&self) -> bool {
        !Arc::ptr_eq(&self.time, &self.children)
    }

    /// unshare(CLONE_NEWTIME): a new namespace for children; the caller's own time stays.
    /// Errors: ENOSPC, ENOMEM. (The capability is checked before, for all kinds of namespace at once.)
    pub fn unshared(&self, maker: &Credentials) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { time: self.time.clone(), children: self.children.create_like(maker)? }))
    }

    /// What a new task has. `new_time`: CLONE_NEWTIME of clone3(2). `shares_memory`: CLONE_VM.
    ///
    /// A task with memory of its own enters `children`, which freezes, even if making the task fails later on. One that
    /// shares memory has its maker's bundle, or, with CLONE_NEWTIME, the maker's time and a new namespace pending.
    pub fn for_new_task(
        self: &Arc<Self>,
        new_time: bool,
        shares_memory: bool,
        maker: &Credentials,
    ) -> Result<Arc<Self>> {
        let bundle = if new_time { self.unshared(maker)? } else { self.clone() };
        Ok(if shares_memory { bundle } else { bundle.on_exec() })
    }

    /// What the task has once it executes another program: the pending namespace is entered.
    pub fn on_exec(self: Arc<Self>) -> Arc<Self> {
        if self.is_pending() { Self::entered(self.children.clone()) } else { self }
    }

    /// What the task has after setns(2): the namespace in both slots, and what was pending is dropped.
    pub fn joined(&self, target: &Arc<TimeNamespace>) -> Arc<Self> {
        Self::entered(target.clone())
    }

    /// Whether any clock may show another time than the host's.
    pub fn is_shifted(&self) -> bool {
        self.time.page().is_some()
    }

    /// What a program reads when the host's clock shows `host`.
    #[inline(always)]
    pub fn told(&self, clock: HostClock, host: Timespec) -> Timespec {
        self.time.shift(clock).map_or(host, |offset| translate::shifted(host, offset))
    }

    /// The same in nanoseconds.
    pub fn to_inside(&self, clock: HostClock, host: i64) -> i64 {
        translate::to_inside(host, self.time.offset(clock))
    }

    /// The host time of a deadline that a program gave on this clock, in nanoseconds.
    pub fn to_host(&self, clock: HostClock, inside: i64) -> i64 {
        translate::to_host(inside, self.time.offset(clock))
    }

    /// How far CLOCK_BOOTTIME inside is ahead of the host's, in nanoseconds; for everything that counts from the boot.
    pub fn boottime_offset(&self) -> i64 {
        self.time.offset(HostClock::Boottime)
    }

    /// The time namespace, as a file would hold it. Errors: none here; EINVAL in a kernel without them.
    pub fn time_handle(&self) -> Result<Handle> {
        Ok(Handle::Time(self.time.clone()))
    }

    /// Who decides which pages a program sees in `[vvar]`.
    pub fn special_source(&self) -> Arc<dyn SpecialSource> {
        self.time.clone()
    }
}

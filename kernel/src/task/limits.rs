//! Resource limits, getrlimit(2), and what is counted for each user.

use crate::{
    abi::{Errno, Result, linux},
    arch::PAGE_SIZE,
    mm::frames,
    sync::SpinLock,
};
use alloc::{collections::BTreeMap, sync::Arc};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct rlimit64`: a soft and a hard limit; [`UNLIMITED`] for none.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Limit {
    /// The one that holds.
    pub soft: u64,
    /// How far the soft one can be raised.
    pub hard: u64,
}

/// RLIM_INFINITY
pub const UNLIMITED: u64 = u64::MAX;

/// A resource by its RLIMIT_ number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resource(u8);

macro_rules! resources {
    ($($name:ident = $number:ident)*) => {
        #[allow(missing_docs, reason = "getrlimit(2) describes them")]
        impl Resource {
            $(pub const $name: Self = Self(linux::$number as u8);)*
        }
    };
}

resources! {
    CPU = RLIMIT_CPU FSIZE = RLIMIT_FSIZE DATA = RLIMIT_DATA STACK = RLIMIT_STACK CORE = RLIMIT_CORE RSS = RLIMIT_RSS
    NPROC = RLIMIT_NPROC NOFILE = RLIMIT_NOFILE MEMLOCK = RLIMIT_MEMLOCK AS = RLIMIT_AS LOCKS = RLIMIT_LOCKS
    SIGPENDING = RLIMIT_SIGPENDING MSGQUEUE = RLIMIT_MSGQUEUE NICE = RLIMIT_NICE RTPRIO = RLIMIT_RTPRIO
    RTTIME = RLIMIT_RTTIME
}

/// How many resources have a limit.
pub const RESOURCES: usize = linux::RLIM_NLIMITS as usize;

impl Resource {
    /// The resource of this number. Errors: EINVAL.
    pub fn new(number: u32) -> Result<Self> {
        match (number as usize) < RESOURCES {
            true => Ok(Self(number as u8)),
            false => Err(Errno::EINVAL.because("there are 16 resource limits")),
        }
    }
}

/// All limits of a process.
#[derive(Clone, Copy)]
pub struct Limits([Limit; RESOURCES]);

impl Limits {
    /// Those of init, as Linux sets them; `tasks` is how many tasks the machine has room for.
    pub fn initial(tasks: u64) -> Self {
        let mut limits = Self([Limit { soft: UNLIMITED, hard: UNLIMITED }; RESOURCES]);
        let half = tasks / 2;
        for (resource, soft, hard) in [
            (Resource::STACK, 8 << 20, UNLIMITED),
            (Resource::CORE, 0, UNLIMITED),
            (Resource::NPROC, half, half),
            (Resource::NOFILE, 1024, 4096),
            (Resource::MEMLOCK, 8 << 20, 8 << 20),
            (Resource::SIGPENDING, half, half),
            (Resource::MSGQUEUE, 819_200, 819_200),
            (Resource::NICE, 0, 0),
            (Resource::RTPRIO, 0, 0),
        ] {
            limits.set(resource, Limit { soft, hard });
        }
        limits
    }

    /// One of them.
    pub fn get(&self, resource: Resource) -> Limit {
        self.0[resource.0 as usize]
    }

    /// Sets one of them.
    pub fn set(&mut self, resource: Resource, limit: Limit) {
        self.0[resource.0 as usize] = limit;
    }
}

/// How many tasks the machine has room for: one for every 8 KiB of memory, which is what a small one takes with its page
/// tables, if half the memory were given to that; and no more than there are numbers.
pub fn most_tasks() -> usize {
    const BYTES: usize = 2 * 8 * 1024;
    let memory = frames::statistics().total * PAGE_SIZE;
    (memory / BYTES).min(*super::table::NUMBER_LIMITS.end() as usize)
}

/// What one user has, over all its tasks: by real user id.
#[derive(Default)]
pub struct Account {
    /// Tasks, for RLIMIT_NPROC.
    pub tasks: AtomicU64,
    /// Queued signals, for RLIMIT_SIGPENDING; counted by who sends them off.
    pub signals: Arc<AtomicU64>,
}

/// Nothing is taken inside it.
static ACCOUNTS: SpinLock<BTreeMap<u32, Arc<Account>>> = SpinLock::new(BTreeMap::new());

/// One task counted for its user; given back when dropped.
pub struct Membership {
    user: u32,
    account: Arc<Account>,
}

impl Membership {
    /// Counts one more task for a user.
    pub fn new(user: u32) -> Self {
        let mut accounts = ACCOUNTS.lock();
        let account = accounts.entry(user).or_default().clone();
        account.tasks.fetch_add(1, Relaxed);
        Self { user, account }
    }

    /// The user's account.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut accounts = ACCOUNTS.lock();
        if self.account.tasks.fetch_sub(1, Relaxed) == 1 {
            accounts.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_tasks_has_no_account() {
        const USER: u32 = 990_099;
        let first = Membership::new(USER);
        let second = Membership::new(USER);
        assert_eq!(second.account().tasks.load(Relaxed), 2);
        drop(first);
        assert!(ACCOUNTS.lock().contains_key(&USER));
        drop(second);
        assert!(!ACCOUNTS.lock().contains_key(&USER));
    }

    #[test]
    fn limits_are_numbered_as_in_linux() {
        assert_eq!(Resource::new(7), Ok(Resource::NOFILE));
        assert_eq!(Resource::new(16), Err(Errno::EINVAL));
        let limits = Limits::initial(1000);
        assert_eq!(limits.get(Resource::STACK), Limit { soft: 8 << 20, hard: UNLIMITED });
        assert_eq!(limits.get(Resource::NPROC), Limit { soft: 500, hard: 500 });
    }
}

//! How many namespaces somebody may have: `/proc/sys/user/max_time_namespaces` and its like.
//!
//! Each user namespace counts, for each user, the namespaces made inside it, and has a limit. Making one is charged there
//! and in every user namespace around it (to whoever made the one inside), so a nested user namespace is no way out.

use super::user::UserNamespace;
use crate::{
    abi::{Errno, Result},
    sync::SpinLock,
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Counted {
    /// User namespaces.
    User,
    /// Time namespaces.
    Time,
}

/// The largest limit that can be written, and that of a new user namespace.
pub const NO_LIMIT: u32 = i32::MAX as u32;

/// One user namespace's counts and limits.
pub struct Counts {
    /// How many, by kind and effective user id. Nothing is taken inside it.
    present: SpinLock<BTreeMap<(Counted, u32), u32>>,
    users: AtomicU32,
    times: AtomicU32,
}

impl Counts {
    /// Nothing counted yet, and this limit for each kind.
    pub fn new(limit: u32) -> Self {
        Self { present: SpinLock::default(), users: limit.into(), times: limit.into() }
    }

    fn limit_of(&self, kind: Counted) -> &AtomicU32 {
        match kind {
            Counted::User => &self.users,
            Counted::Time => &self.times,
        }
    }

    /// The limit: how many each user may have.
    pub fn limit(&self, kind: Counted) -> u32 {
        self.limit_of(kind).load(Relaxed)
    }

    /// Sets it. Errors: EINVAL above [`NO_LIMIT`].
    pub fn set_limit(&self, kind: Counted, limit: u32) -> Result<()> {
        if limit > NO_LIMIT {
            return Err(Errno::EINVAL.because("a limit of namespaces is at most 2147483647"));
        }
        self.limit_of(kind).store(limit, Relaxed);
        Ok(())
    }

    fn add(&self, kind: Counted, user: u32) -> Result<()> {
        let mut present = self.present.lock();
        let count = present.entry((kind, user)).or_insert(0);
        if *count >= self.limit(kind) {
            return Err(Errno::ENOSPC.because("the user has as many namespaces as the limit allows"));
        }
        *count += 1;
        Ok(())
    }

    fn remove(&self, kind: Counted, user: u32) {
        let mut present = self.present.lock();
        if let Some(count) = present.get_mut(&(kind, user)) {
            *count -= 1;
            if *count == 0 {
                present.remove(&(kind, user));
            }
        }
    }
}

/// How many namespaces there are besides the initial ones.
pub fn living() -> usize {
    LIVING.load(Relaxed)
}

static LIVING: AtomicUsize = AtomicUsize::new(0);

/// A namespace's place in the counts; given back when dropped.
pub struct Charge {
    kind: Counted,
    /// Where it is counted, and for whom, from the inside out.
    places: Vec<(Arc<UserNamespace>, u32)>,
}

impl Charge {
    /// Counts one more for `user` in `namespace` and in all around it. Errors: ENOSPC at a limit, with nothing counted.
    pub fn new(kind: Counted, namespace: &Arc<UserNamespace>, user: u32) -> Result<Self> {
        LIVING.fetch_add(1, Relaxed);
        let mut charge = Self { kind, places: Vec::new() };
        let mut next = Some((namespace, user));
        while let Some((namespace, user)) = next {
            namespace.counts().add(kind, user)?;
            charge.places.push((namespace.clone(), user));
            next = namespace.parent().map(|parent| (parent, namespace.owner()));
        }
        Ok(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        LIVING.fetch_sub(1, Relaxed);
        for (namespace, user) in &self.places {
            namespace.counts().remove(self.kind, *user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_per_user_and_charges_come_back() {
        let counts = Counts::new(1);
        assert!(counts.add(Counted::Time, 5).is_ok());
        assert_eq!(counts.add(Counted::Time, 5), Err(Errno::ENOSPC));
        assert!(counts.add(Counted::Time, 6).is_ok());
        assert!(counts.add(Counted::User, 5).is_ok());
        counts.remove(Counted::Time, 5);
        assert!(counts.add(Counted::Time, 5).is_ok());
        assert_eq!(counts.set_limit(Counted::Time, NO_LIMIT + 1), Err(Errno::EINVAL));
    }
}

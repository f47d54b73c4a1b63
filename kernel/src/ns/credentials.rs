//! Who a task is and what it may do: ids, groups and capabilities, credentials(7) and capabilities(7).

use super::user::UserNamespace;
use alloc::{sync::Arc, vec::Vec};

/// One capability by number, capabilities(7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability(u8);

macro_rules! capabilities {
    ($($name:ident = $number:literal)*) => {
        #[allow(missing_docs, dead_code, reason = "capabilities(7) describes them all, used or not")]
        impl Capability {
            $(pub const $name: Self = Self($number);)*
        }
    };
}

capabilities! {
    CHOWN = 0 DAC_OVERRIDE = 1 DAC_READ_SEARCH = 2 FOWNER = 3 FSETID = 4 KILL = 5 SETGID = 6 SETUID = 7 SETPCAP = 8
    IPC_LOCK = 14 SYS_CHROOT = 18 SYS_PTRACE = 19 SYS_ADMIN = 21 SYS_BOOT = 22 SYS_NICE = 23 SYS_RESOURCE = 24
    SYS_TIME = 25 SYS_TTY_CONFIG = 26 MKNOD = 27 SETFCAP = 31 WAKE_ALARM = 35 CHECKPOINT_RESTORE = 40
}

impl Capability {
    /// The highest there is.
    pub const LAST: u8 = 40;

    /// The capability of this number, 0 to [`Self::LAST`].
    pub fn new(number: u64) -> Option<Self> {
        (number <= Self::LAST.into()).then_some(Self(number as u8))
    }
}

/// A set of capabilities: bit `n` for capability `n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All there are.
    pub const FULL: Self = Self((1 << (Capability::LAST + 1)) - 1);

    /// Just this one.
    pub const fn of(capability: Capability) -> Self {
        Self(1 << capability.0)
    }

    /// Whether it holds the capability.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & Self::of(capability).0 != 0
    }

    /// Whether it holds every one that `other` does.
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// What both hold.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What either holds.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Who a task is. Ids are the kernel's own, as the initial user namespace sees them; a user namespace translates them
/// where they are shown or given ([`super::id_map`]).
#[derive(Clone)]
#[allow(missing_docs, reason = "credentials(7) and capabilities(7) describe them")]
pub struct Credentials {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
    /// Supplementary groups, sorted.
    pub groups: Arc<Vec<u32>>,
    pub effective: CapabilitySet,
    pub permitted: CapabilitySet,
    pub inheritable: CapabilitySet,
    pub bounding: CapabilitySet,
    pub ambient: CapabilitySet,
    /// SECBIT_ flags, prctl(2) PR_SET_SECUREBITS.
    pub secure_bits: u32,
    pub user_namespace: Arc<UserNamespace>,
}

impl Credentials {
    /// Those of init: root, with everything.
    pub fn initial() -> Self {
        Self {
            uid: 0,
            euid: 0,
            suid: 0,
            fsuid: 0,
            gid: 0,
            egid: 0,
            sgid: 0,
            fsgid: 0,
            groups: Arc::default(),
            effective: CapabilitySet::FULL,
            permitted: CapabilitySet::FULL,
            inheritable: CapabilitySet::EMPTY,
            bounding: CapabilitySet::FULL,
            ambient: CapabilitySet::EMPTY,
            secure_bits: 0,
            user_namespace: UserNamespace::initial(),
        }
    }

    /// Whether they may do it to what their own user namespace owns.
    pub fn capable(&self, capability: Capability) -> bool {
        self.effective.contains(capability)
    }

    /// Whether they may do it to what the initial user namespace owns: the machine's own clock, its power.
    pub fn capable_globally(&self, capability: Capability) -> bool {
        self.user_namespace.is_initial() && self.effective.contains(capability)
    }

    /// Whether they may do it to what `target` owns, user_namespaces(7): by a capability held in that namespace or in one
    /// around it, or as the user who made it, seen from the namespace around it.
    pub fn capable_in(&self, target: &Arc<UserNamespace>, capability: Capability) -> bool {
        let mut namespace = target;
        loop {
            if Arc::ptr_eq(namespace, &self.user_namespace) {
                return self.effective.contains(capability);
            }
            let Some(parent) = namespace.parent() else { return false };
            if Arc::ptr_eq(parent, &self.user_namespace) && namespace.owner() == self.euid {
                return true;
            }
            namespace = parent;
        }
    }

    /// Whether the group is theirs, for permission to files.
    pub fn in_group(&self, group: u32) -> bool {
        self.fsgid == group || self.groups.binary_search(&group).is_ok()
    }

    /// Whether they may look into a task with credentials `other`, as ptrace(2) describes for PTRACE_MODE_READ: the same
    /// user in every respect, memory that is the user's own, and nothing the other may do that they may not; or
    /// CAP_SYS_PTRACE for each of these that does not hold.
    ///
    /// `hidden`: the other task's memory is not its user's own, but belongs to this user namespace.
    pub fn may_inspect(&self, other: &Self, hidden: Option<&Arc<UserNamespace>>, access: Access) -> bool {
        let (uid, gid, capabilities) = match access {
            Access::Files => (self.fsuid, self.fsgid, self.effective),
            Access::Calls => (self.uid, self.gid, self.permitted),
        };
        let may_trace_in = |namespace| self.capable_in(namespace, Capability::SYS_PTRACE);
        let same_user = [other.uid, other.euid, other.suid].iter().all(|&theirs| theirs == uid)
            && [other.gid, other.egid, other.sgid].iter().all(|&theirs| theirs == gid);
        let no_more_capable =
            Arc::ptr_eq(&self.user_namespace, &other.user_namespace) && capabilities.covers(other.permitted);
        hidden.is_none_or(may_trace_in)
            && (same_user && no_more_capable || may_trace_in(&other.user_namespace))
    }
}

/// Which of somebody's ids and capabilities count when a task is looked into, ptrace(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Those that count for files: PTRACE_MODE_FSCREDS.
    Files,
    /// The real ones: PTRACE_MODE_REALCREDS.
    Calls,
}

/// The id shown for one that has no place in the viewer's user namespace.
pub const OVERFLOW_ID: u32 = 65534;

//! Becoming someone else: the rules of setuid(2) and its relatives, of execve(2), capset(2) and setgroups(2).
//!
//! Functions from credentials to credentials. Nobody's are changed in place: a task's are replaced as a whole, so whoever
//! looks at them sees the old or the new, and a check cannot fall between. Ids are the kernel's; the calls above translate
//! what programs say through their user namespace.

use crate::{
    abi::{Errno, Result},
    ns::{Capability, CapabilitySet, Credentials},
};
use alloc::sync::Arc;

/// SECBIT_NOROOT: user id 0 gives no capabilities at exec.
pub const NO_ROOT: u32 = 1;
/// SECBIT_NO_SETUID_FIXUP: a change of user id changes no capabilities.
pub const NO_SETUID_FIXUP: u32 = 1 << 2;
/// SECBIT_KEEP_CAPS: giving up user id 0 keeps the permitted ones; ends at exec.
pub const KEEP_CAPABILITIES: u32 = 1 << 4;
/// SECBIT_NO_CAP_AMBIENT_RAISE
pub const NO_AMBIENT_RAISE: u32 = 1 << 6;
/// Every secure bit, and the bits above each that lock it.
const SECURE_BITS: u32 = NO_ROOT | NO_SETUID_FIXUP | KEEP_CAPABILITIES | NO_AMBIENT_RAISE;
const SECURE_LOCKS: u32 = SECURE_BITS << 1;

/// What user id 0 may do to files, and gives up together with being it for them, capabilities(7): CAP_CHOWN to
/// CAP_FSETID (0 to 4), CAP_LINUX_IMMUTABLE (9), CAP_MKNOD (27) and CAP_MAC_OVERRIDE (32).
const OF_FILES: CapabilitySet = CapabilitySet(0x1f | 1 << 9 | 1 << 27 | 1 << 32);

/// The four ids of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    /// Who started it.
    pub real: u32,
    /// As whom it acts.
    pub effective: u32,
    /// As whom it may act again.
    pub saved: u32,
    /// As whom it acts on files.
    pub files: u32,
}

/// Which kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// User ids.
    User,
    /// Group ids.
    Group,
}

impl Kind {
    fn capability(self) -> Capability {
        match self {
            Self::User => Capability::SETUID,
            Self::Group => Capability::SETGID,
        }
    }

    /// The ids of this kind.
    pub fn of(self, credentials: &Credentials) -> Ids {
        let Credentials { uid, euid, suid, fsuid, gid, egid, sgid, fsgid, .. } = *credentials;
        match self {
            Self::User => Ids { real: uid, effective: euid, saved: suid, files: fsuid },
            Self::Group => Ids { real: gid, effective: egid, saved: sgid, files: fsgid },
        }
    }

    /// The credentials with other ids of this kind, and for user ids what follows for capabilities.
    fn replaced(self, old: &Credentials, ids: Ids) -> Credentials {
        let Ids { real, effective, saved, files } = ids;
        match self {
            Self::User => {
                let new =
                    Credentials { uid: real, euid: effective, suid: saved, fsuid: files, ..old.clone() };
                with_capabilities_adjusted(old, new)
            }
            Self::Group => {
                Credentials { gid: real, egid: effective, sgid: saved, fsgid: files, ..old.clone() }
            }
        }
    }
}

fn not_allowed() -> Errno {
    Errno::EPERM.because("without the capability one becomes only who one is, acts as, or was")
}

/// setuid(2), setgid(2). Errors: EPERM.
pub fn set(kind: Kind, old: &Credentials, id: u32) -> Result<Credentials> {
    let ids = kind.of(old);
    let new = if old.capable(kind.capability()) {
        Ids { real: id, effective: id, saved: id, files: id }
    } else if id == ids.real || id == ids.saved {
        Ids { effective: id, files: id, ..ids }
    } else {
        return Err(not_allowed());
    };
    Ok(kind.replaced(old, new))
}

/// setreuid(2), setregid(2); `None` leaves as it is. Errors: EPERM.
pub fn set_real_effective(
    kind: Kind,
    old: &Credentials,
    real: Option<u32>,
    effective: Option<u32>,
) -> Result<Credentials> {
    let ids = kind.of(old);
    let capable = old.capable(kind.capability());
    let real_allowed = |id| [ids.real, ids.effective].contains(&id);
    let effective_allowed = |id| [ids.real, ids.effective, ids.saved].contains(&id);
    if !capable && (!real.is_none_or(real_allowed) || !effective.is_none_or(effective_allowed)) {
        return Err(not_allowed());
    }
    let new_effective = effective.unwrap_or(ids.effective);
    let saves = real.is_some() || effective.is_some_and(|effective| effective != ids.real);
    let new = Ids {
        real: real.unwrap_or(ids.real),
        effective: new_effective,
        saved: if saves { new_effective } else { ids.saved },
        files: new_effective,
    };
    Ok(kind.replaced(old, new))
}

/// setresuid(2), setresgid(2); `None` leaves as it is. Errors: EPERM.
pub fn set_all(kind: Kind, old: &Credentials, wanted: [Option<u32>; 3]) -> Result<Credentials> {
    let ids = kind.of(old);
    let present = [ids.real, ids.effective, ids.saved];
    if !old.capable(kind.capability()) && !wanted.iter().flatten().all(|id| present.contains(id)) {
        return Err(not_allowed());
    }
    let [real, effective, saved] = wanted;
    let effective = effective.unwrap_or(ids.effective);
    let new = Ids {
        real: real.unwrap_or(ids.real),
        effective,
        saved: saved.unwrap_or(ids.saved),
        files: effective,
    };
    Ok(kind.replaced(old, new))
}

/// setfsuid(2), setfsgid(2): `None` when it is not allowed, which those calls do not say.
pub fn set_for_files(kind: Kind, old: &Credentials, id: u32) -> Option<Credentials> {
    let ids = kind.of(old);
    let allowed =
        old.capable(kind.capability()) || [ids.real, ids.effective, ids.saved, ids.files].contains(&id);
    allowed.then(|| kind.replaced(old, Ids { files: id, ..ids }))
}

fn root_of(credentials: &Credentials) -> Option<u32> {
    credentials.user_namespace.user(0)
}

fn is_root(credentials: &Credentials, id: u32) -> bool {
    root_of(credentials) == Some(id)
}

/// What becoming and ceasing to be root does to capabilities, capabilities(7) "Effect of user ID changes".
fn with_capabilities_adjusted(old: &Credentials, mut new: Credentials) -> Credentials {
    if old.secure_bits & NO_SETUID_FIXUP != 0 {
        return new;
    }
    let any_root = |who: &Credentials| [who.uid, who.euid, who.suid].iter().any(|&id| is_root(who, id));
    if any_root(old) && !any_root(&new) {
        if new.secure_bits & KEEP_CAPABILITIES == 0 {
            (new.permitted, new.effective) = (CapabilitySet::EMPTY, CapabilitySet::EMPTY);
        }
        new.ambient = CapabilitySet::EMPTY;
    }
    match (is_root(old, old.euid), is_root(&new, new.euid)) {
        (true, false) => new.effective = CapabilitySet::EMPTY,
        (false, true) => new.effective = new.permitted,
        _ => match (is_root(old, old.fsuid), is_root(&new, new.fsuid)) {
            (true, false) => new.effective = CapabilitySet(new.effective.0 & !OF_FILES.0),
            (false, true) => new.effective = new.effective.union(new.permitted.intersection(OF_FILES)),
            _ => {}
        },
    }
    new
}

/// A program's file, as far as it can lend rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lender {
    /// The owner, when the program is to act as that: set-user-id.
    pub user: Option<u32>,
    /// The group, when the program is to act as that: set-group-id.
    pub group: Option<u32>,
}

/// Who a program runs as.
pub struct AfterExec {
    /// The credentials.
    pub credentials: Credentials,
    /// AT_SECURE: it has rights that whoever started it may not have.
    pub secure: bool,
}

/// Who executes a program as whom, execve(2) and capabilities(7). `no_new_privileges`: prctl(2). `shares_filesystem`:
/// somebody outside the process could move the root directory from under a program with more rights.
pub fn after_exec(
    old: &Credentials,
    lender: Lender,
    no_new_privileges: bool,
    shares_filesystem: bool,
) -> AfterExec {
    let mut new = old.clone();
    if !no_new_privileges {
        new.euid = lender.user.unwrap_or(old.euid);
        new.egid = lender.group.unwrap_or(old.egid);
    }
    let (mut permitted, mut takes_effect) = (CapabilitySet::EMPTY, false);
    if new.secure_bits & NO_ROOT == 0 {
        let acts_as_root = is_root(&new, new.euid);
        if acts_as_root || is_root(&new, new.uid) {
            permitted = old.bounding.union(old.inheritable);
        }
        takes_effect = acts_as_root;
    }
    // What it would have been given counts even where it is then denied: its caller may have hoped for it.
    let changed = new.euid != old.uid || new.egid != old.gid;
    let gains = !old.permitted.covers(permitted);
    if (changed || gains) && (shares_filesystem || no_new_privileges) {
        if !old.capable(Capability::SETUID) || no_new_privileges {
            (new.euid, new.egid) = (new.uid, new.gid);
        }
        permitted = permitted.intersection(old.permitted);
    }
    (new.suid, new.fsuid, new.sgid, new.fsgid) = (new.euid, new.euid, new.egid, new.egid);
    if changed {
        new.ambient = CapabilitySet::EMPTY;
    }
    new.permitted = permitted.union(new.ambient);
    new.effective = if takes_effect { new.permitted } else { new.ambient };
    new.secure_bits &= !KEEP_CAPABILITIES;
    let secure = changed || !is_root(&new, new.uid) && (takes_effect || !new.ambient.covers(new.permitted));
    AfterExec { credentials: new, secure }
}

/// capset(2). Errors: EPERM for what is not within what is held.
pub fn set_capabilities(
    old: &Credentials,
    effective: CapabilitySet,
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
) -> Result<Credentials> {
    let may_inherit_any = old.capable(Capability::SETPCAP);
    let allowed = (may_inherit_any || old.inheritable.union(old.permitted).covers(inheritable))
        && old.inheritable.union(old.bounding).covers(inheritable)
        && old.permitted.covers(permitted)
        && permitted.covers(effective);
    if !allowed {
        return Err(Errno::EPERM.because("capabilities can be given up, not taken"));
    }
    let ambient = old.ambient.intersection(permitted.intersection(inheritable));
    Ok(Credentials { effective, permitted, inheritable, ambient, ..old.clone() })
}

/// PR_SET_SECUREBITS. Errors: EPERM without CAP_SETPCAP, for unknown bits, and for what is locked.
pub fn set_secure_bits(old: &Credentials, bits: u32) -> Result<Credentials> {
    let present = old.secure_bits;
    let locked = (present & SECURE_LOCKS) >> 1;
    if !old.capable(Capability::SETPCAP)
        || bits & !(SECURE_BITS | SECURE_LOCKS) != 0
        || (present ^ bits) & locked != 0
        || present & SECURE_LOCKS & !bits != 0
    {
        return Err(Errno::EPERM.because("secure bits take CAP_SETPCAP, and those locked stay"));
    }
    Ok(Credentials { secure_bits: bits, ..old.clone() })
}

/// Whether someone with the new credentials may do or see what someone with the old could not: then the process' memory is
/// its user's own no more, and a death signal its parent may send is forgotten.
pub fn differs_in_power(old: &Credentials, new: &Credentials) -> bool {
    let acting = |who: &Credentials| [who.euid, who.egid, who.fsuid, who.fsgid];
    acting(old) != acting(new) || !covers_in_its_place(old, new)
}

/// Whether the old credentials could do all that the new ones can. Over a user namespace of his own, at whatever depth,
/// its maker could do everything before he was in it; over somebody else's not.
fn covers_in_its_place(old: &Credentials, new: &Credentials) -> bool {
    if Arc::ptr_eq(&old.user_namespace, &new.user_namespace) {
        return old.permitted.covers(new.permitted);
    }
    let mut namespace = &new.user_namespace;
    while let Some(parent) = namespace.parent() {
        if Arc::ptr_eq(parent, &old.user_namespace) && namespace.owner() == old.euid {
            return true;
        }
        namespace = parent;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u32) -> Credentials {
        let mut all = Credentials::initial();
        (all.uid, all.euid, all.suid, all.fsuid) = (id, id, id, id);
        (all.gid, all.egid, all.sgid, all.fsgid) = (id, id, id, id);
        (all.effective, all.permitted) = (CapabilitySet::EMPTY, CapabilitySet::EMPTY);
        all
    }

    fn ids(credentials: &Credentials) -> [u32; 4] {
        let Ids { real, effective, saved, files } = Kind::User.of(credentials);
        [real, effective, saved, files]
    }

    #[test]
    fn root_becomes_anybody_for_good() {
        let now = set(Kind::User, &Credentials::initial(), 5).unwrap();
        assert_eq!(ids(&now), [5; 4]);
        assert_eq!((now.permitted, now.effective), (CapabilitySet::EMPTY, CapabilitySet::EMPTY));
        assert_eq!(set(Kind::User, &now, 0).err(), Some(Errno::EPERM));
        let kept = Credentials { secure_bits: KEEP_CAPABILITIES, ..Credentials::initial() };
        let now = set(Kind::User, &kept, 5).unwrap();
        assert_eq!((now.permitted, now.effective), (CapabilitySet::FULL, CapabilitySet::EMPTY));
    }

    #[test]
    fn root_steps_down_and_up_again() {
        let down = set_all(Kind::User, &Credentials::initial(), [None, Some(5), None]).unwrap();
        assert_eq!(
            (ids(&down), down.effective, down.permitted),
            ([0, 5, 0, 5], CapabilitySet::EMPTY, CapabilitySet::FULL)
        );
        let up = set(Kind::User, &down, 0).unwrap();
        assert_eq!((ids(&up), up.effective), ([0; 4], CapabilitySet::FULL));
        let files = set_for_files(Kind::User, &Credentials::initial(), 5).unwrap();
        assert!(!files.capable(Capability::DAC_OVERRIDE) && files.capable(Capability::KILL));
    }

    #[test]
    fn others_exchange_what_they_have() {
        let mixed = Credentials { uid: 1, euid: 2, suid: 3, fsuid: 2, ..user(9) };
        let reals =
            |real, effective| set_real_effective(Kind::User, &mixed, real, effective).map(|new| ids(&new));
        assert_eq!(reals(Some(2), Some(1)).unwrap(), [2, 1, 1, 1]);
        assert_eq!(
            reals(None, Some(1)).unwrap(),
            [1, 1, 3, 1],
            "the saved one stays when it becomes the real one"
        );
        assert_eq!(reals(None, Some(3)).unwrap(), [1, 3, 3, 3]);
        assert_eq!(reals(Some(3), None).err(), Some(Errno::EPERM));
        let all = |wanted| set_all(Kind::User, &mixed, wanted).map(|new| ids(&new));
        assert_eq!(all([Some(3), Some(1), Some(2)]).unwrap(), [3, 1, 2, 1]);
        assert_eq!(all([None, None, Some(4)]).err(), Some(Errno::EPERM));
        assert!(set_for_files(Kind::User, &mixed, 4).is_none());
        assert_eq!(ids(&set(Kind::User, &mixed, 3).unwrap()), [1, 3, 3, 3]);
    }

    #[test]
    fn a_set_user_id_program_is_root_and_secure() {
        let lender = Lender { user: Some(0), group: None };
        let after = after_exec(&user(5), lender, false, false);
        assert_eq!((ids(&after.credentials), after.secure), ([5, 0, 0, 0], true));
        assert_eq!(after.credentials.effective, CapabilitySet::FULL);
        for (no_new, shares) in [(true, false), (false, true)] {
            let after = after_exec(&user(5), lender, no_new, shares);
            assert_eq!((ids(&after.credentials), after.secure), ([5; 4], shares), "{no_new} {shares}");
            assert_eq!(after.credentials.permitted, CapabilitySet::EMPTY);
        }
    }

    #[test]
    fn programs_of_ordinary_users_have_no_capabilities_and_those_of_root_have_all() {
        let strong =
            Credentials { permitted: CapabilitySet::FULL, effective: CapabilitySet::FULL, ..user(5) };
        let after = after_exec(&strong, Lender::default(), false, false);
        assert_eq!((after.credentials.permitted, after.secure), (CapabilitySet::EMPTY, false));
        let bounded = Credentials {
            bounding: CapabilitySet(6),
            permitted: CapabilitySet::EMPTY,
            ..Credentials::initial()
        };
        let after = after_exec(&bounded, Lender::default(), false, false);
        assert_eq!((after.credentials.effective, after.secure), (CapabilitySet(6), false));
        let unrooted = Credentials { secure_bits: NO_ROOT, ..Credentials::initial() };
        assert_eq!(
            after_exec(&unrooted, Lender::default(), false, false).credentials.permitted,
            CapabilitySet::EMPTY
        );
        let ambient = CapabilitySet(2);
        let lucky = Credentials { ambient, permitted: ambient, inheritable: ambient, ..user(5) };
        assert_eq!(after_exec(&lucky, Lender::default(), false, false).credentials.effective, ambient);
    }

    #[test]
    fn capabilities_are_given_up_not_taken() {
        let set = |bits| CapabilitySet(bits);
        let some = Credentials { permitted: set(6), effective: set(2), ..user(5) };
        assert!(set_capabilities(&some, set(4), set(6), set(0)).is_ok());
        assert_eq!(set_capabilities(&some, set(1), set(6), set(0)).err(), Some(Errno::EPERM));
        assert_eq!(set_capabilities(&some, set(0), set(7), set(0)).err(), Some(Errno::EPERM));
        assert_eq!(set_capabilities(&some, set(0), set(6), set(8)).err(), Some(Errno::EPERM));
        assert!(set_capabilities(&some, set(0), set(2), set(4)).is_ok());
    }

    #[test]
    fn locked_secure_bits_stay() {
        let root = Credentials::initial();
        let locked = set_secure_bits(&root, NO_ROOT | NO_ROOT << 1).unwrap();
        assert_eq!(set_secure_bits(&locked, NO_ROOT << 1).err(), Some(Errno::EPERM));
        assert_eq!(set_secure_bits(&locked, NO_ROOT).err(), Some(Errno::EPERM));
        assert!(set_secure_bits(&locked, locked.secure_bits | KEEP_CAPABILITIES).is_ok());
        assert_eq!(set_secure_bits(&root, 1 << 20).err(), Some(Errno::EPERM));
    }
}

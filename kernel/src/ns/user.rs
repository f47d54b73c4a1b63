//! User namespaces: they own the others, and inside them an ordinary user may be root, user_namespaces(7).

use super::{
    Capability, CapabilitySet, Credentials,
    count::{Charge, Counted, Counts, NO_LIMIT},
    id_map::IdMap,
    number::{self, InodeNumber},
};
use crate::{
    abi::{Errno, Result},
    sync::{LazyLock, SpinLock},
};
use alloc::sync::Arc;

/// How deep user namespaces nest, the initial one not counted.
const DEEPEST: u32 = 32;

/// Which of a namespace's two maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapKind {
    /// `uid_map`
    Users,
    /// `gid_map`
    Groups,
}

/// One user namespace.
pub struct UserNamespace {
    parent: Option<Arc<UserNamespace>>,
    level: u32,
    owner: u32,
    number: InodeNumber,
    unique_id: u64,
    counts: Counts,
    /// Nothing is taken inside it.
    maps: SpinLock<Maps>,
    /// Its place in the counts of the namespaces around it; the initial one has none.
    _charge: Option<Charge>,
}

#[derive(Default)]
struct Maps {
    users: IdMap,
    groups: IdMap,
    groups_may_be_set: bool,
}

static INITIAL: LazyLock<Arc<UserNamespace>> = LazyLock::new(|| {
    Arc::new(UserNamespace {
        parent: None,
        level: 0,
        owner: 0,
        number: InodeNumber::fixed(number::INITIAL_USER),
        unique_id: number::INITIAL_USER_ID,
        counts: Counts::new(NO_LIMIT),
        maps: SpinLock::new(Maps {
            users: IdMap::identity(),
            groups: IdMap::identity(),
            groups_may_be_set: true,
        }),
        _charge: None,
    })
});

/// Sets the initial namespace's limits, once, at boot: namespaces of each kind that a user may have.
pub fn limit_initial(limit: usize) {
    let limit = u32::try_from(limit).unwrap_or(NO_LIMIT).min(NO_LIMIT);
    for kind in [Counted::User, Counted::Time] {
        if let Err(error) = INITIAL.counts().set_limit(kind, limit) {
            unreachable!("a limit cut to the largest is refused: {error}");
        }
    }
}

impl UserNamespace {
    /// The one there is from the start.
    pub fn initial() -> Arc<Self> {
        INITIAL.clone()
    }

    /// A new one, made by a task with these credentials, and the credentials the task has in it: everything, but only
    /// over what the new namespace owns.
    ///
    /// Errors, in this order: ENOSPC too deep, ENOSPC over a limit, EPERM when the maker's ids have no place in its own
    /// namespace.
    pub fn create(maker: &Credentials) -> Result<(Arc<Self>, Credentials)> {
        let parent = &maker.user_namespace;
        if parent.level >= DEEPEST {
            return Err(Errno::ENOSPC.because("user namespaces nest 32 deep"));
        }
        let charge = Charge::new(Counted::User, parent, maker.euid)?;
        if parent.shown_user(maker.euid).is_none() || parent.shown_group(maker.egid).is_none() {
            return Err(Errno::EPERM.because("whoever makes a user namespace needs ids in the one around it"));
        }
        let namespace = Arc::new(Self {
            parent: Some(parent.clone()),
            level: parent.level + 1,
            owner: maker.euid,
            number: InodeNumber::allocate(),
            unique_id: number::next_unique_id(),
            counts: Counts::new(NO_LIMIT),
            maps: SpinLock::new(Maps {
                groups_may_be_set: parent.groups_may_be_set_inherited(),
                ..Maps::default()
            }),
            _charge: Some(charge),
        });
        let credentials = maker.with_everything_in(&namespace);
        Ok((namespace, credentials))
    }

    /// Whether it is the one from the start.
    pub fn is_initial(&self) -> bool {
        self.parent.is_none()
    }

    /// The one around it.
    pub fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// The effective user id of who made it.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Its inode number.
    pub fn number(&self) -> u32 {
        self.number.get()
    }

    /// Its id, used only once.
    pub fn unique_id(&self) -> u64 {
        self.unique_id
    }

    /// Its counts and limits.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether this is `inner` or one around it.
    pub fn contains(self: &Arc<Self>, inner: &Arc<Self>) -> bool {
        let mut next = Some(inner);
        while let Some(namespace) = next {
            if Arc::ptr_eq(self, namespace) {
                return true;
            }
            next = namespace.parent();
        }
        false
    }

    /// The kernel's id of a user named inside.
    pub fn user(&self, inside: u32) -> Option<u32> {
        if self.is_initial() {
            return (inside != u32::MAX).then_some(inside);
        }
        self.maps.lock().users.to_kernel(inside)
    }

    /// The kernel's id of a group named inside.
    pub fn group(&self, inside: u32) -> Option<u32> {
        if self.is_initial() {
            return (inside != u32::MAX).then_some(inside);
        }
        self.maps.lock().groups.to_kernel(inside)
    }

    /// What a user is called inside, if anything.
    pub fn shown_user(&self, id: u32) -> Option<u32> {
        if self.is_initial() {
            return Some(id);
        }
        self.maps.lock().users.to_inside(id)
    }

    /// What a group is called inside, if anything.
    pub fn shown_group(&self, id: u32) -> Option<u32> {
        if self.is_initial() {
            return Some(id);
        }
        self.maps.lock().groups.to_inside(id)
    }

    /// A copy of one of the maps.
    pub fn map(&self, kind: MapKind) -> IdMap {
        let maps = self.maps.lock();
        match kind {
            MapKind::Users => maps.users.clone(),
            MapKind::Groups => maps.groups.clone(),
        }
    }

    /// Whether setgroups(2) is allowed inside: the file `setgroups`.
    pub fn groups_may_be_set(&self) -> bool {
        let maps = self.maps.lock();
        maps.groups_may_be_set && !maps.groups.is_empty()
    }

    /// What the file `setgroups` says.
    pub fn setgroups_file_allows(&self) -> bool {
        self.maps.lock().groups_may_be_set
    }

    fn groups_may_be_set_inherited(&self) -> bool {
        self.maps.lock().groups_may_be_set
    }

    /// Writes the file `setgroups`. Errors: EPERM for `deny` after the group map, or `allow` after `deny`.
    pub fn set_setgroups(&self, allow: bool) -> Result<()> {
        let mut maps = self.maps.lock();
        if allow {
            return match maps.groups_may_be_set {
                true => Ok(()),
                false => Err(Errno::EPERM.because("setgroups was denied for good")),
            };
        }
        if !maps.groups.is_empty() {
            return Err(Errno::EPERM.because("setgroups can be denied only before gid_map is written"));
        }
        maps.groups_may_be_set = false;
        Ok(())
    }

    /// Writes a map, for good.
    ///
    /// `opener` opened the file, `writer` writes it. Errors: EPERM when already written; EINVAL for bad text; EPERM
    /// when the writer may not map these ids.
    pub fn set_map(
        self: &Arc<Self>,
        kind: MapKind,
        text: &[u8],
        opener: &Credentials,
        writer: &Credentials,
    ) -> Result<()> {
        if !self.map(kind).is_empty() {
            return Err(Errno::EPERM.because("an id map is written once"));
        }
        if !opener.capable_in(self, Capability::SYS_ADMIN) {
            return Err(Errno::EPERM.because("writing an id map takes CAP_SYS_ADMIN in the namespace"));
        }
        let map = IdMap::parse(text)?;
        let Some(parent) = self.parent() else {
            return Err(Errno::EPERM.because("the initial user namespace has its maps"));
        };
        let absolute = map.made_absolute(&parent.map(kind));
        if !self.may_map(kind, &map, absolute.as_ref().ok(), parent, opener, writer) {
            return Err(Errno::EPERM
                .because("without CAP_SETUID or CAP_SETGID outside only one's own id can be mapped"));
        }
        let absolute = absolute?;
        let mut maps = self.maps.lock();
        let place = match kind {
            MapKind::Users => &mut maps.users,
            MapKind::Groups => &mut maps.groups,
        };
        if !place.is_empty() {
            return Err(Errno::EPERM.because("an id map is written once"));
        }
        *place = absolute;
        Ok(())
    }

    fn may_map(
        &self,
        kind: MapKind,
        map: &IdMap,
        absolute: Option<&IdMap>,
        parent: &Arc<Self>,
        opener: &Credentials,
        writer: &Credentials,
    ) -> bool {
        if let ([only], Some([kernel])) = (map.extents(), absolute.map(IdMap::extents))
            && only.count == 1
            && self.owner == opener.euid
        {
            match kind {
                MapKind::Users if kernel.outside == opener.euid => return true,
                MapKind::Groups if kernel.outside == opener.egid && !self.setgroups_file_allows() => {
                    return true;
                }
                _ => {}
            }
        }
        let needed = match kind {
            MapKind::Users => Capability::SETUID,
            MapKind::Groups => Capability::SETGID,
        };
        writer.capable_in(parent, needed) && opener.capable_in(parent, needed)
    }
}

impl Credentials {
    /// These credentials after entering a user namespace: every capability there, none anywhere else.
    pub fn with_everything_in(&self, namespace: &Arc<UserNamespace>) -> Self {
        Self {
            effective: CapabilitySet::FULL,
            permitted: CapabilitySet::FULL,
            inheritable: CapabilitySet::EMPTY,
            bounding: CapabilitySet::FULL,
            ambient: CapabilitySet::EMPTY,
            secure_bits: 0,
            user_namespace: namespace.clone(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordinary() -> Credentials {
        let root = Credentials::initial();
        Credentials {
            uid: 1000,
            euid: 1000,
            suid: 1000,
            fsuid: 1000,
            gid: 1000,
            egid: 1000,
            sgid: 1000,
            fsgid: 1000,
            effective: CapabilitySet::EMPTY,
            permitted: CapabilitySet::EMPTY,
            ..root
        }
    }

    #[test]
    fn the_maker_is_all_powerful_inside_and_nobody_outside() {
        let user = ordinary();
        let (inner, inside) = UserNamespace::create(&user).unwrap();
        assert!(inside.capable_in(&inner, Capability::SYS_TIME));
        assert!(!inside.capable_in(&UserNamespace::initial(), Capability::SYS_TIME));
        assert!(!inside.capable_globally(Capability::SYS_TIME));
        assert!(user.capable_in(&inner, Capability::SYS_TIME), "its maker, from outside");
        assert!(!Credentials { euid: 1001, ..user }.capable_in(&inner, Capability::SYS_TIME));
        assert!(Credentials::initial().capable_in(&inner, Capability::SYS_TIME));
    }

    #[test]
    fn a_user_maps_only_itself() {
        let user = ordinary();
        let (inner, inside) = UserNamespace::create(&user).unwrap();
        let write = |kind, text: &[u8]| inner.set_map(kind, text, &inside, &inside);
        assert_eq!(write(MapKind::Users, b"0 1001 1"), Err(Errno::EPERM));
        assert_eq!(write(MapKind::Users, b"0 1000 2"), Err(Errno::EPERM));
        assert_eq!(write(MapKind::Users, b"zero"), Err(Errno::EINVAL));
        assert_eq!(write(MapKind::Users, b"0 1000 1"), Ok(()));
        assert_eq!(write(MapKind::Users, b"0 1000 1"), Err(Errno::EPERM));
        assert_eq!(write(MapKind::Groups, b"0 1000 1"), Err(Errno::EPERM), "setgroups is still allowed");
        assert_eq!(inner.set_setgroups(false), Ok(()));
        assert_eq!(write(MapKind::Groups, b"0 1000 1"), Ok(()));
        assert_eq!((inner.user(0), inner.shown_user(1000), inner.shown_user(0)), (Some(1000), Some(0), None));
    }

    #[test]
    fn nesting_ends_at_thirty_two() {
        let mut credentials = Credentials::initial();
        for level in 0.. {
            match UserNamespace::create(&credentials) {
                Ok((namespace, inside)) => {
                    let around = &credentials;
                    namespace.set_map(MapKind::Users, b"0 0 1", around, around).unwrap();
                    namespace.set_map(MapKind::Groups, b"0 0 1", around, around).unwrap();
                    credentials = inside;
                }
                Err(error) => {
                    assert_eq!((error, level), (Errno::ENOSPC, 32));
                    break;
                }
            }
        }
    }
}

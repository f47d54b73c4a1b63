//! `/proc/PID/uid_map`, `gid_map` and `setgroups`: what ids mean in the process' user namespace, user_namespaces(7).

use super::Someone;
use crate::{
    abi::{Errno, Result},
    fs::{
        Actor, Call, Positions,
        proc::{node::Settings, root::lines},
    },
    ns::user::{MapKind, UserNamespace},
};
use alloc::{format, sync::Arc, vec::Vec};

/// `uid_map`
pub static USERS: Settings<Someone> = Settings {
    read: |someone, actor| read(someone, actor, MapKind::Users),
    write: |someone, call, bytes| write(someone, call, bytes, MapKind::Users),
    positions: Positions::Some,
    may_write: None,
};

/// `gid_map`
pub static GROUPS: Settings<Someone> = Settings {
    read: |someone, actor| read(someone, actor, MapKind::Groups),
    write: |someone, call, bytes| write(someone, call, bytes, MapKind::Groups),
    positions: Positions::Some,
    may_write: None,
};

/// `setgroups`
pub static SETGROUPS: Settings<Someone> = Settings {
    read: |someone, _| {
        let allowed = namespace(someone)?.setgroups_file_allows();
        Ok(if allowed { b"allow\n".to_vec() } else { b"deny\n".to_vec() })
    },
    write: |someone, call, bytes| {
        let namespace = namespace(someone)?;
        if call.offset != 0 {
            return Err(Errno::EINVAL.because("setgroups is written from its start"));
        }
        if !call.file.credentials().capable_in(&namespace, crate::ns::Capability::SYS_ADMIN) {
            return Err(Errno::EPERM.because("writing setgroups takes CAP_SYS_ADMIN in the namespace"));
        }
        let allow = match bytes.trim_ascii_end() {
            b"allow" => true,
            b"deny" => false,
            _ => return Err(Errno::EINVAL.because("setgroups is `allow` or `deny`")),
        };
        namespace.set_setgroups(allow)?;
        Ok(bytes.len())
    },
    positions: Positions::Some,
    may_write: None,
};

fn namespace(someone: &Someone) -> Result<Arc<UserNamespace>> {
    Ok(someone.task()?.credentials().user_namespace.clone())
}

/// The outside ids are shown as the reader's user namespace calls them; if that is this one, as the one around does.
fn read(someone: &Someone, actor: &dyn Actor, kind: MapKind) -> Result<Vec<u8>> {
    let namespace = namespace(someone)?;
    let reader = actor.credentials().user_namespace.clone();
    let outside = match namespace.parent() {
        Some(parent) if Arc::ptr_eq(&namespace, &reader) => parent.clone(),
        _ => reader,
    };
    Ok(lines(namespace.map(kind).extents().iter().map(|extent| {
        let shown = match kind {
            MapKind::Users => outside.shown_user(extent.outside),
            MapKind::Groups => outside.shown_group(extent.outside),
        };
        format!("{:>10} {:>10} {:>10}", extent.inside, shown.unwrap_or(u32::MAX), extent.count)
    })))
}

fn write(someone: &Someone, call: Call<'_>, bytes: &[u8], kind: MapKind) -> Result<usize> {
    if call.offset != 0 {
        return Err(Errno::EINVAL.because("an id map is written from its start, in one write"));
    }
    namespace(someone)?.set_map(kind, bytes, call.file.credentials(), &call.actor.credentials())?;
    Ok(bytes.len())
}

//! User and group ids, capabilities, and user namespaces.

use super::errno::Errno;
use super::file;
use crate::call;

/// The flag of unshare(2) for a user namespace.
pub const CLONE_NEWUSER: i32 = libc::CLONE_NEWUSER;
/// May change offsets of a time namespace and the system's clock.
pub const CAP_SYS_TIME: u32 = 25;
/// May create and enter namespaces.
pub const CAP_SYS_ADMIN: u32 = 21;

/// A user and group with no rights: "nobody" of most systems.
pub const NOBODY: u32 = 65534;

const VERSION_3: u32 = 0x2008_0522;

/// The three sets of capget(2), 64 bits each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// What counts in permission checks.
    pub effective: u64,
    /// What may be made effective.
    pub permitted: u64,
    /// What an exec keeps.
    pub inheritable: u64,
}

/// capget(2) of this thread.
pub fn capabilities() -> Result<Capabilities, Errno> {
    let header = [VERSION_3, 0];
    let mut data = [0u32; 6];
    call!(libc::SYS_capget, &header, &mut data)?;
    let join = |low: usize| u64::from(data[low]) | u64::from(data[low + 3]) << 32;
    Ok(Capabilities { effective: join(0), permitted: join(1), inheritable: join(2) })
}

/// capset(2) of this thread.
pub fn set_capabilities(capabilities: Capabilities) -> Result<(), Errno> {
    let header = [VERSION_3, 0];
    let sets = [capabilities.effective, capabilities.permitted, capabilities.inheritable];
    let mut data = [0u32; 6];
    for (index, set) in sets.iter().enumerate() {
        data[index] = *set as u32;
        data[index + 3] = (*set >> 32) as u32;
    }
    call!(libc::SYS_capset, &header, &data).map(|_| ())
}

/// True when this thread has the capability in its own user namespace.
pub fn has_capability(capability: u32) -> bool {
    capabilities().is_ok_and(|sets| sets.effective & (1 << capability) != 0)
}

/// Keeps only these capabilities, effective and permitted.
pub fn keep_only(capabilities: &[u32]) -> Result<(), Errno> {
    let set = capabilities.iter().fold(0u64, |set, capability| set | 1 << capability);
    set_capabilities(Capabilities { effective: set, permitted: set, inheritable: 0 })
}

/// Gives up root for good: no supplementary groups, group and user `id`, and with them every capability.
pub fn become_user(id: u32) -> Result<(), Errno> {
    call!(libc::SYS_setgroups, 0usize, 0usize)?;
    call!(libc::SYS_setresgid, id, id, id)?;
    call!(libc::SYS_setresuid, id, id, id)?;
    Ok(())
}

/// The effective user id.
pub fn effective_user() -> u32 {
    call!(libc::SYS_geteuid).unwrap_or(0) as u32
}

/// The effective group id.
pub fn effective_group() -> u32 {
    call!(libc::SYS_getegid).unwrap_or(0) as u32
}

/// Writes the id maps of this process's new user namespace: one inside id for one outside id each, as an
/// unprivileged process may (user_namespaces(7)): setgroups must be denied before the group map.
pub fn map_ids(user: Option<(u32, u32)>, group: Option<(u32, u32)>) -> Result<(), (&'static str, Errno)> {
    let write = |path: &'static str, text: String| file::write(path, &text).map_err(|errno| (path, errno));
    if let Some((inside, outside)) = user {
        write("/proc/self/uid_map", format!("{inside} {outside} 1"))?;
    }
    if let Some((inside, outside)) = group {
        write("/proc/self/setgroups", "deny".to_string())?;
        write("/proc/self/gid_map", format!("{inside} {outside} 1"))?;
    }
    Ok(())
}

/// A new user namespace in which this process is root.
pub fn become_root_of_new_user_namespace() -> Result<(), Errno> {
    let (user, group) = (effective_user(), effective_group());
    call!(libc::SYS_unshare, CLONE_NEWUSER)?;
    map_ids(Some((0, user)), Some((0, group))).map_err(|(_, errno)| errno)
}

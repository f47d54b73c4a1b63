//! Who a task is: user and group ids, groups and capabilities, credentials(7).
//!
//! Programs name ids as their user namespace does; here they are translated, and the rules of [`task::credentials`] are
//! applied to the kernel's own.

use super::Caller;
use crate::{
    abi::{Errno, Result, TaskId, UserPointer, linux},
    ns::{Capability, CapabilitySet, Credentials, credentials::OVERFLOW_ID},
    task::{
        self,
        credentials::{Kind, set, set_all, set_capabilities, set_for_files, set_real_effective},
        table,
    },
};
use alloc::{sync::Arc, vec::Vec};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// As a program sees an id.
fn shown(kind: Kind, credentials: &Credentials, id: u32) -> u32 {
    let namespace = &credentials.user_namespace;
    let shown = match kind {
        Kind::User => namespace.shown_user(id),
        Kind::Group => namespace.shown_group(id),
    };
    shown.unwrap_or(OVERFLOW_ID)
}

/// The kernel's id for what a program says. Errors: EINVAL for one that has no place in its user namespace.
fn named(kind: Kind, credentials: &Credentials, id: u32) -> Result<u32> {
    let named = match kind {
        Kind::User => credentials.user_namespace.user(id),
        Kind::Group => credentials.user_namespace.group(id),
    };
    named.ok_or_else(|| Errno::EINVAL.because("the id has no place in the user namespace"))
}

/// The same where -1 means "as it is".
fn named_or_kept(kind: Kind, credentials: &Credentials, id: u32) -> Result<Option<u32>> {
    (id != u32::MAX).then(|| named(kind, credentials, id)).transpose()
}

/// Makes the caller someone else.
fn become_someone(caller: &Caller<'_>, new: Credentials) {
    if task::credentials::differs_in_power(&caller.credentials(), &new) {
        caller.task.forget_parents_rights();
    }
    caller.task.set_credentials(Arc::new(new));
}

fn get(caller: &Caller<'_>, kind: Kind, which: fn(task::credentials::Ids) -> u32) -> Result<usize> {
    let credentials = caller.credentials();
    Ok(shown(kind, &credentials, which(kind.of(&credentials))) as usize)
}

/// getuid(2).
pub fn getuid(caller: &mut Caller<'_>) -> Result<usize> {
    get(caller, Kind::User, |ids| ids.real)
}

/// geteuid(2).
pub fn geteuid(caller: &mut Caller<'_>) -> Result<usize> {
    get(caller, Kind::User, |ids| ids.effective)
}

/// getgid(2).
pub fn getgid(caller: &mut Caller<'_>) -> Result<usize> {
    get(caller, Kind::Group, |ids| ids.real)
}

/// getegid(2).
pub fn getegid(caller: &mut Caller<'_>) -> Result<usize> {
    get(caller, Kind::Group, |ids| ids.effective)
}

fn set_one(caller: &Caller<'_>, kind: Kind, id: u32) -> Result<usize> {
    let old = caller.credentials();
    become_someone(caller, set(kind, &old, named(kind, &old, id)?)?);
    Ok(0)
}

/// setuid(2). Errors: EINVAL, EPERM.
pub fn setuid(caller: &mut Caller<'_>, id: u32) -> Result<usize> {
    set_one(caller, Kind::User, id)
}

/// setgid(2). Errors: EINVAL, EPERM.
pub fn setgid(caller: &mut Caller<'_>, id: u32) -> Result<usize> {
    set_one(caller, Kind::Group, id)
}

fn set_two(caller: &Caller<'_>, kind: Kind, real: u32, effective: u32) -> Result<usize> {
    let old = caller.credentials();
    let (real, effective) = (named_or_kept(kind, &old, real)?, named_or_kept(kind, &old, effective)?);
    become_someone(caller, set_real_effective(kind, &old, real, effective)?);
    Ok(0)
}

/// setreuid(2). Errors: EINVAL, EPERM.
pub fn setreuid(caller: &mut Caller<'_>, real: u32, effective: u32) -> Result<usize> {
    set_two(caller, Kind::User, real, effective)
}

/// setregid(2). Errors: EINVAL, EPERM.
pub fn setregid(caller: &mut Caller<'_>, real: u32, effective: u32) -> Result<usize> {
    set_two(caller, Kind::Group, real, effective)
}

fn set_three(caller: &Caller<'_>, kind: Kind, ids: [u32; 3]) -> Result<usize> {
    let old = caller.credentials();
    let [real, effective, saved] = ids.map(|id| named_or_kept(kind, &old, id));
    become_someone(caller, set_all(kind, &old, [real?, effective?, saved?])?);
    Ok(0)
}

/// setresuid(2). Errors: EINVAL, EPERM.
pub fn setresuid(caller: &mut Caller<'_>, real: u32, effective: u32, saved: u32) -> Result<usize> {
    set_three(caller, Kind::User, [real, effective, saved])
}

/// setresgid(2). Errors: EINVAL, EPERM.
pub fn setresgid(caller: &mut Caller<'_>, real: u32, effective: u32, saved: u32) -> Result<usize> {
    set_three(caller, Kind::Group, [real, effective, saved])
}

fn get_three(caller: &Caller<'_>, kind: Kind, into: [UserPointer<u32>; 3]) -> Result<usize> {
    let credentials = caller.credentials();
    let ids = kind.of(&credentials);
    for (into, id) in into.into_iter().zip([ids.real, ids.effective, ids.saved]) {
        caller.space.write(into, &shown(kind, &credentials, id))?;
    }
    Ok(0)
}

/// getresuid(2). Errors: EFAULT.
pub fn getresuid(
    caller: &mut Caller<'_>,
    real: UserPointer<u32>,
    effective: UserPointer<u32>,
    saved: UserPointer<u32>,
) -> Result<usize> {
    get_three(caller, Kind::User, [real, effective, saved])
}

/// getresgid(2). Errors: EFAULT.
pub fn getresgid(
    caller: &mut Caller<'_>,
    real: UserPointer<u32>,
    effective: UserPointer<u32>,
    saved: UserPointer<u32>,
) -> Result<usize> {
    get_three(caller, Kind::Group, [real, effective, saved])
}

fn set_files(caller: &Caller<'_>, kind: Kind, id: u32) -> Result<usize> {
    let old = caller.credentials();
    let before = shown(kind, &old, kind.of(&old).files);
    if let Some(new) = named(kind, &old, id).ok().and_then(|id| set_for_files(kind, &old, id)) {
        become_someone(caller, new);
    }
    Ok(before as usize)
}

/// setfsuid(2): gives the id before, and no error ever.
pub fn setfsuid(caller: &mut Caller<'_>, id: u32) -> Result<usize> {
    set_files(caller, Kind::User, id)
}

/// setfsgid(2): gives the id before, and no error ever.
pub fn setfsgid(caller: &mut Caller<'_>, id: u32) -> Result<usize> {
    set_files(caller, Kind::Group, id)
}

/// getgroups(2). Errors: EINVAL for too little room; EFAULT.
pub fn getgroups(caller: &mut Caller<'_>, room: i32, into: UserPointer<u32>) -> Result<usize> {
    let credentials = caller.credentials();
    let count = credentials.groups.len();
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    if room == 0 {
        return Ok(count);
    }
    if room < count {
        return Err(Errno::EINVAL.because("there are more groups than there is room"));
    }
    let groups: Vec<u32> =
        credentials.groups.iter().map(|&id| shown(Kind::Group, &credentials, id)).collect();
    caller.space.write_array(into, &groups)?;
    Ok(count)
}

/// setgroups(2). Errors: EPERM without CAP_SETGID or where it was denied; EINVAL for too many, or an id without a place;
/// EFAULT.
pub fn setgroups(caller: &mut Caller<'_>, count: i32, from: UserPointer<u32>) -> Result<usize> {
    let old = caller.credentials();
    if !old.capable(Capability::SETGID) || !old.user_namespace.groups_may_be_set() {
        return Err(Errno::EPERM.because("setting groups takes CAP_SETGID in a namespace that allows it"));
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= linux::NGROUPS_MAX as usize);
    let count = count.ok_or_else(|| Errno::EINVAL.because("there are at most 65536 groups"))?;
    let groups = caller.space.read_array(from, count)?;
    let groups: Result<Vec<u32>> = groups.into_iter().map(|id| named(Kind::Group, &old, id)).collect();
    let mut groups = groups?;
    groups.sort_unstable();
    caller.task.set_credentials(Arc::new(Credentials { groups: Arc::new(groups), ..(*old).clone() }));
    Ok(0)
}

/// `struct __user_cap_header_struct`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CapabilityHeader {
    version: u32,
    id: i32,
}

/// `struct __user_cap_data_struct`: 32 bits of each set.
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CapabilityWords {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// How many words of 32 bits the version of the interface has. Errors: EINVAL, after telling the version known here.
fn words_of(caller: &Caller<'_>, header: UserPointer<CapabilityHeader>) -> Result<(i32, usize)> {
    let CapabilityHeader { version, id } = caller.space.read(header)?;
    match version {
        linux::_LINUX_CAPABILITY_VERSION_1 => Ok((id, 1)),
        linux::_LINUX_CAPABILITY_VERSION_2 | linux::_LINUX_CAPABILITY_VERSION_3 => Ok((id, 2)),
        _ => {
            caller.space.write(header.cast(), &linux::_LINUX_CAPABILITY_VERSION_3)?;
            Err(Errno::EINVAL.because("there are three versions of this interface"))
        }
    }
}

/// capget(2). Errors: EFAULT; EINVAL for another version (unless nothing is to be written) or a negative number; ESRCH.
pub fn capget(
    caller: &mut Caller<'_>,
    header: UserPointer<CapabilityHeader>,
    into: UserPointer<CapabilityWords>,
) -> Result<usize> {
    let (id, words) = match (words_of(caller, header), into.optional()) {
        (Err(Errno::EINVAL), None) => return Ok(0),
        (result, _) => result?,
    };
    let Some(into) = into.optional() else { return Ok(0) };
    let id = TaskId::try_from(id).map_err(|_| Errno::EINVAL)?;
    let credentials = match id {
        0 => caller.credentials(),
        _ => table::task(id).ok_or_else(|| Errno::ESRCH.because("there is no such task"))?.credentials(),
    };
    let word = |set: CapabilitySet, index: usize| (set.0 >> (32 * index)) as u32;
    for index in 0..words {
        let part = CapabilityWords {
            effective: word(credentials.effective, index),
            permitted: word(credentials.permitted, index),
            inheritable: word(credentials.inheritable, index),
        };
        caller.space.write(into.element(index), &part)?;
    }
    Ok(0)
}

/// capset(2). Errors: EFAULT; EINVAL for another version; EPERM for another task, or what is not held.
pub fn capset(
    caller: &mut Caller<'_>,
    header: UserPointer<CapabilityHeader>,
    from: UserPointer<CapabilityWords>,
) -> Result<usize> {
    let (id, words) = words_of(caller, header)?;
    if id != 0 && id as TaskId != caller.task.id() {
        return Err(Errno::EPERM.because("a task sets its own capabilities only"));
    }
    let mut sets = [0u64; 3];
    for index in 0..words {
        let part = caller.space.read(from.element(index))?;
        for (set, word) in sets.iter_mut().zip([part.effective, part.permitted, part.inheritable]) {
            *set |= u64::from(word) << (32 * index);
        }
    }
    let [effective, permitted, inheritable] =
        sets.map(|set| CapabilitySet(set).intersection(CapabilitySet::FULL));
    become_someone(caller, set_capabilities(&caller.credentials(), effective, permitted, inheritable)?);
    Ok(0)
}

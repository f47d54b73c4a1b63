//! Joining a namespace, setns(2): who may, once it is known what is to be joined.

use super::{Capability, Credentials, Namespaces, proxy::Time, user::UserNamespace};
use crate::abi::{Errno, Result};
use alloc::sync::Arc;

/// What the kernel knows of the caller beyond its credentials.
#[derive(Clone, Copy)]
pub struct Company {
    /// No other thread in its process, and nobody else with its memory.
    pub is_alone: bool,
    /// No other thread in its process.
    pub is_single_threaded: bool,
    /// Nobody shares its root and working directory, CLONE_FS.
    pub owns_file_system_context: bool,
}

/// Joins a time namespace: the bundle afterwards. `home` is the user namespace the caller will be in: its own, or with
/// CLONE_NEWUSER in the same call the new one.
///
/// Errors, in this order: EUSERS when memory is shared, whose pages another task reads; EPERM without CAP_SYS_ADMIN both
/// over the namespace and in that user namespace, each as the caller is when it calls.
pub fn join_time(
    bundle: &Namespaces,
    target: &Arc<Time>,
    credentials: &Credentials,
    home: &Arc<UserNamespace>,
    company: Company,
) -> Result<Arc<Namespaces>> {
    if !company.is_alone {
        return Err(Errno::EUSERS.because("tasks that share memory cannot be in different time namespaces"));
    }
    if !credentials.capable_in(target.owner(), Capability::SYS_ADMIN)
        || !credentials.capable_in(home, Capability::SYS_ADMIN)
    {
        return Err(Errno::EPERM.because("joining takes CAP_SYS_ADMIN over the namespace and in one's own"));
    }
    Ok(bundle.joined(target))
}

/// Joins a user namespace: the credentials afterwards.
///
/// Errors, in this order: EINVAL for the caller's own, which would give back capabilities it has dropped; EINVAL with
/// other threads or a shared root directory; EPERM without CAP_SYS_ADMIN over it.
pub fn join_user(
    target: &Arc<UserNamespace>,
    credentials: &Credentials,
    company: Company,
) -> Result<Credentials> {
    if Arc::ptr_eq(target, &credentials.user_namespace) {
        return Err(Errno::EINVAL.because("a task cannot join the user namespace it is in"));
    }
    if !company.is_single_threaded || !company.owns_file_system_context {
        return Err(Errno::EINVAL.because("a task that shares credentials or root directory cannot join"));
    }
    if !credentials.capable_in(target, Capability::SYS_ADMIN) {
        return Err(Errno::EPERM.because("joining a user namespace takes CAP_SYS_ADMIN in it"));
    }
    Ok(credentials.with_everything_in(target))
}

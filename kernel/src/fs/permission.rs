//! Who may do what with an object: permission bits, owners, groups and the capabilities that overrule them,
//! path_resolution(7) and capabilities(7).

use super::metadata::{Kind, Metadata, STICKY};
use crate::{
    abi::{Errno, Result},
    ns::{Capability, Credentials},
};

bitflags::bitflags! {
    /// What somebody wants to do: the three bits of one class of permissions, in their order.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Wanted: u16 {
        /// Read contents or list names.
        const READ = 4;
        /// Change contents or names.
        const WRITE = 2;
        /// Run a file, or look up a name in a directory ("search").
        const EXECUTE = 1;
    }
}

/// Whether the permission bits let everybody do so. Who owns the object need not be asked then, which costs more.
pub fn everybody_may(permissions: u16, wanted: Wanted) -> bool {
    let all = permissions & permissions >> 3 & permissions >> 6;
    Wanted::from_bits_truncate(all).contains(wanted)
}

/// Whether the object's permission bits, or a capability, allow it. Errors: EACCES.
pub fn check(object: &Metadata, wanted: Wanted, credentials: &Credentials) -> Result<()> {
    let class = if credentials.fsuid == object.uid {
        object.permissions >> 6
    } else if credentials.in_group(object.gid) {
        object.permissions >> 3
    } else {
        object.permissions
    };
    if Wanted::from_bits_truncate(class).contains(wanted) || overrules(object, wanted, credentials) {
        return Ok(());
    }
    Err(Errno::EACCES.because("the permission bits say no and no capability overrules them"))
}

fn overrules(object: &Metadata, wanted: Wanted, credentials: &Credentials) -> bool {
    let directory = object.kind == Kind::Directory;
    let only_looks = match directory {
        true => !wanted.contains(Wanted::WRITE),
        false => wanted == Wanted::READ,
    };
    // Nobody runs what nobody may run.
    let can_run = directory || !wanted.contains(Wanted::EXECUTE) || object.permissions & 0o111 != 0;
    (only_looks && capable(object, Capability::DAC_READ_SEARCH, credentials))
        || (can_run && capable(object, Capability::DAC_OVERRIDE, credentials))
}

/// Whether the credentials hold the capability over the object: in their user namespace, which must know its owner and
/// group, user_namespaces(7).
pub fn capable(object: &Metadata, capability: Capability, credentials: &Credentials) -> bool {
    let namespace = &credentials.user_namespace;
    credentials.capable(capability)
        && namespace.shown_user(object.uid).is_some()
        && namespace.shown_group(object.gid).is_some()
}

/// Whether the credentials are the owner's, or as good. Errors: EPERM.
pub fn must_own(object: &Metadata, credentials: &Credentials) -> Result<()> {
    if credentials.fsuid == object.uid || capable(object, Capability::FOWNER, credentials) {
        return Ok(());
    }
    Err(Errno::EPERM.because("only its owner may do this to an object"))
}

/// Whether the name of `victim` may be taken out of `directory` (whose write permission was checked): in a sticky
/// directory, only by the owner of one of them. Errors: EPERM.
pub fn may_remove(directory: &Metadata, victim: &Metadata, credentials: &Credentials) -> Result<()> {
    let free = directory.permissions & STICKY == 0
        || credentials.fsuid == victim.uid
        || credentials.fsuid == directory.uid
        || capable(victim, Capability::FOWNER, credentials);
    match free {
        true => Ok(()),
        false => {
            Err(Errno::EPERM.because("in a sticky directory only the owner removes or renames an object"))
        }
    }
}

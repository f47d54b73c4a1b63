//! Extended attributes, xattr(7): no object has any, and none can be given.
//!
//! Programs that copy files ask for them and live with the answers; so the answers are those of a file system without.

use super::{Caller, places::find};
use crate::{
    abi::{Errno, Result, linux},
    fs::Descriptor,
};

const HERE: Descriptor = Descriptor::WORKING_DIRECTORY;

/// The answer to a question for one of these: there is none; of a kind nobody knows: there cannot be one.
const KNOWN_PREFIXES: [&[u8]; 3] = [b"security.", b"trusted.", b"user."];

/// Errors: EFAULT; ERANGE for a name that none can have; ENODATA; EOPNOTSUPP.
fn absent(caller: &Caller<'_>, attribute: usize) -> Result<usize> {
    const LONGEST: usize = linux::XATTR_NAME_MAX as usize + 1;
    let attribute = caller.space.read_string(attribute, LONGEST);
    let attribute =
        attribute.map_err(|error| if error == Errno::ENAMETOOLONG { Errno::ERANGE } else { error })?;
    match attribute.is_empty() {
        true => Err(Errno::ERANGE.because("an attribute's name has 1 to 255 bytes")),
        false if KNOWN_PREFIXES.iter().any(|prefix| attribute.starts_with(prefix)) => {
            Err(Errno::ENODATA.because("no object has attributes"))
        }
        false => Err(Errno::EOPNOTSUPP.because("attributes of this kind are not known")),
    }
}

fn not_supported() -> Result<usize> {
    Err(Errno::EOPNOTSUPP.because("no object can be given attributes"))
}

/// getxattr(2)
pub fn getxattr(caller: &mut Caller<'_>, path: usize, attribute: usize) -> Result<usize> {
    find(caller, HERE, path, 0)?;
    absent(caller, attribute)
}

/// lgetxattr(2)
pub fn lgetxattr(caller: &mut Caller<'_>, path: usize, attribute: usize) -> Result<usize> {
    find(caller, HERE, path, linux::AT_SYMLINK_NOFOLLOW)?;
    absent(caller, attribute)
}

/// fgetxattr(2)
pub fn fgetxattr(caller: &mut Caller<'_>, descriptor: Descriptor, attribute: usize) -> Result<usize> {
    caller.files()?.get(descriptor)?;
    absent(caller, attribute)
}

/// listxattr(2)
pub fn listxattr(caller: &mut Caller<'_>, path: usize) -> Result<usize> {
    find(caller, HERE, path, 0).map(|_| 0)
}

/// llistxattr(2)
pub fn llistxattr(caller: &mut Caller<'_>, path: usize) -> Result<usize> {
    find(caller, HERE, path, linux::AT_SYMLINK_NOFOLLOW).map(|_| 0)
}

/// flistxattr(2)
pub fn flistxattr(caller: &mut Caller<'_>, descriptor: Descriptor) -> Result<usize> {
    caller.files()?.get(descriptor).map(|_| 0)
}

/// setxattr(2) and removexattr(2)
pub fn setxattr(caller: &mut Caller<'_>, path: usize) -> Result<usize> {
    find(caller, HERE, path, 0)?;
    not_supported()
}

/// lsetxattr(2) and lremovexattr(2)
pub fn lsetxattr(caller: &mut Caller<'_>, path: usize) -> Result<usize> {
    find(caller, HERE, path, linux::AT_SYMLINK_NOFOLLOW)?;
    not_supported()
}

/// fsetxattr(2) and fremovexattr(2)
pub fn fsetxattr(caller: &mut Caller<'_>, descriptor: Descriptor) -> Result<usize> {
    caller.files()?.get(descriptor)?;
    not_supported()
}

//! What the machine says of itself: uname(2), sethostname(2).
//!
//! Programs ask which kernel this is in order to know what they may rely on, so it names the one whose interface it has.

use crate::{
    abi::{Errno, Result},
    sync::SpinLock,
};
use alloc::string::String;
use arrayvec::ArrayVec;

/// The system whose interface this is.
pub const SYSTEM_NAME: &str = "Linux";
/// Its version, and who speaks.
pub const RELEASE: &str = "6.18.0-gnomon";
/// This kernel's own version.
pub const VERSION: &str = concat!("#1 Gnomon ", env!("CARGO_PKG_VERSION"));
/// The kind of processor.
pub const MACHINE: &str = "x86_64";

/// The most bytes of a name, without the zero at its end.
pub const LONGEST: usize = 64;

/// A name that can be set.
struct SettableName(SpinLock<Option<ArrayVec<u8, LONGEST>>>);

/// Nothing is taken inside them.
static HOST: SettableName = SettableName(SpinLock::new(None));
static DOMAIN: SettableName = SettableName(SpinLock::new(None));
/// What the machine is called before anybody names it, as on Linux.
const NO_NAME: &str = "(none)";

impl SettableName {
    fn get(&self) -> String {
        let name = self.0.lock();
        name.as_ref().map_or(NO_NAME.into(), |name| String::from_utf8_lossy(name).into_owned())
    }

    fn set(&self, name: &[u8]) -> Result<()> {
        let name = ArrayVec::try_from(name);
        let name = name.map_err(|_| Errno::EINVAL.because("the machine's name has at most 64 bytes"))?;
        *self.0.lock() = Some(name);
        Ok(())
    }
}

/// What the machine is called.
pub fn host_name() -> String {
    HOST.get()
}

/// Names the machine. Errors: EINVAL above 64 bytes.
pub fn set_host_name(name: &str) -> Result<()> {
    HOST.set(name.as_bytes())
}

/// The NIS domain, which nobody uses.
pub fn domain_name() -> String {
    DOMAIN.get()
}

/// Sets it. Errors: EINVAL above 64 bytes.
pub fn set_domain_name(name: &str) -> Result<()> {
    DOMAIN.set(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_up_to_their_length() {
        let name = SettableName(SpinLock::new(None));
        assert_eq!(name.get(), NO_NAME);
        assert_eq!(name.set(&[b'x'; LONGEST + 1]), Err(Errno::EINVAL));
        assert_eq!((name.set(b"sundial"), name.get().as_str()), (Ok(()), "sundial"));
    }
}

//! The pages the kernel itself gives every program: `[vvar]`, `[vvar_vclock]` and `[vdso]`.
//!
//! They are mappings like others in that /proc/PID/maps shows them and that they can be unmapped or moved whole. They
//! are unlike others in where their pages come from: from [`SpecialSource`], asked anew for each page that is touched,
//! so that the namespace a program is in decides what it finds in `[vvar]`. When a program enters another, the pages it
//! has are taken away ([`super::AddressSpace::enter_namespace`]) and the next touch brings the other ones. No read pays
//! for any of this.
//!
//! Splitting one is forbidden, as on Linux: the image finds its data by distance.

use super::PageRef;
use crate::arch::Permissions;
use alloc::sync::Arc;
use arrayvec::ArrayVec;

/// Which of the three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    /// The data pages that the functions in `[vdso]` read.
    Vvar,
    /// Where a hypervisor's clock pages would be: nothing here has any, so touching it is SIGBUS.
    VvarVclock,
    /// The image of the vDSO.
    Vdso,
}

impl Special {
    /// Whether it is pages of data that the kernel writes.
    pub const fn holds_data(self) -> bool {
        matches!(self, Self::Vvar | Self::VvarVclock)
    }

    /// As /proc/PID/maps shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vvar => "[vvar]",
            Self::VvarVclock => "[vvar_vclock]",
            Self::Vdso => "[vdso]",
        }
    }

    /// What a program may do with it from the start.
    pub const fn permissions(self) -> Permissions {
        match self {
            Self::Vvar | Self::VvarVclock => Permissions::READ,
            Self::Vdso => Permissions::READ.union(Permissions::EXECUTE),
        }
    }

    /// The most mprotect(2) can make of it. A program that makes its vDSO writable gets pages of its own.
    pub const fn maximum(self) -> Permissions {
        match self {
            Self::Vvar | Self::VvarVclock => Permissions::READ,
            Self::Vdso => Permissions::all(),
        }
    }
}

/// The pages of one address space's special mappings.
pub(super) struct SpecialPages {
    /// Where they come from.
    pub source: Arc<dyn SpecialSource>,
    /// Whether pages of `[vvar]` may have been put in. A program that reads no clock can change namespaces at little cost.
    pub vvar_is_touched: bool,
}

impl SpecialPages {
    /// From this source, and none put in yet.
    pub fn new(source: Arc<dyn SpecialSource>) -> Self {
        Self { source, vvar_is_touched: false }
    }
}

/// Where the pages of special mappings come from: the time namespace of the tasks in an address space.
///
/// Called with the space's lock held; may take locks of its own, must not touch programs' memory.
pub trait SpecialSource: Send + Sync {
    /// The pages to put in when page `slot` of `[vvar]` is touched, each with the slot it belongs in. Inside a namespace
    /// touching slot 0 brings two: the namespace's page, and the system's in the companion slot. Empty: SIGBUS.
    fn vvar_pages(&self, slot: usize) -> ArrayVec<(usize, PageRef), 2>;

    /// The vDSO's image, page by page.
    fn vdso_image(&self) -> &[PageRef];
}

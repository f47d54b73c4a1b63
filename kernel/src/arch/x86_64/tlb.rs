//! What the processor remembers of a page table: the table in force, and the translations cached from it.
//!
//! Making a page accessible needs no care, since what is absent is not cached, but every change of something that was present
//! is followed by forgetting it: page by page when they are few, else all at once, by loading CR3. Tables of another space
//! than the current one are in nobody's cache: CR3 was loaded since. (With more than one CPU running, others would have to be
//! asked to do the same before a frame is used again.)

use crate::arch::TableRoot;
use arrayvec::ArrayVec;
use core::arch::asm;
use x86_64::{VirtAddr, instructions::tlb};

/// Up to this many pages are forgotten one by one.
const FEW: usize = 32;

/// What CR3 holds.
#[inline(always)]
pub fn current_root() -> TableRoot {
    let root: u64;
    // SAFETY: it only reads.
    unsafe { asm!("mov {}, cr3", out(reg) root, options(nomem, nostack, preserves_flags)) };
    TableRoot(root)
}

/// Puts a page table in force.
///
/// # Safety
/// It must map the kernel's half as the others do, and stay as long as it is in force.
pub unsafe fn set_root(root: TableRoot) {
    // SAFETY: as promised by the caller.
    unsafe { asm!("mov cr3, {}", in(reg) root.0, options(nostack, preserves_flags)) };
}

/// Makes the processor forget what it knows of one page.
pub fn forget(page: usize) {
    tlb::flush(VirtAddr::new(page as u64));
}

/// Pages that the processor may remember wrongly. None, if it uses another table.
pub struct Stale {
    pages: ArrayVec<usize, FEW>,
    too_many: bool,
    root: TableRoot,
    in_force: bool,
}

impl Stale {
    /// None yet, of the table with this root.
    pub fn new(root: TableRoot) -> Self {
        Self { pages: ArrayVec::new_const(), too_many: false, root, in_force: current_root() == root }
    }

    /// Whether the processor uses the table at all.
    #[inline(always)]
    pub fn in_force(&self) -> bool {
        self.in_force
    }

    /// One more.
    pub fn add(&mut self, page: usize) {
        if self.in_force {
            self.too_many |= self.pages.try_push(page).is_err();
        }
    }

    /// Makes the processor forget them.
    pub fn forget(&self) {
        if self.too_many {
            // SAFETY: it is in force already.
            unsafe { set_root(self.root) };
        } else {
            self.pages.iter().copied().for_each(forget);
        }
    }
}

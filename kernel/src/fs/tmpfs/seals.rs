//! Seals of a file in memory, fcntl(2) F_ADD_SEALS: what nobody can do to it any more, whoever else has it open.
//!
//! They can only be added. To seal a file against writing while a mapping could still store into it would promise
//! too much, so such mappings are counted.

use crate::abi::{Errno, Result, linux};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

const ALL: u32 = linux::F_SEAL_SEAL
    | linux::F_SEAL_SHRINK
    | linux::F_SEAL_GROW
    | linux::F_SEAL_WRITE
    | linux::F_SEAL_FUTURE_WRITE;
/// Both refuse new writes; the second leaves mappings as they are.
const AGAINST_WRITING: u32 = linux::F_SEAL_WRITE | linux::F_SEAL_FUTURE_WRITE;

/// The seals of one file.
pub struct Seals {
    bits: AtomicU32,
    /// Shared mappings that are, or can be made, writable.
    storing: AtomicUsize,
}

impl Seals {
    /// Of a file that takes seals (memfd_create(2) with MFD_ALLOW_SEALING), or of any other.
    pub const fn new(takes_seals: bool) -> Self {
        let bits = if takes_seals { 0 } else { linux::F_SEAL_SEAL };
        Self { bits: AtomicU32::new(bits), storing: AtomicUsize::new(0) }
    }

    /// F_GET_SEALS
    pub fn bits(&self) -> u32 {
        self.bits.load(Relaxed)
    }

    /// F_ADD_SEALS. Errors: EINVAL for one that is not known; EPERM when sealed against that; EBUSY.
    pub fn add(&self, new: u32) -> Result<()> {
        if new & !ALL != 0 {
            return Err(Errno::EINVAL.because("there are five seals"));
        }
        if self.bits() & linux::F_SEAL_SEAL != 0 {
            return Err(Errno::EPERM.because("the file takes no more seals"));
        }
        if new & !self.bits() & linux::F_SEAL_WRITE != 0 && self.storing.load(Relaxed) > 0 {
            return Err(Errno::EBUSY.because("a mapping can still store into the file"));
        }
        self.bits.fetch_or(new, Relaxed);
        Ok(())
    }

    /// Errors: EPERM when sealed against writing.
    pub fn may_write(&self) -> Result<()> {
        self.unless(AGAINST_WRITING, "the file is sealed against writing")
    }

    /// Whether a file of one length may get another. Errors: EPERM when sealed against growing or shrinking.
    pub fn may_resize(&self, from: u64, to: u64) -> Result<()> {
        match to.cmp(&from) {
            core::cmp::Ordering::Less => {
                self.unless(linux::F_SEAL_SHRINK, "the file is sealed against shrinking")
            }
            core::cmp::Ordering::Equal => Ok(()),
            core::cmp::Ordering::Greater => {
                self.unless(linux::F_SEAL_GROW, "the file is sealed against growing")
            }
        }
    }

    fn unless(&self, seal: u32, rule: &str) -> Result<()> {
        if self.bits() & seal != 0 { Err(Errno::EPERM.because(rule)) } else { Ok(()) }
    }

    /// One more mapping that could store, or one less.
    pub fn count_storing(&self, more: bool) {
        if more {
            self.storing.fetch_add(1, Relaxed);
        } else {
            self.storing.fetch_sub(1, Relaxed);
        }
    }
}

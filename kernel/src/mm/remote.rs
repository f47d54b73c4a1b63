//! Another process' memory, read and written on somebody's order: process_vm_readv(2), /proc/PID/mem.
//!
//! The bytes go through the caller's own buffer, a piece at a time: holding two address spaces locked at once would need
//! an order among them, and whoever reads another's memory is in no hurry. What the kernel itself puts into every
//! program, the pages of `[vvar]`, is out of reach: which page it would be depends on who touches it.

use super::{AddressSpace, PageRef, regions::Region, special::Special, user::check_range};
use crate::{
    abi::{Errno, Result},
    arch::{Access, PAGE_SIZE},
};
use core::ops::Range;

impl AddressSpace {
    /// Copies bytes out, up to the first page that cannot be had; returns how many. Errors: EFAULT, ENOMEM when not even
    /// one.
    pub fn read_remote(&self, address: usize, into: &mut [u8]) -> Result<usize> {
        self.reach(address, into.len(), Access::Read, |page, offset, bytes| {
            page.read(offset, &mut into[bytes])
        })
    }

    /// Copies bytes in, likewise.
    pub fn write_remote(&self, address: usize, from: &[u8]) -> Result<usize> {
        self.reach(address, from.len(), Access::Write, |page, offset, bytes| page.write(offset, &from[bytes]))
    }

    fn reach(
        &self,
        address: usize,
        length: usize,
        access: Access,
        mut act: impl FnMut(&PageRef, usize, Range<usize>),
    ) -> Result<usize> {
        let mut done = 0;
        while done < length {
            let at = address.wrapping_add(done);
            let piece = (length - done).min(PAGE_SIZE - at % PAGE_SIZE);
            let moved = check_range(at, piece).and_then(|()| {
                let mut space = self.space.lock();
                if space.regions.find(at).is_some_and(|(_, region)| is_out_of_reach(region)) {
                    return Err(Errno::EFAULT.because("which page of [vvar] it is depends on who looks"));
                }
                space.with_page(at, access, |page| act(page, at % PAGE_SIZE, done..done + piece))
            });
            match moved {
                Ok(()) => done += piece,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

fn is_out_of_reach(region: &Region) -> bool {
    region.special().is_some_and(Special::holds_data)
}

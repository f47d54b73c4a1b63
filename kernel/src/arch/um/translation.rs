//! A page table as a sorted map: nothing reads it but the kernel.
//!
//! It takes one frame for its root, as a processor's table would, so that accounts of frames come out alike.

use crate::abi::Result;
use crate::arch::{Frame, Mapping, Permissions, TableFrames, TableRoot, Translation};
use alloc::collections::BTreeMap;
use core::ops::Range;

/// The page table of one address space.
pub struct Table {
    root: Frame,
    pages: BTreeMap<usize, Mapping>,
    frames: &'static dyn TableFrames,
}

impl Translation for Table {
    fn new(frames: &'static dyn TableFrames) -> Result<Self> {
        Ok(Self { root: frames.allocate()?, pages: BTreeMap::new(), frames })
    }

    fn root(&self) -> TableRoot {
        TableRoot(self.root.0.into())
    }

    fn map(&mut self, page: usize, mapping: Mapping) -> Result<()> {
        self.pages.insert(page, mapping);
        Ok(())
    }

    fn lookup(&self, page: usize) -> Option<Mapping> {
        self.pages.get(&page).copied()
    }

    fn unmap(&mut self, range: Range<usize>, removed: &mut dyn FnMut(usize, Mapping)) {
        for (page, mapping) in self.pages.extract_if(range, |_, _| true) {
            removed(page, mapping);
        }
    }

    fn change(&mut self, range: Range<usize>, change: &mut dyn FnMut(usize, Mapping) -> Permissions) {
        for (&page, mapping) in self.pages.range_mut(range) {
            mapping.permissions = change(page, *mapping);
        }
    }

    fn visit(&self, range: Range<usize>, visitor: &mut dyn FnMut(usize, Mapping)) {
        for (&page, &mapping) in self.pages.range(range) {
            visitor(page, mapping);
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.frames.free(self.root);
    }
}

//! A child's host process as a copy of its parent's: what is mapped there need not be brought in.
//!
//! After fork(2) nearly all pages of two spaces show the same frames, so most of what the parent's host process has mapped
//! is what the child's would be given, fault by fault. A host process cloned from the parent's has it all from the start.
//! What differs (a page that one of them has written to since) is stale in the child, like anything that the host has
//! and should not have, and is mended before the child runs.

use super::{Entry, Leaf, MOST_COPIED, PAGE_SIZE, Space};
use crate::abi::Result;
use crate::arch::um::entry::Host;
use crate::arch::{Frame, Mapping, Permissions};
use alloc::collections::btree_map;
use alloc::sync::Arc;

impl Leaf {
    /// The leaf with this number of a space, made if there is none. Errors: ENOMEM.
    pub fn of(space: &mut Space, number: usize) -> Result<&mut Self> {
        match space.leaves.entry(number) {
            btree_map::Entry::Occupied(leaf) => Ok(leaf.into_mut()),
            btree_map::Entry::Vacant(vacant) => {
                Ok(vacant.insert(Self { frame: space.frames.allocate()?, used: 0 }))
            }
        }
    }
}

impl Space {
    /// The space whose pages this one was given, if it is still there, and nothing has run here yet. Asked once.
    pub fn take_parent(&mut self) -> Option<Arc<spin::Mutex<Self>>> {
        core::mem::take(&mut self.parent).upgrade()
    }

    /// Takes for mapped here what is mapped in the host process of another space. False: it is too much, or there are
    /// pages of which this space knows nothing; then nothing is.
    pub fn take_over(&mut self, other: &Self) -> bool {
        let mut mappings = 0;
        let mut last = None;
        for (number, leaf) in &other.leaves {
            for (index, word) in leaf.view().iter().enumerate() {
                let Entry { wanted, host: Host::Wanted(permissions) } = Entry::unpack(*word) else {
                    continue;
                };
                let frame = wanted.map_or(Frame(0), |mapping| mapping.frame);
                let page = number * super::LEAF_SPAN + index * PAGE_SIZE;
                let is_next =
                    last == Some((page.wrapping_sub(PAGE_SIZE), frame.0.wrapping_sub(1), permissions));
                last = Some((page, frame.0, permissions));
                mappings += usize::from(!is_next);
                let taken = mappings <= MOST_COPIED && self.note_host(page, frame, permissions);
                if !taken {
                    self.forget();
                    return false;
                }
            }
        }
        true
    }

    /// Notes what the host has at a page. False: there is nowhere to note it.
    fn note_host(&mut self, page: usize, frame: Frame, permissions: Permissions) -> bool {
        let (number, index) = super::place(page);
        let Some(leaf) = self.leaves.get_mut(&number) else { return false };
        let entry = leaf.get(index);
        let is_wanted = entry.wanted.is_some_and(|mapping: Mapping| mapping.frame == frame);
        let host = if is_wanted { Host::Wanted(permissions) } else { Host::Other };
        let entry = Entry { host, ..entry };
        leaf.set(index, entry);
        if entry.is_stale() {
            self.note_stale(page..page + PAGE_SIZE);
        }
        true
    }
}

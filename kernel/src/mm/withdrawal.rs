//! Pages that a file has lost, because it was cut or a hole was made, and that no program may see any more, mmap(2).
//!
//! A page table holds references of its own, so such a page would live on where it is mapped: a program would read and
//! write what is no longer the file's. It is rare that somebody maps what somebody cuts, so nobody keeps a list of who maps
//! which page: all address spaces are asked. (Linux keeps for each file a tree of the regions that map it, as it also
//! has to find who maps a page that it wants to page out.)

use super::{AddressSpace, PageRef, regions::Backing, source::Identity};
use crate::{arch::PAGE_SIZE, sync::SpinLock};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    vec::Vec,
};

/// All address spaces, by their ids. Nothing is taken inside it.
static SPACES: SpinLock<BTreeMap<u64, Weak<AddressSpace>>> = SpinLock::new(BTreeMap::new());

/// A new address space is there.
pub(super) fn enter(space: &Arc<AddressSpace>) {
    SPACES.lock().insert(space.id(), Arc::downgrade(space));
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        SPACES.lock().remove(&self.id());
    }
}

/// Takes pages that a file had, by their numbers, from all who have them mapped: who touches one next finds what the file
/// has there now. A private copy stays, though Linux takes it too when a file is cut.
///
/// The caller holds no lock that a [`super::PageSource`] takes.
pub fn withdraw(file: Identity, pages: &BTreeMap<u64, PageRef>) {
    // One reference is in the list.
    if pages.values().all(|page| page.count() == 1) {
        return;
    }
    let spaces: Vec<_> = SPACES.lock().values().filter_map(Weak::upgrade).collect();
    for space in spaces {
        let space = &mut *space.space.lock();
        for (start, region) in space.regions.iter() {
            let Backing::Source { source, first } = &region.backing else { continue };
            if source.identity() != file {
                continue;
            }
            let numbers = *first..first + ((region.end - start) / PAGE_SIZE) as u64;
            for (number, page) in pages.range(numbers) {
                let at = start + (number - first) as usize * PAGE_SIZE;
                if space.mappings.get(at).is_some_and(|(mapped, _)| *mapped == *page) {
                    space.mappings.remove(at..at + PAGE_SIZE);
                }
            }
        }
    }
}

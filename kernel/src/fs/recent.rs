//! Names used lately: programs go the same few ways again and again.
//!
//! An [`Entry`] that nobody uses is forgotten, and making it anew costs more than all else a step of a walk does. So a few
//! of them are held here, each in the one pair that the hash of its directory and name leads to: who comes third sends the
//! elder away. There is nothing to measure and nothing to throw away when memory runs out. (In single places, not pairs,
//! the few names of one path would now and then send each other away, at every walk. Linux keeps all names it can, in
//! lists by age, and has to be told to let go of them.)
//!
//! What is held here is kept from going, so a name that is removed or moved is taken out at once ([`Place::forget`]), and all
//! of them when a mount leaves its place ([`clear`]): what it showed may be gone with it.

use super::Entry;
use crate::sync::SpinLock;
use alloc::sync::Arc;

/// A power of two. What a shell, its programs and their libraries go through takes about half of them.
const PLACES: usize = 32;

/// The younger first.
type Pair = [Option<Arc<Entry>>; 2];

/// The lock of an entry's place is taken inside it. Entries leave it before they are dropped.
static RECENT: SpinLock<[Pair; PLACES]> = SpinLock::new([const { [None, None] }; PLACES]);

/// Which pair may hold a name in a directory.
#[derive(Clone, Copy)]
pub struct Place(usize);

impl Place {
    /// Of this name.
    pub fn of(directory: *const Entry, name: &[u8]) -> Self {
        // Directories lie in different lines of the cache; the multiplication brings every bit into the topmost ones.
        let start = directory.addr() as u64 / 64;
        let mixed = name.iter().fold(start, |mixed, &byte| mixed.rotate_left(5) ^ u64::from(byte));
        let spread = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self((spread >> (u64::BITS - PLACES.ilog2())) as usize)
    }

    /// The entry there, if it is this name's.
    pub fn find(self, directory: *const Entry, name: &[u8]) -> Option<Arc<Entry>> {
        RECENT.lock()[self.0].iter().flatten().find(|entry| entry.is(directory, name)).cloned()
    }

    /// Holds the name's entry.
    pub fn remember(self, entry: Arc<Entry>) {
        let mut recent = RECENT.lock();
        let [younger, elder] = &mut recent[self.0];
        let former = core::mem::replace(elder, younger.replace(entry));
        drop(recent);
        drop(former);
    }

    /// Lets go of this entry.
    pub fn forget(self, entry: &Entry) {
        let is_it = |held: &mut Arc<Entry>| core::ptr::eq(Arc::as_ptr(held), entry);
        let held = RECENT.lock()[self.0].each_mut().map(|place| place.take_if(is_it));
        drop(held);
    }
}

/// Lets go of all.
pub fn clear() {
    let all = core::mem::replace(&mut *RECENT.lock(), [const { [None, None] }; PLACES]);
    drop(all);
}

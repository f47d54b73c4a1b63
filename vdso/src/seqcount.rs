//! The sequence counter: one writer changes many fields, any number of readers notice and read again.
//!
//! The writer makes the counter odd, changes the fields, makes it even. A reader takes the counter, reads the fields,
//! and takes the counter again: odd, or changed, and what it read may be a mixture, so it starts over. Readers write
//! nothing, which is what allows them to live in processes that must not be able to write here. The price is that the
//! writer cannot wait for readers and that a reader may have to read twice.
//!
//! A lock is the alternative not taken: a user process that takes it and is descheduled would stop the kernel's clock.

use crate::atomics::{AtomicU32, Ordering, fence};

/// The counter itself; the first field of what it guards.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct SequenceCount(AtomicU32);

impl SequenceCount {
    /// Reader: the counter before the fields are read. Odd means that an update is under way.
    ///
    /// Acquire: fields are read no earlier than this, so with an even value they are at least as new as that update.
    #[inline(always)]
    pub fn read(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Reader: the fields have been read; did an update begin since `read` returned `before`?
    ///
    /// The fence pairs with the writer's in [`SequenceCount::begin`]: whoever has read a single new field finds the
    /// counter odd or beyond. An acquire *load* here would order what follows it; what matters is what precedes it.
    #[inline(always)]
    pub fn changed_since(&self, before: u32) -> bool {
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) != before
    }

    /// Writer: makes the counter odd. Writers exclude one another by other means, and [`begun`] has to follow.
    pub fn begin(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Writer: makes the counter even. Release: readers that see it even see every field.
    pub fn end(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// Marks a namespace's page: an update that never ends, so that only a reader's slow path meets the namespace.
    #[cfg(feature = "time_ns")]
    pub fn mark_never_even(&self) {
        self.0.store(1, Ordering::Release);
    }
}

/// Writer: after [`SequenceCount::begin`] on every counter concerned and before the first field is written.
///
/// Release fence: no field becomes visible before the odd counters.
pub fn begun() {
    fence(Ordering::Release);
}

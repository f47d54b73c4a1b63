//! The promise behind vfork(2): the parent does not run while the child uses its memory.

use crate::sync::WaitQueue;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What a vfork's child gives its parent once it has executed a program or exited, so has other memory or none.
#[derive(Default)]
pub struct Release {
    given: AtomicBool,
    queue: WaitQueue,
}

impl Release {
    /// Gives it.
    pub fn give(&self) {
        self.given.store(true, Relaxed);
        self.queue.wake_all();
    }

    /// Waits for it.
    pub async fn given(&self) {
        self.queue.until(|| self.given.load(Relaxed).then_some(())).await;
    }
}

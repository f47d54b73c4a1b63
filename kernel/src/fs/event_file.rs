//! eventfd(2): a counter that one adds to and another waits for.

use super::{Call, File, FileOperations, OpenFlags, Readiness, pseudo::anonymous_file};
use crate::{
    abi::{Errno, Result},
    mm::user::{Destination, Source},
    ns::Credentials,
    sync::{SpinLock, WaitQueue},
};
use alloc::sync::Arc;

/// The most it counts to.
const MOST: u64 = u64::MAX - 1;
const BYTES: usize = size_of::<u64>();

struct EventFile {
    /// Nothing is taken inside it.
    count: SpinLock<u64>,
    changed: WaitQueue,
    /// EFD_SEMAPHORE: a read takes one, not all.
    takes_one: bool,
}

/// A new counter. `flags`: O_NONBLOCK counts.
pub fn event_file(
    count: u32,
    takes_one: bool,
    flags: OpenFlags,
    credentials: Arc<Credentials>,
) -> Result<Arc<File>> {
    let event = EventFile { count: SpinLock::new(count.into()), changed: WaitQueue::new(), takes_one };
    anonymous_file("eventfd", Arc::new(event), flags | OpenFlags::READ_WRITE, credentials)
}

impl FileOperations for EventFile {
    fn read(&self, _call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        if into.remaining() < BYTES {
            return Err(Errno::EINVAL.because("a counter is read in eight bytes"));
        }
        let mut count = self.count.lock();
        if *count == 0 {
            return Err(Errno::EAGAIN.because("the counter is 0"));
        }
        let taken = if self.takes_one { 1 } else { *count };
        *count -= taken;
        drop(count);
        self.changed.wake_writers();
        into.put(&taken.to_ne_bytes())
    }

    fn write(&self, _call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        if from.remaining() < BYTES {
            return Err(Errno::EINVAL.because("a counter is written in eight bytes"));
        }
        let mut bytes = [0; BYTES];
        from.take(&mut bytes)?;
        let added = u64::from_ne_bytes(bytes);
        if added == u64::MAX {
            return Err(Errno::EINVAL.because("a counter does not go so high"));
        }
        let mut count = self.count.lock();
        let sum = count.checked_add(added).filter(|sum| *sum <= MOST);
        *count = sum.ok_or(Errno::EAGAIN.because("the counter does not go so high"))?;
        drop(count);
        self.changed.wake_readers();
        Ok(BYTES)
    }

    fn readiness(&self, _file: &File) -> Readiness {
        let count = *self.count.lock();
        let mut readiness = Readiness::empty();
        readiness.set(Readiness::READABLE, count > 0);
        readiness.set(Readiness::WRITABLE, count < MOST);
        readiness
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.changed)
    }

    fn describe(&self, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        writeln!(out, "eventfd-count: {:16x}", *self.count.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tests::{Somebody, prepare, read, write};

    #[test]
    fn it_counts() {
        prepare();
        let credentials = Somebody::root().credentials;
        let file = event_file(3, false, OpenFlags::empty(), credentials.clone()).unwrap();
        assert_eq!(write(&file, &5u64.to_ne_bytes()), Ok(8));
        assert_eq!(read(&file, 8).unwrap(), 8u64.to_ne_bytes());
        assert_eq!(read(&file, 8), Err(Errno::EAGAIN));
        assert_eq!(read(&file, 7), Err(Errno::EINVAL));
        assert_eq!(write(&file, &u64::MAX.to_ne_bytes()), Err(Errno::EINVAL));
        assert_eq!(write(&file, &MOST.to_ne_bytes()), Ok(8));
        assert_eq!(write(&file, &1u64.to_ne_bytes()), Err(Errno::EAGAIN));
        assert_eq!(file.readiness(), Readiness::READABLE);
        let semaphore = event_file(2, true, OpenFlags::empty(), credentials).unwrap();
        assert_eq!(read(&semaphore, 8).unwrap(), 1u64.to_ne_bytes());
        assert_eq!(read(&semaphore, 8).unwrap(), 1u64.to_ne_bytes());
        assert_eq!(read(&semaphore, 8), Err(Errno::EAGAIN));
    }
}

//! What can be mapped besides fresh private memory: something with pages of its own that several mappings see.
//!
//! A file is one (the file system implements the trait); memory shared between a parent and its children, with no file
//! behind it, is the other and lives here.

use super::PageRef;
use crate::{
    abi::{Errno, Result},
    arch::PAGE_SIZE,
    sync::SpinLock,
};
use alloc::collections::BTreeMap;
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// Pages that mappings share.
///
/// An address space calls these, and drops its reference, with its lock held: an implementation may take its own locks
/// inside, but must not touch any program's memory. The other way round, whoever holds one of those locks must not touch
/// a program's memory either, for that may need a page from here.
pub trait PageSource: Send + Sync {
    /// The page with this number, counted from the start, made if it is not there yet.
    ///
    /// Errors: ENOMEM; any other when the page lies beyond the end (the program gets SIGBUS).
    fn page(&self, index: u64) -> Result<PageRef>;

    /// Gives those from `first` on that are there already and cost nothing to get, each in its place; used to map the
    /// neighbours of a page that was touched.
    fn pages_if_present(&self, _first: u64, _into: &mut [Option<PageRef>]) {}

    /// One of them.
    fn page_if_present(&self, index: u64) -> Option<PageRef> {
        let mut found = [None];
        self.pages_if_present(index, &mut found);
        let [found] = found;
        found
    }

    /// Length in bytes, as far as a program may read; the last page's rest is zeros.
    fn length(&self) -> u64;

    /// The device and inode numbers, which together name it in the whole system: for /proc/PID/maps and futex(2).
    fn identity(&self) -> Identity;

    /// Writes what /proc/PID/maps calls it.
    fn write_name(&self, into: &mut dyn fmt::Write) -> fmt::Result;

    /// Copies bytes out, from any offset; fewer at the end, none behind it. Errors: as `page`.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize> {
        let available = self.length().saturating_sub(offset);
        let length = into.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let in_page = (at % PAGE_SIZE as u64) as usize;
            let piece = (length - done).min(PAGE_SIZE - in_page);
            self.page(at / PAGE_SIZE as u64)?.read(in_page, &mut into[done..done + piece]);
            done += piece;
        }
        Ok(length)
    }
}

/// What names a [`PageSource`] in the whole system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Identity {
    /// As in `stat.st_dev`.
    pub device: u64,
    /// As in `stat.st_ino`.
    pub inode: u64,
}

/// The device that shared memory without a file shows in /proc/PID/maps: major 0, minor 1, as on Linux.
const SHARED_MEMORY_DEVICE: u64 = 1;

/// Memory that a program maps shared, without a file, before it forks: mmap(2), MAP_SHARED | MAP_ANONYMOUS.
pub struct SharedMemory {
    inode: u64,
    pages: u64,
    /// Those touched so far. Taken inside an address space's lock; inside it, only frames' and heap's.
    present: SpinLock<BTreeMap<u64, PageRef>>,
}

impl SharedMemory {
    /// So many pages, none of them present.
    pub fn new(pages: u64) -> Self {
        static NEXT_INODE: AtomicU64 = AtomicU64::new(1024);
        let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
        Self { inode, pages, present: SpinLock::new(BTreeMap::new()) }
    }
}

impl PageSource for SharedMemory {
    fn page(&self, index: u64) -> Result<PageRef> {
        if index >= self.pages {
            return Err(Errno::EFAULT.because("shared memory ends where its first mapping did"));
        }
        let mut present = self.present.lock();
        if let Some(page) = present.get(&index) {
            return Ok(page.clone());
        }
        let page = PageRef::zeroed()?;
        super::reserve::check()?;
        present.insert(index, page.clone());
        Ok(page)
    }

    fn length(&self) -> u64 {
        self.pages * PAGE_SIZE as u64
    }

    fn identity(&self) -> Identity {
        Identity { device: SHARED_MEMORY_DEVICE, inode: self.inode }
    }

    fn write_name(&self, into: &mut dyn fmt::Write) -> fmt::Result {
        into.write_str("/dev/zero (deleted)")
    }
}

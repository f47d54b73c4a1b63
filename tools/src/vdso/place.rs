//! The image, placed in this process as the kernel places it, with data pages that this process writes.
//!
//! So the very code that programs will run can be called, compared and counted on any Linux, without the kernel.
//! The companion page is made inaccessible for the root form: a reader that looks at it there dies, as it would
//! under the kernel.

use super::lookup::Tables;
use anyhow::{Context, Result, anyhow, ensure};
use gnomon_vdso::page::{COMPANION_PAGE, DATA_PAGES, PAGE_SIZE, TIME_PAGE, TimeData};
use std::ptr::{self, NonNull};

/// The version of every function.
pub const VERSION: &str = "LINUX_2.6";

/// Data pages and image, adjacent.
pub struct Placed {
    start: NonNull<u8>,
    length: usize,
    image: Vec<u8>,
}

/// Which pages a task sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Page 0 is the system's; there is no companion.
    Root,
    /// Page 0 is a namespace's; the companion is the system's.
    Namespace,
}

impl Placed {
    /// Maps zeroed data pages for `form`, and above them a copy of `image`, not writable.
    pub fn new(image: &[u8], form: Form) -> Result<Placed> {
        let length = DATA_PAGES * PAGE_SIZE + image.len().next_multiple_of(PAGE_SIZE);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // Shared, so that a page written here also changes for a process forked off to be watched.
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place the kernel chooses; nothing else is touched.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, kind, -1, 0) };
        ensure!(start != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        let start = NonNull::new(start.cast::<u8>()).context("mmap gave address 0")?;
        let placed = Placed { start, length, image: image.to_vec() };
        let text = placed.page(DATA_PAGES);
        // SAFETY: the mapping has room for the image above the data pages, and nobody else knows it yet.
        unsafe { ptr::copy_nonoverlapping(image.as_ptr(), text, image.len()) };
        placed.protect(DATA_PAGES, image.len(), libc::PROT_READ | libc::PROT_EXEC)?;
        if form == Form::Root {
            placed.protect(COMPANION_PAGE, PAGE_SIZE, libc::PROT_NONE)?;
        }
        Ok(placed)
    }

    fn page(&self, number: usize) -> *mut u8 {
        self.start.as_ptr().wrapping_add(number * PAGE_SIZE)
    }

    fn protect(&self, page: usize, length: usize, access: i32) -> Result<()> {
        // SAFETY: part of our own mapping.
        let result = unsafe { libc::mprotect(self.page(page).cast(), length, access) };
        ensure!(result == 0, "mprotect: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Page 0.
    pub fn time_page(&self) -> &TimeData {
        // SAFETY: readable and writable while `self` lives, began as zeros, accessed as a `TimeData` only.
        unsafe { &*self.page(TIME_PAGE).cast() }
    }

    /// Page 1, in the namespace form only: in the other it cannot be touched.
    pub fn companion_page(&self) -> &TimeData {
        // SAFETY: as above.
        unsafe { &*self.page(COMPANION_PAGE).cast() }
    }

    /// The addresses the image occupies.
    pub fn text(&self) -> std::ops::Range<usize> {
        self.page(DATA_PAGES) as usize..self.start.as_ptr() as usize + self.length
    }

    /// The address of a function, found as a C library finds it.
    pub fn function(&self, name: &str) -> Result<usize> {
        let offset = Tables::new(&self.image)
            .and_then(|tables| tables.find(name, VERSION))
            .map_err(|reason| anyhow!("{name}: {reason}"))?;
        Ok(self.text().start + offset)
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // SAFETY: our own mapping; every reference into it has ended with `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

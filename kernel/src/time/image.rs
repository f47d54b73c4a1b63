//! The vDSO's image: a small shared library that the kernel carries inside itself and maps into every program.
//!
//! It is built before the kernel and copied into frames of its own at boot, once; all programs share them.

use crate::{abi::Result, arch::PAGE_SIZE, mm::frames::PageRef, sync::Once};
use alloc::vec::Vec;

/// The file as it was built.
static FILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so"));

static PAGES: Once<Vec<PageRef>> = Once::new();

/// Copies the image into frames. Errors: ENOMEM.
pub(super) fn initialize() -> Result<()> {
    let pages: Result<Vec<PageRef>> = FILE
        .chunks(PAGE_SIZE)
        .map(|bytes| {
            let page = PageRef::zeroed()?;
            page.write(0, bytes);
            Ok(page)
        })
        .collect();
    let pages = pages?;
    PAGES.call_once(|| pages);
    Ok(())
}

/// Its pages, from the first on; none before time is initialized.
pub fn pages() -> &'static [PageRef] {
    PAGES.get().map_or(&[], Vec::as_slice)
}

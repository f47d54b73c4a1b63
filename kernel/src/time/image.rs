//! The vDSO's image: a small shared library that the kernel carries inside itself and maps into every program.
//!
//! It is built before the kernel and copied into frames of its own at boot, once; all programs share them. On the way it is
//! fitted to the processor.

use crate::{
    abi::Result,
    arch::{Hardware, Machine, PAGE_SIZE},
    mm::frames::PageRef,
    sync::Once,
};
use alloc::vec::Vec;
use gnomon_vdso::counter::{BY_ITSELF, FENCED};

/// The file as it was built.
static FILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so"));

static PAGES: Once<Vec<PageRef>> = Once::new();

/// Copies the image into frames. Errors: ENOMEM.
pub(super) fn initialize() -> Result<()> {
    let mut image = FILE.to_vec();
    if Hardware::processor_features().has_rdtscp {
        read_counter_by_itself(&mut image);
    }
    let pages: Result<Vec<PageRef>> = image
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

fn read_counter_by_itself(image: &mut [u8]) {
    let places = image.windows(FENCED.len()).enumerate().filter(|(_, bytes)| *bytes == FENCED);
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    for place in places {
        image[place..][..BY_ITSELF.len()].copy_from_slice(&BY_ITSELF);
    }
}

/// Its pages, from the first on; none before time is initialized.
pub fn pages() -> &'static [PageRef] {
    PAGES.get().map_or(&[], Vec::as_slice)
}

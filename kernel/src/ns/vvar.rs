//! The namespace's page: same layout as the system's, but offsets instead of times, and a mark that sends the reader on.
//!
//! One of the two places that write pages of clock data (the other publishes host time). The page's counter is always
//! odd, which in the system's page means "being updated, look again"; a reader that looks again finds the clock mode that
//! says "this is a namespace's". So tasks outside pay nothing, and no flag is tested where nobody waits anyway.
//!
//! Which page a program sees is chosen when it touches `[vvar]`, not when it enters: entering takes away what was mapped.

use super::{offsets::Offsets, time::TimeNamespace};
use crate::{
    arch::PAGE_SIZE,
    mm::{frames::PageRef, special::SpecialSource},
    time::{image, publish},
};
use arrayvec::ArrayVec;
use gnomon_vdso::{
    page::{COMPANION_PAGE, RANDOM_PAGE, TIME_PAGE, TimeData},
    write,
};

/// Fills a namespace's page, which nobody has mapped yet.
pub fn fill(page: &PageRef, offsets: Offsets) {
    page.fill(0..PAGE_SIZE, 0);
    // SAFETY: a whole frame, zeroed, which `page` keeps; the namespace's lock is held and nobody reads it before it is
    // frozen, after which nobody writes it.
    let data: &TimeData = unsafe { page.pointer().cast().as_ref() };
    write::fill_namespace_page(data, offsets.monotonic, offsets.boottime);
}

impl SpecialSource for TimeNamespace {
    fn vvar_pages(&self, slot: usize) -> ArrayVec<(usize, PageRef), 2> {
        let mut pages = ArrayVec::new();
        match (slot, self.page()) {
            (TIME_PAGE, None) => pages.push((TIME_PAGE, publish::system_page())),
            // Whoever reads the offsets goes on to the times: both in one fault.
            (TIME_PAGE, Some(page)) => {
                pages.push((TIME_PAGE, page.clone()));
                pages.push((COMPANION_PAGE, publish::system_page()));
            }
            (COMPANION_PAGE, Some(_)) => pages.push((COMPANION_PAGE, publish::system_page())),
            (RANDOM_PAGE, _) => pages.push((RANDOM_PAGE, publish::random_page())),
            _ => {}
        }
        pages
    }

    fn vdso_image(&self) -> &[PageRef] {
        image::pages()
    }
}

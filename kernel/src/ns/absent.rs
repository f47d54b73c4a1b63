//! The bundle of a kernel without time namespaces: nothing in it, and nothing translated.
//!
//! It takes the place of `proxy` with the same interface, so that the rest of the kernel is written once. The compiler
//! sees that a time namespace cannot exist and leaves out what would be done with one.

use super::{Credentials, nsfs::Handle, user::UserNamespace};
use crate::{
    abi::{Errno, Result, Timespec},
    mm::{frames::PageRef, special::SpecialSource},
    time::{HostClock, image, publish},
};
use alloc::sync::Arc;
use arrayvec::ArrayVec;
use gnomon_vdso::page::{RANDOM_PAGE, TIME_PAGE};

/// A time namespace, of which there is none.
pub enum Time {}

#[allow(missing_docs, reason = "as in `time`; none can be called")]
impl Time {
    pub fn number(&self) -> u32 {
        match *self {}
    }
    pub fn unique_id(&self) -> u64 {
        match *self {}
    }
    pub fn owner(&self) -> &Arc<UserNamespace> {
        match *self {}
    }
}

/// A task's namespaces: none.
#[derive(Clone)]
pub struct Namespaces;

/// Everybody sees the system's page.
struct SystemPages;

impl SpecialSource for SystemPages {
    fn vvar_pages(&self, slot: usize) -> ArrayVec<(usize, PageRef), 2> {
        let mut pages = ArrayVec::new();
        match slot {
            TIME_PAGE => pages.push((slot, publish::system_page())),
            RANDOM_PAGE => pages.push((slot, publish::random_page())),
            _ => {}
        }
        pages
    }

    fn vdso_image(&self) -> &[PageRef] {
        image::pages()
    }
}

#[allow(missing_docs, reason = "as in `proxy`")]
impl Namespaces {
    pub fn initial() -> Arc<Self> {
        Arc::new(Self)
    }
    pub fn unshared(&self, _maker: &Credentials) -> Result<Arc<Self>> {
        Err(Errno::EINVAL.because("this kernel was built without time namespaces"))
    }
    pub fn for_new_task(
        self: &Arc<Self>,
        new_time: bool,
        _vm: bool,
        maker: &Credentials,
    ) -> Result<Arc<Self>> {
        if new_time { self.unshared(maker) } else { Ok(self.clone()) }
    }
    pub fn on_exec(self: Arc<Self>) -> Arc<Self> {
        self
    }
    pub fn joined(&self, target: &Arc<Time>) -> Arc<Self> {
        match **target {}
    }
    pub fn is_shifted(&self) -> bool {
        false
    }
    pub fn told(&self, _clock: HostClock, host: Timespec) -> Timespec {
        host
    }
    pub fn to_inside(&self, _clock: HostClock, host: i64) -> i64 {
        host
    }
    pub fn to_host(&self, _clock: HostClock, inside: i64) -> i64 {
        inside
    }
    pub fn boottime_offset(&self) -> i64 {
        0
    }
    pub fn time_handle(&self) -> Result<Handle> {
        Err(Errno::EINVAL.because("this kernel was built without time namespaces"))
    }
    pub fn special_source(&self) -> Arc<dyn SpecialSource> {
        Arc::new(SystemPages)
    }
}

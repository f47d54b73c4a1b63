//! A file of a tmpfs as a mapping sees it: its own pages, not copies.

use super::{
    super::{File, mount},
    contents::Contents,
    node::Node,
};
use crate::{
    abi::{Errno, Result},
    mm::{PageRef, PageSource, source::Identity},
};
use alloc::sync::Arc;
use core::fmt;

/// The pages of an open file, which stays open as long as it is mapped: its name is shown in `/proc/PID/maps`, and its
/// mount is in use.
pub(super) struct Mapping {
    pub file: Arc<File>,
    /// It is shared, and can be written through.
    pub stores: bool,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(node) = self.file.operations_as::<Node>().filter(|_| self.stores) {
            node.seals.count_storing(false);
        }
    }
}

impl Mapping {
    fn contents(&self) -> Result<&Contents> {
        self.file.operations_as::<Node>().ok_or(Errno::EFAULT)?.contents()
    }
}

impl PageSource for Mapping {
    fn page(&self, index: u64) -> Result<PageRef> {
        self.contents()?.page_to_map(index)
    }

    fn pages_if_present(&self, first: u64, into: &mut [Option<PageRef>]) {
        if let Ok(contents) = self.contents() {
            contents.pages_if_present(first, into);
        }
    }

    fn length(&self) -> u64 {
        self.contents().map_or(0, Contents::length)
    }

    fn identity(&self) -> Identity {
        let node = self.file.operations_as::<Node>();
        node.expect("a mapping is of a file that has contents").identity()
    }

    fn write_name(&self, into: &mut dyn fmt::Write) -> fmt::Result {
        let name = self.file.path().describe(&mount::root()).into_link();
        // A newline would look like the next line of `/proc/PID/maps`.
        for part in alloc::string::String::from_utf8_lossy(&name).split_inclusive('\n') {
            match part.strip_suffix('\n') {
                Some(part) => write!(into, "{part}\\012")?,
                None => into.write_str(part)?,
            }
        }
        Ok(())
    }
}

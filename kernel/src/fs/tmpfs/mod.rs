//! tmpfs(5): files that live in memory. The root, `/dev`, and whatever is mounted with this type are of it.
//!
//! An object is a [`node::Node`], a [`directory`] one of them; a regular file's contents are [`contents::Contents`], pages
//! that mmap(2) maps as they are ([`mapping`]). A file may have no name at all ([`memory_file`]), and then [`seals`] on
//! what may still be done with it. All nodes of one mount share an [`Account`], which counts pages and objects, so a full file system is ENOSPC long
//! before memory is out.

pub mod contents;
pub mod directory;
mod mapping;
pub mod memory_file;
pub mod node;
mod seals;

#[cfg(test)]
mod tests;

use super::{DeviceNumber, Entry, FileSystem, Statistics, metadata::anonymous_device, mount::Options};
use crate::{
    abi::{Errno, Result},
    arch::PAGE_SIZE,
    mm::frames,
};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use node::Node;

/// TMPFS_MAGIC, magic.h.
const MAGIC: u64 = 0x0102_1994;

/// What all nodes of one file system share.
pub struct Account {
    device: DeviceNumber,
    /// The most pages of contents.
    page_limit: AtomicUsize,
    pages: AtomicUsize,
    nodes: AtomicUsize,
    next_number: AtomicU64,
}

impl Account {
    fn new(page_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            device: anonymous_device(),
            page_limit: AtomicUsize::new(page_limit),
            pages: AtomicUsize::new(0),
            nodes: AtomicUsize::new(0),
            next_number: AtomicU64::new(1),
        })
    }

    /// Counts one more page. Errors: ENOSPC.
    fn charge_page(&self) -> Result<()> {
        let limit = self.page_limit.load(Relaxed);
        self.pages
            .fetch_update(Relaxed, Relaxed, |pages| (pages < limit).then_some(pages + 1))
            .map(|_| ())
            .map_err(|_| Errno::ENOSPC.because("the file system has a limit of pages"))
    }

    /// Whether one more object may be made: as many as pages, like Linux. Errors: ENOSPC.
    fn check_object(&self) -> Result<()> {
        let limit = self.page_limit.load(Relaxed);
        match limit == 0 || self.nodes.load(Relaxed) < limit {
            true => Ok(()),
            false => Err(Errno::ENOSPC.because("the file system has as many objects as it may have pages")),
        }
    }

    fn return_pages(&self, count: usize) {
        self.pages.fetch_sub(count, Relaxed);
    }
}

/// A file system in memory.
pub struct TemporaryFileSystem {
    kind: &'static str,
    account: Arc<Account>,
    root: Arc<Entry>,
}

impl TemporaryFileSystem {
    /// An empty one. `kind`: what it is called in `/proc/mounts`. By default it may fill half of all memory.
    ///
    /// Options: `size=` bytes, with k, m, g or %; `mode=` octal; `uid=`, `gid=`. Errors: EINVAL for others.
    pub fn new(kind: &'static str, options: &Options<'_>) -> Result<Arc<Self>> {
        let all = frames::statistics().total;
        let (mut page_limit, mut permissions, mut uid, mut gid) = (all / 2, 0o1777, 0, 0);
        for (name, value) in options.iter() {
            match name {
                "size" => page_limit = parse_size(value, all).ok_or(Errno::EINVAL)?,
                "mode" => permissions = u16::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
                "uid" => uid = value.parse().map_err(|_| Errno::EINVAL)?,
                "gid" => gid = value.parse().map_err(|_| Errno::EINVAL)?,
                "nr_inodes" | "nr_blocks" | "huge" | "mpol" | "inode64" | "inode32" => {}
                _ => return Err(Errno::EINVAL.because("tmpfs takes size=, mode=, uid= and gid=")),
            }
        }
        let account = Account::new(page_limit);
        let root = Node::new_directory(&account, permissions, uid, gid);
        Ok(Arc::new(Self { kind, account, root: Entry::root(root) }))
    }

    /// One without options. Its root has the usual permissions of the top of a tree.
    pub fn with_permissions(kind: &'static str, permissions: u16) -> Arc<Self> {
        let account = Account::new(frames::statistics().total / 2);
        let root = Node::new_directory(&account, permissions, 0, 0);
        Arc::new(Self { kind, account, root: Entry::root(root) })
    }
}

impl TemporaryFileSystem {
    /// What its nodes share.
    fn account(&self) -> &Arc<Account> {
        &self.account
    }
}

/// Bytes in pages, rounded up: a number with a unit, or a percentage of `all` pages.
fn parse_size(text: &str, all: usize) -> Option<usize> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let number: usize = digits.parse().ok()?;
    let bytes = match &text[digits.len()..] {
        "%" => return all.checked_mul(number).map(|hundredfold| hundredfold / 100),
        "" => number,
        "k" | "K" => number.checked_mul(1 << 10)?,
        "m" | "M" => number.checked_mul(1 << 20)?,
        "g" | "G" => number.checked_mul(1 << 30)?,
        _ => return None,
    };
    // 0 means no limit of its own.
    Some(if bytes == 0 { all } else { bytes.div_ceil(PAGE_SIZE) })
}

impl FileSystem for TemporaryFileSystem {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn device(&self) -> DeviceNumber {
        self.account.device
    }

    fn root(&self) -> &Arc<Entry> {
        &self.root
    }

    fn statistics(&self) -> Statistics {
        let (limit, used) =
            (self.account.page_limit.load(Relaxed) as u64, self.account.pages.load(Relaxed) as u64);
        let nodes = self.account.nodes.load(Relaxed) as u64;
        // As many objects as pages, like Linux.
        let objects = limit.max(nodes);
        Statistics {
            magic: MAGIC,
            block_size: PAGE_SIZE as u64,
            blocks: limit,
            free: limit.saturating_sub(used),
            objects,
            free_objects: objects - nodes,
        }
    }

    fn describe_options(&self, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        write!(out, ",size={}k", self.account.page_limit.load(Relaxed) * (PAGE_SIZE / 1024))
    }
}

//! The contents of a regular file: pages by number, with holes where nothing was written.
//!
//! The pages are frames that a mapping of the file shows directly, so a store through a mapping and a read(2) see the same
//! bytes without any copying or flushing. Nothing here touches a program's memory with the lock held: that could
//! fault, and the fault could be for a page of this very file.

use super::{super::Inode, Account, node::Node};
use crate::{
    abi::{Errno, Result},
    arch::PAGE_SIZE,
    mm::{PageRef, reserve},
    sync::SpinLock,
};
use alloc::{collections::BTreeMap, sync::Arc};
use core::any::Any;

const PAGE: u64 = PAGE_SIZE as u64;
/// The longest file, as on Linux: 2^63 - 1 bytes, rounded down to pages so that a mapping of the end is one of a page.
pub const LONGEST: u64 = i64::MAX as u64 & !(PAGE - 1);

/// Pages and a length.
pub struct Contents {
    account: Arc<Account>,
    /// Taken inside address spaces' locks; inside it, only the frames' and the heap's.
    inner: SpinLock<Inner>,
}

#[derive(Default)]
struct Inner {
    length: u64,
    /// Bytes beyond `length` in the last page are zero (but for what a mapping stores there), so growing shows zeros.
    pages: BTreeMap<u64, PageRef>,
}

/// Where an offset lies: the page, and the byte in it.
pub fn split(offset: u64) -> (u64, usize) {
    (offset / PAGE, (offset % PAGE) as usize)
}

impl Contents {
    /// None yet.
    pub fn new(account: &Arc<Account>) -> Self {
        Self { account: account.clone(), inner: SpinLock::default() }
    }

    /// In bytes.
    pub fn length(&self) -> u64 {
        self.inner.lock().length
    }

    /// How many pages there are, holes not counted.
    pub fn pages(&self) -> usize {
        self.inner.lock().pages.len()
    }

    /// For reading at an offset: the page (`None` for a hole) and how many bytes from there on belong to the file, at most
    /// to the end of the page; 0 at the end.
    pub fn page_to_read(&self, offset: u64) -> (Option<PageRef>, usize) {
        let inner = self.inner.lock();
        let (index, within) = split(offset);
        let left = inner.length.saturating_sub(offset).min((PAGE_SIZE - within) as u64);
        if left == 0 {
            return (None, 0);
        }
        (inner.pages.get(&index).cloned(), left as usize)
    }

    /// The page to write to, made if it is a hole. Errors: ENOSPC, ENOMEM.
    pub fn page_to_write(&self, index: u64) -> Result<PageRef> {
        self.inner.lock().page_for_call(index, &self.account)
    }

    /// After a write that ended at this offset.
    pub fn extend_to(&self, end: u64) {
        let mut inner = self.inner.lock();
        inner.length = inner.length.max(end);
    }

    /// The page a mapping shows. Errors: EFAULT behind the end; ENOSPC, ENOMEM.
    pub fn page_to_map(&self, index: u64) -> Result<PageRef> {
        let mut inner = self.inner.lock();
        if index >= inner.length.div_ceil(PAGE) {
            return Err(Errno::EFAULT.because("the page lies behind the end of the file"));
        }
        inner.page(index, &self.account)
    }

    /// Gives those from `first` on that are there, each in its place.
    pub fn pages_if_present(&self, first: u64, into: &mut [Option<PageRef>]) {
        let inner = self.inner.lock();
        let end = first.saturating_add(into.len() as u64).min(inner.length.div_ceil(PAGE));
        for (index, page) in inner.pages.range(first..end.max(first)) {
            into[(index - first) as usize] = Some(page.clone());
        }
    }

    /// Sets the length: what is beyond is lost, what is new is zero. Gives the pages lost, which may be mapped. Errors: EFBIG.
    pub fn truncate(&self, length: u64) -> Result<BTreeMap<u64, PageRef>> {
        if length > LONGEST {
            return Err(Errno::EFBIG.because("a file has at most 2^63 bytes"));
        }
        let mut inner = self.inner.lock();
        let mut gone = BTreeMap::new();
        if length < inner.length {
            let (index, within) = split(length);
            gone = inner.pages.split_off(&(index + u64::from(within > 0)));
            if within > 0
                && let Some(last) = inner.pages.get(&index)
            {
                zero(last, within, PAGE_SIZE);
            }
            self.account.return_pages(gone.len());
        }
        inner.length = length;
        Ok(gone)
    }

    /// Makes a hole; the length stays. Gives the pages lost, which may be mapped.
    pub fn punch(&self, start: u64, end: u64) -> BTreeMap<u64, PageRef> {
        let mut inner = self.inner.lock();
        let (first, first_within) = split(start);
        let (last, last_within) = split(end);
        for (index, from, to) in [
            (first, first_within, if first == last { last_within } else { PAGE_SIZE }),
            (last, if first == last { PAGE_SIZE } else { 0 }, last_within),
        ] {
            // Whole pages are dropped below; of those at the ends a part is cleared.
            if (from, to) != (0, PAGE_SIZE)
                && from < to
                && let Some(page) = inner.pages.get(&index)
            {
                zero(page, from, to);
            }
        }
        let whole = start.div_ceil(PAGE)..end / PAGE;
        if whole.is_empty() {
            return BTreeMap::new();
        }
        let mut gone = inner.pages.split_off(&whole.start);
        let mut kept = gone.split_off(&whole.end);
        inner.pages.append(&mut kept);
        self.account.return_pages(gone.len());
        gone
    }

    /// Makes every page of a range present, or none, fallocate(2). Errors: ENOSPC, ENOMEM.
    pub fn fill(&self, start: u64, end: u64) -> Result<()> {
        let mut inner = self.inner.lock();
        let mut made = BTreeMap::new();
        for index in (start / PAGE..end.div_ceil(PAGE)).filter(|index| !inner.pages.contains_key(index)) {
            let page = reserve::check_for_contents().and_then(|()| new_page(&self.account));
            made.insert(index, page.inspect_err(|_| self.account.return_pages(made.len()))?);
        }
        inner.pages.append(&mut made);
        Ok(())
    }

    /// The first offset from `offset` on, before the end, that is stored (`data`) or a hole; the end counts as a hole.
    pub fn next_range(&self, offset: u64, data: bool) -> Option<u64> {
        let inner = self.inner.lock();
        let first = offset / PAGE;
        if data {
            let (index, _) = inner.pages.range(first..).next()?;
            return Some((index * PAGE).max(offset)).filter(|found| *found < inner.length);
        }
        let mut index = first;
        for (present, _) in inner.pages.range(first..) {
            if *present != index {
                break;
            }
            index += 1;
        }
        Some((index * PAGE).max(offset).min(inner.length))
    }
}

/// Gives a regular file of a tmpfs these contents, in place of what it had. Errors: EINVAL for anything else; ENOSPC,
/// ENOMEM.
pub fn store(inode: &Arc<dyn Inode>, bytes: &[u8]) -> Result<()> {
    let any: &dyn Any = &**inode;
    let node: &Node =
        any.downcast_ref().ok_or(Errno::EINVAL.because("only a tmpfs has contents to store"))?;
    let contents = node.contents()?;
    contents.truncate(0)?;
    for (index, piece) in bytes.chunks(PAGE_SIZE).enumerate() {
        contents.put_page(index as u64, piece)?;
    }
    contents.extend_to(bytes.len() as u64);
    Ok(())
}

impl Contents {
    /// A page that was not there, with bytes at its start and zeros behind them.
    fn put_page(&self, index: u64, bytes: &[u8]) -> Result<()> {
        reserve::check()?;
        self.account.charge_page()?;
        let page = PageRef::with_bytes(bytes).inspect_err(|_| self.account.return_pages(1))?;
        self.inner.lock().pages.insert(index, page);
        Ok(())
    }
}

impl Inner {
    /// [`Self::page`] for a call, which can fail while there still is memory for the tasks there are.
    fn page_for_call(&mut self, index: u64, account: &Account) -> Result<PageRef> {
        if !self.pages.contains_key(&index) {
            reserve::check_for_contents()?;
        }
        self.page(index, account)
    }

    fn page(&mut self, index: u64, account: &Account) -> Result<PageRef> {
        if let Some(page) = self.pages.get(&index) {
            return Ok(page.clone());
        }
        let page = new_page(account)?;
        self.pages.insert(index, page.clone());
        Ok(page)
    }
}

/// Errors: ENOSPC, ENOMEM.
fn new_page(account: &Account) -> Result<PageRef> {
    reserve::check()?;
    account.charge_page()?;
    PageRef::zeroed().inspect_err(|_| account.return_pages(1))
}

impl Drop for Contents {
    fn drop(&mut self) {
        let pages = core::mem::take(&mut self.inner.lock().pages);
        self.account.return_pages(pages.len());
    }
}

fn zero(page: &PageRef, from: usize, to: usize) {
    page.fill(from..to, 0);
}

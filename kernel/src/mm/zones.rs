//! Free memory: blocks of frames, in lists by size (the buddy system).
//!
//! Free memory is kept as blocks of 2^order frames, each aligned to its size: taking a block splits a larger one, giving one
//! back joins it with its free neighbour, both in at most [`ORDERS`] steps, so contiguous runs stay to be had without ever
//! searching. The lists run through the table's rows, not through the free frames themselves: free memory is never touched,
//! which on a machine that emulates RAM keeps it from being paid for. (A bitmap is smaller, but finds runs by scanning; a
//! stack of frame numbers is quicker, but has no runs at all.)

use crate::arch::Frame;
use core::{
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
};

/// Block sizes: 2^0 up to 2^(ORDERS - 1) frames (4 MiB).
pub const ORDERS: usize = 11;

/// "No frame", at the ends of lists.
const NONE: u32 = u32::MAX;

/// What is known of one frame. All fields but `count` are only touched with the zones locked; they are atomics so that the
/// table can be shared without `unsafe`.
pub struct Row {
    /// References to the frame while it is in use.
    pub count: AtomicU32,
    /// Of the first frame of a free block: its order and whose it is, as [`Zone::mark`] says. Of every other frame: 0.
    free: AtomicU32,
    /// Of the first frame of a free block: its neighbours in the list.
    next: AtomicU32,
    previous: AtomicU32,
}

/// Part of the memory with free lists of its own.
pub struct Zone {
    account: Account,
    /// Frames that come back to this zone. The general zone takes what is in no other.
    pub range: Range<u32>,
    /// First block of each order.
    heads: [u32; ORDERS],
    /// The frame that came back last, not joined yet: most often the next one wanted is a single one too. Or `NONE`.
    last: u32,
    /// Free frames.
    pub free: usize,
}

/// Which zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Account {
    /// Programs, and what the kernel keeps for them page by page.
    General,
    /// The heap, when the general zone has nothing for it.
    Reserve,
}

impl Row {
    /// Of a frame that is in no list and in nobody's use.
    pub const fn new() -> Self {
        Self {
            count: AtomicU32::new(0),
            free: AtomicU32::new(0),
            next: AtomicU32::new(NONE),
            previous: AtomicU32::new(NONE),
        }
    }
}

impl Zone {
    /// An empty one.
    pub const fn new(account: Account) -> Self {
        Self { account, range: 0..0, heads: [NONE; ORDERS], last: NONE, free: 0 }
    }

    /// How the first row of a free block of this zone is marked: blocks of two zones never join.
    const fn mark(&self, order: usize) -> u32 {
        (1 + order + ORDERS * self.account as usize) as u32
    }

    /// Adds a range of any size and alignment, as the fewest blocks.
    pub fn insert_range(&mut self, rows: &[Row], range: Range<u32>) {
        let mut start = range.start;
        while start < range.end {
            let fits = (range.end - start).ilog2() as usize;
            let order = fits.min(start.trailing_zeros() as usize).min(ORDERS - 1);
            self.put(rows, start, order);
            start += 1 << order;
        }
    }

    /// The smallest free block that is large enough, less what is too much of it.
    pub fn take(&mut self, rows: &[Row], order: usize) -> Option<Frame> {
        if order == 0 && self.last != NONE {
            self.free -= 1;
            return Some(Frame(core::mem::replace(&mut self.last, NONE)));
        }
        self.join_last(rows);
        let found = (order..ORDERS).find(|&order| self.heads[order] != NONE)?;
        let first = self.heads[found];
        self.unlink(rows, first, found);
        for half in (order..found).rev() {
            self.link(rows, first + (1 << half), half);
        }
        self.free -= 1 << order;
        Some(Frame(first))
    }

    /// Adds a block.
    pub fn put(&mut self, rows: &[Row], first: u32, order: usize) {
        self.free += 1 << order;
        if order == 0 {
            self.join_last(rows);
            self.last = first;
        } else {
            self.join(rows, first, order);
        }
    }

    fn join_last(&mut self, rows: &[Row]) {
        if self.last != NONE {
            let last = core::mem::replace(&mut self.last, NONE);
            self.join(rows, last, 0);
        }
    }

    /// Lists a block, joined with its other half as long as that is free too.
    fn join(&mut self, rows: &[Row], mut first: u32, mut order: usize) {
        while order < ORDERS - 1 {
            let other = first ^ (1 << order);
            if rows.get(other as usize).map(|row| row.free.load(Ordering::Relaxed)) != Some(self.mark(order))
            {
                break;
            }
            self.unlink(rows, other, order);
            first &= !(1 << order);
            order += 1;
        }
        self.link(rows, first, order);
    }

    fn link(&mut self, rows: &[Row], first: u32, order: usize) {
        let row = &rows[first as usize];
        let next = core::mem::replace(&mut self.heads[order], first);
        row.free.store(self.mark(order), Ordering::Relaxed);
        row.previous.store(NONE, Ordering::Relaxed);
        row.next.store(next, Ordering::Relaxed);
        if next != NONE {
            rows[next as usize].previous.store(first, Ordering::Relaxed);
        }
    }

    fn unlink(&mut self, rows: &[Row], first: u32, order: usize) {
        let row = &rows[first as usize];
        let (next, previous) = (row.next.load(Ordering::Relaxed), row.previous.load(Ordering::Relaxed));
        row.free.store(0, Ordering::Relaxed);
        match previous {
            NONE => self.heads[order] = next,
            previous => rows[previous as usize].next.store(next, Ordering::Relaxed),
        }
        if next != NONE {
            rows[next as usize].previous.store(previous, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "tests/zones.rs"]
mod tests;

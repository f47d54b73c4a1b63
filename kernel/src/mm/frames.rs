//! Every frame of RAM has a row in one table; a free one is in a [zone](super::zones), a frame in use counts its users.
//!
//! A frame in use is held by counted references ([`PageRef`]): one for each page-table entry that points at it and one
//! for each kernel object that keeps it. "Is this page shared?" is then "is the count above one?", which is the whole
//! of copy-on-write.
//!
//! There are two zones. Everything asked for on a program's account comes from the *general* zone and may be refused.
//! The *reserve* is for the kernel's heap alone: see [`super::reserve`].

use super::{
    heap, reserve,
    zones::{Account, Row, Zone},
};
use crate::{
    abi::{Errno, Result},
    arch::{BootInformation, Frame, Hardware, Machine, PAGE_SIZE, TableFrames},
    sync::{Once, SpinLock},
};
use arrayvec::ArrayVec;
use core::{
    mem::ManuallyDrop,
    ops::Range,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering, fence},
};

struct Frames {
    rows: &'static [Row],
    /// Taken inside any lock; nothing is taken inside it.
    zones: SpinLock<[Zone; 2]>,
    /// Both zones' frames, free or not.
    total: AtomicUsize,
    tables: AtomicUsize,
    /// Frames full of zeros that were page tables, for the next ones: clearing a frame costs more than all else about it.
    /// Taken inside any lock; inside it, only `zones`.
    cleared: SpinLock<ArrayVec<Frame, 16>>,
}

static FRAMES: Once<Frames> = Once::new();

fn frames() -> &'static Frames {
    #[cfg(test)]
    tests::prepare();
    FRAMES.get().expect("frames are asked for before frames::initialize")
}

/// How the machine's memory is used, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statistics {
    /// Those this allocator looks after: RAM less the kernel's image, this table, and what the machine kept.
    pub total: usize,
    /// Free for programs.
    pub free: usize,
    /// Free for the heap alone.
    pub reserve_free: usize,
    /// In use under page tables.
    pub tables: usize,
    /// Held by the heap, whether or not it has given the bytes in them out.
    pub heap: usize,
    /// In use for everything else: programs' pages, files' pages, VVAR pages.
    pub pages: usize,
}

/// Takes the free memory in hand. Call once, before anything is allocated.
///
/// # Panics
/// When no free range can hold the table (16 bytes a frame), or it was called before.
pub fn initialize(boot: &BootInformation) {
    let table_frames = (boot.frame_limit as usize * size_of::<Row>()).div_ceil(PAGE_SIZE) as u32;
    let mut free = boot.free_memory.clone();
    let home = free.iter_mut().find(|range| range.len() >= table_frames as usize);
    let home = home.expect("no free memory is large enough for the table of frames");
    let table_start = home.start;
    home.start += table_frames;
    assert!(FRAMES.get().is_none(), "the frames are already looked after");
    let frames = FRAMES.call_once(|| Frames {
        rows: make_rows(Frame(table_start), boot.frame_limit as usize),
        zones: SpinLock::new([Zone::new(Account::General), Zone::new(Account::Reserve)]),
        total: AtomicUsize::new(0),
        tables: AtomicUsize::new(0),
        cleared: SpinLock::new(ArrayVec::new_const()),
    });
    set_reserve_aside(frames, &mut free);
    for range in free {
        frames.add(range);
    }
}

/// Makes the table of rows in frames that nobody else uses.
fn make_rows(start: Frame, length: usize) -> &'static [Row] {
    let rows = Hardware::frame_pointer(start).cast::<Row>();
    for index in 0..length {
        // SAFETY: the caller reserved enough contiguous frames for `length` rows, always mapped, and nobody else's;
        // a frame is aligned better than a row.
        unsafe { rows.add(index).write(Row::new()) };
    }
    // SAFETY: just written; frames of the table are never given to anyone.
    unsafe { core::slice::from_raw_parts(rows.as_ptr(), length) }
}

/// Cuts one aligned run out of the largest free range for the heap's reserve.
fn set_reserve_aside(frames: &Frames, free: &mut ArrayVec<Range<u32>, 64>) {
    let available: usize = free.iter().map(|range| range.len()).sum();
    let size = reserve::size_for(available) as u32;
    let largest = free.iter_mut().max_by_key(|range| range.len()).expect("there is free memory");
    let start = (largest.end - size) & !(size - 1);
    assert!(start >= largest.start, "free memory is too scattered to set the heap's reserve aside");
    let (reserved, tail) = (start..start + size, start + size..largest.end);
    largest.end = start;
    let mut zones = frames.zones.lock();
    zones[Account::Reserve as usize].range = reserved.clone();
    zones[Account::Reserve as usize].insert_range(frames.rows, reserved);
    frames.total.fetch_add(size as usize, Ordering::Relaxed);
    drop(zones);
    frames.add(tail);
}

impl Frames {
    /// Gives the general zone what is kept for page tables.
    fn give_back_cleared(&self) {
        let cleared = self.cleared.lock().take();
        let mut zones = self.zones.lock();
        cleared
            .into_iter()
            .for_each(|Frame(number)| zones[Account::General as usize].put(self.rows, number, 0));
    }

    /// Adds free frames to the general zone.
    fn add(&self, range: Range<u32>) {
        self.total.fetch_add(range.len(), Ordering::Relaxed);
        self.zones.lock()[Account::General as usize].insert_range(self.rows, range);
    }
}

/// Adds free frames that were not known as such before: what the machine used while booting, the unpacked archive.
pub fn release(range: Range<u32>) {
    frames().add(range);
}

/// Free frames of the general zone and of the reserve, without as many as the heap would hold if it were in them.
fn free_in(zones: &[Zone; 2]) -> [usize; 2] {
    let (beside, general) = (heap::frames_beside(), zones[0].free);
    [general.saturating_sub(beside), zones[1].free.saturating_sub(beside.saturating_sub(general))]
}

/// How memory is used now.
pub fn statistics() -> Statistics {
    let frames = frames();
    let cleared = frames.cleared.lock().len();
    let [free, reserve_free] = free_in(&frames.zones.lock());
    let free = free + cleared;
    let (total, tables) = (frames.total.load(Ordering::Relaxed), frames.tables.load(Ordering::Relaxed));
    let heap = heap::frames_held() + heap::frames_beside();
    let pages = total.saturating_sub(free + reserve_free + tables + heap);
    Statistics { total, free, reserve_free, tables, heap, pages }
}

/// Frames there are in all, used or not; and those free for programs, which costs less than all [`statistics`].
pub(super) fn total_and_free() -> (usize, usize) {
    let frames = frames();
    (frames.total.load(Ordering::Relaxed), free_in(&frames.zones.lock())[0])
}

/// Frames for programs in all, used or not: what one of them could ever have.
pub(super) fn most_for_programs() -> usize {
    let frames = frames();
    frames.total.load(Ordering::Relaxed) - frames.zones.lock()[Account::Reserve as usize].range.len()
}

/// Of the reserve: frames free, and frames in all.
pub(super) fn reserve_state() -> (usize, usize) {
    let zones = frames().zones.lock();
    (free_in(&zones)[1], zones[Account::Reserve as usize].range.len())
}

/// Takes 2^order contiguous frames, aligned to their number. Their contents are whatever was there.
pub(super) fn allocate_run(account: Account, order: usize) -> Option<Frame> {
    #[cfg(test)]
    tests::may_take(account, 1 << order).then_some(())?;
    let frames = frames();
    let mut zones = frames.zones.lock();
    if heap::frames_beside() > 0 && account == Account::General && free_in(&zones)[0] < 1 << order {
        return None;
    }
    let frame = zones[account as usize].take(frames.rows, order)?;
    drop(zones);
    #[cfg(test)]
    tests::note(1 << order);
    Some(frame)
}

/// Gives back what `allocate_run` gave, whole or in aligned parts.
///
/// # Safety
/// Nothing refers to the frames any more.
pub(super) unsafe fn free_run(first: Frame, order: usize) {
    let frames = frames();
    #[cfg(test)]
    tests::note(-(1 << order));
    let mut zones = frames.zones.lock();
    let zone = if zones[1].range.contains(&first.0) { &mut zones[1] } else { &mut zones[0] };
    zone.put(frames.rows, first.0, order);
}

/// A counted reference to one frame of RAM, allocated on a program's account.
///
/// What is in the frame may be changed through any reference at any time, by the kernel or by the programs that have it
/// mapped; so it is only ever copied in and out, never borrowed.
#[derive(Debug, PartialEq, Eq)]
pub struct PageRef(Frame);

impl PageRef {
    /// A frame of zeros, with one reference. Errors: ENOMEM when only the kernel's reserve is left.
    pub fn zeroed() -> Result<Self> {
        let page = Self::uninitialized()?;
        page.fill(0..PAGE_SIZE, 0);
        Ok(page)
    }

    /// A frame with these bytes at its start and zeros behind them, with one reference. Errors: ENOMEM.
    ///
    /// # Panics
    /// When they are more than fit.
    pub fn with_bytes(bytes: &[u8]) -> Result<Self> {
        let page = Self::uninitialized()?;
        page.write(0, bytes);
        page.fill(bytes.len()..PAGE_SIZE, 0);
        Ok(page)
    }

    /// A frame with the same contents as this one. Errors: ENOMEM.
    pub fn copy(&self) -> Result<Self> {
        let copy = Self::uninitialized()?;
        // SAFETY: both are whole frames, and different ones.
        unsafe { self.pointer().copy_to_nonoverlapping(copy.pointer(), PAGE_SIZE) };
        Ok(copy)
    }

    /// A frame with whatever was there, for who shows nobody a byte that he has not written. Errors: ENOMEM.
    pub(crate) fn uninitialized() -> Result<Self> {
        let frame = allocate_run(Account::General, 0).or_else(|| {
            // What is kept at hand to be quick.
            frames().give_back_cleared();
            heap::trim();
            allocate_run(Account::General, 0)
        });
        let frame = frame.ok_or_else(|| Errno::ENOMEM.because("no frame is left for programs"))?;
        frames().rows[frame.0 as usize].count.store(1, Ordering::Relaxed);
        Ok(Self(frame))
    }

    /// 2^order contiguous frames of zeros, aligned to their number, each with one reference and a life of its own;
    /// `None` when there is no such run. Order 4 (64 KiB) at most.
    pub fn zeroed_run(order: usize) -> Option<ArrayVec<Self, 16>> {
        let Frame(first) = allocate_run(Account::General, order)?;
        let take = |number| {
            frames().rows[number as usize].count.store(1, Ordering::Relaxed);
            let page = Self(Frame(number));
            page.fill(0..PAGE_SIZE, 0);
            page
        };
        Some((first..first + (1 << order)).map(take).collect())
    }

    /// Which frame.
    pub fn frame(&self) -> Frame {
        self.0
    }

    /// How many references there are. One means that nobody but the holder of this one can make more.
    pub fn count(&self) -> usize {
        frames().rows[self.0.0 as usize].count.load(Ordering::Acquire) as usize
    }

    /// The kernel's view of the frame; valid as long as a reference lives.
    pub fn pointer(&self) -> NonNull<u8> {
        Hardware::frame_pointer(self.0)
    }

    /// Copies bytes out of the frame.
    ///
    /// # Panics
    /// When `offset + into.len()` is more than a page.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        check_bounds(offset, into.len());
        // SAFETY: in bounds of the frame, which this reference keeps; `into` is not part of any frame programs have.
        unsafe { self.pointer().add(offset).copy_to(NonNull::from_mut(into).cast(), into.len()) };
    }

    /// A value as its bytes lie in the frame.
    ///
    /// # Panics
    /// When a part of it would be beyond the page.
    #[inline(always)]
    pub fn value<T: zerocopy::FromBytes>(&self, offset: usize) -> T {
        check_bounds(offset, size_of::<T>());
        // SAFETY: in bounds of the frame, which this reference keeps; any bytes at all are a `T`.
        unsafe { self.pointer().add(offset).cast::<T>().read_unaligned() }
    }

    /// Copies bytes into the frame.
    ///
    /// # Panics
    /// When `offset + from.len()` is more than a page.
    pub fn write(&self, offset: usize, from: &[u8]) {
        check_bounds(offset, from.len());
        // SAFETY: as for `read`.
        unsafe { self.pointer().add(offset).copy_from(NonNull::from_ref(from).cast(), from.len()) };
    }

    /// Where some of its bytes are; valid as long as a reference lives.
    ///
    /// # Panics
    /// When the range goes beyond the page.
    #[inline(always)]
    pub fn bytes(&self, offset: usize, length: usize) -> NonNull<[u8]> {
        check_bounds(offset, length);
        // SAFETY: in bounds of the frame.
        NonNull::slice_from_raw_parts(unsafe { self.pointer().add(offset) }, length)
    }

    /// Copies bytes from one frame to another, or within one.
    ///
    /// # Panics
    /// When either range goes beyond its page.
    pub fn copy_bytes(&self, offset: usize, to: &PageRef, to_offset: usize, length: usize) {
        check_bounds(offset, length);
        check_bounds(to_offset, length);
        // SAFETY: both in bounds of frames that are kept; `copy_to` allows them to overlap.
        unsafe {
            let (from, to) = (self.pointer().add(offset), to.pointer().add(to_offset));
            match length {
                // All that many a pipe carries, and less than calling what copies any length.
                1 => to.write(from.read()),
                _ => from.copy_to(to, length),
            }
        }
    }

    /// Sets every byte of the range.
    ///
    /// # Panics
    /// When the range goes beyond the page.
    pub fn fill(&self, range: Range<usize>, value: u8) {
        check_bounds(range.start, range.len());
        // SAFETY: in bounds of the frame.
        unsafe { self.pointer().add(range.start).write_bytes(value, range.len()) };
    }

    /// Turns the reference into a bare number, still counted, to be kept in a page table.
    pub fn into_raw(self) -> Frame {
        ManuallyDrop::new(self).0
    }

    /// Turns a number back into the reference it was.
    ///
    /// # Safety
    /// It came from [`Self::into_raw`], and each such number is turned back only once.
    pub unsafe fn from_raw(frame: Frame) -> Self {
        Self(frame)
    }
}

/// Panics when the range goes beyond a page.
fn check_bounds(offset: usize, length: usize) {
    assert!(offset <= PAGE_SIZE && length <= PAGE_SIZE - offset, "a page has {PAGE_SIZE} bytes");
}

impl Clone for PageRef {
    /// One more reference to the same frame. (The counter cannot overflow: every reference takes at least four bytes of
    /// memory somewhere, and there is less than 16 GiB that could hold them for every frame at once.)
    fn clone(&self) -> Self {
        frames().rows[self.0.0 as usize].count.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl Drop for PageRef {
    // Inlined where a program's pages go one by one; the last reference is the rarer case.
    #[inline(always)]
    fn drop(&mut self) {
        if frames().rows[self.0.0 as usize].count.fetch_sub(1, Ordering::Release) == 1 {
            free_last(self.0);
        }
    }
}

/// Frees a frame whose last reference has just gone.
#[inline(never)]
fn free_last(frame: Frame) {
    // What others did through their references happened before the frame is given to someone new.
    fence(Ordering::Acquire);
    // SAFETY: that was the last reference.
    unsafe { free_run(frame, 0) };
}

/// Frames under page tables, on the program's account, counted apart.
struct Tables;

impl TableFrames for Tables {
    fn allocate(&self) -> Result<Frame> {
        let frame = match take_cleared() {
            Some(frame) => frame,
            None => PageRef::zeroed()?.into_raw(),
        };
        frames().tables.fetch_add(1, Ordering::Relaxed);
        #[cfg(test)]
        tests::note_table(1);
        Ok(frame)
    }

    fn free(&self, frame: Frame) {
        frames().tables.fetch_sub(1, Ordering::Relaxed);
        #[cfg(test)]
        tests::note_table(-1);
        let kept = frames().cleared.lock().try_push(frame);
        #[cfg(test)]
        if kept.is_ok() {
            tests::note(-1);
        }
        if kept.is_err() {
            // SAFETY: the page table gives back what `allocate` gave it, once.
            drop(unsafe { PageRef::from_raw(frame) });
        }
    }
}

fn take_cleared() -> Option<Frame> {
    #[cfg(test)]
    tests::may_take(Account::General, 1).then_some(())?;
    let frame = frames().cleared.lock().pop()?;
    #[cfg(test)]
    tests::note(1);
    Some(frame)
}

/// What page tables are made from.
pub fn table_frames() -> &'static dyn TableFrames {
    &Tables
}

#[cfg(test)]
#[path = "tests/frames.rs"]
pub mod tests;

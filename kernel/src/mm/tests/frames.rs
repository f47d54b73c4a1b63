//! The allocator against a plain list of what is free; and what lets other tests count frames and run out of them.

extern crate std;

use super::*;
use alloc::{collections::BTreeMap, vec::Vec};
use core::cell::Cell;
use proptest::prelude::*;

std::thread_local! {
    /// Frames taken less frames given back by this thread. Each test has a thread of its own, so this is exact even while
    /// others run beside it.
    static BALANCE: Cell<isize> = const { Cell::new(0) };
    /// Those of them that are under page tables: how many it takes is the machine's affair.
    static TABLES: Cell<isize> = const { Cell::new(0) };
    /// What `BALANCE` may reach before this thread is told that nothing is left.
    static LIMIT: Cell<isize> = const { Cell::new(isize::MAX) };
}

/// Brings the machine's memory in at first use.
pub(super) fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| initialize(&crate::arch::boot_information("")));
}

pub(super) fn note(frames: isize) {
    BALANCE.set(BALANCE.get() + frames);
}

pub(super) fn may_take(account: Account, frames: isize) -> bool {
    account == Account::Reserve || BALANCE.get() + frames <= LIMIT.get()
}

pub(super) fn note_table(frames: isize) {
    TABLES.set(TABLES.get() + frames);
}

/// Frames this thread holds.
pub fn held() -> isize {
    BALANCE.get()
}

/// Frames this thread holds for anything but page tables.
pub fn held_as_pages() -> isize {
    BALANCE.get() - TABLES.get()
}

/// Runs `act` as if only so many frames were left for programs.
pub fn with_frames_left<R>(left: isize, act: impl FnOnce() -> R) -> R {
    struct Restore(isize);
    impl Drop for Restore {
        fn drop(&mut self) {
            LIMIT.set(self.0);
        }
    }
    let _restore = Restore(LIMIT.replace(BALANCE.get() + left));
    act()
}

fn rows(count: usize) -> Vec<Row> {
    let row = || Row {
        count: AtomicU32::new(0),
        free: AtomicU32::new(0),
        next: AtomicU32::new(NONE),
        previous: AtomicU32::new(NONE),
    };
    core::iter::repeat_with(row).take(count).collect()
}

/// What a zone has free, block by block, checked for overlaps and for neighbours that should have been joined.
fn free_blocks(zone: &Zone, rows: &[Row]) -> BTreeMap<u32, usize> {
    let mut blocks = BTreeMap::new();
    for order in 0..ORDERS {
        let (mut at, mut previous) = (zone.heads[order], NONE);
        while at != NONE {
            assert_eq!(rows[at as usize].free.load(Ordering::Relaxed), zone.mark(order));
            assert_eq!(rows[at as usize].previous.load(Ordering::Relaxed), previous);
            assert_eq!(at % (1 << order), 0, "a block is aligned to its size");
            assert!(blocks.insert(at, order).is_none());
            previous = at;
            at = rows[at as usize].next.load(Ordering::Relaxed);
        }
    }
    let mut end = 0;
    for (&start, &order) in &blocks {
        assert!(start >= end, "free blocks overlap");
        end = start + (1 << order);
        let other_half = start ^ (1 << order);
        assert!(
            order == ORDERS - 1 || blocks.get(&other_half) != Some(&order),
            "two halves lie side by side"
        );
    }
    assert_eq!(blocks.values().map(|order| 1 << order).sum::<usize>(), zone.free);
    blocks
}

proptest! {
    #[test]
    fn never_gives_a_frame_out_twice_and_joins_what_comes_back(
        start in 0u32..40,
        length in 1u32..5000,
        steps in prop::collection::vec((any::<bool>(), 0usize..6, any::<prop::sample::Index>()), 1..200),
    ) {
        let rows = rows(6000);
        let mut zone = Zone::new(Account::General);
        zone.insert_range(&rows, start..start + length);
        let fresh = free_blocks(&zone, &rows);
        let mut taken: Vec<(u32, usize)> = Vec::new();
        for (take, order, which) in steps {
            if take {
                let Some(Frame(first)) = zone.take(&rows, order) else { continue };
                let range = first..first + (1 << order);
                prop_assert!(range.start >= start && range.end <= start + length && first % (1 << order) == 0);
                prop_assert!(taken.iter().all(|(other, order)| range.end <= *other || other + (1 << order) <= first));
                taken.push((first, order));
            } else if !taken.is_empty() {
                let (first, order) = taken.swap_remove(which.index(taken.len()));
                // A run may come back frame by frame.
                for frame in first..first + (1 << order) {
                    zone.put(&rows, frame, 0);
                }
            }
            let held: usize = taken.iter().map(|(_, order)| 1 << order).sum();
            prop_assert_eq!(zone.free + held, length as usize);
            free_blocks(&zone, &rows);
        }
        for (first, order) in taken {
            zone.put(&rows, first, order);
        }
        prop_assert_eq!(free_blocks(&zone, &rows), fresh, "everything is joined again");
    }
}

#[test]
fn a_zone_gives_all_it_has_and_then_says_no() {
    let rows = rows(1000);
    let mut zone = Zone::new(Account::General);
    zone.insert_range(&rows, 3..1000);
    let given: Vec<_> = core::iter::from_fn(|| zone.take(&rows, 0)).collect();
    assert_eq!((given.len(), zone.free), (997, 0));
    assert_eq!(zone.take(&rows, 0), None);
}

#[test]
fn blocks_do_not_join_across_zones() {
    let rows = rows(64);
    let mut reserve = Zone::new(Account::Reserve);
    reserve.insert_range(&rows, 32..48);
    let mut general = Zone::new(Account::General);
    general.insert_range(&rows, 48..64);
    let frame = reserve.take(&rows, 0).unwrap();
    reserve.put(&rows, frame.0, 0);
    assert_eq!((reserve.free, general.free), (16, 16));
    assert_eq!(free_blocks(&reserve, &rows), BTreeMap::from([(32, 4)]));
    let frame = general.take(&rows, 0).unwrap();
    general.put(&rows, frame.0, 0);
    assert_eq!(free_blocks(&general, &rows), BTreeMap::from([(48, 4)]));
}

#[test]
fn a_page_lives_as_long_as_its_last_reference() {
    let before = held();
    let page = PageRef::zeroed().unwrap();
    page.write(100, b"gnomon");
    let second = page.clone();
    assert_eq!((page.count(), held() - before), (2, 1));
    drop(page);
    let mut bytes = [0; 6];
    second.read(100, &mut bytes);
    assert_eq!((&bytes, second.count()), (b"gnomon", 1));
    let copy = second.copy().unwrap();
    second.fill(0..PAGE_SIZE, 7);
    copy.read(100, &mut bytes);
    assert_eq!(&bytes, b"gnomon");
    let raw = copy.into_raw();
    assert_eq!(held() - before, 2);
    // SAFETY: it was made just above.
    #[allow(unsafe_code)]
    drop(unsafe { PageRef::from_raw(raw) });
    drop(second);
    assert_eq!(held(), before);
}

#[test]
fn a_run_is_contiguous_and_its_pages_are_free_of_each_other() {
    let before = held();
    let mut run = PageRef::zeroed_run(4).unwrap();
    assert!(run.iter().zip(run[0].frame().0..).all(|(page, number)| page.frame().0 == number));
    assert_eq!((run.len(), run[0].frame().0 % 16, held() - before), (16, 0, 16));
    run.remove(5);
    assert_eq!(held() - before, 15);
    run.clear();
    assert_eq!(held(), before);
}

#[test]
fn a_recycled_page_is_zero_again() {
    let page = PageRef::zeroed().unwrap();
    page.fill(0..PAGE_SIZE, 0xff);
    drop(page);
    let pages: Vec<_> = (0..64).map(|_| PageRef::zeroed().unwrap()).collect();
    let mut bytes = [1; PAGE_SIZE];
    for page in &pages {
        page.read(0, &mut bytes);
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
}

#[test]
#[should_panic(expected = "a page has")]
fn reaching_over_a_page_is_a_bug() {
    PageRef::zeroed().unwrap().write(PAGE_SIZE - 2, b"abc");
}

#[test]
fn programs_are_refused_what_the_heap_still_gets() {
    with_frames_left(1, || {
        let last = PageRef::zeroed().unwrap();
        assert_eq!(PageRef::zeroed(), Err(Errno::ENOMEM));
        assert_eq!(table_frames().allocate(), Err(Errno::ENOMEM));
        let run = allocate_run(Account::Reserve, 2).expect("the reserve is not for programs");
        // SAFETY: it was taken just above.
        #[allow(unsafe_code)]
        unsafe {
            free_run(run, 2)
        };
        drop(last);
        assert!(PageRef::zeroed().is_ok());
    });
}

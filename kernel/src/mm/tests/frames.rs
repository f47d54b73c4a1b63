//! Counted references to frames, and what lets other tests count frames and run out of them.

extern crate std;

use super::*;
use alloc::vec::Vec;
use core::cell::Cell;

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

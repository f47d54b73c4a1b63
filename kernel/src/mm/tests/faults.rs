//! What a touch brings, what it costs, and when it is refused.

use super::support::*;
use crate::{
    abi::{Errno, Signal},
    arch::{Access, Hardware, Machine, PAGE_SIZE, Permissions},
    mm::{Fault, RegionFlags, address_space::Limits, regions::STACK_GUARD_GAP},
};

const DATA: usize = 0x5000_0000;

#[test]
fn refusals_say_why_as_linux_does() {
    let space = space();
    let read_only = at(DATA, anonymous(1, Permissions::READ));
    space.map(read_only).unwrap();
    space.map(at(DATA + 0x10_0000, anonymous(1, Permissions::empty()))).unwrap();
    let short = TestFile::new(&[1; 100]);
    space.map(at(DATA + 0x20_0000, file(&short, 0, 2, Permissions::READ, RegionFlags::empty()))).unwrap();
    let cases = [
        (0, Access::Read, Fault::NotMapped, Signal::SIGSEGV, 1),
        (DATA - 1, Access::Write, Fault::NotMapped, Signal::SIGSEGV, 1),
        (usize::MAX, Access::Read, Fault::NotMapped, Signal::SIGSEGV, 1),
        (Hardware::USER_END, Access::Execute, Fault::NotMapped, Signal::SIGSEGV, 1),
        (DATA, Access::Write, Fault::NotPermitted, Signal::SIGSEGV, 2),
        (DATA, Access::Execute, Fault::NotPermitted, Signal::SIGSEGV, 2),
        (DATA + 0x10_0000, Access::Read, Fault::NotPermitted, Signal::SIGSEGV, 2),
        (DATA + 0x20_0000 + PAGE_SIZE, Access::Read, Fault::NoPage, Signal::SIGBUS, 2),
    ];
    for (address, access, fault, signal, code) in cases {
        assert_eq!(space.fault(address, access), Err(fault), "{address:#x}");
        assert_eq!(fault.signal_and_code(), Some((signal, code)));
    }
    assert_eq!(space.fault(DATA, Access::Read), Ok(()));
}

#[test]
fn what_can_only_be_written_can_be_read_too() {
    let space = space();
    space.map(at(DATA, anonymous(1, Permissions::WRITE))).unwrap();
    assert_eq!(space.fault(DATA, Access::Read), Ok(()));
    store(&space, DATA, 3).unwrap();
    assert_eq!(load(&space, DATA), Ok(3));
}

#[test]
fn reading_untouched_memory_costs_no_frame_and_a_reservation_nothing() {
    let space = space();
    let start = space.map(anonymous(1 << 20, READ_WRITE));
    assert_eq!(start, Err(Errno::ENOMEM), "4 GiB of private memory in one piece is more than there is");
    let reservation = space.map(anonymous(1 << 30, Permissions::empty())).unwrap();
    let start = space.map(anonymous(1000, READ_WRITE)).unwrap();
    load(&space, start).unwrap();
    let before = held_as_pages();
    for page in 0..1000 {
        assert_eq!(load(&space, start + page * PAGE_SIZE), Ok(0));
    }
    assert_eq!(held_as_pages(), before);
    store(&space, start + 500 * PAGE_SIZE, 1).unwrap();
    assert_eq!(held_as_pages(), before + 1);
    assert_eq!(load(&space, start + 501 * PAGE_SIZE), Ok(0));
    space.protect(reservation..reservation + 16 * PAGE_SIZE, READ_WRITE, false).unwrap();
    store(&space, reservation, 1).unwrap();
    assert_eq!(held_as_pages(), before + 2);
}

#[test]
fn memory_filled_in_order_comes_in_growing_aligned_runs() {
    let space = space();
    let start = 0x6000_0000;
    space.map(at(start, anonymous(256, READ_WRITE))).unwrap();
    let mut faults = 0;
    for page in 0..256 {
        let before = space.statistics().resident;
        store(&space, start + page * PAGE_SIZE, 1).unwrap();
        faults += usize::from(space.statistics().resident > before);
    }
    assert_eq!(space.statistics().resident, 256);
    assert!(faults <= 1 + 4 + 16, "{faults} faults for 256 pages");
    // The same from above, as a stack grows.
    let top = 0x7000_0000;
    space.map(at(top - 256 * PAGE_SIZE, anonymous(256, READ_WRITE))).unwrap();
    let mut faults = 0;
    for page in 1..=256 {
        let before = space.statistics().resident;
        store(&space, top - page * PAGE_SIZE, 1).unwrap();
        faults += usize::from(space.statistics().resident > before);
    }
    assert!(faults <= 1 + 4 + 16, "{faults} faults for 256 pages downwards");
}

#[test]
fn memory_touched_here_and_there_comes_page_by_page() {
    let space = space();
    space.map(at(DATA, anonymous(1024, READ_WRITE))).unwrap();
    for page in (0..1024).step_by(7) {
        store(&space, DATA + page * PAGE_SIZE, 1).unwrap();
    }
    assert_eq!(space.statistics().resident, 147);
}

#[test]
fn a_run_never_reaches_over_its_region_or_over_a_page_that_is_there() {
    let space = space();
    space.map(at(DATA, anonymous(64, READ_WRITE))).unwrap();
    space.protect(DATA + 20 * PAGE_SIZE..DATA + 21 * PAGE_SIZE, Permissions::READ, false).unwrap();
    store(&space, DATA + 40 * PAGE_SIZE, 40).unwrap();
    for page in (0..20).chain(21..64) {
        store(&space, DATA + page * PAGE_SIZE, page as u8).unwrap();
    }
    assert_eq!(store(&space, DATA + 20 * PAGE_SIZE, 1), Err(Errno::EFAULT));
    for page in (0..20).chain(21..64) {
        assert_eq!(load(&space, DATA + page * PAGE_SIZE), Ok(page as u8));
    }
    assert_eq!(load(&space, DATA + 20 * PAGE_SIZE), Ok(0));
}

#[test]
fn a_private_file_page_is_the_files_until_it_is_written() {
    let contents = TestFile::new(&[5; 20 * PAGE_SIZE]);
    let space = space();
    space.map(at(DATA, file(&contents, 1, 19, READ_WRITE, RegionFlags::empty()))).unwrap();
    let before = held_as_pages();
    assert_eq!(load(&space, DATA + 3 * PAGE_SIZE), Ok(5));
    assert_eq!(space.statistics().resident, 16, "those around it came along");
    assert_eq!(held_as_pages(), before, "and none was copied");
    store(&space, DATA + 3 * PAGE_SIZE, 6).unwrap();
    store(&space, DATA + 17 * PAGE_SIZE, 7).unwrap();
    assert_eq!(held_as_pages(), before + 2);
    assert_eq!([contents.byte(4 * PAGE_SIZE), contents.byte(18 * PAGE_SIZE)], [5, 5]);
    assert_eq!([load(&space, DATA + 3 * PAGE_SIZE), load(&space, DATA + 17 * PAGE_SIZE)], [Ok(6), Ok(7)]);
    space.advise(DATA, 19 * PAGE_SIZE, 4).unwrap();
    assert_eq!(load(&space, DATA + 3 * PAGE_SIZE), Ok(5), "MADV_DONTNEED forgets the copy");
    assert_eq!(held_as_pages(), before);
}

#[test]
fn a_shared_file_page_is_written_in_place() {
    let contents = TestFile::new(&[5; 2 * PAGE_SIZE]);
    let (one, other) = (space(), space());
    for space in [&one, &other] {
        space.map(at(DATA, file(&contents, 0, 2, READ_WRITE, RegionFlags::SHARED))).unwrap();
    }
    assert_eq!(load(&other, DATA + 1), Ok(5));
    store(&one, DATA + 1, 8).unwrap();
    assert_eq!((contents.byte(1), load(&other, DATA + 1)), (8, Ok(8)));
}

#[test]
fn a_stack_grows_to_what_is_touched_within_its_limit() {
    let space = space();
    let top = 0x7000_0000;
    let stack = crate::mm::MapRequest { flags: RegionFlags::GROWS_DOWN, ..anonymous(4, READ_WRITE) };
    space.map(at(top - 4 * PAGE_SIZE, stack)).unwrap();
    space.set_limits(Limits { stack: 64 * PAGE_SIZE as u64, ..Limits::default() });
    store(&space, top - 20 * PAGE_SIZE, 1).unwrap();
    assert_eq!(map_of(&space, top), ["-20-0 rw-"]);
    assert_eq!(space.fault(top - 65 * PAGE_SIZE, Access::Write), Err(Fault::NotMapped));
    assert_eq!(space.fault(top - 64 * PAGE_SIZE, Access::Write), Ok(()));
    assert_eq!(space.fault(top - 64 * PAGE_SIZE - 1, Access::Write), Err(Fault::NotMapped));
}

#[test]
fn a_stack_keeps_its_distance_from_what_is_below() {
    let top = 0x7000_0000;
    let below = top - STACK_GUARD_GAP - 32 * PAGE_SIZE;
    for (permissions, reached) in
        [(READ_WRITE, top - 31 * PAGE_SIZE), (Permissions::empty(), below + PAGE_SIZE)]
    {
        let space = space();
        let stack = crate::mm::MapRequest { flags: RegionFlags::GROWS_DOWN, ..anonymous(4, READ_WRITE) };
        space.map(at(top - 4 * PAGE_SIZE, stack)).unwrap();
        space.map(at(below, anonymous(1, permissions))).unwrap();
        assert_eq!(space.fault(reached, Access::Write), Ok(()));
        let next = space.fault(reached - PAGE_SIZE, Access::Write);
        let expected = if permissions.is_empty() { Err(Fault::NotPermitted) } else { Err(Fault::NotMapped) };
        assert_eq!(next, expected);
    }
}

#[test]
fn without_memory_a_touch_is_not_answered_and_a_call_says_so() {
    let space = space();
    space.map(at(DATA, anonymous(4, READ_WRITE))).unwrap();
    load(&space, DATA + PAGE_SIZE).unwrap();
    with_frames_left(0, || {
        assert_eq!(space.fault(DATA, Access::Write), Err(Fault::OutOfMemory));
        assert_eq!(store(&space, DATA + PAGE_SIZE, 1), Err(Errno::ENOMEM));
        assert_eq!(load(&space, DATA + PAGE_SIZE), Ok(0));
    });
    assert_eq!(space.fault(DATA, Access::Write), Ok(()));
}

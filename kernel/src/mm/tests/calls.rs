//! The calls on mappings: each case was tried on Linux 6.18, by hand or by comparing long random sequences of calls.

use super::support::*;
use crate::{
    abi::Errno,
    arch::{Hardware, Machine, PAGE_SIZE, Permissions},
    mm::{
        AddressSpace, MapRequest, Placement, RegionFlags,
        address_space::Limits,
        mapping_calls::RemapFlags,
        placement::{LOWEST, MOST_REGIONS},
    },
};
use alloc::sync::Arc;

const DATA: usize = 0x5000_0000;
const MOVE: RemapFlags = RemapFlags::MAYMOVE;
const FIXED: RemapFlags = RemapFlags::MAYMOVE.union(RemapFlags::FIXED);

fn page(index: usize) -> usize {
    DATA + index * PAGE_SIZE
}

/// Ten pages, each holding its number.
fn ten_pages() -> Arc<AddressSpace> {
    let space = space();
    space.map(at(DATA, anonymous(10, READ_WRITE))).unwrap();
    (0..10).for_each(|index| store(&space, page(index), index as u8).unwrap());
    space
}

fn placed(placement: Placement, request: MapRequest) -> MapRequest {
    MapRequest { placement, ..request }
}

#[test]
fn mappings_go_where_linux_puts_them() {
    let space = space();
    let one = || anonymous(1, READ_WRITE);
    let ceiling = space.layout().mapping_ceiling;
    assert_eq!(space.map(one()), Ok(ceiling - PAGE_SIZE), "top down");
    assert_eq!(space.map(anonymous(3, READ_WRITE)), Ok(ceiling - 4 * PAGE_SIZE));
    assert_eq!(space.unmap(ceiling - 3 * PAGE_SIZE, PAGE_SIZE), Ok(()));
    assert_eq!(space.map(one()), Ok(ceiling - 3 * PAGE_SIZE), "the highest gap that is large enough");
    assert_eq!(space.map(placed(Placement::Anywhere(DATA + 100), one())), Ok(DATA), "a hint, rounded down");
    assert_eq!(
        space.map(placed(Placement::Anywhere(DATA), one())),
        Ok(ceiling - 5 * PAGE_SIZE),
        "a hint that is taken"
    );
    assert_eq!(
        space.map(placed(Placement::Anywhere(LOWEST / 2), one())),
        Ok(LOWEST),
        "a hint that is too low"
    );
    assert_eq!(space.map(placed(Placement::Low(0), one())), Ok(0x4000_0000), "MAP_32BIT");
    let top = Hardware::USER_END - PAGE_SIZE;
    assert_eq!(space.map(at(top, one())), Ok(top));
    assert_eq!(space.map(at(top, anonymous(2, READ_WRITE))), Err(Errno::ENOMEM));
    assert_eq!(space.map(at(DATA + 1, one())), Err(Errno::EINVAL));
    assert_eq!(space.map(at(0, one())), Err(Errno::EPERM));
    assert_eq!(space.map(at(LOWEST - PAGE_SIZE, one())), Err(Errno::EPERM));
    assert_eq!(space.map(placed(Placement::FixedIfFree(DATA), one())), Err(Errno::EEXIST));
    assert_eq!(space.map(placed(Placement::FixedIfFree(DATA + PAGE_SIZE), one())), Ok(DATA + PAGE_SIZE));
    for length in [usize::MAX, usize::MAX - PAGE_SIZE, Hardware::USER_END + 1, Hardware::USER_END] {
        assert_eq!(space.map(MapRequest { length, ..one() }), Err(Errno::ENOMEM), "{length:#x} bytes");
    }
}

#[test]
fn a_fixed_mapping_replaces_what_was_there() {
    let space = ten_pages();
    space.map(at(page(3), anonymous(2, Permissions::READ))).unwrap();
    assert_eq!(map_of(&space, DATA), ["0-3 rw-", "3-5 r--", "5-10 rw-"]);
    assert_eq!([load(&space, page(2)), load(&space, page(3)), load(&space, page(5))], [Ok(2), Ok(0), Ok(5)]);
    assert_eq!(space.statistics().total, 10);
}

#[test]
fn unmapping_takes_any_part() {
    let space = ten_pages();
    assert_eq!(space.unmap(page(2) + 1, PAGE_SIZE), Err(Errno::EINVAL));
    assert_eq!(space.unmap(page(2), 0), Err(Errno::EINVAL));
    assert_eq!(space.unmap(page(2), usize::MAX), Err(Errno::EINVAL));
    assert_eq!(space.unmap(Hardware::USER_END, PAGE_SIZE), Err(Errno::EINVAL));
    assert_eq!(space.unmap(page(2), 2 * PAGE_SIZE - 1), Ok(()), "whole pages");
    assert_eq!(space.unmap(page(20), PAGE_SIZE), Ok(()), "what is not mapped can be unmapped");
    assert_eq!(space.unmap(page(1), 4 * PAGE_SIZE), Ok(()), "holes and all");
    assert_eq!(map_of(&space, DATA), ["0-1 rw-", "5-10 rw-"]);
    assert_eq!(load(&space, page(4)), Err(Errno::EFAULT));
    assert_eq!(space.statistics().resident, 6);
}

fn protect(
    space: &AddressSpace,
    range: core::ops::Range<usize>,
    permissions: Permissions,
) -> crate::abi::Result<()> {
    space.protect(page(range.start)..page(range.end), permissions, false)
}

#[test]
fn protection_is_applied_up_to_the_first_hole() {
    let space = ten_pages();
    space.unmap(page(5), PAGE_SIZE).unwrap();
    assert_eq!(protect(&space, 3..8, Permissions::READ), Err(Errno::ENOMEM));
    assert_eq!(map_of(&space, DATA), ["0-3 rw-", "3-5 r--", "6-10 rw-"]);
    assert_eq!(protect(&space, 5..8, Permissions::READ), Err(Errno::ENOMEM));
    assert_eq!(protect(&space, 3..5, READ_WRITE), Ok(()));
    assert_eq!(map_of(&space, DATA), ["0-5 rw-", "6-10 rw-"], "what is alike again is one again");
    assert_eq!(space.check_protect(DATA + 1, 1), Err(Errno::EINVAL));
    assert_eq!(space.check_protect(DATA, 0), Ok(None));
    assert_eq!(space.check_protect(DATA, usize::MAX), Err(Errno::ENOMEM));
    assert_eq!(space.protect(page(0)..page(1), READ_WRITE, true), Err(Errno::EINVAL), "PROT_GROWSDOWN");
}

#[test]
fn protection_takes_effect_on_pages_that_are_there() {
    let space = ten_pages();
    protect(&space, 0..10, Permissions::empty()).unwrap();
    assert_eq!(load(&space, page(3)), Err(Errno::EFAULT));
    protect(&space, 0..10, Permissions::READ).unwrap();
    assert_eq!((load(&space, page(3)), store(&space, page(3), 1)), (Ok(3), Err(Errno::EFAULT)));
    let before = held();
    protect(&space, 0..10, READ_WRITE).unwrap();
    assert_eq!(store(&space, page(3), 33), Ok(()));
    assert_eq!((load(&space, page(3)), held()), (Ok(33), before), "its own pages are not copied");
}

#[test]
fn a_shared_file_that_is_not_open_for_writing_never_becomes_writable() {
    let space = space();
    let contents = TestFile::new(&[1; 2 * PAGE_SIZE]);
    let request = file(&contents, 0, 2, Permissions::READ, RegionFlags::SHARED);
    let maximum = Permissions::READ | Permissions::EXECUTE;
    space.map(at(DATA, MapRequest { maximum, ..request })).unwrap();
    assert_eq!(protect(&space, 0..2, READ_WRITE), Err(Errno::EACCES));
    assert_eq!(protect(&space, 0..2, maximum), Ok(()));
}

#[test]
fn a_mapping_grows_where_it_is_or_moves() {
    let space = ten_pages();
    let remap = |old, from: usize, to: usize, flags, new| {
        space.remap(page(old), from * PAGE_SIZE, to * PAGE_SIZE, flags, new)
    };
    assert_eq!(remap(0, 10, 12, RemapFlags::empty(), 0), Ok(DATA));
    assert_eq!(remap(0, 12, 10, RemapFlags::empty(), 0), Ok(DATA));
    space.map(at(page(10), anonymous(1, Permissions::READ))).unwrap();
    assert_eq!(remap(0, 10, 12, RemapFlags::empty(), 0), Err(Errno::ENOMEM));
    let moved = remap(0, 10, 12, MOVE, 0).unwrap();
    assert_ne!(moved, DATA);
    for index in 0..10 {
        assert_eq!(load(&space, moved + index * PAGE_SIZE), Ok(index as u8));
        assert_eq!(load(&space, page(index)), Err(Errno::EFAULT));
    }
    assert_eq!(load(&space, moved + 11 * PAGE_SIZE), Ok(0));
}

#[test]
fn moving_a_part_leaves_the_rest_and_replaces_what_is_in_the_way() {
    let space = ten_pages();
    let before = held();
    assert_eq!(space.remap(page(2), 3 * PAGE_SIZE, 3 * PAGE_SIZE, FIXED, page(7)), Ok(page(7)));
    assert_eq!(map_of(&space, DATA), ["0-2 rw-", "5-10 rw-"]);
    let values: alloc::vec::Vec<_> = (5..10).map(|index| load(&space, page(index))).collect();
    assert_eq!(values, [Ok(5), Ok(6), Ok(2), Ok(3), Ok(4)]);
    assert_eq!(held(), before - 3);
}

#[test]
fn several_regions_move_together_and_keep_their_gaps() {
    let space = ten_pages();
    protect(&space, 2..4, Permissions::READ).unwrap();
    space.unmap(page(5), PAGE_SIZE).unwrap();
    assert_eq!(space.remap(page(1), 7 * PAGE_SIZE, 7 * PAGE_SIZE, FIXED, page(20)), Ok(page(20)));
    assert_eq!(
        map_of(&space, DATA),
        ["0-1 rw-", "8-10 rw-", "20-21 rw-", "21-23 r--", "23-24 rw-", "25-27 rw-"]
    );
    assert_eq!([load(&space, page(21)), load(&space, page(26))], [Ok(2), Ok(7)]);
    assert_eq!(
        space.remap(page(20), 3 * PAGE_SIZE, 4 * PAGE_SIZE, MOVE, 0),
        Err(Errno::EFAULT),
        "but only move"
    );
}

#[test]
fn what_dontunmap_leaves_behind_is_empty() {
    let space = ten_pages();
    let flags = MOVE | RemapFlags::DONTUNMAP;
    assert_eq!(space.remap(page(0), 4 * PAGE_SIZE, 4 * PAGE_SIZE, flags, page(30)), Ok(page(30)));
    assert_eq!(map_of(&space, DATA), ["0-10 rw-", "30-34 rw-"]);
    assert_eq!([load(&space, page(3)), load(&space, page(4)), load(&space, page(33))], [Ok(0), Ok(4), Ok(3)]);
}

#[test]
fn mremap_refuses_what_linux_refuses() {
    let space = ten_pages();
    let size = PAGE_SIZE;
    let cases = [
        (page(0) + 1, size, size, MOVE, 0, Errno::EINVAL),
        (page(0), size, 0, MOVE, 0, Errno::EINVAL),
        (page(0), size, usize::MAX, MOVE, 0, Errno::EINVAL),
        (page(0), size, size, RemapFlags::FIXED, page(20), Errno::EINVAL),
        (page(0), size, 2 * size, MOVE | RemapFlags::DONTUNMAP, page(20), Errno::EINVAL),
        (page(0), size, size, FIXED, page(20) + 1, Errno::EINVAL),
        (page(0), size, size, FIXED, Hardware::USER_END, Errno::EINVAL),
        (page(0), 2 * size, 2 * size, FIXED, page(1), Errno::EINVAL),
        (page(0), 0, size, MOVE, 0, Errno::EINVAL),
        (page(0), size, size, FIXED, 0, Errno::EPERM),
        (page(20), size, size, MOVE, 0, Errno::EFAULT),
        (page(5), 6 * size, 7 * size, MOVE, 0, Errno::EFAULT),
        (Hardware::USER_END, size, 2 * size, MOVE, 0, Errno::EFAULT),
        (page(0), size, 1 << 45, MOVE, 0, Errno::ENOMEM),
    ];
    for (old, old_length, new_length, flags, new, errno) in cases {
        let result = space.remap(old, old_length, new_length, flags, new);
        assert_eq!(result, Err(errno), "{old:#x} {old_length:#x} {new_length:#x} {flags:?} {new:#x}");
    }
    assert_eq!(map_of(&space, DATA), ["0-10 rw-"]);
}

#[test]
fn a_move_without_memory_for_it_changes_nothing() {
    let space = ten_pages();
    let before = (held(), map_of(&space, DATA));
    assert_eq!(space.remap(page(0), 10 * PAGE_SIZE, 10 * PAGE_SIZE, FIXED, page(40)), Ok(page(40)));
    assert_eq!(space.remap(page(40), 10 * PAGE_SIZE, 10 * PAGE_SIZE, FIXED, page(0)), Ok(page(0)));
    assert_eq!((held(), map_of(&space, DATA)), before);
    (0..10).for_each(|index| assert_eq!(load(&space, page(index)), Ok(index as u8)));
}

#[test]
fn the_heap_grows_shrinks_and_stops_before_its_neighbour() {
    let space = space();
    let mut layout = space.layout();
    layout.heap = DATA + 100..DATA + 100;
    space.set_layout(layout);
    assert_eq!(space.set_break(0), DATA + 100);
    assert_eq!(space.set_break(DATA + 50), DATA + 100, "not below where it began");
    assert_eq!(space.set_break(DATA + 200), DATA + 200);
    assert_eq!(space.set_break(page(3) + 1), page(3) + 1);
    assert_eq!(map_of(&space, DATA), ["1-4 rw-"], "from the first whole page");
    store(&space, page(3), 7).unwrap();
    assert_eq!(space.set_break(page(2)), page(2));
    assert_eq!(load(&space, page(3)), Err(Errno::EFAULT));
    assert_eq!(space.set_break(page(4)), page(4));
    assert_eq!(load(&space, page(3)), Ok(0), "what comes back is fresh");
    space.map(at(page(10), anonymous(1, READ_WRITE))).unwrap();
    assert_eq!(space.set_break(page(10)), page(4), "one page stays free");
    assert_eq!(space.set_break(page(9)), page(9));
    space.set_limits(Limits { data: 5 * PAGE_SIZE as u64, ..Limits::default() });
    assert_eq!(space.set_break(page(9) + 1), page(9), "RLIMIT_DATA");
    assert_eq!(space.set_break(page(5)), page(5));
    assert_eq!(space.set_break(usize::MAX), page(5));
}

#[test]
fn limits_are_kept() {
    let space = ten_pages();
    space.set_limits(Limits { address_space: 12 * PAGE_SIZE as u64, ..Limits::default() });
    assert_eq!(space.map(anonymous(3, Permissions::empty())), Err(Errno::ENOMEM), "RLIMIT_AS");
    assert_eq!(space.map(at(DATA, anonymous(12, READ_WRITE))), Ok(DATA), "what is replaced does not count");
    space.set_limits(Limits { data: 12 * PAGE_SIZE as u64, ..Limits::default() });
    assert_eq!(space.map(anonymous(1, READ_WRITE)), Err(Errno::ENOMEM), "RLIMIT_DATA");
    let read_only = space.map(anonymous(1, Permissions::READ)).unwrap();
    assert_eq!(space.protect(read_only..read_only + PAGE_SIZE, READ_WRITE, false), Err(Errno::ENOMEM));
}

#[test]
fn there_are_at_most_max_map_count_regions() {
    let space = space();
    let one = |index: usize| at(page(2 * index), anonymous(1, Permissions::READ));
    for index in 0..=MOST_REGIONS {
        space.map(one(index)).unwrap();
    }
    assert_eq!(space.map(one(MOST_REGIONS + 1)), Err(Errno::ENOMEM));
    space.unmap(page(0), 3 * PAGE_SIZE).unwrap();
    space.map(at(page(0), anonymous(3, Permissions::READ))).unwrap();
    assert_eq!(space.unmap(page(1), PAGE_SIZE), Err(Errno::ENOMEM), "a split too many");
    space.unmap(page(4), PAGE_SIZE).unwrap();
    assert_eq!(space.unmap(page(1), PAGE_SIZE), Ok(()), "one split");
    space.map(one(MOST_REGIONS + 1)).unwrap();
    assert_eq!(space.map(one(MOST_REGIONS + 2)), Err(Errno::ENOMEM));
}

#[test]
fn advice_is_followed_over_holes_and_then_enomem() {
    let space = ten_pages();
    space.unmap(page(4), PAGE_SIZE).unwrap();
    assert_eq!(space.advise(page(2), 5 * PAGE_SIZE, 4), Err(Errno::ENOMEM));
    let values = [1, 2, 3, 5, 6, 7].map(|index| load(&space, page(index)).unwrap());
    assert_eq!(values, [1, 0, 0, 0, 0, 7]);
    assert_eq!(space.advise(page(0), 0, 4), Ok(None));
    assert_eq!(space.advise(page(0) + 1, 0, 4), Err(Errno::EINVAL));
    assert_eq!(space.advise(page(0), usize::MAX, 4), Err(Errno::EINVAL));
    assert_eq!(space.advise(page(0), PAGE_SIZE, 77), Err(Errno::EINVAL));
    assert_eq!(space.advise(page(0), PAGE_SIZE, 23), Ok(Some(page(0)..page(1))), "MADV_POPULATE_WRITE");
    assert_eq!(space.advise_populate(page(3)..page(5), 22), Err(Errno::ENOMEM));
    protect(&space, 7..8, Permissions::READ).unwrap();
    assert_eq!(space.advise_populate(page(7)..page(8), 23), Err(Errno::EINVAL));
    assert_eq!(space.advise_populate(page(5)..page(8), 22), Ok(()));
}

#[test]
fn locks_are_counted_and_kept_within_their_limit() {
    let space = ten_pages();
    space.set_limits(Limits { locked: 4 * PAGE_SIZE as u64, ..Limits::default() });
    assert_eq!(space.lock(page(1) + 5, 3 * PAGE_SIZE, false), Ok(page(1)..page(5)));
    assert_eq!(space.statistics().locked, 4);
    assert_eq!(space.lock(page(2), PAGE_SIZE, false), Ok(page(2)..page(3)), "locked pages count once");
    assert_eq!(space.lock(page(6), PAGE_SIZE, false), Err(Errno::ENOMEM));
    assert_eq!(space.advise(page(2), PAGE_SIZE, 4), Err(Errno::EINVAL), "locked pages are not forgotten");
    assert_eq!(space.synchronize(page(2), PAGE_SIZE, true), Err(Errno::EBUSY));
    assert_eq!(
        space.unlock(page(0), 20 * PAGE_SIZE),
        Err(Errno::ENOMEM),
        "after what is mapped was unlocked"
    );
    assert_eq!((space.statistics().locked, map_of(&space, DATA).len()), (0, 1));
    assert_eq!(space.lock_all(true, false, false), Err(Errno::ENOMEM));
    assert_eq!(space.lock_all(false, true, false), Ok(()));
    let new = space.map(anonymous(1, READ_WRITE)).unwrap();
    assert!(space.wants_pages(new) && !space.wants_pages(page(0)));
    space.unlock_all();
    assert!(!space.wants_pages(new));
    space.set_limits(Limits { locked: 0, ..Limits::default() });
    assert_eq!(space.lock(page(0), PAGE_SIZE, false), Err(Errno::EPERM));
}

#[test]
fn what_is_in_memory_can_be_asked() {
    let space = space();
    let contents = TestFile::new(&[1; PAGE_SIZE]);
    space.map(at(page(0), anonymous(2, READ_WRITE))).unwrap();
    space.map(at(page(2), file(&contents, 0, 2, READ_WRITE, RegionFlags::empty()))).unwrap();
    store(&space, page(1), 1).unwrap();
    let mut answers = [9; 4];
    assert_eq!(space.residency(page(0), &mut answers), Ok(()));
    assert_eq!(answers, [0, 1, 1, 0]);
    assert_eq!(space.residency(page(1), &mut answers), Err(Errno::ENOMEM));
    assert_eq!(space.synchronize(page(0), 4 * PAGE_SIZE, false), Ok(()));
    assert_eq!(space.synchronize(page(0), 5 * PAGE_SIZE, false), Err(Errno::ENOMEM));
    assert_eq!(space.synchronize(page(0) + 1, 1, false), Err(Errno::EINVAL));
}

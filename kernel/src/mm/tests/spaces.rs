//! Whole spaces: fork, namespaces, special mappings, and that all of it is given back.

use super::support::*;
use crate::{
    abi::Errno,
    arch::{Access, PAGE_SIZE, Permissions},
    mm::{
        AddressSpace, Fault, RegionFlags, mapping_calls::RemapFlags, source::SharedMemory, special::Special,
    },
};
use alloc::sync::Arc;

const DATA: usize = 0x5000_0000;

#[test]
fn a_space_gives_everything_back() {
    let (source, contents) = (TestSpecial::outside(), TestFile::new(&[1; 5 * PAGE_SIZE]));
    let before = held();
    let space = space_with(source.clone());
    space.map(at(DATA, anonymous(100, READ_WRITE))).unwrap();
    space.map(at(DATA + 0x10_0000, file(&contents, 0, 5, READ_WRITE, RegionFlags::empty()))).unwrap();
    space.map(at(DATA + 0x20_0000, file(&contents, 0, 5, READ_WRITE, RegionFlags::SHARED))).unwrap();
    space.map_special(Special::Vvar, DATA + 0x30_0000, 4).unwrap();
    for page in (0..100).chain(0x100..0x105).chain(0x200..0x205) {
        store(&space, DATA + page * PAGE_SIZE, 9).unwrap();
    }
    load(&space, DATA + 0x30_0000).unwrap();
    let child = space.fork(source.inside()).unwrap();
    store(&child, DATA, 10).unwrap();
    load(&child, DATA + 0x30_0000).unwrap();
    assert!(held() > before + 105);
    drop(space);
    assert_eq!(load(&child, DATA + PAGE_SIZE), Ok(9));
    drop(child);
    assert_eq!(held(), before);
}

#[test]
fn a_page_that_two_hold_counts_half_for_each() {
    let parent = space();
    parent.map(at(DATA, anonymous(3, READ_WRITE))).unwrap();
    for page in 0..2 {
        store(&parent, DATA + page * PAGE_SIZE, 1).unwrap();
    }
    assert_eq!(parent.proportional_size(), 2 * PAGE_SIZE);
    let child = parent.fork(TestSpecial::outside()).unwrap();
    assert_eq!((parent.proportional_size(), child.proportional_size()), (PAGE_SIZE, PAGE_SIZE));
    store(&child, DATA, 2).unwrap();
    store(&child, DATA + 2 * PAGE_SIZE, 2).unwrap();
    assert_eq!(parent.proportional_size(), PAGE_SIZE + PAGE_SIZE / 2);
    assert_eq!(child.proportional_size(), 2 * PAGE_SIZE + PAGE_SIZE / 2);
    drop(child);
    assert_eq!(parent.proportional_size(), 2 * PAGE_SIZE);
}

#[test]
fn after_a_fork_neither_sees_what_the_other_writes() {
    let parent = space();
    parent.map(at(DATA, anonymous(2, READ_WRITE))).unwrap();
    store(&parent, DATA, 1).unwrap();
    let (special, before) = (TestSpecial::outside(), held());
    let child = parent.fork(special).unwrap();
    store(&child, DATA, 2).unwrap();
    store(&child, DATA + PAGE_SIZE, 3).unwrap();
    assert_eq!([load(&parent, DATA), load(&parent, DATA + PAGE_SIZE)], [Ok(1), Ok(0)]);
    store(&parent, DATA, 4).unwrap();
    assert_eq!([load(&child, DATA), load(&child, DATA + PAGE_SIZE)], [Ok(2), Ok(3)]);
    drop(child);
    // The parent's page was shared when the child copied it; left alone with it, it writes in place.
    store(&parent, DATA, 5).unwrap();
    assert_eq!(held(), before - 5, "less the five pages of the child's special source");
}

#[test]
fn a_write_copies_a_page_only_while_it_is_shared() {
    let parent = space();
    parent.map(at(DATA, anonymous(1, READ_WRITE))).unwrap();
    store(&parent, DATA, 1).unwrap();
    let special = TestSpecial::outside();
    let before = held();
    let child = parent.fork(special).unwrap();
    let table = held() - before;
    store(&parent, DATA, 2).unwrap();
    assert_eq!(held() - before, table + 1, "the parent got a copy");
    store(&child, DATA, 3).unwrap();
    assert_eq!(held() - before, table + 1, "the child was left with the original");
}

#[test]
fn shared_memory_is_shared_with_children_and_inherited_advice_is_followed() {
    let parent = space();
    let source = Arc::new(SharedMemory::new(2));
    let shared = crate::mm::MapRequest {
        flags: RegionFlags::SHARED,
        backing: crate::mm::Backing::Source { source, first: 0 },
        ..anonymous(2, READ_WRITE)
    };
    parent.map(at(DATA, shared)).unwrap();
    parent.map(at(DATA + 0x10_0000, anonymous(3, READ_WRITE))).unwrap();
    for page in [DATA + 0x10_0000, DATA + 0x10_1000, DATA + 0x10_2000] {
        store(&parent, page, 7).unwrap();
    }
    parent.advise(DATA + 0x10_0000, PAGE_SIZE, 10).unwrap();
    parent.advise(DATA + 0x10_1000, PAGE_SIZE, 18).unwrap();
    let child = parent.fork(TestSpecial::outside()).unwrap();
    store(&child, DATA, 1).unwrap();
    store(&parent, DATA + PAGE_SIZE, 2).unwrap();
    assert_eq!(load(&parent, DATA), Ok(1));
    assert_eq!(load(&child, DATA + PAGE_SIZE), Ok(2));
    assert_eq!(load(&child, DATA + 0x10_0000), Err(Errno::EFAULT), "MADV_DONTFORK");
    assert_eq!(load(&child, DATA + 0x10_1000), Ok(0), "MADV_WIPEONFORK");
    assert_eq!(load(&child, DATA + 0x10_2000), Ok(7));
    parent.advise(DATA + 0x10_0000, PAGE_SIZE, 11).unwrap();
    let second = parent.fork(TestSpecial::outside()).unwrap();
    assert_eq!(load(&second, DATA + 0x10_0000), Ok(7), "MADV_DOFORK");
    assert_eq!(parent.shared_key(DATA + 8).unwrap(), child.shared_key(DATA + 8).unwrap());
    assert_ne!(parent.shared_key(DATA + 0x10_2000).unwrap(), child.shared_key(DATA + 0x10_2000).unwrap());
}

#[test]
fn a_fork_that_runs_out_of_memory_leaves_nothing_behind() {
    let special = TestSpecial::outside();
    let parent = space_with(special.clone());
    parent.map(at(DATA, anonymous(40, READ_WRITE))).unwrap();
    for page in 0..40 {
        store(&parent, DATA + page * PAGE_SIZE, page as u8).unwrap();
    }
    let before = held();
    assert_eq!(with_frames_left(0, || parent.fork(special.clone())).map(|_| ()), Err(Errno::ENOMEM));
    assert_eq!(held(), before);
    for page in 0..40 {
        store(&parent, DATA + page * PAGE_SIZE, page as u8 + 1).unwrap();
    }
    assert_eq!(held(), before, "its pages are its own again");
}

fn with_special(special: Arc<TestSpecial>) -> Arc<AddressSpace> {
    let space = space_with(special);
    space.map_special(Special::Vvar, DATA, 4).unwrap();
    space.map_special(Special::VvarVclock, DATA + 4 * PAGE_SIZE, 2).unwrap();
    space.map_special(Special::Vdso, DATA + 6 * PAGE_SIZE, 2).unwrap();
    space
}

#[test]
fn vvar_shows_the_namespace_and_its_companion() {
    let special = TestSpecial::outside();
    let space = with_special(special.clone());
    let byte = |page: usize| load(&space, DATA + page * PAGE_SIZE);
    assert_eq!(byte(0), Ok(SYSTEM));
    assert_eq!(space.fault(DATA + PAGE_SIZE, Access::Read), Err(Fault::NoPage), "no companion outside");
    assert_eq!(byte(2), Ok(RANDOM));
    assert_eq!(byte(6), Ok(IMAGE));
    for page in [3, 4, 5] {
        assert_eq!(space.fault(DATA + page * PAGE_SIZE, Access::Read), Err(Fault::NoPage), "page {page}");
    }

    space.enter_namespace(special.inside());
    let before = space.statistics().resident;
    assert_eq!(byte(0), Ok(NAMESPACE));
    assert_eq!(space.statistics().resident, before + 2, "the companion comes in the same fault");
    assert_eq!([byte(1), byte(2), byte(6)], [Ok(SYSTEM), Ok(RANDOM), Ok(IMAGE)]);

    space.enter_namespace(special);
    assert_eq!(byte(0), Ok(SYSTEM));
    assert_eq!(byte(1), Err(Errno::EFAULT));
}

#[test]
fn entering_a_namespace_takes_away_the_pages_of_vvar_and_no_others_wherever_it_is() {
    let special = TestSpecial::outside();
    let space = with_special(special.clone());
    let elsewhere = DATA + 0x100_0000;
    for page in [0, 2, 6, 7] {
        load(&space, DATA + page * PAGE_SIZE).unwrap();
    }
    let both = RemapFlags::MAYMOVE | RemapFlags::FIXED;
    assert_eq!(space.remap(DATA, 4 * PAGE_SIZE, 4 * PAGE_SIZE, both, elsewhere), Ok(elsewhere));
    assert_eq!(space.find_special(Special::Vvar), Some(elsewhere..elsewhere + 4 * PAGE_SIZE));
    let before = space.statistics().resident;
    space.enter_namespace(special.inside());
    assert_eq!(space.statistics().resident, before - 2);
    assert_eq!(load(&space, elsewhere), Ok(NAMESPACE));
    assert_eq!(load(&space, DATA), Err(Errno::EFAULT));
}

#[test]
fn a_child_sees_its_own_namespace_and_the_parent_what_it_saw() {
    let special = TestSpecial::outside();
    let parent = with_special(special.clone());
    load(&parent, DATA).unwrap();
    let child = parent.fork(special.inside()).unwrap();
    assert_eq!([load(&parent, DATA), load(&child, DATA)], [Ok(SYSTEM), Ok(NAMESPACE)]);
    let faults = child.statistics().resident;
    let grandchild = child.fork(special).unwrap();
    assert_eq!(grandchild.statistics().resident, faults - 2, "another source: vvar is looked up anew");
}

#[test]
fn special_mappings_keep_linux_rules() {
    let one = PAGE_SIZE;
    let (vvar, vdso) = (DATA, DATA + 6 * PAGE_SIZE);
    let fixed = RemapFlags::MAYMOVE | RemapFlags::FIXED;
    let space = with_special(TestSpecial::outside());
    for (start, pages) in [(vvar, 4), (vdso, 2)] {
        let half = pages / 2 * one;
        assert_eq!(space.unmap(start, half), Err(Errno::EINVAL), "munmap of a part");
        assert_eq!(space.unmap(start + half, half), Err(Errno::EINVAL));
        assert_eq!(
            space.protect(start..start + half, Permissions::READ, false),
            Err(Errno::EINVAL),
            "mprotect of a part"
        );
        assert_eq!(
            space.remap(start, half, half, fixed, DATA + 0x100_0000),
            Err(Errno::EINVAL),
            "mremap of a part"
        );
        assert_eq!(
            space.map(at(start + half, anonymous(1, READ_WRITE))),
            Err(Errno::EINVAL),
            "MAP_FIXED on a part"
        );
        assert_eq!(
            space.remap(start, pages * one, (pages + 1) * one, RemapFlags::MAYMOVE, 0),
            Err(Errno::EFAULT)
        );
        assert_eq!(space.remap(start, pages * one, half, RemapFlags::MAYMOVE, 0), Err(Errno::EINVAL));
        assert_eq!(space.advise(start, pages * one, 10), Ok(None), "MADV_DONTFORK");
    }
    let all = 4 * one;
    assert_eq!(space.protect(vvar..vvar + all, READ_WRITE, false), Err(Errno::EACCES));
    assert_eq!(
        space.protect(vvar..vvar + all, Permissions::READ | Permissions::EXECUTE, false),
        Err(Errno::EACCES)
    );
    assert_eq!(space.protect(vvar..vvar + all, Permissions::empty(), false), Ok(()));
    assert_eq!(load(&space, vvar), Err(Errno::EFAULT));
    assert_eq!(space.protect(vvar..vvar + all, Permissions::READ, false), Ok(()));
    assert_eq!(load(&space, vvar), Ok(SYSTEM));
    assert_eq!(store(&space, vvar, 1), Err(Errno::EFAULT));
    for refused in [4, 11, 17] {
        assert_eq!(space.advise(vvar, all, refused), Err(Errno::EINVAL), "DONTNEED, DOFORK, DODUMP");
    }
    assert_eq!(space.lock(vvar, all, false), Ok(vvar..vvar + all));
    assert_eq!(space.synchronize(vvar, all, false), Ok(()));
    assert_eq!(space.unmap(vvar, all), Ok(()));
    assert_eq!(space.find_special(Special::Vvar), None);
    assert_eq!(space.unmap(vdso, 2 * one), Ok(()));
}

#[test]
fn a_program_that_writes_into_its_vdso_gets_one_of_its_own() {
    let special = TestSpecial::outside();
    let (space, other) = (with_special(special.clone()), with_special(special));
    let vdso = DATA + 6 * PAGE_SIZE;
    load(&space, vdso).unwrap();
    space.protect(vdso..vdso + 2 * PAGE_SIZE, READ_WRITE, false).unwrap();
    store(&space, vdso, 1).unwrap();
    store(&space, vdso + PAGE_SIZE, 2).unwrap();
    space.protect(vdso..vdso + 2 * PAGE_SIZE, Permissions::READ | Permissions::EXECUTE, false).unwrap();
    assert_eq!([load(&space, vdso), load(&space, vdso + PAGE_SIZE)], [Ok(1), Ok(2)]);
    assert_eq!([load(&other, vdso), load(&other, vdso + PAGE_SIZE)], [Ok(IMAGE), Ok(0)]);
}

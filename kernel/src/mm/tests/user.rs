//! The kernel's access to programs' memory: right at every boundary, and EFAULT for everything a program cannot have.

use super::support::*;
use crate::{
    abi::{Errno, Timespec, UserPointer},
    arch::{Hardware, Machine, PAGE_SIZE, Permissions},
    mm::user::FutexKey,
};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

const DATA: usize = 0x5000_0000;

/// Three pages, then nothing.
fn three_pages() -> alloc::sync::Arc<crate::mm::AddressSpace> {
    let space = space();
    space.map(at(DATA, anonymous(3, READ_WRITE))).unwrap();
    space
}

#[test]
fn bytes_arrive_across_pages() {
    let space = three_pages();
    let bytes: Vec<u8> = (0..9000).map(|index| (index % 251) as u8).collect();
    space.write_bytes(DATA + 1000, &bytes).unwrap();
    let mut back = alloc::vec![0; 9000];
    space.read_bytes(DATA + 1000, &mut back).unwrap();
    assert_eq!(back, bytes);
    space.clear(DATA + 2000, 5000).unwrap();
    space.read_bytes(DATA + 1000, &mut back).unwrap();
    assert!(back[..1000] == bytes[..1000] && back[6000..] == bytes[6000..]);
    assert!(back[1000..6000].iter().all(|byte| *byte == 0));
}

#[test]
fn bad_addresses_are_efault() {
    let space = three_pages();
    space.map(at(DATA + 0x10_0000, anonymous(1, Permissions::READ))).unwrap();
    space.write_bytes(DATA + 3 * PAGE_SIZE - 3, b"end").unwrap();
    let kernel = 0xffff_8000_0000_0000;
    for address in
        [0, 1, DATA - 1, DATA + 3 * PAGE_SIZE - 3, 0x8000_0000_0000, kernel, usize::MAX - 2, usize::MAX]
    {
        assert_eq!(space.read_string(address, 100), Err(Errno::EFAULT), "{address:#x}");
        assert_eq!(space.read(UserPointer::<u32>::new(address)), Err(Errno::EFAULT), "{address:#x}");
        assert_eq!(space.write(UserPointer::new(address), &1u32), Err(Errno::EFAULT), "{address:#x}");
        assert_eq!(space.clear(address, 8), Err(Errno::EFAULT), "{address:#x}");
        assert!(
            space.with_atomic_u32(address & !3, true, |_| ()).is_err() || address >= DATA,
            "{address:#x}"
        );
    }
    assert_eq!(space.write(UserPointer::new(DATA + 0x10_0000), &1u8), Err(Errno::EFAULT), "read-only");
    assert_eq!(space.read(UserPointer::<u8>::new(DATA + 0x10_0000)), Ok(0));
    assert_eq!(space.read_bytes(Hardware::USER_END, &mut []), Ok(()));
    assert_eq!(space.read_bytes(Hardware::USER_END + 1, &mut []), Err(Errno::EFAULT));
}

#[test]
fn values_and_arrays_arrive() {
    let space = three_pages();
    let time = Timespec { seconds: -3, nanoseconds: 999_999_999 };
    // Across a page boundary, unaligned.
    let pointer = UserPointer::new(DATA + PAGE_SIZE - 5);
    space.write(pointer, &time).unwrap();
    assert_eq!(space.read(pointer), Ok(time));
    let array = UserPointer::new(DATA + 2 * PAGE_SIZE - 6);
    space.write_array(array, &[1u32, 2, 3]).unwrap();
    assert_eq!(space.read_array(array, 3).unwrap(), [1, 2, 3]);
    assert_eq!(space.read_array(UserPointer::<u64>::new(DATA), usize::MAX / 4), Err(Errno::ENOMEM));
}

#[test]
fn strings_end_at_their_nul_and_may_end_where_memory_does() {
    let space = three_pages();
    let end = DATA + 3 * PAGE_SIZE;
    space.write_bytes(end - 6, b"ready\0").unwrap();
    assert_eq!(space.read_string(end - 6, 4096).unwrap(), b"ready");
    assert_eq!(space.read_string(end - 6, 6).unwrap(), b"ready");
    assert_eq!(space.read_string(end - 6, 5), Err(Errno::ENAMETOOLONG));
    assert_eq!(space.read_prefix(end - 6, 5).unwrap(), b"ready");
    space.write_bytes(end - 6, b"ready!").unwrap();
    assert_eq!(space.read_string(end - 6, 4096), Err(Errno::EFAULT));
    assert_eq!(space.read_prefix(end - 6, 6).unwrap(), b"ready!");
    let long: Vec<u8> = core::iter::repeat_n(b'x', 5000).chain([0]).collect();
    space.write_bytes(DATA + 100, &long).unwrap();
    assert_eq!(space.read_string(DATA + 100, 8192).unwrap().len(), 5000);
    assert_eq!(space.read_string(DATA + 100, 4096), Err(Errno::ENAMETOOLONG));
}

#[test]
fn a_futex_word_is_the_programs_own() {
    let space = three_pages();
    assert_eq!(space.with_atomic_u32(DATA + 2, true, |_| ()), Err(Errno::EINVAL));
    assert_eq!(space.with_atomic_u32(DATA + 8, false, |word| word.load(Ordering::Relaxed)), Ok(0));
    space.with_atomic_u32(DATA + 8, true, |word| word.store(77, Ordering::Relaxed)).unwrap();
    assert_eq!(space.read(UserPointer::<u32>::new(DATA + 8)), Ok(77));
    let child = space.fork(TestSpecial::outside()).unwrap();
    child.with_atomic_u32(DATA + 8, true, |word| word.store(78, Ordering::Relaxed)).unwrap();
    assert_eq!(space.read(UserPointer::<u32>::new(DATA + 8)), Ok(77), "the child's store was its own");
    assert_eq!(space.shared_key(DATA + 8), Ok(FutexKey::Private(space.id(), DATA + 8)));
    assert_eq!(space.shared_key(0), Err(Errno::EFAULT));
    assert_ne!(space.private_key(DATA), child.private_key(DATA));
}

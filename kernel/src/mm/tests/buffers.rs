//! The buffers of reads and writes: in pieces of every size, over the end of what is there, and past Linux' limits.

use super::support::*;
use crate::{
    abi::{Errno, UserPointer},
    arch::PAGE_SIZE,
    mm::{
        AddressSpace, PageRef,
        buffers::{Destination, IoVector, MOST_PER_CALL, Source},
    },
};
use alloc::{sync::Arc, vec::Vec};
use proptest::prelude::*;

const DATA: usize = 0x5000_0000;
const VECTORS: usize = 0x6000_0000;

fn with_vectors(vectors: &[(usize, usize)]) -> Arc<AddressSpace> {
    let space = space();
    space.map(at(DATA, anonymous(4, READ_WRITE))).unwrap();
    space.map(at(VECTORS, anonymous(8, READ_WRITE))).unwrap();
    let vectors: Vec<_> = vectors.iter().map(|&(base, length)| IoVector { base, length }).collect();
    space.write_array(UserPointer::new(VECTORS), &vectors).unwrap();
    space
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_put_into_several_buffers_can_be_taken_from_them(
        lengths in prop::collection::vec(0usize..6000, 1..6),
        pieces in prop::collection::vec((0usize..5000, 0u8..3), 1..12),
    ) {
        // Buffers side by side, so that their contents are one string.
        let mut base = DATA;
        let vectors: Vec<_> = lengths.iter().map(|&length| {
            let vector = (base, length);
            base += length;
            vector
        }).take_while(|(base, length)| base + length <= DATA + 4 * PAGE_SIZE).collect();
        let room: usize = vectors.iter().map(|(_, length)| length).sum();
        let space = with_vectors(&vectors);
        let page = PageRef::zeroed().unwrap();
        let mut expected = Vec::new();
        let mut into = Destination::vectors(&space, UserPointer::new(VECTORS), vectors.len()).unwrap();
        prop_assert_eq!(into.remaining(), room);
        for (index, &(length, how)) in pieces.iter().enumerate() {
            let length = if how == 1 { length.min(PAGE_SIZE) } else { length };
            let bytes: Vec<u8> = (0..length).map(|at| (index * 31 + at) as u8).collect();
            let fits = length.min(into.remaining());
            let put = match how {
                0 => into.put(&bytes),
                1 => { page.write(0, &bytes); into.put_page(&page, 0, length) }
                _ => into.put_zeros(length),
            };
            prop_assert_eq!(put, Ok(fits));
            let bytes = if how == 2 { alloc::vec![0; length] } else { bytes };
            expected.extend_from_slice(&bytes[..fits]);
        }
        prop_assert_eq!(into.remaining(), room - expected.len());
        let mut from = Source::vectors(&space, UserPointer::new(VECTORS), vectors.len()).unwrap();
        let mut back = Vec::new();
        for &(length, how) in &pieces {
            let wanted = length.min(expected.len() - back.len());
            let mut bytes = alloc::vec![0; wanted];
            let taken = match how {
                0 => from.take(&mut bytes).unwrap(),
                1 => {
                    let taken = from.take_page(&page, 0, wanted.min(PAGE_SIZE)).unwrap();
                    page.read(0, &mut bytes[..taken]);
                    taken
                }
                _ => { let skipped = from.skip(wanted); bytes.copy_from_slice(&expected[back.len()..][..skipped]); skipped }
            };
            back.extend_from_slice(&bytes[..taken]);
        }
        prop_assert_eq!(&back[..], &expected[..back.len()]);
        prop_assert_eq!(from.remaining(), room - back.len());
    }
}

#[test]
fn what_was_moved_before_a_bad_page_counts() {
    let space = with_vectors(&[(DATA + 4 * PAGE_SIZE - 10, 5), (DATA + 4 * PAGE_SIZE - 5, 100)]);
    let mut into = Destination::vectors(&space, UserPointer::new(VECTORS), 2).unwrap();
    assert_eq!(into.put(&[7; 50]), Ok(10));
    assert_eq!(into.put(&[7; 50]), Err(Errno::EFAULT));
    assert_eq!(into.remaining(), 95);
    let mut from = Source::user(&space, DATA + 4 * PAGE_SIZE - 3, 100).unwrap();
    let mut bytes = [0; 50];
    assert_eq!(from.take(&mut bytes), Ok(3));
    assert_eq!(bytes[..4], [7, 7, 7, 0]);
    assert_eq!(from.take(&mut bytes), Err(Errno::EFAULT));
}

#[test]
fn vectors_are_checked_as_linux_does() {
    let space = with_vectors(&[(DATA, usize::MAX), (0xffff_8000_0000_0000, 1), (DATA, isize::MAX as usize)]);
    let vectors = |index: usize, count| {
        Source::vectors(&space, UserPointer::<IoVector>::new(VECTORS).element(index), count)
    };
    let error = |index, count| vectors(index, count).err();
    assert_eq!(error(0, 1), Some(Errno::EINVAL), "a negative length");
    assert_eq!(error(1, 1), Some(Errno::EFAULT), "a kernel address");
    assert_eq!(error(2, 1), Some(Errno::EFAULT), "a length past the end of memory");
    assert_eq!(error(0, 1025), Some(Errno::EINVAL), "IOV_MAX");
    assert_eq!(Source::vectors(&space, UserPointer::new(8), 1).err(), Some(Errno::EFAULT));
    assert_eq!(vectors(0, 0).unwrap().remaining(), 0);
    let huge = with_vectors(&[(DATA, 0x7000_0000), (DATA, 0x7000_0000), (DATA, 5)]);
    let huge = Source::vectors(&huge, UserPointer::new(VECTORS), 3).unwrap();
    assert_eq!(huge.remaining(), MOST_PER_CALL);
    assert_eq!(Destination::user(&space, DATA, 1 << 40).unwrap().remaining(), MOST_PER_CALL);
    assert_eq!(Destination::user(&space, DATA, 1 << 48).err(), Some(Errno::EFAULT));
    assert_eq!(Destination::user(&space, usize::MAX, 0).err(), Some(Errno::EFAULT));
}

#[test]
fn the_kernels_own_buffers_work_alike() {
    let mut buffer = [9; 10];
    let page = PageRef::zeroed().unwrap();
    page.write(4, b"page");
    let mut into = Destination::kernel(&mut buffer);
    assert_eq!([into.put(b"abc"), into.put_page(&page, 4, 4), into.put_zeros(9)], [Ok(3), Ok(4), Ok(3)]);
    assert_eq!(into.remaining(), 0);
    assert_eq!(&buffer, b"abcpage\0\0\0");
    let mut from = Source::kernel(&buffer);
    let mut bytes = [0; 2];
    assert_eq!((from.take(&mut bytes), from.skip(1), from.take_page(&page, 0, 100)), (Ok(2), 1, Ok(7)));
    assert_eq!((&bytes, from.remaining()), (b"ab", 0));
    let mut read = [0; 4];
    page.read(0, &mut read);
    assert_eq!(&read, b"page");
}

//! The one place where the kernel touches a program's memory.
//!
//! A user address is never dereferenced. The page table says which frame is behind it, and the bytes are copied through
//! the kernel's own view of that frame; where the table says nothing, the touch is answered as the program's own would
//! be (see [`super::faults`]), and what that refuses is EFAULT. So a bad pointer is an ordinary error and not an
//! exception to be recovered from, and it is so on every machine.
//!
//! The space is locked for the length of a copy. That makes "there" mean "there until the last byte": another thread
//! cannot unmap a page between the look and the copy.
//!
//! What takes or fills buffers of a program piece by piece uses [`super::buffers`].

use super::{
    PageRef,
    address_space::{AddressSpace, Space},
    regions::Backing,
    source::Identity,
};
use crate::{
    abi::{Errno, Result, UserPointer},
    arch::{Access, Hardware, Machine, PAGE_SIZE, Permissions},
    sync::Guard,
};
use alloc::vec::Vec;
use core::{
    ffi::CStr,
    mem::MaybeUninit,
    ops::{Deref, DerefMut, Range},
    ptr::NonNull,
    sync::atomic::AtomicU32,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub use super::buffers::{Destination, IoVector, Source};

/// What a futex word is known by: the same for all who wait and wake on it, futex(2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FutexKey {
    /// In memory of one address space: which, and where.
    Private(u64, usize),
    /// In pages that several may map: whose, and which byte.
    Shared(Identity, u64),
}

/// Checks that a range lies where programs' memory can be. Errors: EFAULT.
pub(super) fn check_range(address: usize, length: usize) -> Result<()> {
    match address.checked_add(length) {
        Some(end) if end <= Hardware::USER_END => Ok(()),
        _ => Err(Errno::EFAULT.because("a pointer argument reaches beyond what programs can address")),
    }
}

impl Space {
    /// Hands the page at an address to `act`, once the program could access it so.
    pub(super) fn with_page<R>(
        &mut self,
        address: usize,
        access: Access,
        act: impl FnOnce(&PageRef) -> R,
    ) -> Result<R> {
        let page = address & !(PAGE_SIZE - 1);
        if let Some(content) = self.mappings.find(page, access) {
            return Ok(act(&content));
        }
        self.fault(address, access).map_err(|fault| fault.errno())?;
        let content = self.mappings.get_for(page, access).ok_or(Errno::EFAULT)?;
        Ok(act(&content))
    }

    /// Where bytes that lie in one page are. Errors: EFAULT; ENOMEM.
    #[inline(always)]
    fn locate(&mut self, address: usize, length: usize, access: Access) -> Result<NonNull<[u8]>> {
        let offset = address % PAGE_SIZE;
        if self.mappings.at_hand(address - offset, access).is_none() {
            self.bring_to_hand(address, length, access)?;
        }
        let page = self.mappings.at_hand(address - offset, access).ok_or(Errno::EFAULT)?;
        Ok(page.bytes(offset, length))
    }

    /// Sees to it that the page in which some bytes lie is at hand. Errors: EFAULT; ENOMEM.
    #[cold]
    fn bring_to_hand(&mut self, address: usize, length: usize, access: Access) -> Result<()> {
        check_range(address, length)?;
        self.with_page(address, access, |_| ())?;
        let _noted = self.mappings.find(address & !(PAGE_SIZE - 1), access);
        Ok(())
    }
}

/// Bytes of a program that the kernel may see, and change, as long as it has this.
pub struct Lent<'a> {
    place: NonNull<[u8]>,
    keeper: Keeper<'a>,
}

/// What keeps lent bytes where they are.
enum Keeper<'a> {
    /// They lie in their page.
    Page { _locked: Guard<'a, Space> },
    /// They lie in a copy.
    Copy { _owned: Vec<u64> },
}

impl Deref for Lent<'_> {
    type Target = [u8];
    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: in a copy of our own; or in a page which the lock keeps where it is. It keeps everybody out of it, too, who
        // goes by the space, and whoever would go by another waits for this CPU, as all programs do.
        unsafe { self.place.as_ref() }
    }
}

impl DerefMut for Lent<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { self.place.as_mut() }
    }
}

impl AddressSpace {
    /// Walks a range page by page; `act` is given the page, the offset in it, and which bytes of the range these are.
    /// Stops at the first page that cannot be had.
    ///
    /// Returns how many bytes were walked. Errors: EFAULT or ENOMEM when not even one.
    pub(super) fn walk(
        &self,
        address: usize,
        length: usize,
        access: Access,
        mut act: impl FnMut(&PageRef, usize, Range<usize>),
    ) -> Result<usize> {
        // Nearly always it is part of one page: then there is nothing to check.
        if self.at_hand(address, length, access, |page, offset| act(page, offset, 0..length)).is_some() {
            return Ok(length);
        }
        check_range(address, length)?;
        let mut space = self.space.lock();
        let mut done = 0;
        while done < length {
            let in_page = (address + done) % PAGE_SIZE;
            let piece = done..length.min(done + PAGE_SIZE - in_page);
            let end = piece.end;
            match space.with_page(address + done, access, |page| act(page, in_page, piece)) {
                Ok(()) => done = end,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Like `walk`, for those who need all or nothing (though on an error some bytes may have been moved).
    fn walk_all(
        &self,
        address: usize,
        length: usize,
        access: Access,
        act: impl FnMut(&PageRef, usize, Range<usize>),
    ) -> Result<()> {
        let done = self.walk(address, length, access, act)?;
        if done == length {
            Ok(())
        } else {
            Err(Errno::EFAULT.because("a buffer ends in memory that is not there"))
        }
    }

    /// Copies bytes from the program. Errors: EFAULT; what `into` then holds is not specified.
    pub fn read_bytes(&self, address: usize, into: &mut [u8]) -> Result<()> {
        self.walk_all(address, into.len(), Access::Read, |page, offset, bytes| {
            page.read(offset, &mut into[bytes])
        })
    }

    /// Copies bytes to the program. Errors: EFAULT; some of them may have been written then.
    pub fn write_bytes(&self, address: usize, from: &[u8]) -> Result<()> {
        self.walk_all(address, from.len(), Access::Write, |page, offset, bytes| {
            page.write(offset, &from[bytes])
        })
    }

    /// Writes zeros. Errors: EFAULT.
    pub fn clear(&self, address: usize, length: usize) -> Result<()> {
        self.walk_all(address, length, Access::Write, |page, offset, bytes| {
            page.fill(offset..offset + bytes.len(), 0)
        })
    }

    /// Hands `act` the page in which some bytes lie, and where in it, if they lie in one that was looked up lately: then
    /// nothing needs to be walked, or checked.
    #[inline(always)]
    pub(super) fn at_hand<R>(
        &self,
        address: usize,
        length: usize,
        access: Access,
        act: impl FnOnce(&PageRef, usize) -> R,
    ) -> Option<R> {
        let offset = address % PAGE_SIZE;
        if length > PAGE_SIZE - offset {
            return None;
        }
        // Where somebody else has it, the longer way waits for it.
        let space = self.space.try_lock()?;
        let page = space.mappings.at_hand(address - offset, access)?;
        Some(act(&page, offset))
    }

    /// Reads a value. Errors: EFAULT.
    #[inline]
    pub fn read<T: FromBytes>(&self, pointer: UserPointer<T>) -> Result<T> {
        let (address, length) = (pointer.address(), size_of::<T>());
        match self.at_hand(address, length, Access::Read, |page, offset| page.value(offset)) {
            Some(value) => Ok(value),
            None => self.read_anywhere(address),
        }
    }

    #[cold]
    fn read_anywhere<T: FromBytes>(&self, address: usize) -> Result<T> {
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: as many bytes as the value has, all of them initialised with zeros, and borrowed nowhere else.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
        self.read_bytes(address, bytes)?;
        // SAFETY: any bytes at all are a `T`.
        Ok(unsafe { value.assume_init() })
    }

    /// Writes a value. Errors: EFAULT.
    #[inline]
    pub fn write<T: IntoBytes + Immutable + Copy>(&self, pointer: UserPointer<T>, value: &T) -> Result<()> {
        match self.write_at_hand(pointer, value) {
            Some(()) => Ok(()),
            None => self.write_anywhere(pointer, *value),
        }
    }

    /// Writes a value if that takes no looking for the place.
    #[inline(always)]
    pub fn write_at_hand<T: IntoBytes + Immutable>(&self, pointer: UserPointer<T>, value: &T) -> Option<()> {
        let bytes = value.as_bytes();
        self.at_hand(pointer.address(), bytes.len(), Access::Write, |page, offset| page.write(offset, bytes))
    }

    // Takes the value itself: one that has to lie in memory only here can stay in registers until then.
    #[cold]
    fn write_anywhere<T: IntoBytes + Immutable>(&self, pointer: UserPointer<T>, value: T) -> Result<()> {
        self.write_bytes(pointer.address(), value.as_bytes())
    }

    /// Lends some bytes of the program's: where they lie, if that is in one page, and else a copy. Those that were lent to
    /// be written are to be given back. Errors: EFAULT; ENOMEM when the kernel cannot hold a copy.
    #[inline(always)]
    pub fn lend(&self, address: usize, length: usize, access: Access) -> Result<Lent<'_>> {
        if length > PAGE_SIZE - address % PAGE_SIZE {
            return self.lend_copy(address, length, access);
        }
        let mut space = self.space.lock();
        let place = space.locate(address, length, access)?;
        Ok(Lent { place, keeper: Keeper::Page { _locked: space } })
    }

    #[cold]
    fn lend_copy(&self, address: usize, length: usize, access: Access) -> Result<Lent<'_>> {
        let mut copy = self.copy_of(address, length, access)?;
        let place = NonNull::from_mut(&mut copy.as_mut_bytes()[..length]);
        Ok(Lent { place, keeper: Keeper::Copy { _owned: copy } })
    }

    /// Takes back what was lent to be written at this address. Errors: EFAULT.
    #[inline(always)]
    pub fn take_back(&self, address: usize, lent: Lent<'_>) -> Result<()> {
        match lent.keeper {
            Keeper::Page { .. } => Ok(()),
            Keeper::Copy { .. } => self.write_bytes(address, &lent),
        }
    }

    /// A copy of some bytes, if they are to be read, or room for them, in which what lies first is aligned as any number is.
    /// Errors: EFAULT; ENOMEM.
    fn copy_of(&self, address: usize, length: usize, access: Access) -> Result<Vec<u64>> {
        let words = length.div_ceil(size_of::<u64>());
        let mut copy = Vec::new();
        copy.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
        copy.resize(words, 0);
        if access == Access::Read {
            self.read_bytes(address, &mut copy.as_mut_bytes()[..length])?;
        }
        Ok(copy)
    }

    /// Reads an array. Errors: EFAULT; ENOMEM when the kernel cannot hold so much.
    pub fn read_array<T: FromBytes>(&self, pointer: UserPointer<T>, count: usize) -> Result<Vec<T>> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        for index in 0..count {
            values.push(self.read(pointer.element(index))?);
        }
        Ok(values)
    }

    /// Writes an array. Errors: EFAULT.
    pub fn write_array<T: IntoBytes + Immutable>(&self, pointer: UserPointer<T>, values: &[T]) -> Result<()> {
        self.write_bytes(pointer.address(), values.as_bytes())
    }

    /// Reads a string up to its NUL, which is not returned; `max` counts it.
    ///
    /// Errors: EFAULT; ENAMETOOLONG without a NUL in the first `max` bytes; ENOMEM.
    pub fn read_string(&self, address: usize, max: usize) -> Result<Vec<u8>> {
        let string = self.read_prefix(address, max)?;
        if string.len() == max {
            return Err(Errno::ENAMETOOLONG.because("a string argument is longer than its kind may be"));
        }
        Ok(string)
    }

    /// Reads a string up to its NUL or to `max` bytes. Errors: EFAULT when neither is reached; ENOMEM.
    pub fn read_prefix(&self, address: usize, max: usize) -> Result<Vec<u8>> {
        let mut string = Vec::new();
        // Nearly every string is a short one, and what is not asked for need not be read.
        let mut buffer = [0; 64];
        while string.len() < max {
            let from = address.wrapping_add(string.len());
            // Never beyond the page: the next one may not be there, and need not be if the string ends before it.
            let piece = buffer.len().min(max - string.len()).min(PAGE_SIZE - from % PAGE_SIZE);
            self.read_bytes(from, &mut buffer[..piece])?;
            let ending = CStr::from_bytes_until_nul(&buffer[..piece]);
            let found = ending.as_ref().map_or(&buffer[..piece], |ending| ending.to_bytes());
            string.try_reserve(found.len()).map_err(|_| Errno::ENOMEM)?;
            string.extend_from_slice(found);
            if ending.is_ok() {
                break;
            }
        }
        Ok(string)
    }

    /// Lends a word of the program's memory as the atomic it is to the program, for as long as `act` takes, during which
    /// the space is locked. `for_write` breaks copy-on-write first, as a store by the program would.
    ///
    /// Errors: EINVAL when the address is not a multiple of 4; EFAULT.
    pub fn with_atomic_u32<R>(
        &self,
        address: usize,
        for_write: bool,
        act: impl FnOnce(&AtomicU32) -> R,
    ) -> Result<R> {
        if !address.is_multiple_of(align_of::<AtomicU32>()) {
            return Err(Errno::EINVAL.because("a futex word is aligned to four bytes"));
        }
        check_range(address, size_of::<AtomicU32>())?;
        let access = if for_write { Access::Write } else { Access::Read };
        self.space.lock().with_page(address, access, |page| {
            // SAFETY: aligned, in bounds of a frame that is held meanwhile; programs and kernel alike access such words
            // whole, and the kernel never makes a reference to a frame's bytes other than this one.
            let word =
                unsafe { AtomicU32::from_ptr(page.pointer().add(address % PAGE_SIZE).cast().as_ptr()) };
            act(word)
        })
    }

    /// What the word at an address is known by to those who do not share this space. For memory that is the program's
    /// alone that is the same as its private key.
    ///
    /// Errors: EFAULT when nothing is mapped there.
    pub fn shared_key(&self, address: usize) -> Result<FutexKey> {
        let space = self.space.lock();
        let (start, region) = space.regions.find(address).ok_or(Errno::EFAULT)?;
        match &region.backing {
            Backing::Source { source, first } if region.is_shared() => {
                let offset = first * PAGE_SIZE as u64 + (address - start) as u64;
                Ok(FutexKey::Shared(source.identity(), offset))
            }
            // Nobody can ever change it, so there is nothing to wait for.
            Backing::Anonymous if !region.permissions.contains(Permissions::WRITE) => {
                Err(Errno::EFAULT
                    .because("a futex in memory of one's own that is only read can never change"))
            }
            _ => Ok(self.private_key(address)),
        }
    }

    /// What the word at an address is known by to those who share this space.
    pub fn private_key(&self, address: usize) -> FutexKey {
        FutexKey::Private(self.id(), address)
    }
}

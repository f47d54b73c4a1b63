//! Where the bytes of a read go and where those of a write come from: the buffers a program names, or the kernel's own.
//!
//! A [`Destination`] is filled from the front, a [`Source`] is used up from the front, piece by piece, as the object
//! read or written finds convenient; both remember how far they are, also from one attempt of a call to the next. A
//! piece may move fewer bytes than it was asked to when the program's buffer ends in memory that is not there: what was
//! moved counts, and the error comes when a piece can move nothing at all.
//!
//! Moving bytes may need a page of a file (a program can read a file into a mapping of the same file). So whoever calls
//! these holds no lock of the kind that [`super::PageSource::page`] takes: look the page up first, let go, then copy.

use super::{AddressSpace, PageRef, user};
use crate::{
    abi::{Errno, Result, UserPointer, linux},
    arch::Access,
};
use alloc::vec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most bytes one call moves; more is cut down to it: read(2).
pub const MOST_PER_CALL: usize = 0x7fff_f000;

/// `struct iovec`: readv(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IoVector {
    /// Where the buffer starts.
    pub base: usize,
    /// Its bytes; a program's mistake can make it anything.
    pub length: usize,
}

/// Buffers in a program's memory, with a place in them.
struct Cursor<'a> {
    space: &'a AddressSpace,
    current: IoVector,
    rest: Option<vec::IntoIter<IoVector>>,
    /// Bytes left in all of them.
    remaining: usize,
}

impl<'a> Cursor<'a> {
    fn one(space: &'a AddressSpace, base: usize, length: usize) -> Result<Self> {
        user::check_range(base, length)?;
        let length = length.min(MOST_PER_CALL);
        let current = IoVector { base, length };
        Ok(Self { space, current, rest: None, remaining: length })
    }

    /// In Linux' order: the count, then the array itself, then each length, then each range; and the total is cut down.
    fn many(space: &'a AddressSpace, vectors: UserPointer<IoVector>, count: usize) -> Result<Self> {
        if count > linux::UIO_MAXIOV as usize {
            return Err(Errno::EINVAL.because("a call takes at most IOV_MAX buffers"));
        }
        let mut vectors = space.read_array(vectors, count)?;
        let mut remaining = 0;
        for vector in &mut vectors {
            if vector.length > isize::MAX as usize {
                return Err(Errno::EINVAL.because("a buffer's length is not negative"));
            }
            user::check_range(vector.base, vector.length)?;
            vector.length = vector.length.min(MOST_PER_CALL - remaining);
            remaining += vector.length;
        }
        let current = IoVector { base: 0, length: 0 };
        Ok(Self { space, current, rest: Some(vectors.into_iter()), remaining })
    }

    fn next_buffer(&mut self) -> Option<IoVector> {
        self.rest.as_mut()?.next()
    }

    /// Moves up to `length` bytes by `act`, which is told the page, the offset in it, and which of these bytes they are.
    fn advance(
        &mut self,
        length: usize,
        access: Access,
        mut act: impl FnMut(&PageRef, usize, core::ops::Range<usize>),
    ) -> Result<usize> {
        let length = length.min(self.remaining);
        // Nearly always it is part of one buffer, and of one page.
        if length <= self.current.length
            && let Some(()) =
                self.space.at_hand(self.current.base, length, access, |page, at| act(page, at, 0..length))
        {
            self.current.base += length;
            self.current.length -= length;
            self.remaining -= length;
            return Ok(length);
        }
        let mut done = 0;
        while done < length {
            if self.current.length == 0 {
                // There is one: bytes remain.
                self.current = self.next_buffer().ok_or(Errno::EFAULT)?;
                continue;
            }
            let piece = self.current.length.min(length - done);
            let moved = self.space.walk(self.current.base, piece, access, |page, offset, bytes| {
                act(page, offset, bytes.start + done..bytes.end + done);
            });
            match moved {
                Ok(moved) => {
                    self.current.base += moved;
                    self.current.length -= moved;
                    self.remaining -= moved;
                    done += moved;
                    if moved < piece {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

/// Where the bytes of a read go.
pub struct Destination<'a>(DestinationPlace<'a>);

enum DestinationPlace<'a> {
    Kernel(&'a mut [u8]),
    User(Cursor<'a>),
}

impl<'a> Destination<'a> {
    /// The kernel's own buffer.
    pub fn kernel(buffer: &'a mut [u8]) -> Self {
        Self(DestinationPlace::Kernel(buffer))
    }

    /// One buffer of a program. Errors: EFAULT when it cannot be one.
    pub fn user(space: &'a AddressSpace, address: usize, length: usize) -> Result<Self> {
        Ok(Self(DestinationPlace::User(Cursor::one(space, address, length)?)))
    }

    /// Several buffers of a program. Errors, as readv(2): EINVAL, EFAULT, ENOMEM.
    pub fn vectors(space: &'a AddressSpace, vectors: UserPointer<IoVector>, count: usize) -> Result<Self> {
        Ok(Self(DestinationPlace::User(Cursor::many(space, vectors, count)?)))
    }

    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        match &self.0 {
            DestinationPlace::Kernel(buffer) => buffer.len(),
            DestinationPlace::User(cursor) => cursor.remaining,
        }
    }

    /// Appends bytes, as many as fit and can be written; returns how many. Errors: EFAULT, ENOMEM, when not even one.
    pub fn put(&mut self, from: &[u8]) -> Result<usize> {
        match &mut self.0 {
            DestinationPlace::Kernel(buffer) => {
                let length = from.len().min(buffer.len());
                fill_front(buffer, length, |front| front.copy_from_slice(&from[..length]));
                Ok(length)
            }
            DestinationPlace::User(cursor) => {
                cursor.advance(from.len(), Access::Write, |page, offset, bytes| {
                    page.write(offset, &from[bytes])
                })
            }
        }
    }

    /// Appends bytes of a page.
    pub fn put_page(&mut self, page: &PageRef, start: usize, length: usize) -> Result<usize> {
        match &mut self.0 {
            DestinationPlace::Kernel(buffer) => {
                let length = length.min(buffer.len());
                fill_front(buffer, length, |front| page.read(start, front));
                Ok(length)
            }
            DestinationPlace::User(cursor) => cursor.advance(length, Access::Write, |to, offset, bytes| {
                page.copy_bytes(start + bytes.start, to, offset, bytes.len());
            }),
        }
    }

    /// Appends zeros.
    pub fn put_zeros(&mut self, length: usize) -> Result<usize> {
        match &mut self.0 {
            DestinationPlace::Kernel(buffer) => {
                let length = length.min(buffer.len());
                fill_front(buffer, length, |front| front.fill(0));
                Ok(length)
            }
            DestinationPlace::User(cursor) => cursor.advance(length, Access::Write, |page, offset, bytes| {
                page.fill(offset..offset + bytes.len(), 0);
            }),
        }
    }
}

/// Fills the first bytes of what is left of a buffer, and leaves the rest of it.
fn fill_front(buffer: &mut &mut [u8], length: usize, fill: impl FnOnce(&mut [u8])) {
    let (front, rest) = core::mem::take(buffer).split_at_mut(length);
    fill(front);
    *buffer = rest;
}

/// Where the bytes of a write come from.
pub struct Source<'a>(SourcePlace<'a>);

enum SourcePlace<'a> {
    Kernel(&'a [u8]),
    User(Cursor<'a>),
}

impl<'a> Source<'a> {
    /// The kernel's own buffer.
    pub fn kernel(buffer: &'a [u8]) -> Self {
        Self(SourcePlace::Kernel(buffer))
    }

    /// One buffer of a program. Errors: EFAULT when it cannot be one.
    pub fn user(space: &'a AddressSpace, address: usize, length: usize) -> Result<Self> {
        Ok(Self(SourcePlace::User(Cursor::one(space, address, length)?)))
    }

    /// Several buffers of a program. Errors, as writev(2): EINVAL, EFAULT, ENOMEM.
    pub fn vectors(space: &'a AddressSpace, vectors: UserPointer<IoVector>, count: usize) -> Result<Self> {
        Ok(Self(SourcePlace::User(Cursor::many(space, vectors, count)?)))
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        match &self.0 {
            SourcePlace::Kernel(buffer) => buffer.len(),
            SourcePlace::User(cursor) => cursor.remaining,
        }
    }

    /// Takes the next bytes, as many as are left and can be read; returns how many. Errors: EFAULT, ENOMEM, when not
    /// even one.
    pub fn take(&mut self, into: &mut [u8]) -> Result<usize> {
        match &mut self.0 {
            SourcePlace::Kernel(buffer) => {
                let (front, rest) = buffer.split_at(into.len().min(buffer.len()));
                into[..front.len()].copy_from_slice(front);
                *buffer = rest;
                Ok(front.len())
            }
            SourcePlace::User(cursor) => cursor
                .advance(into.len(), Access::Read, |page, offset, bytes| page.read(offset, &mut into[bytes])),
        }
    }

    /// Takes the next bytes into a page.
    pub fn take_page(&mut self, page: &PageRef, start: usize, length: usize) -> Result<usize> {
        match &mut self.0 {
            SourcePlace::Kernel(buffer) => {
                let (front, rest) = buffer.split_at(length.min(buffer.len()));
                page.write(start, front);
                *buffer = rest;
                Ok(front.len())
            }
            SourcePlace::User(cursor) => cursor.advance(length, Access::Read, |from, offset, bytes| {
                from.copy_bytes(offset, page, start + bytes.start, bytes.len());
            }),
        }
    }

    /// Passes over the next bytes without looking at them: what /dev/null does. Returns how many there were.
    pub fn skip(&mut self, length: usize) -> usize {
        match &mut self.0 {
            SourcePlace::Kernel(buffer) => {
                let length = length.min(buffer.len());
                *buffer = &buffer[length..];
                length
            }
            SourcePlace::User(cursor) => {
                let length = length.min(cursor.remaining);
                let mut left = length;
                while left > 0 {
                    let piece = left.min(cursor.current.length);
                    cursor.current.base += piece;
                    cursor.current.length -= piece;
                    left -= piece;
                    if left > 0 {
                        let Some(next) = cursor.next_buffer() else { break };
                        cursor.current = next;
                    }
                }
                cursor.remaining -= length;
                length
            }
        }
    }
}

//! A pointer that a program handed to the kernel: a number with a type, never dereferenced here.

use core::{fmt, marker::PhantomData};

/// An address in some program's memory, where it says a `T` (or an array of them) lies. Only `mm/user.rs` follows it.
pub struct UserPointer<T> {
    address: usize,
    target: PhantomData<fn() -> T>,
}

impl<T> UserPointer<T> {
    /// The pointer with this address; any number will do, following it is what is checked.
    pub const fn new(address: usize) -> Self {
        Self { address, target: PhantomData }
    }

    /// Where it points.
    pub const fn address(self) -> usize {
        self.address
    }

    /// Whether it is NULL.
    pub const fn is_null(self) -> bool {
        self.address == 0
    }

    /// `None` for NULL, for the many arguments that may be left out.
    pub fn optional(self) -> Option<Self> {
        (!self.is_null()).then_some(self)
    }

    /// The same address, said to hold another type.
    pub const fn cast<U>(self) -> UserPointer<U> {
        UserPointer::new(self.address)
    }

    /// The element `index` places further on; wraps, as following it will be refused then.
    pub const fn element(self, index: usize) -> Self {
        Self::new(self.address.wrapping_add(index.wrapping_mul(size_of::<T>())))
    }

    /// The address `bytes` further on, with the same type.
    pub const fn byte_offset(self, bytes: usize) -> Self {
        Self::new(self.address.wrapping_add(bytes))
    }
}

impl<T> Clone for UserPointer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPointer<T> {}

impl<T> fmt::Debug for UserPointer<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.address)
    }
}

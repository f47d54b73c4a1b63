//! How a register becomes a typed argument: the only place where a program's numbers are cut to size.

use crate::{
    abi::{ClockId, UserPointer},
    fs::fd_table::Descriptor,
};

/// A type that a system call's argument may have. Registers are 64 bits wide and programs leave garbage in the upper half
/// of a 32-bit argument, so those are cut, as Linux does; checking the value is the handler's part.
pub trait Argument {
    /// What the register says.
    fn from_register(value: usize) -> Self;
}

macro_rules! cut_to_size {
    ($($type:ty)*) => {
        $(impl Argument for $type {
            fn from_register(value: usize) -> Self {
                value as Self
            }
        })*
    };
}

cut_to_size!(usize isize u64 i64 u32 i32);

impl<T> Argument for UserPointer<T> {
    fn from_register(value: usize) -> Self {
        Self::new(value)
    }
}

impl Argument for ClockId {
    fn from_register(value: usize) -> Self {
        Self(value as i32)
    }
}

impl Argument for Descriptor {
    fn from_register(value: usize) -> Self {
        Self(value as i32)
    }
}

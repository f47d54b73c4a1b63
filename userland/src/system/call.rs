//! One raw system call: `call!(number, arguments…)`, the kernel's answer as a `Result`.
//!
//! The C library is not asked, for three reasons: it keeps some calls to itself (clone3, legacy clone with odd
//! signals), it turns time calls into vDSO calls, and it may make calls of its own around the one wanted, which
//! would spoil a count of system calls.
//!
//! [`raw`] is a safe function although a system call can unmap the memory it stands on. These programs exist to
//! hand the kernel every kind of argument, bad pointers above all; an `unsafe` block around each of some hundred calls
//! would say nothing and hide the few places where memory of our own really changes hands. Callers that map, unmap
//! or write through the kernel say at that place why it is sound.

use super::errno::Errno;
use std::arch::asm;
use std::ffi::CStr;

/// Anything that fits the register of a system call argument. Signed numbers are sign-extended, as C would.
pub trait Argument {
    /// The value as the register holds it.
    fn register(self) -> usize;
}

macro_rules! integer_arguments {
    ($($integer:ty),*) => {$(
        impl Argument for $integer {
            fn register(self) -> usize {
                self as usize
            }
        }
    )*};
}
integer_arguments!(i32, u32, i64, u64, isize, usize, u8);

impl<T> Argument for *const T {
    fn register(self) -> usize {
        self as usize
    }
}

impl<T> Argument for *mut T {
    fn register(self) -> usize {
        self as usize
    }
}

impl<T> Argument for &T
where
    T: Sized,
{
    fn register(self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

impl<T> Argument for &mut T {
    fn register(self) -> usize {
        std::ptr::from_mut(self) as usize
    }
}

impl Argument for &CStr {
    fn register(self) -> usize {
        self.as_ptr() as usize
    }
}

/// Makes system call `number` with six registers and returns what the kernel left in RAX, undecoded.
#[inline(always)]
pub fn raw(number: i64, arguments: [usize; 6]) -> i64 {
    let answer: i64;
    // SAFETY: the register convention of the x86-64 system call ABI: RCX and R11 are lost, memory may change, the
    // stack is untouched (no red zone is promised away: the kernel does not write below RSP on a call). What the
    // call does to the process is the caller's business, see the head of this file.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    answer
}

/// Splits the kernel's answer: -4095 to -1 are error numbers, everything else is the result.
pub fn decode(answer: i64) -> Result<usize, Errno> {
    if (-4095..0).contains(&answer) { Err(Errno(-answer as i32)) } else { Ok(answer as usize) }
}

/// The six registers for the arguments given, zeros for the rest.
pub fn registers<const COUNT: usize>(arguments: [usize; COUNT]) -> [usize; 6] {
    let mut registers = [0; 6];
    registers[..COUNT].copy_from_slice(&arguments);
    registers
}

/// `call!(libc::SYS_close, descriptor)`: one system call with up to six arguments; the rest are zero.
#[macro_export]
macro_rules! call {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        $crate::system::call::decode($crate::system::call::raw(
            $number,
            $crate::system::call::registers([$($crate::system::call::Argument::register($argument)),*]),
        ))
    };
}

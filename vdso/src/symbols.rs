//! The exported functions, their weak aliases, and the note that says which Linux this is.
//!
//! C libraries look for the long names, `__vdso_clock_gettime`. The short ones, `clock_gettime`, are for a program that
//! is linked against the image itself, as against any library; they are weak, so that a C library's own win.

use crate::calls::{self, Timespec, Timeval, Timezone};
use crate::processor::Processor;
use crate::random::{self, State};
use core::arch::global_asm;

/// clock_gettime(2)
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_clock_gettime(clock: i32, time: *mut Timespec) -> i32 {
    // SAFETY: the program answers for its pointer.
    unsafe { calls::clock_gettime(&Processor, clock, time) }
}

/// gettimeofday(2)
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_gettimeofday(time: *mut Timeval, zone: *mut Timezone) -> i32 {
    // SAFETY: the program answers for its pointers.
    unsafe { calls::gettimeofday(&Processor, time, zone) }
}

/// time(2)
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_time(time: *mut i64) -> i64 {
    // SAFETY: the program answers for its pointer.
    unsafe { calls::time(&Processor, time) }
}

/// clock_getres(2)
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_clock_getres(clock: i32, resolution: *mut Timespec) -> i32 {
    // SAFETY: the program answers for its pointer.
    unsafe { calls::clock_getres(&Processor, clock, resolution) }
}

/// getcpu(2). The third argument of the system call, a cache, has had no meaning since Linux 2.6.24.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_getcpu(cpu: *mut u32, node: *mut u32, _cache: *mut u8) -> i32 {
    // SAFETY: the program answers for its pointers.
    unsafe { calls::getcpu(&Processor, cpu, node) }
}

/// getrandom(2), with the program's own state.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdso_getrandom(
    buffer: *mut u8,
    length: usize,
    flags: u32,
    state: *mut State,
    state_length: usize,
) -> isize {
    // SAFETY: the program answers for its pointers.
    unsafe { random::getrandom(&Processor, buffer, length, flags, state, state_length) }
}

/// The aliases. `.set` makes another name for the same symbol: address, size and kind.
macro_rules! alias {
    ($($alias:literal = $function:literal),* $(,)?) => {
        $(global_asm!(
            concat!(".weak ", $alias),
            concat!(".set ", $alias, ", ", $function),
        );)*
    };
}
alias! {
    "clock_gettime" = "__vdso_clock_gettime",
    "gettimeofday" = "__vdso_gettimeofday",
    "time" = "__vdso_time",
    "clock_getres" = "__vdso_clock_getres",
    "getcpu" = "__vdso_getcpu",
    "getrandom" = "__vdso_getrandom",
}

// The version's own name, as an absolute symbol of value 0. Linkers differ: GNU's makes one by itself, LLVM's does not;
// Linux's image, linked by the former, has always shown it.
global_asm!(".globl LINUX_2.6", ".type LINUX_2.6, @object", ".set LINUX_2.6, 0",);

/// An ELF note: sizes of owner and description, kind, owner, description, each padded to four bytes.
#[repr(C)]
struct VersionNote {
    owner_size: u32,
    description_size: u32,
    kind: u32,
    owner: [u8; 8],
    version: u32,
}

/// Owner "Linux", kind 0: the version of the kernel whose interface this is, as `KERNEL_VERSION(6, 18, 0)`. Dynamic
/// linkers of C libraries built for newer kernels only refuse to run on the strength of it.
#[used]
#[unsafe(link_section = ".note.linux")]
static VERSION: VersionNote = VersionNote {
    owner_size: 6,
    description_size: 4,
    kind: 0,
    owner: *b"Linux\0\0\0",
    version: 6 << 16 | 18 << 8,
};

//! The kernel's half of the address space, and how physical addresses are reached from it.
//!
//! | from | what |
//! |---|---|
//! | `0` | user mode, up to [`USER_END`] |
//! | `0xffff_8000_0000_0000` | the direct map: all RAM, at its physical address plus [`DIRECT_MAP`] |
//! | `0xffff_ffff_8000_0000` | the kernel's image, at its physical address plus [`KERNEL_OFFSET`] |
//! | `0xffff_ffff_c000_0000` | device registers, in order of first use ([`super::kernel_space::map_device`]) |
//!
//! The direct map is what makes "the kernel never dereferences a user address" possible: a page of a program is found
//! through its page table and then touched here. (The alternative, mapping what is needed when it is needed, is for
//! machines whose RAM does not fit in half of their addresses.)

use crate::arch::{Frame, PAGE_SIZE};
use core::{ops::Range, ptr::NonNull};

/// One past the last address of user mode: the lower half without its last page, as on Linux. The page is left out for
/// SYSRET's sake: a `syscall` instruction at the very end of the half would return to an address that is not canonical,
/// and Intel's processors take that fault in the kernel, with the program's stack pointer.
pub const USER_END: usize = 0x7fff_ffff_f000;

/// Where all RAM can be reached.
pub const DIRECT_MAP: usize = 0xffff_8000_0000_0000;

/// What is added to a physical address in the kernel's image.
pub const KERNEL_OFFSET: usize = 0xffff_ffff_8000_0000;

/// Where device registers are mapped: the last GiB.
pub const DEVICES: usize = 0xffff_ffff_c000_0000;

/// The frames that hold `bytes` of physical memory.
pub const fn frames_of(bytes: Range<u64>) -> Range<u32> {
    let page = PAGE_SIZE as u64;
    (bytes.start / page) as u32..bytes.end.div_ceil(page) as u32
}

/// Where a physical address of RAM is in the direct map.
pub fn direct(physical: u64) -> NonNull<u8> {
    let address =
        core::num::NonZero::new(DIRECT_MAP | physical as usize).expect("the direct map is not at zero");
    NonNull::with_exposed_provenance(address)
}

/// Where a frame is in the direct map.
pub fn frame_pointer(frame: Frame) -> NonNull<u8> {
    direct(frame.0 as u64 * PAGE_SIZE as u64)
}

unsafe extern "C" {
    static __image_start: u8;
    static __text_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __symbols_start: u8;
    static __image_end: u8;
}

/// The parts of the image, as addresses in the kernel's half. kernel.lds draws the borders.
pub struct Image {
    /// Code and tables of the way here; not needed any more.
    pub boot: Range<usize>,
    /// Code.
    pub text: Range<usize>,
    /// Constants.
    pub rodata: Range<usize>,
    /// Variables and stacks.
    pub data: Range<usize>,
    /// Function names.
    pub symbols: Range<usize>,
}

/// Where the linker put the parts of the image.
pub fn image() -> Image {
    let [start, text, rodata, data, symbols, end] = [
        &raw const __image_start,
        &raw const __text_start,
        &raw const __rodata_start,
        &raw const __data_start,
        &raw const __symbols_start,
        &raw const __image_end,
    ]
    .map(|border| border.addr());
    Image {
        boot: start..text,
        text: text..rodata,
        rodata: rodata..data,
        data: data..symbols,
        symbols: symbols..end,
    }
}

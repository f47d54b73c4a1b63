//! The machine under the image: where the pages are, how the TSC is read, how the kernel is called.

use crate::atomics::Ordering::Relaxed;
use crate::calls::{Machine, PROCESSOR_SELECTOR, SystemCall};
use crate::page::{COMPANION_PAGE, MODE_TSC, PAGE_SIZE, RANDOM_PAGE, RandomData, TIME_PAGE, TimeData};
use core::arch::asm;
use core::ptr;

const _: () = assert!(TIME_PAGE == 0, "`vvar_page` is the first page");

/// The x86-64 processor that runs the image, in user mode.
pub struct Processor;

/// The first data page, which is the time page.
///
/// The image is mapped anywhere and nobody relocates it, so an address can only be told relative to the code. Said in
/// assembly, because for a foreign `static` the compiler asks a table of addresses, which would need relocating.
#[inline(always)]
fn first_page() -> *const TimeData {
    let first: *const TimeData;
    // SAFETY: computes an address, touches nothing. `vvar_page` is defined by the linker script.
    unsafe {
        asm!(
            ".hidden vvar_page",
            "lea {}, [rip + vvar_page]",
            out(reg) first,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
    first
}

impl Machine for Processor {
    #[inline(always)]
    fn time_page(&self) -> &TimeData {
        // SAFETY: the kernel maps the time page there, for as long as the image is mapped; it is all atomics.
        unsafe { &*first_page() }
    }

    #[inline(always)]
    unsafe fn on_companion_page<'a, T>(&'a self, part: &'a T) -> &'a T {
        let address = (&raw const *part).expose_provenance() + (COMPANION_PAGE - TIME_PAGE) * PAGE_SIZE;
        // SAFETY: page 0 is a namespace's, so the kernel has mapped the system's page there, of the same layout.
        // The pages are no allocation this language knows of; their addresses come from assembly, hence are exposed.
        unsafe { &*ptr::with_exposed_provenance(address) }
    }

    #[inline(always)]
    fn random_page(&self) -> &RandomData {
        let address = first_page().expose_provenance() + (RANDOM_PAGE - TIME_PAGE) * PAGE_SIZE;
        // SAFETY: the kernel maps the random page there; it is all atomics.
        unsafe { &*ptr::with_exposed_provenance(address) }
    }

    /// These are the bytes [`crate::counter::FENCED`], which the kernel replaces by [`crate::counter::BY_ITSELF`] where it can:
    /// hence a third register that is spoilt.
    #[inline(always)]
    fn cycles(&self, mode: i32) -> Option<u64> {
        if mode != MODE_TSC {
            return None;
        }
        let (low, high): (u64, u64);
        // SAFETY: reads a counter. Not `nomem`, so that accesses to the page stay on their side of it.
        unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, out("rcx") _, options(nostack)) };
        Some(high << 32 | low)
    }

    /// `rdpid` and `rdtscp` would give the same number; `lsl` is there on every processor.
    #[inline(always)]
    fn processor(&self) -> Option<u32> {
        if self.random_page().is_single_processor.load(Relaxed) != 0 {
            return Some(0);
        }
        let (limit, found): (u32, u8);
        // SAFETY: reads the limit of a segment, and the flag that says whether there is such a segment.
        unsafe {
            asm!(
                "lsl {limit:e}, {selector:e}",
                "setz {found}",
                limit = out(reg) limit,
                selector = in(reg) u32::from(PROCESSOR_SELECTOR),
                found = lateout(reg_byte) found,
                options(nomem, nostack)
            )
        };
        (found != 0).then_some(limit)
    }

    #[inline(always)]
    unsafe fn system_call(&self, number: SystemCall, arguments: [usize; 3]) -> i32 {
        let result: i64;
        // SAFETY: the caller answers for the arguments. The kernel keeps every register but these two.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number as i64 => result,
                in("rdi") arguments[0],
                in("rsi") arguments[1],
                in("rdx") arguments[2],
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack)
            )
        };
        result as i32
    }
}

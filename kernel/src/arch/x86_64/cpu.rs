//! What belongs to one processor: its area, found through GS.
//!
//! In the kernel, the GS segment's base points to the [`Cpu`] of the processor the code runs on; a program's own GS base
//! waits in a second register meanwhile, and SWAPGS at each border exchanges them. (The alternative, finding the area by
//! the APIC's number, costs a device access, and a system call has not even a free register to compute an address in.)

use super::entry::Frame;
use crate::arch::Registers;
use core::{cell::Cell, mem::offset_of};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{GsBase, KernelGsBase};

/// One processor's area. The first three fields are read and written by the assembly in entry.rs.
#[repr(C)]
pub struct Cpu {
    /// While a program runs: where the kernel's stack pointer was.
    pub kernel_stack: Cell<u64>,
    /// While a program runs, and afterwards: its frame.
    pub frame: Cell<*const Frame>,
    /// A place for one register during the few instructions in which there is no stack.
    pub scratch: Cell<u64>,
    /// Where this area is.
    this: &'static Cpu,
    /// Below `MAX_CPUS`.
    number: usize,
    /// Interrupts that were taken and not yet asked for: bits of [`crate::arch::Interrupts`].
    pub pending: Cell<u8>,
    /// When the alarm is due, in ticks of the cycle counter; `u64::MAX` for never.
    pub alarm: Cell<u64>,
    /// What the processor held when the exception came that ends the kernel.
    pub fatal_frame: Cell<Option<&'static super::exceptions::KernelFrame>>,
}

impl Cpu {
    /// The registers of the program that ran here last, for a panic's report.
    pub fn last_program(&self) -> Option<Registers> {
        // SAFETY: entry.rs put the pointer there, and `forget` takes it away before the frame goes.
        unsafe { self.frame.get().as_ref() }.map(|frame| *frame.clone().whole())
    }

    /// This frame goes away.
    pub fn forget(&self, frame: &Frame) {
        if core::ptr::eq(self.frame.get(), frame) {
            self.frame.set(core::ptr::null());
        }
    }
}

// SAFETY: each processor uses only its own.
unsafe impl Sync for Cpu {}

/// The boot CPU's. Others stay parked, as the firmware left them.
static BOOT_CPU: Cpu = Cpu {
    kernel_stack: Cell::new(0),
    frame: Cell::new(core::ptr::null()),
    scratch: Cell::new(0),
    this: &BOOT_CPU,
    number: 0,
    pending: Cell::new(0),
    alarm: Cell::new(u64::MAX),
    fatal_frame: Cell::new(None),
};

/// The first thing Rust does on a processor, and the first when it may have come from anywhere: from here on
/// [`current`] works.
pub fn install() {
    GsBase::write(VirtAddr::from_ptr(&BOOT_CPU));
}

/// No program has a GS base yet.
pub fn clear_user_base() {
    KernelGsBase::write(VirtAddr::zero());
}

/// This processor's area.
#[inline(always)]
pub fn current() -> &'static Cpu {
    let this: *const Cpu;
    // SAFETY: in the kernel GS points to this processor's area. pure and nomem: the answer never changes while a
    // function runs, so the compiler may ask once.
    unsafe {
        core::arch::asm!(
            "mov {}, gs:[{}]",
            out(reg) this,
            const offset_of!(Cpu, this),
            options(nostack, preserves_flags, pure, nomem)
        );
        &*this
    }
}

/// This processor's number.
#[inline(always)]
pub fn number() -> usize {
    current().number
}

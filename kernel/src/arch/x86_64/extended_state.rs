//! The x87, SSE and AVX registers of a program: where they are kept while another program has the processor.
//!
//! The kernel is built without floating point, so a program's values stay in the registers while the kernel works for it,
//! and memory is written only when another program gets the processor or somebody asks for them (a signal, a fork). On
//! the way back they are loaded at once. (Loading at the first use, by a trap, was long usual; it costs more now that
//! every program's `memcpy` uses these registers, and it once leaked them between programs.)
//!
//! The layout is that of XSAVE's standard form, which signal frames have too: 512 bytes of FXSAVE, a header of 64 bytes
//! that says which parts follow, and the parts at the places CPUID tells. Without XSAVE it is the 512 bytes alone.

use super::features;
use crate::abi::{Errno, Result};
use alloc::alloc::{alloc_zeroed, dealloc};
use core::{alloc::Layout, arch::asm, ptr::NonNull};
use x86_64::registers::xcontrol::XCr0Flags;

/// FXSAVE's part, which is first in any case.
const LEGACY_SIZE: usize = 512;
/// The header behind it.
const HEADER_SIZE: usize = 64;
/// In FXSAVE's part: the x87 control word.
const CONTROL_WORD: usize = 0;
/// In FXSAVE's part: MXCSR, and behind it the mask of its bits that exist.
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
/// XSAVE wants this alignment.
const ALIGNMENT: usize = 64;

/// Memory for one program's extended state.
pub struct ExtendedState(NonNull<u8>);

// SAFETY: it is plain memory, owned.
unsafe impl Send for ExtendedState {}

/// How many bytes there are.
pub fn size() -> usize {
    features::get().extended_state_size
}

fn layout() -> Layout {
    Layout::from_size_align(size(), ALIGNMENT).expect("CPUID tells a size that fits in memory")
}

impl ExtendedState {
    /// As the processor starts. Errors: ENOMEM.
    pub fn new() -> Result<Self> {
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout()) })
            .ok_or_else(|| Errno::ENOMEM.because("a thread's extended state lies in the kernel's heap"))?;
        let mut state = Self(memory);
        state.reset();
        Ok(state)
    }

    /// A copy. Errors: ENOMEM.
    pub fn duplicate(&self) -> Result<Self> {
        let mut copy = Self::new()?;
        copy.bytes_mut().copy_from_slice(self.bytes());
        Ok(copy)
    }

    /// What was stored last.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `new` allocated and filled that many bytes.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr(), size()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), size()) }
    }

    /// As the processor starts: all errors masked, all registers empty. A header of zeros says that every part is so.
    pub fn reset(&mut self) {
        let bytes = self.bytes_mut();
        bytes.fill(0);
        bytes[CONTROL_WORD..CONTROL_WORD + 2].copy_from_slice(&0x37f_u16.to_le_bytes());
        bytes[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80_u32.to_le_bytes());
    }

    /// Stores the processor's registers here; they stay valid there too.
    pub fn store(&mut self) {
        let memory = self.0.as_ptr();
        let parts = features::get().extended_state.bits();
        // SAFETY: the memory has the size and alignment that the instruction wants for these parts.
        unsafe {
            if parts == 0 {
                asm!("fxsave64 [{}]", in(reg) memory, options(nostack, preserves_flags));
            } else {
                let (low, high) = (parts as u32, (parts >> 32) as u32);
                asm!("xsave64 [{}]", in(reg) memory, in("eax") low, in("edx") high, options(nostack, preserves_flags));
            }
        }
    }

    /// Loads the processor's registers from here.
    pub fn load(&self) {
        let memory = self.0.as_ptr();
        let parts = features::get().extended_state.bits();
        // SAFETY: what is here was stored by the processor, or checked by `replace` for all that it refuses.
        unsafe {
            if parts == 0 {
                asm!("fxrstor64 [{}]", in(reg) memory, options(nostack, preserves_flags));
            } else {
                let (low, high) = (parts as u32, (parts >> 32) as u32);
                asm!("xrstor64 [{}]", in(reg) memory, in("eax") low, in("edx") high, options(nostack, preserves_flags));
            }
        }
    }

    /// Takes over bytes that a program may have made up: FXSAVE's 512, or the whole.
    ///
    /// Errors: EINVAL for any other length, and for what would make [`Self::load`] fault: bits of MXCSR that do not
    /// exist, parts that are not in use here, the compacted form, a header whose reserved bytes are not zero. Nothing has
    /// changed then.
    pub fn replace(&mut self, from: &[u8]) -> Result<()> {
        let parts = features::get().extended_state;
        if from.len() != LEGACY_SIZE && from.len() != size() {
            return Err(
                Errno::EINVAL.because("extended state has FXSAVE's 512 bytes or all that XSAVE writes")
            );
        }
        let word = |at: usize| u32::from_le_bytes([from[at], from[at + 1], from[at + 2], from[at + 3]]);
        if word(MXCSR) & !self.mxcsr_mask() != 0 {
            return Err(Errno::EINVAL.because("MXCSR may only have bits that the processor has"));
        }
        if from.len() > LEGACY_SIZE {
            let (present, rest) = from[LEGACY_SIZE..LEGACY_SIZE + HEADER_SIZE].split_at(8);
            let present = u64::from_le_bytes(present.try_into().expect("split at eight"));
            if present & !parts.bits() != 0 || rest.iter().any(|&byte| byte != 0) {
                return Err(
                    Errno::EINVAL.because("XSAVE's header may name only parts in use, and have nothing else")
                );
            }
        }
        self.reset();
        self.bytes_mut()[..from.len()].copy_from_slice(from);
        if from.len() == LEGACY_SIZE && size() > LEGACY_SIZE {
            // These two are here; all others start anew.
            let present = (XCr0Flags::X87 | XCr0Flags::SSE).bits();
            self.bytes_mut()[LEGACY_SIZE..LEGACY_SIZE + 8].copy_from_slice(&present.to_le_bytes());
        }
        Ok(())
    }

    /// The bits of MXCSR that the processor has: it says so in what FXSAVE and XSAVE write; zero stands for the first
    /// processors' bits.
    fn mxcsr_mask(&self) -> u32 {
        static MASK: spin::Once<u32> = spin::Once::new();
        *MASK.call_once(|| {
            #[repr(align(64))]
            struct Area([u8; LEGACY_SIZE]);
            let mut area = Area([0; LEGACY_SIZE]);
            // SAFETY: it stores into the area, which has the right size and alignment.
            unsafe { asm!("fxsave64 [{}]", in(reg) area.0.as_mut_ptr(), options(nostack, preserves_flags)) };
            match u32::from_le_bytes(area.0[MXCSR_MASK..MXCSR_MASK + 4].try_into().expect("four bytes")) {
                0 => 0xffbf,
                mask => mask,
            }
        })
    }
}

impl Drop for ExtendedState {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with the same layout.
        unsafe { dealloc(self.0.as_ptr(), layout()) };
    }
}

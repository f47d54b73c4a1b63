//! The form in which x86 processors write their x87, SSE and AVX registers to memory, and what they refuse to load.
//!
//! It is XSAVE's standard form, which signal frames have too: 512 bytes of FXSAVE, a header of 64 bytes that says which
//! parts follow, and the parts at the places CPUID tells. Without XSAVE it is the 512 bytes alone.

use crate::abi::{Errno, Result};
use core::arch::asm;

/// FXSAVE's part, which is first in any case.
pub const LEGACY_SIZE: usize = 512;
/// The header behind it.
pub const HEADER_SIZE: usize = 64;
/// In FXSAVE's part: the x87 control word.
const CONTROL_WORD: usize = 0;
/// In FXSAVE's part: MXCSR, and behind it the mask of its bits that exist.
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
/// The parts that FXSAVE writes: XCR0's bits for x87 and SSE.
const LEGACY_FEATURES: u64 = 3;

/// As the processor starts: all errors masked, all registers empty. A header of zeros says that every part is so.
pub fn reset(state: &mut [u8]) {
    state.fill(0);
    state[CONTROL_WORD..CONTROL_WORD + 2].copy_from_slice(&0x37f_u16.to_le_bytes());
    state[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80_u32.to_le_bytes());
}

/// Looks at state that a program may have made up: FXSAVE's 512 bytes or more. `features` are the parts in use here, as
/// XCR0 has them.
///
/// Errors: EINVAL for what would make the processor fault: bits of MXCSR that do not exist, parts that are not in use here,
/// the compacted form, a header whose reserved bytes are not zero.
#[inline(always)]
pub fn check(state: &[u8], features: u64) -> Result<()> {
    let (legacy, rest) =
        state.split_first_chunk::<LEGACY_SIZE>().expect("FXSAVE's part is there in any case");
    let mxcsr = legacy[MXCSR..].first_chunk().expect("it lies within");
    if u32::from_le_bytes(*mxcsr) & !mxcsr_mask() != 0 {
        return Err(Errno::EINVAL.because("MXCSR may only have bits that the processor has"));
    }
    if let Some(header) = rest.first_chunk::<HEADER_SIZE>() {
        let [present, reserved @ ..] = header.as_chunks().0 else { unreachable!("it has eight words") };
        let is_reserved_used = reserved.iter().fold(0, |all, word| all | u64::from_le_bytes(*word)) != 0;
        if u64::from_le_bytes(*present) & !features != 0 || is_reserved_used {
            return Err(
                Errno::EINVAL.because("XSAVE's header may name only parts in use, and have nothing else")
            );
        }
    }
    Ok(())
}

/// Of state that has been taken over, `length` bytes are there: with FXSAVE's alone, all other parts start anew.
pub fn complete(state: &mut [u8], length: usize) {
    if length == LEGACY_SIZE && state.len() > LEGACY_SIZE {
        state[LEGACY_SIZE..].fill(0);
        state[LEGACY_SIZE..LEGACY_SIZE + 8].copy_from_slice(&LEGACY_FEATURES.to_le_bytes());
    }
}

/// The bits of MXCSR that the processor has: it says so in what FXSAVE and XSAVE write; zero stands for the first
/// processors' bits.
fn mxcsr_mask() -> u32 {
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

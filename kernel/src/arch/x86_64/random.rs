//! Bytes that nobody can guess, as far as this machine has them.
//!
//! The processor's generator is used where there is one. The cycle counter is mixed in always: how long a port takes to answer
//! is not the same twice, and a generator that was made predictable is not the only source then. On an old processor under
//! an emulator that counts instructions, it is all predictable, and cannot be otherwise.

use super::{clock::cycles, features};
use core::arch::asm;
use x86_64::instructions::{port::Port, random::RdRand};

/// How many samples go into each word.
const ROUNDS: usize = 16;

/// RDSEED, which comes from the source itself; it has nothing to give at times.
fn seed() -> Option<u64> {
    let (value, valid): (u64, u8);
    // SAFETY: the caller has found that the processor has it.
    unsafe { asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) valid, options(nomem, nostack)) };
    (valid != 0).then_some(value)
}

/// Spreads each bit over the word: the finalizer of SplitMix64.
const fn spread(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// 32 of them.
pub fn bytes() -> [u8; 32] {
    let generator = RdRand::new();
    let has_seed = features::get().rdseed;
    let mut words = [0_u64; 4];
    let mut state = cycles();
    for _ in 0..ROUNDS {
        for word in &mut words {
            // Port 0x80 is nobody's; writing there takes as long as a device takes.
            // SAFETY: the port has no effect.
            unsafe { Port::<u8>::new(0x80).write(0) };
            let drawn = has_seed.then(seed).flatten().or_else(|| generator?.get_u64()).unwrap_or(0);
            state = spread(state ^ cycles()).wrapping_add(drawn);
            *word = spread(*word ^ state);
        }
    }
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

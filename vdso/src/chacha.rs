//! ChaCha20, RFC 8439: the stream that all random bytes are cut from, the kernel's and those made inside programs.
//!
//! Twenty lines of a cipher everybody knows are preferred to a crate: there is one algorithm and no choice of it. All
//! indices are constants, so the image holds no check that could fail.

/// Words of a key.
pub const KEY_WORDS: usize = 8;
/// Words of a block.
pub const WORDS: usize = 16;
/// Bytes of a block.
pub const BLOCK: usize = WORDS * size_of::<u32>();
/// "expand 32-byte k", the constant of the cipher.
const CONSTANT: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
const ROUNDS: usize = 20;

/// A key, as little-endian words.
pub type Key = [u32; KEY_WORDS];

/// One block of the stream, section 2.3. `place`: the counter and the three words of the nonce.
#[inline(always)]
pub fn block(key: &Key, place: [u32; 4]) -> [u32; WORDS] {
    let [c0, c1, c2, c3] = CONSTANT;
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let [p0, p1, p2, p3] = place;
    let start = [c0, c1, c2, c3, k0, k1, k2, k3, k4, k5, k6, k7, p0, p1, p2, p3];
    let mut state = start;
    for _ in 0..ROUNDS / 2 {
        quarter::<0, 4, 8, 12>(&mut state);
        quarter::<1, 5, 9, 13>(&mut state);
        quarter::<2, 6, 10, 14>(&mut state);
        quarter::<3, 7, 11, 15>(&mut state);
        quarter::<0, 5, 10, 15>(&mut state);
        quarter::<1, 6, 11, 12>(&mut state);
        quarter::<2, 7, 8, 13>(&mut state);
        quarter::<3, 4, 9, 14>(&mut state);
    }
    for (word, started) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(started);
    }
    state
}

#[inline(always)]
fn quarter<const A: usize, const B: usize, const C: usize, const D: usize>(state: &mut [u32; WORDS]) {
    state[A] = state[A].wrapping_add(state[B]);
    state[D] = (state[D] ^ state[A]).rotate_left(16);
    state[C] = state[C].wrapping_add(state[D]);
    state[B] = (state[B] ^ state[C]).rotate_left(12);
    state[A] = state[A].wrapping_add(state[B]);
    state[D] = (state[D] ^ state[A]).rotate_left(8);
    state[C] = state[C].wrapping_add(state[D]);
    state[B] = (state[B] ^ state[C]).rotate_left(7);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_the_one_of_the_standard() {
        // RFC 8439, section 2.3.2.
        let key = core::array::from_fn(|word| {
            u32::from_le_bytes(core::array::from_fn(|byte| (4 * word + byte) as u8))
        });
        let expected = [
            0xe4e7_f110,
            0x1559_3bd1,
            0x1fdd_0f50,
            0xc471_20a3,
            0xc7f4_d1c7,
            0x0368_c033,
            0x9aaa_2204,
            0x4e6c_d4c3,
            0x4664_82d2,
            0x09aa_9f07,
            0x05d7_c214,
            0xa202_8bd9,
            0xd19c_12b5,
            0xb94e_16de,
            0xe883_d0cb,
            0x4e3c_50a2,
        ];
        assert_eq!(block(&key, [1, 0x0900_0000, 0x4a00_0000, 0]), expected);
        // Appendix A.1, test vector 1: all zero.
        assert_eq!(block(&[0; KEY_WORDS], [0; 4])[..2], [0xade0_b876, 0x903d_f1a0]);
    }
}

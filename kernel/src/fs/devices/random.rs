//! Bytes nobody can guess: getrandom(2), AT_RANDOM, `/dev/urandom`.
//!
//! The machine's seed is the key of a ChaCha20 stream (RFC 8439). After every use the key is replaced by bytes of its own
//! stream, so who learns the state cannot tell what was given out before. Twenty lines of a cipher everybody knows are
//! preferred to a crate: there is one algorithm, no choice of it, and no state beyond eight words.

use crate::{
    abi::Result,
    arch::{Hardware, Machine},
    mm::user::Destination,
    sync::{LazyLock, SpinLock},
    time::clocksource,
};

const WORDS: usize = 16;
const BLOCK: usize = WORDS * size_of::<u32>();
const KEY_WORDS: usize = 8;
/// "expand 32-byte k", the constant of the cipher.
const CONSTANT: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
const ROUNDS: usize = 20;

type Key = [u32; KEY_WORDS];

/// Nothing is taken inside it.
static KEY: LazyLock<SpinLock<Key>> = LazyLock::new(|| SpinLock::new(words(&seed())));

/// From the machine; in virtual time, where everything is to be the same again, always the same.
fn seed() -> [u8; 32] {
    if clocksource::is_virtual() { *b"the same bytes on each such run." } else { Hardware::random_seed() }
}

fn words<const COUNT: usize>(bytes: &[u8]) -> [u32; COUNT] {
    let mut words = [0; COUNT];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(size_of::<u32>())) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words
}

/// One block of the stream, RFC 8439 section 2.3.
fn block(key: &Key, counter: u32, nonce: [u32; 3]) -> [u8; BLOCK] {
    let mut start = [0; WORDS];
    start[..4].copy_from_slice(&CONSTANT);
    start[4..12].copy_from_slice(key);
    start[12] = counter;
    start[13..].copy_from_slice(&nonce);
    let mut state = start;
    for _ in 0..ROUNDS / 2 {
        for column in 0..4 {
            quarter(&mut state, [column, 4 + column, 8 + column, 12 + column]);
        }
        for diagonal in 0..4 {
            let [b, c, d] = [1, 2, 3].map(|row| 4 * row + (diagonal + row) % 4);
            quarter(&mut state, [diagonal, b, c, d]);
        }
    }
    let mut bytes = [0; BLOCK];
    for (index, bytes) in bytes.chunks_exact_mut(size_of::<u32>()).enumerate() {
        bytes.copy_from_slice(&state[index].wrapping_add(start[index]).to_le_bytes());
    }
    bytes
}

fn quarter(state: &mut [u32; WORDS], [a, b, c, d]: [usize; 4]) {
    for (first, second, target, bits) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        state[first] = state[first].wrapping_add(state[second]);
        state[target] = (state[target] ^ state[first]).rotate_left(bits);
    }
}

/// A key of its own for one request; the one kept is replaced.
fn take_key() -> Key {
    let mut kept = KEY.lock();
    let stream = block(&kept, 0, [0; 3]);
    *kept = words(&stream[..BLOCK / 2]);
    words(&stream[BLOCK / 2..])
}

/// Fills a buffer of the kernel's.
pub fn fill(bytes: &mut [u8]) {
    let key = take_key();
    for (counter, piece) in bytes.chunks_mut(BLOCK).enumerate() {
        piece.copy_from_slice(&block(&key, counter as u32, [0; 3])[..piece.len()]);
    }
}

/// Fills a buffer of a program's. Errors: EFAULT.
pub fn read(into: &mut Destination<'_>) -> Result<usize> {
    let key = take_key();
    let mut done = 0;
    // A call moves less than 2^31 bytes, and a counter counts 2^38.
    for counter in 0.. {
        let length = into.remaining().min(BLOCK);
        if length == 0 {
            break;
        }
        match into.put(&block(&key, counter, [0; 3])[..length]) {
            Ok(count) => {
                done += count;
                if count < length {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Lets bytes from elsewhere influence the key.
pub fn mix(bytes: &[u8]) {
    let mut key = KEY.lock();
    for piece in bytes.chunks(KEY_WORDS * size_of::<u32>()) {
        let mut padded = [0; KEY_WORDS * size_of::<u32>()];
        padded[..piece.len()].copy_from_slice(piece);
        for (word, added) in key.iter_mut().zip(words::<KEY_WORDS>(&padded)) {
            *word ^= added;
        }
        *key = words(&block(&key, 0, [1; 3])[..BLOCK / 2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_the_one_of_the_standard() {
        // RFC 8439, section 2.3.2.
        let key: [u8; 32] = core::array::from_fn(|index| index as u8);
        let stream = block(&words(&key), 1, [0x0900_0000, 0x4a00_0000, 0]);
        assert_eq!(stream[..8], [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15]);
        assert_eq!(stream[60..], [0xa2, 0x50, 0x3c, 0x4e]);
    }

    #[test]
    fn nothing_comes_twice() {
        let mut first = [0; 100];
        let mut second = [0; 100];
        fill(&mut first);
        fill(&mut second);
        assert_ne!(first, second);
        mix(b"anything");
        fill(&mut first);
        assert_ne!(first, second);
    }
}

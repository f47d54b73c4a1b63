//! Bytes nobody can guess: getrandom(2), AT_RANDOM, `/dev/urandom`.
//!
//! The machine's seed is the key of a ChaCha20 stream (RFC 8439). After every use the key is replaced by bytes of its own
//! stream, so who learns the state cannot tell what was given out before. The cipher is the one that programs' own
//! generators in the vDSO use.

use crate::{
    abi::Result,
    arch::{Hardware, Machine},
    mm::user::Destination,
    sync::{LazyLock, SpinLock},
    time::clocksource,
};
use gnomon_vdso::chacha::{self, BLOCK, KEY_WORDS, Key};

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

/// One block of the stream. `nonce` tells one use of a key from another.
fn block(key: &Key, counter: u32, nonce: u32) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    let words = chacha::block(key, [counter, nonce, nonce, nonce]);
    for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(size_of::<u32>())) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// A key of its own for one request; the one kept is replaced.
fn take_key() -> Key {
    let mut kept = KEY.lock();
    let stream = block(&kept, 0, 0);
    *kept = words(&stream[..BLOCK / 2]);
    words(&stream[BLOCK / 2..])
}

/// Fills a buffer of the kernel's.
pub fn fill(bytes: &mut [u8]) {
    let key = take_key();
    // A few bytes are the key itself, which then is none.
    if bytes.len() <= size_of::<Key>() {
        for (piece, word) in bytes.chunks_mut(size_of::<u32>()).zip(key) {
            piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
        }
        return;
    }
    for (counter, piece) in bytes.chunks_mut(BLOCK).enumerate() {
        piece.copy_from_slice(&block(&key, counter as u32, 0)[..piece.len()]);
    }
}

/// The most bytes one read gives, random(4): making them takes time, in which nobody else has a turn.
const MOST_PER_READ: usize = 33_554_431;

/// Fills a buffer of a program's. Errors: EFAULT.
pub fn read(into: &mut Destination<'_>) -> Result<usize> {
    let key = take_key();
    let mut done = 0;
    for counter in 0.. {
        let length = into.remaining().min(BLOCK).min(MOST_PER_READ - done);
        if length == 0 {
            break;
        }
        match into.put(&block(&key, counter, 0)[..length]) {
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
        *key = words(&block(&key, 0, 1)[..BLOCK / 2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

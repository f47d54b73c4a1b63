//! getrandom(2) without a system call: a generator of the program's own, keyed by the kernel, vgetrandom.
//!
//! The C library keeps states of [`State`]'s size in memory that it maps as [`Parameters`] say, one for each thread that
//! asks. A call takes what is left of the last batch, makes whole blocks straight into the caller's buffer, and then
//! makes a new batch and the next key in one go, so that who learns the state cannot tell what was given out before. What
//! has been given out is wiped from the batch.
//!
//! The kernel may wipe the state at any moment (MAP_DROPPABLE), and does so in a forked child, which otherwise would get
//! its parent's bytes. A wiped state has generation 0, which is never the kernel's; so the generation is compared before
//! and after, and if it is another the work is done again under a new key. All of the state is therefore read and
//! written as memory that others change, one field at a time. A signal handler may interrupt a call and make another: it
//! finds the state in use, and makes the system call.
//!
//! Linux's is written in assembly, so that no key ever lies on a stack, where a child forked later might find it. Here
//! the compiler decides what it keeps where; what this code itself keeps there is wiped.

use crate::atomics::Ordering::Relaxed;
use crate::calls::{Machine, SystemCall};
use crate::chacha::{BLOCK, KEY_WORDS, Key, WORDS, block};
use crate::page::PAGE_SIZE;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

/// Bytes of a batch: two blocks without the key that follows in them.
const BATCH: usize = 2 * BLOCK - KEY;
const KEY: usize = size_of::<Key>();
/// GRND_NONBLOCK, GRND_RANDOM and GRND_INSECURE.
const KNOWN_FLAGS: u32 = 1 | 2 | 4;
/// The most bytes that one call gives, as read(2).
const MOST: usize = 0x7fff_f000;
const EFAULT: isize = 14;

/// What a program keeps for each generator, and does not look into.
#[repr(C)]
pub struct State {
    batch: [u8; BATCH],
    key: Key,
    generation: u64,
    /// How many bytes of the batch are used up.
    position: u8,
    in_use: u8,
}

/// How memory for states is to be mapped: `struct vgetrandom_opaque_params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Bytes of one state, which must not lie across the end of a page.
    pub state_size: u32,
    /// For mmap(2): PROT_READ and PROT_WRITE.
    pub protection: u32,
    /// For mmap(2): MAP_DROPPABLE and MAP_ANONYMOUS.
    pub flags: u32,
    reserved: [u32; 13],
}

const PARAMETERS: Parameters = Parameters {
    state_size: size_of::<State>() as u32,
    protection: 1 | 2,
    flags: 0x08 | 0x20,
    reserved: [0; 13],
};

const _: () = {
    assert!(size_of::<State>() == 144);
    assert!(offset_of!(State, batch) == 0 && offset_of!(State, key) == BATCH && BATCH + KEY == 2 * BLOCK);
    // A key is used for one call, so the counter of its blocks needs no more than a word.
    assert!(MOST / BLOCK + 2 <= u32::MAX as usize);
    assert!(size_of::<Parameters>() == 64);
};

/// Words that are wiped when they are no longer needed.
struct Secret<const N: usize>([u32; N]);

impl<const N: usize> Drop for Secret<N> {
    #[inline(always)]
    fn drop(&mut self) {
        for word in &mut self.0 {
            // SAFETY: a word of our own.
            unsafe { ptr::write_volatile(word, 0) };
        }
    }
}

/// getrandom(2) from a state: the number of bytes, or a negative errno. With a state length of `usize::MAX` and nothing
/// else it tells [`Parameters`] where the state would be.
///
/// # Safety
/// `buffer` and `state` are valid for writes, and no other thread uses the state, or the program is meant to fault.
#[inline(always)]
pub unsafe fn getrandom<M: Machine>(
    machine: &M,
    buffer: *mut u8,
    length: usize,
    flags: u32,
    state: *mut State,
    state_length: usize,
) -> isize {
    if state_length == usize::MAX && length == 0 && buffer.is_null() && flags == 0 {
        // SAFETY: by the caller's promise.
        unsafe { ptr::write_unaligned(state.cast(), PARAMETERS) };
        return 0;
    }
    if state.addr() % PAGE_SIZE + size_of::<State>() > PAGE_SIZE {
        return -EFAULT;
    }
    let random = machine.random_page();
    // SAFETY: by the caller's promise; and the system call writes what this call may.
    unsafe {
        let call = |to: *mut u8, length: usize, flags: u32| {
            machine.system_call(SystemCall::Getrandom, [to.expose_provenance(), length, flags as usize])
        };
        let is_ready = random.is_ready.load(Relaxed) != 0;
        if flags & !KNOWN_FLAGS != 0 || state_length != size_of::<State>() || !is_ready {
            return call(buffer, length, flags) as isize;
        }
        if length == 0 {
            return 0;
        }
        if (&raw const (*state).in_use).read_volatile() != 0 {
            return call(buffer, length, flags) as isize;
        }
        (&raw mut (*state).in_use).write_volatile(1);
        compiler_fence(Ordering::SeqCst);
        let generation = || random.generation.load(Relaxed);
        let new_key = |key: *mut Key| call(key.cast(), KEY, 0) == KEY as i32;
        let filled = fill(state, buffer, length.min(MOST), generation, new_key);
        compiler_fence(Ordering::SeqCst);
        (&raw mut (*state).in_use).write_volatile(0);
        if filled { length.min(MOST) as isize } else { call(buffer, length, flags) as isize }
    }
}

/// Fills a buffer; false when the kernel gives no key.
///
/// # Safety
/// As for [`getrandom`].
#[inline(always)]
unsafe fn fill(
    state: *mut State,
    buffer: *mut u8,
    length: usize,
    generation: impl Fn() -> u64,
    new_key: impl Fn(*mut Key) -> bool,
) -> bool {
    // SAFETY: by the caller's promise, for all of the state and the buffer.
    unsafe {
        let own_generation = &raw mut (*state).generation;
        loop {
            let current = generation();
            if own_generation.read_volatile() != current {
                // Noted before the key comes: if the state is wiped in between, that shows below.
                own_generation.write_volatile(current);
                compiler_fence(Ordering::SeqCst);
                if !new_key(&raw mut (*state).key) {
                    own_generation.write_volatile(0);
                    return false;
                }
                (&raw mut (*state).position).write_volatile(BATCH as u8);
            }
            let mut done = take_batch(state, buffer, length);
            while done < length {
                let key = Secret(read_key(state));
                let whole = (length - done) / BLOCK;
                let mut number = 0;
                // Behind the caller's blocks two more: the batch, and the key behind it.
                while number < whole + 2 {
                    let to = match number < whole {
                        true => buffer.add(done + number * BLOCK),
                        false => state.cast::<u8>().add((number - whole) * BLOCK),
                    };
                    let words = Secret(block(&key.0, [number as u32, 0, 0, 0]));
                    write_words(to, &words.0);
                    number += 1;
                }
                done += whole * BLOCK;
                (&raw mut (*state).position).write_volatile(0);
                done += take_batch(state, buffer.add(done), length - done);
            }
            compiler_fence(Ordering::SeqCst);
            let before = own_generation.read_volatile();
            if before == generation() {
                return true;
            }
        }
    }
}

/// Moves what is left of the batch, as much as there is room for; gives how much.
///
/// # Safety
/// The state is valid, and the buffer for so many bytes.
#[inline(always)]
unsafe fn take_batch(state: *mut State, buffer: *mut u8, room: usize) -> usize {
    // SAFETY: by the caller's promise; positions stay within the batch.
    unsafe {
        let used = usize::from((&raw const (*state).position).read_volatile()).min(BATCH);
        let count = room.min(BATCH - used);
        let batch = (&raw mut (*state).batch).cast::<u8>();
        let mut index = 0;
        while index < count {
            let byte = batch.add(used + index);
            buffer.add(index).write_volatile(byte.read_volatile());
            byte.write_volatile(0);
            index += 1;
        }
        (&raw mut (*state).position).write_volatile((used + count) as u8);
        count
    }
}

/// # Safety
/// The state is valid.
#[inline(always)]
unsafe fn read_key(state: *const State) -> Key {
    let mut key = [0; KEY_WORDS];
    for (index, word) in key.iter_mut().enumerate() {
        // SAFETY: a word of the key, of which there are as many here as there.
        *word = unsafe { (&raw const (*state).key).cast::<u32>().add(index).read_volatile() };
    }
    key
}

/// # Safety
/// There is room for a block.
#[inline(always)]
unsafe fn write_words(to: *mut u8, words: &[u32; WORDS]) {
    for (index, word) in words.iter().enumerate() {
        // SAFETY: within the block.
        unsafe { ptr::write_unaligned(to.cast::<u32>().add(index), *word) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    const KEY_0: Key = [1, 2, 3, 4, 5, 6, 7, 8];

    fn wiped() -> State {
        State { batch: [0; BATCH], key: [0; KEY_WORDS], generation: 0, position: 0, in_use: 0 }
    }

    fn bytes<const N: usize>(state: &mut State, generation: &Cell<u64>) -> [u8; N] {
        let mut buffer = [0; N];
        let new_key = |key: *mut Key| {
            // SAFETY: the key of the state.
            unsafe { key.write(KEY_0) };
            true
        };
        // SAFETY: both are ours.
        assert!(unsafe { fill(state, buffer.as_mut_ptr(), N, || generation.get(), new_key) });
        buffer
    }

    fn stream(key: &Key, blocks: u32) -> std::vec::Vec<u8> {
        (0..blocks).flat_map(|counter| block(key, [counter, 0, 0, 0])).flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn bytes_come_from_the_stream_and_the_next_key_too() {
        let (mut state, generation) = (wiped(), Cell::new(1));
        let expected = stream(&KEY_0, 2);
        assert_eq!(bytes::<10>(&mut state, &generation)[..], expected[..10]);
        assert_eq!(state.batch[..10], [0; 10], "what is given out is wiped");
        assert_eq!(bytes::<86>(&mut state, &generation)[..], expected[10..96]);
        let next: Key = core::array::from_fn(|word| {
            u32::from_le_bytes(core::array::from_fn(|byte| expected[96 + 4 * word + byte]))
        });
        assert_eq!(state.key, next);
        let expected = stream(&next, 5);
        assert_eq!(
            bytes::<200>(&mut state, &generation)[..],
            expected[..200],
            "three blocks, and of a batch"
        );
        assert_eq!(state.position, 8);
    }

    #[test]
    fn another_generation_and_a_wiped_state_bring_another_key() {
        let (mut state, generation) = (wiped(), Cell::new(1));
        let first = bytes::<32>(&mut state, &generation);
        assert_ne!(bytes::<32>(&mut state, &generation), first);
        generation.set(2);
        assert_eq!(bytes::<32>(&mut state, &generation), first, "the key of the test is always the same");
        state = wiped();
        assert_eq!(bytes::<32>(&mut state, &generation), first);
        assert_eq!(state.generation, 2);
    }
}

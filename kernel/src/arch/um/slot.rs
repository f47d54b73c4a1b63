//! A slot: memory that the kernel shares with one host thread, and the program's registers in it.
//!
//! The slots are a file of their own, not part of RAM, so that no page table can lead to them. In its host process a thread's
//! slot lies in the place its number there gives it; the kernel sees all slots side by side.
//!
//! The lower page is for operations and answers; the rest is the stack the thread takes host signals on, where the host
//! saves the program's registers: [`super::frame`]. Everything in a slot may have been written by the program, which can
//! address it: what is read here is no more trusted than registers are.

use super::host::SharedMemory;
use super::layout::{self, SLOT_SIZE};
use super::operation::Operation;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// How many threads all programs together can have. Slots that are not in use take no memory.
const MOST: u32 = 1 << 16;

struct Slots {
    memory: SharedMemory,
    free: spin::Mutex<Free>,
}

struct Free {
    used_before: Vec<u32>,
    never_used: u32,
}

static SLOTS: spin::Once<Slots> = spin::Once::new();

/// Makes the memory. Errors: what the host says.
pub fn initialize() -> io::Result<()> {
    SLOTS.try_call_once(Slots::new).map(drop)
}

fn slots() -> &'static Slots {
    SLOTS.get().expect("`initialize` comes before the first slot")
}

/// The file, to be mapped in host processes.
pub fn file() -> BorrowedFd<'static> {
    slots().memory.file.as_fd()
}

impl Slots {
    fn new() -> io::Result<Self> {
        let memory = SharedMemory::new(c"gnomon slots", MOST as usize * SLOT_SIZE)?;
        Ok(Self { memory, free: spin::Mutex::new(Free { used_before: Vec::new(), never_used: 0 }) })
    }
}

/// One slot, owned.
pub struct Slot {
    /// Which, in the file.
    number: u32,
    /// Which, in its host process: where it is mapped there.
    place: usize,
    /// Where the kernel has it.
    base: NonNull<u8>,
}

// SAFETY: it is memory that is this slot's alone, on whatever thread of the kernel it is used.
unsafe impl Send for Slot {}

impl Slot {
    /// One that nobody has, for the thread with this number in its host process. `None`: there are too many threads.
    pub fn new(place: usize) -> Option<Self> {
        let mut free = slots().free.lock();
        let number = free.used_before.pop().or_else(|| {
            let number = free.never_used;
            (number < MOST).then(|| free.never_used += 1)?;
            Some(number)
        })?;
        drop(free);
        let base = slots().memory.pointer(number as usize * SLOT_SIZE, SLOT_SIZE);
        let slot = Self { number, place, base };
        slot.write(0, &[0; layout::OPERATIONS]);
        slot.set_by_word(super::turns::are_by_word());
        Some(slot)
    }

    /// Where it lies in the file.
    pub fn offset(&self) -> u64 {
        u64::from(self.number) * SLOT_SIZE as u64
    }

    /// Its address in its host process.
    pub fn address(&self) -> usize {
        layout::SLOTS + self.place * SLOT_SIZE
    }

    fn pointer(&self, offset: usize, length: usize) -> *mut u8 {
        assert!(offset <= SLOT_SIZE && length <= SLOT_SIZE - offset, "beyond the slot");
        // SAFETY: inside the slot.
        unsafe { self.base.add(offset).as_ptr() }
    }

    /// Copies bytes in.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let place = self.pointer(offset, bytes.len());
        // SAFETY: in the slot, which is ours; its thread is not running while the kernel does.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Clears the stack, frame and all.
    pub fn clear_stack(&self) {
        static ZEROS: [u8; SLOT_SIZE - layout::STACK] = [0; _];
        self.write(layout::STACK, &ZEROS);
    }

    /// Copies bytes out.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let place = self.pointer(offset, into.len());
        // SAFETY: as in `write`.
        unsafe { into.as_mut_ptr().copy_from_nonoverlapping(place, into.len()) };
    }

    /// Writes a word.
    pub fn write_word(&self, offset: usize, value: u64) {
        // SAFETY: as in `write`. Volatile: another process reads it.
        unsafe { self.pointer(offset, 8).cast::<u64>().write_volatile(value) };
    }

    /// Reads a word that may be being written just now, while its first thread starts.
    pub fn read_word(&self, offset: usize) -> u64 {
        // SAFETY: as in `write`.
        unsafe { self.pointer(offset, 8).cast::<u64>().read_volatile() }
    }

    /// Writes operations down for the stub.
    pub fn write_operations(&self, operations: &[Operation]) {
        assert!(operations.len() <= layout::MOST_OPERATIONS, "more operations than the slot has room for");
        let place = self.pointer(layout::OPERATIONS, size_of_val(operations));
        // SAFETY: as in `write`; operations are plain words.
        unsafe { place.cast::<Operation>().copy_from_nonoverlapping(operations.as_ptr(), operations.len()) };
    }

    /// What the host said to an operation, as the stub tells it.
    pub fn result(&self, index: usize) -> i64 {
        self.read_word(
            layout::OPERATIONS + index * size_of::<Operation>() + core::mem::offset_of!(Operation, result),
        ) as i64
    }

    /// Says how the stub is to take turns.
    pub fn set_by_word(&self, by_word: bool) {
        self.write(layout::BY_WORD, &u32::from(by_word).to_ne_bytes());
    }

    /// Whose turn it is.
    pub fn turn(&self) -> &AtomicU32 {
        // SAFETY: in the slot, which lives as long as the reference; programs access the word whole, as the kernel does.
        unsafe { AtomicU32::from_ptr(self.pointer(layout::TURN, 4).cast()) }
    }

    /// What the stub reports: a signal, and where its frame is.
    pub fn report(&self) -> (i32, u64) {
        (self.read_word(layout::REPORT) as i32, self.read_word(layout::REPORT + 8))
    }

    /// Writes the kernel's answer down.
    pub fn set_answer(&self, answer: i64) {
        self.write_word(layout::ANSWER, answer as u64);
    }

    /// Sets how many operations the first process begins with.
    pub fn set_start_count(&self, count: usize) {
        self.write_word(layout::START_COUNT, count as u64);
    }
}

impl Drop for Slot {
    /// The thread has ended, or will before it runs again.
    fn drop(&mut self) {
        slots().free.lock().used_before.push(self.number);
    }
}

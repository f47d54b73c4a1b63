//! A slot: memory that the kernel shares with one host thread, and the program's registers in it.
//!
//! The slots are a file of their own, not part of RAM, so that no page table can lead to them. In its host process a thread's
//! slot lies in the place its number there gives it; the kernel sees all slots side by side.
//!
//! The upper part is the stack the thread takes host signals on. The host saves the registers there always at the same
//! distance from the end, as it is told not to nest (SS_AUTODISARM); so the kernel needs nobody to tell it where they are.
//! Everything in a slot may have been written by the program, which can address it: what is read here is no more
//! trusted than registers are, and no pointer in it is followed.

use super::layout::{self, SLOT_SIZE};
use super::operation::Operation;
use crate::arch::Registers;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU32;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};

/// How many threads all programs together can have. Slots that are not in use take no memory.
const MOST: u32 = 1 << 16;

struct Slots {
    base: NonNull<u8>,
    file: File,
    free: spin::Mutex<Free>,
}

struct Free {
    used_before: Vec<u32>,
    never_used: u32,
}

// SAFETY: whoever has a `Slot` has its bytes.
unsafe impl Sync for Slots {}
// SAFETY: the same.
unsafe impl Send for Slots {}

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
    slots().file.as_fd()
}

impl Slots {
    fn new() -> io::Result<Self> {
        let length = MOST as usize * SLOT_SIZE;
        // SAFETY: the name is a string that ends with a zero.
        let descriptor = unsafe { libc::memfd_create(c"gnomon slots".as_ptr(), libc::MFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let file = unsafe { File::from_raw_fd(descriptor) };
        file.set_len(length as u64)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address the host chooses replaces nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, descriptor, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { base, file, free: spin::Mutex::new(Free { used_before: Vec::new(), never_used: 0 }) })
    }
}

/// One slot, owned.
pub struct Slot {
    /// Which, in the file.
    number: u32,
    /// Which, in its host process: where it is mapped there.
    place: usize,
}

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
        let slot = Self { number, place };
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
        // SAFETY: `number` is below MOST, and the offset in the slot.
        unsafe { slots().base.as_ptr().add(self.number as usize * SLOT_SIZE + offset) }
    }

    /// Copies bytes in.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let place = self.pointer(offset, bytes.len());
        // SAFETY: in the slot, which is ours; its thread is not running while the kernel does.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Copies bytes out.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let place = self.pointer(offset, into.len());
        // SAFETY: as in `write`.
        unsafe { into.as_mut_ptr().copy_from_nonoverlapping(place, into.len()) };
    }

    fn write_word(&self, offset: usize, value: u64) {
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

/// What is the same in all frames that the host saves registers in.
pub struct FrameForm {
    /// Where it lies in a slot.
    start: usize,
    /// The bytes of a good one, from `start` to the end of the slot, taken in place 0.
    bytes: Vec<u8>,
    /// Where the extended state lies in it.
    extended: usize,
    /// How many bytes of that there are, as XSAVE lays them out.
    extended_size: usize,
    /// XCR0's bits; 0 for FXSAVE's form.
    features: u64,
}

static FORM: spin::Once<FrameForm> = spin::Once::new();

/// In a frame, `struct rt_sigframe`: behind the way back, `struct ucontext`'s stack address and registers, and siginfo.
const STACK_ADDRESS: usize = 8 + 16;
const REGISTERS: usize = 8 + 40;
const INFORMATION: usize = 312;
/// Where extended state has its `struct _fpx_sw_bytes`, and that many bytes of it.
const SOFTWARE_BYTES: usize = 464;
const SOFTWARE_SIZE: usize = 48;
/// FXSAVE's part.
const LEGACY_SIZE: usize = 512;
/// In `_fpx_sw_bytes`: extended state is more than FXSAVE's.
const MAGIC: u32 = 0x4650_5853;

/// The order of `mcontext_t`'s registers, sys/ucontext.h.
#[derive(Clone, Copy)]
#[allow(missing_docs, dead_code, reason = "their names say which they are; all are listed to count them")]
enum Place {
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    Rdi,
    Rsi,
    Rbp,
    Rbx,
    Rdx,
    Rax,
    Rcx,
    Rsp,
    Rip,
    Flags,
    Segments,
    ErrorCode,
    Vector,
    OldMask,
    FaultAddress,
    Extended,
}

/// What the host said of the signal that stopped the program.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// The processor's number of the exception.
    pub vector: u64,
    /// The processor's error code.
    pub error_code: u64,
    /// The address of the last page fault.
    pub fault_address: u64,
    /// `si_code`
    pub code: i32,
    /// `si_addr`, or `si_call_addr`
    pub address: u64,
    /// `si_arch`, for SIGSYS
    pub architecture: u32,
}

impl FrameForm {
    /// The form, learnt when user mode was made ready.
    pub fn get() -> Option<&'static Self> {
        FORM.get()
    }

    /// Learns it from a frame in the slot of place 0. `stack_pointer` is what the stub had there. Errors: a sentence, if
    /// the host's frames are not what they have always been.
    pub fn learn(slot: &Slot, stack_pointer: usize) -> Result<(), String> {
        let surprising = || String::from("the host saves registers in a way this machine does not know");
        let start = stack_pointer.checked_sub(slot.address()).filter(|start| *start > layout::STACK);
        let start = start.filter(|start| *start < SLOT_SIZE - INFORMATION - 128).ok_or_else(surprising)?;
        let mut bytes = vec![0; SLOT_SIZE - start];
        slot.read(start, &mut bytes);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let extended = (word(REGISTERS + 8 * Place::Extended as usize) as usize).wrapping_sub(stack_pointer);
        if extended > bytes.len() - LEGACY_SIZE {
            return Err(surprising());
        }
        let software = extended + SOFTWARE_BYTES;
        let (extended_size, features) = match word(software) as u32 {
            MAGIC => (word(software + 16) as u32 as usize, word(software + 8)),
            _ => (LEGACY_SIZE, 0),
        };
        if extended_size > bytes.len() - extended {
            return Err(surprising());
        }
        FORM.call_once(|| Self { start, bytes, extended, extended_size, features });
        Ok(())
    }

    /// Bytes of extended state.
    pub fn extended_size(&self) -> usize {
        self.extended_size
    }

    /// The features in it.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Where in the slot of a thread its frame is, as its host process has it: the stack pointer of a new one.
    pub fn stack_pointer(&self, slot: &Slot) -> usize {
        slot.address() + self.start
    }

    /// Writes a frame, as if a host signal had just come.
    pub fn put(&self, slot: &Slot) {
        slot.write(self.start, &self.bytes);
        slot.write_word(self.start + STACK_ADDRESS, (slot.address() + layout::STACK) as u64);
        let extended = slot.address() + self.start + self.extended;
        slot.write_word(self.register(Place::Extended), extended as u64);
    }

    fn register(&self, place: Place) -> usize {
        self.start + REGISTERS + 8 * place as usize
    }

    /// The registers saved in a slot.
    pub fn registers(&self, slot: &Slot) -> Registers {
        let at = |place| slot.read_word(self.register(place));
        Registers {
            r15: at(Place::R15),
            r14: at(Place::R14),
            r13: at(Place::R13),
            r12: at(Place::R12),
            rbp: at(Place::Rbp),
            rbx: at(Place::Rbx),
            r11: at(Place::R11),
            r10: at(Place::R10),
            r9: at(Place::R9),
            r8: at(Place::R8),
            rax: at(Place::Rax),
            rcx: at(Place::Rcx),
            rdx: at(Place::Rdx),
            rsi: at(Place::Rsi),
            rdi: at(Place::Rdi),
            rip: at(Place::Rip),
            rflags: at(Place::Flags),
            rsp: at(Place::Rsp),
            fs_base: slot.read_word(layout::BASES),
            gs_base: slot.read_word(layout::BASES + 8),
        }
    }

    /// Replaces them. A value the host would not take makes it send a signal instead, which is then the program's.
    pub fn set_registers(&self, slot: &Slot, registers: &Registers) {
        for (place, value) in [
            (Place::R15, registers.r15),
            (Place::R14, registers.r14),
            (Place::R13, registers.r13),
            (Place::R12, registers.r12),
            (Place::Rbp, registers.rbp),
            (Place::Rbx, registers.rbx),
            (Place::R11, registers.r11),
            (Place::R10, registers.r10),
            (Place::R9, registers.r9),
            (Place::R8, registers.r8),
            (Place::Rax, registers.rax),
            (Place::Rcx, registers.rcx),
            (Place::Rdx, registers.rdx),
            (Place::Rsi, registers.rsi),
            (Place::Rdi, registers.rdi),
            (Place::Rip, registers.rip),
            (Place::Flags, registers.rflags),
            (Place::Rsp, registers.rsp),
        ] {
            slot.write_word(self.register(place), value);
        }
        slot.write_word(layout::BASES, registers.fs_base);
        slot.write_word(layout::BASES + 8, registers.gs_base);
    }

    /// Sets what a system call leaves.
    pub fn set_result(&self, slot: &Slot, result: isize) {
        slot.write_word(self.register(Place::Rax), result as u64);
    }

    /// Why the host sent the signal.
    pub fn cause(&self, slot: &Slot) -> Cause {
        let at = |place| slot.read_word(self.register(place));
        let information = |offset| slot.read_word(self.start + INFORMATION + offset);
        Cause {
            vector: at(Place::Vector),
            error_code: at(Place::ErrorCode),
            fault_address: at(Place::FaultAddress),
            code: information(8) as i32,
            address: information(16),
            architecture: (information(24) >> 32) as u32,
        }
    }

    /// Copies the extended state out.
    pub fn save_extended(&self, slot: &Slot, into: &mut [u8]) {
        slot.read(self.start + self.extended, into);
        // The host's notes to itself.
        into[SOFTWARE_BYTES..SOFTWARE_BYTES + SOFTWARE_SIZE].fill(0);
    }

    /// Replaces it.
    pub fn load_extended(&self, slot: &Slot, from: &[u8]) {
        let (start, notes) = (self.start + self.extended, SOFTWARE_BYTES..SOFTWARE_BYTES + SOFTWARE_SIZE);
        slot.write(start, &from[..notes.start]);
        slot.write(start + notes.start, &self.bytes[self.extended..][notes.clone()]);
        slot.write(start + notes.end, &from[notes.end..]);
    }
}

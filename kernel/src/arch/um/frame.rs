//! Where the host saves a program's registers: a signal frame in the slot of its thread.
//!
//! The stub is a signal handler, so what it is entered with lies on the slot's stack in the form of `struct rt_sigframe`,
//! and what it leaves there is what the program goes on with. The host puts the frame always at the same distance from the
//! stack's end, as it is told not to nest (SS_AUTODISARM); so the kernel needs nobody to tell it where that is, and follows
//! no pointer that a program could have written. The form is learnt from the first frame there is. That one also is what a
//! new thread begins with, which has not taken a signal yet.

use super::layout::{self, SLOT_SIZE};
use super::slot::Slot;
use crate::arch::{Registers, xsave::LEGACY_SIZE};
use zerocopy::IntoBytes;

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

/// Of those, how many are registers of a program that can be replaced; they come first.
const REGISTER_COUNT: usize = Place::Segments as usize;

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
        let (mut saved, mut bases) = ([0_u64; REGISTER_COUNT], [0_u64; 2]);
        slot.read(self.start + REGISTERS, saved.as_mut_bytes());
        slot.read(layout::BASES, bases.as_mut_bytes());
        let at = |place| saved[place as usize];
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
            fs_base: bases[0],
            gs_base: bases[1],
        }
    }

    /// Replaces them. A value the host would not take makes it send a signal instead, which is then the program's.
    pub fn set_registers(&self, slot: &Slot, registers: &Registers) {
        let mut saved = [0_u64; REGISTER_COUNT];
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
            saved[place as usize] = value;
        }
        slot.write(self.start + REGISTERS, saved.as_bytes());
        slot.write(layout::BASES, [registers.fs_base, registers.gs_base].as_bytes());
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

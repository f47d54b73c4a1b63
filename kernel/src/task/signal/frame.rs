//! What a handler finds on its stack: `struct rt_sigframe`, as programs and debuggers know it from Linux on x86-64.
//!
//! From high addresses to low: 128 bytes the interrupted function may use without saying so (the red zone), the
//! extended state, the frame proper. The frame begins with the address the handler returns to, whose code makes the call
//! rt_sigreturn(2), and that call finds everything again by the stack pointer alone. Nothing in it is trusted then: a
//! program may write there what it likes, and make up whole frames.

use super::{LastFault, alternate_stack::UserStack, info::UserSignalInfo};
use crate::{
    abi::SignalSet,
    arch::{PAGE_SIZE, Registers},
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct sigcontext`
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs, reason = "their names say which they are")]
pub struct MachineContext {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rsp: u64,
    pub rip: u64,
    pub rflags: u64,
    /// Code, two unused, and stack segment.
    pub segments: [u16; 4],
    pub error_code: u64,
    pub vector: u64,
    /// The mask again, as old programs look for it.
    pub old_mask: u64,
    /// The address of a page fault.
    pub cr2: u64,
    /// Where the extended state is, or 0.
    pub extended_state: u64,
    pub reserved: [u64; 8],
}

/// `struct ucontext`
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Context {
    /// UC_ flags.
    pub flags: u64,
    /// Always 0.
    pub link: u64,
    /// The alternate stack there was.
    pub stack: UserStack,
    /// The registers.
    pub machine: MachineContext,
    /// The signal mask there was.
    pub mask: SignalSet,
}

/// `struct rt_sigframe`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Frame {
    /// Where the handler returns to.
    pub restorer: u64,
    /// What it interrupted.
    pub context: Context,
    /// What came with the signal.
    pub info: UserSignalInfo,
}

/// The extended state has XSAVE's layout: UC_FP_XSTATE.
pub const EXTENDED_LAYOUT: u64 = 1;
/// The stack segment is saved, and will be restored: UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS.
pub const STACK_SEGMENT: u64 = 2 | 4;
/// The code segment and the stack segment of 64-bit programs.
const SEGMENTS: [u16; 4] = [0x33, 0, 0, 0x2b];

/// Copies the registers that a frame has, one by one: each goes straight from its place to the other.
macro_rules! copy_registers {
    ($from:ident, $to:ident) => {
        copy_registers!($from, $to, r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx rsp rip rflags)
    };
    ($from:ident, $to:ident, $($name:ident)*) => {{ $($to.$name = $from.$name;)* }};
}

impl MachineContext {
    /// Saves the registers, and what goes with them. What is reserved stays as it was: it is the program's memory.
    #[inline(always)]
    pub fn save(&mut self, registers: &Registers, fault: LastFault, mask: SignalSet, extended_state: usize) {
        copy_registers!(registers, self);
        self.segments = SEGMENTS;
        self.error_code = fault.error_code.into();
        self.vector = fault.vector.into();
        self.old_mask = mask.0;
        self.cr2 = fault.address;
        self.extended_state = extended_state as u64;
    }

    /// Makes the registers what they were. What is not part of a frame stays as it is.
    #[inline(always)]
    pub fn restore(&self, registers: &mut Registers) {
        copy_registers!(self, registers);
    }
}

/// Where things go on the handler's stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The extended state, at a multiple of 64.
    pub extended_state: usize,
    /// The frame, 8 below a multiple of 16: as if the handler had just been called.
    pub frame: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Bytes below the stack pointer that a function may use.
pub const RED_ZONE: usize = 128;

impl Placement {
    /// Below `top`, with so many bytes of extended state.
    pub fn below(top: usize, extended_state_size: usize) -> Self {
        let extended_state = top.wrapping_sub(extended_state_size) & !63;
        let frame = (extended_state.wrapping_sub(size_of::<Frame>()) & !15).wrapping_sub(8);
        Self { extended_state, frame, end: extended_state.wrapping_add(extended_state_size) }
    }

    /// The same, but further below where that has all of it lie in one page: then nobody has to put it together from two,
    /// and the processor can write its state where it belongs.
    pub fn in_one_page_below(top: usize, extended_state_size: usize) -> Self {
        let placement = Self::below(top, extended_state_size);
        if placement.lies_in_one_page() {
            return placement;
        }
        let lower = Self::below(placement.end & !(PAGE_SIZE - 1), extended_state_size);
        if lower.lies_in_one_page() { lower } else { placement }
    }

    const fn lies_in_one_page(&self) -> bool {
        self.frame / PAGE_SIZE == self.end.wrapping_sub(1) / PAGE_SIZE
    }

    /// Bytes from the frame to the end.
    pub const fn size(&self) -> usize {
        self.end.wrapping_sub(self.frame)
    }
}

/// `struct _fpx_sw_bytes`: in 48 bytes the processor leaves free, the kernel says how much state follows.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct StateNote {
    magic: u32,
    /// With the magic number behind it.
    extended_size: u32,
    /// Which components there are.
    features: u64,
    /// Without it.
    state_size: u32,
    padding: [u32; 7],
}

/// Says that the note is there: FP_XSTATE_MAGIC1.
const NOTE_MAGIC: u32 = 0x4650_5853;
/// Says that all of the state is there: FP_XSTATE_MAGIC2, right behind it.
pub const END_MAGIC: u32 = 0x4650_5845;
/// Bytes of state that every x86-64 processor has.
pub const LEGACY_STATE: usize = 512;
/// Where the note is in it.
pub const NOTE_AT: usize = 464;

/// Bytes that extended state takes in a frame, when the processor's has this size.
pub const fn framed_size(state_size: usize, features: u64) -> usize {
    if features == 0 { state_size } else { state_size + size_of::<u32>() }
}

impl StateNote {
    /// The note on so much state.
    pub const fn new(state_size: usize, features: u64) -> Self {
        Self {
            magic: NOTE_MAGIC,
            extended_size: framed_size(state_size, features) as u32,
            features,
            state_size: state_size as u32,
            padding: [0; 7],
        }
    }

    /// Whether it announces as much state as this processor has. If not, only the legacy part is restored.
    pub const fn announces(&self, state_size: usize) -> bool {
        self.magic == NOTE_MAGIC
            && self.state_size as usize == state_size
            && self.extended_size as usize == state_size + size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn laid_out_as_the_c_library_expects() {
        // The C library's names, as offsets in its `ucontext_t`, whose beginning the frame has.
        assert_eq!(offset_of!(Frame, context), 8);
        assert_eq!(offset_of!(Frame, info), 8 + 304);
        assert_eq!(size_of::<Frame>(), 440);
        assert_eq!(offset_of!(Context, stack), offset_of!(libc::ucontext_t, uc_stack));
        assert_eq!(offset_of!(Context, machine), offset_of!(libc::ucontext_t, uc_mcontext));
        assert_eq!(offset_of!(Context, mask), offset_of!(libc::ucontext_t, uc_sigmask));
        assert_eq!(size_of::<MachineContext>(), size_of::<libc::mcontext_t>());
        let register = |number: i32| number as usize * 8;
        assert_eq!(offset_of!(MachineContext, r8), register(libc::REG_R8));
        assert_eq!(offset_of!(MachineContext, rdi), register(libc::REG_RDI));
        assert_eq!(offset_of!(MachineContext, rbp), register(libc::REG_RBP));
        assert_eq!(offset_of!(MachineContext, rax), register(libc::REG_RAX));
        assert_eq!(offset_of!(MachineContext, rsp), register(libc::REG_RSP));
        assert_eq!(offset_of!(MachineContext, rip), register(libc::REG_RIP));
        assert_eq!(offset_of!(MachineContext, rflags), register(libc::REG_EFL));
        assert_eq!(offset_of!(MachineContext, segments), register(libc::REG_CSGSFS));
        assert_eq!(offset_of!(MachineContext, vector), register(libc::REG_TRAPNO));
        assert_eq!(offset_of!(MachineContext, cr2), register(libc::REG_CR2));
        assert_eq!(offset_of!(MachineContext, extended_state), 23 * 8);
    }

    #[test]
    fn frames_are_aligned_as_the_abi_asks() {
        for top in 0x8000..0x8080 {
            for placement in [Placement::below(top, 2692), Placement::in_one_page_below(top, 2692)] {
                assert_eq!((placement.extended_state % 64, (placement.frame + 8) % 16), (0, 0));
                assert_eq!(placement.end, placement.extended_state + 2692);
                assert!(placement.end <= top);
                assert!(placement.frame + size_of::<Frame>() <= placement.extended_state);
            }
        }
    }

    #[test]
    fn frames_lie_in_one_page_if_they_can() {
        for top in (0x8000..0xa000).step_by(8) {
            let placement = Placement::in_one_page_below(top, 2692);
            assert!(placement.lies_in_one_page());
            assert!(placement == Placement::below(top, 2692) || placement.end > top - PAGE_SIZE);
        }
        assert_eq!(Placement::in_one_page_below(0x8040, 5000), Placement::below(0x8040, 5000));
    }

    #[test]
    fn registers_survive_the_round_trip() {
        let registers =
            Registers { r8: 1, r15: 2, rdi: 3, rax: 4, rsp: 5, rip: 6, rflags: 7, ..Registers::default() };
        let mut saved = MachineContext::default();
        saved.save(&registers, LastFault::default(), SignalSet(9), 0x40);
        let mut present = Registers { fs_base: 8, rax: 99, ..Registers::default() };
        saved.restore(&mut present);
        assert_eq!(present, Registers { fs_base: 8, ..registers });
    }

    #[test]
    fn only_a_note_of_the_right_size_is_believed() {
        assert!(!StateNote::read_from_bytes(&[0; 48]).unwrap().announces(2696));
        let note = StateNote::new(2696, 7);
        assert_eq!((size_of::<StateNote>(), note.extended_size), (LEGACY_STATE - NOTE_AT, 2700));
        assert!(note.announces(2696));
        assert!(!note.announces(2688));
        assert_eq!(framed_size(512, 0), 512);
    }
}

//! Exceptions: what each means when a program causes it, and the end of the kernel when the kernel does.
//!
//! The table says what Linux tells the program: the signal, `si_code`, and whether `si_addr` is the instruction or zero.
//! It was checked against a running Linux, whose answers are not always the documented ones: INT3 gives SI_KERNEL and no
//! address where sigaction(2) has TRAP_BRKPT.

use super::entry::{self, Frame, STUB_SIZE};
use super::stacks::{ExceptionStack, STACKS};
use crate::abi::{Signal, linux};
use crate::arch::{Access, Exception, Trap};
use core::arch::asm;
use x86_64::PrivilegeLevel::Ring3;
use x86_64::VirtAddr;
use x86_64::registers::control::Cr2;
use x86_64::structures::idt::{InterruptDescriptorTable, PageFaultErrorCode};

/// How an exception of a program is told to it.
enum Kind {
    /// Signal, `si_code`, and `si_addr` zero.
    Plain(Signal, u32),
    /// Signal, `si_code`, and `si_addr` the instruction.
    AtInstruction(Signal, u32),
    /// Signal SIGTRAP; `si_code` from the debug status register.
    Debug,
    /// SIGFPE; `si_code` from the x87 status.
    X87,
    /// SIGFPE; `si_code` from MXCSR.
    Sse,
    /// Goes to the memory system.
    PageFault,
    /// Not a program's doing: the kernel ends.
    Fatal,
}

const SEGMENTATION: Kind = Kind::Plain(Signal::SIGSEGV, linux::SI_KERNEL);

/// Name and meaning of each exception, by vector.
static KINDS: [(&str, Kind); 32] = {
    use Kind::{AtInstruction, Debug, Fatal, PageFault, Plain, Sse, X87};
    use linux::{BUS_ADRALN, FPE_INTDIV, ILL_ILLOPN, SI_KERNEL};
    [
        ("divide error", AtInstruction(Signal::SIGFPE, FPE_INTDIV)),
        ("debug exception", Debug),
        ("non-maskable interrupt", Fatal),
        ("breakpoint", Plain(Signal::SIGTRAP, SI_KERNEL)),
        ("overflow", SEGMENTATION),
        ("bound range exceeded", SEGMENTATION),
        ("invalid opcode", AtInstruction(Signal::SIGILL, ILL_ILLOPN)),
        ("device not available", Fatal), // The kernel never turns the FPU off.
        ("double fault", Fatal),
        ("coprocessor segment overrun", Plain(Signal::SIGFPE, SI_KERNEL)),
        ("invalid task state segment", SEGMENTATION),
        ("segment not present", Plain(Signal::SIGBUS, SI_KERNEL)),
        ("stack segment fault", Plain(Signal::SIGBUS, SI_KERNEL)),
        ("general protection fault", SEGMENTATION),
        ("page fault", PageFault),
        ("reserved exception 15", Fatal),
        ("x87 floating-point error", X87),
        ("alignment check", Plain(Signal::SIGBUS, BUS_ADRALN)),
        ("machine check", Fatal),
        ("SIMD floating-point error", Sse),
        ("virtualization exception", Fatal),
        ("control protection exception", SEGMENTATION),
        ("reserved exception 22", Fatal),
        ("reserved exception 23", Fatal),
        ("reserved exception 24", Fatal),
        ("reserved exception 25", Fatal),
        ("reserved exception 26", Fatal),
        ("reserved exception 27", Fatal),
        ("hypervisor injection", Fatal),
        ("VMM communication exception", Fatal),
        ("security exception", Fatal),
        ("reserved exception 31", Fatal),
    ]
};

/// Bits of the x87 status and of MXCSR, in the order in which Linux looks, and the `si_code` of each.
const FLOATING_POINT: [(u32, u32); 5] = [
    (0x01, linux::FPE_FLTINV), // Invalid operation.
    (0x04, linux::FPE_FLTDIV), // Division by zero.
    (0x08, linux::FPE_FLTOVF), // Overflow.
    (0x12, linux::FPE_FLTUND), // Denormal operand or underflow.
    (0x20, linux::FPE_FLTRES), // Inexact result.
];

/// Fills and loads the interrupt table: every vector goes to its own few bytes in entry.rs.
pub fn load() {
    static TABLE: spin::Once<InterruptDescriptorTable> = spin::Once::new();

    let address = |vector: usize| {
        VirtAddr::from_ptr((entry::exception_stubs as *const u8).wrapping_add(vector * STUB_SIZE))
    };
    let table = TABLE.call_once(|| {
        let mut table = InterruptDescriptorTable::new();
        // SAFETY: each address is that of code which treats what this vector pushes; the stacks are reserved for this.
        unsafe {
            table.divide_error.set_handler_addr(address(0));
            table.debug.set_handler_addr(address(1));
            let own_stack = ExceptionStack::NonMaskable as u16;
            table.non_maskable_interrupt.set_handler_addr(address(2)).set_stack_index(own_stack);
            // Two that a program may ask for by INT; any other INT is a general protection fault.
            table.breakpoint.set_handler_addr(address(3)).set_privilege_level(Ring3);
            table.overflow.set_handler_addr(address(4)).set_privilege_level(Ring3);
            table.bound_range_exceeded.set_handler_addr(address(5));
            table.invalid_opcode.set_handler_addr(address(6));
            table.device_not_available.set_handler_addr(address(7));
            let own_stack = ExceptionStack::DoubleFault as u16;
            table.double_fault.set_handler_addr(address(8)).set_stack_index(own_stack);
            table.invalid_tss.set_handler_addr(address(10));
            table.segment_not_present.set_handler_addr(address(11));
            table.stack_segment_fault.set_handler_addr(address(12));
            table.general_protection_fault.set_handler_addr(address(13));
            table.page_fault.set_handler_addr(address(14));
            table.x87_floating_point.set_handler_addr(address(16));
            table.alignment_check.set_handler_addr(address(17));
            let own_stack = ExceptionStack::MachineCheck as u16;
            table.machine_check.set_handler_addr(address(18)).set_stack_index(own_stack);
            table.simd_floating_point.set_handler_addr(address(19));
            table.virtualization.set_handler_addr(address(20));
            table.cp_protection_exception.set_handler_addr(address(21));
            for (vector, gate) in (32..).zip(table.slice_mut(32..)) {
                gate.set_handler_addr(address(vector));
            }
        }
        table
    });
    table.load();
}

/// What a program's exception means. `vector` is below 32, and nothing has happened on this CPU since.
#[cold]
pub fn explain(vector: usize, frame: &Frame) -> Trap {
    let (name, kind) = &KINDS[vector];
    let instruction = frame.registers.rip as usize;
    let trap = |signal, code: u32, address| {
        Trap::Exception(Exception {
            signal,
            code: code.cast_signed(),
            address,
            vector: vector as u8,
            error_code: frame.error_code as u32,
        })
    };
    let floating_point = |raised: u32| match FLOATING_POINT.iter().find(|(bits, _)| raised & bits != 0) {
        Some(&(_, code)) => trap(Signal::SIGFPE, code, instruction),
        // The cause is gone: run on.
        None => Trap::Interrupt,
    };
    match *kind {
        Kind::Plain(signal, code) => trap(signal, code, 0),
        Kind::AtInstruction(signal, code) => trap(signal, code, instruction),
        Kind::Debug => trap(Signal::SIGTRAP, debug_code(), instruction),
        Kind::X87 => floating_point(x87_errors()),
        Kind::Sse => floating_point(sse_errors()),
        Kind::PageFault => {
            let cause = PageFaultErrorCode::from_bits_truncate(frame.error_code);
            if cause.contains(PageFaultErrorCode::USER_MODE) {
                page_fault(cause)
            } else {
                // The processor touched memory in its own name for the program: a descriptor, or, as some emulators do
                // it, the stack of a far return. No page that could be mapped would help.
                trap(Signal::SIGSEGV, linux::SI_KERNEL, 0)
            }
        }
        Kind::Fatal => panic!("{name} in user mode at {instruction:#x}"),
    }
}

fn page_fault(cause: PageFaultErrorCode) -> Trap {
    let address = Cr2::read_raw() as usize;
    assert!(!cause.contains(PageFaultErrorCode::MALFORMED_TABLE), "a page table is damaged at {address:#x}");
    Trap::PageFault { address, access: access(cause) }
}

fn access(cause: PageFaultErrorCode) -> Access {
    if cause.contains(PageFaultErrorCode::INSTRUCTION_FETCH) {
        Access::Execute
    } else if cause.contains(PageFaultErrorCode::CAUSED_BY_WRITE) {
        Access::Write
    } else {
        Access::Read
    }
}

/// `si_code` of a debug exception; clears the status, which the processor only adds to.
fn debug_code() -> u32 {
    const NOTHING: u64 = 0xffff_0ff0;
    const SINGLE_STEP: u64 = 1 << 14;
    const BREAKPOINTS: u64 = 0xf;
    let status: u64;
    // SAFETY: the status says what happened and steers nothing.
    unsafe {
        asm!("mov {}, dr6", out(reg) status, options(nomem, nostack, preserves_flags));
        asm!("mov dr6, {}", in(reg) NOTHING, options(nomem, nostack, preserves_flags));
    }
    if status & SINGLE_STEP != 0 {
        linux::TRAP_TRACE
    } else if status & BREAKPOINTS != 0 {
        linux::TRAP_HWBKPT
    } else {
        linux::TRAP_BRKPT // The one-byte INT1.
    }
}

/// The x87 errors that are raised and not masked. The program's state is still in the processor.
fn x87_errors() -> u32 {
    let (mut status, mut control) = (0_u16, 0_u16);
    // SAFETY: both only store, and neither checks for pending errors first ("fn": no wait).
    unsafe {
        asm!("fnstsw [{}]", "fnstcw [{}]", in(reg) &mut status, in(reg) &mut control, options(nostack, preserves_flags));
    }
    u32::from(status & !control)
}

/// The SSE errors that are raised and not masked.
fn sse_errors() -> u32 {
    let mut control_and_status = 0_u32;
    // SAFETY: it only stores.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &mut control_and_status, options(nostack, preserves_flags));
    }
    control_and_status & !(control_and_status >> 7)
}

/// What the processor held when the kernel caused an exception, as entry.rs pushes it.
#[repr(C)]
#[derive(Debug)]
#[allow(missing_docs, reason = "their names say which they are")]
pub struct KernelFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// The kernel itself caused an exception, or one came that nobody can mend.
pub extern "C" fn kernel_exception(frame: &'static KernelFrame) -> ! {
    // A non-maskable interrupt may have come while GS was still the program's. Nothing returns from here, so set it anew.
    super::cpu::install();
    super::cpu::current().fatal_frame.set(Some(frame));

    let (name, _) = KINDS[frame.vector as usize & 31];
    let address = Cr2::read_raw() as usize;
    const DOUBLE_FAULT: u64 = 8;
    const PAGE_FAULT: u64 = 14;
    match frame.vector {
        DOUBLE_FAULT if STACKS.overflowed(address) => {
            panic!("the kernel stack is full (double fault at {:#x})", frame.rip)
        }
        PAGE_FAULT => {
            let cause = PageFaultErrorCode::from_bits_truncate(frame.error_code);
            let why = if cause.contains(PageFaultErrorCode::PROTECTION_VIOLATION) {
                "not allowed"
            } else {
                "not mapped"
            };
            panic!("page fault in the kernel at {:#x}: {:?} of {address:#x}, {why}", frame.rip, access(cause))
        }
        _ => panic!("{name} in the kernel at {:#x}, error code {:#x}", frame.rip, frame.error_code),
    }
}

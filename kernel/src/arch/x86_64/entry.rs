//! The border between kernel and user mode, in both directions, in assembly.
//!
//! Seen from Rust, user mode is one function, [`run`]: it takes a [`Frame`] of registers, and returns a reason with the
//! frame brought up to date. Below that there are one way down and two ways up:
//!
//! ```text
//!   run ──> enter_by_* ── sysretq / iretq ──>  the program
//!     <── ret ── syscall_entry   <── syscall ──┤
//!     <── ret ── exception_common <── fault, interrupt
//! ```
//!
//! Either `enter` notes the kernel's stack pointer in the CPU's area and leaves. Whichever way the program comes back, the
//! entry stores its registers in the frame, takes that stack pointer up again, and executes the RET that `enter` did not. So the kernel has no "return from system call" path, and its stack is the same before and after.
//!
//! RBX and RBP are pushed by hand, as the compiler will not give them up; that all others are changed is declared to it
//! ([`run`]), and it saves those it needs. Most often it needs none, which is cheaper than saving six each time.
//!
//! **SYSRET** is the short way down: RIP from RCX, RFLAGS from R11, nothing else. It is taken when the program came by
//! SYSCALL and nobody has replaced its registers since: RCX and R11 held just these then, and the address is where a
//! SYSCALL stood, so it is canonical: USER_END sees to it. (SYSRET to an address that is not canonical faults in the
//! kernel on Intel's processors.) Everything else goes the long way, IRET, which loads all. The entry by SYSCALL leaves one
//! word, [`Frame::way`], which is zero if SYSRET will do; all that forbids it is noted there, so going down takes one look.
//!
//! **SWAPGS** is executed once on each crossing. An entry that does not know which side it came from (an exception) looks at
//! the privilege level in the CS that the processor pushed.

use super::cpu::Cpu;
use super::descriptors::{USER_CODE, USER_DATA};
use crate::arch::Registers;
use core::mem::offset_of;

/// What crosses the border.
#[repr(C)]
#[derive(Clone)]
pub struct Frame {
    /// The program's. After a system call, `rcx` and `r11` are stale: the program's RCX is `rip` then, and its R11
    /// `rflags`. `fs_base` and `gs_base` stay in the processor and are not looked at here.
    pub registers: Registers,
    /// Zero after a system call: go by SYSRET, at once. Else why not: [`LOOK`], [`WHOLE`], [`TRAP`].
    pub way: u64,
    /// The processor's error code of the last exception.
    pub error_code: u64,
}

/// In [`Frame::way`]: the processor does not hold what the program needs.
pub const LOOK: u64 = 1;
/// In [`Frame::way`]: `rcx` and `r11` are the program's, which only IRET loads; and `rip` may be anything.
pub const WHOLE: u64 = 2;
/// In [`Frame::way`], and the processor's flag: single-stepping. SYSRET would trap before the next instruction, IRET does
/// after it.
pub const TRAP: u64 = 0x100;

impl Frame {
    /// The registers as the program sees them, none of them stale; it goes by IRET from then on.
    #[inline(always)]
    pub fn whole(&mut self) -> &mut Registers {
        if self.way & WHOLE == 0 {
            // It came by SYSCALL, which leaves these two so.
            self.registers.rcx = self.registers.rip;
            self.registers.r11 = self.registers.rflags;
            self.way |= WHOLE;
        }
        &mut self.registers
    }
}

/// What [`run`] returns for a system call. Smaller numbers are the vector of an exception or an interrupt.
pub const SYSCALL: usize = 256;

/// Bytes from one vector's code in [`exception_stubs`] to the next.
pub const STUB_SIZE: usize = 16;

unsafe extern "C" {
    fn enter_by_sysret();
    fn enter_by_iret();
    fn idle_wait();
    /// Where SYSCALL goes.
    pub fn syscall_entry();
    /// Where the 256 entries of the interrupt table go: this address plus the vector times [`STUB_SIZE`].
    pub fn exception_stubs();
}

/// Runs the program until it stops: returns [`SYSCALL`] or a vector.
///
/// # Safety
/// The page table in force must map the kernel, the frame's `rip` must be canonical, and its flags must be ones that user
/// mode may have.
#[inline(always)]
pub unsafe fn run(frame: &mut Frame) -> usize {
    let reason: usize;
    macro_rules! enter {
        ($enter:ident) => {
            core::arch::asm!(
                "call {enter}",
                enter = sym $enter,
                inout("rdi") frame => _,
                out("rax") reason,
                out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            )
        };
    }
    // SAFETY: control comes back by the RET that matches this CALL, with the stack as it was; every register that
    // may have changed is declared. (The kernel is built without floating point and has nothing in those registers.)
    unsafe {
        if frame.way == 0 {
            enter!(enter_by_sysret);
        } else {
            enter!(enter_by_iret);
        }
    }
    reason
}

/// Waits for an interrupt, with interrupts on, and returns its vector, with interrupts off.
pub fn wait_for_interrupt() -> usize {
    let vector: usize;
    // SAFETY: as in `run`; the only thing that can happen there is an interrupt.
    unsafe {
        core::arch::asm!("call {wait}", wait = sym idle_wait, out("rax") vector);
    }
    vector
}

core::arch::global_asm!(
    // ---- Down the short way. RDI: the frame. ----
    ".global enter_by_sysret",
    "enter_by_sysret:",
    "push rbx",
    "push rbp",
    "mov gs:[{kernel_stack}], rsp",
    "mov gs:[{frame}], rdi",
    "mov r11, [rdi + {rflags}]",
    "mov rcx, [rdi + {rip}]",
    "mov r15, [rdi + {r15}]",
    "mov r14, [rdi + {r14}]",
    "mov r13, [rdi + {r13}]",
    "mov r12, [rdi + {r12}]",
    "mov rbp, [rdi + {rbp}]",
    "mov rbx, [rdi + {rbx}]",
    "mov r10, [rdi + {r10}]",
    "mov r9, [rdi + {r9}]",
    "mov r8, [rdi + {r8}]",
    "mov rax, [rdi + {rax}]",
    "mov rdx, [rdi + {rdx}]",
    "mov rsi, [rdi + {rsi}]",
    "mov rsp, [rdi + {rsp}]",
    "mov rdi, [rdi + {rdi}]",
    "swapgs",
    "sysretq",
    // ---- Down the long way: IRET takes five from the stack. ----
    ".global enter_by_iret",
    "enter_by_iret:",
    "push rbx",
    "push rbp",
    "mov gs:[{kernel_stack}], rsp",
    "mov gs:[{frame}], rdi",
    "push {user_data}",
    "push [rdi + {rsp}]",
    "push [rdi + {rflags}]",
    "push {user_code}",
    "push [rdi + {rip}]",
    "mov r15, [rdi + {r15}]",
    "mov r14, [rdi + {r14}]",
    "mov r13, [rdi + {r13}]",
    "mov r12, [rdi + {r12}]",
    "mov rbp, [rdi + {rbp}]",
    "mov rbx, [rdi + {rbx}]",
    "mov r11, [rdi + {r11}]",
    "mov r10, [rdi + {r10}]",
    "mov r9, [rdi + {r9}]",
    "mov r8, [rdi + {r8}]",
    "mov rax, [rdi + {rax}]",
    "mov rcx, [rdi + {rcx}]",
    "mov rdx, [rdi + {rdx}]",
    "mov rsi, [rdi + {rsi}]",
    "mov rdi, [rdi + {rdi}]",
    "swapgs",
    "iretq",
    // ---- Up by SYSCALL. RCX: the program's RIP; R11: its flags; RSP: still the program's. ----
    ".global syscall_entry",
    "syscall_entry:",
    "swapgs",
    "mov gs:[{scratch}], rsp",
    "mov rsp, gs:[{frame}]",
    "mov [rsp + {rip}], rcx",
    "mov [rsp + {rflags}], r11",
    "mov [rsp + {r15}], r15",
    "mov [rsp + {r14}], r14",
    "mov [rsp + {r13}], r13",
    "mov [rsp + {r12}], r12",
    "mov [rsp + {rbp}], rbp",
    "mov [rsp + {rbx}], rbx",
    "mov [rsp + {r10}], r10",
    "mov [rsp + {r9}], r9",
    "mov [rsp + {r8}], r8",
    "mov [rsp + {rax}], rax",
    "mov [rsp + {rdx}], rdx",
    "mov [rsp + {rsi}], rsi",
    "mov [rsp + {rdi}], rdi",
    "mov rax, gs:[{scratch}]",
    "mov [rsp + {rsp}], rax",
    "and r11d, {trap_flag}",
    "mov [rsp + {way}], r11",
    "mov eax, {syscall}",
    "mov rsp, gs:[{kernel_stack}]",
    "pop rbp",
    "pop rbx",
    "ret",
    // ---- Up by exception or interrupt: one piece of code for each vector, to tell them apart. ----
    // Some push an error code, the rest get a zero, so that all look alike.
    ".balign 16",
    ".global exception_stubs",
    "exception_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign {stub_size}",
    ".if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30",
    "push 0",
    ".endif",
    "push vector",
    "jmp exception_common",
    ".set vector, vector + 1",
    ".endr",
    // On the stack, from the top: vector, error code, RIP, CS, RFLAGS, RSP, SS.
    "exception_common:",
    "test byte ptr [rsp + 24], 3", // The privilege level in CS.
    "jz 4f",
    "swapgs",
    "push rax",
    "mov rax, gs:[{frame}]",
    "mov [rax + {r15}], r15",
    "mov [rax + {r14}], r14",
    "mov [rax + {r13}], r13",
    "mov [rax + {r12}], r12",
    "mov [rax + {rbp}], rbp",
    "mov [rax + {rbx}], rbx",
    "mov [rax + {r11}], r11",
    "mov [rax + {r10}], r10",
    "mov [rax + {r9}], r9",
    "mov [rax + {r8}], r8",
    "mov [rax + {rcx}], rcx",
    "mov [rax + {rdx}], rdx",
    "mov [rax + {rsi}], rsi",
    "mov [rax + {rdi}], rdi",
    "pop [rax + {rax}]",
    "pop rcx", // The vector.
    "pop [rax + {error_code}]",
    "pop [rax + {rip}]",
    "pop rdx", // CS; there is only one.
    "pop [rax + {rflags}]",
    "pop [rax + {rsp}]",
    "mov qword ptr [rax + {way}], {whole}",
    // An interrupt gate clears only IF and TF. All flags zero (bit 1 is always one): strings ascend, and no AC.
    "push 2",
    "popfq",
    "mov eax, ecx",
    "mov rsp, gs:[{kernel_stack}]",
    "pop rbp",
    "pop rbx",
    "ret",
    // From the kernel. An interrupt: it can only have come to `idle_wait`, below, and is what that waits for.
    "4:",
    "cmp qword ptr [rsp], 32",
    "jb 5f",
    "pop rax",
    "mov rsp, [rsp + 32]", // As it was in `idle_wait`: on top is the address it returns to.
    "ret",
    // An exception: the end. The registers make a KernelFrame for the report.
    "5:",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rdi, rsp",
    "and rsp, -16",
    "cld",
    "call {kernel_exception}",
    "ud2",
    // ---- Waiting. STI takes effect after the instruction behind it, so no interrupt can slip in before HLT. ----
    ".global idle_wait",
    "idle_wait:",
    "sti",
    "hlt",
    "jmp idle_wait",
    kernel_stack = const offset_of!(Cpu, kernel_stack),
    frame = const offset_of!(Cpu, frame),
    scratch = const offset_of!(Cpu, scratch),
    way = const offset_of!(Frame, way),
    whole = const WHOLE,
    error_code = const offset_of!(Frame, error_code),
    r15 = const offset_of!(Frame, registers.r15),
    r14 = const offset_of!(Frame, registers.r14),
    r13 = const offset_of!(Frame, registers.r13),
    r12 = const offset_of!(Frame, registers.r12),
    rbp = const offset_of!(Frame, registers.rbp),
    rbx = const offset_of!(Frame, registers.rbx),
    r11 = const offset_of!(Frame, registers.r11),
    r10 = const offset_of!(Frame, registers.r10),
    r9 = const offset_of!(Frame, registers.r9),
    r8 = const offset_of!(Frame, registers.r8),
    rax = const offset_of!(Frame, registers.rax),
    rcx = const offset_of!(Frame, registers.rcx),
    rdx = const offset_of!(Frame, registers.rdx),
    rsi = const offset_of!(Frame, registers.rsi),
    rdi = const offset_of!(Frame, registers.rdi),
    rip = const offset_of!(Frame, registers.rip),
    rflags = const offset_of!(Frame, registers.rflags),
    rsp = const offset_of!(Frame, registers.rsp),
    user_data = const USER_DATA.0,
    user_code = const USER_CODE.0,
    trap_flag = const TRAP,
    syscall = const SYSCALL,
    stub_size = const STUB_SIZE,
    kernel_exception = sym super::exceptions::kernel_exception,
);

//! The stub: the few instructions of the kernel's own in every program's host process.
//!
//! Whatever stops a program other than an ordinary system call is a host signal, and the stub is the handler of them all.
//! By then the host has saved the program's registers in the slot's stack, where the kernel can see and change them. The
//! stub makes a system call that the host hands to the kernel (as it hands over all others: see [`super::filter`]) and so
//! waits for its turn. The answer says how many operations to do, host calls written down in the slot, and whether then to
//! give the program its registers back. Nothing else in a host process knows that there is a kernel.
//!
//! It is position-independent, uses no stack and only general registers, and keeps nothing between two traps. A program
//! can read it and jump into it. That gains it nothing: what the stub may ask of the host is checked by the kernel, call
//! by call, against what the kernel itself has just ordered.

use super::{layout, turns};
use core::arch::global_asm;

/// The number of the stub's own call: "here I am". No system call has it.
pub const TRAP: i32 = 0x7e57;
/// In the answer to [`TRAP`], above the number of operations: then go back to the program.
pub const GO_BACK: i64 = 1 << 16;

global_asm!(
    ".pushsection .rodata.stub, \"a\", @progbits",
    ".balign 16",
    // To be seen by Rust code that the compiler puts into another object file.
    ".globl gnomon_stub, gnomon_stub_handler, gnomon_stub_restorer, gnomon_stub_end",
    ".hidden gnomon_stub, gnomon_stub_handler, gnomon_stub_restorer, gnomon_stub_end",
    "gnomon_stub:",
    // The first host process begins here, as the host's execve(2) left it: it maps its slot, and does what is written there.
    "mov eax, {mmap}",
    "movabs rdi, {slots}",
    "mov esi, {slot_size}",
    "mov edx, 3", // PROT_READ | PROT_WRITE
    "mov r10d, 0x11", // MAP_SHARED | MAP_FIXED
    "mov r8d, {slots_descriptor}",
    "xor r9d, r9d",
    "syscall",
    "movabs r15, {slots}",
    "cmp rax, r15",
    "jne gnomon_stub_end_of_life",
    "mov ebx, [r15 + {start_count}]",
    "lea r14, [rip + gnomon_stub_end_of_life]",
    "jmp 3f",

    // Every host signal enters here: rdi is its number, rsp is at the frame, in the slot's stack.
    ".balign 16",
    "gnomon_stub_handler:",
    "mov r12, rdi",
    "mov r15, rsp",
    "and r15, -{slot_size}",
    "rdfsbase rax",
    "mov [r15 + {bases}], rax",
    "rdgsbase rax",
    "mov [r15 + {bases} + 8], rax",
    // Tell the kernel which signal it was (0: operations are done), and wait.
    "2:",
    "cmp dword ptr [r15 + {by_word}], 0",
    "jne gnomon_stub_by_word",
    "mov eax, {trap}",
    "mov rdi, r12",
    "mov rsi, rsp",
    "syscall",
    "gnomon_stub_answered:",
    "test rax, rax",
    "js gnomon_stub_end_of_life", // There is no kernel any more.
    "movzx ebx, ax",
    "mov ebp, eax",
    "shr ebp, 16",
    "lea r14, [rip + 8f]",
    "test ebx, ebx",
    "jnz 3f",
    "8:",
    "xor r12d, r12d",
    "test ebp, ebp",
    "jz 2b",
    "mov rax, [r15 + {bases}]",
    "wrfsbase rax",
    "mov rax, [r15 + {bases} + 8]",
    "wrgsbase rax",
    "add rsp, 8",
    // Not called by `ret`, as a handler would, so that nothing depends on the address in the frame.
    "gnomon_stub_restorer:",
    "mov eax, {rt_sigreturn}",
    "syscall",
    "ud2",

    // Does ebx operations, then jumps to r14. After one that fails it does no more, and tells so by ebp = 0.
    "3:",
    "lea r13, [r15 + {operations}]",
    "4:",
    "mov rax, [r13]",
    "mov rdi, [r13 + 8]",
    "mov rsi, [r13 + 16]",
    "mov rdx, [r13 + 24]",
    "mov r10, [r13 + 32]",
    "mov r8, [r13 + 40]",
    "mov r9, [r13 + 48]",
    "syscall",
    "cmp qword ptr [r13], {clone}",
    "je 6f",
    "5:",
    "mov [r13 + 56], rax",
    "cmp rax, -4095",
    "jae 7f",
    "9:",
    "add r13, 64",
    "dec ebx",
    "jnz 4b",
    "jmp r14",
    // What follows a clone is for the child. It finds its slot by its stack pointer. A new process sees its maker's slot
    // there until its next operation maps its own over it, so nothing may be written before that.
    "6:",
    "test rax, rax",
    "jnz 1f",
    "mov r15, rsp",
    "and r15, -{slot_size}",
    "and r13d, {slot_size} - 1",
    "add r13, r15",
    "jmp 9b",
    "1:",
    "mov [r13 + 56], rax",
    "7:",
    "xor ebp, ebp",
    "jmp r14",

    // The same without notifications: by a word that both wait on, futex(2).
    "gnomon_stub_by_word:",
    "mov [r15 + {report}], r12",
    "mov [r15 + {report} + 8], rsp",
    "mov dword ptr [r15 + {turn}], {kernels}",
    "mov eax, {futex}",
    "lea rdi, [r15 + {turn}]",
    "mov esi, {wake}",
    "mov edx, 1",
    "syscall",
    "gnomon_stub_waits:",
    "mov eax, {futex}",
    "lea rdi, [r15 + {turn}]",
    "mov esi, {wait}",
    "mov edx, {kernels}",
    "xor r10d, r10d",
    "syscall",
    "cmp dword ptr [r15 + {turn}], {kernels}",
    "je gnomon_stub_waits",
    "mov rax, [r15 + {answer}]",
    "jmp gnomon_stub_answered",

    "gnomon_stub_end_of_life:",
    "ud2",
    "gnomon_stub_end:",
    ".popsection",
    mmap = const libc::SYS_mmap,
    slots = const layout::SLOTS,
    slot_size = const layout::SLOT_SIZE,
    slots_descriptor = const layout::SLOTS_DESCRIPTOR,
    start_count = const layout::START_COUNT,
    bases = const layout::BASES,
    operations = const layout::OPERATIONS,
    by_word = const layout::BY_WORD,
    report = const layout::REPORT,
    turn = const layout::TURN,
    kernels = const turns::KERNELS,
    answer = const layout::ANSWER,
    futex = const libc::SYS_futex,
    wake = const libc::FUTEX_WAKE,
    wait = const libc::FUTEX_WAIT,
    trap = const TRAP,
    rt_sigreturn = const libc::SYS_rt_sigreturn,
    clone = const libc::SYS_clone,
);

unsafe extern "C" {
    static gnomon_stub: u8;
    static gnomon_stub_handler: u8;
    static gnomon_stub_restorer: u8;
    static gnomon_stub_end: u8;
}

/// Where the code lies in the image: behind the headers.
const CODE: usize = 192;

/// The address in host processes of a place in the stub.
fn address(place: *const u8) -> usize {
    layout::STUB + CODE + (place.addr() - (&raw const gnomon_stub).addr())
}

/// The handler of all host signals.
pub fn handler() -> usize {
    address(&raw const gnomon_stub_handler)
}

/// What the host wants to be told as a handler's way back.
pub fn restorer() -> usize {
    address(&raw const gnomon_stub_restorer)
}

/// Whether an instruction lies in the stub.
pub fn contains(instruction: u64) -> bool {
    instruction as usize & !(crate::arch::PAGE_SIZE - 1) == layout::STUB
}

/// The executable file that the first host process is made from: the stub behind the least headers that a host takes.
///
/// Loading a program of its own, rather than making a copy of the kernel's process, leaves nothing of the kernel in it:
/// not its memory, and not what a C library keeps in a process (the host writes to some of that).
pub fn image() -> Vec<u8> {
    let start = &raw const gnomon_stub;
    let length = (&raw const gnomon_stub_end).addr() - start.addr();
    assert!(CODE + length <= crate::arch::PAGE_SIZE, "the stub is one page");
    // SAFETY: the assembler put so many bytes there.
    let code = unsafe { core::slice::from_raw_parts(start, length) };
    let mut image = headers((CODE + length) as u64);
    image.extend_from_slice(code);
    image
}

/// An ELF header and two program headers, elf(5), for a file of this size that is one piece of code.
fn headers(size: u64) -> Vec<u8> {
    let mut headers = Vec::with_capacity(CODE);
    let mut put = |width: usize, values: &[u64]| {
        values.iter().for_each(|value| headers.extend_from_slice(&value.to_le_bytes()[..width]))
    };
    let place = layout::STUB as u64;
    let page = crate::arch::PAGE_SIZE as u64;
    put(4, &[0x464c_457f]);
    // Of 64 bits, little endian, version 1.
    put(1, &[2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    put(2, &[libc::ET_EXEC.into(), libc::EM_X86_64.into()]);
    put(4, &[1]);
    // Where it begins; its program headers come next, and it has no sections.
    put(8, &[place + CODE as u64, 64, 0]);
    put(4, &[0]);
    put(2, &[64, 56, 2, 0, 0, 0]);
    put(4, &[libc::PT_LOAD.into(), (libc::PF_R | libc::PF_X).into()]);
    put(8, &[0, place, place, size, size, page]);
    // Without this one, some hosts would make everything executable that can be read.
    put(4, &[libc::PT_GNU_STACK.into(), (libc::PF_R | libc::PF_W).into()]);
    put(8, &[0, 0, 0, 0, 0, 16]);
    headers.resize(CODE, 0);
    headers
}

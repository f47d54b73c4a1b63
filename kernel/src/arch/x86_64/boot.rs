//! From the loader's 32-bit mode to Rust at the kernel's own address: PVH boot.
//!
//! PVH began as Xen's way to start a kernel in a virtual machine without a BIOS. The ELF file carries a note that
//! names a 32-bit entry point; the loader (QEMU's `-kernel`, through its firmware) copies the program's segments to
//! their physical addresses and jumps there with
//! * protected mode on, paging off, interrupts off, flat 4 GiB segments,
//! * EBX holding the physical address of `struct hvm_start_info` (start_info.rs).
//!
//! No stack is promised, and no descriptor table that may still be used. (The alternatives: Multiboot 1 passes less and
//! refuses 64-bit ELF files; Linux's own boot protocol wants a "bzImage" with a setup header; UEFI wants a PE file.)
//!
//! What the code below does, in this order, because each step needs the one before:
//! 1. Ask CPUID for long mode and no-execute pages; there is no kernel without them.
//! 2. Load CR3 with page tables that the assembler has already filled in, turn on PAE, long mode and no-execute in EFER,
//!    then paging. The processor is now in long mode, still running 32-bit code.
//! 3. Load a descriptor table with a 64-bit code segment and jump through it: now the code is 64-bit, but still at its
//!    physical address.
//! 4. Jump to the same code's address in the top 2 GiB, where it was linked to run.
//! 5. Take the kernel's stack, fill `.bss` with zeros, and call Rust.
//!
//! The first tables map the first GiB of RAM three times with the same 512 entries of 2 MiB: where it is (for step 3), at
//! the direct map, and at the kernel's address. Everything may be written and executed there; kernel_space.rs replaces
//! them a few hundred microseconds later.

use super::layout::{DIRECT_MAP, KERNEL_OFFSET};

core::arch::global_asm!(
    // ---- The note: name size, descriptor size, type 18 ("physical 32-bit entry point"), name, descriptor. ----
    ".pushsection .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad pvh_start - {offset}",
    ".popsection",
    // ---- The first page tables. An entry is an address and flags: 1 present, 2 writable, 0x80 a 2 MiB page. ----
    ".pushsection .boot.tables, \"awx\", @progbits",
    ".balign 4096",
    "boot_level4:",
    ".quad boot_level3_low - {offset} + 3", // The first 512 GiB: where RAM is.
    ".zero 8 * ({direct_slot} - 1)",
    ".quad boot_level3_low - {offset} + 3", // The direct map.
    ".zero 8 * (511 - {direct_slot} - 1)",
    ".quad boot_level3_high - {offset} + 3", // The last 512 GiB, for the kernel's own address.
    "boot_level3_low:",
    ".quad boot_level2 - {offset} + 3",
    ".zero 8 * 511",
    "boot_level3_high:",
    ".zero 8 * 510",
    ".quad boot_level2 - {offset} + 3", // The last but one GiB: 0xffff_ffff_8000_0000.
    ".quad 0",
    "boot_level2:",
    ".set boot_page, 0",
    ".rept 512",
    ".quad boot_page + 0x83",
    ".set boot_page, boot_page + 0x200000",
    ".endr",
    // ---- A descriptor table with the selectors the kernel will use later: 0x10 code, 0x18 data. ----
    "boot_descriptors:",
    ".quad 0, 0",
    ".quad 0x00af9b000000ffff", // 64-bit code, ring 0, present.
    ".quad 0x00cf93000000ffff", // Data, ring 0, present, writable.
    "boot_descriptors_pointer:",
    ".word 4 * 8 - 1",
    ".long boot_descriptors - {offset}",
    ".popsection",
    // ---- Code. ----
    ".pushsection .boot.text, \"ax\", @progbits",
    ".code32",
    ".global pvh_start", // Global, because the linker script names it as the entry point.
    "pvh_start:",
    "cld",
    "mov edi, ebx", // The start_info's address is kept here until Rust gets it; CPUID writes EBX.
    "mov eax, 0x80000000",
    "cpuid",
    "cmp eax, 0x80000001", // Does it have the leaf that tells?
    "jb 2f",
    "mov eax, 0x80000001",
    "cpuid",
    "and edx, {has_long_mode_and_nx}",
    "cmp edx, {has_long_mode_and_nx}",
    "jne 2f",
    "mov eax, offset boot_level4 - {offset}",
    "mov cr3, eax",
    "mov eax, cr4",
    "or eax, {pae}", // Entries of 8 bytes: long mode has no others.
    "mov cr4, eax",
    "mov ecx, {efer}",
    "rdmsr",
    "or eax, {long_mode_and_nx}",
    "wrmsr",
    "mov eax, cr0",
    "or eax, {paging_and_write_protect}",
    "mov cr0, eax",
    "lgdt [boot_descriptors_pointer - {offset}]",
    // A far jump loads CS. Written as bytes (0xea, 32-bit offset, selector), as assemblers do not agree on its spelling.
    ".byte 0xea",
    ".long boot_64 - {offset}",
    ".word 0x10",
    // A processor that will not do: say so on the serial port as the firmware left it, and stop.
    "2:",
    "mov esi, offset boot_refusal - {offset}",
    "mov dx, 0x3f8",
    "3:",
    "lodsb",
    "test al, al",
    "jz 5f",
    "out dx, al",
    "jmp 3b",
    "5:",
    "hlt",
    "jmp 5b",
    "boot_refusal:",
    ".asciz \"Gnomon needs a 64-bit processor with no-execute pages\\r\\n\"",
    ".code64",
    "boot_64:",
    "movabs rax, offset boot_high",
    "jmp rax",
    "boot_high:",
    // In 64-bit mode these segments have neither base nor limit; leave nothing of the loader's in them.
    "mov eax, 0x18",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "xor eax, eax",
    "mov fs, eax",
    "mov gs, eax",
    "mov ebx, edi",
    // `.bss` by eights: several times faster than by bytes where the processor is emulated.
    "mov rdi, offset __bss_start",
    "mov rcx, offset __bss_end",
    "sub rcx, rdi",
    "shr rcx, 3",
    "rep stosq",
    "mov rsp, offset {stack} + {stack_top}",
    "xor ebp, ebp", // A backtrace ends at a frame pointer of zero.
    "mov edi, ebx", // First argument; writing 32 bits clears the upper half.
    "call {begin}", // `call`, so that the stack has the alignment a function expects.
    "ud2",
    ".popsection",
    offset = const KERNEL_OFFSET,
    direct_slot = const (DIRECT_MAP >> 39) & 511,
    has_long_mode_and_nx = const 1 << 29 | 1 << 20,
    pae = const 1 << 5,
    efer = const 0xc000_0080_u32,
    // LME: enable long mode; NXE: bit 63 of an entry forbids execution.
    long_mode_and_nx = const 1 << 8 | 1 << 11,
    // PG; WP: also the kernel may write only where the tables say so.
    paging_and_write_protect = const 1_u32 << 31 | 1 << 16,
    stack = sym super::stacks::STACKS,
    stack_top = const super::stacks::KERNEL_STACK_TOP,
    begin = sym super::begin,
);

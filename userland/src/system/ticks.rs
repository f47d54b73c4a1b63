//! What a call costs in ticks of the time stamp counter: the least of many, less the same code without the call.
//!
//! Under QEMU with `-icount shift=0` the counter moves by one for each instruction, so the result is the number of
//! instructions from the first of the function to its return, or of the kernel between SYSCALL and the return from
//! it. To be exact there, the code with and without the call differ in one instruction only: the call stands where
//! the empty version has a NOP. The least of many is taken because interrupts and caches only ever add.

use std::arch::asm;

/// How often each is tried; the first tries also fill caches and page tables.
const TRIES: usize = 64;

/// Ticks spent in the function at `address`, called with two arguments (the third is zero).
///
/// # Safety
/// A function of the C calling convention that accepts these arguments must be there.
pub unsafe fn of_function(address: usize, arguments: [usize; 2]) -> u64 {
    let with = least(|| {
        let (before, after): (u64, u64);
        // SAFETY: the caller vouches for the function; all registers a C function may change are declared lost,
        // and `sub rsp` keeps the stack aligned as `call` expects, past the red zone.
        unsafe {
            asm!(
                "mov r12, rsp",
                "sub rsp, 128",
                "and rsp, -16",
                "rdtsc",
                "shl rdx, 32",
                "lea r13, [rax + rdx]",
                "mov rdi, {first}",
                "mov rsi, {second}",
                "xor edx, edx",
                "call {function}",
                "rdtsc",
                "shl rdx, 32",
                "lea rax, [rax + rdx]",
                "mov rsp, r12",
                first = in(reg) arguments[0],
                second = in(reg) arguments[1],
                function = in(reg) address,
                out("r12") _,
                out("r13") before,
                out("rax") after,
                out("rdx") _,
                out("rdi") _,
                out("rsi") _,
                clobber_abi("C"),
            );
        }
        after.wrapping_sub(before)
    });
    let without = least(|| {
        let (before, after): (u64, u64);
        // SAFETY: only registers change.
        unsafe {
            asm!(
                "rdtsc",
                "shl rdx, 32",
                "lea r13, [rax + rdx]",
                "mov rdi, {first}",
                "mov rsi, {second}",
                "xor edx, edx",
                "nop",
                "rdtsc",
                "shl rdx, 32",
                "lea rax, [rax + rdx]",
                first = in(reg) arguments[0],
                second = in(reg) arguments[1],
                out("r13") before,
                out("rax") after,
                out("rdx") _,
                out("rdi") _,
                out("rsi") _,
                options(nostack),
            );
        }
        after.wrapping_sub(before)
    });
    with.saturating_sub(without)
}

/// Ticks from SYSCALL to the instruction after it, for system call `number` with two arguments.
pub fn of_call(number: i64, arguments: [usize; 2]) -> u64 {
    macro_rules! measured {
        ($instruction:literal) => {
            least(|| {
                let (before, after): (u64, u64);
                // SAFETY: the system call ABI; the calls measured here only read clocks and ids.
                unsafe {
                    asm!(
                        "rdtsc",
                        "shl rdx, 32",
                        "lea r13, [rax + rdx]",
                        "mov eax, {number:e}",
                        "xor edx, edx",
                        $instruction,
                        "rdtsc",
                        "shl rdx, 32",
                        "lea rax, [rax + rdx]",
                        number = in(reg) number,
                        in("rdi") arguments[0],
                        in("rsi") arguments[1],
                        out("r13") before,
                        out("rax") after,
                        out("rdx") _,
                        out("rcx") _,
                        out("r11") _,
                        options(nostack),
                    );
                }
                after.wrapping_sub(before)
            })
        };
    }
    let with = measured!("syscall");
    let without = measured!("nop");
    with.saturating_sub(without)
}

fn least(mut measure: impl FnMut() -> u64) -> u64 {
    (0..TRIES).map(|_| measure()).min().unwrap_or(0)
}

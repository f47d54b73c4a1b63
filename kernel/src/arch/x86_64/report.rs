//! What a panic shows of the machine: registers, and the chain of calls that led there.
//!
//! Every function keeps its caller's frame pointer at the address in RBP, and the return address above it; the chain ends at
//! zero, which boot.rs put there. Memory may be damaged when this runs, so a frame is read only where a stack is, and the
//! chain must go upwards.

use super::{cpu, exceptions::KernelFrame, stacks::STACKS, symbols};
use crate::arch::{Registers, registers::show};
use core::fmt::{Result, Write};
use x86_64::registers::control::Cr2;

/// How many callers to show.
const DEPTH: usize = 32;

/// Writes everything.
pub fn write(out: &mut dyn Write) -> Result {
    let frame_pointer: u64;
    // SAFETY: it only reads.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags))
    };
    if let Some(program) = cpu::current().last_program() {
        writeln!(out, "the program's registers:")?;
        program_registers(out, &program)?;
    }
    let fatal = cpu::current().fatal_frame.get();
    if let Some(frame) = fatal {
        writeln!(out, "the kernel's registers:")?;
        kernel_registers(out, frame)?;
    }
    writeln!(out, "backtrace:")?;
    if let Some(frame) = fatal {
        // Where it happened; the instruction itself and not the one before.
        call(out, frame.rip, frame.rip)?;
    }
    backtrace(out, fatal.map_or(frame_pointer, |frame| frame.rbp) as usize)
}

/// Registers of a structure, with their names.
macro_rules! named {
    ($of:expr, $($name:ident)*) => { [$((stringify!($name), $of.$name)),*] };
}

fn program_registers(out: &mut dyn Write, program: &Registers) -> Result {
    show(out, &named!(program, rip rsp rflags rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15))
}

fn kernel_registers(out: &mut dyn Write, frame: &KernelFrame) -> Result {
    show(out, &named!(frame, rip rsp rflags rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13))?;
    let (cr2, cr3) = (Cr2::read_raw(), super::tlb::current_root().0);
    show(out, &[("r14", frame.r14), ("r15", frame.r15), ("cr2", cr2), ("cr3", cr3)])?;
    show(out, &[("vector", frame.vector), ("error", frame.error_code)])
}

fn backtrace(out: &mut dyn Write, mut frame_pointer: usize) -> Result {
    for _ in 0..DEPTH {
        let end = frame_pointer.saturating_add(15);
        if !frame_pointer.is_multiple_of(8) || !STACKS.holds(frame_pointer) || !STACKS.holds(end) {
            break;
        }
        // SAFETY: both words lie on one of this CPU's stacks, which are mapped.
        let [caller, address] = unsafe { *core::ptr::with_exposed_provenance::<[usize; 2]>(frame_pointer) };
        if address == 0 {
            break;
        }
        // The return address may already belong to the next function, if the call was the last instruction.
        call(out, address as u64, address as u64 - 1)?;
        if caller <= frame_pointer {
            break;
        }
        frame_pointer = caller;
    }
    Ok(())
}

/// One line: the address, and the function it belongs to.
fn call(out: &mut dyn Write, address: u64, within: u64) -> Result {
    match symbols::lookup(within) {
        Some((name, offset)) => {
            let offset = offset as u64 + (address - within);
            writeln!(out, "  {address:016x} {:#}+{offset:#x}", rustc_demangle::demangle(name))
        }
        None => writeln!(out, "  {address:016x} ?"),
    }
}

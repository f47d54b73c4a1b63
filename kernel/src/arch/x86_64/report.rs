//! What a panic shows of the machine: registers, and the chain of calls that led there.
//!
//! Every function keeps its caller's frame pointer at the address in RBP, and the return address above it; the chain ends at
//! zero, which boot.rs put there. Memory may be damaged when this runs, so a frame is read only where a stack is, and the
//! chain must go upwards.

use super::{cpu, exceptions::KernelFrame, stacks::STACKS, symbols};
use core::fmt::{Result, Write};

/// How many callers to show.
const DEPTH: usize = 32;

/// Writes everything.
pub fn write(out: &mut dyn Write) -> Result {
    let fatal = cpu::current().fatal_frame.get();
    let frame_pointer: usize;
    // SAFETY: it only reads.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags))
    };
    match fatal {
        Some(frame) => {
            registers(out, frame)?;
            writeln!(out, "backtrace:")?;
            // Where it happened; the instruction itself and not the one before.
            call(out, frame.rip, frame.rip)?;
            backtrace(out, frame.rbp as usize)
        }
        None => {
            writeln!(out, "backtrace:")?;
            backtrace(out, frame_pointer)
        }
    }
}

fn registers(out: &mut dyn Write, frame: &KernelFrame) -> Result {
    let f = frame;
    writeln!(
        out,
        "rip {:016x} rsp {:016x} rflags {:08x} cs {:02x} ss {:02x}",
        f.rip, f.rsp, f.rflags, f.cs, f.ss
    )?;
    writeln!(out, "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}", f.rax, f.rbx, f.rcx, f.rdx)?;
    writeln!(out, "rsi {:016x} rdi {:016x} rbp {:016x} r8  {:016x}", f.rsi, f.rdi, f.rbp, f.r8)?;
    writeln!(out, "r9  {:016x} r10 {:016x} r11 {:016x} r12 {:016x}", f.r9, f.r10, f.r11, f.r12)?;
    writeln!(out, "r13 {:016x} r14 {:016x} r15 {:016x}", f.r13, f.r14, f.r15)?;
    let (cr2, cr3) = (x86_64::registers::control::Cr2::read_raw(), super::paging::current_root().0);
    writeln!(out, "cr2 {cr2:016x} cr3 {cr3:016x} vector {} error code {:x}", f.vector, f.error_code)
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

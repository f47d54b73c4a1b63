//! A program's register file, and how a panic shows registers of any kind.

use core::fmt::{Result, Write};

/// A program's general registers, in the order of `struct user_regs_struct`, sys/user.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say which they are")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rip: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub fs_base: u64,
    pub gs_base: u64,
}

/// Writes registers with their names, four to a line.
pub fn show(out: &mut dyn Write, values: &[(&str, u64)]) -> Result {
    for line in values.chunks(4) {
        for (name, value) in line {
            write!(out, "  {name:<6} {value:016x}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

//! What a panic shows of the machine: registers, and the chain of calls that led there.
//!
//! The process was built as any other, with the information a debugger wants, and the standard library knows how to
//! read it: so, unlike the bare machine, this one needs no symbol table of its own.

use super::faults;
use crate::arch::registers::show;
use core::fmt::{Result, Write};
use std::backtrace::Backtrace;

/// Names of the registers, in the order of `struct sigcontext`.
const NAMES: [&str; 18] = [
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx", "rax", "rcx",
    "rsp", "rip", "rflags",
];

/// Writes everything.
pub fn write(out: &mut dyn Write) -> Result {
    writeln!(out, "the kernel's registers:")?;
    match faults::registers() {
        Some(values) => {
            let named: [(&str, u64); NAMES.len()] =
                core::array::from_fn(|place| (NAMES[place], values[place] as u64));
            show(out, &named)?;
        }
        None => {
            let (rip, rsp, rbp): (u64, u64, u64);
            // SAFETY: it only reads.
            unsafe {
                core::arch::asm!(
                    "lea {}, [rip]", "mov {}, rsp", "mov {}, rbp",
                    out(reg) rip, out(reg) rsp, out(reg) rbp, options(nomem, nostack, preserves_flags)
                );
            }
            show(out, &[("rip", rip), ("rsp", rsp), ("rbp", rbp)])?;
        }
    }
    writeln!(out, "backtrace:")?;
    kernels_own(&Backtrace::force_capture().to_string()).try_for_each(|line| writeln!(out, "{line}"))
}

/// The lines of a backtrace that are the kernel's: the standard library marks, in its own frames, where a panic's machinery
/// and where a thread's end. A backtrace without the first mark is given whole.
fn kernels_own(backtrace: &str) -> impl Iterator<Item = &str> {
    let (panic, thread) = ("__rust_end_short_backtrace", "__rust_begin_short_backtrace");
    let from = backtrace.find(panic).map_or(0, |mark| backtrace[..mark].rfind('\n').map_or(0, |end| end + 1));
    backtrace[from..].lines().take_while(move |line| !line.contains(thread))
}

//! What a host signal means to the program it stopped.
//!
//! Little has to be translated: the host is the same kind of Linux that the bare machine imitates, so its signal, `si_code`
//! and `si_addr` are what the program is to see. Page faults are told apart, and what is a system call to the host but none on
//! the bare machine is turned into what it is there.

use super::frame::{Cause, FrameForm};
use super::process::Thread;
use super::running;
use crate::abi::{Signal, linux};
use crate::arch::{Access, Exception, Trap};

/// The vsyscall page.
const VSYSCALL: u64 = 0xffff_ffff_ff60_0000;
/// `si_arch` of an ordinary system call.
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

const PAGE_FAULT: u64 = 14;
const GENERAL_PROTECTION: u8 = 13;
/// `si_code` of SIGSEGV for a page fault: SEGV_MAPERR to SEGV_PKUERR.
const PAGE_FAULT_CODES: core::ops::RangeInclusive<i32> = 1..=4;

/// What a host signal means; of a system call also its arguments. `None`: nothing, or only that the kernel is to look
/// around.
pub fn signal(thread: &mut Thread, signal: i32, arguments: &mut [usize; 6]) -> Option<Trap> {
    let form = FrameForm::get()?;
    let cause = form.cause(thread.slot());
    match signal {
        running::KICK => None,
        libc::SIGSYS => Some(call(thread, form, &cause, arguments)),
        // (A frame the host could not read is SIGSEGV too, and not about the last page fault.)
        libc::SIGSEGV if cause.vector == PAGE_FAULT && PAGE_FAULT_CODES.contains(&cause.code) => {
            Some(Trap::PageFault {
                address: cause.fault_address as usize,
                access: match cause.error_code {
                    code if code & 16 != 0 => Access::Execute,
                    code if code & 2 != 0 => Access::Write,
                    _ => Access::Read,
                },
            })
        }
        _ => Some(Trap::Exception(Exception {
            signal: Signal::new(signal as u32).unwrap_or(Signal::SIGKILL),
            code: cause.code,
            address: cause.address as usize,
            vector: cause.vector as u8,
            error_code: cause.error_code as u32,
        })),
    }
}

/// A system call that arrived as a signal; or what looks like one to the host, and is none on the bare machine.
fn call(thread: &mut Thread, form: &FrameForm, cause: &Cause, arguments: &mut [usize; 6]) -> Trap {
    let mut registers = form.registers(thread.slot());
    if cause.address & !0xfff == VSYSCALL {
        // The host has already returned from there, as the function would have.
        registers.rip = cause.address;
        registers.rsp = registers.rsp.wrapping_sub(8);
        form.set_registers(thread.slot(), &registers);
        return Trap::PageFault { address: cause.address as usize, access: Access::Execute };
    }
    if cause.architecture != AUDIT_ARCH_X86_64 {
        const INT_0X80_LENGTH: u64 = 2;
        registers.rip = registers.rip.wrapping_sub(INT_0X80_LENGTH);
        form.set_registers(thread.slot(), &registers);
        return Trap::Exception(Exception {
            signal: Signal::SIGSEGV,
            code: linux::SI_KERNEL.cast_signed(),
            address: 0,
            vector: GENERAL_PROTECTION,
            // As a processor says it: the gate of this number.
            error_code: 0x80 << 3 | 2,
        });
    }
    *arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9]
        .map(|argument| argument as usize);
    Trap::Syscall { number: registers.rax as i32 as isize as usize }
}

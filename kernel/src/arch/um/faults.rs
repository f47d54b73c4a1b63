//! Faults of the kernel itself: on the bare machine an exception in kernel mode, here a signal of the host.
//!
//! Each is a kernel panic like any other, with the registers of the moment it happened. The terminal is put back before
//! anything else is tried: describing a damaged process may well fail.

use super::{console, host, memory};
use alloc::{boxed::Box, vec};
use core::{
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

const SIGNALS: [(libc::c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
];

/// Room for a handler that unwinds the stack and reads debugging information.
const STACK: usize = 512 << 10;

/// Makes the kernel's own faults panics.
pub fn catch() {
    for (signal, _) in SIGNALS {
        // SAFETY: all zeros is an empty action; the handler has the form that SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = handle as extern "C" fn(_, _, _) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
    give_stack();
}

/// Gives this thread a stack for the handler, which must run even when the usual stack is used up.
pub fn give_stack() {
    let stack = Box::leak(vec![0_u8; STACK].into_boxed_slice());
    let description = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the memory is never used for anything else.
    let _ = host::result(unsafe { libc::sigaltstack(&description, ptr::null_mut()) });
}

/// The registers at a fault of the kernel.
static AT_FAULT: spin::Once<[libc::greg_t; 23]> = spin::Once::new();

/// The registers at a fault of the kernel, in the order of `struct sigcontext`; none if there was no fault.
pub fn registers() -> Option<&'static [libc::greg_t]> {
    AT_FAULT.get().map(|registers| &registers[..])
}

extern "C" fn handle(signal: libc::c_int, information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    static HANDLED: AtomicBool = AtomicBool::new(false);
    console::restore();
    if HANDLED.swap(true, SeqCst) {
        // A fault while the first one was being described.
        super::power::stop_after_panic();
    }
    // SAFETY: the host passes both.
    let (context, address) = unsafe { (&*context.cast::<libc::ucontext_t>(), (*information).si_addr()) };
    AT_FAULT.call_once(|| context.uc_mcontext.gregs);
    let name = SIGNALS.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name);
    match signal {
        libc::SIGBUS if memory::holds(address.cast()) => {
            panic!("the host has no memory left for the machine's RAM")
        }
        libc::SIGABRT => panic!("the kernel's run time gave up ({name})"),
        _ => panic!("the host gave the kernel {name} at address {address:p}"),
    }
}

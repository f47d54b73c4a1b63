//! What touching an address does: caught in a child, by a handler that tells signal, code and address.

use crate::ktap::{Outcome, Why, equal};
use crate::system::process::{self, Status};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    /// The access went through.
    Fine,
    /// This signal with this code, its address the one touched.
    Signal(i32, i32),
    /// A signal whose address was another.
    WrongAddress(i32),
}

/// BUS_ADRERR: there is nothing behind the mapping.
pub const BUS: Touch = Touch::Signal(libc::SIGBUS, 2);
/// SEGV_MAPERR: there is no mapping.
pub const UNMAPPED: Touch = Touch::Signal(libc::SIGSEGV, 1);
/// SEGV_ACCERR: the mapping does not allow it.
pub const FORBIDDEN: Touch = Touch::Signal(libc::SIGSEGV, 2);

static EXPECTED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO.
    let (code, address) = unsafe { ((*information).si_code, (*information).si_addr() as usize) };
    let right = address == EXPECTED.load(Ordering::SeqCst);
    let kind = i32::from(signal == libc::SIGBUS) << 4;
    process::exit(0x40 | kind | i32::from(!right) << 3 | (code & 7));
}

fn touch(address: usize, access: impl FnOnce(usize)) -> Result<Touch, Why> {
    let status = process::run(|| {
        EXPECTED.store(address, Ordering::SeqCst);
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            // SAFETY: the handler only exits.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO;
                libc::sigaction(signal, &action, std::ptr::null_mut());
            }
        }
        access(address);
        0
    })?;
    Ok(match status {
        Status::Exited(0) => Touch::Fine,
        Status::Exited(code) if code & 0x40 != 0 => {
            let signal = if code & 0x10 != 0 { libc::SIGBUS } else { libc::SIGSEGV };
            if code & 8 != 0 { Touch::WrongAddress(signal) } else { Touch::Signal(signal, code & 7) }
        }
        Status::Killed(signal) => Touch::Signal(signal, -1),
        _ => Touch::Signal(0, 0),
    })
}

/// Reads a byte in a child.
pub fn reading(address: usize) -> Result<Touch, Why> {
    // SAFETY: any outcome is the child's own: a fault is caught.
    touch(address, |address| unsafe { _ = std::ptr::read_volatile(address as *const u8) })
}

/// Writes a byte in a child, in its own copy of the memory.
pub fn writing(address: usize) -> Result<Touch, Why> {
    // SAFETY: as above; the byte written is one just made for that, or faults.
    touch(address, |address| unsafe { std::ptr::write_volatile(address as *mut u8, 1) })
}

/// Calls a `ret` instruction (or what is there) in a child.
pub fn executing(address: usize) -> Result<Touch, Why> {
    touch(address, |address| {
        // SAFETY: the caller has put a `ret` there, or expects a fault.
        unsafe { std::mem::transmute::<usize, extern "C" fn()>(address)() }
    })
}

/// Fails unless reading a byte does this.
pub fn reading_is(what: &str, address: usize, expected: Touch) -> Outcome {
    equal(what, reading(address)?, expected)
}

/// Writes to address 8: SIGSEGV, whatever is done about it.
pub fn crash() {
    // SAFETY: the process that calls this is meant to end here.
    unsafe { std::ptr::write_volatile(8 as *mut u8, 1) }
}

//! Counting the instructions of a call, one at a time, by letting the processor stop after each.
//!
//! A stopwatch shows mostly the machine and its load; the number of instructions is the same on every run and shows
//! every needless `mov`. The call is made in a child process which this one traces with ptrace(2), counting the
//! steps that end inside the image.

use anyhow::{Result, bail, ensure};
use std::ops::Range;

/// A function of the image with its first three arguments.
pub type Call = (usize, [usize; 3]);

/// The moment before an instruction of the image is executed.
pub struct Step {
    /// The registers at that moment.
    pub registers: libc::user_regs_struct,
    /// How many instructions of this call have been executed.
    pub count: usize,
    process: i32,
}

impl Step {
    /// The eight bytes at an address of the traced process.
    pub fn memory(&self, address: u64) -> Result<u64> {
        // SAFETY: reads from a stopped child. The call returns the word itself, and -1 may be one: errno tells.
        let word = unsafe {
            *libc::__errno_location() = 0;
            libc::ptrace(libc::PTRACE_PEEKDATA, self.process, address, 0)
        };
        let error = std::io::Error::last_os_error();
        ensure!(error.raw_os_error() == Some(0), "no memory at {address:#x}: {error}");
        Ok(word as u64)
    }
}

/// For each call, the instructions executed inside `text`, from the first of the function to its return.
///
/// System calls count as one instruction each. A call that faults, or does not end, is an error.
pub fn count(text: Range<usize>, calls: &[Call]) -> Result<Vec<usize>> {
    observe(text, calls, &mut |_| Ok(()))
}

/// The same, and shows every step to `look`; an error of its ends the count.
pub fn observe(
    text: Range<usize>,
    calls: &[Call],
    look: &mut dyn FnMut(&Step) -> Result<()>,
) -> Result<Vec<usize>> {
    // SAFETY: the child only makes the calls below, which neither allocate nor take locks.
    match unsafe { libc::fork() } {
        -1 => bail!("fork: {}", std::io::Error::last_os_error()),
        0 => child(calls),
        child => {
            let counts = watch(child, text, calls.len(), look);
            // SAFETY: our own child, which has not been waited for to its end.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, std::ptr::null_mut(), 0);
            }
            counts
        }
    }
}

/// The traced process: stops once to be taken over, then makes every call.
fn child(calls: &[Call]) -> ! {
    // SAFETY: the functions are the image's, which take at most three arguments; the pointers among these are the
    // caller's to answer for, and a mistake ends this process alone.
    unsafe {
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
        libc::raise(libc::SIGSTOP);
        for (function, [first, second, third]) in calls {
            let function: extern "C" fn(usize, usize, usize) -> isize = std::mem::transmute(*function);
            function(*first, *second, *third);
        }
        libc::_exit(0)
    }
}

/// The tracer: single-steps until every call has entered and left `text`.
fn watch(
    child: i32,
    text: Range<usize>,
    calls: usize,
    look: &mut dyn FnMut(&Step) -> Result<()>,
) -> Result<Vec<usize>> {
    const MANY: usize = 10_000;
    let mut counts = vec![0; calls];
    let (mut call, mut inside, mut outside) = (0, false, 0);
    wait(child)?;
    while call < calls {
        // SAFETY: reads the registers of a stopped child into a structure of their size.
        let registers = unsafe {
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            let result = libc::ptrace(libc::PTRACE_GETREGS, child, 0, &raw mut registers);
            ensure!(result == 0, "ptrace: {}", std::io::Error::last_os_error());
            registers
        };
        if text.contains(&(registers.rip as usize)) {
            inside = true;
            look(&Step { registers, count: counts[call], process: child })?;
            counts[call] += 1;
            ensure!(counts[call] < MANY, "call {call} does not end: it is at {:#x}", registers.rip);
        } else if inside {
            (inside, outside) = (false, 0);
            call += 1;
        } else {
            outside += 1;
            ensure!(outside < 100 * MANY, "call {call} never reaches the image");
        }
        // SAFETY: lets a stopped child execute one instruction.
        let result = unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) };
        ensure!(result == 0, "ptrace: {}", std::io::Error::last_os_error());
        wait(child)?;
    }
    Ok(counts)
}

fn wait(child: i32) -> Result<()> {
    let mut status = 0;
    // SAFETY: waits for our own child and stores its status.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    ensure!(waited == child, "waitpid: {}", std::io::Error::last_os_error());
    ensure!(libc::WIFSTOPPED(status), "the call ended its process (status {status:#x})");
    let signal = libc::WSTOPSIG(status);
    ensure!(matches!(signal, libc::SIGTRAP | libc::SIGSTOP), "the call died of signal {signal}");
    Ok(())
}

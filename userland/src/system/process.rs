//! Processes: fork, wait, exit, exec, and work done in a child whose answer comes back through a pipe.

use super::errno::Errno;
use crate::call;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// How a child ended, as wait(2) tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Exit status 0 to 255.
    Exited(i32),
    /// The signal that killed it.
    Killed(i32),
    /// Stopped by this signal; only where WUNTRACED was asked for.
    Stopped(i32),
    /// Continued by SIGCONT; only where WCONTINUED was asked for.
    Continued,
}

impl Status {
    /// Decodes the status word of wait4(2).
    pub fn from_word(word: i32) -> Status {
        match word & 0x7f {
            0 => Status::Exited((word >> 8) & 0xff),
            0x7f if word == 0xffff => Status::Continued,
            0x7f => Status::Stopped((word >> 8) & 0xff),
            signal => Status::Killed(signal),
        }
    }

    /// What a shell would report: the exit status, or 128 and the signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Status::Exited(code) => code,
            Status::Killed(signal) | Status::Stopped(signal) => 128 + signal,
            Status::Continued => 0,
        }
    }
}

/// fork(2) by the C library, which keeps its own idea of the thread id right in the child. 0 in the child.
pub fn fork() -> Result<i32, Errno> {
    // SAFETY: after a fork of a multi-threaded process only async-signal-safe calls are promised to work; the
    // programs here fork from one thread, or do nothing but raw calls in the child.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::last()),
        child => Ok(child),
    }
}

/// getpid(2).
pub fn id() -> usize {
    call!(libc::SYS_getpid).unwrap_or(0)
}

/// _exit(2): ends the process without running exit handlers.
pub fn exit(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// wait4(2) for one child with `options`, repeated when a signal interrupts it.
pub fn wait_with(child: i32, options: i32) -> Result<(i32, Status), Errno> {
    loop {
        let mut word = 0i32;
        match call!(libc::SYS_wait4, child, &mut word, options, 0usize) {
            Ok(waited) => return Ok((waited as i32, Status::from_word(word))),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Waits for one child to end.
pub fn wait(child: i32) -> Result<Status, Errno> {
    wait_with(child, 0).map(|(_, status)| status)
}

/// Forks, runs `work` in the child, and makes its return value the child's exit status. Does not wait.
pub fn spawn(work: impl FnOnce() -> i32) -> Result<i32, Errno> {
    match fork()? {
        0 => exit(work()),
        child => Ok(child),
    }
}

/// Forks, runs `work` in the child and waits for it.
pub fn run(work: impl FnOnce() -> i32) -> Result<Status, Errno> {
    wait(spawn(work)?)
}

/// A NUL-terminated copy; a NUL inside cuts the text, as it would for the kernel.
pub fn c_string(text: impl AsRef<OsStr>) -> CString {
    let bytes: Vec<u8> = text.as_ref().as_bytes().iter().copied().take_while(|byte| *byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

/// execvp(3): replaces the program, looking for `arguments[0]` in PATH. Returns only the error.
pub fn execute(arguments: &[impl AsRef<OsStr>]) -> Errno {
    let strings: Vec<CString> = arguments.iter().map(c_string).collect();
    let Some(program) = strings.first() else { return Errno::ENOENT };
    execute_as(program, &strings)
}

/// execvp(3) of `program` with an argument list of its own, so that the name it is called by may differ.
pub fn execute_as(program: &CString, arguments: &[CString]) -> Errno {
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|text| text.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: a NUL-terminated path and a null-terminated array of such strings, alive through the call.
    unsafe { libc::execvp(program.as_ptr(), pointers.as_ptr()) };
    Errno::last()
}

/// A pipe: the reading end, the writing end. Both close on exec.
pub fn pipe() -> Result<(i32, i32), Errno> {
    let mut ends = [0i32; 2];
    call!(libc::SYS_pipe2, &mut ends, libc::O_CLOEXEC)?;
    Ok((ends[0], ends[1]))
}

/// close(2), errors ignored.
pub fn close(descriptor: i32) {
    let _ = call!(libc::SYS_close, descriptor);
}

/// Lets another process run on: blocks until the other end of `read_end` writes a byte or closes. True for a byte.
pub fn await_byte(read_end: i32) -> bool {
    let mut byte = 0u8;
    loop {
        match call!(libc::SYS_read, read_end, &mut byte, 1usize) {
            Err(Errno::EINTR) => {}
            answer => return answer == Ok(1),
        }
    }
}

/// Writes one byte for [`await_byte`].
pub fn send_byte(write_end: i32) {
    let _ = call!(libc::SYS_write, write_end, &b'.', 1usize);
}

//! What processes and threads cost: making them, and going from one to another.

use super::{Row, Work};
use crate::call;
use crate::system::clone::{CloneArguments, Stack, clone3_running};
use crate::system::errno::Errno;
use crate::system::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

pub(super) const ROWS: &[Row] = &[
    Row { name: "fork_exit_wait", rounds: 100, prepare: || ended(|| process::spawn(|| 0)) },
    Row { name: "vfork_exec_wait", rounds: 50, prepare: vfork_exec },
    Row { name: "thread", rounds: 200, prepare: threads },
    Row { name: "pipe_round_trip", rounds: 1_000, prepare: pipes },
    Row { name: "futex_round_trip", rounds: 1_000, prepare: futexes },
];

/// Work that makes a child a round and waits for it.
fn ended(mut make: impl FnMut() -> Result<i32, Errno> + 'static) -> Result<Work, Errno> {
    Ok(Box::new(move |rounds| {
        for _ in 0..rounds {
            process::wait(make()?)?;
        }
        Ok(())
    }))
}

/// What a child of vfork(2) does: executes this program, told to end at once.
extern "C" fn execute(_: usize) -> i32 {
    let arguments = [c"measure".as_ptr(), c"--end".as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    let _ = call!(libc::SYS_execve, c"/proc/self/exe", arguments.as_ptr(), environment.as_ptr());
    127
}

/// One stack serves all children in turn: making one would be measured too.
fn vfork_exec() -> Result<Work, Errno> {
    let mut stack = Stack::new();
    let arguments = CloneArguments {
        flags: (libc::CLONE_VM | libc::CLONE_VFORK) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    // SAFETY: CLONE_VFORK suspends the caller until the child has executed; until then it makes one call.
    ended(move || unsafe { clone3_running(&arguments, &mut stack, execute, 0) })
}

fn threads() -> Result<Work, Errno> {
    Ok(Box::new(|rounds| {
        for _ in 0..rounds {
            let thread =
                std::thread::Builder::new().stack_size(64 << 10).spawn(|| ()).map_err(|_| Errno::EAGAIN)?;
            let _ = thread.join();
        }
        Ok(())
    }))
}

/// A byte to a child and one back. The child ends when the pipes close with the work.
fn pipes() -> Result<Work, Errno> {
    let (there_read, there_write) = process::pipe()?;
    let (back_read, back_write) = process::pipe()?;
    process::spawn(|| {
        process::close(there_write);
        while process::await_byte(there_read) {
            process::send_byte(back_write);
        }
        0
    })?;
    process::close(there_read);
    process::close(back_write);
    Ok(Box::new(move |rounds| {
        for _ in 0..rounds {
            process::send_byte(there_write);
            if !process::await_byte(back_read) {
                return Err(Errno::EPIPE);
            }
        }
        Ok(())
    }))
}

/// One word, two threads: each waits until the other has changed it. The partner ends with the process.
fn futexes() -> Result<Work, Errno> {
    let word = Arc::new(AtomicU32::new(0));
    let partner = word.clone();
    std::thread::spawn(move || {
        for turn in 0u32.. {
            await_change(&partner, turn * 2);
            pass_on(&partner);
        }
    });
    Ok(Box::new(move |rounds| {
        for _ in 0..rounds {
            pass_on(&word);
            await_change(&word, word.load(SeqCst) | 1);
        }
        Ok(())
    }))
}

fn pass_on(word: &AtomicU32) {
    word.fetch_add(1, SeqCst);
    let _ = call!(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
}

/// Waits while the word is `seen`.
fn await_change(word: &AtomicU32, seen: u32) {
    while word.load(SeqCst) == seen {
        let _ =
            call!(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, seen, 0usize);
    }
}

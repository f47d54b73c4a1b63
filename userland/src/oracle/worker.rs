//! A task of a sequence: reads one call, makes it, answers, and waits for the next. All tasks run this loop.
//!
//! The controller talks to each task by two pipes whose descriptors have the same numbers in every task, so that they
//! outlive fork, exec and all kinds of clone. Only one task does anything at a time, the others are asleep in read(2).
//! That makes results repeatable, and it makes sharing sound: a task made with CLONE_VM has the maker's memory and even
//! its thread-local data, and both use one allocator, but never at the same time. For the same reason a task gives back
//! all it allocated *before* it answers: with the answer it gives the turn away.

use super::calls;
use crate::call;
use crate::system::clone::{self, CloneArguments, Stack};
use crate::system::errno::Errno;
use crate::system::process;

/// The longest command or answer.
pub const MESSAGE: usize = 1024;

/// The descriptor from which a task reads its commands, in every task.
pub fn command_end(task: usize) -> i32 {
    40 + 2 * task as i32
}

/// The descriptor to which a task writes its answers.
pub fn answer_end(task: usize) -> i32 {
    41 + 2 * task as i32
}

/// What a call answers; None in a task just made, which has not been asked anything.
pub type Answer = Option<String>;

/// A task as it knows itself.
pub struct Worker {
    /// Its index.
    pub task: usize,
}

/// Serves until the controller is gone.
pub fn serve(task: usize) -> ! {
    let mut worker = Worker { task };
    let mut command = [0u8; MESSAGE];
    loop {
        let end = command_end(worker.task);
        let length = match call!(libc::SYS_read, end, command.as_mut_ptr(), MESSAGE) {
            Err(Errno::EINTR) => continue,
            Ok(length) if length > 0 => length,
            _ => end_process(0),
        };
        let mut answer = [0u8; MESSAGE];
        let length = perform(&mut worker, &command[..length], &mut answer);
        if length > 0 {
            let _ = call!(libc::SYS_write, answer_end(worker.task), answer.as_ptr(), length);
        }
    }
}

/// Makes the call and leaves the answer in `room`; nothing of it is on the heap any more when this returns.
#[inline(never)]
fn perform(worker: &mut Worker, command: &[u8], room: &mut [u8; MESSAGE]) -> usize {
    let command = String::from_utf8_lossy(command);
    let mut words = command.split('\t');
    let name = words.next().unwrap_or_default();
    let arguments: Vec<&str> = words.collect();
    let answer = match calls::find(name) {
        Some(call) => (call.run)(worker, &arguments),
        None => Some(format!("there is no call `{name}`")),
    };
    let Some(answer) = answer else { return 0 };
    let length = answer.len().min(MESSAGE);
    room[..length].copy_from_slice(&answer.as_bytes()[..length]);
    length
}

/// exit_group(2), without the C library's work at an exit, which a task that shares memory must not do.
pub fn end_process(status: i32) -> ! {
    loop {
        let _ = call!(libc::SYS_exit_group, status);
    }
}

/// A task in its first moments, on a stack of its own.
extern "C" fn begin(task: usize) -> i32 {
    serve(task)
}

/// The same for a vfork: the maker cannot say which process id the call gave.
extern "C" fn begin_and_tell(task: usize) -> i32 {
    tell(task);
    serve(task)
}

/// Tells the controller the ids of a task that nobody else can tell: after an exec or a vfork.
pub fn tell(task: usize) {
    let text = format!("here pid:{}", call!(libc::SYS_gettid).unwrap_or(0));
    let _ = call!(libc::SYS_write, answer_end(task), text.as_ptr(), text.len());
}

/// clone3(2) for the task `new`. With CLONE_VM it gets a stack, otherwise it returns from the call as from a fork.
pub fn clone3(worker: &mut Worker, new: usize, arguments: CloneArguments) -> Answer {
    let suspends = arguments.flags & libc::CLONE_VFORK as u64 != 0;
    let made = if arguments.flags & libc::CLONE_VM as u64 == 0 {
        clone::clone3(&arguments)
    } else {
        // Never given back: only the new task knows when it is done with it, and the process is short-lived.
        let stack = Box::leak(Stack::new());
        let start = if suspends { begin_and_tell } else { begin };
        // SAFETY: one of the tasks sleeps whenever the other runs, see the head of this file.
        unsafe { clone::clone3_running(&arguments, stack, start, new) }
    };
    made_by(worker, new, made, suspends)
}

/// What follows a call that returns twice: the new task takes its own name, the maker answers.
pub fn made_by(worker: &mut Worker, new: usize, made: Result<i32, Errno>, suspends: bool) -> Answer {
    match made {
        Ok(0) => {
            worker.task = new;
            if suspends {
                tell(new);
            }
            None
        }
        Ok(id) => Some(format!("pid:{id}")),
        Err(errno) => Some(errno.name()),
    }
}

/// execve(2) of this program as the same task. Answers only when it fails; the new image tells that it is there.
pub fn execute(worker: &mut Worker, path: &str) -> Answer {
    let words = [path, "oracle", "worker", &worker.task.to_string()].map(process::c_string);
    let mut pointers = words[1..].iter().map(|word| word.as_ptr() as usize).collect::<Vec<_>>();
    pointers.insert(0, words[0].as_ptr() as usize);
    pointers.push(0);
    let environment = [0usize; 1];
    Some(match call!(libc::SYS_execve, words[0].as_c_str(), pointers.as_ptr(), &environment) {
        Ok(_) => "returned".to_string(),
        Err(errno) => errno.name(),
    })
}

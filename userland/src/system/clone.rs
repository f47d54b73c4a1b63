//! clone(2) and clone3(2) themselves, for the flags that no C library would pass.
//!
//! Without CLONE_VM the child has a copy of everything and returns from the call like a fork. With CLONE_VM it shares
//! the caller's memory, so it gets a stack and a function of its own and must not touch what the caller uses: the
//! C library believes it is alone, so no allocation, unless CLONE_VFORK makes the caller wait.

use super::errno::Errno;
use crate::call;
use std::arch::asm;

/// struct clone_args of clone3(2), as far as version 2 (Linux 5.7).
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct CloneArguments {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// The size of the structure in its newest version.
pub const SIZE: usize = size_of::<CloneArguments>();

/// clone3 like a fork: for flags without CLONE_VM. 0 in the child.
pub fn clone3(arguments: &CloneArguments) -> Result<i32, Errno> {
    call!(libc::SYS_clone3, arguments, SIZE).map(|child| child as i32)
}

/// clone3 like a fork with these flags and SIGCHLD.
pub fn fork_with(flags: u64) -> Result<i32, Errno> {
    clone3(&CloneArguments { flags, exit_signal: libc::SIGCHLD as u64, ..CloneArguments::default() })
}

/// Legacy clone(2) like a fork: flags and exit signal in one word, no stack. 0 in the child.
pub fn legacy(flags: usize) -> Result<i32, Errno> {
    call!(libc::SYS_clone, flags, 0, 0, 0, 0).map(|child| child as i32)
}

/// The stack of a child that shares memory. Its own allocation, aligned as the ABI wants it.
#[repr(C, align(4096))]
pub struct Stack([u8; 256 * 1024]);

impl Stack {
    /// A zeroed stack on the heap.
    pub fn new() -> Box<Stack> {
        // SAFETY: an array of bytes may be all zeros.
        unsafe { Box::<Stack>::new_zeroed().assume_init() }
    }
}

/// clone3 for a child that shares memory: it runs `function(argument)` on `stack` and ends with its result.
/// Returns the child's id; with CLONE_VFORK only after the child has ended or executed another program.
///
/// # Safety
/// `function` may do whatever is sound beside the caller, see the head of this file; `stack` must live as long.
pub unsafe fn clone3_running(
    arguments: &CloneArguments,
    stack: &mut Stack,
    function: extern "C" fn(usize) -> i32,
    argument: usize,
) -> Result<i32, Errno> {
    let mut arguments = *arguments;
    arguments.stack = std::ptr::from_mut(stack) as u64;
    arguments.stack_size = size_of::<Stack>() as u64;
    let answer: i64;
    // SAFETY: the parent goes on after the block with every register but the declared ones kept. The child never
    // leaves it: on its own, aligned stack it calls the function and then exit (60).
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "mov edi, eax",
            "mov eax, 60",
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") &arguments,
            in("rsi") SIZE,
            in("r12") function,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    super::call::decode(answer).map(|child| child as i32)
}

/// A vfork(2) whose child runs `work` on a stack of its own: it shares memory, the caller waits. Gives the child's id.
pub fn vfork_running<Work: FnOnce() -> i32>(flags: u64, work: Work) -> Result<i32, Errno> {
    extern "C" fn start<Work: FnOnce() -> i32>(argument: usize) -> i32 {
        // SAFETY: the address of the Option below; the caller is suspended, so this is the only user.
        let work = unsafe { &mut *(argument as *mut Option<Work>) };
        work.take().map_or(127, |work| work())
    }
    let arguments = CloneArguments {
        flags: flags | (libc::CLONE_VM | libc::CLONE_VFORK) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    let mut work = Some(work);
    let mut stack = Stack::new();
    // SAFETY: CLONE_VFORK suspends the caller until the child is done with stack, work and C library.
    unsafe { clone3_running(&arguments, &mut stack, start::<Work>, std::ptr::from_mut(&mut work) as usize) }
}

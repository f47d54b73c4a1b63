//! The kernel's stacks, each above a page that is not mapped.
//!
//! A stack that grows too far then runs into a page fault instead of into somebody's variables. Pushing that fault's
//! frame faults again, and the processor makes a double fault of it, which is why that one has a stack of its own: the
//! IST ("interrupt stack table") names up to seven that are switched to whatever the stack pointer was. Two more have
//! theirs because they may come at any instruction, also at those few where the stack pointer is still the program's.

use crate::arch::PAGE_SIZE;

/// What the kernel runs on: one for each CPU, as tasks keep what they need in their futures.
pub const KERNEL_STACK: usize = 64 * 1024;
/// A panic's report must fit, with a good margin.
const EXCEPTION_STACK: usize = 16 * 1024;

#[repr(C, align(4096))]
struct GuardedStack<const SIZE: usize> {
    guard: [u8; PAGE_SIZE],
    stack: [u8; SIZE],
}

impl<const SIZE: usize> GuardedStack<SIZE> {
    const EMPTY: Self = Self { guard: [0; PAGE_SIZE], stack: [0; SIZE] };
}

/// All stacks of a CPU.
#[repr(C)]
pub struct Stacks {
    kernel: GuardedStack<KERNEL_STACK>,
    /// Where the processor pushes its frame when it comes from user mode; entry.rs leaves it at once.
    entry: GuardedStack<PAGE_SIZE>,
    exceptions: [GuardedStack<EXCEPTION_STACK>; 3],
}

/// Exceptions with a stack of their own; the number is the index in the interrupt stack table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ExceptionStack {
    /// Most often: the kernel's stack is full.
    DoubleFault = 0,
    /// The machine's operator asks; comes at any instruction.
    NonMaskable = 1,
    /// The hardware is broken; comes at any instruction.
    MachineCheck = 2,
}

/// The offset of the kernel stack's upper end in [`STACKS`], for boot.rs.
pub const KERNEL_STACK_TOP: usize = PAGE_SIZE + KERNEL_STACK;

/// Room that is only ever touched through the stack pointer.
#[repr(transparent)]
pub struct Room<T>(core::cell::UnsafeCell<T>);

// SAFETY: Rust code never makes a reference to what is inside.
unsafe impl<T> Sync for Room<T> {}

/// The boot CPU's. Other CPUs, when they are started, bring their own.
pub static STACKS: Room<Stacks> = Room(core::cell::UnsafeCell::new(Stacks {
    kernel: GuardedStack::EMPTY,
    entry: GuardedStack::EMPTY,
    exceptions: [const { GuardedStack::EMPTY }; 3],
}));

impl Room<Stacks> {
    fn address(&self) -> usize {
        self.0.get().addr()
    }

    /// The upper end of the stack that entries from user mode use.
    pub fn entry_top(&self) -> usize {
        self.address() + core::mem::offset_of!(Stacks, entry) + size_of::<GuardedStack<PAGE_SIZE>>()
    }

    /// The upper end of an exception's stack.
    pub fn exception_top(&self, which: ExceptionStack) -> usize {
        let each = size_of::<GuardedStack<EXCEPTION_STACK>>();
        self.address() + core::mem::offset_of!(Stacks, exceptions) + each * (which as usize + 1)
    }

    /// The addresses of the pages that must not be mapped.
    pub fn guards(&self) -> [usize; 5] {
        let exceptions = self.address() + core::mem::offset_of!(Stacks, exceptions);
        let each = size_of::<GuardedStack<EXCEPTION_STACK>>();
        [
            self.address(),
            self.address() + core::mem::offset_of!(Stacks, entry),
            exceptions,
            exceptions + each,
            exceptions + 2 * each,
        ]
    }

    /// Whether an address lies on one of the stacks, where a backtrace may look for frames.
    pub fn holds(&self, address: usize) -> bool {
        let whole = self.address()..self.address() + size_of::<Stacks>();
        let page = address & !(PAGE_SIZE - 1);
        whole.contains(&address) && !self.guards().contains(&page)
    }

    /// Whether an address lies in the kernel stack's guard page, or just below it: the sign of an overflow.
    pub fn overflowed(&self, address: usize) -> bool {
        (self.address()..self.address() + PAGE_SIZE).contains(&address)
    }
}

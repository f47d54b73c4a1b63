//! The contract a machine fulfils: everything the rest of the kernel may ask of what it runs on.
//!
//! There are two machines. On `x86_64` the kernel owns a processor; on `um` it is an ordinary Linux process that runs
//! its programs in other processes. Which one is chosen here, once; nothing outside this folder may know.
//!
//! The contract is written as traits so that the compiler checks it. Three ideas shape it:
//! * **User mode is a function call that returns a reason** ([`UserMode::run`]): there is no trap handler above this
//!   folder, only a loop that runs a task until it stops and looks at why.
//! * **The kernel is entered with interrupts off and keeps them off.** They are taken in user mode, which returns
//!   [`Trap::Interrupt`], and in [`Machine::idle`]. So no lock needs to think of them.
//! * **The kernel never dereferences a user address.** It asks the page table where the page lies in RAM and goes there
//!   ([`Machine::frame_pointer`]). A bad pointer is then an ordinary "not there", on both machines alike, and SMAP may
//!   stay armed from boot to power-off.

mod registers;
#[cfg(not(target_os = "none"))]
mod um;
#[cfg(target_os = "none")]
mod x86_64;
mod xsave;

// Plain computations of the bare machine, which any machine can test.
#[cfg(all(test, not(target_os = "none")))]
#[path = "x86_64/calendar.rs"]
mod calendar;
#[cfg(all(test, not(target_os = "none")))]
#[path = "x86_64/ranges.rs"]
mod ranges;

pub use registers::Registers;

#[cfg(not(target_os = "none"))]
use um as machine;
#[cfg(target_os = "none")]
use x86_64 as machine;

use crate::abi::Result;
use arrayvec::ArrayVec;
use core::{ops::Range, ptr::NonNull};

/// The machine this kernel was built for.
pub use machine::Hardware;
/// Where a machine that is a process begins.
#[cfg(not(target_os = "none"))]
pub use machine::main;
/// Memory for unit tests of what is built on it.
#[cfg(all(test, not(target_os = "none")))]
pub use um::boot_information;
/// Its page tables.
pub type PageTable = <Hardware as Machine>::PageTable;
/// Its user mode.
pub type UserContext = <Hardware as Machine>::UserContext;

/// Bytes in a page, and in a frame.
pub const PAGE_SIZE: usize = 4096;

/// The most processors any machine may have; per-CPU data has this many places.
pub const MAX_CPUS: usize = 8;

/// A page-sized piece of RAM, by number: its physical address is this times [`PAGE_SIZE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Frame(pub u32);

bitflags::bitflags! {
    /// What user mode may do with a page.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Permissions: u8 {
        /// Load from it. (On x86-64 whatever is mapped can be read.)
        const READ = 1;
        /// Store to it.
        const WRITE = 2;
        /// Fetch instructions from it.
        const EXECUTE = 4;
    }
}

/// What a page table says of one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The frame behind the page.
    pub frame: Frame,
    /// What user mode may do with it. Empty: the frame is kept, but every access faults (PROT_NONE).
    pub permissions: Permissions,
}

/// The three ways to touch memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

impl Access {
    /// The permission this access needs.
    pub const fn needs(self) -> Permissions {
        match self {
            Self::Read => Permissions::READ,
            Self::Write => Permissions::WRITE,
            Self::Execute => Permissions::EXECUTE,
        }
    }
}

/// Why user mode returned.
#[derive(Clone, Copy, Debug)]
pub enum Trap {
    /// The program made a system call. Its arguments are had from [`UserMode::arguments`]; its result is left with
    /// [`UserMode::set_result`].
    Syscall {
        /// Which one, as found in the whole register; -1 and garbage are possible.
        number: usize,
    },
    /// The program touched a page in a way its page table does not allow. Nothing was changed: after repair the same
    /// instruction runs again.
    PageFault {
        /// The address, below or above [`Machine::USER_END`].
        address: usize,
        /// What it tried.
        access: Access,
    },
    /// The program did something else the processor refuses.
    Exception(Exception),
    /// A device or the clock wants attention: see [`Machine::take_interrupts`].
    Interrupt,
}

/// A processor exception other than a page fault, already in the terms of siginfo: sigaction(2).
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// The signal Linux sends for it: SIGILL, SIGFPE, SIGTRAP, SIGBUS or SIGSEGV. SIGKILL if the machine has lost what the
    /// program ran in.
    pub signal: crate::abi::Signal,
    /// `si_code`: ILL_ILLOPN, FPE_INTDIV, TRAP_BRKPT, SI_KERNEL …
    pub code: i32,
    /// `si_addr`: the instruction for SIGILL and SIGFPE, else 0.
    pub address: usize,
    /// The processor's number of the exception, for the signal frame.
    pub vector: u8,
    /// The processor's error code, for the signal frame.
    pub error_code: u32,
}

bitflags::bitflags! {
    /// What wants attention after a [`Trap::Interrupt`] or [`Machine::idle`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Interrupts: u8 {
        /// The time given to [`Machine::set_alarm`] has passed.
        const ALARM = 1;
        /// The console may have bytes, or another size: [`Machine::console_read`], [`Machine::console_resized`].
        const CONSOLE = 2;
        /// What a program ran in may be lost: [`Machine::has_lost`].
        const LOSS = 4;
    }
}

/// What a machine knows when it hands over to `start`.
pub struct BootInformation {
    /// The words given to the kernel: `-append` and the like.
    pub command_line: &'static str,
    /// The initial archive, if one was given.
    pub initramfs: Option<&'static [u8]>,
    /// RAM that nobody uses yet. Frames outside these ranges are the machine's own or do not exist.
    pub free_memory: ArrayVec<Range<u32>, 64>,
    /// The frames under `initramfs`: free once it has been unpacked.
    pub initramfs_memory: Option<Range<u32>>,
    /// One past the highest frame of RAM: the length of a table with a row for each.
    pub frame_limit: u32,
}

/// What the processor offers programs; goes into the auxiliary vector, getauxval(3).
#[derive(Clone, Copy, Debug)]
pub struct ProcessorFeatures {
    /// AT_HWCAP: CPUID leaf 1, EDX.
    pub hwcap: u64,
    /// AT_HWCAP2: bit 1 when user mode may write its segment bases.
    pub hwcap2: u64,
    /// AT_MINSIGSTKSZ: bytes a signal frame takes at most.
    pub minimum_signal_stack: usize,
    /// Whether user mode finds its CPU's number in the limit of the segment where the vDSO looks for it. If not, the
    /// machine has only one CPU, and what is found there means nothing.
    pub tells_cpu_number: bool,
    /// Whether there is the instruction `rdtscp`, for the vDSO.
    pub has_rdtscp: bool,
}

/// The counter that user mode and kernel both read the time from.
#[derive(Clone, Copy, Debug)]
pub struct CycleCounter {
    /// Its ticks per second.
    pub frequency: u64,
    /// Whether user mode may read it; if not, the vDSO leaves every read to the kernel.
    pub user_readable: bool,
}

/// What a clock shows that keeps better time than the counter, and the counter at the same moment. The timekeeper follows
/// it, without ever going backward.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// The counter.
    pub cycles: u64,
    /// Nanoseconds since some moment, steadily.
    pub monotonic: u64,
    /// Nanoseconds since 1970 less `monotonic`, to within [`Reference::EXACT`]: it changes only when somebody sets the
    /// wall clock.
    pub wall_clock_ahead: i64,
}

impl Reference {
    /// Nanoseconds that two values of `wall_clock_ahead` may differ without meaning anything.
    pub const EXACT: u64 = 20_000;

    /// Nanoseconds since 1970.
    pub const fn wall_clock(&self) -> u64 {
        self.monotonic.saturating_add_signed(self.wall_clock_ahead)
    }
}

/// Where the frames under page tables come from and go to. `mm` provides it: the machine must not know the allocator.
pub trait TableFrames: Sync {
    /// A frame filled with zeros. Errors: ENOMEM.
    fn allocate(&self) -> Result<Frame>;
    /// Takes one back, filled with zeros again.
    fn free(&self, frame: Frame);
}

/// The page table of one address space: which frame is behind each user page.
///
/// All addresses are page-aligned and below [`Machine::USER_END`]. Changes take effect before user mode next runs in it.
/// Dropping it frees the tables' own frames, not the frames mapped: those must have been unmapped by their owner.
pub trait Translation: Sized + Send {
    /// An empty one. Errors: ENOMEM.
    fn new(frames: &'static dyn TableFrames) -> Result<Self>;
    /// Names this table to [`UserMode::run`].
    fn root(&self) -> TableRoot;
    /// Puts a frame behind a page, in place of what may be there, and gives that. Errors: ENOMEM for a table; nothing has
    /// changed then.
    fn map(&mut self, page: usize, mapping: Mapping) -> Result<Option<Frame>>;
    /// What is behind a page.
    fn lookup(&self, page: usize) -> Option<Mapping>;
    /// Takes away every page in the range and tells of the frame behind each, ascending. Empty tables go too. Gives how
    /// many there were.
    fn unmap(&mut self, range: Range<usize>, removed: impl FnMut(Frame)) -> usize;
    /// Changes the permissions of every page there is in the range; `change` is given what there is, ascending.
    fn change(&mut self, range: Range<usize>, change: impl FnMut(usize, Mapping) -> Permissions);
    /// Tells of every page there is in the range, ascending.
    fn visit(&self, range: Range<usize>, visitor: impl FnMut(usize, Mapping));

    /// Asks for each of some pages behind which there is none which frame is to be there, if any: those from `first` on, by
    /// number, which lie in one run of 512 that begins at a multiple of as many. Errors: ENOMEM for a table; then nothing was
    /// asked for, or what was given last has not been put there.
    fn fill(
        &mut self,
        first: usize,
        count: usize,
        permissions: Permissions,
        mut wanted: impl FnMut(usize) -> Option<Frame>,
    ) -> Result<()> {
        for number in 0..count {
            let page = first + number * PAGE_SIZE;
            if self.lookup(page).is_none()
                && let Some(frame) = wanted(number)
            {
                self.map(page, Mapping { frame, permissions })?;
            }
        }
        Ok(())
    }

    /// Puts the frames in the range behind the same pages of another table too, where nothing is, and tells of each.
    /// Afterwards neither table lets user mode write to them. Errors: ENOMEM for a table; those told of are there.
    fn share(&mut self, range: Range<usize>, other: &mut Self, mut shared: impl FnMut(Frame)) -> Result<()> {
        let mut result = Ok(());
        self.change(range, |page, Mapping { frame, permissions }| {
            let permissions = permissions - Permissions::WRITE;
            if result.is_ok() {
                result = other.map(page, Mapping { frame, permissions }).map(|_| shared(frame));
            }
            permissions
        });
        result
    }
}

/// Names a [`Translation`] where holding it is not possible: its owner must outlive every use. On `x86_64` the value of
/// CR3, on `um` an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableRoot(pub u64);

/// One thread of user mode: its registers and its extended (FPU, SSE, AVX) state, wherever they are kept.
pub trait UserMode: Sized + Send {
    /// One that will begin at `entry` with this stack pointer, everything else zero or as the processor starts.
    /// Errors: ENOMEM.
    fn new(entry: usize, stack: usize) -> Result<Self>;
    /// A copy for a child or a new thread, which goes on from the same place. Errors: ENOMEM.
    fn duplicate(&mut self) -> Result<Self>;
    /// To be called before it first runs in a space, while that may still be refused. Errors: EAGAIN or ENOMEM when the
    /// machine has no room for one more program or thread.
    fn prepare(&mut self, space: TableRoot) -> Result<()> {
        let _ = space;
        Ok(())
    }
    /// Runs the program until it stops, in the address space of this root.
    fn run(&mut self, space: TableRoot) -> Trap;
    /// What a system call, the trap that `run` has just returned, was made with: rdi, rsi, rdx, r10, r8, r9. Who takes only
    /// some of them pays only for those.
    fn arguments(&self) -> [usize; 6];
    /// Leaves a system call's result where the program finds it. Cheap on every machine.
    fn set_result(&mut self, result: isize);
    /// The register file. After a system call, `rip` is behind the instruction and `rax` as the program finds it (or
    /// still the number, before `set_result`). May cost: only signals, clone, exec and the like ask.
    fn registers(&mut self) -> Registers;
    /// Replaces the register file. Values user mode may not have are mended, never trusted: flags are masked to those a
    /// program can change itself, and an address a program cannot have makes the program fault, not the kernel.
    fn set_registers(&mut self, registers: &Registers);
    /// Shows the register file where it lies, which costs less. The segment bases are not part of it: what is found there
    /// means nothing.
    fn see_registers<R>(&mut self, see: impl FnOnce(&Registers) -> R) -> R;
    /// Lets `change` alter it, likewise; the values are mended then as by [`Self::set_registers`].
    fn change_registers<R>(&mut self, change: impl FnOnce(&mut Registers) -> R) -> R;
    /// Bytes of extended state, as XSAVE (or FXSAVE, 512, without it) lays them out, header included.
    fn extended_state_size() -> usize;
    /// The features in it: XCR0's bits, or 0 when it is FXSAVE's.
    fn extended_state_features() -> u64;
    /// Writes it down, `extended_state_size` bytes. Cheapest where `into` begins at a multiple of 64.
    fn store_extended_state(&mut self, into: &mut [u8]);
    /// Replaces it by FXSAVE's 512 bytes or by the whole, as `from` is long. Errors: EINVAL when the processor would refuse
    /// it; what it is then is not specified.
    fn load_extended_state(&mut self, from: &[u8]) -> Result<()>;
    /// As a new program finds it.
    fn reset_extended_state(&mut self);
    /// Called when another task will run on this CPU: whatever of this context lives in the processor is put away.
    /// The next `run`, on any CPU, brings it back.
    fn park(&mut self);
}

/// Everything else.
pub trait Machine {
    /// Its page tables.
    type PageTable: Translation;
    /// Its user mode.
    type UserContext: UserMode;
    /// One past the last address a program can have; what lies above, up to the canonical end, is refused as on Linux.
    const USER_END: usize;

    /// The CPU this code runs on, below [`MAX_CPUS`].
    fn cpu_number() -> usize;
    /// The kernel's view of a frame: `PAGE_SIZE` bytes, always mapped, readable and writable. Frames of RAM only.
    fn frame_pointer(frame: Frame) -> NonNull<u8>;
    /// Bytes of the kernel's own objects that do not lie in frames, and are to count as if they did.
    fn bytes_beside_frames() -> usize {
        0
    }
    /// What programs are told of the processor.
    fn processor_features() -> ProcessorFeatures;
    /// Bytes nobody can guess, as far as the machine has them.
    fn random_seed() -> [u8; 32];

    /// The counter of time, read in order with what surrounds it.
    fn cycles() -> u64;
    /// Measured or learnt while booting.
    fn cycle_counter() -> CycleCounter;
    /// Nanoseconds since 1970-01-01 00:00 UTC, from whatever keeps them while the machine is off; `None` without it.
    fn wall_clock() -> Option<u64>;
    /// A better clock than the counter, looked at now; `None` where there is none, or when it could not be read in time.
    fn reference() -> Option<Reference>;
    /// Interrupts once, this many nanoseconds from now (a little later, never more than a tick of its clock earlier), or
    /// never. Replaces what was set before.
    fn set_alarm(nanoseconds: Option<u64>);
    /// Waits for an interrupt; returns at once if one is already there.
    fn idle();
    /// What has happened since this was last asked.
    fn take_interrupts() -> Interrupts;
    /// Whether no program can run in this space any more, through no fault of its own.
    fn has_lost(space: TableRoot) -> bool {
        let _ = space;
        false
    }

    /// Writes bytes as they are.
    fn console_write(bytes: &[u8]);
    /// The next byte that arrived, if any. After [`Interrupts::CONSOLE`], ask until there is none, at once or when there is
    /// room: what was left behind would not interrupt again.
    fn console_read() -> Option<u8>;
    /// Rows and columns of the screen at the other end, when they are known and not what they were when this was last asked.
    fn console_resized() -> Option<(u16, u16)>;

    /// Ends with success.
    fn power_off() -> !;
    /// Starts anew, or ends where that cannot be.
    fn restart() -> !;
    /// Ends with failure, after a panic.
    fn stop_after_panic() -> !;
    /// Tells what was found while coming to life, a line at a time, for the log: it was not there yet then.
    fn describe_machine(line: &mut dyn FnMut(core::fmt::Arguments<'_>));
    /// Writes the registers and a backtrace with symbols, as far as they can be had, for a panic.
    fn describe_state(write: &mut dyn core::fmt::Write);
}

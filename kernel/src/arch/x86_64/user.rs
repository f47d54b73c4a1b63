//! User mode as a function call: a program's registers, and the loop's way into it and back.

use super::cpu;
use super::entry::{self, Frame, LOOK, WHOLE};
use super::exceptions;
use super::extended_state::{self, ExtendedState};
use super::features;
use super::interrupts;
use crate::abi::{Result, Signal, linux};
use crate::arch::{Exception, Registers, TableRoot, Trap, UserMode};
use core::arch::asm;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{FsBase, KernelGsBase};
use x86_64::registers::rflags::RFlags;

/// One thread of user mode.
pub struct Context {
    /// Its registers; those that stay in the processor while the kernel works for it are stale here while `loaded`.
    frame: Frame,
    extended: ExtendedState,
    /// Whether this CPU's segment bases and extended registers are this program's.
    loaded: bool,
}

/// Flags that a program can change by itself, with POPF.
const USER_FLAGS: RFlags = RFlags::CARRY_FLAG
    .union(RFlags::PARITY_FLAG)
    .union(RFlags::AUXILIARY_CARRY_FLAG)
    .union(RFlags::ZERO_FLAG)
    .union(RFlags::SIGN_FLAG)
    .union(RFlags::TRAP_FLAG)
    .union(RFlags::DIRECTION_FLAG)
    .union(RFlags::OVERFLOW_FLAG)
    .union(RFlags::NESTED_TASK)
    .union(RFlags::RESUME_FLAG)
    .union(RFlags::ALIGNMENT_CHECK)
    .union(RFlags::ID);
/// Flags that are always as they are: interrupts on, and a bit that has been one since the 8080.
const FIXED_FLAGS: u64 = RFlags::INTERRUPT_FLAG.bits() | 2;

impl UserMode for Context {
    fn new(entry: usize, stack: usize) -> Result<Self> {
        let registers =
            Registers { rip: entry as u64, rsp: stack as u64, rflags: FIXED_FLAGS, ..Registers::default() };
        Ok(Self {
            frame: Frame { registers, way: WHOLE, error_code: 0 },
            extended: ExtendedState::new()?,
            loaded: false,
        })
    }

    fn duplicate(&mut self) -> Result<Self> {
        self.store();
        let (mut frame, extended) = (self.frame.clone(), self.extended.duplicate()?);
        frame.way |= LOOK;
        Ok(Self { frame, extended, loaded: false })
    }

    #[inline(always)]
    fn run(&mut self, space: TableRoot) -> Trap {
        if self.frame.way != 0
            && let Err(trap) = self.make_ready(space)
        {
            return trap;
        }
        // SAFETY: `make_ready` has put the page table in force, which maps the kernel's half, and looked at `rip`, unless that
        // is where a system call left it; the flags come from the program itself or went through `set_registers`.
        let reason = unsafe { entry::run(&mut self.frame) };
        if reason == entry::SYSCALL {
            return Trap::Syscall { number: self.frame.registers.rax as usize };
        }
        self.interrupted(reason)
    }

    #[inline(always)]
    fn arguments(&self) -> [usize; 6] {
        let Registers { rdi, rsi, rdx, r10, r8, r9, .. } = self.frame.registers;
        [rdi, rsi, rdx, r10, r8, r9].map(|register| register as usize)
    }

    #[inline(always)]
    fn set_result(&mut self, result: isize) {
        self.frame.registers.rax = result as u64;
    }

    fn registers(&mut self) -> Registers {
        if self.loaded {
            self.store_bases();
        }
        *self.frame.whole()
    }

    fn set_registers(&mut self, registers: &Registers) {
        // A base that the processor would refuse: the program finds zero instead.
        let base = |address: u64| if VirtAddr::try_new(address).is_ok() { address } else { 0 };
        let (fs_base, gs_base) = (base(registers.fs_base), base(registers.gs_base));
        self.change_registers(|own| *own = Registers { fs_base, gs_base, ..*registers });
        if self.loaded {
            self.load_bases();
        }
    }

    #[inline(always)]
    fn see_registers<R>(&mut self, see: impl FnOnce(&Registers) -> R) -> R {
        see(self.frame.whole())
    }

    #[inline(always)]
    fn change_registers<R>(&mut self, change: impl FnOnce(&mut Registers) -> R) -> R {
        let registers = self.frame.whole();
        let result = change(registers);
        registers.rflags = registers.rflags & USER_FLAGS.bits() | FIXED_FLAGS;
        result
    }

    #[inline(always)]
    fn extended_state_size() -> usize {
        extended_state::size()
    }

    #[inline(always)]
    fn extended_state_features() -> u64 {
        extended_state::parts()
    }

    #[inline]
    fn store_extended_state(&mut self, into: &mut [u8]) {
        if self.loaded {
            if extended_state::store_to(into) {
                return;
            }
            self.extended.store();
        }
        into.copy_from_slice(self.extended.bytes());
    }

    #[inline]
    fn load_extended_state(&mut self, from: &[u8]) -> Result<()> {
        if !(self.loaded && extended_state::load_from(from)?) {
            self.extended.replace(from)?;
            if self.loaded {
                self.extended.load();
            }
        }
        Ok(())
    }

    fn reset_extended_state(&mut self) {
        self.extended.reset();
        if self.loaded {
            self.extended.load();
        }
    }

    fn park(&mut self) {
        self.store();
        self.loaded = false;
        self.frame.way |= LOOK;
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        cpu::current().forget(&self.frame);
    }
}

impl Context {
    /// Brings into the processor what `park` put away, and the page table, as another program may have run since; and looks
    /// at where the program is to go on, which may be anywhere but after a system call. (On some processors a jump to an
    /// address that is not canonical arrives there before it faults.) The fault for such an address is made up here, because
    /// IRET would take it in the kernel.
    #[cold]
    fn make_ready(&mut self, space: TableRoot) -> Result<(), Trap> {
        enter_space(space);
        if !self.loaded {
            self.extended.load();
            clear_selectors();
            self.load_bases();
            self.loaded = true;
        }
        if VirtAddr::try_new(self.frame.registers.rip).is_err() {
            const GENERAL_PROTECTION: u8 = 13;
            return Err(Trap::Exception(Exception {
                signal: Signal::SIGSEGV,
                code: linux::SI_KERNEL.cast_signed(),
                address: 0,
                vector: GENERAL_PROTECTION,
                error_code: 0,
            }));
        }
        if self.frame.way == LOOK {
            self.frame.way = 0;
        } else {
            self.frame.whole();
        }
        Ok(())
    }

    /// Stopped by something other than a system call.
    #[cold]
    fn interrupted(&mut self, vector: usize) -> Trap {
        if vector < 32 {
            return exceptions::explain(vector, &self.frame);
        }
        interrupts::take(vector);
        Trap::Interrupt
    }

    /// Writes down what is in the processor; it stays there too.
    fn store(&mut self) {
        if self.loaded {
            self.extended.store();
            self.store_bases();
        }
    }

    fn store_bases(&mut self) {
        let Registers { fs_base, gs_base, .. } = &mut self.frame.registers;
        if features::get().fsgsbase {
            // SAFETY: it only reads, and nothing needs the kernel's GS before it is back.
            unsafe {
                asm!(
                    "rdfsbase {}",
                    "swapgs",
                    "rdgsbase {}",
                    "swapgs",
                    out(reg) * fs_base,
                    out(reg) * gs_base,
                    options(nomem, nostack, preserves_flags)
                );
            }
        } else {
            *fs_base = FsBase::read().as_u64();
            // In the kernel, SWAPGS has put the program's base there.
            *gs_base = KernelGsBase::read().as_u64();
        }
    }

    /// Both bases are canonical: they come from the processor, or from `set_registers`.
    fn load_bases(&self) {
        let Registers { fs_base, gs_base, .. } = self.frame.registers;
        if features::get().fsgsbase {
            // SAFETY: the kernel does not use FS, and nothing needs its GS before it is back.
            unsafe {
                asm!(
                    "wrfsbase {}",
                    "swapgs",
                    "wrgsbase {}",
                    "swapgs",
                    in(reg) fs_base,
                    in(reg) gs_base,
                    options(nomem, nostack, preserves_flags)
                );
            }
        } else {
            FsBase::write(VirtAddr::new(fs_base));
            KernelGsBase::write(VirtAddr::new(gs_base));
        }
    }
}

/// Puts a page table in force, unless it is: loading CR3 throws the translations away.
#[inline(always)]
fn enter_space(space: TableRoot) {
    if super::tlb::current_root() != space {
        // SAFETY: every page table maps the kernel's half alike, and its owner keeps it while a program runs in it.
        unsafe { super::tlb::set_root(space) };
    }
}

/// Empties the data segment selectors, in case the last program loaded some. They mean nothing in 64-bit mode, so they are
/// not kept for each program; but one program's should not be seen by the next.
fn clear_selectors() {
    // SAFETY: the kernel uses none of these segments but GS, whose base is in the other register during its load.
    unsafe {
        asm!(
            "mov ds, {zero:e}",
            "mov es, {zero:e}",
            "mov fs, {zero:e}",
            "swapgs",
            "mov gs, {zero:e}",
            "swapgs",
            zero = in(reg) 0,
            options(nomem, nostack, preserves_flags)
        );
    }
}

//! An ordinary process as the machine: as much of it as the kernel's own unit tests need.
//!
//! Memory, page tables and clocks are real, so that everything above can be tested by `cargo test` at the speed of the
//! host. User mode is not there: nothing on this machine can make a [`user::Context`], so nothing can run one, and the compiler
//! knows it.

mod layout;
mod memory;
mod running;
mod translation;
mod user;

use super::{BootInformation, CycleCounter, Frame, Interrupts, Machine, ProcessorFeatures};
use core::{
    fmt,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

extern crate std;

/// A process as the machine.
pub struct Hardware;

/// When the alarm is due: nanoseconds after [`start`]; `u64::MAX` for never.
static ALARM: AtomicU64 = AtomicU64::new(u64::MAX);

fn start() -> Instant {
    static START: spin::Once<Instant> = spin::Once::new();
    *START.call_once(Instant::now)
}

fn nanoseconds() -> u64 {
    start().elapsed().as_nanos() as u64
}

/// This machine has no user mode, so there is nothing to begin with: says so and fails.
pub fn main() {
    std::eprintln!("gnomon: this build of the kernel is for its unit tests; run `cargo test`");
    std::process::exit(1);
}

/// What the machine would hand to `start`: all its RAM is free.
#[cfg(test)]
pub fn boot_information(command_line: &'static str) -> BootInformation {
    BootInformation {
        command_line,
        initramfs: None,
        free_memory: core::iter::once(memory::FIRST_FRAME..memory::frame_limit()).collect(),
        initramfs_memory: None,
        frame_limit: memory::frame_limit(),
    }
}

impl Machine for Hardware {
    type PageTable = translation::Table;
    type UserContext = user::Context;
    const USER_END: usize = layout::USER_END;

    fn cpu_number() -> usize {
        0
    }

    fn frame_pointer(frame: Frame) -> NonNull<u8> {
        memory::pointer(frame)
    }

    fn processor_features() -> ProcessorFeatures {
        ProcessorFeatures { hwcap: 0, hwcap2: 0, minimum_signal_stack: 2048 }
    }

    fn random_seed() -> [u8; 32] {
        // Each of the standard library's hashers starts from the host's random bytes.
        use std::hash::{BuildHasher, RandomState};
        let mut bytes = [0; 32];
        for place in bytes.chunks_exact_mut(8) {
            place.copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
        }
        bytes
    }

    fn cycles() -> u64 {
        nanoseconds()
    }

    fn cycle_counter() -> CycleCounter {
        CycleCounter { frequency: 1_000_000_000, user_readable: false }
    }

    fn wall_clock() -> Option<u64> {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_nanos() as u64)
    }

    fn set_alarm(nanoseconds_from_now: Option<u64>) {
        let due = nanoseconds_from_now.map_or(u64::MAX, |delay| nanoseconds().saturating_add(delay));
        ALARM.store(due, Ordering::Relaxed);
    }

    fn idle() {
        let left = ALARM.load(Ordering::Relaxed).saturating_sub(nanoseconds());
        std::thread::sleep(Duration::from_nanos(left));
    }

    fn take_interrupts() -> Interrupts {
        if ALARM.load(Ordering::Relaxed) > nanoseconds() {
            return Interrupts::empty();
        }
        ALARM.store(u64::MAX, Ordering::Relaxed);
        Interrupts::ALARM
    }

    fn console_write(bytes: &[u8]) {
        // A host that closed its end does not stop the kernel.
        let _ = std::io::stdout().write_all(bytes);
    }

    fn console_read() -> Option<u8> {
        None
    }

    fn power_off() -> ! {
        std::process::exit(0)
    }

    fn restart() -> ! {
        std::process::exit(0)
    }

    fn stop_after_panic() -> ! {
        std::process::exit(1)
    }

    fn describe_machine(line: &mut dyn FnMut(fmt::Arguments<'_>)) {
        line(format_args!("machine: a process, for unit tests"));
    }

    fn describe_state(write: &mut dyn fmt::Write) {
        let _ = writeln!(write, "{}", std::backtrace::Backtrace::force_capture());
    }
}

//! Gnomon's table of contents: the order in which the kernel comes to life.
//!
//! The machine ([`arch`]) starts first, finds out what it has, and calls [`start`]. From there on nothing knows which
//! machine it is on.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

extern crate alloc;

mod abi;
#[allow(unsafe_code, reason = "this is where the kernel meets the machine")]
mod arch;
mod exec;
mod fs;
mod mm;
mod ns;
#[allow(unsafe_code, reason = "locks hand out what they guard")]
mod sync;
mod syscall;
mod task;
mod time;
mod trace;

use abi::CommandLine;
use arch::{BootInformation, Hardware, Machine};
use core::sync::atomic::Ordering::Relaxed;

/// Called by the machine, once, on the first CPU, with interrupts off.
pub fn start(boot: BootInformation) -> ! {
    trace::log::initialize();
    let words = boot.command_line;
    // Memory: every frame gets a row in a table, and from then on there is a heap.
    mm::frames::initialize(&boot);
    let command_line = CommandLine::parse(words);
    trace::log::set_level(command_line.log_level);
    log::info!("Gnomon {}: {words}", env!("CARGO_PKG_VERSION"));
    Hardware::describe_machine(&mut |line| log::info!("{line}"));
    // Time: the counter becomes clocks, and the page that programs read them from.
    time::initialize(command_line.clock).expect("there is memory for the clock pages");
    // Files: an empty tree, and the archive unpacked into it.
    fs::initialize(words);
    fs::proc::register();
    match boot.initramfs {
        Some(archive) => match fs::initramfs::unpack(archive) {
            Ok(()) => {}
            Err(damage) => panic!("the initial archive is damaged: {damage}"),
        },
        None => panic!("there is no initial archive: give one with -initrd (QEMU) or initrd= (gnomon-um)"),
    }
    if let Some(frames) = boot.initramfs_memory {
        mm::frames::release(frames);
    }
    // Tasks: how many there may be, the calls they make, then init, and whatever it makes.
    ns::user::limit_initial(task::limits::most_tasks() / 2);
    syscall::install();
    if command_line.fixed_addresses || time::clocksource::is_virtual() {
        exec::RANDOMIZE.store(0, Relaxed);
    }
    task::start_init(&command_line);
    task::sched::run()
}

/// Where every panic ends on the bare machine.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    trace::panic::stop(&information.message(), information.location(), &task::describe_current())
}

/// Where a machine that is a process begins, and its panics end.
#[cfg(not(target_os = "none"))]
fn main() {
    arch::main(|information| {
        let reason = information.payload_as_str().unwrap_or("for no reason that could be shown");
        trace::panic::stop(&reason, information.location(), &task::describe_current())
    })
}

//! The end: switching off, starting anew, stopping.
//!
//! Under QEMU the debug exit device ends the emulator with a status that scripts can check: it exits with twice the value
//! written, plus one. On machines without it there is ACPI, and where there is nothing at all, the processor halts.

use super::acpi::{PowerOff, Register};
use super::kernel_space::map_device;
use qemu_exit::QEMUExit;
use x86_64::instructions::{hlt, interrupts, port::Port};

/// Where `-device isa-debug-exit,iobase=0xf4` listens.
const DEBUG_EXIT: u16 = 0xf4;
/// QEMU's exit status after a power-off: odd, and not zero, because the device cannot do other.
const SUCCESS: u32 = 33;
/// QEMU's exit status after a panic.
const FAILURE: u32 = 35;

/// What ACPI said, once known; the end may come earlier.
static MACHINE: spin::Once<super::acpi::Machine> = spin::Once::new();

/// Remembers how this machine is switched off.
pub fn remember(machine: &super::acpi::Machine) {
    MACHINE.call_once(|| *machine);
}

/// Ends QEMU with this status, if it has the device. The device reads as zero; an address where nothing is, as ones.
fn exit_qemu(status: u32) {
    // SAFETY: reading has no effect on the device, nor where there is none.
    let present = unsafe { Port::<u8>::new(DEBUG_EXIT).read() } == 0;
    if present {
        // SAFETY: the device has just answered at this address.
        unsafe { qemu_exit::X86::new(DEBUG_EXIT, SUCCESS) }.exit(status >> 1);
    }
}

fn halt() -> ! {
    interrupts::disable();
    loop {
        hlt();
    }
}

fn write(register: Register, value: u8) {
    match register {
        // SAFETY: ACPI says that this register ends the machine, which is what is wanted.
        Register::Port(port) => unsafe { Port::new(port).write(value) },
        // SAFETY: as above.
        Register::Memory(address) => unsafe { map_device(address).as_ptr().write_volatile(value) },
    }
}

/// Switches off.
pub fn off() -> ! {
    exit_qemu(SUCCESS);
    match MACHINE.get().and_then(|machine| machine.power_off) {
        // SAFETY: ACPI says that this switches the machine off.
        Some(PowerOff::Control(port, value)) => unsafe { Port::new(port).write(value) },
        Some(PowerOff::Sleep(register, value)) => write(register, value),
        None => {}
    }
    halt()
}

/// Starts anew: by ACPI's register, else by the keyboard controller, which has a line to the processor's reset pin, else by
/// an exception that has no handler, whose handler has none either: the processor gives up and resets.
pub fn restart() -> ! {
    if let Some((register, value)) = MACHINE.get().and_then(|machine| machine.reset) {
        write(register, value);
    }
    const PULSE_RESET_LINE: u8 = 0xfe;
    // SAFETY: the machine is to start anew, and where there is no keyboard controller nothing happens.
    unsafe { Port::new(0x64).write(PULSE_RESET_LINE) };
    let nothing = x86_64::structures::DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
    // SAFETY: this is meant to fail.
    unsafe {
        x86_64::instructions::tables::lidt(&nothing);
        core::arch::asm!("ud2", options(noreturn));
    }
}

/// Ends after a panic.
pub fn stop_after_panic() -> ! {
    exit_qemu(FAILURE);
    halt()
}

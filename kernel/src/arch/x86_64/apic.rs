//! Interrupt controllers: the old pair of 8259s put to silence, the local APIC with its timer, and the I/O APIC that brings
//! the serial port's interrupt.
//!
//! The kernel uses two interrupts, so each has a fixed vector. The timer counts down once and stops ("one-shot"): there is no
//! periodic tick that would wake an idle machine.

use super::kernel_space::map_device;
use core::sync::atomic::{AtomicPtr, Ordering};
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::{ApicBase, ApicBaseFlags};

/// Where the old controllers' 16 lines go, if one should speak in spite of all: below the vectors in use.
const LEGACY_VECTORS: u8 = 0x20;
/// The timer's vector.
pub const TIMER: u8 = 0x30;
/// The serial port's.
pub const SERIAL: u8 = 0x31;
/// What the local APIC delivers when an interrupt went away before it was taken. Must not be acknowledged.
pub const SPURIOUS: u8 = 0xff;

/// Registers of the local APIC: byte offsets. Intel SDM volume 3, table 12-1.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Local {
    Id = 0x20,
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    Spurious = 0xf0,
    TimerEntry = 0x320,
    Line0 = 0x350,
    Line1 = 0x360,
    ErrorEntry = 0x370,
    TimerInitial = 0x380,
    TimerCurrent = 0x390,
    TimerDivide = 0x3e0,
}

const MASKED: u32 = 1 << 16;

/// The local APIC's registers; every processor sees its own at the same address.
static LOCAL: AtomicPtr<u32> = AtomicPtr::new(core::ptr::null_mut());

fn register(which: Local) -> *mut u32 {
    LOCAL.load(Ordering::Relaxed).wrapping_byte_add(which as usize)
}

fn read(which: Local) -> u32 {
    // SAFETY: `initialize_local` has mapped the registers; reading those used here has no effects.
    unsafe { register(which).read_volatile() }
}

fn write(which: Local, value: u32) {
    // SAFETY: `initialize_local` has mapped the registers.
    unsafe { register(which).write_volatile(value) }
}

/// Moves the two 8259s' vectors away from the exceptions', where the firmware may have left them, and masks all lines.
pub fn silence_legacy() {
    const COMMANDS: [u16; 2] = [0x20, 0xa0];
    const LINES: [u16; 2] = [0x21, 0xa1];
    // Sent to the second port: first vector, how the two are connected, 8086 mode.
    const CONNECTION: [u8; 2] = [1 << 2, 2];
    for pair in 0..2 {
        // SAFETY: the ports are the controllers' on every PC; with all lines masked they do nothing any more.
        unsafe {
            Port::<u8>::new(COMMANDS[pair]).write(0x11);
            let mut lines = Port::<u8>::new(LINES[pair]);
            lines.write(LEGACY_VECTORS + 8 * pair as u8);
            lines.write(CONNECTION[pair]);
            lines.write(1);
            lines.write(0xff);
        }
    }
}

/// Turns this processor's local APIC on, with every source masked.
pub fn initialize_local() {
    let (frame, flags) = ApicBase::read();
    if flags.contains(ApicBaseFlags::X2APIC_ENABLE) {
        // The firmware chose the mode without memory-mapped registers. The way back leads through "off".
        // SAFETY: no interrupt is expected yet.
        unsafe { ApicBase::write(frame, flags - ApicBaseFlags::X2APIC_ENABLE - ApicBaseFlags::LAPIC_ENABLE) };
    }
    // SAFETY: the address stays what it was.
    unsafe { ApicBase::write(frame, (flags - ApicBaseFlags::X2APIC_ENABLE) | ApicBaseFlags::LAPIC_ENABLE) };
    LOCAL.store(map_device(frame.start_address().as_u64()).cast().as_ptr(), Ordering::Relaxed);

    write(Local::TaskPriority, 0);
    for entry in [Local::TimerEntry, Local::Line0, Local::ErrorEntry] {
        write(entry, MASKED);
    }
    const NON_MASKABLE: u32 = 4 << 8;
    write(Local::Line1, NON_MASKABLE);
    const ENABLED: u32 = 1 << 8;
    write(Local::Spurious, ENABLED | u32::from(SPURIOUS));
    const UNDIVIDED: u32 = 0b1011;
    write(Local::TimerDivide, UNDIVIDED);
    write(Local::TimerEntry, u32::from(TIMER)); // Bits 17 and 18 zero: one-shot.
}

/// Says that the interrupt in progress has been taken.
pub fn acknowledge() {
    write(Local::EndOfInterrupt, 0);
}

/// Starts the timer: it interrupts after this many of its ticks; zero stops it.
pub fn start_timer(ticks: u32) {
    write(Local::TimerInitial, ticks);
}

/// What is left of the timer's ticks.
pub fn timer_left() -> u32 {
    read(Local::TimerCurrent)
}

/// The I/O APIC's two registers: which one is meant, and its content.
struct IoApic(*mut u32);

impl IoApic {
    fn access(&self, which: u32) -> *mut u32 {
        // SAFETY: the first register chooses what the one at offset 0x10 is.
        unsafe { self.0.write_volatile(which) };
        self.0.wrapping_byte_add(0x10)
    }

    fn read(&self, which: u32) -> u32 {
        // SAFETY: reading has no effects.
        unsafe { self.access(which).read_volatile() }
    }

    fn write(&self, which: u32, value: u32) {
        // SAFETY: the registers written are those of entries, below.
        unsafe { self.access(which).write_volatile(value) }
    }
}

/// Where the I/O APIC is on a PC that does not say.
const USUAL_IO_APIC: u64 = 0xfec0_0000;

/// Lets an ISA interrupt line reach this processor as the given vector. False when there is no I/O APIC.
pub fn route(line: u8, vector: u8, machine: &super::acpi::Machine) -> bool {
    let (address, first) = machine.io_apic.unwrap_or((USUAL_IO_APIC, 0));
    let controller = IoApic(map_device(address).cast().as_ptr());
    const VERSION: u32 = 1;
    let version = controller.read(VERSION);
    if version == u32::MAX || version == 0 {
        return false;
    }
    // ISA lines are active high and signal by an edge, unless ACPI says otherwise in the flags of an override.
    let (number, flags) = machine.overrides[usize::from(line)].unwrap_or((u32::from(line), 0));
    const ACTIVE_LOW: u32 = 1 << 13;
    const BY_LEVEL: u32 = 1 << 15;
    let polarity = if flags & 0b11 == 0b11 { ACTIVE_LOW } else { 0 };
    let trigger = if flags >> 2 & 0b11 == 0b11 { BY_LEVEL } else { 0 };
    let entries = (version >> 16 & 0xff) + 1;
    let Some(entry) = number.checked_sub(first).filter(|&entry| entry < entries) else { return false };
    let this_processor = read(Local::Id) >> 24;
    controller.write(0x10 + 2 * entry + 1, this_processor << 24);
    controller.write(0x10 + 2 * entry, u32::from(vector) | polarity | trigger);
    true
}

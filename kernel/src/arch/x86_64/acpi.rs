//! What the firmware's ACPI tables say of this machine, as far as the kernel needs it: interrupt routing, the legacy clocks,
//! how to switch off.
//!
//! The tables are reached from a "root pointer" that the loader passes. Each begins with a four-letter signature and its
//! length. Everything is read once at boot; a field that a short or old table does not have, and a table that lies outside
//! mapped memory, is the same as one that says nothing. (One thing sits in bytecode: the value that means "off" in the
//! power register is in the object `\_S5`. It is always a constant, so looking for its name and the constants behind it
//! serves as well as an interpreter.)
//!
//! Source: ACPI specification 6.5, chapters 4 and 5.

use super::layout;
use core::ops::Range;

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    /// Physical address of the I/O APIC, and the first interrupt number it serves.
    pub io_apic: Option<(u64, u32)>,
    /// For each ISA interrupt line: the interrupt number it is wired to and its flags, where not the line's own number.
    pub overrides: [Option<(u32, u16)>; 16],
    /// Physical address of the high precision event timer.
    pub hpet: Option<u64>,
    /// I/O port of the power management timer.
    pub power_timer: Option<u16>,
    /// Which CMOS register holds the century, if one does.
    pub century_register: Option<u8>,
    /// How to switch off.
    pub power_off: Option<PowerOff>,
    /// How to start anew: a register, and what to write to it.
    pub reset: Option<(Register, u8)>,
}

/// A register anywhere.
#[derive(Clone, Copy, Debug)]
pub enum Register {
    /// An I/O port.
    Port(u16),
    /// A physical address.
    Memory(u64),
}

/// The two ways of ACPI machines to be switched off.
#[derive(Clone, Copy, Debug)]
pub enum PowerOff {
    /// Write this to the power management control port, 16 bits.
    Control(u16, u16),
    /// Write this to the sleep control register, 8 bits: machines without the port.
    Sleep(Register, u8),
}

/// A table's bytes, which may end too early.
#[derive(Clone, Copy)]
struct Table(&'static [u8]);

const HEADER: usize = 36;

impl Table {
    /// The table at a physical address, if it is in the direct map.
    fn at(physical: u64, mapped: &[Range<u64>]) -> Option<Self> {
        let bytes = |length: usize| {
            let end = physical.checked_add(length as u64)?;
            let inside = mapped.iter().any(|range| range.start <= physical && end <= range.end);
            // SAFETY: the direct map reaches it, and the firmware's tables are not written any more.
            inside.then(|| unsafe { core::slice::from_raw_parts(layout::direct(physical).as_ptr(), length) })
        };
        let length = Self(bytes(HEADER)?).u32(4)? as usize;
        (HEADER..=1 << 20).contains(&length).then(|| bytes(length).map(Self)).flatten()
    }

    fn bytes<const COUNT: usize>(self, offset: usize) -> Option<[u8; COUNT]> {
        self.0.get(offset..)?.first_chunk().copied()
    }

    fn u8(self, offset: usize) -> Option<u8> {
        self.0.get(offset).copied()
    }

    fn u16(self, offset: usize) -> Option<u16> {
        self.bytes(offset).map(u16::from_le_bytes)
    }

    fn u32(self, offset: usize) -> Option<u32> {
        self.bytes(offset).map(u32::from_le_bytes)
    }

    fn u64(self, offset: usize) -> Option<u64> {
        self.bytes(offset).map(u64::from_le_bytes)
    }

    /// A "generic address structure": the kind of place, three bytes about width, the address.
    fn register(self, offset: usize) -> Option<Register> {
        match (self.u8(offset)?, self.u64(offset + 4)?) {
            (_, 0) => None,
            (0, address) => Some(Register::Memory(address)),
            (1, port) => u16::try_from(port).ok().map(Register::Port),
            _ => None,
        }
    }
}

/// Reads the tables. `mapped` is what the direct map reaches.
pub fn read(root_pointer: Option<u64>, mapped: &[Range<u64>]) -> Machine {
    let mut machine = Machine::default();
    let Some(root) = root_pointer
        .filter(|&root| mapped.iter().any(|range| range.start <= root && root + HEADER as u64 <= range.end))
    else {
        return machine;
    };
    // The root pointer has a layout of its own: revision at 15, 32-bit address at 16, from revision 2 a 64-bit one at 24.
    // SAFETY: the direct map reaches it, and it has at least these bytes.
    let pointer = Table(unsafe { core::slice::from_raw_parts(layout::direct(root).as_ptr(), HEADER) });
    if !pointer.0.starts_with(b"RSD PTR ") {
        return machine;
    }
    let wide = pointer.u8(15).is_some_and(|revision| revision >= 2);
    let (list, entry) = if wide { (pointer.u64(24), 8) } else { (pointer.u32(16).map(u64::from), 4) };
    let Some(list) = list.and_then(|address| Table::at(address, mapped)) else { return machine };

    for at in (HEADER..list.0.len()).step_by(entry) {
        let address = if wide { list.u64(at) } else { list.u32(at).map(u64::from) };
        let Some(table) = address.and_then(|address| Table::at(address, mapped)) else { continue };
        match &table.0[..4] {
            b"APIC" => interrupts(&mut machine, table),
            b"FACP" => fixed(&mut machine, table, mapped),
            b"HPET" => machine.hpet = table.u64(HEADER + 8).filter(|_| table.u8(HEADER + 4) == Some(0)),
            _ => {}
        }
    }
    machine
}

/// The "multiple APIC description table": a list of records, each with its kind and length.
fn interrupts(machine: &mut Machine, table: Table) {
    const IO_APIC: u8 = 1;
    const OVERRIDE: u8 = 2;
    let mut at = HEADER + 8;
    while let (Some(kind), Some(length)) = (table.u8(at), table.u8(at + 1)) {
        match kind {
            IO_APIC if machine.io_apic.is_none() => {
                machine.io_apic = table.u32(at + 4).map(u64::from).zip(table.u32(at + 8));
            }
            OVERRIDE => {
                if let Some(place) =
                    table.u8(at + 3).and_then(|line| machine.overrides.get_mut(line as usize))
                {
                    *place = table.u32(at + 4).zip(table.u16(at + 8));
                }
            }
            _ => {}
        }
        at += usize::from(length.max(2));
    }
}

/// The "fixed ACPI description table".
fn fixed(machine: &mut Machine, table: Table, mapped: &[Range<u64>]) {
    const REDUCED_HARDWARE: u32 = 1 << 20;
    const RESET_SUPPORTED: u32 = 1 << 10;
    const SLEEP_ENABLE_8: u8 = 1 << 5;
    const SLEEP_ENABLE_16: u16 = 1 << 13;

    let flags = table.u32(112).unwrap_or(0);
    let port = |offset| table.u32(offset).and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0);
    let wide = table.u64(140).filter(|&address| address != 0);
    let sleep_type = wide
        .or_else(|| table.u32(40).map(u64::from))
        .and_then(|address| Table::at(address, mapped))
        .and_then(|bytecode| sleep_type_of_off(&bytecode.0[HEADER..]));

    if flags & REDUCED_HARDWARE == 0 {
        machine.power_timer = port(76);
        machine.century_register = table.u8(108).filter(|&register| register != 0);
        machine.power_off = port(64)
            .zip(sleep_type)
            .map(|(port, kind)| PowerOff::Control(port, SLEEP_ENABLE_16 | u16::from(kind) << 10));
    } else {
        machine.power_off = table
            .register(244)
            .zip(sleep_type)
            .map(|(register, kind)| PowerOff::Sleep(register, SLEEP_ENABLE_8 | kind << 2));
    }
    if flags & RESET_SUPPORTED != 0 {
        machine.reset = table.register(116).zip(table.u8(128));
    }
}

/// The first number in the package `\_S5`: what the control register calls "off".
///
/// In bytecode: `08` (name) `"_S5_"` `12` (package) length count, then numbers: `00`, `01` for themselves, or `0a` and a byte.
fn sleep_type_of_off(bytecode: &[u8]) -> Option<u8> {
    let name = bytecode.windows(4).position(|window| window == b"_S5_")?;
    let package = bytecode.get(name + 4..)?.strip_prefix(&[0x12])?;
    // The length's first byte says in its upper two bits how many more bytes it has.
    let elements = package.get(1 + usize::from(package.first()? >> 6) + 1..)?;
    match elements {
        [0x0a, kind, ..] => Some(kind & 7),
        [kind @ 0..=1, ..] => Some(*kind),
        _ => None,
    }
}

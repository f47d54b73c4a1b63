//! The battery's clock: what time it is when the machine starts.
//!
//! It counts seconds, minutes and so on in separate registers of the CMOS chip, in decimal or binary and in 12 or 24 hours as
//! another register says, and once a second there is a moment in which they do not belong together. So they are read
//! until two readings agree, with no update under way. It is taken to keep UTC, as QEMU's does.

use super::calendar;
use x86_64::instructions::port::Port;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
/// Where PCs keep the century, unless ACPI says otherwise.
const USUAL_CENTURY: u8 = 0x32;

/// In status A: an update comes within 244 microseconds.
const UPDATING: u8 = 1 << 7;

/// How often to look before giving up: an update lasts 2 ms at most, and a look takes more than 100 ns.
const PATIENCE: usize = 100_000;

fn read(register: u8) -> u8 {
    // SAFETY: the index port chooses a register; bit 7 clear leaves non-maskable interrupts on; reading these has no
    // effects.
    unsafe {
        Port::<u8>::new(0x70).write(register & 0x7f);
        Port::<u8>::new(0x71).read()
    }
}

/// Nanoseconds since 1970, whole seconds; `None` without a clock, or when it holds no date.
pub fn read_time(century_register: Option<u8>) -> Option<u64> {
    let century_register = century_register.unwrap_or(USUAL_CENTURY);
    // Without the chip every register reads as ones.
    if read(STATUS_A) == 0xff && read(STATUS_B) == 0xff {
        return None;
    }
    let registers = [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR, century_register];
    let reading = || {
        let quiet = (0..PATIENCE).any(|_| read(STATUS_A) & UPDATING == 0);
        quiet.then(|| registers.map(read))
    };
    let mut last = reading()?;
    loop {
        let next = reading()?;
        if next == last {
            break;
        }
        last = next;
    }
    calendar::seconds_since_1970(last, read(STATUS_B)).map(|seconds| seconds * 1_000_000_000)
}

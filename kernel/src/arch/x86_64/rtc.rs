//! The battery's clock: what time it is when the machine starts.
//!
//! It counts seconds, minutes and so on in separate registers of the CMOS chip, in decimal or binary and in 12 or 24 hours as
//! another register says, and once a second there is a moment in which they do not belong together. So they are read
//! until two readings agree, with no update under way. It is taken to keep UTC, as QEMU's does.

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
/// In status B: registers are binary, not decimal digits.
const BINARY: u8 = 1 << 2;
/// In status B: hours 0 to 23.
const HOURS_24: u8 = 1 << 1;
/// In the hours of a 12-hour clock.
const AFTERNOON: u8 = 1 << 7;

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
    seconds_since_1970(last, read(STATUS_B)).map(|seconds| seconds * 1_000_000_000)
}

/// The registers, in the order above, as a time.
fn seconds_since_1970(registers: [u8; 7], status_b: u8) -> Option<u64> {
    let number = |value: u8| {
        let decimal = (value >> 4) * 10 + (value & 0xf);
        u64::from(if status_b & BINARY != 0 { value } else { decimal })
    };
    let [seconds, minutes, hours, day, month, year, century] = registers;
    let mut hour = number(hours & !AFTERNOON);
    if status_b & HOURS_24 == 0 {
        hour = hour % 12 + if hours & AFTERNOON != 0 { 12 } else { 0 };
    }
    let (second, minute, day, month) = (number(seconds), number(minutes), number(day), number(month));
    let century = number(century);
    let year = number(year)
        + if (19..=29).contains(&century) {
            century * 100
        } else if number(year) < 70 {
            2000
        } else {
            1900
        };
    let is_time = second < 61 && minute < 60 && hour < 24;
    let is_date = (1..=31).contains(&day) && (1..=12).contains(&month) && year >= 1970;
    (is_time && is_date)
        .then(|| ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are made to begin in March, so that the leap day is a
/// year's last; a month's first day is then a linear function, rounded down.
const fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    const TO_1970_FROM_YEAR_0: u64 = 719_468;
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - TO_1970_FROM_YEAR_0
}

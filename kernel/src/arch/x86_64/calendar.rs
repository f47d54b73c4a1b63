//! From the clock chip's registers to seconds since 1970.

/// In status B: registers are binary, not decimal digits.
const BINARY: u8 = 1 << 2;
/// In status B: hours 0 to 23.
const HOURS_24: u8 = 1 << 1;
/// In the hours of a 12-hour clock.
const AFTERNOON: u8 = 1 << 7;

/// The seconds since 1970 that these registers mean: seconds, minutes, hours, day, month, year, century, in the form that
/// status B tells. `None` when that is no date, or one before 1970. A century that is none is guessed from the year.
pub fn seconds_since_1970(registers: [u8; 7], status_b: u8) -> Option<u64> {
    let number = |value: u8| {
        let decimal = u64::from(value >> 4) * 10 + u64::from(value & 0xf);
        if status_b & BINARY != 0 { u64::from(value) } else { decimal }
    };
    let [second, minute, hour, day, month, year, century] = registers;
    let hour = if status_b & HOURS_24 != 0 {
        number(hour)
    } else {
        // 12, 1, 2 ... 11, with a bit for the second round.
        number(hour & !AFTERNOON) % 12 + if hour & AFTERNOON != 0 { 12 } else { 0 }
    };
    let [second, minute, day, month, year, century] = [second, minute, day, month, year, century].map(number);
    let year = match century {
        19..=29 => century * 100 + year,
        _ if year < 70 => 2000 + year,
        _ => 1900 + year,
    };
    let is_time = second < 61 && minute < 60 && hour < 24;
    let is_date = (1..=31).contains(&day) && (1..=12).contains(&month) && year >= 1970;
    (is_time && is_date)
        .then(|| ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are made to begin in March, so that the leap day is a
/// year's last; a month's first day is then a linear function, rounded down.
const fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    const FROM_YEAR_0_TO_1970: u64 = 719_468;
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - FROM_YEAR_0_TO_1970
}

#[cfg(test)]
mod tests {
    use super::{BINARY, HOURS_24, days_since_1970, seconds_since_1970};

    #[test]
    fn decimal_and_binary_mean_the_same() {
        let decimal = seconds_since_1970([0x59, 0x30, 0x23, 0x29, 0x02, 0x24, 0x20], HOURS_24);
        let binary = seconds_since_1970([59, 30, 23, 29, 2, 24, 20], HOURS_24 | BINARY);
        // date -u -d '2024-02-29 23:30:59' +%s
        assert_eq!(decimal, Some(1_709_249_459));
        assert_eq!(binary, decimal);
    }

    #[test]
    fn a_12_hour_clock_begins_with_twelve() {
        let at = |hour| seconds_since_1970([0, 0, hour, 1, 1, 70, 19], BINARY);
        assert_eq!(at(12), Some(0));
        assert_eq!(at(11), Some(11 * 3600));
        assert_eq!(at(0x80 | 12), Some(12 * 3600));
        assert_eq!(at(0x80 | 11), Some(23 * 3600));
    }

    #[test]
    fn a_chip_without_century_or_without_date() {
        assert_eq!(seconds_since_1970([0, 0, 0, 1, 1, 0, 0xff], HOURS_24 | BINARY), Some(946_684_800));
        assert_eq!(seconds_since_1970([0, 0, 0, 0, 0, 0, 0], HOURS_24 | BINARY), None);
        assert_eq!(seconds_since_1970([0xff; 7], 0xff), None);
        assert_eq!(seconds_since_1970([0, 60, 0, 1, 1, 0, 20], HOURS_24 | BINARY), None);
    }

    #[test]
    fn days_follow_each_other() {
        let mut expected = 0;
        for year in 1970..2400 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for day in 1..=length {
                    assert_eq!(days_since_1970(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
    }
}

//! The text of `/proc/PID/timens_offsets`: how offsets are shown, read, and judged, time_namespaces(7).
//!
//! Byte for byte what Linux accepts, oddities included, because programs were written against it: a name is cut after
//! nine characters, numbers wrap silently, whatever follows the third field is ignored, and of the lines after the
//! second nothing is even looked at.

use crate::{
    abi::{Errno, NANOSECONDS_PER_SECOND, Result},
    time::HostClock,
};
use alloc::string::String;
use arrayvec::ArrayVec;
use core::fmt::Write;
use gnomon_vdso::write::Offset;

/// The largest `abs(seconds)` of an offset: 292 years, the most that nanoseconds in 63 bits hold.
const LARGEST_SECONDS: u64 = i64::MAX as u64 / NANOSECONDS_PER_SECOND;
/// The latest a clock inside may be, in seconds: half of that, so that 146 years are left before it overflows.
const LATEST: i64 = LARGEST_SECONDS as i64 / 2;
/// A name longer than this goes on as the next field.
const LONGEST_NAME: usize = 9;
/// What clocks are called in this file.
const NAMES: [(&[u8], Shifted); 4] = [
    (b"monotonic", Shifted::Monotonic),
    (b"boottime", Shifted::Boottime),
    (b"1", Shifted::Monotonic),
    (b"7", Shifted::Boottime),
];
/// So many lines are looked at in one write.
const LINES: usize = 2;

/// A clock that has an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shifted {
    /// CLOCK_MONOTONIC and its relatives.
    Monotonic,
    /// CLOCK_BOOTTIME.
    Boottime,
}

/// A namespace's two offsets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offsets {
    /// Added to CLOCK_MONOTONIC, _RAW and _COARSE.
    pub monotonic: Offset,
    /// Added to CLOCK_BOOTTIME.
    pub boottime: Offset,
}

/// One line of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// Which clock.
    pub clock: Shifted,
    /// Its offset.
    pub offset: Offset,
}

/// What a write said.
#[derive(PartialEq, Eq, Debug)]
pub struct Parsed {
    /// One or two lines.
    pub lines: ArrayVec<Line, LINES>,
    /// How many bytes of the text were used: what the write returns.
    pub used: usize,
}

impl Offsets {
    /// What is added to this clock; `None`: it is the same everywhere.
    #[inline(always)]
    pub const fn of(&self, clock: HostClock) -> Option<Offset> {
        match clock {
            HostClock::Monotonic | HostClock::MonotonicRaw | HostClock::MonotonicCoarse => {
                Some(self.monotonic)
            }
            HostClock::Boottime => Some(self.boottime),
            HostClock::Realtime | HostClock::RealtimeCoarse | HostClock::Tai => None,
        }
    }

    /// The file's text: names in ten columns, seconds in ten, nanoseconds (not padded with zeros) in nine.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(64);
        for (name, offset) in [("monotonic", self.monotonic), ("boottime", self.boottime)] {
            let _ = writeln!(text, "{name:<10} {:>10} {:>9}", offset.seconds, offset.nanoseconds);
        }
        text
    }

    /// Applies one line.
    pub fn set(&mut self, line: Line) {
        match line.clock {
            Shifted::Monotonic => self.monotonic = line.offset,
            Shifted::Boottime => self.boottime = line.offset,
        }
    }
}

impl Line {
    /// Whether a clock that shows `now` nanoseconds on the host may be shifted so. Errors: ERANGE.
    pub fn check_range(&self, now: i64) -> Result<()> {
        if self.offset.seconds.unsigned_abs() > LARGEST_SECONDS {
            return Err(Errno::ERANGE.because("an offset is at most 9223372036 seconds either way"));
        }
        const SECOND: i128 = NANOSECONDS_PER_SECOND as i128;
        let offset = i128::from(self.offset.seconds) * SECOND + i128::from(self.offset.nanoseconds);
        if !(0..(i128::from(LATEST) + 1) * SECOND).contains(&(i128::from(now) + offset)) {
            return Err(Errno::ERANGE.because("the clock inside must be between 0 and 4611686018 seconds"));
        }
        Ok(())
    }
}

/// Reads what was written, in one go from its first byte to its last. Errors: EINVAL for anything but one or two good lines.
pub fn parse(text: &[u8]) -> Result<Parsed> {
    let mut lines = ArrayVec::new();
    let mut reader = Reader { text, at: 0 };
    loop {
        let line =
            reader.line().ok_or_else(|| Errno::EINVAL.because("a line is `clock seconds nanoseconds`"))?;
        lines.push(line);
        reader.skip(|byte| !matches!(byte, b'\n' | 0));
        reader.at += 1;
        // A newline that ends the text does not begin another line. What follows a NUL is not read, but counts as written.
        if reader.at >= text.len() || text[reader.at - 1] == 0 || reader.next() == 0 {
            return Ok(Parsed { lines, used: text.len() });
        }
        if lines.is_full() {
            return Ok(Parsed { lines, used: reader.at });
        }
    }
}

/// A text, and how far it has been read.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// The next byte. At the end that is a NUL: a NUL is an end as well.
    fn next(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// Goes on to the first byte that is not of this kind. NULs are of none.
    fn skip(&mut self, kind: impl Fn(u8) -> bool) {
        while kind(self.next()) {
            self.at += 1;
        }
    }

    /// One line, up to its last field.
    fn line(&mut self) -> Option<Line> {
        self.skip(is_space);
        let rest = &self.text[self.at..];
        let (name, clock) = NAMES.iter().find(|(name, _)| {
            let ends =
                |rest: &[u8]| name.len() == LONGEST_NAME || rest.first().is_none_or(|&byte| is_space(byte));
            rest.strip_prefix(*name).is_some_and(ends)
        })?;
        self.at += name.len();
        self.skip(is_space);
        let negative = self.next() == b'-';
        self.at += usize::from(negative);
        let seconds = self.digits()?;
        let seconds = if negative { seconds.wrapping_neg() } else { seconds } as i64;
        // The nanoseconds must be a field of their own: `1x 0` and `1.5` are not numbers.
        if !is_space(self.next()) {
            return None;
        }
        self.skip(is_space);
        // Unsigned, so that what wraps around to a negative number is refused as well. (Linux 6.18 lets it pass, and its
        // readers then loop for seconds.)
        let nanoseconds = self.digits().filter(|&nanoseconds| nanoseconds < NANOSECONDS_PER_SECOND)?;
        Some(Line { clock: *clock, offset: Offset { seconds, nanoseconds: nanoseconds as u32 } })
    }

    /// A run of decimal digits, modulo 2^64.
    fn digits(&mut self) -> Option<u64> {
        let (mut value, start) = (0u64, self.at);
        while let digit @ 0..=9 = self.next().wrapping_sub(b'0') {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        (self.at > start).then_some(value)
    }
}

/// White space inside a line: also the no-break space of Latin-1.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r' | 0xa0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(clock: Shifted, seconds: i64, nanoseconds: u32) -> Option<Line> {
        Some(Line { clock, offset: Offset { seconds, nanoseconds } })
    }

    /// What is read of a text without a newline.
    fn only_line(text: impl AsRef<[u8]>) -> Option<Line> {
        parse(text.as_ref()).ok().map(|parsed| parsed.lines[0])
    }

    #[test]
    fn lines_that_are_accepted() {
        use Shifted::{Boottime as B, Monotonic as M};
        for (text, line) in [
            ("monotonic 1 2", one(M, 1, 2)),
            ("1 5 6", one(M, 5, 6)),
            ("7 5 6 words", one(B, 5, 6)),
            ("boottime -5 6", one(B, -5, 6)),
            ("monotonic5 6", one(M, 5, 6)),
            ("monotonic-5 6", one(M, -5, 6)),
            (" \t\r\x0b\x0cmonotonic  010\t0", one(M, 10, 0)),
            ("monotonic 18446744073709551617 0", one(M, 1, 0)),
            ("monotonic 1 18446744073709551616", one(M, 1, 0)),
            ("monotonic 1 999999999", one(M, 1, 999_999_999)),
            ("monotonic 1 0xyz", one(M, 1, 0)),
            ("monotonic -0 0", one(M, 0, 0)),
        ] {
            assert_eq!(only_line(text), line, "{text:?}");
        }
        assert_eq!(only_line(b"\xa0monotonic\xa01\xa02"), one(M, 1, 2));
    }

    #[test]
    fn lines_that_are_refused() {
        for text in [
            "",
            " ",
            "monotonic",
            "monotonic 1",
            "monotonic 1 ",
            "Monotonic 1 1",
            "mono 1 1",
            "01 1 1",
            "0 1 1",
            "4 1 1",
            "8 1 1",
            "15 1 1",
            "monotonicx 1 1",
            "boottime5 6 7",
            "monotonic +1 0",
            "monotonic - 1 0",
            "monotonic --1 0",
            "monotonic 1 +1",
            "monotonic 1 -1",
            "monotonic 1 1000000000",
            "monotonic 1 9223372036854775808",
            "monotonic 1,0",
            "monotonic,1 0",
            "monotonic 1;0",
            "monotonic 1x 0",
            "monotonic 1.5 0",
            "monotonic 0x10 0",
        ] {
            assert_eq!(only_line(text), None, "{text:?}");
        }
    }

    #[test]
    fn texts_and_what_is_used_of_them() {
        for (text, lines, used) in [
            ("monotonic 1 0", 1, 13),
            ("monotonic 1 0\n", 1, 14),
            ("monotonic 1 0\nboottime 2 0", 2, 26),
            ("monotonic 1 0\nboottime 2 0\n", 2, 27),
            ("monotonic 1 0\nboottime 2 0\n\n", 2, 27),
            ("monotonic 1 0\nboottime 2 0\ngarbage", 2, 27),
            ("monotonic 1 0\0garbage", 1, 21),
            ("monotonic 1 0\n\0garbage", 1, 22),
            ("monotonic 1 0\nboottime 2 0\n\0garbage", 2, 35),
            ("monotonic 1 0 words\0\nbad", 1, 24),
        ] {
            let parsed = parse(text.as_bytes()).unwrap();
            assert_eq!((parsed.lines.len(), parsed.used), (lines, used), "{text:?}");
        }
        for text in [
            "",
            "\0",
            "monotonic\n1 0",
            "monotonic 1\n0",
            "monotonic 1 \0 0",
            "\n",
            "monotonic 1 0\n\n",
            "\nmonotonic 1 0",
            "monotonic 1 0\n \n",
            "monotonic 1 0\nbad",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Errno::EINVAL), "{text:?}");
        }
    }

    #[test]
    fn ranges() {
        let check = |seconds, nanoseconds, now| {
            Line { clock: Shifted::Monotonic, offset: Offset { seconds, nanoseconds } }.check_range(now)
        };
        let now = 1_566_540_000_000;
        assert_eq!(check(4_611_684_452, 0, now), Ok(()));
        assert_eq!(check(4_611_684_453, 0, now), Err(Errno::ERANGE));
        assert_eq!(check(-1566, 0, now), Ok(()));
        assert_eq!(check(-1567, 0, now), Err(Errno::ERANGE));
        assert_eq!(check(-1567, 999_999_999, now), Ok(()));
        assert_eq!(check(i64::MIN, 0, now), Err(Errno::ERANGE));
        assert_eq!(check(9_223_372_037, 0, now), Err(Errno::ERANGE));
    }

    #[test]
    fn the_text_is_byte_exact() {
        assert_eq!(
            Offsets::default().text(),
            "monotonic           0         0\nboottime            0         0\n"
        );
        let mut offsets = Offsets::default();
        offsets.set(one(Shifted::Monotonic, -1, 999_999_999).unwrap());
        assert!(offsets.text().starts_with("monotonic          -1 999999999\n"));
    }
}

//! The grammar of a line written to timens_offsets, row by row: what is taken, as what, and what is EINVAL.
//!
//! Some of it is surprising (a name is cut after nine characters, numbers wrap, trailing text is ignored), but
//! programs write what Linux takes, so a kernel that is stricter or laxer would be seen.

use super::support::{needs_root, unshared};
use crate::ktap::{Outcome, Plan, Step, equal, refused};
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::namespace::{self, OFFSETS};

/// What was written, and the seconds and nanoseconds of both clocks read back.
const TAKEN: &[(&[u8], [i64; 4])] = &[
    (b"monotonic 5 6", [5, 6, 0, 0]),
    (b"boottime 5 6", [0, 0, 5, 6]),
    (b"1 5 6", [5, 6, 0, 0]),
    (b"7 5 6", [0, 0, 5, 6]),
    (b"monotonic 5 6\n", [5, 6, 0, 0]),
    (b"monotonic 5 6\nboottime 7 8\n", [5, 6, 7, 8]),
    (b"7 7 8\n1 5 6", [5, 6, 7, 8]),
    (b"monotonic 1 1\nmonotonic 2 2\n", [2, 2, 0, 0]),
    // White space: space, tab, vertical tab, form feed, carriage return, and byte 0xA0.
    (b" monotonic 5 6", [5, 6, 0, 0]),
    (b"\t\x0b\x0c\r monotonic 5 6", [5, 6, 0, 0]),
    (b"monotonic\t5\t6", [5, 6, 0, 0]),
    (b"monotonic \x0b 5 \x0c\r 6", [5, 6, 0, 0]),
    (b"\xa0monotonic\xa05\xa06", [5, 6, 0, 0]),
    (b"1\xa05\xa06\xa0", [5, 6, 0, 0]),
    // A name ends after nine characters whatever follows.
    (b"monotonic5 6", [5, 6, 0, 0]),
    (b"monotonic-1 6\nboottime 1000 0", [-1, 6, 1000, 0]),
    // Numbers.
    (b"monotonic 010 010", [10, 10, 0, 0]),
    (b"monotonic 0000000000000000000000005 0000000000000000000000000006", [5, 6, 0, 0]),
    (b"monotonic -1 0", [-1, 0, 0, 0]),
    (b"monotonic -0 0", [0, 0, 0, 0]),
    (b"monotonic -1 999999999", [-1, 999_999_999, 0, 0]),
    (b"monotonic 0 999999999", [0, 999_999_999, 0, 0]),
    (b"monotonic 18446744073709551617 0", [1, 0, 0, 0]),
    (b"monotonic -18446744073709551615 0", [1, 0, 0, 0]),
    (b"monotonic 18446744073709551615 0", [-1, 0, 0, 0]),
    (b"monotonic 1 18446744073709551616", [1, 0, 0, 0]),
    (b"monotonic 1 18446744073709551623", [1, 7, 0, 0]),
    // What follows the nanoseconds is ignored.
    (b"1 5 6 words", [5, 6, 0, 0]),
    (b"monotonic 1 2x", [1, 2, 0, 0]),
    (b"monotonic 1 0xyz", [1, 0, 0, 0]),
    (b"monotonic 1 0x10", [1, 0, 0, 0]),
    (b"monotonic 1 2,3", [1, 2, 0, 0]),
    (b"monotonic 1 2.5", [1, 2, 0, 0]),
    (b"monotonic 1 2-3", [1, 2, 0, 0]),
    (b"monotonic 1 2 \n", [1, 2, 0, 0]),
    (b"monotonic 1 2\r\nboottime 3 4\r\n", [1, 2, 3, 4]),
    // A NUL ends the text.
    (b"monotonic 1 2\0garbage", [1, 2, 0, 0]),
    (b"monotonic 1 2\n\0", [1, 2, 0, 0]),
    (b"monotonic 1 2\nboottime 3 4\0\n", [1, 2, 3, 4]),
];

/// What is EINVAL.
const REFUSED: &[&[u8]] = &[
    // Names.
    b"01 5 6",
    b"0 5 6",
    b"4 5 6",
    b"6 5 6",
    b"8 5 6",
    b"9 5 6",
    b"11 5 6",
    b"15 5 6",
    b"-1 5 6",
    b"Monotonic 5 6",
    b"MONOTONIC 5 6",
    b"mono 5 6",
    b"monotoni 5 6",
    b"realtime 5 6",
    b"monotonicx 1 1",
    b"boottime5 6 7",
    b"boottime5 6",
    b"monotonic_raw 1 1",
    b"\"monotonic\" 1 1",
    b"15 6 7",
    // Seconds.
    b"monotonic +5 6",
    b"monotonic - 5 6",
    b"monotonic --5 6",
    b"monotonic 1x 0",
    b"monotonic 1.5 0",
    b"monotonic 0x10 0",
    b"monotonic x 0",
    b"monotonic -x 0",
    b"monotonic 1e3 0",
    // Nanoseconds.
    b"monotonic 5 +1",
    b"monotonic 5 -1",
    b"monotonic 5 x",
    b"monotonic 5 1000000000",
    b"monotonic 5 4294967296",
    b"monotonic 5 18446744074709551616",
    // Separators.
    b"monotonic,5,6",
    b"monotonic 5,6",
    b"monotonic;5 6",
    b"monotonic 5;6",
    b"monotonic=5 6",
    b"monotonic\n5 6",
    b"monotonic 5\n6",
    b"monotonic 5 \n6",
    // Missing parts.
    b"monotonic",
    b"monotonic ",
    b"monotonic 5",
    b"monotonic 5 ",
    b"5 6",
    b" ",
    b"\n",
    b"\0",
    b"\nmonotonic 5 6",
    b" \nmonotonic 5 6",
    b"monotonic 1 0\n\n",
    b"monotonic 1 0\n\nboottime 1 0\n",
    b"monotonic 1 0\n ",
    b"monotonic 1 0\nx",
    b"monotonic 1 0\nboottime 1\n",
    b"monotonic 1 0\nboottime 1 1000000000\n",
    b"\0monotonic 1 0",
    b"mono\0tonic 1 0",
    b"monotonic 1\0 0",
    b"#monotonic 1 0",
    b"\xc2\xa0monotonic 1 0",
];

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

/// Opens the file of a new pending namespace whose offsets are 100 and 200 seconds, to see what a refusal leaves.
fn prepared() -> Result<Descriptor, crate::ktap::Why> {
    needs_root()?;
    unshared()?;
    Descriptor::open(OFFSETS, libc::O_WRONLY).step("open")
}

fn offsets_are(expected: [i64; 4]) -> Outcome {
    let [monotonic, monotonic_rest, boottime, boottime_rest] = expected;
    let second = crate::system::time::SECOND;
    let offsets = namespace::offsets()?;
    equal(
        "offsets",
        (offsets.monotonic, offsets.boottime),
        (monotonic * second + monotonic_rest, boottime * second + boottime_rest),
    )
}

pub fn cases(plan: &mut Plan) {
    for (text, expected) in TAKEN {
        plan.case(format!("taken: {}", shown(text)), move || {
            let file = prepared()?;
            if expected[0] < 0 {
                super::support::a_second_after_boot()?;
            }
            equal("write", file.write(text), Ok(text.len()))?;
            offsets_are(*expected)
        });
    }
    for text in REFUSED {
        plan.case(format!("EINVAL: {}", shown(text)), move || {
            let file = prepared()?;
            file.write(b"1 100 0\n7 200 0\n").step("a first write")?;
            refused("write", file.write(text), Errno::EINVAL)?;
            offsets_are([100, 0, 200, 0])
        });
    }
    plan.case("EINVAL: nothing at all is an empty write and has no line", || {
        let file = prepared()?;
        refused("write of 0 bytes", file.write(b""), Errno::EINVAL)
    });
    for byte in [b' ', b'\t', 0x0b, 0x0c, b'\r', 0xa0] {
        plan.case(format!("byte {byte:#04x} is white space"), move || {
            let file = prepared()?;
            let text = [b'1', byte, byte, b'5', byte, b'6'];
            file.write(&text).step("write")?;
            offsets_are([5, 6, 0, 0])
        });
    }
    plan.case("no other byte is white space", || {
        let file = prepared()?;
        for byte in 1..=255u8 {
            let known = [b' ', b'\t', 0x0b, 0x0c, b'\r', 0xa0, b'-'].contains(&byte);
            if !known && !byte.is_ascii_digit() {
                let text = [b'1', b' ', byte, b'5', b' ', b'6'];
                refused(&format!("byte {byte:#04x}"), file.write(&text), Errno::EINVAL)?;
            }
        }
        Ok(())
    });
}

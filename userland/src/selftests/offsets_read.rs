//! The text of timens_offsets, byte for byte.
//!
//! A name left-justified in ten columns, seconds right-justified in ten, nanoseconds in nine, a space between; wider
//! numbers push the line out. Nanoseconds are not padded with zeros, so the text is no decimal fraction.

use super::support::{needs_root, unshared};
use crate::ktap::{Plan, Step, equal};
use crate::system::file;
use crate::system::namespace::OFFSETS;

/// What is written, and what then is read.
const TEXTS: &[(&str, &str)] = &[
    ("monotonic 0 0", "monotonic           0         0\nboottime            0         0\n"),
    ("monotonic 1 2\nboottime 3 4", "monotonic           1         2\nboottime            3         4\n"),
    ("boottime 3 4\nmonotonic 1 2", "monotonic           1         2\nboottime            3         4\n"),
    ("monotonic 86400 0", "monotonic       86400         0\nboottime            0         0\n"),
    ("boottime 604800 500", "monotonic           0         0\nboottime       604800       500\n"),
    ("monotonic 1 999999999", "monotonic           1 999999999\nboottime            0         0\n"),
    ("monotonic -1 999999999", "monotonic          -1 999999999\nboottime            0         0\n"),
    ("monotonic -1 0\nboottime -1 1", "monotonic          -1         0\nboottime           -1         1\n"),
    ("monotonic 1000000000 0", "monotonic  1000000000         0\nboottime            0         0\n"),
    ("monotonic 4000000000 1", "monotonic  4000000000         1\nboottime            0         0\n"),
    ("boottime 0 100000000", "monotonic           0         0\nboottime            0 100000000\n"),
];

pub fn cases(plan: &mut Plan) {
    plan.case("in the root namespace: two lines of 32 bytes", || {
        let text = file::read(OFFSETS)?;
        equal("the text", text.as_str(), TEXTS[0].1)?;
        equal("its length", text.len(), 64)
    });
    for (written, read) in TEXTS {
        plan.case(format!("after {written:?}"), move || {
            needs_root()?;
            unshared()?;
            if written.contains('-') {
                super::support::a_second_after_boot()?;
            }
            file::write(OFFSETS, written).step("the write")?;
            equal("the text", file::read(OFFSETS)?.as_str(), read)
        });
    }
}

//! `/proc/cpuinfo`: the processors, as far as programs look: how many there are, and how fast.

use super::root::lines;
use crate::{
    arch::{Hardware, Machine},
    time,
};
use alloc::{format, string::String, vec::Vec};

/// One block for the one processor that runs tasks.
pub fn text() -> Vec<u8> {
    let frequency = time::counter_frequency();
    lines([
        format!("processor\t: {}", Hardware::cpu_number()),
        format!("cpu MHz\t\t: {}.{:03}", frequency / 1_000_000, frequency / 1_000 % 1_000),
        String::from("physical id\t: 0"),
        String::from("siblings\t: 1"),
        String::from("core id\t\t: 0"),
        String::from("cpu cores\t: 1"),
        String::new(),
    ])
}

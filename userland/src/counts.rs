//! `counts`: prints what the kernel holds at this moment, for comparing before and after.

use crate::say;
use crate::system::counts;
use std::ffi::OsString;

/// The program.
pub fn main(_arguments: &[OsString]) -> i32 {
    match counts::read() {
        Some(counts) => {
            counts.iter().for_each(|(name, count)| say!("{name} {count}"));
            0
        }
        None => {
            crate::complain!("counts: this kernel has no {}", counts::PATH);
            1
        }
    }
}

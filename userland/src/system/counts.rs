//! What the kernel holds, as it says itself: Gnomon's /proc/gnomon, lines of a name and a number.
//!
//! Frames, heap, tasks, open files, namespaces. Linux has no such file.

use super::file;

/// The file.
pub const PATH: &str = "/proc/gnomon";

/// The names and numbers in the order of the file; None where there is no such file.
pub fn read() -> Option<Vec<(String, i64)>> {
    let text = file::read(PATH).ok()?;
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_string(), words.next()?.parse().ok()?))
    };
    Some(text.lines().filter_map(pair).collect())
}

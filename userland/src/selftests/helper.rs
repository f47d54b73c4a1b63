//! The program that selftests execute to see how things look after an exec: prints one thing and ends.
//!
//! It is this same binary under a name of its own, so that an exec needs nothing else in the file system.

use crate::say;
use crate::system::time;
use crate::system::{file, namespace};
use std::ffi::OsString;

/// The name it answers to, as argument 0 or as the first argument.
pub const NAME: &str = "selftest-helper";

/// Does what its first argument says.
pub fn main(arguments: &[OsString]) -> i32 {
    let words: Vec<String> =
        arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match words.first().map(String::as_str) {
        // The two namespaces.
        Some("slots") => {
            let link = |path| file::readlink(path).unwrap_or_else(|errno| errno.name());
            say!("{} {}", link(namespace::TIME), link(namespace::TIME_FOR_CHILDREN));
        }
        // The host's realtime and one other clock, one right after the other, in nanoseconds.
        Some("clock") => {
            let id = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0);
            let realtime = time::read_by_call(libc::CLOCK_REALTIME).unwrap_or(0);
            say!("{realtime} {}", time::read_by_call(id).unwrap_or(0));
        }
        // Its own arguments, one a line.
        Some("arguments") => arguments.iter().for_each(|word| say!("{}", word.to_string_lossy())),
        // The text of a file.
        Some("file") => {
            let path = words.get(1).map_or("", String::as_str);
            crate::system::print::write_all(1, &file::read(path).unwrap_or_else(|errno| errno.name()));
        }
        // The effective capabilities, hexadecimal.
        Some("capabilities") => {
            let effective =
                crate::system::credentials::capabilities().map_or(u64::MAX, |sets| sets.effective);
            say!("{effective:x}");
        }
        // Says that it has started, then waits for the end of its input.
        Some("wait") => {
            crate::system::print::write_all(1, ".");
            crate::system::process::await_byte(0);
        }
        Some("exit") => return words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0),
        _ => return 2,
    }
    0
}

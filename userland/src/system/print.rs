//! Text to a descriptor in one write(2) a line, with no buffer of our own.
//!
//! A buffer would be printed twice after a fork and not at all after `_exit`, and these programs do both all the
//! time. One write a line also keeps the lines of several processes on a serial console whole.

use crate::call;

/// Writes all of `text` to `descriptor`; gives up silently on an error, as there is nowhere left to say it.
pub fn write_all(descriptor: i32, text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match call!(libc::SYS_write, descriptor, rest.as_ptr(), rest.len()) {
            Ok(written) if written > 0 => rest = &rest[written.min(rest.len())..],
            Err(super::errno::Errno::EINTR) => {}
            _ => return,
        }
    }
}

/// Prints one line to standard output.
#[macro_export]
macro_rules! say {
    () => { $crate::system::print::write_all(1, "\n") };
    ($($text:tt)*) => {
        $crate::system::print::write_all(1, &(format!($($text)*) + "\n"))
    };
}

/// Prints one line to standard error.
#[macro_export]
macro_rules! complain {
    ($($text:tt)*) => {
        $crate::system::print::write_all(2, &(format!($($text)*) + "\n"))
    };
}

//! `/proc/version` and `/proc/cmdline`: what kernel this is, and how it was started.

use crate::{fs, task::identity};
use alloc::{format, vec::Vec};

/// One line, as uname(2) says it.
pub fn text() -> Vec<u8> {
    format!(
        "{} version {} (gnomon {}) {}\n",
        identity::SYSTEM_NAME,
        identity::RELEASE,
        env!("CARGO_PKG_VERSION"),
        identity::VERSION
    )
    .into_bytes()
}

/// The kernel's command line.
pub fn command_line() -> &'static str {
    fs::command_line()
}

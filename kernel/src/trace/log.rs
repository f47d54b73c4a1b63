//! The kernel's log: the sink of the crate `log`, written to the console with the time since boot.
//!
//! A line is written when it is logged, byte by byte, with nothing kept back: what was logged before a crash is on the
//! console. Everything logged while programs run appears between their output, so little is.

use crate::arch::{Hardware, Machine};
use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use log::{Level, LevelFilter, Log, Metadata, Record};

struct Console;

static CONSOLE: Console = Console;

/// The counter when logging began. It may have run long before the kernel.
static BEGINNING: AtomicU64 = AtomicU64::new(0);

/// Begins to log, everything Linux would call informational and above.
pub fn initialize() {
    BEGINNING.store(Hardware::cycles(), Relaxed);
    if log::set_logger(&CONSOLE).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Sets what is shown, by Linux' numbers: messages of a lower level than this.
pub fn set_level(level: u32) {
    log::set_max_level(match level {
        0..=3 => LevelFilter::Off,
        4 => LevelFilter::Error,
        5 | 6 => LevelFilter::Warn,
        7 => LevelFilter::Info,
        8 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    });
}

impl Log for Console {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let cycles = Hardware::cycles().saturating_sub(BEGINNING.load(Relaxed));
        let microseconds =
            u128::from(cycles) * 1_000_000 / u128::from(Hardware::cycle_counter().frequency.max(1));
        let (seconds, fraction) = (microseconds / 1_000_000, microseconds % 1_000_000);
        let warning = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            _ => "",
        };
        let _ = writeln!(ConsoleText, "[{seconds:5}.{fraction:06}] {warning}{}", record.args());
    }

    fn flush(&self) {}
}

/// Text for the console, where a line ends with a carriage return and a line feed.
pub struct ConsoleText;

impl Write for ConsoleText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                Hardware::console_write(b"\r\n");
            }
            Hardware::console_write(line.as_bytes());
        }
        Ok(())
    }
}

//! What to boot: the words of the command line, the archive, and the hardware, as a scenario states them.
//!
//! Plain data with defaults, so a scenario names only what it is about. Hardware means something to the QEMU backends
//! alone; a scenario that varies it runs on those.

use crate::archive::Archive;
use gnomon_tools::machine::{Board, Firmware};
use gnomon_tools::workspace::Variant;

/// One boot. `Boot::default()` is the default archive with its own init on the fastest hardware.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The initial file system.
    pub archive: Archive,
    /// `init=`; without it the kernel looks for `/init`, `/sbin/init`, `/bin/sh`.
    pub init: Option<&'static str>,
    /// Further words of the kernel command line, as `quiet` or `NAME=value`.
    pub words: Vec<String>,
    /// Arguments of init: what follows `--`.
    pub arguments: Vec<String>,
    /// The machine to emulate.
    pub hardware: Hardware,
    /// Which build of the kernel.
    pub kernel: Variant,
}

impl Default for Boot {
    fn default() -> Boot {
        Boot {
            archive: Archive::Default,
            init: None,
            words: Vec::new(),
            arguments: Vec::new(),
            hardware: Hardware::default(),
            kernel: Variant::WithTimeNamespaces,
        }
    }
}

impl Boot {
    /// The default archive with this program as init.
    pub fn of(init: &'static str) -> Boot {
        Boot { init: Some(init), ..Boot::default() }
    }

    /// The default archive with a shell on the console: kernel messages would get between keys and echo, and lines
    /// wider than the terminal would be wrapped.
    pub fn interactive() -> Boot {
        Boot::default().word("quiet").word("COLUMNS=500")
    }

    /// Adds words to the command line.
    pub fn word(mut self, word: impl Into<String>) -> Boot {
        self.words.push(word.into());
        self
    }

    /// Adds arguments for init.
    pub fn arguments(mut self, arguments: &[&str]) -> Boot {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Uses another archive.
    pub fn archive(mut self, archive: Archive) -> Boot {
        self.archive = archive;
        self
    }

    /// Uses other hardware.
    pub fn hardware(mut self, hardware: Hardware) -> Boot {
        self.hardware = hardware;
        self
    }

    /// The words of the kernel command line before `--`. `init_word` is the one by which the kernel is told its init.
    pub fn words(&self, init_word: &str) -> Vec<String> {
        let init = self.init.map(|init| format!("{init_word}={init}"));
        self.words.iter().cloned().chain(init).collect()
    }
}

/// What QEMU emulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// The board.
    pub board: Board,
    /// `microvm` alone has a choice here; it does without ACPI when the firmware cannot provide it.
    pub acpi: bool,
    /// What runs before the kernel.
    pub firmware: Firmware,
    /// QEMU's name of the processor: `qemu64` or `max`.
    pub processor: &'static str,
    /// RAM, in MiB.
    pub memory_mib: u32,
    /// How many processors.
    pub processors: u8,
    /// `-icount shift=N,sleep=off`: 2^N virtual nanoseconds pass with each instruction.
    pub instruction_clock: Option<u8>,
    /// Whether the isa-debug-exit device is there, by which a kernel can end QEMU with a status.
    pub exit_device: bool,
}

impl Default for Hardware {
    fn default() -> Hardware {
        Hardware {
            board: Board::Q35,
            acpi: true,
            firmware: Firmware::Qboot,
            processor: "max",
            memory_mib: 256,
            processors: 1,
            instruction_clock: None,
            exit_device: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_is_named_in_the_kernels_own_word() {
        let boot = Boot::of("/bin/sh").word("quiet").word("COLOUR=green");
        assert_eq!(boot.words("init"), ["quiet", "COLOUR=green", "init=/bin/sh"]);
        assert_eq!(boot.words("rdinit")[2], "rdinit=/bin/sh");
        assert!(Boot::default().words("init").is_empty());
    }
}

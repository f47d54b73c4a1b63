//! What to boot: the words of the command line, the archive, and the hardware, as a scenario states them.
//!
//! Plain data with defaults, so a scenario names only what it is about. Hardware means something to the QEMU backends
//! alone; a scenario that varies it runs on those.

use crate::archive::Archive;
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

    /// The kernel command line this boot asks for. `first` are the words every boot of that kernel needs, and
    /// `init_word` is the one by which it is told its init.
    pub fn command_line(&self, first: &[&str], init_word: &str) -> String {
        let mut words: Vec<String> = first.iter().map(ToString::to_string).collect();
        words.extend(self.words.iter().cloned());
        words.extend(self.init.map(|init| format!("{init_word}={init}")));
        if !self.arguments.is_empty() {
            words.push("--".to_string());
            words.extend(self.arguments.iter().cloned());
        }
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A word as Linux's command line holds it: in double quotes if it has spaces. It has no way to write a quote.
fn quoted(word: &str) -> String {
    assert!(!word.contains('"'), "the kernel command line cannot hold {word:?}");
    if word.is_empty() || word.contains(' ') { format!("\"{word}\"") } else { word.to_string() }
}

/// What QEMU emulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// `-M`
    pub machine: Machine,
    /// `-bios`
    pub firmware: Firmware,
    /// `-cpu`: `qemu64` or `max`.
    pub processor: &'static str,
    /// `-m`, in MiB.
    pub memory_mib: u32,
    /// `-smp`
    pub processors: u32,
    /// `-icount shift=N,sleep=off`: 2^N virtual nanoseconds pass with each instruction.
    pub instruction_clock: Option<u8>,
    /// Whether the isa-debug-exit device is there, by which a kernel can end QEMU with a status.
    pub exit_device: bool,
}

impl Default for Hardware {
    fn default() -> Hardware {
        Hardware {
            machine: Machine::Q35,
            firmware: Firmware::Qboot,
            processor: "max",
            memory_mib: 256,
            processors: 1,
            instruction_clock: None,
            exit_device: true,
        }
    }
}

/// QEMU's machines that Gnomon promises to boot on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// PCI Express, ICH9.
    Q35,
    /// The i440FX of 1996.
    Pc,
    /// No PCI at all.
    Microvm,
}

/// The firmware that reads the kernel's PVH note and enters it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// QEMU's default.
    SeaBios,
    /// A minimal one, some 40 ms quicker.
    Qboot,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_in_the_order_linux_wants() {
        let boot = Boot::of("/bin/sh").word("quiet").word("COLOUR=green").arguments(&["-c", "echo hi", ""]);
        assert_eq!(
            boot.command_line(&["console=ttyS0"], "init"),
            "console=ttyS0 quiet COLOUR=green init=/bin/sh -- -c \"echo hi\" \"\""
        );
        assert_eq!(Boot::default().command_line(&["console=ttyS0"], "init"), "console=ttyS0");
    }
}

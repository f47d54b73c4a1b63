//! A machine emulated by QEMU, its serial line on a pair of pipes.
//!
//! The second channel, QEMU's own monitor, is a socket that is opened only to ask a hung machine where its processors
//! stand. The same backend boots Gnomon and, for comparison and to prove this bench, Debian's Linux.

use super::piped::{Kind, Piped};
use super::{Backend, Ending, Guest};
use crate::boot::Boot;
use crate::failure::{Result, skip};
use crate::symbols::Symbols;
use anyhow::bail;
use gnomon_tools::machine::{Console, Machine};
use gnomon_tools::{peers, workspace};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// QEMU's program for this architecture.
const QEMU: &str = "qemu-system-x86_64";

/// What [`Guest::position`] says of a processor that will not go on by itself.
pub const STOPPED: &str = " (stopped)";

/// QEMU with one kernel.
pub enum Qemu {
    /// The kernel of this project.
    Gnomon,
    /// Debian's, which can run the same archives.
    Debian,
}

impl Qemu {
    fn kernel(&self, boot: &Boot) -> Result<PathBuf> {
        match self {
            Qemu::Debian => peers::linux().or_else(|error| skip(format!("no Debian kernel: {error:#}"))),
            Qemu::Gnomon => {
                let path = boot.kernel.image_directory().join("gnomon.elf");
                if !path.exists() {
                    bail!("{} is missing: run `make image` first", workspace::shown(&path));
                }
                Ok(path)
            }
        }
    }

    /// The words of the command line, without the console that every kernel is told.
    fn words(&self, boot: &Boot) -> Vec<String> {
        match self {
            Qemu::Gnomon => boot.words("init"),
            // Linux calls the program of an initial archive `rdinit`; `panic=-1` with `-no-reboot` ends QEMU at a
            // panic; without `tsc=reliable` an emulated TSC is distrusted and the vDSO falls back to system calls.
            Qemu::Debian => [vec!["panic=-1".into(), "tsc=reliable".into()], boot.words("rdinit")].concat(),
        }
    }

    /// The machine, except for the monitor.
    fn machine(&self, boot: &Boot) -> Result<Machine> {
        let hardware = &boot.hardware;
        let mut more = Vec::new();
        if !hardware.acpi {
            more.extend(["-machine", "acpi=off"].map(String::from));
        }
        if let Some(shift) = hardware.instruction_clock {
            more.extend(["-icount".to_string(), format!("shift={shift},sleep=off")]);
        }
        Ok(Machine {
            kernel: self.kernel(boot)?,
            archive: boot.archive.file()?,
            board: hardware.board,
            firmware: hardware.firmware,
            cpu: hardware.processor.to_string(),
            processors: hardware.processors,
            memory: format!("{}M", hardware.memory_mib),
            exit_device: hardware.exit_device,
            console: Console::Output,
            append: self.words(boot).join(" "),
            init: boot.arguments.clone(),
            more,
        })
    }
}

impl Backend for Qemu {
    fn name(&self) -> &'static str {
        match self {
            Qemu::Gnomon => "qemu",
            Qemu::Debian => "debian",
        }
    }

    fn obstacle(&self) -> Option<String> {
        let found = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status();
        found.err().map(|error| format!("{QEMU} cannot be started ({error}): install qemu-system-x86"))
    }

    fn start(&self, boot: &Boot, stem: &Path) -> Result<Box<dyn Guest>> {
        let machine = self.machine(boot)?;
        let mut command = machine.command()?;
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Relaxed);
        // Not beside the log: the path of a socket may not be longer than 107 bytes.
        let monitor = std::env::temp_dir().join(format!("gnomon-monitor-{}-{number}", std::process::id()));
        let _ = std::fs::remove_file(&monitor);
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", monitor.display()));
        let has_exit_device = boot.hardware.exit_device && matches!(self, Qemu::Gnomon);
        let kind = Emulated { monitor, kernel: machine.kernel, has_exit_device };
        Ok(Box::new(Piped::start(command, stem.with_extension("qemu"), kind)?))
    }
}

/// QEMU, running.
struct Emulated {
    monitor: PathBuf,
    kernel: PathBuf,
    has_exit_device: bool,
}

impl Kind for Emulated {
    fn ending(&self, status: ExitStatus, complaints: &str) -> Ending {
        // isa-debug-exit makes a status of 2 * value + 1: 33 and 35 are the two this project promises.
        match status.code() {
            Some(33) => Ending::PoweredOff,
            Some(35) => Ending::Panicked,
            // Without that device, and on Linux, which does not know it, power-off is ACPI's.
            Some(0) if !self.has_exit_device => Ending::PoweredOff,
            code => {
                let meaning = match code {
                    Some(0) => " (a reset, as after a triple fault, or a power-off by ACPI)",
                    _ => "",
                };
                Ending::Other(format!("QEMU ended with {status}{meaning} {complaints}").trim().to_string())
            }
        }
    }

    fn position(&mut self) -> Option<String> {
        let registers = self.ask("info registers -a").ok()?;
        let symbols = Symbols::read(&self.kernel).ok();
        let describe = |(number, processor): (usize, Processor)| {
            let name = symbols.as_ref().map(|all| all.name(processor.instruction)).unwrap_or_default();
            let state = if processor.is_stopped { STOPPED } else { "" };
            format!("processor {number} at {:#x} {name}{state}", processor.instruction)
        };
        Some(processors(&registers).into_iter().enumerate().map(describe).collect::<Vec<_>>().join("\n"))
    }
}

impl Emulated {
    /// One command to QEMU's human monitor, through its machine protocol; the raw answer.
    fn ask(&self, command: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.monitor)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        for request in [
            r#"{"execute":"qmp_capabilities"}"#.to_string(),
            format!(r#"{{"execute":"human-monitor-command","arguments":{{"command-line":"{command}"}}}}"#),
        ] {
            writeln!(stream, "{request}")?;
            answer.clear();
            // Events may come in between; only an answer has `return` or `error`.
            while !answer.contains("\"return\"") && !answer.contains("\"error\"") {
                answer.clear();
                if answers.read_line(&mut answer)? == 0 {
                    break;
                }
            }
        }
        Ok(answer)
    }
}

/// One processor as the monitor shows it.
#[derive(Debug, PartialEq, Eq)]
struct Processor {
    instruction: u64,
    /// Halted with interrupts off: nothing but a reset wakes it.
    is_stopped: bool,
}

/// The processors in the text of `info registers -a`.
fn processors(text: &str) -> Vec<Processor> {
    const INTERRUPT_FLAG: u64 = 1 << 9;
    let one = |block: &str| {
        let number = |name: &str, digits: usize| {
            let (_, rest) = block.split_once(name)?;
            u64::from_str_radix(rest.get(..digits)?, 16).ok()
        };
        let is_masked = number("RFL=", 8)? & INTERRUPT_FLAG == 0;
        Some(Processor { instruction: number("RIP=", 16)?, is_stopped: is_masked && block.contains("HLT=1") })
    };
    text.split("CPU#").skip(1).filter_map(one).collect()
}

impl Drop for Emulated {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.monitor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_is_spoken_to_in_its_own_words() {
        let boot = Boot::of("/bin/sh").word("quiet");
        assert_eq!(Qemu::Gnomon.words(&boot), ["quiet", "init=/bin/sh"]);
        assert_eq!(Qemu::Debian.words(&boot), ["panic=-1", "tsc=reliable", "quiet", "rdinit=/bin/sh"]);
    }

    #[test]
    fn processors_are_found() {
        let text = r#"{"return": "\r\nCPU#0\r\nRAX=00 \r\nRIP=ffffffff80012345 RFL=00000002 [-------] HLT=1\r\n
            CPU#1\r\nRIP=0000000000401000 RFL=00000202 [-------] HLT=1\r\n"#;
        assert_eq!(
            processors(text),
            [
                Processor { instruction: 0xffff_ffff_8001_2345, is_stopped: true },
                Processor { instruction: 0x40_1000, is_stopped: false }
            ]
        );
    }
}

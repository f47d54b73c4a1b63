//! A QEMU machine as a value: what to boot and with what, turned into a command line; and what its end meant.
//!
//! The machine is bare (`-nodefaults`): a console on COM1 and the exit device, nothing else. Devices nobody asked for cost
//! 30 ms of firmware time each boot. No KVM, because most classrooms and CI machines have none and what is shown should
//! be the same everywhere.

use anyhow::{Result, bail};
use clap::ValueEnum;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

/// The port of QEMU's isa-debug-exit: a write of `value` ends QEMU with status `value * 2 + 1`.
const EXIT_PORT: u16 = 0xf4;

/// The boards the kernel boots on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Board {
    /// A PC of 2009: PCI Express, HPET.
    Q35,
    /// A PC of 1996.
    Pc,
    /// No PCI, no legacy timer: made for fast boots.
    Microvm,
}

/// What runs before the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Firmware {
    /// 64 KiB that do the least needed.
    Qboot,
    /// QEMU's usual one.
    Seabios,
}

/// What the machine's COM1 is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Console {
    /// Our standard output and input, as they are: every byte goes through, none has a meaning to QEMU.
    Output,
    /// Our terminal, every key going to the machine, except that control-A begins a command to QEMU (`^A x` leaves).
    Terminal,
    /// A file.
    File(PathBuf),
}

/// A machine about to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial file system; without one a kernel can only say so.
    pub archive: Option<PathBuf>,
    /// The board.
    pub board: Board,
    /// The firmware.
    pub firmware: Firmware,
    /// QEMU's name of a processor model, such as `max` or `qemu64`.
    pub cpu: String,
    /// How many processors, at least one.
    pub processors: u8,
    /// How much memory, in QEMU's notation: `256M`.
    pub memory: String,
    /// Whether the machine has the exit device. Real ones have not, and power off in other ways.
    pub exit_device: bool,
    /// What COM1 is connected to.
    pub console: Console,
    /// Words for the kernel command line, after `console=ttyS0`.
    pub append: String,
    /// Arguments for init.
    pub init: Vec<String>,
    /// More words for QEMU itself.
    pub more: Vec<String>,
}

impl Machine {
    /// The machine `make run` boots unless told otherwise. `image` is the folder with `gnomon.elf` and
    /// `initramfs.cpio`.
    pub fn new(image: PathBuf) -> Machine {
        Machine {
            kernel: image.join("gnomon.elf"),
            archive: Some(image.join("initramfs.cpio")),
            board: Board::Q35,
            firmware: Firmware::Qboot,
            cpu: "max".into(),
            processors: 1,
            memory: "256M".into(),
            exit_device: true,
            console: Console::Output,
            append: String::new(),
            init: Vec::new(),
            more: Vec::new(),
        }
    }

    /// The kernel command line: the console, the caller's words, and init's arguments after `--`.
    pub fn command_line(&self) -> Result<String> {
        let mut words = vec!["console=ttyS0".to_string()];
        words.extend((!self.append.is_empty()).then(|| self.append.clone()));
        if !self.init.is_empty() {
            words.push("--".into());
            for argument in &self.init {
                words.push(quoted(argument)?);
            }
        }
        Ok(words.join(" "))
    }

    /// QEMU, ready to be started.
    pub fn command(&self) -> Result<Command> {
        let board = self.board.to_possible_value().expect("no board is hidden");
        let console = match &self.console {
            Console::Output => "stdio,id=console,signal=off".to_string(),
            Console::Terminal => "stdio,id=console,signal=off,mux=on".to_string(),
            // A comma ends a value in QEMU's notation; two stand for one.
            Console::File(path) => {
                format!("file,id=console,path={}", path.display().to_string().replace(',', ",,"))
            }
        };
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", board.get_name(), "-cpu", &self.cpu, "-smp", &self.processors.to_string()]);
        qemu.args(["-m", &self.memory]);
        if self.firmware == Firmware::Qboot {
            qemu.args(["-bios", "qboot.rom"]);
        }
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-chardev", &console, "-serial", "chardev:console"]);
        if self.exit_device {
            qemu.args(["-device", &format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4")]);
        }
        qemu.arg("-kernel").arg(&self.kernel);
        if let Some(archive) = &self.archive {
            qemu.arg("-initrd").arg(archive);
        }
        qemu.args(["-append", &self.command_line()?]).args(&self.more);
        Ok(qemu)
    }
}

/// An argument as Linux's command line holds it: in double quotes if it has spaces, and no way to write a quote.
fn quoted(argument: &str) -> Result<String> {
    if argument.contains(['"', '\n']) {
        bail!("{argument:?} cannot be passed to init: the kernel command line has no way to write it");
    }
    Ok(if argument.is_empty() || argument.contains(' ') {
        format!("\"{argument}\"")
    } else {
        argument.into()
    })
}

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The kernel powered off.
    PoweredOff,
    /// The kernel panicked.
    Panicked,
    /// QEMU was told to leave, or the machine reset or powered off without the exit device.
    Left,
    /// QEMU could not run the machine, or was killed.
    Failed,
}

impl Ending {
    /// Reads QEMU's exit status. 33 and 35 are what the kernel writes to the exit device.
    pub fn of(status: ExitStatus) -> Ending {
        match status.code() {
            Some(33) => Ending::PoweredOff,
            Some(35) => Ending::Panicked,
            Some(0) => Ending::Left,
            _ => Ending::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn words(machine: &Machine) -> String {
        let command = machine.command().unwrap();
        command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_default_machine() {
        assert_eq!(
            words(&Machine::new("/i".into())),
            "-machine q35 -cpu max -smp 1 -m 256M -bios qboot.rom -nodefaults -no-user-config -display none -no-reboot \
             -chardev stdio,id=console,signal=off -serial chardev:console -device isa-debug-exit,iobase=0xf4,iosize=4 \
             -kernel /i/gnomon.elf -initrd /i/initramfs.cpio -append console=ttyS0"
        );
    }

    #[test]
    fn every_choice_shows() {
        let mut machine = Machine::new("/i".into());
        machine.board = Board::Microvm;
        machine.firmware = Firmware::Seabios;
        machine.console = Console::File("/a,b".into());
        machine.exit_device = false;
        machine.archive = None;
        let words = words(&machine);
        assert!(words.starts_with("-machine microvm "), "{words}");
        assert!(words.contains("file,id=console,path=/a,,b"), "{words}");
        for absent in ["-bios", "-initrd", "isa-debug-exit"] {
            assert!(!words.contains(absent), "{words}");
        }
    }

    #[test]
    fn arguments_for_init_come_after_two_dashes() {
        let mut machine = Machine::new("/i".into());
        machine.append = "quiet panic=-1".into();
        machine.init = ["run", "/bin/sh", "-c", "echo a", ""].map(String::from).to_vec();
        assert_eq!(
            machine.command_line().unwrap(),
            "console=ttyS0 quiet panic=-1 -- run /bin/sh -c \"echo a\" \"\""
        );
        machine.init = vec!["a\"b".into()];
        assert!(machine.command_line().is_err());
    }

    #[test]
    fn the_status_tells_the_ending() {
        for (code, ending) in
            [(33, Ending::PoweredOff), (35, Ending::Panicked), (0, Ending::Left), (1, Ending::Failed)]
        {
            assert_eq!(Ending::of(ExitStatus::from_raw(code << 8)), ending);
        }
        assert_eq!(Ending::of(ExitStatus::from_raw(9)), Ending::Failed, "killed by a signal");
    }
}

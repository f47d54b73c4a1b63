//! Booting the image for a person or for a script.
//!
//! Which of the two is told by standard input. A terminal gets a shell, and every key goes to the machine. Anything
//! else gets the demonstration and an exit status: 0 if the machine powered off by itself, 1 with one sentence if not.

use crate::command::say;
use crate::machine::{Board, Console, Ending, Firmware, Machine};
use crate::terminal::{self, Guard};
use crate::workspace::Variant;
use crate::{image, setup};
use anyhow::{Context, Result, bail};
use std::io::IsTerminal;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a person can choose about the machine.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Words for the kernel command line, such as "quiet clock=virtual"
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// Memory, in QEMU's notation
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub memory: String,
    /// The board
    #[arg(long, value_enum, default_value = "q35")]
    pub machine: Board,
    /// What runs before the kernel
    #[arg(long, value_enum, default_value = "qboot")]
    pub firmware: Firmware,
    /// The processor, by QEMU's name
    #[arg(long, value_name = "MODEL", default_value = "max")]
    pub cpu: String,
    /// How many processors
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub smp: u8,
    /// The kernel without time namespaces
    #[arg(long)]
    pub without_time_ns: bool,
    /// Arguments for init: nothing for a shell, "demonstration", or "run COMMAND [ARGUMENT...]"
    #[arg(last = true, value_name = "INIT ARGUMENTS")]
    pub init: Vec<String>,
}

impl Options {
    /// Which kernel.
    pub fn variant(&self) -> Variant {
        Variant::new(!self.without_time_ns)
    }

    /// The machine they describe.
    pub fn machine(&self, image: std::path::PathBuf) -> Machine {
        Machine {
            board: self.machine,
            firmware: self.firmware,
            cpu: self.cpu.clone(),
            processors: self.smp,
            memory: self.memory.clone(),
            append: self.append.clone(),
            init: self.init.clone(),
            ..Machine::new(image)
        }
    }
}

/// Builds the image and boots it. With nobody at the keyboard the machine has `timeout` to come to its end.
pub fn run(options: &Options, timeout: Duration) -> Result<()> {
    setup::packages::install(&setup::packages::MACHINE)?;
    let mut machine = options.machine(image::build(options.variant(), &[image::Kernel::BareMetal])?);
    let interactive = std::io::stdin().is_terminal();
    let stop = if interactive {
        machine.console = Console::Terminal;
        say("booting. `exit` in the shell powers off; control-A, then X, ends the machine at any time");
        None
    } else {
        if machine.init.is_empty() {
            machine.init = vec!["demonstration".into()];
        }
        say(format_args!("booting with: {}", machine.command_line()?));
        Some(Instant::now() + timeout)
    };
    let mut qemu = machine.command()?;
    if !interactive {
        qemu.stdin(Stdio::null());
    }
    match watch(&mut qemu, stop)? {
        Watched::Ended(status) => judge(status, interactive),
        Watched::TimedOut => {
            bail!("the machine did not power off within {} s and was stopped", timeout.as_secs())
        }
        Watched::ToldToEnd => bail!("told to end, and the machine with it"),
    }
}

/// What came of a started program.
#[derive(Debug)]
pub(crate) enum Watched {
    /// It ended by itself.
    Ended(ExitStatus),
    /// Its time was over.
    TimedOut,
    /// Somebody asked us to end.
    ToldToEnd,
}

/// Starts a program and stays with it until it ends, its time is over, or somebody asks us to end.
pub(crate) fn watch(command: &mut Command, stop: Option<Instant>) -> Result<Watched> {
    let told = terminal::told_to_end()?;
    let _guard = Guard::new();
    terminal::end_with_us(command);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Watched::Ended(status));
        }
        if terminal::was_told(&told) {
            return end(child, Watched::ToldToEnd);
        }
        if stop.is_some_and(|stop| Instant::now() >= stop) {
            return end(child, Watched::TimedOut);
        }
        // Looking a hundred times a second costs nothing that could be measured and needs no second thread.
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn end(mut child: Child, why: Watched) -> Result<Watched> {
    child.kill()?;
    child.wait()?;
    Ok(why)
}

/// Turns QEMU's status into ours.
fn judge(status: ExitStatus, interactive: bool) -> Result<()> {
    match Ending::of(status) {
        Ending::PoweredOff => Ok(()),
        Ending::Panicked => bail!("the kernel panicked; its reason and a backtrace stand above"),
        Ending::Left if interactive => Ok(()),
        Ending::Left => bail!("the machine was reset or switched off without powering off by itself"),
        Ending::Failed => bail!("QEMU could not run the machine ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("100").stdin(Stdio::null());
        command
    }

    #[test]
    fn a_program_that_hangs_is_stopped() {
        let begin = Instant::now();
        let watched = watch(&mut sleeper(), Some(begin + Duration::from_millis(30))).unwrap();
        assert!(matches!(watched, Watched::TimedOut), "{watched:?}");
        assert!(begin.elapsed() < Duration::from_secs(50));
    }

    #[test]
    fn a_program_that_ends_is_not_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 33"]).stdin(Stdio::null());
        let watched = watch(&mut command, Some(Instant::now() + Duration::from_secs(50))).unwrap();
        assert!(matches!(watched, Watched::Ended(status) if status.code() == Some(33)), "{watched:?}");
    }

    #[test]
    fn only_a_power_off_is_success_for_a_script() {
        let judged = |code: i32, interactive| judge(ExitStatus::from_raw(code << 8), interactive);
        assert!(judged(33, false).is_ok());
        assert!(judged(0, true).is_ok(), "the person left");
        for code in [0, 1, 35] {
            assert!(judged(code, false).is_err(), "{code}");
        }
        assert!(judged(35, false).unwrap_err().to_string().contains("panicked"));
    }
}

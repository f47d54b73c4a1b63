//! Running the user-mode machine, for a person or for a script, as [`crate::run`] does the emulated one.
//!
//! There is little to do: the machine is one program whose console is standard input and output, and it takes its own words.

use crate::command::{self, say};
use crate::image::{self, Kernel};
use crate::run::{self, Watched};
use crate::setup;
use crate::workspace::Variant;
use anyhow::{Result, bail};
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a person can choose.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Words for the kernel command line, such as "quiet clock=virtual"
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// Memory: a number with K, M or G behind it
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub memory: String,
    /// The host's CPU to run on, or "any"; the one it is started on if nothing is said
    #[arg(long, value_name = "CPU")]
    pub cpu: Option<String>,
    /// Tell at the end what the machine did
    #[arg(long)]
    pub stats: bool,
    /// Run the kernel under gdb, stopped where it begins
    #[arg(long)]
    pub gdb: bool,
    /// The kernel without time namespaces
    #[arg(long)]
    pub without_time_ns: bool,
    /// Arguments for init: nothing for a shell, "demonstration", or "run COMMAND [ARGUMENT...]"
    #[arg(last = true, value_name = "INIT ARGUMENTS")]
    pub init: Vec<String>,
}

impl Options {
    /// The words for `gnomon-um`.
    fn words(&self, image: &Path) -> Vec<String> {
        let mut words = vec![
            format!("mem={}", self.memory),
            format!("initrd={}", image.join("initramfs.cpio").display()),
        ];
        words.extend(self.cpu.iter().map(|cpu| format!("--cpu={cpu}")));
        words.extend(self.stats.then(|| "--stats".to_string()));
        words.extend(self.append.split_whitespace().map(String::from));
        if !self.init.is_empty() {
            words.push("--".into());
            words.extend(self.init.iter().cloned());
        }
        words
    }
}

/// Builds the machine and runs it. With nobody at the keyboard it has `timeout` to come to its end.
pub fn run(options: &Options, timeout: Duration) -> Result<()> {
    let mut options = options.clone();
    let interactive = std::io::stdin().is_terminal();
    if !interactive && options.init.is_empty() {
        options.init = vec!["demonstration".into()];
    }
    let image = image::build(Variant::new(!options.without_time_ns), &[Kernel::UserMode])?;
    let (program, words) = (image.join("gnomon-um"), options.words(&image));
    if options.gdb {
        return debug(&program, &words);
    }
    let mut machine = Command::new(&program);
    machine.args(&words);
    let stop = if interactive {
        say("booting. `exit` in the shell powers off; control-] three times ends the machine at any time");
        None
    } else {
        say(format_args!("booting: gnomon-um {}", words.join(" ")));
        machine.stdin(Stdio::null());
        Some(Instant::now() + timeout)
    };
    match run::watch(&mut machine, stop)? {
        Watched::Ended(status) => judge(status),
        Watched::TimedOut => {
            bail!("the machine did not power off within {} s and was stopped", timeout.as_secs())
        }
        Watched::ToldToEnd => bail!("told to end, and the machine with it"),
    }
}

fn judge(status: ExitStatus) -> Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => bail!("the kernel panicked or was ended; its last words stand above"),
        Some(2) => bail!("the machine could not be started"),
        _ => bail!("the machine ended with {status}"),
    }
}

/// The kernel is a program like any other to gdb. Signals it lives by are let through without a stop.
fn debug(program: &Path, words: &[String]) -> Result<()> {
    setup::packages::install(&setup::packages::DEBUGGER)?;
    let mut gdb = Command::new("gdb");
    gdb.args(["-q", "-nx", "-ex", "set confirm off", "-ex", "handle SIGUSR1 SIGUSR2 nostop noprint pass"]);
    gdb.args(["-ex", "break gnomon_kernel::start", "-ex", "run", "--args"]).arg(program).args(words);
    command::run(&mut gdb, "gdb failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn words(line: &str) -> String {
        Line::parse_from(line.split(' ')).options.words(Path::new("/i")).join(" ")
    }

    #[test]
    fn choices_become_the_machines_words() {
        assert_eq!(words("um"), "mem=256M initrd=/i/initramfs.cpio");
        assert_eq!(
            words("um --memory 64M --cpu 1 --stats --append quiet -- run date -u"),
            "mem=64M initrd=/i/initramfs.cpio --cpu=1 --stats quiet -- run date -u"
        );
    }
}

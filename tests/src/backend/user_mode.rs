//! The user-mode machine: `gnomon-um` as a child, its console on a pair of pipes.
//!
//! It promises to need no privileges, so it is tested twice: as whoever runs the tests, and, when that is root, as `nobody`.
//! Of a scenario's hardware only the memory means anything to it.

use super::piped::{Kind, Piped};
use super::{Backend, Ending, Guest};
use crate::boot::Boot;
use crate::failure::Result;
use anyhow::bail;
use gnomon_tools::workspace::{Variant, shown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The command that becomes another user and then the program named behind it: setpriv(1).
const BECOME_NOBODY: [&str; 6] =
    ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs", "--"];

/// `gnomon-um`, as somebody.
pub enum UserMode {
    /// As whoever runs the tests.
    Ourselves,
    /// As a user who may do nothing.
    Nobody,
}

impl UserMode {
    fn command(&self, program: &Path) -> Command {
        match self {
            UserMode::Ourselves => Command::new(program),
            UserMode::Nobody => {
                let [setpriv, options @ ..] = BECOME_NOBODY;
                let mut command = Command::new(setpriv);
                command.args(options).arg(program);
                command
            }
        }
    }
}

fn program(variant: Variant) -> PathBuf {
    variant.image_directory().join("gnomon-um")
}

/// What the machine is told on its command line.
fn words(boot: &Boot) -> Result<Vec<String>> {
    // Without a file the machine would take the one beside it.
    let archive = boot.archive.file()?.map(|path| path.display().to_string()).unwrap_or_default();
    let mut words = vec![format!("mem={}M", boot.hardware.memory_mib), format!("initrd={archive}")];
    // As on the emulated machine, so that /proc/cmdline is the same.
    words.push("console=ttyS0".into());
    words.extend(boot.words("init"));
    if !boot.arguments.is_empty() {
        words.push("--".into());
        words.extend(boot.arguments.iter().cloned());
    }
    Ok(words)
}

impl Backend for UserMode {
    fn name(&self) -> &'static str {
        match self {
            UserMode::Ourselves => "um",
            UserMode::Nobody => "um_nobody",
        }
    }

    fn obstacle(&self) -> Option<String> {
        if let UserMode::Ourselves = self {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            return Some("only root can become somebody else".into());
        }
        let tried = self.command(&program(Variant::WithTimeNamespaces)).arg("--help").output();
        match tried {
            Err(error) => Some(format!("setpriv(1) cannot be started: {error}")),
            Ok(output) if !output.status.success() => Some(format!(
                "`nobody` cannot run {}: {}",
                program(Variant::WithTimeNamespaces).display(),
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Ok(_) => None,
        }
    }

    fn start(&self, boot: &Boot, stem: &Path) -> Result<Box<dyn Guest>> {
        let program = program(boot.kernel);
        if !program.exists() {
            bail!("{} is missing: run `make image` first", shown(&program));
        }
        let mut command = self.command(&program);
        command.args(words(boot)?);
        Ok(Box::new(Piped::start(command, stem.with_extension("um"), Process)?))
    }
}

/// `gnomon-um`, running.
struct Process;

impl Kind for Process {
    fn ending(&self, status: ExitStatus, complaints: &str) -> Ending {
        match status.code() {
            Some(0) => Ending::PoweredOff,
            Some(1) => Ending::Panicked,
            _ => Ending::Other(format!("gnomon-um ended with {status} {complaints}").trim().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Archive;
    use crate::boot::Hardware;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_boot_becomes_words() {
        let hardware = Hardware { memory_mib: 64, ..Hardware::default() };
        let boot = Boot::of("/bin/sh").archive(Archive::None).hardware(hardware).word("quiet");
        let words = words(&boot.arguments(&["-c", "echo a"])).unwrap();
        assert_eq!(
            words,
            ["mem=64M", "initrd=", "console=ttyS0", "quiet", "init=/bin/sh", "--", "-c", "echo a"]
        );
    }

    #[test]
    fn the_status_tells_the_ending() {
        let ended = |raw| Process.ending(ExitStatus::from_raw(raw), "because");
        assert_eq!(ended(0), Ending::PoweredOff);
        assert_eq!(ended(1 << 8), Ending::Panicked);
        assert_eq!(ended(2 << 8), Ending::Other("gnomon-um ended with exit status: 2 because".into()));
        assert!(matches!(ended(9), Ending::Other(_)));
    }
}

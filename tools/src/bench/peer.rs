//! The machines that are compared, and the command that starts each of them.

use crate::machine::{Board, Machine};
use crate::workspace::{self, Variant};
use crate::{archive, image, peers};
use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// A kernel on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// Ours in QEMU's q35 with qboot.
    Gnomon,
    /// Debian's in the same.
    Linux,
    /// Ours in QEMU's microvm.
    GnomonMicrovm,
    /// Debian's in the same.
    LinuxMicrovm,
    /// Ours as a process.
    UserMode,
    /// Debian's user-mode-linux.
    UserModeLinux,
    /// The kernel this program runs on.
    Host,
}

impl Peer {
    /// As tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Gnomon => "Gnomon",
            Peer::Linux => "Linux",
            Peer::GnomonMicrovm => "Gnomon/microvm",
            Peer::LinuxMicrovm => "Linux/microvm",
            Peer::UserMode => "gnomon-um",
            Peer::UserModeLinux => "UML",
            Peer::Host => "host",
        }
    }

    /// Whether it runs under QEMU, where instructions can be counted.
    pub fn is_emulated(self) -> bool {
        matches!(self, Peer::Gnomon | Peer::Linux | Peer::GnomonMicrovm | Peer::LinuxMicrovm)
    }
}

/// What a machine is started to do.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Arguments of init, or none for a shell.
    pub init: Vec<String>,
    /// The same for the host, which needs no init: arguments of the measuring program.
    pub measure: Vec<String>,
    /// Whether QEMU counts instructions.
    pub counted: bool,
    /// Memory in MiB.
    pub memory: u32,
}

/// The files that machines are started from, and where.
pub struct Kit {
    /// The folder of our products.
    pub image: PathBuf,
    /// Our programs, as one file of the host's.
    userland: PathBuf,
    /// The default archive and the scripts that are run in it.
    archive: PathBuf,
    /// Debian's kernel, or why there is none.
    pub linux: Result<PathBuf, String>,
    /// Debian's kernel as a process, or why there is none.
    pub user_mode_linux: Result<PathBuf, String>,
    /// The CPU that native machines run on.
    pub cpu: usize,
    /// How fast its counter runs.
    ticks_per_nanosecond: f64,
}

/// Where the scripts lie in the archive, and the report on the host.
pub const FOLDER: &str = "bench";

impl Kit {
    /// Builds ours, brings the others, and writes the archive. `scripts`: a name and a command line each. User-mode Linux
    /// appends words of its own to init's arguments, and a script is what ignores them.
    pub fn new(scripts: &[(String, String)], cpu: usize, ticks_per_nanosecond: f64) -> Result<Kit> {
        let image = image::build(Variant::WithTimeNamespaces, &image::ALL)?;
        let userland = image::userland()?;
        let mut tree = archive::contents::default_archive(&userland)?;
        for (name, line) in scripts {
            let text = format!("#!/bin/sh\nexec {line}\n");
            tree.file(&format!("/{FOLDER}/{name}"), 0o755, text.into_bytes())?;
        }
        let folder = workspace::target(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let archive = folder.join("archive.cpio");
        std::fs::write(&archive, tree.to_bytes()).context("the archive was not written")?;
        let brought = |result: Result<PathBuf>| result.map_err(|error| format!("{error:#}"));
        let (linux, user_mode_linux) = (brought(peers::linux()), brought(peers::user_mode_linux()));
        Ok(Kit { image, userland, archive, linux, user_mode_linux, cpu, ticks_per_nanosecond })
    }

    /// Why a machine cannot be measured.
    pub fn obstacle(&self, peer: Peer) -> Option<&str> {
        match peer {
            Peer::Linux | Peer::LinuxMicrovm => self.linux.as_ref().err().map(String::as_str),
            Peer::UserModeLinux => self.user_mode_linux.as_ref().err().map(String::as_str),
            _ => None,
        }
    }

    /// The program file of a machine's kernel, where it has one.
    pub fn kernel(&self, peer: Peer) -> Option<PathBuf> {
        match peer {
            Peer::Gnomon | Peer::GnomonMicrovm => Some(self.image.join("gnomon.elf")),
            Peer::Linux | Peer::LinuxMicrovm => self.linux.clone().ok(),
            Peer::UserMode => Some(self.image.join("gnomon-um")),
            Peer::UserModeLinux => self.user_mode_linux.clone().ok(),
            Peer::Host => None,
        }
    }

    /// The command that starts a machine on an errand. All but QEMU's are bound to one CPU.
    pub fn command(&self, peer: Peer, errand: &Errand) -> Result<Command> {
        let kernel = self.kernel(peer);
        if peer.is_emulated() {
            return self.emulated(peer, kernel.context("there is no kernel")?, errand).command();
        }
        let initrd = format!("initrd={}", self.archive.display());
        let memory = format!("mem={}M", errand.memory);
        let mut command = match peer {
            Peer::Host => {
                let mut command = Command::new(&self.userland);
                command.arg0("measure").args(&errand.measure);
                command
            }
            Peer::UserMode => {
                let mut command = Command::new(kernel.context("there is no kernel")?);
                command.args([&memory, &initrd, &format!("--cpu={}", self.cpu), "quiet"]);
                command
            }
            _ => {
                let mut command = Command::new(kernel.context("there is no kernel")?);
                command.args([&memory, &initrd, "rdinit=/init", "con=null", "con0=fd:0,fd:1", "quiet"]);
                command
            }
        };
        if peer != Peer::Host && !errand.init.is_empty() {
            command.arg("--").args(&errand.init);
        }
        let mut one = CpuSet::new();
        one.set(self.cpu);
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; this is one system call.
        unsafe { command.pre_exec(move || Ok(sched_setaffinity(None, &one)?)) };
        Ok(command)
    }

    fn emulated(&self, peer: Peer, kernel: PathBuf, errand: &Errand) -> Machine {
        let is_linux = matches!(peer, Peer::Linux | Peer::LinuxMicrovm);
        let is_microvm = matches!(peer, Peer::GnomonMicrovm | Peer::LinuxMicrovm);
        let counting = ["-icount", "shift=0,sleep=off"].map(String::from);
        // Parts of programs moved by chance take one page table more or less.
        let mut words = ["quiet", "norandmaps"].map(String::from).to_vec();
        if is_linux {
            // Without `tsc=reliable` Linux distrusts an emulated counter, and its vDSO makes system calls; `panic=-1`
            // with `-no-reboot` ends QEMU at a panic.
            words.extend(["panic=-1", "tsc=reliable"].map(String::from));
        }
        if peer == Peer::LinuxMicrovm {
            // It measures the counter with a timer that a microvm has only in part, and hangs if the host is busy
            // meanwhile. QEMU's counter is the host's.
            words.push(format!("tsc_early_khz={:.0}", self.ticks_per_nanosecond * 1e6));
        }
        Machine {
            kernel,
            archive: Some(self.archive.clone()),
            board: if is_microvm { Board::Microvm } else { Board::Q35 },
            memory: format!("{}M", errand.memory),
            append: words.join(" "),
            init: errand.init.clone(),
            more: if errand.counted { counting.to_vec() } else { Vec::new() },
            ..Machine::new(self.image.clone())
        }
    }
}

//! Debian packages: which command needs which, how to see that one is there, and how to get it.

use crate::command::{self, say};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Something a package brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The Debian package.
    pub package: &'static str,
    /// How to see that it is installed.
    pub evidence: Evidence,
}

/// What shows that a package is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A program of this name in `PATH`: it may as well have come another way.
    Program(&'static str),
    /// A file at exactly this place.
    File(&'static str),
    /// A program at exactly this place that needs no shared library, so that it runs where there is nothing else.
    StaticProgram(&'static str),
}

const fn program(package: &'static str, name: &'static str) -> Need {
    Need { package, evidence: Evidence::Program(name) }
}

/// What an image is made of.
pub const IMAGE: [Need; 1] = [Need {
    package: "busybox-static",
    evidence: Evidence::StaticProgram(crate::archive::contents::BUSYBOX),
}];

/// What boots it. `qboot.rom`, firmware that takes 40 ms where SeaBIOS takes 90, is in a package of its own.
pub const MACHINE: [Need; 2] = [
    program("qemu-system-x86", "qemu-system-x86_64"),
    Need { package: "qemu-system-data", evidence: Evidence::File("/usr/share/qemu/qboot.rom") },
];

/// What the tests build and run: C programs against two C libraries, and a second shell.
pub const TESTS: [Need; 4] = [
    program("gcc", "gcc"),
    Need { package: "libc6-dev", evidence: Evidence::File("/usr/lib/x86_64-linux-gnu/libc.a") },
    program("musl-tools", "musl-gcc"),
    Need { package: "bash-static", evidence: Evidence::StaticProgram("/bin/bash-static") },
];

/// What looks into a running kernel.
pub const DEBUGGER: [Need; 1] = [program("gdb", "gdb")];

/// All of them.
pub fn all() -> Vec<Need> {
    [&IMAGE[..], &MACHINE, &TESTS, &DEBUGGER].concat()
}

impl Need {
    /// Whether it is there.
    pub fn is_met(&self) -> bool {
        match self.evidence {
            Evidence::Program(name) => command::exists(name),
            Evidence::File(path) => Path::new(path).is_file(),
            Evidence::StaticProgram(path) => is_static(Path::new(path)),
        }
    }
}

/// An ELF file without a `PT_INTERP`, that is, without the loader of shared libraries.
fn is_static(path: &Path) -> bool {
    use object::read::elf::{FileHeader, ProgramHeader};
    let Ok(bytes) = std::fs::read(path) else { return false };
    let Ok(header) = object::elf::FileHeader64::<object::Endianness>::parse(&*bytes) else { return false };
    let Ok(endian) = header.endian() else { return false };
    let Ok(segments) = header.program_headers(endian, &*bytes) else { return false };
    segments.iter().all(|segment| segment.p_type(endian) != object::elf::PT_INTERP)
}

/// Installs the packages of those needs that are not met; says nothing when all are.
pub fn install(needs: &[Need]) -> Result<()> {
    let missing = || needs.iter().filter(|need| !need.is_met()).map(|need| need.package).collect::<Vec<_>>();
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !command::exists("apt-get") {
        bail!(
            "missing: {list}. These are the names of Debian's packages; there is no apt-get here, please install them"
        );
    }
    let prefix: &[&str] = match (rustix::process::geteuid().is_root(), command::exists("sudo")) {
        (true, _) => &[],
        (false, true) => &["sudo"],
        (false, false) => {
            bail!("missing: {list}. As root, type: apt-get install --no-install-recommends {list}")
        }
    };
    say(format_args!("installing Debian's {list} (a minute or so)"));
    // The lists of packages may be old or, in a fresh container, not there at all. Asking for them takes longer than
    // most installations, so it is done only when needed; and its failure alone is none, because a machine may have
    // other sources that cannot be reached, while the packages come from one that can.
    let install = [&["install", "-y", "--no-install-recommends"][..], &packages].concat();
    let mut log = apt_get(prefix, &install)?;
    if !missing().is_empty() {
        say("asking for newer lists of packages first");
        log = apt_get(prefix, &["update"])? + &apt_get(prefix, &install)?;
    }
    let missing = missing();
    if !missing.is_empty() {
        bail!("{log}\ngnomon: apt-get did not bring {}; what it said stands above", missing.join(" "));
    }
    Ok(())
}

/// Runs apt-get to its end and hands back what it said. Whether it did its work is seen by looking.
fn apt_get(prefix: &[&str], words: &[&str]) -> Result<String> {
    // Another apt-get may be at work, for example a fresh machine's own updates: wait for it rather than fail.
    let start = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"];
    let line = [prefix, &start, words].concat();
    // sudo may ask for the password: it does so on the terminal itself.
    let said = Command::new(line[0]).args(&line[1..]).output().context("cannot start apt-get")?;
    Ok(String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_looked_for() {
        let need = |evidence| Need { package: "some-package", evidence };
        assert!(need(Evidence::Program("sh")).is_met());
        assert!(!need(Evidence::Program("no-such-program-anywhere")).is_met());
        assert!(!need(Evidence::File("/usr/share/qemu")).is_met(), "a folder is not a file");
        assert!(!need(Evidence::StaticProgram("/etc/passwd")).is_met(), "no program at all");
        // This very test is an ordinary program with an interpreter.
        assert!(!is_static(&std::env::current_exe().unwrap()));
    }

    #[test]
    fn nothing_missing_runs_nothing() {
        install(&[program("some-package", "sh")]).unwrap();
    }
}

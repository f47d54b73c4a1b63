//! Debian's Linux kernel as a guest: fetched once, unpacked under `target/`, never installed.
//!
//! It serves two purposes: the bench is proved against a kernel that certainly works, and boot times are compared in
//! the same run. The package is the one for cloud machines, whose kernel needs no modules to print on a serial line.

use crate::failure::Result;
use anyhow::{Context, bail};
use gnomon_tools::workspace;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A package without contents of its own that depends on the current kernel.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// Path of its `vmlinuz`, fetching it if it is not there yet.
pub fn kernel() -> Result<PathBuf> {
    let folder = workspace::target("debian");
    if let Some(found) = unpacked(&folder) {
        return Ok(found);
    }
    std::fs::create_dir_all(&folder)?;
    let package = dependency(&run(Command::new("apt-cache").args(["depends", META_PACKAGE]))?)
        .with_context(|| format!("{META_PACKAGE} depends on no kernel"))?;
    run(Command::new("apt-get").args(["download", &package]).current_dir(&folder))?;
    let archive = file_ending(&folder, ".deb").context("apt-get download left no package")?;
    // dpkg-deb -x would unpack 100 MB of modules; the kernel alone is 8 MB.
    let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -x --wildcards './boot/vmlinuz-*'";
    run(Command::new("sh").args(["-c", script, "sh"]).arg(&archive).current_dir(&folder))?;
    std::fs::remove_file(archive)?;
    unpacked(&folder).context("the package contains no vmlinuz")
}

/// The first package a line `  Depends: NAME` names.
fn dependency(listing: &str) -> Option<String> {
    listing.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_string)
}

fn unpacked(folder: &Path) -> Option<PathBuf> {
    let boot = folder.join("boot");
    std::fs::read_dir(boot).ok()?.flatten().map(|entry| entry.path()).next()
}

fn file_ending(folder: &Path, ending: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries.into_iter().find(|path| path.to_string_lossy().ends_with(ending))
}

fn run(command: &mut Command) -> Result<String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_dependency_is_read() {
        let listing = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-1-cloud-amd64\n  Suggests: x\n";
        assert_eq!(super::dependency(listing).as_deref(), Some("linux-image-6.1.0-1-cloud-amd64"));
        assert_eq!(super::dependency("E: nothing\n"), None);
    }
}

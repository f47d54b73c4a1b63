//! The kernels that Gnomon is compared with: Debian's packages, fetched once, unpacked below `target/`, never installed.
//!
//! Only tests that compare and the bench want them, so no other command's set-up brings them; without them, those leave
//! out what they cannot compare and say so.

use crate::command::output;
use crate::workspace;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package without contents of its own that depends on the current kernel. The one for cloud machines: its kernel
/// needs no modules to print on a serial line.
const LINUX: &str = "linux-image-cloud-amd64";
/// Linux as a process, which is a program and modules we have no use for.
const USER_MODE_LINUX: &str = "user-mode-linux";

/// Path of Debian's `vmlinuz`, fetching it if it is not there yet.
pub fn linux() -> Result<PathBuf> {
    let folder = workspace::target("debian");
    fetched(&folder, "boot", "vmlinuz-*", || {
        let listing = output(Command::new("apt-cache").args(["depends", LINUX]), "apt-cache failed")?;
        dependency(&listing).with_context(|| format!("{LINUX} depends on no kernel"))
    })
}

/// Path of Debian's `linux.uml`, fetching it if it is not there yet.
pub fn user_mode_linux() -> Result<PathBuf> {
    fetched(&workspace::target("debian-uml"), "usr/bin", "linux.uml", || Ok(USER_MODE_LINUX.into()))
}

/// The one file matching `pattern` in `inside` of a package, kept below `folder`.
fn fetched(
    folder: &Path,
    inside: &str,
    pattern: &str,
    package: impl FnOnce() -> Result<String>,
) -> Result<PathBuf> {
    let directory = folder.join(inside);
    if let Some(found) = any_file(&directory, "") {
        return Ok(found);
    }
    let package = package()?;
    std::fs::create_dir_all(folder)?;
    output(Command::new("apt-get").args(["download", &package]).current_dir(folder), "apt-get failed")?;
    let archive = any_file(folder, ".deb").context("apt-get download left no package")?;
    // dpkg-deb -x would unpack 100 MB of modules as well.
    let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -x --wildcards \"./$2/$3\"";
    let mut unpack = Command::new("sh");
    unpack.args(["-c", script, "sh"]).arg(&archive).args([inside, pattern]).current_dir(folder);
    output(&mut unpack, "the package was not unpacked")?;
    std::fs::remove_file(archive)?;
    any_file(&directory, "").with_context(|| format!("{package} contains no {inside}/{pattern}"))
}

/// The first package a line `  Depends: NAME` names.
fn dependency(listing: &str) -> Option<String> {
    listing.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_string)
}

fn any_file(folder: &Path, ending: &str) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries.find(|path| path.is_file() && path.to_string_lossy().ends_with(ending))
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

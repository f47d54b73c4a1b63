//! What the default archive holds: our programs, Debian's busybox unmodified, and the few files a Unix expects.
//!
//! Our programs are one static file that looks at the name it was called by (as busybox does), because each separate
//! Rust program would carry the standard library again. Which names it answers to is asked of the program itself, so
//! that the list exists once; the same is done with busybox.

use super::Archive;
use crate::command;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Where the one file with all our programs lies in the machine.
pub const PROGRAMS: &str = "/bin/gnomon-userland";
/// Where busybox lies in the machine, and where Debian's package puts it on the host.
pub const BUSYBOX: &str = "/bin/busybox";

/// Empty folders: the places init mounts something on, and the places programs expect.
const DIRECTORIES: [(&str, u32); 11] = [
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/home", 0o755),
    ("/mnt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/var", 0o755),
    ("/var/tmp", 0o1777),
];

/// Small text files. `nobody` is there so that a program can give up its privileges to somebody.
const TEXTS: [(&str, &str); 4] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    ),
    ("/etc/group", "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"),
    ("/etc/hostname", "gnomon\n"),
    ("/etc/shells", "/bin/sh\n"),
];

/// The default archive around the program file `userland` (built for the host, which can therefore be asked).
pub fn default_archive(userland: &Path) -> Result<Archive> {
    let mut archive = Archive::new();
    fill(&mut archive, userland)?;
    Ok(archive)
}

/// Adds to what is there, which keeps its names.
pub(super) fn fill(archive: &mut Archive, userland: &Path) -> Result<()> {
    skeleton(archive)?;
    archive.file(PROGRAMS, 0o755, read(userland)?)?;
    archive.file(BUSYBOX, 0o755, read(Path::new(BUSYBOX))?)?;
    let ours = command::output(Command::new(userland).arg("--list"), "our programs do not tell their names")?;
    let applets =
        command::output(Command::new(BUSYBOX).arg("--list-full"), "busybox does not tell its applets")?;
    link(archive, PROGRAMS, &ours)?;
    link(archive, BUSYBOX, &applets)?;
    if !archive.contains("/init") {
        bail!("our programs do not contain /init, so the archive would not boot");
    }
    Ok(())
}

/// The folders and texts alone.
fn skeleton(archive: &mut Archive) -> Result<()> {
    for (path, permissions) in DIRECTORIES {
        archive.directory(path, permissions)?;
    }
    for (path, text) in TEXTS {
        archive.file(path, 0o644, text.into())?;
    }
    Ok(())
}

/// Makes each listed path a link to the program, except where something stands already: who comes first keeps its
/// name, so our `unshare` is not hidden by busybox's, nor busybox itself by a link to it.
fn link(archive: &mut Archive, program: &str, list: &str) -> Result<()> {
    for path in list.lines().map(str::trim).filter(|path| !path.is_empty()) {
        let file_name = path.rsplit('/').next().unwrap_or(path);
        // PATH is searched in order: an applet in another folder would still be found before ours.
        let hides_ours = ["/bin", "/sbin", "/usr/bin", "/usr/sbin"]
            .iter()
            .any(|folder| archive.contains(&format!("{folder}/{file_name}")));
        if !hides_ours && !archive.contains(path) {
            archive.symlink(path, program)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", crate::workspace::shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_claim_a_name_keeps_it() {
        let mut archive = Archive::new();
        skeleton(&mut archive).unwrap();
        archive.file(BUSYBOX, 0o755, Vec::new()).unwrap();
        link(&mut archive, PROGRAMS, "/init\n/bin/unshare\n/selftests/one\n").unwrap();
        link(&mut archive, BUSYBOX, "bin/busybox\nusr/bin/unshare\nbin/sh\nusr/bin/env\n").unwrap();
        let mut expected = Archive::new();
        skeleton(&mut expected).unwrap();
        expected.file(BUSYBOX, 0o755, Vec::new()).unwrap();
        for path in ["/init", "/bin/unshare", "/selftests/one"] {
            expected.symlink(path, PROGRAMS).unwrap();
        }
        for path in ["/bin/sh", "/usr/bin/env"] {
            expected.symlink(path, BUSYBOX).unwrap();
        }
        assert_eq!(archive, expected);
    }

    #[test]
    fn the_skeleton_has_places_to_mount_on() {
        let mut archive = Archive::new();
        skeleton(&mut archive).unwrap();
        for path in ["/proc", "/sys", "/dev", "/tmp", "/etc/passwd"] {
            assert!(archive.contains(path), "{path}");
        }
    }
}

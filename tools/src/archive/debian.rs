//! Debian's own programs, unmodified and dynamically linked, in an archive of their own: what people would bring.
//!
//! Their packages are fetched with everything they depend on, unpacked under `target/` and never installed. Documentation
//! and translations are left out, and what only dpkg's own scripts need. Where a name is in several packages Debian's
//! program comes first, then ours, then busybox's.
//!
//! Debian 12 has `/bin` and its like as links into `/usr`, but its packages do not know it yet and name both. So does this
//! archive: everything goes to `/usr`, and the links are added.

use super::{Archive, Contents, contents};
use crate::command::{self, say};
use crate::workspace::{self, shown};
use anyhow::{Context, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What one would try: each brings its libraries.
const PACKAGES: &[&str] = &[
    "bash",
    "coreutils",
    "ncurses-base",
    "procps",
    "python3.11",
    "rt-tests",
    "sqlite3",
    "stress-ng",
    "util-linux",
];

/// Beginnings of the names of packages that others ask for and no program here uses while it runs.
const NOT_NEEDED: &[&str] = &[
    "base-files",
    "debconf",
    "debianutils",
    "dpkg",
    "gcc-12-base",
    "init-system-helpers",
    "libdb5",
    "libfile-find-rule-perl",
    "libgdbm",
    "libnumber-compare-perl",
    "libperl",
    "libtext-glob-perl",
    "mawk",
    "media-types",
    "perl",
    "readline-common",
    "tar",
    "usrmerge",
];

/// Folders that nothing reads.
const LEFT_OUT: &[&str] = &[
    "usr/lib/python3.11/ensurepip",
    "usr/lib/python3.11/idlelib",
    "usr/lib/python3.11/test",
    "usr/share/bash-completion",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
];

/// Top folders that are links into `/usr`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// The archive, around our own programs.
pub fn archive(userland: &Path) -> Result<Archive> {
    let root = unpacked()?;
    let mut archive = Archive::new();
    add(&mut archive, &root, &root)?;
    contents::fill(&mut archive, userland)?;
    let mut merged = Archive::new();
    for (path, entry) in archive.0 {
        let first = path.split('/').next().unwrap_or_default();
        match MERGED.contains(&first) {
            true => merged.insert(&format!("usr/{path}"), entry)?,
            false => merged.insert(&path, entry)?,
        }
    }
    for folder in MERGED {
        merged.symlink(folder, &format!("usr/{folder}"))?;
    }
    Ok(merged)
}

/// Fetches and unpacks the packages, once; gives the folder they are in.
fn unpacked() -> Result<PathBuf> {
    let folder = workspace::target("debian-programs");
    let (root, done) = (folder.join("root"), folder.join("unpacked"));
    if done.exists() {
        return Ok(root);
    }
    let packages = packages(&folder)?;
    say(format_args!("fetching {} packages of Debian into {}", packages.len(), shown(&folder)));
    command::output(
        Command::new("apt-get").args(["--quiet=2", "download"]).args(&packages).current_dir(&folder),
        "Debian's packages cannot be fetched",
    )?;
    let files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    for (number, file) in files.iter().enumerate() {
        if number % 20 == 0 {
            say(format_args!("unpacking {number} of {}", files.len()));
        }
        command::output(
            Command::new("dpkg-deb").arg("-x").arg(file).arg(&root),
            "a package cannot be unpacked",
        )?;
        std::fs::remove_file(file)?;
    }
    std::fs::write(&done, "")?;
    Ok(root)
}

/// The packages and all they depend on, as apt sees it on a machine with nothing installed.
fn packages(folder: &Path) -> Result<Vec<String>> {
    std::fs::create_dir_all(folder)?;
    let nothing = folder.join("nothing-installed");
    std::fs::write(&nothing, "")?;
    let mut apt = Command::new("apt-get");
    apt.arg("-o").arg(format!("Dir::State::status={}", nothing.display()));
    apt.args(["--print-uris", "--yes", "--no-install-recommends", "install"]).args(PACKAGES);
    let listing = command::output(&mut apt, "apt does not tell what Debian's programs depend on")?;
    // Lines of 'URI' FILE SIZE CHECKSUM, where FILE is NAME_VERSION_ARCHITECTURE.deb.
    let names = listing
        .lines()
        .filter(|line| line.starts_with('\''))
        .filter_map(|line| line.split_whitespace().nth(1)?.split('_').next().map(str::to_string));
    Ok(names.filter(|name| !NOT_NEEDED.iter().any(|beginning| name.starts_with(beginning))).collect())
}

/// Adds what is in a folder below the root.
fn add(archive: &mut Archive, root: &Path, folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", shown(folder)))? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?.to_str().context("a name that is not UTF-8")?.to_string();
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let metadata = std::fs::symlink_metadata(&path)?;
        let permissions = metadata.permissions().mode() & 0o7777;
        if metadata.is_symlink() {
            let target = std::fs::read_link(&path)?;
            archive.symlink(&name, target.to_str().context("a link that is not UTF-8")?)?;
        } else if metadata.is_dir() {
            archive.directory(&name, permissions)?;
            add(archive, root, &path)?;
        } else {
            archive.file(&name, permissions, std::fs::read(&path)?)?;
        }
    }
    Ok(())
}

impl Archive {
    /// How many files, links and folders there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes in all files together.
    pub fn bytes(&self) -> usize {
        self.0
            .values()
            .map(|entry| if let Contents::File(bytes) = &entry.contents { bytes.len() } else { 0 })
            .sum()
    }
}

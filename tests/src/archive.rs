//! Which archive a machine boots from, and the larger one with the acceptance programs.
//!
//! The default archive is the product; nothing is added to it for the tests. Programs that only the tests run (static
//! C, musl, a Rust `std` program, bash) are compiled here, when first wanted, into `target/tests/full.cpio`.

use crate::failure::Result;
use anyhow::{Context, bail};
use gnomon_tools::workspace;
use std::path::{Path, PathBuf};

/// The initial file system of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archive {
    /// `target/image/initramfs.cpio`.
    Default,
    /// No `-initrd` at all.
    None,
    /// Any other file.
    File(PathBuf),
}

impl Archive {
    /// The file to hand to the machine, if there is one.
    pub fn file(&self) -> Result<Option<PathBuf>> {
        let path = match self {
            Archive::None => return Ok(None),
            Archive::Default => workspace::target("image").join("initramfs.cpio"),
            Archive::File(path) => path.clone(),
        };
        if !path.exists() {
            bail!("{} is missing: run `make image` first", workspace::shown(&path));
        }
        Ok(Some(path))
    }

    /// An archive of these bytes, left in the results folder under this name.
    pub fn of_bytes(name: &str, bytes: &[u8]) -> Result<Archive> {
        let path = crate::results().join(name);
        write(&path, bytes)?;
        Ok(Archive::File(path))
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", workspace::shown(path)))
}

//! Which archive a machine boots from, and how a larger one is made from the default one.
//!
//! The default archive is the product; nothing is added to it for the tests. What only the tests run goes into an
//! archive of their own that starts as a copy of it.

use crate::failure::Result;
use anyhow::{Context, bail};
use gnomon_tools::archive::Archive as Tree;
use gnomon_tools::workspace::{Variant, shown};
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
            Archive::Default => Variant::WithTimeNamespaces.image_directory().join("initramfs.cpio"),
            Archive::File(path) => path.clone(),
        };
        if !path.exists() {
            bail!("{} is missing: run `make image` first", shown(&path));
        }
        Ok(Some(path))
    }

    /// The bytes of that file.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let path = self.file()?.context("there is no archive")?;
        std::fs::read(&path).with_context(|| format!("cannot read {}", shown(&path)))
    }

    /// An archive of these bytes, left in the results folder under this name.
    pub fn of_bytes(name: &str, bytes: &[u8]) -> Result<Archive> {
        let path = crate::results().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", shown(&path)))?;
        Ok(Archive::File(path))
    }

    /// The default archive as a tree, to add to.
    pub fn default_tree() -> Result<Tree> {
        tree(&Archive::Default.bytes()?)
    }

    /// The programs in the default archive's `/selftests`, by name.
    pub fn selftests() -> Result<Vec<String>> {
        let bytes = Archive::Default.bytes()?;
        let names =
            cpio_reader::iter_files(&bytes).filter_map(|entry| entry.name().strip_prefix("selftests/"));
        Ok(names.map(str::to_string).collect())
    }
}

/// Reads an archive back into a tree. Knows what our own archives hold: folders, files, symbolic links.
fn tree(bytes: &[u8]) -> Result<Tree> {
    let mut tree = Tree::new();
    for entry in cpio_reader::iter_files(bytes) {
        let (path, mode) = (entry.name(), entry.mode().bits());
        match mode & 0o170_000 {
            0o040_000 => tree.directory(path, mode & 0o7777)?,
            0o100_000 => tree.file(path, mode & 0o7777, entry.file().to_vec())?,
            0o120_000 => tree.symlink(path, std::str::from_utf8(entry.file())?)?,
            _ => bail!("{path} has mode {mode:o}, which our archives do not contain"),
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_survives_writing_and_reading() {
        let mut written = Tree::new();
        written.directory("/tmp", 0o1777).unwrap();
        written.file("/bin/tool", 0o4755, b"bytes".to_vec()).unwrap();
        written.symlink("/init", "bin/tool").unwrap();
        assert_eq!(tree(&written.to_bytes()).unwrap(), written);
    }
}

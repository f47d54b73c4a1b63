//! The initial file system as a value: a tree of paths that knows how to write itself as a cpio "newc" archive.
//!
//! The format is 110 bytes of header in hexadecimal, the name, the contents, each padded to four bytes
//! (cpio(5), "New ASCII Format"). Writing it takes fifty lines, which is why no crate does it here. The same tree gives
//! the same bytes on every machine: entries in order of their path, owner root, time of modification zero.
//!
//! The tests build larger archives on top of the default one:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let userland = std::path::Path::new("target/userland/gnomon-userland");
//! let mut archive = gnomon_tools::archive::contents::default_archive(userland)?;
//! archive.file("/bin/probe", 0o755, std::fs::read("probe")?)?;
//! std::fs::write("larger.cpio", archive.to_bytes())?;
//! # Ok(()) }
//! ```

pub mod contents;
pub mod debian;

use anyhow::{Result, bail};
use std::collections::BTreeMap;

/// A tree of files to be unpacked at boot, keyed by path without the leading slash.
///
/// The map's order is the archive's: `bin` sorts before everything below `bin/`, so a folder always comes before
/// what it holds, as unpacking needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive(BTreeMap<String, Entry>);

/// One entry: the permission bits (`0o7777`) and what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    permissions: u32,
    contents: Contents,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Contents {
    Directory,
    File(Vec<u8>),
    Symlink(String),
}

impl Contents {
    /// The file type bits of `st_mode` (inode(7)) and the bytes that follow the name.
    fn on_disk(&self) -> (u32, &[u8]) {
        match self {
            Contents::Directory => (0o040_000, &[]),
            Contents::File(bytes) => (0o100_000, bytes),
            Contents::Symlink(target) => (0o120_000, target.as_bytes()),
        }
    }
}

impl Archive {
    /// A tree with nothing in it.
    pub fn new() -> Archive {
        Archive::default()
    }

    /// Adds a folder, or changes the permissions of one that is there; its parents are made as needed, mode 755.
    pub fn directory(&mut self, path: &str, permissions: u32) -> Result<()> {
        self.insert(path, Entry { permissions, contents: Contents::Directory })
    }

    /// Adds a regular file, replacing what stood at the path unless that is a folder.
    pub fn file(&mut self, path: &str, permissions: u32, contents: Vec<u8>) -> Result<()> {
        if u32::try_from(contents.len()).is_err() {
            bail!("{path} does not fit into a cpio archive: the format ends at 4 GiB a file");
        }
        self.insert(path, Entry { permissions, contents: Contents::File(contents) })
    }

    /// Adds a symbolic link, replacing what stood at the path unless that is a folder.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.insert(path, Entry { permissions: 0o777, contents: Contents::Symlink(target.into()) })
    }

    /// Whether something stands at the path.
    pub fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path.trim_matches('/'))
    }

    fn insert(&mut self, path: &str, entry: Entry) -> Result<()> {
        let key = path.trim_matches('/');
        if key.is_empty() || key.contains('\0') || key.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            bail!("{path:?} is not a path an archive can hold");
        }
        for (end, _) in key.match_indices('/') {
            let parent = self
                .0
                .entry(key[..end].into())
                .or_insert(Entry { permissions: 0o755, contents: Contents::Directory });
            if parent.contents != Contents::Directory {
                bail!("{path} cannot be added: /{} is not a folder", &key[..end]);
            }
        }
        let becomes_directory = entry.contents == Contents::Directory;
        if self.0.get(key).is_some_and(|old| (old.contents == Contents::Directory) != becomes_directory) {
            bail!("{path} is there already, and only one of the two is a folder");
        }
        self.0.insert(key.into(), entry);
        Ok(())
    }

    /// The whole archive, ready to be handed to `-initrd`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, (path, Entry { permissions, contents })) in self.0.iter().enumerate() {
            let (file_type, data) = contents.on_disk();
            // Inode numbers tell hard links apart; there are none here, so each entry gets its own.
            write_entry(&mut out, index as u32 + 1, file_type | permissions, path, data);
        }
        write_entry(&mut out, 0, 0, "TRAILER!!!", &[]);
        out
    }
}

/// One header, name and contents. The fields, eight hexadecimal digits each, stand in the order of cpio(5).
fn write_entry(out: &mut Vec<u8>, inode: u32, mode: u32, name: &str, data: &[u8]) {
    let (owner, group, links, modified, device, special) = (0, 0, 1, 0, [0, 0], [0, 0]);
    let (name_size, checksum) = (name.len() as u32 + 1, 0);
    let fields = [
        inode,
        mode,
        owner,
        group,
        links,
        modified,
        data.len() as u32,
        device[0],
        device[1],
        special[0],
        special[1],
        name_size,
        checksum,
    ];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(data);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests;

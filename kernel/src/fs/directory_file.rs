//! An open directory: getdents64(2).
//!
//! All directories are opened alike; what they list comes from their inode. The names `.` and `..`, which no file system
//! here stores, are added as positions 0 and 1.

use super::{Actor, File, FileOperations, Kind, Listed, Positions, naming::directory_of};
use crate::abi::{Errno, Result};

/// What an open directory does: its position is where its listing goes on.
pub struct DirectoryFile;

impl FileOperations for DirectoryFile {
    fn read(&self, _call: super::Call<'_>, _into: &mut crate::mm::user::Destination<'_>) -> Result<usize> {
        Err(Errno::EISDIR.because("a directory is read by getdents64"))
    }

    fn positions(&self) -> Positions {
        Positions::Some
    }
}

/// Tells the names of an open directory from its position on, until the visitor returns false; a name it refused comes
/// again next time.
///
/// Errors: ENOTDIR; ENOENT when the directory was removed.
pub fn list(file: &File, actor: &dyn Actor, visitor: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
    if file.operations_as::<DirectoryFile>().is_none() {
        return Err(Errno::ENOTDIR.because("only a directory lists names"));
    }
    let path = file.path();
    if path.entry.names().is_removed() {
        return Err(Errno::ENOENT.because("the directory was removed"));
    }
    let here = path.inode();
    let above = path.parent().unwrap_or_else(|| path.clone());
    let mut position = file.position();
    for (at, name, inode) in [(0, &b"."[..], here), (1, b"..", above.inode())] {
        if position == at {
            let number = inode.metadata().number;
            if !visitor(Listed { position: at, name, number, kind: Kind::Directory }) {
                file.set_position(position);
                return Ok(());
            }
            position = at + 1;
        }
    }
    let result = directory_of(here)?.list(position, actor, &mut |listed| {
        let next = listed.position + 1;
        let wanted = visitor(listed);
        if wanted {
            position = next;
        }
        wanted
    });
    file.set_position(position);
    result
}

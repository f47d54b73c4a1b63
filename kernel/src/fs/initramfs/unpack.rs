//! From the archive's entries to objects in the root.

use super::{
    super::{
        Actor, AttributeChanges, Call, DeviceNumber, File, Inode, KernelActor, Kind, LastLink, LastName,
        OpenFlags, Opening, Path, Walk, mount,
        naming::{self, Making},
        walk::Parent,
    },
    reader::{Damage, Entry, Reader},
};
use crate::{
    abi::{Errno, Result, Timespec},
    mm::user::Source,
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

/// Unpacks an archive into the root.
///
/// Errors: the archive is damaged, or does not fit; what was unpacked until then stays.
pub fn unpack(archive: &[u8]) -> Result<(), Damage> {
    unpack_into(&mount::root(), archive)
}

fn unpack_into(root: &Path, archive: &[u8]) -> Result<(), Damage> {
    let actor = KernelActor;
    let links = BTreeMap::new();
    let mut unpacking = Unpacking { actor: &actor, root, links, directories: Vec::new() };
    let mut reader = Reader::new(archive);
    while let Some(entry) = reader.next()? {
        unpacking.add(&entry).map_err(|error| entry.refused(error))?;
    }
    unpacking.finish();
    Ok(())
}

struct Unpacking<'a> {
    actor: &'a dyn Actor,
    root: &'a Path,
    /// Objects with several names, by what tells them.
    links: BTreeMap<(u32, u32, u32), Path>,
    /// Directories with the time of their last change, which unpacking into them changes.
    directories: Vec<(Arc<dyn Inode>, Timespec)>,
}

impl Unpacking<'_> {
    fn add(&mut self, entry: &Entry<'_>) -> Result<()> {
        let kind = Kind::from_mode(entry.mode).ok_or(Errno::EINVAL)?;
        let mut walk = Walk::from_place(self.actor, self.root.clone());
        if let Some(above) = entry.name.iter().rposition(|byte| *byte == b'/') {
            naming::make_path(&mut walk, &entry.name[..above], 0o755)?;
        }
        let parent = walk.find_parent(entry.name)?;
        if !matches!(parent.last, LastName::Name(_)) {
            // `.` is the root itself, which is there.
            let directory = walk.find(entry.name, LastLink::Keep)?;
            return self.describe(entry, kind, &directory);
        }
        let known =
            self.links.get(&entry.identity).filter(|_| entry.links > 1 && kind != Kind::Directory).cloned();
        let path = match known {
            Some(object) => {
                make_room(&walk, &parent, kind)?;
                naming::link(&walk, &object, &parent)?;
                object
            }
            None => self.make(entry, kind, &walk, &parent)?,
        };
        if kind == Kind::Regular && !entry.contents.is_empty() {
            self.write(&path, entry.contents)?;
        }
        self.describe(entry, kind, &path)
    }

    fn make(&mut self, entry: &Entry<'_>, kind: Kind, walk: &Walk<'_>, parent: &Parent) -> Result<Path> {
        if let Some(present) = make_room(walk, parent, kind)? {
            return Ok(present);
        }
        let represents = DeviceNumber::new(entry.represents.0, entry.represents.1);
        let target = if kind == Kind::SymbolicLink { entry.contents } else { &[] };
        let making = Making { kind, permissions: 0, represents, target };
        let path = naming::make(walk, parent, making)?;
        if entry.links > 1 {
            self.links.insert(entry.identity, path.clone());
        }
        Ok(path)
    }

    fn write(&self, path: &Path, contents: &[u8]) -> Result<()> {
        let flags = OpenFlags::WRITE_ONLY;
        let operations = path.inode().clone().open(&Opening { flags, actor: self.actor })?;
        operations.truncate(0)?;
        let file = File::new(path.clone(), operations, flags, self.actor.credentials());
        let mut source = Source::kernel(contents);
        let call = Call { file: &file, actor: self.actor, offset: 0, waiting_since: None };
        match file.operations().write(call, &mut source)? {
            count if count == contents.len() => Ok(()),
            _ => Err(Errno::ENOSPC.because("the root may fill half of memory")),
        }
    }

    fn describe(&mut self, entry: &Entry<'_>, kind: Kind, path: &Path) -> Result<()> {
        let time = Timespec { seconds: entry.modified.into(), nanoseconds: 0 };
        if kind == Kind::Directory {
            self.directories.push((path.inode().clone(), time));
        }
        path.inode().change(&AttributeChanges {
            permissions: Some(if kind == Kind::SymbolicLink { 0o777 } else { entry.mode as u16 & 0o7777 }),
            uid: Some(entry.uid),
            gid: Some(entry.gid),
            accessed: Some(time),
            modified: Some(time),
        })
    }

    fn finish(self) {
        for (directory, time) in self.directories {
            let times = AttributeChanges { modified: Some(time), ..AttributeChanges::default() };
            if let Err(error) = directory.change(&times) {
                log::warn!("a directory keeps the time of unpacking: {error}");
            }
        }
    }
}

/// What already bears the name gives way to the archive's, as in Linux; a directory that is there is kept for a directory.
fn make_room(walk: &Walk<'_>, parent: &Parent, kind: Kind) -> Result<Option<Path>> {
    let LastName::Name(name) = &parent.last else { return Err(Errno::EINVAL) };
    let present = match walk.child(&parent.directory, name) {
        Ok(entry) => parent.directory.with(entry),
        Err(Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    match (present.inode().kind(), kind) {
        (Kind::Directory, Kind::Directory) => return Ok(Some(present)),
        (Kind::Directory, _) => naming::remove_directory(walk, parent)?,
        _ => naming::unlink(walk, parent)?,
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{super::reader::tests::sample, *};
    use crate::fs::tests::Tree;

    #[test]
    fn the_sample_becomes_a_tree() {
        let tree = Tree::new();
        unpack_into(&tree.root, &sample()).unwrap();
        let actor = KernelActor;
        let mut walk = tree.walk(&actor);
        let mut find = |name: &[u8], last| walk.find(name, last).unwrap().inode().metadata();
        let (sh, ash) = (find(b"/bin/sh", LastLink::Keep), find(b"/bin/ash", LastLink::Keep));
        assert_eq!((sh.number, sh.links, sh.size, sh.permissions), (ash.number, 2, 7, 0o4755));
        assert_eq!((sh.uid, sh.gid, sh.modified.seconds), (7, 8, 1_000_000));
        assert_eq!(find(b"/sh", LastLink::Follow).number, sh.number);
        let console = find(b"/dev/console", LastLink::Keep);
        assert_eq!((console.kind, console.represents), (Kind::CharacterDevice, DeviceNumber::new(5, 1)));
        assert_eq!(find(b"/bin", LastLink::Keep).modified.seconds, 1_000_000);
    }

    #[test]
    fn unpacking_twice_changes_nothing() {
        let tree = Tree::new();
        unpack_into(&tree.root, &[sample(), sample()].concat()).unwrap();
        let sh = tree.find("/bin/sh").unwrap().inode().metadata();
        assert_eq!((sh.links, sh.size), (2, 7));
    }

    #[test]
    fn an_archive_cut_off_anywhere_is_refused_in_a_sentence() {
        let sample = sample();
        for length in 0..sample.len() - 4 {
            let tree = Tree::new();
            assert!(unpack_into(&tree.root, &sample[..length]).is_err(), "{length}");
        }
    }
}

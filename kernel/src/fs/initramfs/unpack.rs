//! From the archive's entries to objects in the root.

use super::{
    super::{
        AttributeChanges, DeviceNumber, Inode, KernelActor, Kind, LastName, Path, Walk, mount,
        naming::{self, Making},
        tmpfs::contents,
        walk::Parent,
    },
    reader::{Damage, Entry, Reader},
};
use crate::abi::{Errno, Result, Timespec};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

/// Unpacks an archive into the root.
///
/// Errors: the archive is damaged, or does not fit; what was unpacked until then stays.
pub fn unpack(archive: &[u8]) -> Result<(), Damage> {
    unpack_into(&mount::root(), archive)
}

fn unpack_into(root: &Path, archive: &[u8]) -> Result<(), Damage> {
    let mut unpacking = Unpacking {
        root,
        maker: Walk::from_place(&KernelActor, root.clone()),
        place: (Vec::new(), root.clone()),
        links: BTreeMap::new(),
        directories: Vec::new(),
    };
    let mut reader = Reader::new(archive);
    while let Some(entry) = reader.next()? {
        unpacking.add(&entry).map_err(|error| entry.refused(error))?;
    }
    unpacking.finish();
    Ok(())
}

struct Unpacking<'a> {
    root: &'a Path,
    /// Who makes everything.
    maker: Walk<'a>,
    /// The directory of the last entry, by its name: mostly the next one's too.
    place: (Vec<u8>, Path),
    /// Objects with several names, by what tells them.
    links: BTreeMap<(u32, u32, u32), Path>,
    /// Directories with the time of their last change, which unpacking into them changes.
    directories: Vec<(Arc<dyn Inode>, Timespec)>,
}

impl Unpacking<'_> {
    fn add(&mut self, entry: &Entry<'_>) -> Result<()> {
        let kind = Kind::from_mode(entry.mode).ok_or(Errno::EINVAL)?;
        let end = entry.name.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let start = entry.name[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let directory = self.directory(&entry.name[..start])?;
        let last = match &entry.name[start..end] {
            // The directory itself, which is there.
            b"." | b"" => return self.describe(entry, kind, &directory),
            b".." => return Err(Errno::EINVAL.because("an entry has a name of its own")),
            name => LastName::Name(name.to_vec()),
        };
        let parent = Parent { directory, last, slash: false };
        let known = self.links.get(&entry.identity).filter(|_| entry.links > 1 && kind != Kind::Directory);
        let path = match known.cloned() {
            Some(object) => {
                self.replacing(&parent, kind, || naming::link(&self.maker, &object, &parent))?;
                object
            }
            None => self.make(entry, kind, &parent)?,
        };
        if kind == Kind::Regular && !entry.contents.is_empty() {
            contents::store(path.inode(), entry.contents)?;
        }
        self.describe(entry, kind, &path)
    }

    /// The directory of this name, made if it is missing.
    fn directory(&mut self, name: &[u8]) -> Result<Path> {
        if self.place.0 != name {
            let mut walk = Walk::from_place(&KernelActor, self.root.clone());
            self.place = (name.to_vec(), naming::make_path(&mut walk, name, 0o755)?);
        }
        Ok(self.place.1.clone())
    }

    fn make(&mut self, entry: &Entry<'_>, kind: Kind, parent: &Parent) -> Result<Path> {
        let represents = DeviceNumber::new(entry.represents.0, entry.represents.1);
        let target = if kind == Kind::SymbolicLink { entry.contents } else { &[] };
        let making = Making { kind, permissions: 0, represents, target };
        let path = match self.replacing(parent, kind, || naming::make(&self.maker, parent, making))? {
            Some(made) => made,
            // A directory that is there already.
            None => parent.directory.with(self.present(parent)?),
        };
        if entry.links > 1 {
            self.links.insert(entry.identity, path.clone());
        }
        Ok(path)
    }

    fn present(&self, parent: &Parent) -> Result<Arc<super::super::Entry>> {
        let LastName::Name(name) = &parent.last else { return Err(Errno::EINVAL) };
        self.maker.child(&parent.directory, name)
    }

    /// Gives a name; what bears it already gives way, as in Linux, but a directory to a directory: then `None`.
    fn replacing<T>(&self, parent: &Parent, kind: Kind, make: impl Fn() -> Result<T>) -> Result<Option<T>> {
        match make() {
            Err(Errno::EEXIST) => {}
            other => return other.map(Some),
        }
        match (self.present(parent)?.inode().kind(), kind) {
            (Kind::Directory, Kind::Directory) => return Ok(None),
            (Kind::Directory, _) => naming::remove_directory(&self.maker, parent)?,
            _ => naming::unlink(&self.maker, parent)?,
        }
        make().map(Some)
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

#[cfg(test)]
mod tests {
    use super::{super::reader::tests::sample, *};
    use crate::fs::{LastLink, tests::Tree};

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

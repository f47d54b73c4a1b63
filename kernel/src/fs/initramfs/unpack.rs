//! From the archive's entries to objects in the root.

use super::{
    super::{
        AttributeChanges, DeviceNumber, Inode, KernelActor, Kind, NewNode, Path, Walk, mount, naming,
        tmpfs::contents,
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
    /// The directory of the last entry, by its name: mostly the next one's too.
    place: (Vec<u8>, Path),
    /// Objects with several names, by what tells them.
    links: BTreeMap<(u32, u32, u32), Arc<dyn Inode>>,
    /// Directories with the time of their last change, which unpacking into them changes.
    directories: Vec<(Arc<dyn Inode>, Timespec)>,
}

impl Unpacking<'_> {
    fn add(&mut self, entry: &Entry<'_>) -> Result<()> {
        let kind = Kind::from_mode(entry.mode).ok_or(Errno::EINVAL)?;
        let end = entry.name.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let start = entry.name[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let directory = self.directory(&entry.name[..start])?;
        let inode = match &entry.name[start..end] {
            // The directory itself, which is there.
            b"." | b"" => directory.inode().clone(),
            b".." => return Err(Errno::EINVAL.because("an entry has a name of its own")),
            name => self.make(entry, kind, &directory, name)?,
        };
        if kind == Kind::Regular && !entry.contents.is_empty() {
            contents::store(&inode, entry.contents)?;
        }
        self.describe(entry, kind, inode)
    }

    /// The directory of this name, made if it is missing.
    fn directory(&mut self, name: &[u8]) -> Result<Path> {
        if self.place.0 != name {
            let mut walk = Walk::from_place(&KernelActor, self.root.clone());
            self.place = (name.to_vec(), naming::make_path(&mut walk, name, 0o755)?);
        }
        Ok(self.place.1.clone())
    }

    /// Makes an entry's object, or gives one that was made before another name. What bears the name already gives way, as
    /// in Linux, but a directory to a directory.
    ///
    /// Nobody else is there yet to be refused anything, so this speaks to the file system without the checks of
    /// [`naming`]; an archive with many names is unpacked in half the time.
    fn make(
        &mut self,
        entry: &Entry<'_>,
        kind: Kind,
        directory: &Path,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>> {
        let holder = naming::directory_of(directory.inode())?;
        let mut names = directory.entry.names();
        if let Ok(present) = holder.lookup(name, &KernelActor) {
            if (present.kind(), kind) == (Kind::Directory, Kind::Directory) {
                return Ok(present);
            }
            holder.remove(name)?;
            if let Some(known) = directory.entry.in_use(&names, name) {
                known.forget(&mut names);
            }
        }
        let has_links = entry.links > 1 && kind != Kind::Directory;
        if let Some(object) = self.links.get(&entry.identity).filter(|_| has_links) {
            holder.link(name, object)?;
            return Ok(object.clone());
        }
        let made = holder.create(
            name,
            &NewNode {
                kind,
                permissions: permissions(entry, kind),
                uid: entry.uid,
                gid: entry.gid,
                represents: DeviceNumber::new(entry.represents.0, entry.represents.1),
                target: if kind == Kind::SymbolicLink { entry.contents } else { &[] },
            },
        )?;
        if has_links {
            self.links.insert(entry.identity, made.clone());
        }
        Ok(made)
    }

    fn describe(&mut self, entry: &Entry<'_>, kind: Kind, inode: Arc<dyn Inode>) -> Result<()> {
        let time = Timespec { seconds: entry.modified.into(), nanoseconds: 0 };
        inode.change(&AttributeChanges {
            permissions: Some(permissions(entry, kind)),
            uid: Some(entry.uid),
            gid: Some(entry.gid),
            accessed: Some(time),
            modified: Some(time),
        })?;
        if kind == Kind::Directory {
            self.directories.push((inode, time));
        }
        Ok(())
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

fn permissions(entry: &Entry<'_>, kind: Kind) -> u16 {
    if kind == Kind::SymbolicLink { 0o777 } else { entry.mode as u16 & 0o7777 }
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

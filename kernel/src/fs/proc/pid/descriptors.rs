//! `/proc/PID/fd` and `/proc/PID/fdinfo`: the open files of a process.

use super::{Someone, listing};
use crate::{
    abi::{Errno, Result},
    fs::{
        Actor, Descriptor, Directory, File, FileOperations, Inode, Kind, LinkTarget, Listed, Metadata,
        OpenFlags, Opening,
        proc::{
            node::{self, Row, Subject, TableDirectory},
            root::parse_number,
        },
    },
};
use alloc::{format, string::String, string::ToString, sync::Arc, vec::Vec};

/// The two directories differ in what a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    Links,
    Information,
}

struct Names {
    someone: Someone,
    shows: Shows,
}

/// `fd`: for whoever may look into the process; its own threads always.
pub fn directory(someone: &Someone, number: u64, permissions: u16) -> Arc<dyn Inode> {
    let names = Names { someone: someone.clone(), shows: Shows::Links };
    listing(someone, number, permissions, names, |someone, actor| {
        someone.must_be_inspectable(actor).map(drop)
    })
}

/// `fdinfo`
pub fn information_directory(someone: &Someone, number: u64, permissions: u16) -> Arc<dyn Inode> {
    let names = Names { someone: someone.clone(), shows: Shows::Information };
    listing(someone, number, permissions, names, |_, _| Ok(()))
}

fn file(someone: &Someone, descriptor: Descriptor) -> Result<Arc<File>> {
    let files = someone.task().ok().and_then(|task| task.files()).ok_or(Errno::ENOENT)?;
    files.get_any(descriptor).map_err(|_| Errno::ENOENT)
}

impl Directory for Names {
    fn lookup(&self, name: &[u8], actor: &dyn Actor) -> Result<Arc<dyn Inode>> {
        let number = parse_number(name).and_then(|number| i32::try_from(number).ok()).ok_or(Errno::ENOENT)?;
        let someone = self.someone.clone();
        someone
            .must_be_inspectable(actor)
            .map_err(|error| if error == Errno::ESRCH { Errno::ENOENT } else { error })?;
        file(&someone, Descriptor(number))?;
        let one = OneDescriptor { someone, descriptor: Descriptor(number) };
        match self.shows {
            Shows::Links => Ok(Arc::new(one)),
            Shows::Information => TableDirectory::top(one, INFORMATION, 0o555).find(b"information"),
        }
    }

    /// Only for those who may look into the process.
    fn are_names_for_all(&self) -> bool {
        false
    }

    fn list(&self, from: u64, _actor: &dyn Actor, visitor: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        let Some(files) = self.someone.task().ok().and_then(|task| task.files()) else { return Ok(()) };
        let kind = match self.shows {
            Shows::Links => Kind::SymbolicLink,
            Shows::Information => Kind::Regular,
        };
        let mut next = from.saturating_sub(2) as u32;
        while let Some((descriptor, _file)) = files.next(next) {
            let index = descriptor.0 as u32;
            let name = index.to_string();
            let one = OneDescriptor { someone: self.someone.clone(), descriptor };
            let listed = Listed {
                position: u64::from(index) + 2,
                name: name.as_bytes(),
                number: one.first_number(),
                kind,
            };
            if !visitor(listed) {
                break;
            }
            next = index + 1;
        }
        Ok(())
    }
}

/// One open file of a process.
#[derive(Clone)]
struct OneDescriptor {
    someone: Someone,
    descriptor: Descriptor,
}

impl Subject for OneDescriptor {
    fn still_there(&self) -> bool {
        file(&self.someone, self.descriptor).is_ok()
    }

    fn first_number(&self) -> u64 {
        self.someone.first_number() + (1 << 14) + self.descriptor.0 as u64 * 2
    }

    fn owner(&self, permissions: u16) -> (u32, u32) {
        self.someone.owner(permissions)
    }
}

static INFORMATION: &[Row<OneDescriptor>] =
    &[Row { name: "information", permissions: 0o444, what: node::What::Text(information) }];

fn information(one: &OneDescriptor, _actor: &dyn Actor) -> Result<Vec<u8>> {
    let file = file(&one.someone, one.descriptor)?;
    let mut text: String = format!(
        "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{}\nino:\t{}\n",
        file.position(),
        file.flags().bits(),
        file.path().mount.id,
        file.path().inode().metadata().number
    );
    let _ = file.operations().describe(&mut text);
    Ok(text.into_bytes())
}

impl Inode for OneDescriptor {
    /// The permissions of the link say how the file is open.
    fn metadata(&self) -> Metadata {
        let flags = file(&self.someone, self.descriptor).map_or(OpenFlags::READ_ONLY, |file| file.flags());
        let readable = if flags.reads() { 0o500 } else { 0 };
        let writable = if flags.writes() { 0o300 } else { 0 };
        let metadata = node::metadata(self, self.first_number(), Kind::SymbolicLink, readable | writable);
        Metadata { size: 64, ..metadata }
    }

    fn follow(&self, actor: &dyn Actor) -> Result<LinkTarget> {
        self.someone.must_be_inspectable(actor)?;
        Ok(LinkTarget::Object(file(&self.someone, self.descriptor)?.path().clone()))
    }

    fn open(self: Arc<Self>, _opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::ELOOP)
    }

    fn still_there(&self) -> bool {
        Subject::still_there(self)
    }
}

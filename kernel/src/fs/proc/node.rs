//! What `/proc` is built of: directories that are tables, files that are functions.
//!
//! A row names a file and the function that writes its text; nothing is stored. So each file of `/proc` is a few lines
//! that say what is in it, and the table of a directory is its documentation, proc(5).

use crate::{
    abi::{Errno, Result, Timespec},
    fs::{
        Actor, Call, Directory, FileOperations, Inode, Kind, LinkTarget, Listed, Metadata, Opening,
        Positions,
        metadata::DeviceNumber,
        permission::{self, Wanted},
    },
    mm::user::{Destination, Source},
    ns::Credentials,
    sync::{LazyLock, SpinLock},
    time,
};
use alloc::{sync::Arc, vec::Vec};

/// The number of the file system: `st_dev` of everything in `/proc`.
pub static DEVICE: LazyLock<DeviceNumber> = LazyLock::new(crate::fs::metadata::anonymous_device);

/// The longest text that can be written to a file here, and one more.
const PAGE: usize = crate::arch::PAGE_SIZE;
/// What is short enough to be taken in at no cost, in bytes.
const SHORT: usize = 64;

/// What a directory's files are about: the machine, a process, a thread.
pub trait Subject: Clone + Send + Sync + 'static {
    /// Whether it still exists; if not, names already found are forgotten.
    fn still_there(&self) -> bool;
    /// Tells its files from those of every other: inode numbers begin here.
    fn first_number(&self) -> u64;
    /// Who owns a file of these permissions.
    fn owner(&self, permissions: u16) -> (u32, u32);
}

/// One name in a directory.
pub struct Row<S: 'static> {
    /// The name.
    pub name: &'static str,
    /// Permission bits.
    pub permissions: u16,
    /// What it is.
    pub what: What<S>,
}

/// What a name stands for.
pub enum What<S: 'static> {
    /// A file with this text.
    Text(fn(&S, &dyn Actor) -> Result<Vec<u8>>),
    /// A file that is opened in a way of its own.
    Opened(fn(&S, &dyn Actor) -> Result<Arc<dyn FileOperations>>),
    /// One that can be written too.
    Settings(&'static Settings<S>),
    /// A link.
    Link(fn(&S, &dyn Actor) -> Result<LinkTarget>),
    /// A directory that is a table.
    Table(&'static [Row<S>]),
    /// A directory of another making; it is told its inode number and its permission bits.
    Directory(fn(&S, u64, u16) -> Arc<dyn Inode>),
}

/// A file that can be written.
pub struct Settings<S: 'static> {
    /// Its text.
    pub read: fn(&S, &dyn Actor) -> Result<Vec<u8>>,
    /// Takes what was written in one call, less than a page; tells how much of it was used.
    pub write: fn(&S, Call<'_>, &[u8]) -> Result<usize>,
    /// What a position means when it is written.
    pub positions: Positions,
    /// Whether somebody may open it for writing, in place of its permission bits, where those do not say it.
    pub may_write: Option<fn(&Credentials) -> bool>,
}

impl<S: 'static> Row<S> {
    /// A text that everybody may read.
    pub const fn text(name: &'static str, text: fn(&S, &dyn Actor) -> Result<Vec<u8>>) -> Self {
        Self { name, permissions: 0o444, what: What::Text(text) }
    }

    fn kind(&self) -> Kind {
        match self.what {
            What::Text(_) | What::Opened(_) | What::Settings(_) => Kind::Regular,
            What::Link(_) => Kind::SymbolicLink,
            What::Table(_) | What::Directory(_) => Kind::Directory,
        }
    }
}

/// The metadata of something in `/proc`: always as of now.
pub fn metadata<S: Subject>(subject: &S, number: u64, kind: Kind, permissions: u16) -> Metadata {
    let now = Timespec::from_nanoseconds(time::realtime_now());
    let (uid, gid) = subject.owner(permissions);
    let links = if kind == Kind::Directory { 2 } else { 1 };
    Metadata {
        uid,
        gid,
        links,
        accessed: now,
        modified: now,
        changed: now,
        ..Metadata::plain(*DEVICE, number, kind, permissions)
    }
}

/// A directory that is a table.
pub struct TableDirectory<S: Subject> {
    subject: S,
    rows: &'static [Row<S>],
    number: u64,
    permissions: u16,
}

impl<S: Subject> TableDirectory<S> {
    /// The directory of a subject itself.
    pub fn top(subject: S, rows: &'static [Row<S>], permissions: u16) -> Self {
        let number = subject.first_number();
        Self { subject, rows, number, permissions }
    }

    /// Looks a name up. Errors: ENOENT.
    pub fn find(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let (index, row) =
            self.rows.iter().enumerate().find(|(_, row)| row.name.as_bytes() == name).ok_or(Errno::ENOENT)?;
        let (subject, number) = (self.subject.clone(), self.number_of(index));
        Ok(match row.what {
            What::Text(_) | What::Opened(_) | What::Settings(_) => {
                Arc::new(TextInode { subject, row, number })
            }
            What::Link(follow) => {
                Arc::new(LinkInode { subject, follow, number, permissions: row.permissions })
            }
            What::Table(rows) => {
                Arc::new(TableDirectory { subject, rows, number, permissions: row.permissions })
            }
            What::Directory(make) => make(&subject, number, row.permissions),
        })
    }

    /// Numbers of nested tables do not meet those around them: each level has its own decimal place of 64.
    fn number_of(&self, index: usize) -> u64 {
        let own = self.number - self.subject.first_number();
        self.subject.first_number() + own * 64 + index as u64 + 1
    }
}

impl<S: Subject> Inode for TableDirectory<S> {
    fn kind(&self) -> Kind {
        Kind::Directory
    }

    fn metadata(&self) -> Metadata {
        metadata(&self.subject, self.number, Kind::Directory, self.permissions)
    }

    fn directory(&self) -> Option<&dyn Directory> {
        Some(self)
    }

    fn permits(&self, wanted: Wanted, credentials: &Credentials, _actor: &dyn Actor) -> Result<()> {
        if permission::everybody_may(self.permissions, wanted) {
            return Ok(());
        }
        permission::check(&self.metadata(), wanted, credentials)
    }

    fn open(self: Arc<Self>, _opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::EISDIR)
    }

    fn still_there(&self) -> bool {
        self.subject.still_there()
    }
}

impl<S: Subject> Directory for TableDirectory<S> {
    fn lookup(&self, name: &[u8], _actor: &dyn Actor) -> Result<Arc<dyn Inode>> {
        self.find(name)
    }

    fn list(&self, from: u64, _actor: &dyn Actor, visitor: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        for (index, row) in self.rows.iter().enumerate() {
            let position = index as u64 + 2;
            if position < from {
                continue;
            }
            let number = self.number_of(index);
            if !visitor(Listed { position, name: row.name.as_bytes(), number, kind: row.kind() }) {
                break;
            }
        }
        Ok(())
    }
}

/// A file that is a function.
struct TextInode<S: Subject> {
    subject: S,
    row: &'static Row<S>,
    number: u64,
}

impl<S: Subject> Inode for TextInode<S> {
    fn kind(&self) -> Kind {
        Kind::Regular
    }

    fn metadata(&self) -> Metadata {
        metadata(&self.subject, self.number, Kind::Regular, self.row.permissions)
    }

    fn open(self: Arc<Self>, opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        if let What::Opened(open) = self.row.what {
            return open(&self.subject, opening.actor);
        }
        Ok(Arc::new(TextFile { subject: self.subject.clone(), row: self.row, text: SpinLock::default() }))
    }

    fn permits(&self, wanted: Wanted, credentials: &Credentials, _actor: &dyn Actor) -> Result<()> {
        match &self.row.what {
            What::Settings(Settings { may_write: Some(may_write), .. }) => {
                match !wanted.contains(Wanted::WRITE) || may_write(credentials) {
                    true => Ok(()),
                    false => {
                        Err(Errno::EACCES
                            .because("this setting is for those with the capability to change it"))
                    }
                }
            }
            _ => permission::check(&self.metadata(), wanted, credentials),
        }
    }

    fn truncate(&self, _length: u64) -> Result<()> {
        // O_TRUNC and ftruncate succeed and do nothing: there is no content to be shortened.
        Ok(())
    }

    fn still_there(&self) -> bool {
        self.subject.still_there()
    }
}

/// An open one. The text is made when it is read from its start, and kept for the reads that go on from there, so that a
/// reader with a small buffer sees one moment.
struct TextFile<S: Subject> {
    subject: S,
    row: &'static Row<S>,
    /// Nothing is taken inside it.
    text: SpinLock<Arc<Vec<u8>>>,
}

impl<S: Subject> TextFile<S> {
    fn set(
        &self,
        settings: &Settings<S>,
        call: Call<'_>,
        from: &mut Source<'_>,
        bytes: &mut [u8],
    ) -> Result<usize> {
        let length = from.take(bytes)?;
        (settings.write)(&self.subject, call, &bytes[..length])
    }
}

impl<S: Subject> FileOperations for TextFile<S> {
    fn read(&self, call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        let generate = match self.row.what {
            What::Text(generate) => generate,
            What::Settings(settings) => settings.read,
            _ => return Err(Errno::EINVAL.because("this is not a text")),
        };
        let mut text = self.text.get();
        if call.offset == 0 || text.is_empty() {
            text = Arc::new(generate(&self.subject, call.actor)?);
            self.text.replace(text.clone());
        }
        let start = usize::try_from(call.offset).unwrap_or(usize::MAX).min(text.len());
        into.put(&text[start..])
    }

    fn write(&self, call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        let What::Settings(settings) = self.row.what else {
            return Err(Errno::EIO.because("this file is only read"));
        };
        if call.offset != 0 && settings.positions == Positions::ReadOnly {
            return Err(Errno::EINVAL.because("what is written here begins at position 0"));
        }
        let length = from.remaining();
        if length >= PAGE {
            return Err(Errno::EINVAL.because("what is written here is less than a page"));
        }
        // Nearly all that is written is short, and a page to be cleared first costs more than taking it.
        if length <= SHORT {
            self.set(settings, call, from, &mut [0; SHORT][..length])
        } else {
            self.set(settings, call, from, &mut [0; PAGE][..length])
        }
    }

    fn positions(&self) -> Positions {
        match self.row.what {
            What::Settings(settings) => settings.positions,
            _ => Positions::Some,
        }
    }

    fn truncate(&self, _length: u64) -> Result<()> {
        Ok(())
    }
}

struct LinkInode<S: Subject> {
    subject: S,
    follow: fn(&S, &dyn Actor) -> Result<LinkTarget>,
    number: u64,
    permissions: u16,
}

impl<S: Subject> Inode for LinkInode<S> {
    fn kind(&self) -> Kind {
        Kind::SymbolicLink
    }

    fn metadata(&self) -> Metadata {
        metadata(&self.subject, self.number, Kind::SymbolicLink, self.permissions)
    }

    fn follow(&self, actor: &dyn Actor) -> Result<LinkTarget> {
        (self.follow)(&self.subject, actor)
    }

    fn open(self: Arc<Self>, _opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::ELOOP)
    }

    fn permits(&self, _wanted: Wanted, _credentials: &Credentials, _actor: &dyn Actor) -> Result<()> {
        Ok(())
    }

    fn still_there(&self) -> bool {
        self.subject.still_there()
    }
}

/// An inode that is a directory by a [`Directory`] of its own making: `/proc` itself, `/proc/PID/fd`, `/proc/PID/task`.
pub struct ListDirectory<S: Subject, D: Directory + 'static> {
    /// Whose it is.
    pub subject: S,
    /// Its names.
    pub names: D,
    /// Its number.
    pub number: u64,
    /// Its permission bits.
    pub permissions: u16,
    /// Who may use it at all, beyond its permission bits.
    pub guard: fn(&S, &dyn Actor) -> Result<()>,
}

impl<S: Subject, D: Directory> Inode for ListDirectory<S, D> {
    fn kind(&self) -> Kind {
        Kind::Directory
    }

    fn metadata(&self) -> Metadata {
        metadata(&self.subject, self.number, Kind::Directory, self.permissions)
    }

    fn directory(&self) -> Option<&dyn Directory> {
        Some(&self.names)
    }

    fn open(self: Arc<Self>, _opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        Err(Errno::EISDIR)
    }

    fn permits(&self, wanted: Wanted, credentials: &Credentials, actor: &dyn Actor) -> Result<()> {
        if permission::everybody_may(self.permissions, wanted) {
            return Ok(());
        }
        match permission::check(&self.metadata(), wanted, credentials) {
            Ok(()) => Ok(()),
            Err(error) => (self.guard)(&self.subject, actor).map_err(|_| error),
        }
    }

    fn still_there(&self) -> bool {
        self.subject.still_there()
    }
}

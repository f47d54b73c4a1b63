//! One object of a tmpfs: attributes, and a body according to its kind.

use super::{
    super::{
        Actor, AttributeChanges, Call, DeviceNumber, Directory, File, FileOperations, Inode, Kind,
        LinkTarget, Metadata, MountFlags, NewNode, OpenFlags, Opening, Positions,
        attributes::{self, now},
        devices, naming,
        permission::{self, Wanted},
        pipe::NamedPipe,
    },
    Account,
    contents::{Contents, LONGEST, split},
    directory::Names,
    mapping::Mapping,
    seals::Seals,
};
use crate::{
    abi::{Errno, Result, Timespec, linux},
    arch::PAGE_SIZE,
    mm::{
        PageSource,
        source::Identity,
        user::{Destination, Source},
        withdrawal::withdraw,
    },
    ns::Credentials,
    sync::SpinLock,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::sync::atomic::Ordering::Relaxed;

/// An object of a tmpfs.
pub struct Node {
    pub(super) account: Arc<Account>,
    pub(super) number: u64,
    pub(super) kind: Kind,
    /// Nothing is taken inside it.
    pub(super) attributes: SpinLock<Attributes>,
    pub(super) body: Body,
    /// What stands for the path of a file that never had a name.
    pub(super) name: Option<Vec<u8>>,
    /// Of a regular file: what cannot be done to it any more.
    pub seals: Seals,
}

/// What changes about an object, but its contents.
pub(super) struct Attributes {
    pub permissions: u16,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    pub accessed: Timespec,
    pub modified: Timespec,
    pub changed: Timespec,
    pub born: Timespec,
}

/// What an object is, besides its attributes.
pub(super) enum Body {
    Regular {
        contents: Contents,
        /// Held by whoever writes, so that two writers who append do not write to one place. Address spaces' locks and
        /// the contents' are taken inside it.
        writing: SpinLock<()>,
    },
    Directory(Names),
    SymbolicLink(Box<[u8]>),
    Device(DeviceNumber),
    Fifo(Arc<NamedPipe>),
    Socket,
}

impl Node {
    pub(super) fn new(account: &Arc<Account>, node: &NewNode<'_>) -> Arc<Self> {
        let body = match node.kind {
            Kind::Regular => Body::Regular { contents: Contents::new(account), writing: SpinLock::new(()) },
            Kind::Directory => Body::Directory(Names::default()),
            Kind::SymbolicLink => Body::SymbolicLink(node.target.into()),
            Kind::CharacterDevice | Kind::BlockDevice => Body::Device(node.represents),
            Kind::Fifo => Body::Fifo(NamedPipe::new()),
            // mknod(2) makes nothing of no kind.
            Kind::Socket | Kind::Unknown => Body::Socket,
        };
        let now = now();
        account.nodes.fetch_add(1, Relaxed);
        Arc::new(Self {
            account: account.clone(),
            number: account.next_number.fetch_add(1, Relaxed),
            kind: node.kind,
            attributes: SpinLock::new(Attributes {
                permissions: node.permissions,
                uid: node.uid,
                gid: node.gid,
                links: if node.kind == Kind::Directory { 2 } else { 1 },
                accessed: now,
                modified: now,
                changed: now,
                born: now,
            }),
            body,
            name: None,
            seals: Seals::new(false),
        })
    }

    pub(super) fn new_directory(account: &Arc<Account>, permissions: u16, uid: u32, gid: u32) -> Arc<Self> {
        let represents = DeviceNumber::default();
        Self::new(account, &NewNode { kind: Kind::Directory, permissions, uid, gid, represents, target: &[] })
    }

    /// Contents, of a regular file.
    pub(super) fn contents(&self) -> Result<&Contents> {
        match &self.body {
            Body::Regular { contents, .. } => Ok(contents),
            _ => Err(Errno::EINVAL.because("only a regular file has contents")),
        }
    }

    /// Notes a change: of the names or contents, or of attributes alone.
    pub(super) fn touch(&self, modified: bool) {
        let now = now();
        let mut attributes = self.attributes.lock();
        attributes.changed = now;
        if modified {
            attributes.modified = now;
        }
    }

    /// Adds to the count of links.
    pub(super) fn add_links(&self, difference: i32) {
        let mut attributes = self.attributes.lock();
        attributes.links = attributes.links.saturating_add_signed(difference);
    }

    /// Notes a read, but not more often than tells anything: "relatime", mount(8).
    fn touch_accessed(&self, call: &Call<'_>) {
        const DAY: i64 = 24 * 60 * 60;
        let mount = call.file.path().mount.flags();
        if mount.intersects(MountFlags::NO_ACCESS_TIME | MountFlags::READ_ONLY)
            || call.file.flags().contains(OpenFlags::NO_ACCESS_TIME)
        {
            return;
        }
        let now = now();
        let mut attributes = self.attributes.lock();
        let order = |time: Timespec| (time.seconds, time.nanoseconds);
        let accessed = order(attributes.accessed);
        if accessed <= order(attributes.modified)
            || accessed <= order(attributes.changed)
            || now.seconds - attributes.accessed.seconds >= DAY
        {
            attributes.accessed = now;
        }
    }

    /// What mappings know it by.
    pub(super) fn identity(&self) -> Identity {
        Identity { device: self.account.device.encode(), inode: self.number }
    }

    /// How many bytes of a write at `offset` the limits allow. Errors: EFBIG.
    fn allowed_length(&self, call: &Call<'_>, offset: u64, wanted: usize) -> Result<usize> {
        let length = self.contents()?.length();
        let limit = call.actor.limit(linux::RLIMIT_FSIZE).min(LONGEST);
        if wanted > 0 && offset >= limit {
            attributes::check_size_limit(offset.saturating_add(1), length.min(offset), call.actor)?;
            return Err(Errno::EFBIG.because("a file has at most 2^63 bytes"));
        }
        Ok(wanted.min(usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX)))
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let (size, pages) = match &self.body {
            Body::Regular { contents, .. } => (contents.length(), contents.pages()),
            Body::Directory(names) => (names.size(), 0),
            Body::SymbolicLink(target) => (target.len() as u64, 0),
            _ => (0, 0),
        };
        let represents = match &self.body {
            Body::Device(device) => *device,
            _ => DeviceNumber::default(),
        };
        let attributes = self.attributes.lock();
        Metadata {
            device: self.account.device,
            number: self.number,
            kind: self.kind,
            permissions: attributes.permissions,
            links: attributes.links,
            uid: attributes.uid,
            gid: attributes.gid,
            represents,
            size,
            blocks: (pages * PAGE_SIZE / 512) as u64,
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
            born: attributes.born,
        }
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn change(&self, changes: &AttributeChanges) -> Result<()> {
        let now = now();
        let mut attributes = self.attributes.lock();
        attributes.permissions = changes.permissions.unwrap_or(attributes.permissions);
        attributes.uid = changes.uid.unwrap_or(attributes.uid);
        attributes.gid = changes.gid.unwrap_or(attributes.gid);
        attributes.accessed = changes.accessed.unwrap_or(attributes.accessed);
        attributes.modified = changes.modified.unwrap_or(attributes.modified);
        attributes.changed = now;
        Ok(())
    }

    fn directory(&self) -> Option<&dyn Directory> {
        (self.kind == Kind::Directory).then_some(self)
    }

    fn follow(&self, _actor: &dyn Actor) -> Result<LinkTarget> {
        match &self.body {
            Body::SymbolicLink(target) => Ok(LinkTarget::Name(target.to_vec())),
            _ => Err(Errno::EINVAL.because("only a symbolic link can be read as one")),
        }
    }

    fn permits(&self, wanted: Wanted, credentials: &Credentials, _actor: &dyn Actor) -> Result<()> {
        if permission::everybody_may(self.attributes.lock().permissions, wanted) {
            return Ok(());
        }
        permission::check(&self.metadata(), wanted, credentials)
    }

    fn open(self: Arc<Self>, opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        match &self.body {
            Body::Device(device) => devices::open(self.kind, *device, opening),
            Body::Fifo(pipe) => pipe.open(opening.flags),
            _ => Ok(self),
        }
    }

    fn truncate(&self, length: u64) -> Result<()> {
        let contents = self.contents()?;
        self.seals.may_resize(contents.length(), length)?;
        withdraw(self.identity(), &contents.truncate(length)?);
        self.touch(true);
        Ok(())
    }

    fn pseudo_name(&self) -> Option<Vec<u8>> {
        self.name.clone()
    }
}

impl FileOperations for Node {
    fn read(&self, call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        let contents = self.contents()?;
        let mut done = 0;
        while into.remaining() > 0 {
            let offset = call.offset + done as u64;
            let (page, available) = contents.page_to_read(offset);
            let length = available.min(into.remaining());
            if length == 0 {
                break;
            }
            let moved = match page {
                Some(page) => into.put_page(&page, split(offset).1, length),
                None => into.put_zeros(length),
            };
            match moved {
                Ok(count) => {
                    done += count;
                    if count < length {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        self.touch_accessed(&call);
        Ok(done)
    }

    fn write(&self, call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        let Body::Regular { contents, writing } = &self.body else { return Err(Errno::EINVAL) };
        let _writing = writing.lock();
        self.seals.may_write()?;
        let append = call.file.flags().contains(OpenFlags::APPEND);
        let start = if append { contents.length() } else { call.offset };
        let allowed = self.allowed_length(&call, start, from.remaining())?;
        naming::drop_set_ids(self, &call.actor.credentials())?;
        let mut done = 0;
        while done < allowed {
            let (index, within) = split(start + done as u64);
            let length = (allowed - done).min(PAGE_SIZE - within);
            // The page first: when there is none, nothing of the program's data has been taken.
            let end = start + (done + length) as u64;
            let moved = self
                .seals
                .may_resize(contents.length(), contents.length().max(end))
                .and_then(|()| contents.page_to_write(index))
                .and_then(|page| from.take_page(&page, within, length));
            match moved {
                Ok(count) => {
                    done += count;
                    contents.extend_to(start + done as u64);
                    if count < length {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if done > 0 {
            self.touch(true);
        }
        Ok(done)
    }

    fn positions(&self) -> Positions {
        Positions::Some
    }

    fn length(&self) -> Option<u64> {
        self.contents().ok().map(Contents::length)
    }

    fn next_range(&self, offset: u64, data: bool) -> Option<u64> {
        self.contents().ok()?.next_range(offset, data)
    }

    fn truncate(&self, length: u64) -> Result<()> {
        Inode::truncate(self, length)
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<()> {
        let contents = self.contents()?;
        let end = offset.checked_add(length).filter(|end| *end <= LONGEST).ok_or(Errno::EFBIG)?;
        match mode & linux::FALLOC_FL_PUNCH_HOLE {
            0 => self.seals.may_resize(contents.length(), contents.length().max(end))?,
            _ => self.seals.may_write()?,
        }
        match mode {
            0 => {
                contents.fill(offset, end)?;
                contents.extend_to(end);
            }
            linux::FALLOC_FL_KEEP_SIZE => contents.fill(offset, end)?,
            mode if mode == linux::FALLOC_FL_KEEP_SIZE | linux::FALLOC_FL_PUNCH_HOLE => {
                withdraw(self.identity(), &contents.punch(offset, end));
            }
            _ => return Err(Errno::EOPNOTSUPP.because("fallocate makes or removes space, no more")),
        }
        self.touch(true);
        Ok(())
    }

    fn pages(&self, file: &Arc<File>, stores: bool) -> Result<Arc<dyn PageSource>> {
        self.contents().map_err(|_| Errno::ENODEV)?;
        if stores {
            self.seals.may_write()?;
            self.seals.count_storing(true);
        }
        Ok(Arc::new(Mapping { file: file.clone(), stores }))
    }
}

/// Takes a tree of directories apart without recursion: the kernel stack is small, and programs decide how deep it is.
impl Drop for Node {
    fn drop(&mut self) {
        self.account.nodes.fetch_sub(1, Relaxed);
        let mut pending: Vec<Arc<Self>> = Vec::new();
        if let Body::Directory(names) = &self.body {
            names.take_all(&mut pending);
        }
        while let Some(node) = pending.pop() {
            if let Some(node) = Arc::into_inner(node)
                && let Body::Directory(names) = &node.body
            {
                names.take_all(&mut pending);
            }
        }
    }
}

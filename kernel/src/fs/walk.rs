//! From a name to a place: path_resolution(7).
//!
//! A walk keeps the text still to go in one buffer. A symbolic link puts its target before that text, so links need no
//! recursion, and the limit of forty of them also limits the buffer. The last name of a path is special: who makes,
//! removes or renames something wants its directory and the name, not what the name leads to ([`Walk::find_parent`]).

use super::{Actor, Entry, LinkTarget, Path, PathContext, metadata::Kind, mount, permission::Wanted};
use crate::{
    abi::{Errno, Result, linux},
    ns::Credentials,
};
use alloc::{borrow::Cow, sync::Arc, vec::Vec};

/// The longest name of one object, in bytes.
pub const NAME_MAX: usize = linux::NAME_MAX as usize;
/// The longest path, in bytes, with the NUL at its end.
pub const PATH_MAX: usize = linux::PATH_MAX as usize;
/// How many symbolic links one walk follows.
const LINKS_MAX: u32 = 40;

bitflags::bitflags! {
    /// Restrictions on a walk, openat2(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "openat2(2) describes them")]
    pub struct Restrictions: u64 {
        const NO_CROSSING = linux::RESOLVE_NO_XDEV as u64;
        const NO_MAGIC_LINKS = linux::RESOLVE_NO_MAGICLINKS as u64;
        const NO_LINKS = linux::RESOLVE_NO_SYMLINKS as u64;
        const BENEATH = linux::RESOLVE_BENEATH as u64;
        const IN_ROOT = linux::RESOLVE_IN_ROOT as u64;
    }
}

/// What to do with a symbolic link that is the last name of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastLink {
    /// Go where it leads.
    Follow,
    /// Stay at the link itself, unless a slash follows it.
    Keep,
}

/// The last name of a path, when it is wanted apart from its directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LastName {
    /// A name to be looked up, or made.
    Name(Vec<u8>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// There is none: the path was `/`.
    Root,
}

/// Where a path ends: the directory, and the name in it.
pub struct Parent {
    /// The directory, whose names its user may search.
    pub directory: Path,
    /// The name, which may not exist.
    pub last: LastName,
    /// A slash follows the name: it is to be a directory's.
    pub slash: bool,
}

/// Somebody's way through the tree.
pub struct Walk<'a> {
    /// Who walks.
    pub actor: &'a dyn Actor,
    /// With which permissions: the actor's own, but for access(2).
    pub credentials: Arc<Credentials>,
    /// Where absolute names begin and `..` ends.
    root: Path,
    /// Where other names begin.
    start: Path,
    restrictions: Restrictions,
    /// Links followed so far, on all the paths of this walk.
    links: u32,
}

/// Where a step led to.
enum Step {
    Here(Path),
    Target(Vec<u8>),
}

/// Where the last name of a path stands in its text; nowhere, if the path is only slashes.
struct Last {
    start: usize,
    end: usize,
    /// A slash follows it.
    slash: bool,
}

impl Last {
    fn name<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.start..self.end]
    }
}

impl<'a> Walk<'a> {
    /// One that begins at the working directory.
    pub fn new(actor: &'a dyn Actor, context: &PathContext) -> Self {
        let places = context.places();
        Self {
            actor,
            credentials: actor.credentials(),
            root: places.root,
            start: places.cwd,
            restrictions: Restrictions::empty(),
            links: 0,
        }
    }

    /// One through the whole tree, beginning at its root: the kernel's own.
    pub fn from_root(actor: &'a dyn Actor) -> Self {
        Self::from_place(actor, mount::root())
    }

    /// One that begins at this place, and takes it for the root.
    pub fn from_place(actor: &'a dyn Actor, root: Path) -> Self {
        let credentials = actor.credentials();
        Self { actor, credentials, start: root.clone(), root, restrictions: Restrictions::empty(), links: 0 }
    }

    /// The same, beginning elsewhere.
    pub fn starting_at(mut self, start: Path) -> Self {
        self.start = start;
        self
    }

    /// Puts it under restrictions.
    pub fn restrict(&mut self, restrictions: Restrictions) {
        if restrictions.contains(Restrictions::IN_ROOT) {
            self.root = self.start.clone();
        }
        self.restrictions = restrictions;
    }

    /// The place of this name. Errors: ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG; EXDEV for a restriction.
    pub fn find(&mut self, name: &[u8], last_link: LastLink) -> Result<Path> {
        let (mut text, mut start) = (Cow::Borrowed(name), self.start.clone());
        let mut to_directory = false;
        loop {
            let (directory, last) = self.descend(start, &mut text)?;
            to_directory |= last.slash;
            let follow = last_link == LastLink::Follow || to_directory;
            match self.step(&directory, last.name(&text), follow)? {
                Step::Here(path) if to_directory && path.inode().directory().is_none() => {
                    return Err(Errno::ENOTDIR.because("a slash follows the name of what is no directory"));
                }
                Step::Here(path) => return Ok(path),
                Step::Target(target) => (start, text) = (directory, Cow::Owned(target)),
            }
        }
    }

    /// The directory that holds, or would hold, the last name of a path. Errors: as [`Self::find`], for the directory.
    pub fn find_parent(&mut self, name: &[u8]) -> Result<Parent> {
        self.parent_from(self.start.clone(), Cow::Borrowed(name))
    }

    /// The same for a link's target, seen from the link's directory.
    pub fn parent_from(&mut self, start: Path, mut text: Cow<'_, [u8]>) -> Result<Parent> {
        let (directory, last) = self.descend(start, &mut text)?;
        let name = match last.name(&text) {
            b"" => LastName::Root,
            b"." => LastName::Dot,
            b".." => LastName::DotDot,
            name => LastName::Name(name.to_vec()),
        };
        Ok(Parent { directory, last: name, slash: last.slash })
    }

    /// Goes down to the directory of the last name. `text` then is the text in which that name stands: the path, or the
    /// target of a link with the rest of the path behind it.
    fn descend(&mut self, start: Path, text: &mut Cow<'_, [u8]>) -> Result<(Path, Last)> {
        let mut here = self.begin(start, text)?;
        let mut at = 0;
        loop {
            while text.get(at) == Some(&b'/') {
                at += 1;
            }
            if at == text.len() {
                return Ok((here, Last { start: at, end: at, slash: false }));
            }
            let mut end = at + 1;
            while text.get(end).is_some_and(|&byte| byte != b'/') {
                end += 1;
            }
            self.must_be_searchable(&here)?;
            let (name, rest) = (&text[at..end], &text[end..]);
            if rest.iter().all(|&byte| byte == b'/') {
                return Ok((here, Last { start: at, end, slash: !rest.is_empty() }));
            }
            match self.step_over_neighbours(&here, name)? {
                Step::Here(next) => {
                    here = next;
                    at = end;
                }
                Step::Target(mut target) => {
                    here = self.begin(here, &target)?;
                    target.extend_from_slice(rest);
                    *text = Cow::Owned(target);
                    at = 0;
                }
            }
        }
    }

    /// Where a path begins that is seen from `start`. Errors: ENOENT, ENAMETOOLONG; EXDEV.
    fn begin(&self, start: Path, text: &[u8]) -> Result<Path> {
        match text.first() {
            None => Err(Errno::ENOENT.because("an empty name names nothing")),
            _ if text.len() >= PATH_MAX => {
                Err(Errno::ENAMETOOLONG.because("a path has fewer than 4096 bytes"))
            }
            Some(b'/') if self.restrictions.contains(Restrictions::BENEATH) => {
                Err(Errno::EXDEV.because("RESOLVE_BENEATH forbids absolute names"))
            }
            Some(b'/') => self.allow_crossing(&start, self.root.clone()),
            Some(_) => Ok(start),
        }
    }

    fn must_be_searchable(&self, directory: &Path) -> Result<()> {
        let inode = directory.inode();
        if inode.directory().is_none() {
            return Err(Errno::ENOTDIR.because("a name on the way is no directory's"));
        }
        inode.permits(Wanted::EXECUTE, &self.credentials, self.actor)
    }

    /// One name further; none is the same as `.`. A link that is to be followed is counted and, unless it leads to an object
    /// itself, its target returned.
    fn step(&mut self, here: &Path, name: &[u8], follow: bool) -> Result<Step> {
        match name {
            b"" | b"." => return Ok(Step::Here(here.clone())),
            b".." => return self.up(here).map(Step::Here),
            _ => {}
        }
        let child = here.with(self.child(here, name)?);
        if !follow || child.inode().kind() != Kind::SymbolicLink {
            return self.enter(here, child).map(Step::Here);
        }
        Ok(match self.follow_last(here, &child.entry)? {
            LinkTarget::Name(target) => Step::Target(target),
            LinkTarget::Object(path) => Step::Here(path),
        })
    }

    /// One name further, following links. One that leads to another name in its own directory, as `/proc/self` does, needs
    /// no text made of its target and the rest of the path.
    fn step_over_neighbours(&mut self, here: &Path, name: &[u8]) -> Result<Step> {
        let mut step = self.step(here, name, true)?;
        loop {
            step = match step {
                Step::Target(neighbour) if !neighbour.contains(&b'/') => self.step(here, &neighbour, true)?,
                step => return Ok(step),
            }
        }
    }

    /// Where a link leads that is the last name of a path; counted like every other. Errors: ELOOP, EXDEV, ENOENT.
    pub fn follow_last(&mut self, directory: &Path, link: &Arc<Entry>) -> Result<LinkTarget> {
        self.links += 1;
        if self.links > LINKS_MAX || self.restrictions.contains(Restrictions::NO_LINKS) {
            return Err(Errno::ELOOP.because("a walk follows at most 40 symbolic links"));
        }
        match link.inode().follow(self.actor)? {
            LinkTarget::Name(target) if target.is_empty() => {
                Err(Errno::ENOENT.because("an empty link leads nowhere"))
            }
            LinkTarget::Name(target) => Ok(LinkTarget::Name(target)),
            LinkTarget::Object(_) if self.restrictions.contains(Restrictions::NO_MAGIC_LINKS) => {
                Err(Errno::ELOOP.because("RESOLVE_NO_MAGICLINKS forbids this link"))
            }
            LinkTarget::Object(_)
                if self.restrictions.intersects(Restrictions::BENEATH | Restrictions::IN_ROOT) =>
            {
                Err(Errno::EXDEV.because("a link to an object may lead out of the tree"))
            }
            LinkTarget::Object(path) => self.allow_crossing(directory, path).map(LinkTarget::Object),
        }
    }

    /// The place of a last name that is not a name: the directory itself, or the one above it.
    pub fn find_last(&mut self, parent: &Parent) -> Result<Path> {
        match parent.last {
            LastName::DotDot => self.up(&parent.directory),
            _ => Ok(parent.directory.clone()),
        }
    }

    /// The top of what is mounted on a place that was found in `directory`; else the place. Errors: EXDEV.
    pub fn enter(&self, directory: &Path, place: Path) -> Result<Path> {
        match place.entry.is_mount_point() {
            true => self.allow_crossing(directory, mount::cross(place)),
            false => Ok(place),
        }
    }

    /// The entry of a name in a directory, not crossing to what may be mounted there. Errors: ENOENT, ENAMETOOLONG.
    pub fn child(&self, directory: &Path, name: &[u8]) -> Result<Arc<Entry>> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG.because("a name has at most 255 bytes"));
        }
        directory.entry.child(name, self.actor)
    }

    fn up(&self, here: &Path) -> Result<Path> {
        if *here == self.root {
            return match self.restrictions.contains(Restrictions::BENEATH) {
                true => Err(Errno::EXDEV.because("RESOLVE_BENEATH forbids leaving the starting directory")),
                false => Ok(here.clone()),
            };
        }
        if self.restrictions.contains(Restrictions::BENEATH) && *here == self.start {
            return Err(Errno::EXDEV.because("RESOLVE_BENEATH forbids leaving the starting directory"));
        }
        let up = here.parent().unwrap_or_else(|| here.clone());
        self.allow_crossing(here, mount::cross(up))
    }

    fn allow_crossing(&self, from: &Path, to: Path) -> Result<Path> {
        if self.restrictions.contains(Restrictions::NO_CROSSING) && !Arc::ptr_eq(&from.mount, &to.mount) {
            return Err(Errno::EXDEV.because("RESOLVE_NO_XDEV forbids entering another mount"));
        }
        Ok(to)
    }
}

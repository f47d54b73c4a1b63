//! A directory of a tmpfs: names, by name and in the order in which they were made.

use super::{
    super::{Actor, Directory, Inode, Kind, Listed, NewNode},
    node::{Body, Node},
};
use crate::{
    abi::{Errno, Result},
    mm::reserve,
    sync::{Guard, SpinLock},
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::any::Any;

/// What a name counts in the size of its directory, as on Linux.
const SIZE_OF_NAME: u64 = 20;

/// The names of one directory.
#[derive(Default)]
pub(super) struct Names(SpinLock<Inner>);

#[derive(Default)]
struct Inner {
    by_name: BTreeMap<Arc<[u8]>, (u64, Arc<Node>)>,
    /// A name keeps its position while it exists; new ones come last, so who lists sees what was there.
    by_position: BTreeMap<u64, Arc<[u8]>>,
    last_position: u64,
}

/// Positions 0 and 1 are those of `.` and `..`.
const BEFORE_FIRST_POSITION: u64 = 1;

impl Inner {
    fn insert(&mut self, name: &[u8], node: Arc<Node>) {
        self.last_position = self.last_position.max(BEFORE_FIRST_POSITION) + 1;
        let name: Arc<[u8]> = name.into();
        self.by_position.insert(self.last_position, name.clone());
        self.by_name.insert(name, (self.last_position, node));
    }

    fn remove(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        let (position, node) = self.by_name.remove(name)?;
        self.by_position.remove(&position);
        Some(node)
    }

    fn get(&self, name: &[u8]) -> Result<&Arc<Node>> {
        let found = self.by_name.get(name).map(|(_, node)| node);
        found.ok_or_else(|| Errno::ENOENT.because("the directory has no such name"))
    }
}

impl Names {
    /// The size that stat(2) shows.
    pub fn size(&self) -> u64 {
        (self.0.lock().by_name.len() as u64 + 2) * SIZE_OF_NAME
    }

    fn is_empty(&self) -> bool {
        self.0.lock().by_name.is_empty()
    }

    /// Takes everything out.
    pub fn take_all(&self, into: &mut Vec<Arc<Node>>) {
        let mut inner = self.0.lock();
        inner.by_position.clear();
        into.extend(core::mem::take(&mut inner.by_name).into_values().map(|(_, node)| node));
    }
}

impl Node {
    fn names(&self) -> Result<Guard<'_, Inner>> {
        match &self.body {
            Body::Directory(names) => Ok(names.0.lock()),
            _ => Err(Errno::ENOTDIR.because("only a directory holds names")),
        }
    }

    /// What replacing or removing this node needs. Errors: ENOTEMPTY.
    fn must_be_removable(&self) -> Result<()> {
        match &self.body {
            Body::Directory(names) if !names.is_empty() => {
                Err(Errno::ENOTEMPTY.because("the directory still holds names"))
            }
            _ => Ok(()),
        }
    }

    /// It lost a name.
    fn lost_name(&self) {
        // A directory's own `.` goes with it.
        self.add_links(if self.kind == Kind::Directory { -2 } else { -1 });
        self.touch(false);
    }

    fn counts_parent(&self) -> i32 {
        // A directory's `..` is a link to the directory it is in.
        i32::from(self.kind == Kind::Directory)
    }
}

/// The node behind an inode. Errors: EXDEV when it is none of a tmpfs.
fn node_of(inode: &Arc<dyn Inode>) -> Result<Arc<Node>> {
    let any: Arc<dyn Any + Send + Sync> = inode.clone();
    any.downcast().map_err(|_| Errno::EXDEV.because("the object is of another file system"))
}

impl Directory for Node {
    fn lookup(&self, name: &[u8], _actor: &dyn Actor) -> Result<Arc<dyn Inode>> {
        let node = self.names()?.get(name)?.clone();
        Ok(node)
    }

    fn list(&self, from: u64, _actor: &dyn Actor, visitor: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        let mut from = from;
        loop {
            // One at a time: the visitor writes to a program's memory, which needs locks that come before this one.
            let next = {
                let names = self.names()?;
                let next = names.by_position.range(from..).next();
                next.and_then(|(position, name)| {
                    let (_, node) = names.by_name.get(name)?;
                    Some((*position, name.clone(), node.clone()))
                })
            };
            let Some((position, name, node)) = next else { return Ok(()) };
            if !visitor(Listed { position, name: &name, number: node.number, kind: node.kind }) {
                return Ok(());
            }
            from = position + 1;
        }
    }

    fn create(&self, name: &[u8], new: &NewNode<'_>) -> Result<Arc<dyn Inode>> {
        reserve::check()?;
        reserve::check_for_contents()?;
        self.account.check_object()?;
        let node = Node::new(&self.account, new);
        self.names()?.insert(name, node.clone());
        self.add_links(node.counts_parent());
        self.touch(true);
        Ok(node)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        reserve::check()?;
        let node = node_of(inode)?;
        node.add_links(1);
        node.touch(false);
        self.names()?.insert(name, node);
        self.touch(true);
        Ok(())
    }

    fn remove(&self, name: &[u8]) -> Result<()> {
        let node = {
            let mut names = self.names()?;
            names.get(name)?.must_be_removable()?;
            names.remove(name)
        };
        if let Some(node) = node {
            node.lost_name();
            self.add_links(-node.counts_parent());
        }
        self.touch(true);
        Ok(())
    }

    fn rename(&self, name: &[u8], into: &Arc<dyn Inode>, new_name: &[u8], exchange: bool) -> Result<()> {
        let into = node_of(into)?;
        let moving = self.names()?.get(name)?.clone();
        let present = into.names()?.get(new_name).ok().cloned();
        if let Some(present) = &present
            && !exchange
        {
            present.must_be_removable()?;
        }
        self.names()?.remove(name);
        into.names()?.remove(new_name);
        self.add_links(-moving.counts_parent());
        into.add_links(moving.counts_parent());
        if let Some(present) = present {
            into.add_links(-present.counts_parent());
            if exchange {
                self.add_links(present.counts_parent());
                present.touch(false);
                self.names()?.insert(name, present);
            } else {
                present.lost_name();
            }
        }
        moving.touch(false);
        into.names()?.insert(new_name, moving);
        self.touch(true);
        into.touch(true);
        Ok(())
    }
}

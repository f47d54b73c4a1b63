//! Open files in flight, unix(7) SCM_RIGHTS: sent through a socket and not yet received.
//!
//! A socket can be sent through itself, or two through each other, and then all their descriptors closed: each is held
//! by a message that nobody will ever receive. [`collect`] looks for those that are held only by messages in one
//! another, and takes these messages away. It is a mark phase over the sockets in flight, as all other sockets are
//! known to be in use. (Counting cannot see a circle; to refuse sockets in messages would, but servers hand connections
//! to their workers like this.)
//!
//! It looks at all of them, so it is not done whenever a descriptor is closed, which servers do with each connection that
//! they have handed on. What a closed descriptor leaves to nobody was reached through its socket; if there is no way
//! back from there to that socket it ends by itself: see [`holds_itself`].

use super::{Socket, message::Message};
use crate::{
    abi::{Errno, Result},
    fs::File,
    sync::SpinLock,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most files that one message carries, SCM_MAX_FD.
pub const MOST_IN_MESSAGE: usize = 253;
/// The most in flight altogether, whatever RLIMIT_NOFILE says.
const MOST: usize = 4096;

static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);
/// The sockets among them, by their addresses, and how many messages hold each. Nothing is taken inside it.
static SOCKETS: SpinLock<BTreeMap<usize, (Weak<File>, usize)>> = SpinLock::new(BTreeMap::new());

fn key(file: &Arc<File>) -> usize {
    Arc::as_ptr(file) as usize
}

fn socket_of(file: &File) -> Option<&Socket> {
    file.operations_as()
}

/// The files that a message carries.
pub struct Rights(Vec<Arc<File>>);

impl Rights {
    /// `limit`: the sender's RLIMIT_NOFILE, which bounds what is in flight from all; Linux counts each user's apart.
    ///
    /// Errors: ETOOMANYREFS.
    pub fn new(files: Vec<Arc<File>>, limit: u64) -> Result<Self> {
        if (IN_FLIGHT.load(Relaxed) + files.len()) as u64 > limit.min(MOST as u64) {
            return Err(Errno::ETOOMANYREFS.because("as many files are in flight as the limit allows"));
        }
        IN_FLIGHT.fetch_add(files.len(), Relaxed);
        let mut sockets = SOCKETS.lock();
        for file in files.iter().filter(|file| socket_of(file).is_some()) {
            sockets.entry(key(file)).or_insert_with(|| (Arc::downgrade(file), 0)).1 += 1;
        }
        drop(sockets);
        Ok(Self(files))
    }

    /// The files, for one who looks at the message and leaves it.
    pub fn files(&self) -> &[Arc<File>] {
        &self.0
    }

    /// The files, no longer in flight.
    pub fn land(mut self) -> Vec<Arc<File>> {
        self.take()
    }

    fn take(&mut self) -> Vec<Arc<File>> {
        let files = core::mem::take(&mut self.0);
        IN_FLIGHT.fetch_sub(files.len(), Relaxed);
        let mut sockets = SOCKETS.lock();
        for file in files.iter().filter(|file| socket_of(file).is_some()) {
            if let Some((_, messages)) = sockets.get_mut(&key(file)) {
                *messages -= 1;
                if *messages == 0 {
                    sockets.remove(&key(file));
                }
            }
        }
        files
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let files = self.take();
        close(files);
    }
}

/// Closes files one after the other. What one of them was the last to hold comes to the end of the list: a chain of
/// sockets in each other's messages may be longer than the kernel's stack is deep.
pub fn close(files: Vec<Arc<File>>) {
    static LIST: SpinLock<Option<Vec<Arc<File>>>> = SpinLock::new(None);
    if files.is_empty() {
        return;
    }
    {
        let mut list = LIST.lock();
        match list.as_mut() {
            Some(list) => return list.extend(files),
            None => *list = Some(files),
        }
    }
    let mut flies = false;
    loop {
        let mut list = LIST.lock();
        let Some(file) = list.as_mut().and_then(Vec::pop) else {
            *list = None;
            break;
        };
        drop(list);
        flies |= is_in_flight(&file);
    }
    if flies {
        collect();
    }
}

/// Whether messages hold it, too. If so, and many are to be let go, [`collect`] is for afterwards.
pub fn is_in_flight(file: &Arc<File>) -> bool {
    IN_FLIGHT.load(Relaxed) > 0 && SOCKETS.lock().contains_key(&key(file))
}

/// Whether messages alone hold it, besides so many others who ask.
fn is_held_by_messages(file: &Arc<File>, others: usize) -> bool {
    let sockets = SOCKETS.lock();
    sockets.get(&key(file)).is_some_and(|(_, messages)| Arc::strong_count(file) == messages + others)
}

/// Whether a file that the caller lets go is held by a circle of messages then, in which it is itself: [`collect`] is for
/// afterwards.
pub fn holds_itself(file: &Arc<File>) -> bool {
    if !is_in_flight(file) || !is_held_by_messages(file, 1) {
        return false;
    }
    let (mut seen, mut to_see, mut found) = (BTreeSet::new(), Vec::from([file.clone()]), false);
    while let Some(next) = to_see.pop().filter(|_| !found) {
        for_each_carried(&next, &mut |carried| {
            found |= Arc::ptr_eq(carried, file);
            if !seen.contains(&key(carried)) && is_held_by_messages(carried, 0) {
                seen.insert(key(carried));
                to_see.push(carried.clone());
            }
        });
    }
    found
}

/// Takes the messages of all sockets that only messages of such sockets hold.
pub fn collect() {
    let flying: Vec<_> =
        SOCKETS.lock().values().filter_map(|(file, messages)| Some((file.upgrade()?, *messages))).collect();
    // One reference is the list's own.
    let only_in_messages =
        flying.into_iter().filter(|(file, messages)| Arc::strong_count(file) == messages + 1);
    let mut suspects: BTreeMap<usize, (Arc<File>, usize)> =
        only_in_messages.map(|(file, messages)| (key(&file), (file, messages))).collect();
    if suspects.is_empty() {
        return;
    }
    let mut held_by_suspects: BTreeMap<usize, usize> = BTreeMap::new();
    for (file, _) in suspects.values() {
        for_each_carried(file, &mut |carried| *held_by_suspects.entry(key(carried)).or_default() += 1);
    }
    // In use is what a message of any other socket holds, and what is in the messages of those in use.
    let from_outside = |(key, (_, messages)): (&usize, &(_, usize))| {
        (held_by_suspects.get(key).copied().unwrap_or(0) < *messages).then_some(*key)
    };
    let mut in_use: BTreeSet<usize> = suspects.iter().filter_map(from_outside).collect();
    while let Some(used) = in_use.pop_first() {
        if let Some((file, _)) = suspects.remove(&used) {
            for_each_carried(&file, &mut |carried| {
                in_use.insert(key(carried));
            });
        }
    }
    let mut lost: Vec<Message> = Vec::new();
    for (file, _) in suspects.values() {
        for_each_queue(file, &mut |socket| lost.extend(socket.take_messages()));
    }
    drop(suspects);
    // All at once: each list that is closed is followed by a search like this one.
    close(lost.into_iter().filter_map(|message| message.rights).flat_map(Rights::land).collect());
}

/// A socket's own messages, and those to connections that it has not accepted yet.
fn for_each_queue(file: &File, act: &mut dyn FnMut(&Socket)) {
    if let Some(socket) = socket_of(file) {
        act(socket);
        socket.pending().iter().for_each(|pending| act(pending));
    }
}

fn for_each_carried(file: &File, act: &mut dyn FnMut(&Arc<File>)) {
    for_each_queue(file, &mut |socket| socket.for_each_carried(act));
}

#[cfg(test)]
#[path = "../tests/rights.rs"]
mod tests;

//! Where a bound socket is found, unix(7): under a path's object, or under a name that is in no directory.

use super::{Socket, SocketKind};
use crate::{
    abi::{Errno, Result, net},
    fs::Inode,
    sync::SpinLock,
};
use alloc::{
    collections::BTreeMap,
    format,
    sync::{Arc, Weak},
    vec::Vec,
};

/// Bytes of the family in front of a name in `struct sockaddr_un`.
pub const FAMILY: usize = size_of::<u16>();
/// The most bytes of a name.
pub const LONGEST: usize = 108;

/// An address as a program gives it, without the family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// No name at all: bind(2) chooses one.
    Any,
    /// In the file system.
    Path(Vec<u8>),
    /// The bytes after the leading zero.
    Abstract(Vec<u8>),
}

impl Address {
    /// From the bytes of a `struct sockaddr_un`. Errors: EINVAL for another family or length.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let family = bytes.get(..FAMILY).map(|family| u16::from_ne_bytes([family[0], family[1]]));
        if family != Some(net::AF_UNIX as u16) || bytes.len() > FAMILY + LONGEST {
            return Err(Errno::EINVAL.because("an address is of family AF_UNIX, with up to 108 bytes"));
        }
        Ok(match &bytes[FAMILY..] {
            [] => Self::Any,
            [0, name @ ..] => Self::Abstract(name.to_vec()),
            path => Self::Path(path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()),
        })
    }

    /// As getsockname(2) tells it: a path with the zero after it.
    pub fn encode(&self) -> Vec<u8> {
        let family = (net::AF_UNIX as u16).to_ne_bytes();
        match self {
            Self::Any => family.to_vec(),
            Self::Path(path) => [&family[..], path, &[0]].concat(),
            Self::Abstract(name) => [&family[..], &[0], name].concat(),
        }
    }
}

/// What a socket is found under.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A name that is in no directory; each kind of socket has names of its own.
    Abstract(SocketKind, Vec<u8>),
    /// An object: its device and number.
    Object(u64, u64),
}

impl Key {
    /// An object's.
    pub fn of(inode: &dyn Inode) -> Self {
        let metadata = inode.metadata();
        Self::Object(metadata.device.encode(), metadata.number)
    }
}

/// All that are bound. Nothing is taken inside it.
static BOUND: SpinLock<BTreeMap<Key, Weak<Socket>>> = SpinLock::new(BTreeMap::new());

/// Errors: EADDRINUSE.
pub fn bind(key: &Key, socket: &Arc<Socket>) -> Result<()> {
    let mut bound = BOUND.lock();
    if bound.contains_key(key) {
        return Err(Errno::EADDRINUSE.because("another socket has the name"));
    }
    bound.insert(key.clone(), Arc::downgrade(socket));
    Ok(())
}

/// A name nobody has: five digits, as Linux chooses them.
pub fn bind_anywhere(socket: &Arc<Socket>) -> Result<(Key, Address)> {
    let mut bound = BOUND.lock();
    for number in 0..1 << 20 {
        let name = format!("{number:05x}").into_bytes();
        let key = Key::Abstract(socket.kind, name.clone());
        if !bound.contains_key(&key) {
            bound.insert(key.clone(), Arc::downgrade(socket));
            return Ok((key, Address::Abstract(name)));
        }
    }
    Err(Errno::ENOSPC.because("all names of five digits are taken"))
}

/// The socket bound there. Errors: ECONNREFUSED.
pub fn find(key: &Key) -> Result<Arc<Socket>> {
    let found = BOUND.lock().get(key).and_then(Weak::upgrade);
    found.ok_or_else(|| Errno::ECONNREFUSED.because("no socket is bound to the name"))
}

/// The socket that was bound there ends.
pub fn forget(key: &Key) {
    BOUND.lock().remove(key);
}

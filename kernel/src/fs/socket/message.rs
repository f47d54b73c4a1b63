//! What travels through a socket: bytes, with who sent them and perhaps open files.

use super::{name::Address, rights::Rights};
use crate::{
    abi::{Errno, Result, TaskId},
    fs::Actor,
    mm::{reserve, user::Source},
};
use alloc::vec::Vec;

/// What a message takes besides its bytes, as it counts against the sender's buffer.
const OVERHEAD: usize = 256;

/// Who is at the other end, `struct ucred` in unix(7); ids are the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The process.
    pub process: TaskId,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Identity {
    /// As SO_PEERCRED tells of who connected or listened.
    pub fn effective(actor: &dyn Actor) -> Self {
        let credentials = actor.credentials();
        Self { process: actor.process_id(), uid: credentials.euid, gid: credentials.egid }
    }

    /// As SCM_CREDENTIALS tells of who sent, unless that says something else.
    pub fn real(actor: &dyn Actor) -> Self {
        let credentials = actor.credentials();
        Self { process: actor.process_id(), uid: credentials.uid, gid: credentials.gid }
    }
}

/// One message, or a piece of a stream.
pub struct Message {
    bytes: Vec<u8>,
    /// How many of them have been received.
    start: usize,
    /// Received with the first byte.
    pub rights: Option<Rights>,
    /// Who sent it.
    pub sender: Identity,
    /// The name of the socket it was sent from.
    pub source: Address,
}

impl Message {
    /// With the next `length` bytes. Errors: ENOBUFS; EFAULT when not all can be read.
    pub fn new(from: &mut Source<'_>, length: usize, sender: Identity, source: Address) -> Result<Self> {
        reserve::check_for_contents()?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| Errno::ENOBUFS)?;
        bytes.resize(length, 0);
        if from.take(&mut bytes)? < length {
            return Err(Errno::EFAULT.because("the bytes to be sent are not all there"));
        }
        Ok(Self { bytes, start: 0, rights: None, sender, source })
    }

    /// What is left of it.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Notes that so many bytes were received.
    pub fn advance(&mut self, count: usize) {
        self.start += count;
    }

    /// What it counts.
    pub fn weight(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

//! Sockets between processes of one machine, unix(7): streams, and messages that keep their bounds.
//!
//! Every socket has one queue, of what was sent to it, and two know each other: to send is to append to the other's
//! queue, to receive is to take from one's own. Neither keeps the other alive; the one that ends tells the other. Who sends
//! may fill the other's queue up to the size of its own buffer, SO_SNDBUF, and is woken when three quarters of that
//! are free again, as on Linux. A datagram socket is sent to by many that it does not know: each message tells whose it
//! is, and a queue remembers whom it refused.
//!
//! [`connection`] has what makes two sockets know each other, [`transfer`] sends and receives a [`message`], [`mod@name`]
//! finds who is bound, [`rights`] sees to the open files that messages carry. Other families are not there (EAFNOSUPPORT).

pub mod connection;
mod message;
pub mod name;
mod rights;
pub mod transfer;

use super::{
    Actor, Answer, Call, File, FileOperations, Kind, Metadata, OpenFlags, Readiness,
    attributes::now,
    pseudo::{PseudoInode, SOCKETS},
};
use crate::{
    abi::{Errno, Result, UserPointer, net},
    mm::{
        AddressSpace,
        user::{Destination, Source},
    },
    sync::{SpinLock, WaitQueue},
};
use alloc::{
    collections::VecDeque,
    format,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use linux_raw_sys::ioctl::FIONREAD;

use message::Message;
use name::{Address, Key};

pub use message::Identity;
pub use rights::{MOST_IN_MESSAGE, Rights, collect, holds_itself, is_in_flight};

/// How a socket transfers, socket(2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SocketKind {
    /// SOCK_STREAM: bytes without bounds.
    Stream,
    /// SOCK_DGRAM: messages.
    Datagram,
    /// SOCK_SEQPACKET: messages with an end.
    SequencedPackets,
}

impl SocketKind {
    /// The kind of this number, SO_TYPE.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            net::SOCK_STREAM => Self::Stream,
            net::SOCK_DGRAM => Self::Datagram,
            net::SOCK_SEQPACKET => Self::SequencedPackets,
            _ => return None,
        })
    }

    /// Its number.
    pub fn number(self) -> u32 {
        match self {
            Self::Stream => net::SOCK_STREAM,
            Self::Datagram => net::SOCK_DGRAM,
            Self::SequencedPackets => net::SOCK_SEQPACKET,
        }
    }
}

/// What a socket is to others.
enum Role {
    /// Nothing yet, or, a datagram socket, no longer anything.
    Alone,
    /// It waits for connections; those that were made and not accepted yet.
    Listening { pending: VecDeque<Arc<Socket>>, most: usize },
    /// It has one other.
    Connected(Weak<Socket>),
}

/// What can be set of a socket, setsockopt(2).
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// SO_SNDBUF
    pub send_buffer: usize,
    /// SO_RCVBUF, which is kept and means nothing: the sender's buffer is what is bounded.
    pub receive_buffer: usize,
    /// SO_SNDTIMEO: the longest that a call waits to send or to connect, in nanoseconds.
    pub send_timeout: Option<i64>,
    /// SO_RCVTIMEO: the longest that a call waits to receive or to accept, in nanoseconds.
    pub receive_timeout: Option<i64>,
    /// SO_PASSCRED
    pub tells_senders: bool,
    /// Those that are kept and mean nothing to sockets without a network, a bit for each number.
    pub others: u32,
}

/// Linux' `net.core.wmem_default`.
const BUFFER: usize = 212_992;

struct State {
    role: Role,
    address: Address,
    key: Option<Key>,
    /// Who is, or was, at the other end, unless datagrams are only sent there; and its name.
    peer: Option<Identity>,
    peer_address: Address,
    options: Options,
    messages: VecDeque<Message>,
    /// What they count together.
    weight: usize,
    /// Senders that were refused for want of room, with their buffers.
    refused: Vec<(Weak<Socket>, usize)>,
    receives: bool,
    sends: bool,
    /// Told once, SO_ERROR.
    error: Option<Errno>,
    accepted: bool,
}

/// A socket.
pub struct Socket {
    this: Weak<Self>,
    kind: SocketKind,
    /// Held while bytes are received: address spaces' locks are taken inside it. No other socket's is.
    state: SpinLock<State>,
    changed: WaitQueue,
}

impl Socket {
    /// One that knows no other.
    pub fn new(kind: SocketKind) -> Arc<Self> {
        let options = Options {
            send_buffer: BUFFER,
            receive_buffer: BUFFER,
            send_timeout: None,
            receive_timeout: None,
            tells_senders: false,
            others: 0,
        };
        let state = State {
            role: Role::Alone,
            address: Address::Any,
            key: None,
            peer: None,
            peer_address: Address::Any,
            options,
            messages: VecDeque::new(),
            weight: 0,
            refused: Vec::new(),
            receives: true,
            sends: true,
            error: None,
            accepted: true,
        };
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            kind,
            state: SpinLock::new(state),
            changed: WaitQueue::new(),
        })
    }

    /// Two that know each other, socketpair(2).
    pub fn pair(kind: SocketKind, actor: &dyn Actor) -> [Arc<Self>; 2] {
        let pair = [Self::new(kind), Self::new(kind)];
        for (this, other) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            let mut state = this.state.lock();
            state.role = Role::Connected(Arc::downgrade(other));
            state.peer = Some(Identity::effective(actor));
        }
        pair
    }

    /// An open file of it. `flags`: O_NONBLOCK counts.
    pub fn open(self: Arc<Self>, flags: OpenFlags, actor: &dyn Actor) -> Result<Arc<File>> {
        static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NEXT_NUMBER.fetch_add(1, Relaxed);
        let (now, credentials) = (now(), actor.credentials());
        let metadata = Metadata {
            uid: credentials.fsuid,
            gid: credentials.fsgid,
            accessed: now,
            modified: now,
            changed: now,
            ..Metadata::plain(SOCKETS.device(), number, Kind::Socket, 0o777)
        };
        let name = format!("socket:[{number}]").into_bytes();
        let flags = (flags & OpenFlags::NON_BLOCKING) | OpenFlags::READ_WRITE;
        File::new(SOCKETS.path(Arc::new(PseudoInode::new(metadata, name))), self, flags, credentials)
    }

    /// How it transfers.
    pub fn kind(&self) -> SocketKind {
        self.kind
    }

    /// What is set.
    pub fn options(&self) -> Options {
        self.state.lock().options
    }

    /// Sets something.
    pub fn set_options(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.state.lock().options);
    }

    /// SO_ERROR: the error that nobody was told yet.
    pub fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    /// SO_ACCEPTCONN
    pub fn is_listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening { .. })
    }

    /// The name it is bound to, getsockname(2).
    pub fn address(&self) -> Address {
        self.state.lock().address.clone()
    }

    /// Who is at the other end, SO_PEERCRED; of one that listens, who made it do so.
    pub fn peer_identity(&self) -> Option<Identity> {
        self.state.lock().peer
    }

    /// The name of the other end, getpeername(2). Errors: ENOTCONN.
    pub fn peer_address(&self) -> Result<Address> {
        let state = self.state.lock();
        match &state.role {
            Role::Connected(_) => Ok(state.peer_address.clone()),
            _ => Err(Errno::ENOTCONN.because("the socket is not connected")),
        }
    }

    /// Woken whenever something may have changed.
    pub fn changed(&self) -> &WaitQueue {
        &self.changed
    }

    fn other(&self) -> Option<Arc<Self>> {
        match &self.state.lock().role {
            Role::Connected(other) => other.upgrade(),
            _ => None,
        }
    }

    /// Ends directions, shutdown(2); the other end of a connection learns of it.
    pub fn shut_down(&self, receiving: bool, sending: bool) {
        let shut = |socket: &Self, receiving: bool, sending: bool| {
            let mut state = socket.state.lock();
            state.receives &= !receiving;
            state.sends &= !sending;
            drop(state);
            socket.changed.wake_all();
        };
        shut(self, receiving, sending);
        if let Some(other) = self.other().filter(|_| self.kind != SocketKind::Datagram) {
            shut(&other, sending, receiving);
        }
    }

    /// All that was sent to it, taken away.
    fn take_messages(&self) -> VecDeque<Message> {
        self.state.lock().take_messages()
    }

    /// The connections not accepted yet.
    fn pending(&self) -> Vec<Arc<Self>> {
        match &self.state.lock().role {
            Role::Listening { pending, .. } => pending.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Tells the open files that its messages carry.
    fn for_each_carried(&self, act: &mut dyn FnMut(&Arc<File>)) {
        let state = self.state.lock();
        state.messages.iter().filter_map(|message| message.rights.as_ref()).for_each(|rights| {
            rights.files().iter().for_each(&mut *act);
        });
    }
}

/// They may find room now, or that there is nobody any more.
fn wake_senders(refused: Vec<(Weak<Socket>, usize)>) {
    refused
        .iter()
        .filter_map(|(sender, _)| sender.upgrade())
        .for_each(|sender| sender.changed.wake_writers());
}

impl FileOperations for Socket {
    fn read(&self, _call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        match into.remaining() {
            0 => Ok(0),
            // Open files that come with the bytes are closed: only recvmsg(2) takes them.
            _ => self.receive(into, false).map(|received| received.length),
        }
    }

    fn write(&self, call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        self.send(None, Identity::real(call.actor), from, &mut None)
    }

    fn readiness(&self, _file: &File) -> Readiness {
        let has_room = self.has_room();
        let state = self.state.lock();
        let mut readiness = Readiness::empty();
        let is_alone = matches!(state.role, Role::Alone) && self.kind != SocketKind::Datagram;
        let has_connection = matches!(&state.role, Role::Listening { pending, .. } if !pending.is_empty());
        readiness.set(Readiness::ERROR, state.error.is_some());
        readiness.set(Readiness::HANG_UP, is_alone || (!state.receives && !state.sends));
        readiness.set(Readiness::READ_HANG_UP, !state.receives);
        readiness.set(Readiness::READABLE, !state.receives || !state.messages.is_empty() || has_connection);
        readiness.set(Readiness::WRITABLE, has_room);
        readiness
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.changed)
    }

    fn waits_for_ever(&self) -> bool {
        self.options().receive_timeout.is_none()
    }

    /// Who waits to connect holds the socket: it is told now, and so are those who were not accepted.
    fn closed(&self) {
        let mut state = self.state.lock();
        let Role::Listening { .. } = state.role else { return };
        let role = core::mem::replace(&mut state.role, Role::Alone);
        drop(state);
        drop(role);
        self.changed.wake_all();
    }

    fn control(
        &self,
        _call: Call<'_>,
        space: &AddressSpace,
        request: u32,
        argument: usize,
    ) -> Result<Answer> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY.because("a socket knows only FIONREAD"));
        }
        let state = self.state.lock();
        let lengths = state.messages.iter().map(|message| message.rest().len());
        let length: usize = match (&state.role, self.kind) {
            (Role::Listening { .. }, _) => {
                return Err(Errno::EINVAL.because("nothing is sent to a socket that listens"));
            }
            (_, SocketKind::Datagram) => lengths.take(1).sum(),
            _ => lengths.sum(),
        };
        drop(state);
        space.write(UserPointer::new(argument), &(length as i32))?;
        Ok(Answer::Value(0))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let role = core::mem::replace(&mut state.role, Role::Alone);
        let (key, messages) = (state.key.take(), core::mem::take(&mut state.messages));
        let was_cut = !messages.is_empty() || !state.accepted;
        let refused = core::mem::take(&mut state.refused);
        drop(state);
        wake_senders(refused);
        if let Some(key) = key {
            name::forget(&key);
        }
        if let Role::Connected(other) = &role
            && let Some(other) = other.upgrade()
            && self.kind != SocketKind::Datagram
        {
            let mut state = other.state.lock();
            (state.receives, state.sends) = (false, false);
            if was_cut {
                state.error = Some(Errno::ECONNRESET);
            }
            drop(state);
            other.changed.wake_all();
        }
    }
}

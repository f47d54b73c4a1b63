//! Sending and receiving.

use super::{
    Identity, Rights, Role, Socket, SocketKind, State, message::Message, name::Address, rights, wake_senders,
};
use crate::{
    abi::{Errno, Result},
    fs::File,
    mm::user::{Destination, Source},
};
use alloc::{
    collections::VecDeque,
    sync::{Arc, Weak},
    vec::Vec,
};

/// How many bytes of a stream go into one message.
const PIECE: usize = 16 * 1024;
/// What a message of a socket that keeps bounds leaves of its buffer at least.
const MARGIN: usize = 32;
/// More messages than this do not wait for one that does not know the sender, `net.unix.max_dgram_qlen`.
const MOST_WAITING: usize = 10;

/// What was received.
#[derive(Default)]
pub struct Received {
    /// Bytes.
    pub length: usize,
    /// Bytes that the message had; more than `length` when it was cut off.
    pub whole: usize,
    /// Open files that came with them.
    pub files: Vec<Arc<File>>,
    /// Who sent them; `None` at the end.
    pub sender: Option<Identity>,
    /// The name of the socket they were sent from, if it has one.
    pub source: Option<Address>,
}

impl Drop for Received {
    fn drop(&mut self) {
        rights::close(core::mem::take(&mut self.files));
    }
}

impl Socket {
    /// Sends to this socket, or to the one it is connected to; of a stream perhaps only a part. `rights` goes with the
    /// first byte.
    ///
    /// Errors: ENOTCONN; EPIPE; EPERM when the other hears somebody else; ECONNREFUSED when the other datagram socket has ended; EMSGSIZE; EAGAIN; ENOBUFS; EFAULT.
    pub fn send(
        &self,
        to: Option<&Arc<Self>>,
        sender: Identity,
        from: &mut Source<'_>,
        rights: &mut Option<Rights>,
    ) -> Result<usize> {
        let (other, buffer, source) = self.receiver(to)?;
        let keeps_bounds = self.kind != SocketKind::Stream;
        if keeps_bounds && from.remaining() > buffer.saturating_sub(MARGIN) {
            return Err(Errno::EMSGSIZE.because("a message fits into the sender's buffer"));
        }
        let mut done = 0;
        let outcome = loop {
            if from.remaining() == 0 && (done > 0 || !keeps_bounds) {
                break Ok(());
            }
            if let Err(error) = other.must_have_room(&self.this, buffer) {
                break Err(error);
            }
            let length = if keeps_bounds { from.remaining() } else { from.remaining().min(PIECE) };
            let mut message = match Message::new(from, length, sender, source.clone()) {
                Ok(message) => message,
                Err(error) => break Err(error),
            };
            message.rights = rights.take();
            let mut state = other.state.lock();
            state.weight += message.weight();
            state.messages.push_back(message);
            drop(state);
            done += length;
            if keeps_bounds {
                break Ok(());
            }
        };
        if done > 0 || outcome.is_ok() {
            other.changed.wake_readers();
        }
        match outcome {
            Err(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    /// Who receives what is sent here, how much may be underway to it, and whose name it bears.
    fn receiver(&self, to: Option<&Arc<Self>>) -> Result<(Arc<Self>, usize, Address)> {
        let mut state = self.state.lock();
        let other = match (to, &state.role) {
            (Some(to), _) => Some(to.clone()),
            (None, Role::Connected(other)) => other.upgrade(),
            _ => return Err(Errno::ENOTCONN.because("the socket is not connected")),
        };
        if !state.sends {
            return Err(Errno::EPIPE.because("nothing can be sent any more"));
        }
        match other {
            Some(other) => Ok((other, state.options.send_buffer, state.address.clone())),
            None => {
                state.role = Role::Alone;
                Err(Errno::ECONNREFUSED.because("the other socket has ended"))
            }
        }
    }

    fn must_have_room(&self, sender: &Weak<Self>, buffer: usize) -> Result<()> {
        let mut state = self.state.lock();
        state.must_hear(sender)?;
        if !state.receives {
            return Err(Errno::EPIPE.because("the other end receives nothing any more"));
        }
        if state.weight >= buffer || state.is_crowded(sender) {
            state.refuse(sender, buffer);
            return Err(Errno::EAGAIN.because("the buffer is full"));
        }
        Ok(())
    }

    /// Whether poll(2) says that something can be sent: a quarter of the buffer is used at most.
    pub(super) fn has_room(&self) -> bool {
        let buffer = match self.state.lock() {
            state if matches!(state.role, Role::Listening { .. }) => return false,
            state => state.options.send_buffer,
        };
        let Some(other) = self.other() else { return true };
        let mut state = other.state.lock();
        let has_room = state.has_room_for(&self.this, buffer);
        if !has_room {
            state.refuse(&self.this, buffer);
        }
        has_room
    }

    /// Receives: of a stream as much as is there and fits, else one message. `peek` leaves it there.
    ///
    /// Errors: EINVAL or ENOTCONN when it never was connected; EAGAIN; ECONNRESET, once, when the other end went without
    /// receiving all; EFAULT.
    pub fn receive(&self, into: &mut Destination<'_>, peek: bool) -> Result<Received> {
        let mut state = self.state.lock();
        match (&state.role, self.kind) {
            (Role::Connected(_), _) | (_, SocketKind::Datagram) => {}
            (_, SocketKind::Stream) => return Err(Errno::EINVAL.because("the socket is not connected")),
            _ => return Err(Errno::ENOTCONN.because("the socket is not connected")),
        }
        if state.messages.is_empty() {
            return match (state.error.take(), state.receives) {
                (Some(error), _) => Err(error.because("the connection was cut")),
                (None, false) => Ok(Received::default()),
                (None, true) => Err(Errno::EAGAIN.because("nothing was sent yet")),
            };
        }
        let mut received = Received::default();
        let mut rights = None;
        let outcome = match self.kind {
            SocketKind::Stream => state.receive_bytes(into, peek, &mut received, &mut rights),
            _ => state.receive_message(into, peek, &mut received, &mut rights),
        };
        let refused = core::mem::take(&mut state.refused);
        let (admitted, refused) =
            refused.into_iter().partition(|(sender, buffer)| state.has_room_for(sender, *buffer));
        state.refused = refused;
        drop(state);
        wake_senders(admitted);
        received.files.extend(rights.into_iter().flat_map(Rights::land));
        outcome.map(|()| received)
    }
}

impl State {
    fn has_room_for(&self, sender: &Weak<Socket>, buffer: usize) -> bool {
        self.weight * 4 <= buffer && !self.is_crowded(sender)
    }

    /// Whether too many messages wait here for one more of somebody that this socket is not connected to.
    fn is_crowded(&self, sender: &Weak<Socket>) -> bool {
        let is_connected = matches!(&self.role, Role::Connected(other) if other.ptr_eq(sender));
        !is_connected && self.messages.len() > MOST_WAITING
    }

    fn refuse(&mut self, sender: &Weak<Socket>, buffer: usize) {
        self.refused.retain(|(other, _)| !other.ptr_eq(sender) && other.strong_count() > 0);
        self.refused.push((sender.clone(), buffer));
    }

    /// Errors: EPERM when it is connected to another.
    pub(super) fn must_hear(&self, sender: &Weak<Socket>) -> Result<()> {
        match &self.role {
            Role::Connected(other) if !other.ptr_eq(sender) => {
                Err(Errno::EPERM.because("the other socket hears only the one it is connected to"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn take_messages(&mut self) -> VecDeque<Message> {
        self.weight = 0;
        core::mem::take(&mut self.messages)
    }

    fn remove_first(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.weight -= message.weight();
        Some(message)
    }

    fn receive_message(
        &mut self,
        into: &mut Destination<'_>,
        peek: bool,
        received: &mut Received,
        rights: &mut Option<Rights>,
    ) -> Result<()> {
        let Some(message) = self.messages.front() else { return Ok(()) };
        received.whole = message.rest().len();
        let put = if received.whole > 0 && into.remaining() > 0 { into.put(message.rest()) } else { Ok(0) };
        received.length = *put.as_ref().unwrap_or(&0);
        received.sender = Some(message.sender);
        received.source = Some(message.source.clone());
        if peek {
            received.files.extend(message.rights.iter().flat_map(|rights| rights.files().iter().cloned()));
        } else {
            *rights = self.remove_first().and_then(|message| message.rights);
        }
        // A message that could not be put where it was to go is gone all the same.
        put.map(|_| ())
    }

    /// Goes on from one message to the next, until one that carries files; or, if senders are told, is another's.
    fn receive_bytes(
        &mut self,
        into: &mut Destination<'_>,
        peek: bool,
        received: &mut Received,
        rights: &mut Option<Rights>,
    ) -> Result<()> {
        let mut index = 0;
        while let Some(message) = self.messages.get_mut(index) {
            if self.options.tells_senders && received.sender.is_some_and(|sender| sender != message.sender) {
                break;
            }
            let wanted = message.rest().len().min(into.remaining());
            let count = match if wanted > 0 { into.put(&message.rest()[..wanted]) } else { Ok(0) } {
                Ok(count) => count,
                Err(error) if received.length == 0 => return Err(error),
                Err(_) => break,
            };
            received.length += count;
            received.sender.get_or_insert(message.sender);
            received.source.get_or_insert_with(|| message.source.clone());
            let is_all = count == message.rest().len();
            let carries_files = message.rights.is_some();
            if peek {
                let files = message.rights.iter().flat_map(|rights| rights.files().iter().cloned());
                received.files.extend(files);
                index += 1;
            } else {
                message.advance(count);
                *rights = message.rights.take();
                if is_all {
                    self.remove_first();
                }
            }
            if !is_all || carries_files || into.remaining() == 0 {
                break;
            }
        }
        received.whole = received.length;
        Ok(())
    }
}

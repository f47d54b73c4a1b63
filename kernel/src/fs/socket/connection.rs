//! How two sockets come to know each other: bind(2), listen(2), connect(2), accept(2).
//!
//! A connection is made by who connects: it makes the socket at the other end, which accept(2) only takes out. For a
//! datagram socket to connect means only to choose whom it sends to, and whom it hears.

use super::{
    Identity, Role, Socket, SocketKind,
    name::{self, Address, Key},
};
use crate::{
    abi::{Errno, Result},
    fs::Actor,
};
use alloc::{collections::VecDeque, sync::Arc};

/// The most connections that wait to be accepted, `net.core.somaxconn`.
const MOST_PENDING: u32 = 4096;

fn not_connection_based() -> Errno {
    Errno::EOPNOTSUPP.because("a datagram socket has no connections")
}

impl Socket {
    /// Errors: EINVAL when it has a name.
    pub fn must_be_nameless(&self) -> Result<()> {
        match self.state.lock().address {
            Address::Any => Ok(()),
            _ => Err(Errno::EINVAL.because("the socket has a name already")),
        }
    }

    /// Gives it a name, with the object that was made for it if it is a path. Errors: EINVAL, EADDRINUSE.
    pub fn bind(self: &Arc<Self>, address: Address, object: Option<Key>) -> Result<()> {
        self.must_be_nameless()?;
        let (key, address) = match (&address, object) {
            (Address::Abstract(bytes), _) => (Key::Abstract(self.kind, bytes.clone()), address),
            (Address::Path(_), Some(key)) => (key, address),
            _ => {
                let (key, address) = name::bind_anywhere(self)?;
                let mut state = self.state.lock();
                (state.key, state.address) = (Some(key), address);
                return Ok(());
            }
        };
        name::bind(&key, self)?;
        let mut state = self.state.lock();
        (state.key, state.address) = (Some(key), address);
        Ok(())
    }

    /// Lets others connect; more than `backlog` beyond the first wait for that.
    ///
    /// Errors: EOPNOTSUPP for datagrams; EINVAL when it has no name, or is connected.
    pub fn listen(&self, backlog: u32, actor: &dyn Actor) -> Result<()> {
        if self.kind == SocketKind::Datagram {
            return Err(not_connection_based());
        }
        let mut state = self.state.lock();
        if state.address == Address::Any {
            return Err(Errno::EINVAL.because("only a socket with a name can be connected to"));
        }
        let new = backlog.min(MOST_PENDING) as usize;
        match &mut state.role {
            Role::Connected(_) => return Err(Errno::EINVAL.because("the socket is connected")),
            Role::Listening { most, .. } => *most = new,
            Role::Alone => state.role = Role::Listening { pending: VecDeque::new(), most: new },
        }
        state.peer = Some(Identity::effective(actor));
        drop(state);
        self.changed.wake_all();
        Ok(())
    }

    /// Makes the other end at a socket that listens.
    ///
    /// Errors: EISCONN; EINVAL when it listens itself; ECONNREFUSED; EAGAIN when as many wait as may.
    pub fn connect(self: &Arc<Self>, listener: &Arc<Self>, actor: &dyn Actor) -> Result<()> {
        let own_address = {
            let state = self.state.lock();
            match state.role {
                Role::Alone => {}
                Role::Listening { .. } => return Err(Errno::EINVAL.because("the socket listens")),
                Role::Connected(_) => return Err(Errno::EISCONN.because("the socket is connected")),
            }
            state.address.clone()
        };
        let (identity, address) = {
            let mut state = listener.state.lock();
            let receives = state.receives;
            let (identity, address) = (state.peer, state.address.clone());
            let (Role::Listening { pending, most }, true, Some(identity)) =
                (&mut state.role, receives, identity)
            else {
                return Err(Errno::ECONNREFUSED.because("the socket does not listen"));
            };
            if pending.len() > *most {
                return Err(Errno::EAGAIN.because("as many connections wait to be accepted as may"));
            }
            let other = Self::new(self.kind);
            {
                let mut state = other.state.lock();
                state.role = Role::Connected(Arc::downgrade(self));
                state.peer = Some(Identity::effective(actor));
                state.peer_address = own_address;
                state.address = address.clone();
                state.accepted = false;
            }
            pending.push_back(other.clone());
            drop(state);
            self.state.lock().role = Role::Connected(Arc::downgrade(&other));
            (identity, address)
        };
        {
            let mut state = self.state.lock();
            (state.peer, state.peer_address) = (Some(identity), address);
        }
        listener.changed.wake_readers();
        self.changed.wake_all();
        Ok(())
    }

    /// Chooses whom a datagram socket sends to and hears from now on; `None`: whomever it says, and all. What another had
    /// sent is lost, and the other is told. Errors: EPERM when the new one hears somebody else.
    pub fn connect_datagrams(&self, to: Option<&Arc<Self>>) -> Result<()> {
        let role = match to {
            Some(to) => {
                to.state.lock().must_hear(&self.this)?;
                Role::Connected(Arc::downgrade(to))
            }
            None => Role::Alone,
        };
        let address = to.map_or(Address::Any, |to| to.address());
        let old = self.other();
        let mut state = self.state.lock();
        (state.role, state.peer_address) = (role, address);
        let Some(old) = old.filter(|old| to.is_none_or(|to| !Arc::ptr_eq(old, to))) else { return Ok(()) };
        let lost = state.take_messages();
        drop(state);
        let mut state = old.state.lock();
        if !lost.is_empty() && matches!(&state.role, Role::Connected(other) if other.ptr_eq(&self.this)) {
            state.error = Some(Errno::ECONNRESET);
        }
        drop(state);
        old.changed.wake_all();
        Ok(())
    }

    /// Takes the next connection. Errors: EOPNOTSUPP for datagrams; EINVAL when it does not listen; EAGAIN.
    pub fn accept(&self) -> Result<Arc<Self>> {
        if self.kind == SocketKind::Datagram {
            return Err(not_connection_based());
        }
        let mut state = self.state.lock();
        let receives = state.receives;
        let Role::Listening { pending, .. } = &mut state.role else {
            return Err(Errno::EINVAL.because("the socket does not listen"));
        };
        let Some(accepted) = pending.pop_front() else {
            return Err(match receives {
                true => Errno::EAGAIN.because("there is no connection to accept"),
                false => Errno::EINVAL.because("the socket takes no more connections"),
            });
        };
        drop(state);
        self.changed.wake_writers();
        accepted.state.lock().accepted = true;
        Ok(accepted)
    }
}

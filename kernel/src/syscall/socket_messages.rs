//! What goes through sockets: send(2), recv(2), and messages with open files and credentials, unix(7).

use super::{
    Caller,
    descriptors::install,
    file_io::{may_wait, patiently},
    sockets::{Shown, address, find, open_socket, socket_of},
};
use crate::{
    abi::{Errno, Result, Signal, UserPointer, linux, net},
    fs::{
        Actor, Descriptor, File,
        socket::{Identity, MOST_IN_MESSAGE, Rights, Socket, SocketKind, name::Address, transfer::Received},
    },
    mm::{
        AddressSpace, reserve,
        user::{Destination, IoVector, Source},
    },
    ns::Capability,
    task::{table, wait::unless_again},
};
use alloc::{sync::Arc, vec::Vec};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct msghdr`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    address: usize,
    address_length: i32,
    padding: u32,
    vectors: usize,
    vector_count: usize,
    control: usize,
    control_length: usize,
    flags: u32,
    padding_2: u32,
}

/// `struct cmsghdr`
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct ControlHeader {
    /// Bytes, with this.
    length: usize,
    level: u32,
    kind: u32,
}

const CONTROL_HEADER: usize = size_of::<ControlHeader>();
/// The most bytes of control information, `net.core.optmem_max`.
const MOST_CONTROL: usize = 131_072;

/// What goes with a message.
struct Extras {
    sender: Identity,
    rights: Option<Rights>,
}

impl Extras {
    fn none(caller: &Caller<'_>) -> Self {
        Self { sender: Identity::real(caller.task), rights: None }
    }

    /// From the control information of sendmsg(2).
    ///
    /// Errors: ENOBUFS when it is too long; EINVAL; EBADF; ETOOMANYREFS; EPERM for credentials of others.
    fn read(caller: &Caller<'_>, start: usize, length: usize) -> Result<Self> {
        let mut extras = Self::none(caller);
        if length > MOST_CONTROL {
            return Err(Errno::ENOBUFS.because("control information is bounded"));
        }
        let mut files = Vec::new();
        let mut offset = 0;
        while length - offset >= CONTROL_HEADER {
            let header: ControlHeader = caller.space.read(UserPointer::new(start + offset))?;
            if header.length < CONTROL_HEADER || header.length > length - offset {
                return Err(Errno::EINVAL.because("a piece of control information lies within it"));
            }
            let data = start + offset + CONTROL_HEADER;
            let data_length = header.length - CONTROL_HEADER;
            match (header.level, header.kind) {
                (net::SOL_SOCKET, net::SCM_RIGHTS) => take_files(caller, data, data_length, &mut files)?,
                (net::SOL_SOCKET, net::SCM_CREDENTIALS) if data_length == size_of::<Shown>() => {
                    extras.sender = named(caller, caller.space.read(UserPointer::new(data))?)?;
                }
                (net::SOL_SOCKET, _) => {
                    return Err(Errno::EINVAL.because("files and credentials go with a message"));
                }
                _ => {}
            }
            offset = (offset + header.length.next_multiple_of(align_of::<usize>())).min(length);
        }
        if !files.is_empty() {
            extras.rights = Some(Rights::new(files, caller.task.limit(linux::RLIMIT_NOFILE))?);
        }
        Ok(extras)
    }
}

fn take_files(caller: &Caller<'_>, data: usize, length: usize, files: &mut Vec<Arc<File>>) -> Result<()> {
    let count = length / size_of::<i32>();
    if files.len() + count > MOST_IN_MESSAGE {
        return Err(Errno::EINVAL.because("a message carries at most 253 files"));
    }
    let table = caller.files()?;
    for number in caller.space.read_array::<i32>(UserPointer::new(data), count)? {
        files.push(table.get_any(Descriptor(number))?);
    }
    Ok(())
}

/// Credentials that a program says are its own. Errors: EPERM, ESRCH, EINVAL.
fn named(caller: &Caller<'_>, said: Shown) -> Result<Identity> {
    let credentials = caller.credentials();
    let namespace = &credentials.user_namespace;
    let (Some(uid), Some(gid)) = (namespace.user(said.uid), namespace.group(said.gid)) else {
        return Err(Errno::EINVAL.because("the ids have no place in the user namespace"));
    };
    let may = |own: bool, capability| own || credentials.capable(capability);
    let own_user = [credentials.uid, credentials.euid, credentials.suid].contains(&uid);
    let own_group = [credentials.gid, credentials.egid, credentials.sgid].contains(&gid);
    let own_process = said.process == caller.task.process_id();
    if !may(own_process, Capability::SYS_ADMIN)
        || !may(own_user, Capability::SETUID)
        || !may(own_group, Capability::SETGID)
    {
        return Err(Errno::EPERM.because("who sends says who it is itself"));
    }
    if !own_process && table::process(said.process).is_none() {
        return Err(Errno::ESRCH.because("there is no such process"));
    }
    Ok(Identity { process: said.process, uid, gid })
}

/// Sends, waiting if need be. `make` makes the source: a failed attempt may have looked at the bytes.
async fn sending<'a>(
    caller: &mut Caller<'_>,
    file: &File,
    to: Option<Arc<Socket>>,
    flags: u32,
    mut extras: Extras,
    make: impl Fn() -> Result<Source<'a>>,
) -> Result<usize> {
    let socket = socket_of(file)?;
    if flags & net::MSG_OOB != 0 {
        return Err(Errno::EOPNOTSUPP.because("there are no urgent bytes"));
    }
    let waits = may_wait(file) && flags & net::MSG_DONTWAIT == 0;
    // Who waits for room does not keep the receiver: that it has ended is one thing to wait for.
    let to = to.map(|to| Arc::downgrade(&to));
    let gone = || Errno::ECONNREFUSED.because("the receiver has ended");
    let mut source = make()?;
    let mut done = 0;
    let mut attempt = || loop {
        if done == 0 {
            source = make()?;
        }
        let to = to.as_ref().map(|to| to.upgrade().ok_or_else(gone)).transpose()?;
        match socket.send(to.as_ref(), extras.sender, &mut source, &mut extras.rights) {
            Ok(count) => {
                done += count;
                if source.remaining() == 0 || !waits {
                    return Ok(done);
                }
            }
            Err(Errno::EAGAIN) if waits => return Err(Errno::EAGAIN),
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(error),
        }
    };
    let outcome = match attempt() {
        Err(Errno::EAGAIN) if waits => {
            let (queue, timeout) = (socket.changed(), socket.options().send_timeout);
            match patiently(caller.task, caller.user, queue, timeout, || unless_again(attempt())).await {
                Err(_) if done > 0 => return Ok(done),
                outcome => outcome.flatten(),
            }
        }
        outcome => outcome,
    };
    let is_broken = outcome == Err(Errno::EPIPE) && socket.kind() == SocketKind::Stream;
    if is_broken && flags & net::MSG_NOSIGNAL == 0 {
        caller.task.raise(Signal::SIGPIPE);
    }
    outcome
}

/// Who has the address that something is to be sent to; `None`: who the socket is connected to.
///
/// Errors: EISCONN, EOPNOTSUPP, ENOTCONN; EINVAL; those of [`find`].
fn destination(caller: &Caller<'_>, file: &File, pointer: usize, length: u32) -> Result<Option<Arc<Socket>>> {
    if pointer == 0 || length == 0 {
        return Ok(None);
    }
    let address = address(caller, pointer, length)?;
    let socket = socket_of(file)?;
    Err(match (socket.kind(), socket.peer_address()) {
        (SocketKind::Datagram, _) => return find(caller, SocketKind::Datagram, address).map(Some),
        // A sequence of packets goes to who is connected, whatever the address.
        (SocketKind::SequencedPackets, Ok(_)) => return Ok(None),
        (_, Ok(_)) => Errno::EISCONN.because("a connected socket sends to who it is connected to"),
        (SocketKind::SequencedPackets, Err(_)) => Errno::ENOTCONN.because("the socket is not connected"),
        (_, Err(_)) => Errno::EOPNOTSUPP.because("a stream has no other address than its connection's"),
    })
}

/// sendto(2)
pub async fn sendto(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    buffer: usize,
    length: usize,
    flags: u32,
    pointer: usize,
    address_length: u32,
) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    let to = destination(caller, &file, pointer, address_length)?;
    let (space, extras) = (caller.space.clone(), Extras::none(caller));
    sending(caller, &file, to, flags, extras, || Source::user(&space, buffer, length)).await
}

/// sendmsg(2)
pub async fn sendmsg(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    header: UserPointer<Header>,
    flags: u32,
) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    let header: Header = caller.space.read(header)?;
    let to = destination(caller, &file, header.address, header.address_length as u32)?;
    reserve::check()?;
    let extras = Extras::read(caller, header.control, header.control_length)?;
    let space = caller.space.clone();
    let vectors = UserPointer::<IoVector>::new(header.vectors);
    sending(caller, &file, to, flags, extras, || Source::vectors(&space, vectors, header.vector_count)).await
}

/// Receives, waiting if need be.
async fn receiving<'a>(
    caller: &mut Caller<'_>,
    file: &File,
    flags: u32,
    make: impl Fn() -> Result<Destination<'a>>,
) -> Result<Received> {
    let socket = socket_of(file)?;
    if flags & net::MSG_OOB != 0 {
        return Err(Errno::EOPNOTSUPP.because("there are no urgent bytes"));
    }
    let waits = may_wait(file) && flags & net::MSG_DONTWAIT == 0;
    let peek = flags & net::MSG_PEEK != 0;
    let waits_for_all = flags & net::MSG_WAITALL != 0 && !peek && socket.kind() == SocketKind::Stream;
    let mut into = make()?;
    let mut attempt = || socket.receive(&mut into, peek);
    let mut received = match attempt() {
        Err(Errno::EAGAIN) if waits => later(caller, &socket, &mut attempt).await?,
        outcome => outcome?,
    };
    // MSG_WAITALL: until it is full, or the end, or files have come, or a signal.
    let is_last = |piece: &Received| piece.length == 0 || !piece.files.is_empty();
    let mut ended = is_last(&received);
    while waits_for_all && waits && !ended && into.remaining() > 0 {
        let mut attempt = || socket.receive(&mut into, peek);
        let Ok(mut more) = later(caller, &socket, &mut attempt).await else { break };
        ended = is_last(&more);
        received.length += more.length;
        received.whole = received.length;
        received.files.append(&mut more.files);
    }
    Ok(received)
}

async fn later(
    caller: &mut Caller<'_>,
    socket: &Socket,
    attempt: &mut (impl FnMut() -> Result<Received> + Send),
) -> Result<Received> {
    let (queue, timeout) = (socket.changed(), socket.options().receive_timeout);
    patiently(caller.task, caller.user, queue, timeout, || unless_again(attempt())).await?
}

/// What receiving returns, and the flags that tell of it.
fn result(socket: &Socket, received: &Received, flags: u32) -> (usize, u32) {
    let was_cut = received.whole > received.length && socket.kind() != SocketKind::Stream;
    let told = if was_cut { net::MSG_TRUNC } else { 0 };
    match flags & net::MSG_TRUNC {
        0 => (received.length, told),
        _ => (received.whole, told),
    }
}

/// Tells who a message came from: its socket's name, if it has one. Gives the length.
fn tell_source(space: &AddressSpace, received: &Received, pointer: usize, room: i32) -> Result<i32> {
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL.because("a length is not negative"))?;
    let Some(address) = received.source.as_ref().filter(|source| **source != Address::Any) else {
        return Ok(0);
    };
    let address = address.encode();
    space.write_bytes(pointer, &address[..room.min(address.len())])?;
    Ok(address.len() as i32)
}

/// recvfrom(2)
pub async fn recvfrom(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    buffer: usize,
    length: usize,
    flags: u32,
    pointer: usize,
    address_length: UserPointer<i32>,
) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    let space = caller.space.clone();
    let received = receiving(caller, &file, flags, || Destination::user(&space, buffer, length)).await?;
    let socket = socket_of(&file)?;
    if pointer != 0 {
        let told = tell_source(&space, &received, pointer, space.read(address_length)?)?;
        space.write(address_length, &told)?;
    }
    Ok(result(&socket, &received, flags).0)
}

/// recvmsg(2)
pub async fn recvmsg(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    pointer: UserPointer<Header>,
    flags: u32,
) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    let space = caller.space.clone();
    let mut header: Header = space.read(pointer)?;
    let vectors = UserPointer::<IoVector>::new(header.vectors);
    let mut received =
        receiving(caller, &file, flags, || Destination::vectors(&space, vectors, header.vector_count))
            .await?;
    let socket = socket_of(&file)?;
    if header.address != 0 {
        header.address_length = tell_source(&space, &received, header.address, header.address_length)?;
    }
    let (length, told) = result(&socket, &received, flags);
    header.flags = told | flags & net::MSG_CMSG_CLOEXEC;
    let mut control =
        Control { space: &space, next: header.control, room: header.control_length, cut: false };
    if let Some(sender) = received.sender.filter(|_| socket.options().tells_senders) {
        let shown = Shown::new(sender, &caller.credentials());
        control.put(net::SCM_CREDENTIALS, shown.as_bytes());
    }
    give_files(caller, core::mem::take(&mut received.files), flags, &mut control);
    if control.cut {
        header.flags |= net::MSG_CTRUNC;
    }
    header.control_length -= control.room;
    space.write(pointer, &header)?;
    Ok(length)
}

/// The room for control information in a program's memory.
struct Control<'a> {
    space: &'a AddressSpace,
    next: usize,
    room: usize,
    /// Not all had room.
    cut: bool,
}

impl Control<'_> {
    /// One piece more; as much of it as there is room for. The message has been taken: room that is not there changes
    /// nothing about that.
    fn put(&mut self, kind: u32, data: &[u8]) {
        if self.room < CONTROL_HEADER {
            self.cut = true;
            return;
        }
        let whole = CONTROL_HEADER + data.len();
        let length = whole.min(self.room);
        self.cut |= length < whole;
        let header = ControlHeader { length, level: net::SOL_SOCKET, kind };
        let written = self.space.write(UserPointer::new(self.next), &header).and_then(|()| {
            self.space.write_bytes(self.next + CONTROL_HEADER, &data[..length - CONTROL_HEADER])
        });
        if written.is_err() {
            return;
        }
        let used = whole.next_multiple_of(align_of::<usize>()).min(self.room);
        self.next += used;
        self.room -= used;
    }
}

/// Gives the caller descriptors for the files that came, as many as there is room to tell of.
fn give_files(caller: &Caller<'_>, files: Vec<Arc<File>>, flags: u32, control: &mut Control<'_>) {
    if files.is_empty() {
        return;
    }
    let close_on_exec = flags & net::MSG_CMSG_CLOEXEC != 0;
    let room = control.room.saturating_sub(CONTROL_HEADER) / size_of::<i32>();
    // Nobody is given a descriptor that he cannot be told of.
    let can_tell =
        control.space.clear(control.next, CONTROL_HEADER + room.min(files.len()) * size_of::<i32>());
    let most = if room > 0 && can_tell.is_ok() { room } else { 0 };
    let mut numbers: Vec<u8> = Vec::new();
    let count = files.len();
    let mut left = files;
    while let Some(file) =
        (numbers.len() / size_of::<i32>() < most && !left.is_empty()).then(|| left.remove(0))
    {
        let Ok(number) = install(caller, file, close_on_exec) else { break };
        numbers.extend_from_slice(&(number as i32).to_ne_bytes());
    }
    control.cut |= numbers.len() / size_of::<i32>() < count;
    let mut unseen = Received::default();
    unseen.files = left;
    drop(unseen);
    if !numbers.is_empty() {
        control.put(net::SCM_RIGHTS, &numbers);
    }
}

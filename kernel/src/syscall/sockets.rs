//! Sockets: socket(2), bind(2), connect(2), accept(2) and what is asked and set of them.

use super::{
    Caller,
    descriptors::{install, install_pair},
    file_io::{may_wait, patiently},
};
use crate::{
    abi::{Errno, Result, Timeval, UserPointer, linux, net},
    fs::{
        Actor, Descriptor, File, Kind, LastLink, OpenFlags, Walk,
        naming::{self, Making},
        permission::Wanted,
        socket::{
            Identity, Socket, SocketKind,
            name::{self, Address, FAMILY, Key},
        },
    },
    mm::reserve,
    ns::{Credentials, credentials::OVERFLOW_ID},
    sync::WaitQueue,
    task::wait::unless_again,
};
use alloc::{sync::Arc, vec::Vec};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// SOCK_NONBLOCK and SOCK_CLOEXEC are O_NONBLOCK and O_CLOEXEC.
const FLAGS: u32 = linux::O_NONBLOCK | linux::O_CLOEXEC;
/// The bits of a type that are not flags, SOCK_TYPE_MASK.
const TYPE: u32 = 0xf;

fn closes_on_exec(flags: u32) -> bool {
    flags & linux::O_CLOEXEC != 0
}

/// `struct ucred`
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Shown {
    pub process: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Shown {
    /// As the caller's user namespace names them.
    pub fn new(identity: Identity, viewer: &Credentials) -> Self {
        let namespace = &viewer.user_namespace;
        Self {
            process: identity.process,
            uid: namespace.shown_user(identity.uid).unwrap_or(OVERFLOW_ID),
            gid: namespace.shown_group(identity.gid).unwrap_or(OVERFLOW_ID),
        }
    }
}

/// An open file, which is to be a socket. Errors: EBADF, ENOTSOCK.
pub fn open_socket(caller: &Caller<'_>, descriptor: Descriptor) -> Result<Arc<File>> {
    let file = caller.files()?.get(descriptor)?;
    socket_of(&file)?;
    Ok(file)
}

/// The socket that an open file is. Errors: ENOTSOCK.
pub fn socket_of(file: &File) -> Result<Arc<Socket>> {
    let any: Arc<dyn core::any::Any + Send + Sync> = file.operations().clone();
    any.downcast().map_err(|_| Errno::ENOTSOCK.because("the file is no socket"))
}

/// The kind that socket(2)'s numbers ask for. Errors: EINVAL, EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT.
fn kind_of(family: u32, kind: u32, protocol: u32) -> Result<SocketKind> {
    if kind & !(FLAGS | TYPE) != 0 {
        return Err(Errno::EINVAL.because("a socket's type has two flags"));
    }
    if family != net::AF_UNIX {
        return Err(Errno::EAFNOSUPPORT.because("there are only UNIX sockets"));
    }
    if protocol != 0 && protocol != net::AF_UNIX {
        return Err(Errno::EPROTONOSUPPORT.because("UNIX sockets have no protocols"));
    }
    SocketKind::from_number(kind & TYPE)
        .ok_or_else(|| Errno::ESOCKTNOSUPPORT.because("UNIX sockets are of three types"))
}

/// socket(2)
pub fn socket(caller: &mut Caller<'_>, family: u32, kind: u32, protocol: u32) -> Result<usize> {
    let sort = kind_of(family, kind, protocol)?;
    reserve::check()?;
    let file = Socket::new(sort).open(OpenFlags::from_bits_retain(kind), caller.task)?;
    install(caller, file, closes_on_exec(kind))
}

/// socketpair(2)
pub fn socketpair(
    caller: &mut Caller<'_>,
    family: u32,
    kind: u32,
    protocol: u32,
    pair: UserPointer<[i32; 2]>,
) -> Result<usize> {
    let sort = kind_of(family, kind, protocol)?;
    reserve::check()?;
    let [one, other] = Socket::pair(sort, caller.task)
        .map(|socket| socket.open(OpenFlags::from_bits_retain(kind), caller.task));
    install_pair(caller, [one?, other?], closes_on_exec(kind), pair)
}

/// An address in a program's memory. Errors: EINVAL, EFAULT.
pub fn address(caller: &Caller<'_>, pointer: usize, length: u32) -> Result<Address> {
    /// `struct sockaddr_storage`
    const MOST: usize = 128;
    if length as usize > MOST {
        return Err(Errno::EINVAL.because("an address has at most 128 bytes"));
    }
    let bytes: Vec<u8> = caller.space.read_array(UserPointer::new(pointer), length as usize)?;
    Address::decode(&bytes)
}

/// Tells an address: as much as there is room for, and the length that it has.
fn tell_address(
    caller: &Caller<'_>,
    address: &Address,
    pointer: usize,
    length: UserPointer<i32>,
) -> Result<()> {
    let room = usize::try_from(caller.space.read(length)?)
        .map_err(|_| Errno::EINVAL.because("a length is not negative"))?;
    let bytes = address.encode();
    caller.space.write_bytes(pointer, &bytes[..room.min(bytes.len())])?;
    caller.space.write(length, &(bytes.len() as i32))
}

/// bind(2)
pub fn bind(caller: &mut Caller<'_>, descriptor: Descriptor, pointer: usize, length: u32) -> Result<usize> {
    const ALL_PERMISSIONS: u16 = 0o777;
    let file = open_socket(caller, descriptor)?;
    let address = address(caller, pointer, length)?;
    let socket = socket_of(&file)?;
    let Address::Path(path) = &address else { return socket.bind(address, None).map(|()| 0) };
    reserve::check()?;
    socket.must_be_nameless()?;
    let context = caller.filesystem()?;
    let permissions = ALL_PERMISSIONS & !context.umask();
    let mut walk = Walk::new(caller.task, &context);
    let parent = walk.find_parent(path)?;
    let made = naming::make(&walk, &parent, Making::plain(Kind::Socket, permissions));
    let object = made.map_err(|error| match error {
        Errno::EEXIST => Errno::EADDRINUSE.because("the name is taken"),
        error => error,
    })?;
    socket.bind(address, Some(Key::of(&**object.inode()))).map(|()| 0)
}

/// listen(2)
pub fn listen(caller: &mut Caller<'_>, descriptor: Descriptor, backlog: u32) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    socket_of(&file)?.listen(backlog, caller.task).map(|()| 0)
}

/// Waits for what an attempt says has to be waited for by EAGAIN, if the file is one to wait for.
async fn unless_waiting<T>(
    caller: &mut Caller<'_>,
    file: &File,
    queue: &WaitQueue,
    timeout: Option<i64>,
    attempt: impl Fn() -> Result<T>,
) -> Result<T> {
    match attempt() {
        Err(Errno::EAGAIN) if may_wait(file) => {
            patiently(caller.task, caller.user, queue, timeout, || unless_again(attempt())).await?
        }
        outcome => outcome,
    }
}

/// connect(2)
pub async fn connect(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    pointer: usize,
    length: u32,
) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    let socket = socket_of(&file)?;
    let is_datagram = socket.kind() == SocketKind::Datagram;
    if is_datagram && names_nobody(caller, pointer, length)? {
        return socket.connect_datagrams(None).map(|()| 0);
    }
    let address = address(caller, pointer, length)?;
    reserve::check()?;
    let other = find(caller, socket.kind(), address)?;
    if is_datagram {
        return socket.connect_datagrams(Some(&other)).map(|()| 0);
    }
    let (task, timeout) = (caller.task, socket.options().send_timeout);
    unless_waiting(caller, &file, other.changed(), timeout, || socket.connect(&other, task)).await.map(|()| 0)
}

/// Whether an address is of the family AF_UNSPEC, by which datagram sockets lose a connection.
fn names_nobody(caller: &Caller<'_>, pointer: usize, length: u32) -> Result<bool> {
    Ok(length as usize >= FAMILY && caller.space.read::<u16>(UserPointer::new(pointer))? == 0)
}

/// The socket that has this address, of this kind. Errors: those of [`key_of`]; ECONNREFUSED; EPROTOTYPE.
pub fn find(caller: &Caller<'_>, kind: SocketKind, address: Address) -> Result<Arc<Socket>> {
    let other = name::find(&key_of(caller, kind, address)?)?;
    if other.kind() != kind {
        return Err(Errno::EPROTOTYPE.because("both sockets are of one type"));
    }
    Ok(other)
}

/// What a socket with this address is found under. Errors: those of the walk; EACCES; ECONNREFUSED; EINVAL.
fn key_of(caller: &Caller<'_>, kind: SocketKind, address: Address) -> Result<Key> {
    match address {
        Address::Any => Err(Errno::EINVAL.because("an empty address is nobody's")),
        Address::Abstract(name) => Ok(Key::Abstract(kind, name)),
        Address::Path(path) => {
            let mut walk = Walk::new(caller.task, &*caller.filesystem()?);
            let place = walk.find(&path, LastLink::Follow)?;
            place.inode().permits(Wanted::WRITE, &caller.credentials(), caller.task)?;
            match place.inode().kind() {
                Kind::Socket => Ok(Key::of(&**place.inode())),
                _ => Err(Errno::ECONNREFUSED.because("the name is no socket's")),
            }
        }
    }
}

/// accept(2)
pub async fn accept(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    pointer: usize,
    length: UserPointer<i32>,
) -> Result<usize> {
    accept4(caller, descriptor, pointer, length, 0).await
}

/// accept4(2)
pub async fn accept4(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    pointer: usize,
    length: UserPointer<i32>,
    flags: u32,
) -> Result<usize> {
    super::places::only(flags, FLAGS)?;
    let file = open_socket(caller, descriptor)?;
    let socket = socket_of(&file)?;
    reserve::check()?;
    // A connection stays where it is until there is a descriptor for it.
    let (files, limit) = (caller.files()?, caller.task.limit(linux::RLIMIT_NOFILE));
    let accept = || files.must_have_room(limit).and_then(|()| socket.accept());
    let timeout = socket.options().receive_timeout;
    let accepted = unless_waiting(caller, &file, socket.changed(), timeout, accept).await?;
    if pointer != 0 {
        tell_address(caller, &accepted.peer_address()?, pointer, length)?;
    }
    let file = accepted.open(OpenFlags::from_bits_retain(flags), caller.task)?;
    install(caller, file, closes_on_exec(flags))
}

/// getsockname(2)
pub fn getsockname(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    pointer: usize,
    length: UserPointer<i32>,
) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    tell_address(caller, &socket_of(&file)?.address(), pointer, length).map(|()| 0)
}

/// getpeername(2)
pub fn getpeername(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    pointer: usize,
    length: UserPointer<i32>,
) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    tell_address(caller, &socket_of(&file)?.peer_address()?, pointer, length).map(|()| 0)
}

/// shutdown(2)
pub fn shutdown(caller: &mut Caller<'_>, descriptor: Descriptor, how: u32) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    // SHUT_RD, SHUT_WR, SHUT_RDWR: one less than the bits of what is shut.
    let (receiving, sending) = match how {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::EINVAL.because("there are two directions to shut down")),
    };
    socket_of(&file)?.shut_down(receiving, sending);
    Ok(0)
}

/// What is counted of a buffer is twice what was asked for, socket(7), within these bounds: the least for sending and
/// for receiving, and the most.
const LEAST_BUFFERS: [usize; 2] = [4608, 2304];
const MOST_BUFFER: usize = 2 * 212_992;

/// Options of any socket that programs set and UNIX sockets only keep.
const WITHOUT_EFFECT: [u32; 3] = [net::SO_REUSEADDR, net::SO_KEEPALIVE, net::SO_BROADCAST];

/// setsockopt(2)
pub fn setsockopt(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    level: u32,
    option: u32,
    value: UserPointer<i32>,
    length: u32,
) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    let socket = socket_of(&file)?;
    if level != net::SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP.because("a UNIX socket has options of the socket level only"));
    }
    if (length as usize) < size_of::<i32>() {
        return Err(Errno::EINVAL.because("the value of an option is an int"));
    }
    if let net::SO_RCVTIMEO | net::SO_SNDTIMEO = option {
        let timeout = read_timeout(caller, value, length)?;
        socket.set_options(|options| match option {
            net::SO_RCVTIMEO => options.receive_timeout = timeout,
            _ => options.send_timeout = timeout,
        });
        return Ok(0);
    }
    let value: i32 = caller.space.read(value)?;
    let buffer = |least: usize| (value as u32 as usize).saturating_mul(2).clamp(least, MOST_BUFFER);
    match option {
        net::SO_PASSCRED => socket.set_options(|options| options.tells_senders = value != 0),
        option if WITHOUT_EFFECT.contains(&option) => socket.set_options(|options| {
            options.others = options.others & !(1 << option) | u32::from(value != 0) << option;
        }),
        net::SO_SNDBUF => socket.set_options(|options| options.send_buffer = buffer(LEAST_BUFFERS[0])),
        net::SO_RCVBUF => socket.set_options(|options| options.receive_buffer = buffer(LEAST_BUFFERS[1])),
        _ => return Err(Errno::ENOPROTOOPT.because("the option cannot be set")),
    }
    Ok(0)
}

/// How long to wait, of a `struct timeval`: as long as it takes if it is zero, not at all if it is negative.
///
/// Errors: EINVAL when it is too short; EDOM; EFAULT.
fn read_timeout(caller: &Caller<'_>, value: UserPointer<i32>, length: u32) -> Result<Option<i64>> {
    if (length as usize) < size_of::<Timeval>() {
        return Err(Errno::EINVAL.because("the value of a timeout is a timeval"));
    }
    let time: Timeval = caller.space.read(UserPointer::new(value.address()))?;
    match time {
        Timeval { seconds: 0, microseconds: 0 } => Ok(None),
        Timeval { seconds: ..0, microseconds: 0..1_000_000 } => Ok(Some(0)),
        _ => time.checked().map(Some).map_err(|_| Errno::EDOM.because("microseconds are below 10^6")),
    }
}

/// getsockopt(2)
pub fn getsockopt(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    level: u32,
    option: u32,
    value: usize,
    length: UserPointer<i32>,
) -> Result<usize> {
    let file = open_socket(caller, descriptor)?;
    let socket = socket_of(&file)?;
    if level != net::SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP.because("a UNIX socket has options of the socket level only"));
    }
    let room = usize::try_from(caller.space.read(length)?)
        .map_err(|_| Errno::EINVAL.because("a length is not negative"))?;
    let options = socket.options();
    let number: u32 = match option {
        net::SO_TYPE => socket.kind().number(),
        net::SO_DOMAIN => net::AF_UNIX,
        net::SO_PROTOCOL => 0,
        net::SO_ACCEPTCONN => socket.is_listening().into(),
        net::SO_ERROR => socket.take_error().map_or(0, |error| error.to_result().unsigned_abs() as u32),
        net::SO_PASSCRED => options.tells_senders.into(),
        option if WITHOUT_EFFECT.contains(&option) => options.others >> option & 1,
        net::SO_SNDBUF => options.send_buffer as u32,
        net::SO_RCVBUF => options.receive_buffer as u32,
        net::SO_RCVTIMEO | net::SO_SNDTIMEO => {
            let timeout =
                if option == net::SO_RCVTIMEO { options.receive_timeout } else { options.send_timeout };
            let time = Timeval::from_nanoseconds(timeout.unwrap_or(0));
            return tell_option(caller, time.as_bytes(), room, value, length);
        }
        net::SO_PEERCRED => {
            let nobody = Shown { process: 0, uid: u32::MAX, gid: u32::MAX };
            let shown = socket.peer_identity().map_or(nobody, |peer| Shown::new(peer, &caller.credentials()));
            return tell_option(caller, shown.as_bytes(), room, value, length);
        }
        _ => return Err(Errno::ENOPROTOOPT.because("the option cannot be asked for")),
    };
    tell_option(caller, number.as_bytes(), room, value, length)
}

fn tell_option(
    caller: &Caller<'_>,
    bytes: &[u8],
    room: usize,
    value: usize,
    length: UserPointer<i32>,
) -> Result<usize> {
    let told = room.min(bytes.len());
    caller.space.write_bytes(value, &bytes[..told])?;
    caller.space.write(length, &(told as i32)).map(|()| 0)
}

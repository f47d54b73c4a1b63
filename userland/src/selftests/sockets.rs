//! UNIX sockets, unix(7): names, connections, what is sent and received.

use super::sleeping::interrupter;
use super::socket_rights::receive_with;
use super::support::Temporary;
use crate::call;
use crate::ktap::{Plan, Running, Step, equal, holds, refused};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process;
use crate::system::time::{self, MILLISECOND};

const IN: i16 = libc::POLLIN;
const OUT: i16 = libc::POLLOUT;
const HUP: i16 = libc::POLLHUP;
const PEER_HUP: i16 = libc::POLLRDHUP;
pub const STREAM: i32 = libc::SOCK_STREAM;
pub const PACKETS: i32 = libc::SOCK_SEQPACKET;
const NONE: usize = 0;

pub fn socket(kind: i32) -> Result<Descriptor, Errno> {
    call!(libc::SYS_socket, libc::AF_UNIX, kind, 0).map(|number| Descriptor(number as i32))
}

pub fn pair(kind: i32) -> Result<(Descriptor, Descriptor), Errno> {
    let mut numbers = [0i32; 2];
    call!(libc::SYS_socketpair, libc::AF_UNIX, kind, 0, &mut numbers)?;
    Ok((Descriptor(numbers[0]), Descriptor(numbers[1])))
}

/// A `struct sockaddr_un` of these bytes.
pub fn address(name: &[u8]) -> Vec<u8> {
    [&(libc::AF_UNIX as u16).to_ne_bytes()[..], name].concat()
}

fn with_address(call: i64, socket: &Descriptor, name: &[u8]) -> Result<usize, Errno> {
    let bytes = address(name);
    call!(call, socket.0, bytes.as_ptr(), bytes.len())
}

pub fn bind(socket: &Descriptor, name: &[u8]) -> Result<usize, Errno> {
    with_address(libc::SYS_bind, socket, name)
}

pub fn connect(socket: &Descriptor, name: &[u8]) -> Result<usize, Errno> {
    with_address(libc::SYS_connect, socket, name)
}

pub fn listen(socket: &Descriptor, backlog: i32) -> Result<usize, Errno> {
    call!(libc::SYS_listen, socket.0, backlog)
}

pub fn accept(socket: &Descriptor) -> Result<Descriptor, Errno> {
    call!(libc::SYS_accept4, socket.0, NONE, NONE, 0).map(|number| Descriptor(number as i32))
}

/// The name that a call tells of a socket: without the family.
pub fn name_by(call: i64, socket: &Descriptor) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0u8; 110];
    let mut length = bytes.len() as i32;
    call!(call, socket.0, bytes.as_mut_ptr(), &mut length)?;
    bytes.truncate(length as usize);
    Ok(bytes.split_off(2))
}

pub fn send(socket: &Descriptor, bytes: &[u8], flags: i32) -> Result<usize, Errno> {
    call!(libc::SYS_sendto, socket.0, bytes.as_ptr(), bytes.len(), flags, NONE, NONE)
}

pub fn receive(socket: &Descriptor, length: usize, flags: i32) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; length];
    let got = call!(libc::SYS_recvfrom, socket.0, bytes.as_mut_ptr(), length, flags, NONE, NONE)?;
    bytes.truncate(got);
    Ok(bytes)
}

pub fn option(socket: &Descriptor, option: i32) -> Result<i32, Errno> {
    let (mut value, mut length) = (-1i32, 4i32);
    call!(libc::SYS_getsockopt, socket.0, libc::SOL_SOCKET, option, &mut value, &mut length)?;
    Ok(value)
}

pub fn set_option(socket: &Descriptor, option: i32, value: i32) -> Result<usize, Errno> {
    call!(libc::SYS_setsockopt, socket.0, libc::SOL_SOCKET, option, &value, 4)
}

/// What poll(2) says at once.
pub fn events(socket: &Descriptor) -> Result<i16, Errno> {
    let mut entry = libc::pollfd { fd: socket.0, events: IN | OUT | PEER_HUP, revents: 0 };
    call!(libc::SYS_poll, &mut entry, 1, 0)?;
    Ok(entry.revents)
}

/// An abstract name of this process' own.
pub fn own_name(what: &str) -> Vec<u8> {
    format!("\0gnomon-{what}-{}", std::process::id()).into_bytes()
}

pub fn cases(plan: &mut Plan) {
    making(plan);
    streams(plan);
    messages(plan);
    connections(plan);
    names(plan);
    readiness(plan);
}

fn making(plan: &mut Plan) {
    plan.case("other families, types, protocols and flags are refused", || {
        refused("AF_BLUETOOTH 99", call!(libc::SYS_socket, 99, STREAM, 0), Errno(libc::EAFNOSUPPORT))?;
        refused("type 9", call!(libc::SYS_socket, libc::AF_UNIX, 9, 0), Errno(libc::ESOCKTNOSUPPORT))?;
        refused(
            "protocol 5",
            call!(libc::SYS_socket, libc::AF_UNIX, STREAM, 5),
            Errno(libc::EPROTONOSUPPORT),
        )?;
        refused("flag", call!(libc::SYS_socket, libc::AF_UNIX, STREAM | 0x100, 0), Errno::EINVAL)?;
        let mut numbers = [0i32; 2];
        let answer = call!(libc::SYS_socketpair, 99, STREAM, 0, &mut numbers);
        refused("socketpair", answer, Errno(libc::EAFNOSUPPORT))
    });
    plan.case("a socket is a file of its kind, and its descriptor has the flags asked for", || {
        let (one, _other) = pair(STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)?;
        equal("F_GETFD", call!(libc::SYS_fcntl, one.0, libc::F_GETFD), Ok(1))?;
        let flags = call!(libc::SYS_fcntl, one.0, libc::F_GETFL)? as i32;
        equal("F_GETFL", flags & (libc::O_NONBLOCK | libc::O_ACCMODE), libc::O_NONBLOCK | libc::O_RDWR)?;
        equal("mode", file::status_of(one.0)?.st_mode, libc::S_IFSOCK | 0o777)?;
        let link = file::readlink(&format!("/proc/self/fd/{}", one.0)).step("readlink")?;
        equal("link", link, format!("socket:[{}]", file::status_of(one.0)?.st_ino))?;
        refused("lseek", call!(libc::SYS_lseek, one.0, 0, 0), Errno::ESPIPE)?;
        refused("opened", file::open(&format!("/proc/self/fd/{}", one.0), libc::O_RDWR), Errno::ENXIO)
    });
    plan.case("calls on what is no socket: ENOTSOCK", || {
        let null = Descriptor::open("/dev/null", libc::O_RDWR)?;
        refused("send", send(&null, b"x", 0), Errno::ENOTSOCK)?;
        refused("listen", listen(&null, 1), Errno::ENOTSOCK)?;
        refused("getsockname", name_by(libc::SYS_getsockname, &null), Errno::ENOTSOCK)
    });
    plan.case("options say what a socket is", || {
        for kind in [STREAM, libc::SOCK_DGRAM, PACKETS] {
            let (one, _other) = pair(kind)?;
            equal("SO_TYPE", option(&one, libc::SO_TYPE), Ok(kind))?;
            equal("SO_DOMAIN", option(&one, libc::SO_DOMAIN), Ok(libc::AF_UNIX))?;
            equal("SO_ERROR", option(&one, libc::SO_ERROR), Ok(0))?;
            equal("SO_ACCEPTCONN", option(&one, libc::SO_ACCEPTCONN), Ok(0))?;
            set_option(&one, libc::SO_SNDBUF, 10_000).step("SO_SNDBUF")?;
            equal("SO_SNDBUF is doubled", option(&one, libc::SO_SNDBUF), Ok(20_000))?;
            set_option(&one, libc::SO_RCVBUF, 0).step("SO_RCVBUF")?;
            equal("SO_RCVBUF has a least", option(&one, libc::SO_RCVBUF), Ok(2304))?;
            set_option(&one, libc::SO_KEEPALIVE, 5).step("SO_KEEPALIVE")?;
            equal("SO_KEEPALIVE", option(&one, libc::SO_KEEPALIVE), Ok(1))?;
            refused("option 999", option(&one, 999), Errno(libc::ENOPROTOOPT))?;
        }
        Ok(())
    });
}

fn streams(plan: &mut Plan) {
    plan.case("bytes go both ways, in order, and have no bounds", || {
        let (one, other) = pair(STREAM)?;
        one.write(b"hello ").step("write")?;
        send(&one, b"world", 0).step("send")?;
        equal("four", receive(&other, 4, 0), Ok(b"hell".to_vec()))?;
        let mut count = 0i32;
        call!(libc::SYS_ioctl, other.0, libc::FIONREAD, &mut count).step("FIONREAD")?;
        equal("FIONREAD", count, 7)?;
        equal("peek", receive(&other, 100, libc::MSG_PEEK), Ok(b"o world".to_vec()))?;
        equal("the rest", receive(&other, 100, 0), Ok(b"o world".to_vec()))?;
        other.write(b"back").step("write")?;
        equal("back", receive(&one, 100, 0), Ok(b"back".to_vec()))?;
        refused("nothing", receive(&one, 1, libc::MSG_DONTWAIT), Errno::EAGAIN)
    });
    plan.case("a mebibyte through a small buffer: both wait for each other", || {
        let (one, other) = pair(STREAM)?;
        set_option(&one, libc::SO_SNDBUF, 5000).step("SO_SNDBUF")?;
        let writer = Running::start(|| {
            let bytes: Vec<u8> = (0..1 << 20).map(|index| (index % 251) as u8).collect();
            equal("sent", send(&one, &bytes, 0), Ok(1 << 20))
        })?;
        drop(one);
        let all = other.read_to_end().step("reading")?;
        equal("bytes", all.len(), 1 << 20)?;
        holds(all.iter().enumerate().all(|(index, byte)| *byte == (index % 251) as u8), || {
            "other bytes".into()
        })?;
        writer.finish()
    });
    plan.case("MSG_WAITALL waits for all, and a signal ends a wait", || {
        let (one, other) = pair(STREAM)?;
        let writer = Running::start(|| {
            for _ in 0..5 {
                time::sleep(5 * MILLISECOND);
                send(&one, &[1; 20], 0).step("send")?;
            }
            Ok(())
        })?;
        equal("all", receive(&other, 100, libc::MSG_WAITALL), Ok(vec![1; 100]))?;
        writer.finish()?;
        let signal = interrupter()?;
        refused("interrupted", receive(&other, 1, 0), Errno::EINTR)?;
        signal.finish()
    });
    plan.case("a full buffer: EAGAIN without waiting; writable again when most is received", || {
        let (one, other) = pair(STREAM | libc::SOCK_NONBLOCK)?;
        let mut sent = 0;
        while let Ok(count) = send(&one, &[0; 4096], 0) {
            sent += count;
            holds(sent < 1 << 22, || "it never fills".into())?;
        }
        holds(sent >= 100_000, || format!("only {sent} bytes"))?;
        refused("full", send(&one, &[0; 4096], 0), Errno::EAGAIN)?;
        equal("events", events(&one)?, 0)?;
        receive(&other, sent - 4096, 0).step("receiving")?;
        equal("events", events(&one)?, OUT)
    });
    plan.case("the end: what is left, then 0; to send is EPIPE, with SIGPIPE unless MSG_NOSIGNAL", || {
        let (one, other) = pair(STREAM)?;
        send(&one, b"last", 0).step("send")?;
        drop(one);
        equal("left", receive(&other, 10, 0), Ok(b"last".to_vec()))?;
        equal("end", receive(&other, 10, 0), Ok(Vec::new()))?;
        refused("send", send(&other, b"x", libc::MSG_NOSIGNAL), Errno::EPIPE)?;
        let killed = process::run(|| i32::from(send(&other, b"x", 0).is_err())).step("a child")?;
        equal("killed", killed, process::Status::Killed(libc::SIGPIPE))?;
        let killed = process::run(|| i32::from(other.write(b"x").is_err())).step("a child")?;
        equal("killed by write", killed, process::Status::Killed(libc::SIGPIPE))
    });
    plan.case("who goes with bytes unread cuts the connection: ECONNRESET, once", || {
        let (one, other) = pair(STREAM)?;
        send(&one, b"unread", 0).step("send")?;
        drop(other);
        refused("receive", receive(&one, 1, 0), Errno(libc::ECONNRESET))?;
        equal("then the end", receive(&one, 1, 0), Ok(Vec::new()))
    });
    plan.case("shutdown ends one direction, and the other end learns of it", || {
        let (one, other) = pair(STREAM)?;
        send(&one, b"before", 0).step("send")?;
        call!(libc::SYS_shutdown, one.0, libc::SHUT_WR).step("shutdown")?;
        refused("send", send(&one, b"x", libc::MSG_NOSIGNAL), Errno::EPIPE)?;
        equal("what came before", receive(&other, 10, 0), Ok(b"before".to_vec()))?;
        equal("end", receive(&other, 10, 0), Ok(Vec::new()))?;
        send(&other, b"still", 0).step("the other way")?;
        equal("received", receive(&one, 10, 0), Ok(b"still".to_vec()))?;
        call!(libc::SYS_shutdown, one.0, libc::SHUT_RD).step("shutdown")?;
        refused("the other way", send(&other, b"x", libc::MSG_NOSIGNAL), Errno::EPIPE)?;
        refused("direction 3", call!(libc::SYS_shutdown, one.0, 3), Errno::EINVAL)
    });
}

fn messages(plan: &mut Plan) {
    plan.case("messages keep their bounds; what does not fit is cut off", || {
        for kind in [libc::SOCK_DGRAM, PACKETS] {
            let (one, other) = pair(kind)?;
            for text in ["first", "second", ""] {
                equal("sent", send(&one, text.as_bytes(), 0), Ok(text.len()))?;
            }
            let cut = receive_with(&other, 3, 0, 0).step("recvmsg")?;
            equal("cut", (cut.bytes, cut.flags), (b"fir".to_vec(), libc::MSG_TRUNC))?;
            let mut room = [0u8; 2];
            let flags = libc::MSG_TRUNC | libc::MSG_PEEK;
            let whole = call!(libc::SYS_recvfrom, other.0, &mut room, 2, flags, NONE, NONE);
            equal("the whole length", whole, Ok(6))?;
            equal("second", receive(&other, 100, 0), Ok(b"second".to_vec()))?;
            equal("empty", receive(&other, 100, libc::MSG_DONTWAIT), Ok(Vec::new()))?;
            refused("none", receive(&other, 100, libc::MSG_DONTWAIT), Errno::EAGAIN)?;
            refused("too long", send(&one, &vec![0; 1 << 20], 0), Errno(libc::EMSGSIZE))?;
        }
        Ok(())
    });
    plan.case("the other end is gone: packets end, EPIPE without a signal; datagrams are refused", || {
        let (one, other) = pair(PACKETS)?;
        drop(one);
        equal("end", receive(&other, 10, libc::MSG_DONTWAIT), Ok(Vec::new()))?;
        refused("send", send(&other, b"x", 0), Errno::EPIPE)?;
        let (one, other) = pair(libc::SOCK_DGRAM)?;
        drop(one);
        refused("receive", receive(&other, 10, libc::MSG_DONTWAIT), Errno::EAGAIN)?;
        refused("send", send(&other, b"x", 0), Errno::ECONNREFUSED)?;
        refused("send again", send(&other, b"x", 0), Errno(libc::ENOTCONN))?;
        let (one, other) = pair(libc::SOCK_DGRAM)?;
        while send(&other, &[0; 1000], libc::MSG_DONTWAIT).is_ok() {}
        let number = one.0;
        let waiting = Running::start(move || {
            process::close(number);
            refused("waited", send(&other, b"x", 0), Errno::ECONNREFUSED)
        })?;
        time::sleep(20 * MILLISECOND);
        drop(one);
        waiting.finish()
    });
    plan.case("a message for which there is no memory is gone; bytes of a stream are not", || {
        const NOWHERE: usize = 8;
        for (kind, left) in [(STREAM, &b"lost"[..]), (PACKETS, b"kept"), (libc::SOCK_DGRAM, b"kept")] {
            let (one, other) = pair(kind)?;
            send(&one, b"lost", 0).step("send")?;
            send(&one, b"kept", 0).step("send")?;
            let got = call!(libc::SYS_recvfrom, other.0, NOWHERE, 4, 0, NONE, NONE);
            refused("nowhere", got, Errno::EFAULT)?;
            equal("the next", receive(&other, 4, 0), Ok(left.to_vec()))?;
        }
        Ok(())
    });
}

fn connections(plan: &mut Plan) {
    plan.case("connect, accept, and names of both ends", || {
        for kind in [STREAM, PACKETS] {
            let (server, client) = (socket(kind)?, socket(kind)?);
            let name = own_name("server");
            bind(&server, &name).step("bind")?;
            listen(&server, 5).step("listen")?;
            equal("SO_ACCEPTCONN", option(&server, libc::SO_ACCEPTCONN), Ok(1))?;
            connect(&client, &name).step("connect")?;
            // Before it is accepted, bytes can be sent already.
            send(&client, b"early", 0).step("send")?;
            // accept(2) tells the other end's name, and this one has none.
            let (mut from, mut length) = ([0xffu8; 110], 110i32);
            let number = call!(libc::SYS_accept, server.0, &mut from, &mut length).step("accept")?;
            let accepted = Descriptor(number as i32);
            equal("the client's address", (length, from[..2].to_vec()), (2, address(b"")))?;
            equal("received", receive(&accepted, 10, 0), Ok(b"early".to_vec()))?;
            equal("client's peer", name_by(libc::SYS_getpeername, &client), Ok(name.clone()))?;
            equal("accepted's name", name_by(libc::SYS_getsockname, &accepted), Ok(name.clone()))?;
            equal("accepted's peer", name_by(libc::SYS_getpeername, &accepted), Ok(Vec::new()))?;
            refused("connected already", connect(&client, &name), Errno(libc::EISCONN))?;
            refused("a listener sends", send(&server, b"x", 0), Errno(libc::ENOTCONN))?;
        }
        Ok(())
    });
    plan.case("accept waits for a connection, connect for room in the backlog", || {
        let server = socket(STREAM)?;
        let name = own_name("waits");
        bind(&server, &name).step("bind")?;
        listen(&server, 0).step("listen")?;
        let late = name.clone();
        let client = Running::start(move || {
            time::sleep(20 * MILLISECOND);
            let client = socket(STREAM)?;
            connect(&client, &late).step("connect").map(|_| ())
        })?;
        accept(&server).step("accept")?;
        client.finish()?;
        let first = socket(STREAM)?;
        connect(&first, &name).step("one waits to be accepted")?;
        let second = socket(STREAM | libc::SOCK_NONBLOCK)?;
        refused("a second", connect(&second, &name), Errno::EAGAIN)?;
        let late = name.clone();
        let client = Running::start(move || connect(&socket(STREAM)?, &late).step("connect").map(|_| ()))?;
        time::sleep(20 * MILLISECOND);
        accept(&server).step("accept")?;
        accept(&server).step("accept")?;
        client.finish()
    });
    plan.case("what cannot be: connecting to nobody, to another type, listening without a name", || {
        let client = socket(STREAM)?;
        refused("nobody", connect(&client, &own_name("nobody")), Errno::ECONNREFUSED)?;
        refused("no file", connect(&client, b"/no/such/socket"), Errno::ENOENT)?;
        refused("no socket", connect(&client, b"/dev/null"), Errno::ECONNREFUSED)?;
        refused("no name", listen(&client, 1), Errno::EINVAL)?;
        refused("not listening", accept(&client).map(|_| ()), Errno::EINVAL)?;
        refused("not connected", send(&client, b"x", 0), Errno(libc::ENOTCONN))?;
        refused("nor to receive", receive(&client, 1, 0), Errno::EINVAL)?;
        refused("no peer", name_by(libc::SYS_getpeername, &client), Errno(libc::ENOTCONN))?;
        let directory = Temporary::directory("socket")?;
        for (name, another) in [
            (own_name("packets"), libc::ECONNREFUSED),
            (format!("{}/s", directory.0).into(), libc::EPROTOTYPE),
        ] {
            let server = socket(PACKETS)?;
            bind(&server, &name).step("bind")?;
            refused("not listening", connect(&socket(PACKETS)?, &name), Errno::ECONNREFUSED)?;
            listen(&server, 1).step("listen")?;
            refused("another type", connect(&client, &name), Errno(another))?;
        }
        let _ = std::fs::remove_file(format!("{}/s", directory.0));
        let address = [99u8, 0, b'x'];
        refused("family", call!(libc::SYS_connect, client.0, &address, 3), Errno::EINVAL)?;
        let (one, _other) = pair(libc::SOCK_DGRAM)?;
        refused("datagrams", listen(&one, 1), Errno::EOPNOTSUPP)
    });
    plan.case("a listener that ends cuts those that wait", || {
        let (server, client) = (socket(STREAM)?, socket(STREAM)?);
        bind(&server, &own_name("ends")).step("bind")?;
        listen(&server, 5).step("listen")?;
        connect(&client, &own_name("ends")).step("connect")?;
        listen(&server, 0).step("listen")?;
        let (name, number) = (own_name("ends"), server.0);
        let waiting = Running::start(move || {
            process::close(number);
            refused("waited", connect(&socket(STREAM)?, &name), Errno::ECONNREFUSED)
        })?;
        time::sleep(20 * MILLISECOND);
        drop(server);
        waiting.finish()?;
        refused("receive", receive(&client, 1, 0), Errno(libc::ECONNRESET))?;
        refused("connect", connect(&socket(STREAM)?, &own_name("ends")), Errno::ECONNREFUSED)
    });
    plan.case("a connection for which there is no descriptor can be accepted later", || {
        let (server, client) = (socket(STREAM | libc::SOCK_NONBLOCK)?, socket(STREAM)?);
        bind(&server, &own_name("full")).step("bind")?;
        listen(&server, 1).step("listen")?;
        connect(&client, &own_name("full")).step("connect")?;
        let limit = |most: i32| {
            call!(libc::SYS_setrlimit, libc::RLIMIT_NOFILE, &[most as u64, 1024]).step("setrlimit")
        };
        limit(client.0 + 1)?;
        refused("accept", accept(&server).map(|_| ()), Errno(libc::EMFILE))?;
        limit(client.0 + 2)?;
        accept(&server).step("accept")?;
        limit(client.0 + 1)?;
        refused("nobody waits", accept(&server).map(|_| ()), Errno(libc::EMFILE))
    });
}

fn names(plan: &mut Plan) {
    plan.case("a name in the file system: a socket, removed by unlink, once", || {
        let directory = Temporary::directory("socket")?;
        let path = format!("{}/name", directory.0);
        let server = socket(STREAM)?;
        call!(libc::SYS_umask, 0o027)?;
        bind(&server, path.as_bytes()).step("bind")?;
        equal("mode", file::status(&path, 0)?.st_mode, libc::S_IFSOCK | 0o750)?;
        equal("name", name_by(libc::SYS_getsockname, &server), Ok([path.as_bytes(), &[0]].concat()))?;
        refused("again", bind(&server, b"other"), Errno::EINVAL)?;
        refused("taken", bind(&socket(STREAM)?, path.as_bytes()), Errno::EADDRINUSE)?;
        refused("open", file::open(&path, libc::O_RDWR), Errno::ENXIO)?;
        listen(&server, 1).step("listen")?;
        connect(&socket(STREAM)?, path.as_bytes()).step("connect")?;
        drop(server);
        let answer = connect(&socket(STREAM)?, path.as_bytes());
        let removed = std::fs::remove_file(&path).map_err(Errno::from);
        refused("nobody listens", answer, Errno::ECONNREFUSED)?;
        removed.step("unlink")?;
        refused("gone", connect(&socket(STREAM)?, path.as_bytes()), Errno::ENOENT)
    });
    plan.case("a name of no directory ends with its socket; without one a socket gets one", || {
        let server = socket(STREAM)?;
        bind(&server, &own_name("abstract")).step("bind")?;
        refused("taken", bind(&socket(STREAM)?, &own_name("abstract")), Errno::EADDRINUSE)?;
        drop(server);
        bind(&socket(STREAM)?, &own_name("abstract")).step("free again")?;
        let nameless = socket(STREAM)?;
        equal("nameless", name_by(libc::SYS_getsockname, &nameless), Ok(Vec::new()))?;
        bind(&nameless, b"").step("bind to nothing")?;
        let name = name_by(libc::SYS_getsockname, &nameless)?;
        holds(name.len() == 6 && name[0] == 0, || format!("name {name:?}"))?;
        refused("too long", bind(&socket(STREAM)?, &[b'x'; 109]), Errno::EINVAL)
    });
}

fn readiness(plan: &mut Plan) {
    plan.case("poll tells of bytes, room, connections and ends", || {
        let (one, other) = pair(STREAM)?;
        equal("at first", events(&one)?, OUT)?;
        send(&other, b"x", 0).step("send")?;
        equal("a byte", events(&one)?, IN | OUT)?;
        call!(libc::SYS_shutdown, other.0, libc::SHUT_WR).step("shutdown")?;
        receive(&one, 1, 0).step("receive")?;
        equal("half shut", events(&one)?, IN | OUT | PEER_HUP)?;
        drop(other);
        equal("gone", events(&one)?, IN | OUT | PEER_HUP | HUP)?;
        let (server, client) = (socket(STREAM)?, socket(STREAM)?);
        equal("unconnected", events(&client)?, OUT | HUP)?;
        bind(&server, &own_name("poll")).step("bind")?;
        listen(&server, 1).step("listen")?;
        equal("listening", events(&server)?, 0)?;
        connect(&client, &own_name("poll")).step("connect")?;
        equal("a connection", events(&server)?, IN)?;
        equal("connected", events(&client)?, OUT)
    });
    plan.case("epoll's edges: new bytes, and new room", || {
        let (one, other) = pair(STREAM | libc::SOCK_NONBLOCK)?;
        let epoll = Descriptor(call!(libc::SYS_epoll_create1, 0)? as i32);
        let wanted = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32;
        let event = libc::epoll_event { events: wanted, u64: 0 };
        call!(libc::SYS_epoll_ctl, epoll.0, libc::EPOLL_CTL_ADD, one.0, &event).step("epoll_ctl")?;
        let told = || -> Result<u32, Errno> {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            call!(libc::SYS_epoll_wait, epoll.0, &mut event, 1, 0)?;
            Ok(event.events)
        };
        equal("at first", told()?, libc::EPOLLOUT as u32)?;
        equal("nothing new", told()?, 0)?;
        send(&other, b"x", 0).step("send")?;
        equal("a byte", told()?, (libc::EPOLLIN | libc::EPOLLOUT) as u32)?;
        equal("nothing new", told()?, 0)?;
        while send(&one, &[0; 4096], 0).is_ok() {}
        equal("full", told()? & libc::EPOLLOUT as u32, 0)?;
        while receive(&other, 1 << 16, 0).is_ok() {}
        equal("room", told()? & libc::EPOLLOUT as u32, libc::EPOLLOUT as u32)
    });
}

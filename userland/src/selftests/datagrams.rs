//! Datagrams sent to names through UNIX sockets, unix(7), and how long a socket's calls wait: SO_RCVTIMEO, SO_SNDTIMEO.

use super::sleeping::{LATE, NAP, duration, interrupter};
use super::socket_rights::receive_with;
use super::sockets::{
    PACKETS, STREAM, accept, address, bind, connect, events, listen, name_by, own_name, pair, receive, send,
    socket,
};
use super::support::Temporary;
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, equal, refused, within};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process;
use crate::system::time::{self, MILLISECOND};

const OUT: i16 = libc::POLLOUT;
const DATAGRAMS: i32 = libc::SOCK_DGRAM;

pub fn cases(plan: &mut Plan) {
    datagrams(plan);
    timeouts(plan);
}

/// sendto(2) of bytes to a name.
fn send_to(socket: &Descriptor, bytes: &[u8], name: &[u8], flags: i32) -> Result<usize, Errno> {
    let to = address(name);
    call!(libc::SYS_sendto, socket.0, bytes.as_ptr(), bytes.len(), flags, to.as_ptr(), to.len())
}

/// recvfrom(2): the bytes, and the sender's name; `None` if it has none.
fn receive_from(socket: &Descriptor) -> Result<(Vec<u8>, Option<Vec<u8>>), Errno> {
    let (mut bytes, mut name, mut length) = (vec![0; 100], vec![0; 110], 110i32);
    let flags = libc::MSG_DONTWAIT;
    let got =
        call!(libc::SYS_recvfrom, socket.0, bytes.as_mut_ptr(), 100, flags, name.as_mut_ptr(), &mut length)?;
    bytes.truncate(got);
    name.truncate(length as usize);
    Ok((bytes, (length > 0).then(|| name.split_off(2))))
}

fn named(kind: i32, name: &[u8]) -> Result<Descriptor, Errno> {
    let socket = socket(kind)?;
    bind(&socket, name)?;
    Ok(socket)
}

fn datagrams(plan: &mut Plan) {
    plan.case("datagrams are sent to names, of paths and of no directory, and tell whose they are", || {
        let directory = Temporary::directory("datagrams")?;
        let path = format!("{}/server", directory.0).into_bytes();
        for name in [own_name("server"), path.clone()] {
            let server = named(DATAGRAMS, &name).step("bind")?;
            let (client, nameless) = (named(DATAGRAMS, &own_name("client"))?, socket(DATAGRAMS)?);
            equal("sent", send_to(&client, b"one", &name, 0), Ok(3))?;
            equal("sent", send_to(&nameless, b"", &name, 0), Ok(0))?;
            let told = receive_from(&server).step("recvfrom")?;
            equal("received", &told, &(b"one".to_vec(), Some(own_name("client"))))?;
            send_to(&server, b"answer", &told.1.unwrap_or_default(), 0).step("answering")?;
            let mut whole = name.clone();
            whole.extend((name[0] != 0).then_some(0));
            equal("answer", receive_from(&client), Ok((b"answer".to_vec(), Some(whole))))?;
            equal("of no name", receive_from(&server), Ok((Vec::new(), None)))?;
            refused("nothing else", receive_from(&server).map(drop), Errno::EAGAIN)?;
        }
        refused("its socket is gone", send_to(&socket(DATAGRAMS)?, b"x", &path, 0), Errno::ECONNREFUSED)?;
        let _stream = named(STREAM, &own_name("stream")).step("bind")?;
        let to_stream = send_to(&socket(DATAGRAMS)?, b"x", &own_name("stream"), 0);
        refused("a stream's name", to_stream, Errno::ECONNREFUSED)?;
        std::fs::remove_file(format!("{}/server", directory.0)).map_err(Errno::from).step("unlink")?;
        let _stream = named(STREAM, &path).step("bind")?;
        let answer = send_to(&socket(DATAGRAMS)?, b"x", &path, 0);
        let _ = std::fs::remove_file(format!("{}/server", directory.0));
        refused("a stream's path", answer, Errno(libc::EPROTOTYPE))?;
        refused("no such path", send_to(&socket(DATAGRAMS)?, b"x", &path, 0), Errno::ENOENT)?;
        refused("no name", send_to(&socket(DATAGRAMS)?, b"x", b"", 0), Errno::EINVAL)
    });
    plan.case("a datagram socket connects to whom it sends to, and hears nobody else then", || {
        let (server, other) = (named(DATAGRAMS, &own_name("a"))?, named(DATAGRAMS, &own_name("b"))?);
        let client = named(DATAGRAMS, &own_name("c"))?;
        refused("to nobody yet", send(&client, b"x", 0), Errno(libc::ENOTCONN))?;
        refused("nor a peer", name_by(libc::SYS_getpeername, &client), Errno(libc::ENOTCONN))?;
        connect(&client, &own_name("a")).step("connect")?;
        equal("its peer", name_by(libc::SYS_getpeername, &client), Ok(own_name("a")))?;
        send(&client, b"to a", 0).step("send")?;
        send_to(&client, b"to b", &own_name("b"), 0).step("sendto another")?;
        equal("a", receive_from(&server), Ok((b"to a".to_vec(), Some(own_name("c")))))?;
        equal("b", receive_from(&other), Ok((b"to b".to_vec(), Some(own_name("c")))))?;
        refused("b to it", send_to(&other, b"x", &own_name("c"), 0), Errno::EPERM)?;
        refused("b connects", connect(&other, &own_name("c")), Errno::EPERM)?;
        send_to(&server, b"from a", &own_name("c"), 0).step("a to it")?;
        connect(&client, &own_name("b")).step("connect to b")?;
        refused("what a had sent is lost", receive_from(&client).map(drop), Errno::EAGAIN)?;
        refused("a to it", send_to(&server, b"x", &own_name("c"), 0), Errno::EPERM)?;
        send(&client, b"to b", 0).step("send")?;
        equal("b", receive_from(&other), Ok((b"to b".to_vec(), Some(own_name("c")))))?;
        let nobody = [0u8; 2];
        call!(libc::SYS_connect, client.0, &nobody, 2).step("AF_UNSPEC")?;
        refused("to nobody", send(&client, b"x", 0), Errno(libc::ENOTCONN))?;
        send_to(&server, b"again", &own_name("c"), 0).step("a to it")?;
        equal("again", receive_from(&client), Ok((b"again".to_vec(), Some(own_name("a")))))?;
        connect(&client, &own_name("c")).step("to itself")?;
        send(&client, b"self", 0).step("send")?;
        equal("itself", receive_from(&client), Ok((b"self".to_vec(), Some(own_name("c")))))?;
        connect(&client, &own_name("a")).step("connect")?;
        drop(server);
        refused("a is gone", send(&client, b"x", 0), Errno::ECONNREFUSED)?;
        refused("listen", listen(&other, 1), Errno::EOPNOTSUPP)?;
        refused("accept", accept(&other).map(|_| ()), Errno::EOPNOTSUPP)
    });
    plan.case("who waits to send to a name learns that nobody has it any more", || {
        let name = own_name("ends");
        let (server, client) = (named(DATAGRAMS, &name)?, socket(DATAGRAMS)?);
        while send_to(&client, b"x", &name, libc::MSG_DONTWAIT).is_ok() {}
        let number = server.0;
        let waiting = Running::start(move || {
            process::close(number);
            refused("waited", send_to(&client, b"x", &name, 0), Errno::ECONNREFUSED)
        })?;
        time::sleep(20 * MILLISECOND);
        drop(server);
        waiting.finish()
    });
    plan.case("one who hears everybody gets so many datagrams, and then senders wait", || {
        let most: usize = file::read("/proc/sys/net/unix/max_dgram_qlen")
            .ok()
            .map_or(10, |text| text.trim().parse().unwrap_or(10));
        let server = named(DATAGRAMS, &own_name("full"))?;
        let (client, another) = (socket(DATAGRAMS)?, socket(DATAGRAMS)?);
        connect(&client, &own_name("full")).step("connect")?;
        for _ in 0..=most {
            send(&client, b"x", libc::MSG_DONTWAIT).step("send")?;
        }
        refused("one more", send(&client, b"x", libc::MSG_DONTWAIT), Errno::EAGAIN)?;
        equal("events", events(&client)?, 0)?;
        let to_full = send_to(&another, b"x", &own_name("full"), libc::MSG_DONTWAIT);
        refused("another's", to_full, Errno::EAGAIN)?;
        let waiter = Running::start(move || {
            equal(
                "sent later",
                send_to(
                    &another,
                    b"late",
                    format!("\0gnomon-full-{}", std::os::unix::process::parent_id()).as_bytes(),
                    0,
                ),
                Ok(4),
            )
        })?;
        time::sleep(20 * MILLISECOND);
        receive(&server, 1, 0).step("receive")?;
        waiter.finish()?;
        receive(&server, 1, 0).step("receive")?;
        equal("events", events(&client)?, OUT)?;
        let server_here = server.0;
        let waiter = Running::start(move || {
            process::close(server_here);
            while send(&client, b"y", 0).is_ok() {}
            refused("the server is gone", send(&client, b"y", 0), Errno(libc::ENOTCONN))
        })?;
        time::sleep(20 * MILLISECOND);
        drop(server);
        waiter.finish()
    });
}

fn set_timeout(socket: &Descriptor, option: i32, seconds: i64, microseconds: i64) -> Result<usize, Errno> {
    let value = [seconds, microseconds];
    call!(libc::SYS_setsockopt, socket.0, libc::SOL_SOCKET, option, &value, 16)
}

fn timeout(socket: &Descriptor, option: i32) -> Result<[i64; 2], Errno> {
    let (mut value, mut length) = ([-1i64; 2], 16i32);
    call!(libc::SYS_getsockopt, socket.0, libc::SOL_SOCKET, option, &mut value, &mut length)?;
    Ok(value)
}

/// Something is refused after a nap, because the wait for it has run out.
fn runs_out<T: std::fmt::Debug>(what: &str, act: impl FnOnce() -> Result<T, Errno>) -> Outcome {
    within(what, duration(|| refused(what, act().map(drop), Errno::EAGAIN))?, NAP, NAP + LATE)
}

fn timeouts(plan: &mut Plan) {
    const RECEIVE: i32 = libc::SO_RCVTIMEO;
    const SEND: i32 = libc::SO_SNDTIMEO;
    const MICROSECOND: i64 = 1000;
    plan.case("SO_RCVTIMEO and SO_SNDTIMEO are kept as they are set, and what is no time is refused", || {
        let (one, _other) = pair(STREAM)?;
        for option in [RECEIVE, SEND] {
            equal("at first", timeout(&one, option), Ok([0, 0]))?;
            set_timeout(&one, option, 3, 500_000).step("setsockopt")?;
            equal("set", timeout(&one, option), Ok([3, 500_000]))?;
            refused("too many microseconds", set_timeout(&one, option, 1, 1_000_000), Errno(libc::EDOM))?;
            refused("negative ones", set_timeout(&one, option, -1, -1), Errno(libc::EDOM))?;
            let short = call!(libc::SYS_setsockopt, one.0, libc::SOL_SOCKET, option, &[0i64; 2], 8);
            refused("too short", short, Errno::EINVAL)?;
            equal("still set", timeout(&one, option), Ok([3, 500_000]))?;
            set_timeout(&one, option, -1, 0).step("negative seconds")?;
            equal("no time at all", timeout(&one, option), Ok([0, 0]))?;
        }
        refused("does not wait", receive(&one, 1, 0), Errno::EAGAIN)
    });
    plan.case("receiving and accepting end after SO_RCVTIMEO with EAGAIN, never early", || {
        let name = own_name("patience");
        let server = named(STREAM, &name).step("bind")?;
        listen(&server, 0).step("listen")?;
        set_timeout(&server, RECEIVE, 0, NAP / MICROSECOND).step("SO_RCVTIMEO")?;
        runs_out("accept", || accept(&server))?;
        for kind in [STREAM, DATAGRAMS, PACKETS] {
            let (one, _other) = pair(kind)?;
            set_timeout(&one, RECEIVE, 0, NAP / MICROSECOND).step("SO_RCVTIMEO")?;
            runs_out("recvfrom", || receive(&one, 1, 0))?;
            runs_out("recvmsg", || receive_with(&one, 1, 0, 0))?;
            runs_out("read", || one.read(&mut [0; 1]))?;
        }
        Ok(())
    });
    plan.case("sending and connecting end after SO_SNDTIMEO with EAGAIN, never early", || {
        for kind in [STREAM, DATAGRAMS, PACKETS] {
            let (one, _other) = pair(kind)?;
            while send(&one, &[0; 4096], libc::MSG_DONTWAIT).is_ok() {}
            set_timeout(&one, SEND, 0, NAP / MICROSECOND).step("SO_SNDTIMEO")?;
            runs_out("send", || send(&one, &[0; 4096], 0))?;
            runs_out("write", || one.write(&[0; 4096]))?;
        }
        let name = own_name("crowded");
        let server = named(STREAM, &name).step("bind")?;
        listen(&server, 0).step("listen")?;
        let (first, second) = (socket(STREAM)?, socket(STREAM)?);
        connect(&first, &name).step("connect")?;
        set_timeout(&second, SEND, 0, NAP / MICROSECOND).step("SO_SNDTIMEO")?;
        runs_out("connect", || connect(&second, &name))
    });
    plan.case("a wait with a timeout ends when there is something, and at a signal for good", || {
        let (one, other) = pair(STREAM)?;
        set_timeout(&one, RECEIVE, 10, 0).step("SO_RCVTIMEO")?;
        let writer = Running::start(move || {
            time::sleep(20 * MILLISECOND);
            send(&other, b"x", 0).step("send").map(|_| ())
        })?;
        equal("received", receive(&one, 1, 0), Ok(b"x".to_vec()))?;
        writer.finish()?;
        let (one, _other) = pair(STREAM)?;
        set_timeout(&one, RECEIVE, 10, 0).step("SO_RCVTIMEO")?;
        let signal = interrupter()?;
        refused("interrupted", receive(&one, 1, 0), Errno::EINTR)?;
        signal.finish()
    });
}

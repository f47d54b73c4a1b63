//! What goes with a message through a UNIX socket, unix(7): open files, and who sent it.

use super::sockets::{
    PACKETS, STREAM, accept, bind, connect, listen, option, own_name, pair, receive, send, set_option, socket,
};
use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, equal, refused};
use crate::system::errno::Errno;
use crate::system::file::Descriptor;
use crate::system::process;

/// One piece of control information.
fn control(kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + data.len()).to_ne_bytes().to_vec();
    bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn rights(files: &[i32]) -> Vec<u8> {
    control(libc::SCM_RIGHTS, &files.iter().flat_map(|file| file.to_ne_bytes()).collect::<Vec<u8>>())
}

/// sendmsg(2) of bytes with control information.
fn send_with(socket: &Descriptor, bytes: &[u8], control: &[u8]) -> Result<usize, Errno> {
    let vector = [bytes.as_ptr() as usize, bytes.len()];
    let header = [0, 0, vector.as_ptr() as usize, 1, control.as_ptr() as usize, control.len(), 0];
    call!(libc::SYS_sendmsg, socket.0, &header, 0)
}

/// What recvmsg(2) gave.
#[derive(Debug)]
pub struct Message {
    pub bytes: Vec<u8>,
    control: Vec<u8>,
    pub flags: i32,
}

impl Message {
    /// The files in it, which are closed with it.
    fn files(&self) -> Vec<Descriptor> {
        let pieces = self.pieces();
        let data = pieces.iter().filter(|(kind, _)| *kind == libc::SCM_RIGHTS).flat_map(|(_, data)| data);
        let data: Vec<u8> = data.copied().collect();
        data.chunks_exact(4)
            .map(|number| Descriptor(i32::from_ne_bytes(number.try_into().unwrap())))
            .collect()
    }

    /// Process, user and group that it says it is from.
    fn credentials(&self) -> Option<[u32; 3]> {
        let pieces = self.pieces();
        let (_, data) = pieces.iter().find(|(kind, _)| *kind == libc::SCM_CREDENTIALS)?;
        let number = |index: usize| u32::from_ne_bytes(data[index * 4..][..4].try_into().unwrap());
        Some([number(0), number(1), number(2)])
    }

    fn pieces(&self) -> Vec<(i32, Vec<u8>)> {
        let (mut rest, mut pieces) = (&self.control[..], Vec::new());
        while rest.len() >= 16 {
            let length = usize::from_ne_bytes(rest[..8].try_into().unwrap());
            let kind = i32::from_ne_bytes(rest[12..16].try_into().unwrap());
            pieces.push((kind, rest[16..length].to_vec()));
            rest = &rest[length.next_multiple_of(8).min(rest.len())..];
        }
        pieces
    }
}

pub fn receive_with(socket: &Descriptor, length: usize, room: usize, flags: i32) -> Result<Message, Errno> {
    let (mut bytes, mut control) = (vec![0u8; length], vec![0u8; room]);
    let vector = [bytes.as_mut_ptr() as usize, length];
    let mut header = [0, 0, vector.as_ptr() as usize, 1, control.as_mut_ptr() as usize, room, 0];
    let got = call!(libc::SYS_recvmsg, socket.0, &mut header, flags)?;
    bytes.truncate(got);
    control.truncate(header[5]);
    Ok(Message { bytes, control, flags: header[6] as i32 })
}

pub fn cases(plan: &mut Plan) {
    files_in_messages(plan);
    credentials(plan);
}

fn files_in_messages(plan: &mut Plan) {
    plan.case("an open file is received as another descriptor of it, once", || {
        let (one, other) = pair(STREAM)?;
        let (read_end, write_end) = process::pipe()?;
        send_with(&one, b"a", &rights(&[write_end])).step("sendmsg")?;
        process::close(write_end);
        let peeked = receive_with(&other, 10, 24, libc::MSG_PEEK).step("peek")?;
        equal("peeked files", peeked.files().len(), 1)?;
        let message = receive_with(&other, 10, 24, libc::MSG_CMSG_CLOEXEC).step("recvmsg")?;
        equal("bytes", &message.bytes[..], b"a")?;
        let files = message.files();
        equal("files", files.len(), 1)?;
        equal("F_GETFD", call!(libc::SYS_fcntl, files[0].0, libc::F_GETFD), Ok(1))?;
        files[0].write(b"through").step("writing through it")?;
        drop(files);
        equal("received", Descriptor(read_end).read_to_end().step("read")?, b"through".to_vec())
    });
    plan.case("bytes after files are received apart; files without room are closed", || {
        let (one, other) = pair(STREAM)?;
        let (read_end, write_end) = process::pipe()?;
        send(&one, b"before", 0).step("send")?;
        send_with(&one, b"with", &rights(&[write_end, write_end])).step("sendmsg")?;
        send(&one, b"after", 0).step("send")?;
        process::close(write_end);
        let message = receive_with(&other, 100, 20, 0).step("recvmsg")?;
        equal("bytes", &message.bytes[..], b"beforewith")?;
        equal("flags", message.flags, libc::MSG_CTRUNC)?;
        equal("files", message.files().len(), 1)?;
        equal("after", receive(&other, 100, 0), Ok(b"after".to_vec()))?;
        let (another_end, write_end) = process::pipe()?;
        send_with(&one, b"nowhere", &rights(&[write_end])).step("sendmsg")?;
        process::close(write_end);
        let mut byte = 0u8;
        let vector = [&raw mut byte as usize, 1];
        let mut header = [0, 0, vector.as_ptr() as usize, 1, 8, 100, 0];
        equal("bytes", call!(libc::SYS_recvmsg, other.0, &mut header, 0), Ok(1))?;
        equal("no room for control information", header[6] as i32, libc::MSG_CTRUNC)?;
        equal("closed", Descriptor(another_end).read_to_end().step("read")?, Vec::new())?;
        equal("all closed", Descriptor(read_end).read_to_end().step("read")?, Vec::new())
    });
    plan.case("a read closes the files; so does the end of the socket", || {
        for reads in [true, false] {
            let (one, other) = pair(PACKETS)?;
            let (read_end, write_end) = process::pipe()?;
            send_with(&one, b"x", &rights(&[write_end])).step("sendmsg")?;
            process::close(write_end);
            if reads {
                other.read(&mut [0; 4]).step("read")?;
            } else {
                drop(other);
            }
            equal("closed", Descriptor(read_end).read_to_end().step("read")?, Vec::new())?;
        }
        Ok(())
    });
    plan.case("what cannot be sent: no file, malformed or unknown information, too many", || {
        let (one, _other) = pair(STREAM)?;
        refused("no file", send_with(&one, b"x", &rights(&[999])), Errno::EBADF)?;
        refused("unknown", send_with(&one, b"x", &control(77, &[0; 4])), Errno::EINVAL)?;
        let mut short = rights(&[0]);
        short[0] = 12;
        refused("malformed", send_with(&one, b"x", &short), Errno::EINVAL)?;
        refused("254 files", send_with(&one, b"x", &rights(&[0; 254])), Errno::EINVAL)
    });
    plan.case(
        "sockets sent through themselves and each other are closed when nobody can receive them",
        circle,
    );
    plan.case("a socket that somebody can still receive is kept, however it was sent", || {
        let (outer, outer_end) = pair(STREAM)?;
        let (inner, inner_end) = pair(STREAM)?;
        send_with(&inner, b"x", &rights(&[inner_end.0, inner.0])).step("into itself")?;
        send_with(&outer, b"x", &rights(&[inner_end.0])).step("outer")?;
        drop((inner, inner_end));
        drop(pair(STREAM)?);
        let message = receive_with(&outer_end, 10, 64, 0).step("recvmsg")?;
        let files = message.files();
        let message = receive_with(&files[0], 10, 64, 0).step("recvmsg of the received")?;
        equal("bytes", &message.bytes[..], b"x")?;
        let files = message.files();
        equal("files", files.len(), 2)?;
        send(&files[1], b"alive", 0).step("send")?;
        equal("alive", receive(&files[0], 10, 0), Ok(b"alive".to_vec()))
    });
    plan.case("a chain of 500 sockets in each other's messages ends", || {
        let (read_end, write_end) = process::pipe()?;
        let mut last = Descriptor(write_end);
        for _ in 0..500 {
            let (one, other) = pair(STREAM)?;
            send_with(&one, b"x", &rights(&[last.0])).step("sendmsg")?;
            last = other;
        }
        drop(last);
        equal("closed", Descriptor(read_end).read_to_end().step("read")?, Vec::new())
    });
}

/// Leaves sockets that only messages in one another hold.
pub fn circle() -> Outcome {
    let (read_end, write_end) = process::pipe()?;
    {
        let (one, other) = pair(STREAM)?;
        send_with(&one, b"x", &rights(&[one.0, other.0, write_end])).step("sendmsg")?;
        send_with(&other, b"x", &rights(&[one.0, other.0])).step("sendmsg")?;
        let (server, client) = (socket(STREAM)?, socket(STREAM)?);
        bind(&server, &own_name("circle")).step("bind")?;
        listen(&server, 5).step("listen")?;
        connect(&client, &own_name("circle")).step("connect")?;
        send_with(&client, b"x", &rights(&[server.0, client.0, write_end])).step("sendmsg")?;
    }
    process::close(write_end);
    // Linux collects them when a socket is closed, a little later.
    drop(pair(STREAM)?);
    equal("closed", Descriptor(read_end).read_to_end().step("read")?, Vec::new())
}

fn credentials(plan: &mut Plan) {
    let own = || {
        // SAFETY: they take nothing and cannot fail.
        unsafe { [std::process::id(), libc::getuid(), libc::getgid()] }
    };
    plan.case("SO_PEERCRED: who made the other end", move || {
        let peer = |socket: &Descriptor| -> Result<[u32; 3], Errno> {
            let (mut value, mut length) = ([0u32; 3], 12i32);
            call!(
                libc::SYS_getsockopt,
                socket.0,
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                &mut value,
                &mut length
            )?;
            Ok(value)
        };
        equal("nobody", peer(&socket(STREAM)?), Ok([0, u32::MAX, u32::MAX]))?;
        let server = socket(STREAM)?;
        bind(&server, &own_name("peer")).step("bind")?;
        listen(&server, 1).step("listen")?;
        let parent = own();
        let child = Running::start(move || {
            let client = socket(STREAM)?;
            connect(&client, &own_name_of("peer", parent[0])).step("connect")?;
            equal("the server", peer(&client), Ok(parent))?;
            send(&client, &std::process::id().to_ne_bytes(), 0).step("send")?;
            receive(&client, 1, 0).step("waiting for the end").map(|_| ())
        })?;
        let accepted = accept(&server).step("accept")?;
        let said = receive(&accepted, 4, 0)?;
        equal("the client", peer(&accepted)?[0].to_ne_bytes().to_vec(), said)?;
        drop(accepted);
        child.finish()
    });
    plan.case("SO_PASSCRED: every message tells its sender, and a stream is not glued over it", move || {
        let (one, other) = pair(STREAM)?;
        set_option(&other, libc::SO_PASSCRED, 1).step("SO_PASSCRED")?;
        equal("SO_PASSCRED", option(&other, libc::SO_PASSCRED), Ok(1))?;
        send(&one, b"parent", 0).step("send")?;
        let child = process::spawn(|| i32::from(send(&one, b"child", 0).is_err()))?;
        process::wait(child).step("wait")?;
        let message = receive_with(&other, 100, 100, 0).step("recvmsg")?;
        equal("first", (&message.bytes[..], message.credentials()), (&b"parent"[..], Some(own())))?;
        let message = receive_with(&other, 100, 100, 0).step("recvmsg")?;
        let from = Some([child as u32, own()[1], own()[2]]);
        equal("second", (&message.bytes[..], message.credentials()), (&b"child"[..], from))?;
        send(&one, b"x", 0).step("send")?;
        equal("no room", receive_with(&other, 1, 0, 0).step("recvmsg")?.flags, libc::MSG_CTRUNC)
    });
    plan.case("SCM_CREDENTIALS: one's own may be sent, others' with a capability only", move || {
        let (one, other) = pair(PACKETS)?;
        set_option(&other, libc::SO_PASSCRED, 1).step("SO_PASSCRED")?;
        let said = |who: [u32; 3]| {
            control(
                libc::SCM_CREDENTIALS,
                &who.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<u8>>(),
            )
        };
        send_with(&one, b"own", &said(own())).step("sendmsg")?;
        equal("own", receive_with(&other, 9, 99, 0).step("recvmsg")?.credentials(), Some(own()))?;
        super::support::needs_root()?;
        send_with(&one, b"other", &said([1, 7, 8])).step("sendmsg")?;
        equal("others", receive_with(&other, 9, 99, 0).step("recvmsg")?.credentials(), Some([1, 7, 8]))?;
        refused("no process", send_with(&one, b"x", &said([4_000_000, 0, 0])), Errno::ESRCH)?;
        call!(libc::SYS_setresuid, 1000, 1000, 1000).step("setresuid")?;
        let mine = [own()[0], 1000, own()[2]];
        send_with(&one, b"x", &said(mine)).step("own again")?;
        for other in [[1, 1000, mine[2]], [mine[0], 0, mine[2]], [mine[0], 1000, 55]] {
            refused("another's", send_with(&one, b"x", &said(other)), Errno::EPERM)?;
        }
        Ok(())
    });
}

fn own_name_of(what: &str, process: u32) -> Vec<u8> {
    format!("\0gnomon-{what}-{process}").into_bytes()
}

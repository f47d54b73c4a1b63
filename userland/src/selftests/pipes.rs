//! Pipes, poll, and descriptors themselves: dup, flags, close, and the small devices.

use crate::call;
use crate::ktap::{Outcome, Plan, Running, Step, Why, equal, holds, refused, within};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process;
use crate::system::time::{self, MILLISECOND, SECOND};

const IN: i16 = libc::POLLIN;
const OUT: i16 = libc::POLLOUT;
const HUP: i16 = libc::POLLHUP;
const ERR: i16 = libc::POLLERR;

fn read(descriptor: i32, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; length];
    let got = call!(libc::SYS_read, descriptor, bytes.as_mut_ptr(), length)?;
    bytes.truncate(got);
    Ok(bytes)
}

fn write(descriptor: i32, bytes: &[u8]) -> Result<usize, Errno> {
    call!(libc::SYS_write, descriptor, bytes.as_ptr(), bytes.len())
}

fn pipe_with(flags: i32) -> Result<(i32, i32), Errno> {
    let mut ends = [0i32; 2];
    call!(libc::SYS_pipe2, &mut ends, flags)?;
    Ok((ends[0], ends[1]))
}

/// The events of one descriptor, or None when the limit (in milliseconds) passes.
fn poll(descriptor: i32, events: i16, limit: i32) -> Result<Option<i16>, Errno> {
    let mut entry = libc::pollfd { fd: descriptor, events, revents: 0 };
    Ok((call!(libc::SYS_poll, &mut entry, 1, limit)? > 0).then_some(entry.revents))
}

pub fn cases(plan: &mut Plan) {
    the_pipe(plan);
    polling(plan);
    descriptors(plan);
    devices(plan);
}

fn the_pipe(plan: &mut Plan) {
    plan.case("what is written is read, in order, in pieces of any size; then the end", || {
        let (read_end, write_end) = pipe_with(0)?;
        write(write_end, b"hello ").step("write")?;
        write(write_end, b"world").step("write")?;
        process::close(write_end);
        equal("four bytes", read(read_end, 4), Ok(b"hell".to_vec()))?;
        equal("the rest", read(read_end, 100), Ok(b"o world".to_vec()))?;
        equal("the end", read(read_end, 100), Ok(Vec::new()))?;
        equal("the end again", read(read_end, 100), Ok(Vec::new()))
    });
    plan.case("a read waits for a byte, a write for room", || {
        let (read_end, write_end) = pipe_with(0)?;
        let writer = Running::start(move || {
            time::sleep(30 * MILLISECOND);
            // More than a pipe holds: this write waits for the reader.
            equal("the long write", write(write_end, &[7; 300_000]), Ok(300_000))
        })?;
        process::close(write_end);
        let mut total = 0;
        loop {
            let bytes = read(read_end, 10_000).step("read")?;
            if bytes.is_empty() {
                break;
            }
            holds(bytes.iter().all(|byte| *byte == 7), || "other bytes".into())?;
            total += bytes.len();
        }
        equal("bytes", total, 300_000)?;
        writer.finish()
    });
    plan.case("without waiting: EAGAIN when empty, EAGAIN when 65536 bytes are in it", || {
        let (read_end, write_end) = pipe_with(libc::O_NONBLOCK)?;
        refused("a read", read(read_end, 1), Errno::EAGAIN)?;
        let mut held = 0;
        while let Ok(count) = write(write_end, &[1; 4096]) {
            held += count;
            holds(held <= 1 << 20, || "it takes more than a mebibyte".into())?;
        }
        equal("bytes held", held, 65_536)?;
        refused("a write", write(write_end, &[1]), Errno::EAGAIN)?;
        read(read_end, 4096).step("read")?;
        equal("a write into the room", write(write_end, &[1; 4096]), Ok(4096))
    });
    plan.case("writes of up to 4096 bytes are not mixed with others", || {
        let (read_end, write_end) = pipe_with(0)?;
        let writers: Vec<Running> = (1..=4u8)
            .map(|byte| {
                Running::start(move || {
                    for _ in 0..20 {
                        equal("write", write(write_end, &[byte; 3000]), Ok(3000))?;
                    }
                    Ok(())
                })
            })
            .collect::<Result<_, _>>()?;
        process::close(write_end);
        let all = Descriptor(read_end).read_to_end()?;
        equal("bytes", all.len(), 4 * 20 * 3000)?;
        let whole = all.chunks(3000).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0]));
        writers.into_iter().try_for_each(Running::finish)?;
        holds(whole, || "writes were mixed".into())
    });
    plan.case("each end does its own thing only: EBADF; no position: ESPIPE", || {
        let (read_end, write_end) = pipe_with(0)?;
        refused("reading the writing end", read(write_end, 1), Errno::EBADF)?;
        refused("writing the reading end", write(read_end, b"x"), Errno::EBADF)?;
        refused("lseek", call!(libc::SYS_lseek, read_end, 0, libc::SEEK_SET), Errno::ESPIPE)?;
        refused("pread64", call!(libc::SYS_pread64, read_end, [0u8; 4].as_mut_ptr(), 4, 0), Errno::ESPIPE)?;
        equal("kind", file::status_of(read_end)?.st_mode & libc::S_IFMT, libc::S_IFIFO)
    });
    plan.case("pipe2 refuses unknown flags, and sets those it knows", || {
        refused("flags 1", pipe_with(1), Errno::EINVAL)?;
        let (read_end, _) = pipe_with(libc::O_CLOEXEC | libc::O_NONBLOCK)?;
        equal("F_GETFD", call!(libc::SYS_fcntl, read_end, libc::F_GETFD), Ok(1))?;
        let flags = call!(libc::SYS_fcntl, read_end, libc::F_GETFL)? as i32;
        equal("F_GETFL", flags & libc::O_NONBLOCK, libc::O_NONBLOCK)
    });
    plan.case("a chain of five processes passes on a mebibyte", || {
        let (mut input, first) = pipe_with(0)?;
        let source = process::spawn(|| {
            let block: Vec<u8> = (0..=255).collect();
            i32::from(!(0..4096).all(|_| write(first, &block) == Ok(256)))
        })?;
        process::close(first);
        let mut children = vec![source];
        for _ in 0..4 {
            let (next, output) = pipe_with(0)?;
            children.push(process::spawn(|| {
                process::close(next);
                while let Ok(bytes) = read(input, 5000) {
                    if bytes.is_empty() || write(output, &bytes).is_err() {
                        break;
                    }
                }
                0
            })?);
            process::close(input);
            process::close(output);
            input = next;
        }
        let all = Descriptor(input).read_to_end()?;
        equal("bytes", all.len(), 1 << 20)?;
        holds(all.iter().enumerate().all(|(index, byte)| *byte == index as u8), || "other bytes".into())?;
        children.into_iter().try_for_each(|child| process::wait(child).map(|_| ()).step("wait"))
    });
}

fn polling(plan: &mut Plan) {
    plan.case("poll of a pipe: readable with a byte, writable with room, hung up, broken", || {
        let (read_end, write_end) = pipe_with(0)?;
        equal("empty, to read", poll(read_end, IN, 0), Ok(None))?;
        equal("empty, to write", poll(write_end, OUT, 0), Ok(Some(OUT)))?;
        write(write_end, b"x")?;
        equal("a byte, to read", poll(read_end, IN, 0), Ok(Some(IN)))?;
        process::close(write_end);
        equal("a byte and hung up", poll(read_end, IN, 0), Ok(Some(IN | HUP)))?;
        read(read_end, 1)?;
        equal("hung up", poll(read_end, IN, 0), Ok(Some(HUP)))?;
        let (read_end, write_end) = pipe_with(0)?;
        process::close(read_end);
        equal("broken", poll(write_end, OUT, 0), Ok(Some(OUT | ERR)))
    });
    plan.case("poll: a closed descriptor is POLLNVAL, a negative one is passed over", || {
        equal("closed", poll(987, IN, 0), Ok(Some(libc::POLLNVAL)))?;
        equal("negative", poll(-5, IN, 0), Ok(None))?;
        refused("too many", call!(libc::SYS_poll, 0usize, usize::MAX, 0), Errno::EINVAL)
    });
    plan.case("poll waits, not shorter than asked, and is woken", || {
        let (read_end, write_end) = pipe_with(0)?;
        let before = time::read_by_call(1)?;
        equal("nothing comes", poll(read_end, IN, 30), Ok(None))?;
        within("waited", time::read_by_call(1)? - before, 30 * MILLISECOND, 3 * SECOND)?;
        let writer = Running::start(move || {
            time::sleep(20 * MILLISECOND);
            write(write_end, b"x").step("write").map(|_| ())
        })?;
        equal("something comes", poll(read_end, IN, 20_000), Ok(Some(IN)))?;
        writer.finish()
    });
    plan.case("regular files and directories are always ready", || {
        let file = Descriptor::open("/proc/version", libc::O_RDONLY)?;
        equal("poll", poll(file.0, IN | OUT, 0), Ok(Some(IN | OUT)))
    });
    plan.case("select: sets of ready descriptors, and what is left of the limit", || {
        let (read_end, write_end) = pipe_with(0)?;
        let bit = |descriptor: i32| 1u64 << descriptor;
        let select = |readable: u64, writable: u64, microseconds: i64| {
            let (mut readable, mut writable) = ([readable, 0, 0, 0], [writable, 0, 0, 0]);
            let mut limit = libc::timeval { tv_sec: 0, tv_usec: microseconds };
            let count = call!(libc::SYS_select, 64, &mut readable, &mut writable, 0usize, &mut limit)?;
            Ok::<_, Errno>((count, readable[0], writable[0], limit.tv_usec))
        };
        let (count, readable, writable, left) =
            select(bit(read_end), bit(write_end), 500_000).step("select")?;
        equal("only writable", (count, readable, writable), (1, 0, bit(write_end)))?;
        within("left", left, 1, 500_000)?;
        write(write_end, b"x")?;
        let (count, readable, _, _) = select(bit(read_end), 0, 0).step("select")?;
        equal("readable", (count, readable), (1, bit(read_end)))?;
        refused("a closed descriptor", select(bit(63), 0, 0), Errno::EBADF)
    });
    plan.case("ppoll and pselect6 change the mask while they wait", || {
        let set = super::signals::bit(libc::SIGUSR1);
        super::signals::handle(libc::SIGUSR1, 0, 0)?;
        call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &set, 0usize, 8usize).step("sigprocmask")?;
        let limit = time::timespec(5 * SECOND);
        let open = 0u64;
        for call in ["ppoll", "pselect6"] {
            super::signals::kill(super::signals::own_id(), libc::SIGUSR1)?;
            let answer = if call == "ppoll" {
                call!(libc::SYS_ppoll, 0usize, 0, &limit, &open, 8usize)
            } else {
                let mask = [std::ptr::from_ref(&open) as usize, 8];
                call!(libc::SYS_pselect6, 0, 0usize, 0usize, 0usize, &limit, &mask)
            };
            refused(call, answer, Errno::EINTR)?;
        }
        equal("handled", super::signals::COUNT.load(std::sync::atomic::Ordering::SeqCst), 2)
    });
}

fn descriptors(plan: &mut Plan) {
    plan.case("dup gives the lowest free number, dup2 the one asked for, dup3 with a flag", || {
        let file = file::open("/proc/version", libc::O_RDONLY)?;
        let lowest = call!(libc::SYS_dup, file).step("dup")? as i32;
        process::close(lowest);
        equal("dup again", call!(libc::SYS_dup, file), Ok(lowest as usize))?;
        equal("dup2", call!(libc::SYS_dup2, file, 77), Ok(77))?;
        equal("dup2 onto itself", call!(libc::SYS_dup2, file, file), Ok(file as usize))?;
        equal("dup3", call!(libc::SYS_dup3, file, 78, libc::O_CLOEXEC), Ok(78))?;
        equal(
            "flags",
            (call!(libc::SYS_fcntl, 77, libc::F_GETFD), call!(libc::SYS_fcntl, 78, libc::F_GETFD)),
            (Ok(0), Ok(1)),
        )?;
        refused("dup3 onto itself", call!(libc::SYS_dup3, file, file, 0), Errno::EINVAL)?;
        refused("dup of a closed one", call!(libc::SYS_dup, 987), Errno::EBADF)?;
        refused("dup2 to -1", call!(libc::SYS_dup2, file, -1), Errno::EBADF)?;
        refused("dup2 beyond the limit", call!(libc::SYS_dup2, file, 1 << 30), Errno::EBADF)
    });
    plan.case("F_DUPFD gives the lowest from a number on", || {
        let file = file::open("/proc/version", libc::O_RDONLY)?;
        equal("F_DUPFD", call!(libc::SYS_fcntl, file, libc::F_DUPFD, 50), Ok(50))?;
        equal("again", call!(libc::SYS_fcntl, file, libc::F_DUPFD_CLOEXEC, 50), Ok(51))?;
        equal("its flag", call!(libc::SYS_fcntl, 51, libc::F_GETFD), Ok(1))?;
        refused(
            "from beyond the limit",
            call!(libc::SYS_fcntl, file, libc::F_DUPFD, 1 << 30),
            Errno::EINVAL,
        )?;
        refused("an unknown command", call!(libc::SYS_fcntl, file, 9999, 0), Errno::EINVAL)
    });
    plan.case("copies share position and status flags, not the flag to close on exec", || {
        let file = Descriptor::open("/proc/version", libc::O_RDONLY)?;
        let copy = Descriptor(call!(libc::SYS_dup, file.0)? as i32);
        read(file.0, 5)?;
        equal("position of the copy", call!(libc::SYS_lseek, copy.0, 0, libc::SEEK_CUR), Ok(5))?;
        call!(libc::SYS_fcntl, copy.0, libc::F_SETFL, libc::O_NONBLOCK).step("F_SETFL")?;
        let flags = call!(libc::SYS_fcntl, file.0, libc::F_GETFL)? as i32;
        equal("status flag of the first", flags & libc::O_NONBLOCK, libc::O_NONBLOCK)?;
        let other = Descriptor::open("/proc/version", libc::O_RDONLY)?;
        equal("position of another open", call!(libc::SYS_lseek, other.0, 0, libc::SEEK_CUR), Ok(0))
    });
    plan.case("close: twice is EBADF; close_range closes a range", || {
        let file = file::open("/proc/version", libc::O_RDONLY)?;
        call!(libc::SYS_close, file).step("close")?;
        refused("again", call!(libc::SYS_close, file), Errno::EBADF)?;
        for number in 200..210 {
            call!(libc::SYS_dup2, 1, number)?;
        }
        call!(libc::SYS_close_range, 202, 206, 0).step("close_range")?;
        let open: Vec<i32> =
            (200..210).filter(|number| call!(libc::SYS_fcntl, *number, libc::F_GETFD).is_ok()).collect();
        equal("still open", open, vec![200, 201, 207, 208, 209])?;
        refused("an empty range", call!(libc::SYS_close_range, 5, 4, 0), Errno::EINVAL)
    });
    plan.case("no more descriptors than the limit: EMFILE", || {
        call!(libc::SYS_setrlimit, libc::RLIMIT_NOFILE, &[30u64, 30]).step("setrlimit")?;
        let mut last = Ok(0);
        for _ in 0..40 {
            last = call!(libc::SYS_dup, 1);
        }
        refused("dup", last, Errno::EMFILE)?;
        refused("open", file::open("/proc/version", libc::O_RDONLY), Errno::EMFILE)?;
        refused("pipe", pipe_with(0), Errno::EMFILE)
    });
    plan.case("readv and writev take pieces in order", || {
        let (read_end, write_end) = pipe_with(0)?;
        let vector = |pieces: [&[u8]; 3]| pieces.map(|piece| (piece.as_ptr(), piece.len()));
        let pieces = vector([b"ab", b"", b"cde"]);
        equal("writev", call!(libc::SYS_writev, write_end, &pieces, 3), Ok(5))?;
        let (mut one, mut two) = ([0u8; 3], [0u8; 5]);
        let pieces = [(one.as_mut_ptr(), 3usize), (two.as_mut_ptr(), 5usize)];
        equal("readv", call!(libc::SYS_readv, read_end, &pieces, 2), Ok(5))?;
        equal("bytes", (&one, &two[..2]), (b"abc", b"de".as_slice()))?;
        refused("-1 pieces", call!(libc::SYS_writev, write_end, &pieces, -1), Errno::EINVAL)?;
        refused("1025 pieces", call!(libc::SYS_writev, write_end, &pieces, 1025), Errno::EINVAL)?;
        equal("no pieces", call!(libc::SYS_writev, write_end, 0usize, 0), Ok(0))
    });
}

fn devices(plan: &mut Plan) {
    let device = |name: &str| Descriptor::open(&format!("/dev/{name}"), libc::O_RDWR).step(name);
    plan.case("/dev/null swallows and ends, /dev/zero gives zeros, /dev/full is ENOSPC", move || {
        let null = device("null")?;
        equal("write to null", null.write(&[1; 1000]), Ok(1000))?;
        equal("read from null", null.read(&mut [0; 10]), Ok(0))?;
        let zero = device("zero")?;
        let mut bytes = [1u8; 5000];
        equal("read from zero", zero.read(&mut bytes), Ok(5000))?;
        holds(bytes.iter().all(|byte| *byte == 0), || "not zeros".into())?;
        equal("write to zero", zero.write(&[1; 10]), Ok(10))?;
        refused("write to full", device("full")?.write(&[1]), Errno::ENOSPC)
    });
    plan.case("/dev/random and /dev/urandom differ each time, getrandom too", move || -> Outcome {
        let draw = |name: &str| -> Result<[u8; 32], Why> {
            let mut bytes = [0u8; 32];
            equal(name, device(name)?.read(&mut bytes), Ok(32))?;
            Ok(bytes)
        };
        for name in ["random", "urandom"] {
            let (one, two) = (draw(name)?, draw(name)?);
            holds(one != two && one != [0; 32], || format!("{name} repeats itself"))?;
        }
        let mut draws = [[0u8; 32]; 2];
        for bytes in &mut draws {
            equal("getrandom", call!(libc::SYS_getrandom, bytes, 32usize, 0), Ok(32))?;
        }
        holds(draws[0] != draws[1], || "getrandom repeats itself".into())?;
        refused("unknown flags", call!(libc::SYS_getrandom, &mut draws[0], 32usize, 0x100), Errno::EINVAL)
    });
    plan.case("devices are devices: their kind and numbers", || {
        for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
            let status = file::status(&format!("/dev/{name}"), 0).step(name)?;
            equal(
                name,
                (status.st_mode & libc::S_IFMT, status.st_rdev),
                (libc::S_IFCHR, libc::makedev(1, minor)),
            )?;
        }
        Ok(())
    });
    plan.case("a request that a device does not know is ENOTTY", move || {
        let mut buffer = [0u8; 64];
        let answer = call!(libc::SYS_ioctl, device("null")?.0, libc::TCGETS, &mut buffer);
        refused("TCGETS of null", answer, Errno::ENOTTY)?;
        let (read_end, _) = pipe_with(0)?;
        refused(
            "TCGETS of a pipe",
            call!(libc::SYS_ioctl, read_end, libc::TCGETS, &mut buffer),
            Errno::ENOTTY,
        )
    });
    plan.case("sendfile copies a file into a pipe from where it is told", || {
        let file = super::support::Temporary::with("send", b"0123456789", 0o644)?;
        let source = Descriptor::open(&file.0, libc::O_RDONLY)?;
        let (read_end, write_end) = pipe_with(0)?;
        let mut offset = 3i64;
        equal("sendfile", call!(libc::SYS_sendfile, write_end, source.0, &mut offset, 4), Ok(4))?;
        equal("the offset", offset, 7)?;
        equal("bytes", read(read_end, 10), Ok(b"3456".to_vec()))?;
        equal("position", call!(libc::SYS_lseek, source.0, 0, libc::SEEK_CUR), Ok(0))?;
        equal("sendfile by position", call!(libc::SYS_sendfile, write_end, source.0, 0usize, 100), Ok(10))
    });
}

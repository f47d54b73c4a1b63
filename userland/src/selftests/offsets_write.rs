//! Writing timens_offsets: which error comes first, how much of a write is taken, and that it is all or nothing.

use super::support::{become_nobody, needs_root, unshared};
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, known_defect, on_gnomon, refused, skipped};
use crate::system::credentials::{self, CAP_SYS_TIME};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, OFFSETS};
use crate::system::process;
use crate::system::time::SECOND;

fn pending_file(flags: i32) -> Result<Descriptor, Why> {
    needs_root()?;
    unshared()?;
    Descriptor::open(OFFSETS, flags).step("open")
}

fn offsets_are(monotonic: i64, boottime: i64) -> Outcome {
    let offsets = namespace::offsets()?;
    equal("offsets", (offsets.monotonic, offsets.boottime), (monotonic * SECOND, boottime * SECOND))
}

/// A write of `length` bytes from an address.
fn write_from(file: &Descriptor, address: usize, length: usize) -> Result<usize, Errno> {
    call!(libc::SYS_write, file.0, address, length)
}

/// What is written in one write, how much of it is taken, and the offsets then.
const COUNTS: &[(&str, usize, i64, i64)] = &[
    ("monotonic 1 0", 13, 1, 0),
    ("monotonic 1 0\n", 14, 1, 0),
    ("monotonic 1 0\nboottime 2 0", 26, 1, 2),
    ("monotonic 1 0\nboottime 2 0\n", 27, 1, 2),
    ("monotonic 1 0\nboottime 2 0\n\n", 27, 1, 2),
    ("monotonic 1 0\nboottime 2 0\n\n\n\n", 27, 1, 2),
    ("monotonic 1 0\nboottime 2 0\ngarbage", 27, 1, 2),
    ("monotonic 1 0\nboottime 2 0\nmonotonic 3 0\n", 27, 1, 2),
    ("monotonic 1 0\nmonotonic 2 0\nboottime 3 0\n", 28, 2, 0),
    ("boottime 2 0\nmonotonic 1 0 and more words\nx", 42, 1, 2),
];

pub fn cases(plan: &mut Plan) {
    order(plan);
    for (text, count, monotonic, boottime) in COUNTS {
        plan.case(format!("{text:?}: {count} bytes are taken"), move || {
            let file = pending_file(libc::O_WRONLY)?;
            equal("write", file.write(text.as_bytes()), Ok(*count))?;
            offsets_are(*monotonic, *boottime)
        });
    }
    plan.case("what is written after a NUL is counted and not looked at", || {
        let file = pending_file(libc::O_WRONLY)?;
        equal("write", file.write(b"monotonic 1 0\0garbage\n\n\n"), Ok(24))?;
        offsets_are(1, 0)
    });
    plan.case("a loop that writes what is left applies each further pair as a write of its own", || {
        let file = pending_file(libc::O_WRONLY)?;
        let mut rest: &[u8] = b"monotonic 1 0\nboottime 2 0\nmonotonic 3 0\nboottime 4 0\nmonotonic 5 0\n";
        let mut writes = 0;
        while !rest.is_empty() {
            rest = &rest[file.write(rest).step("a write")?..];
            writes += 1;
        }
        equal("writes", writes, 3)?;
        offsets_are(5, 4)
    });
    for (what, text, errno) in [
        ("a bad second line", "monotonic 9 0\nboottime x 0\n", Errno::EINVAL),
        ("a second line out of range", "monotonic 9 0\nboottime 99999999999 0\n", Errno::ERANGE),
        ("a first line out of range", "monotonic 99999999999 0\nboottime 9 0\n", Errno::ERANGE),
        ("a line out of range before a bad one", "monotonic 99999999999 0\nboottime x 0\n", Errno::EINVAL),
    ] {
        plan.case(format!("{what} is {errno} and nothing is applied"), move || {
            let file = pending_file(libc::O_WRONLY)?;
            file.write(b"monotonic 1 0\nboottime 2 0\n").step("a first write")?;
            refused("write", file.write(text.as_bytes()), errno)?;
            offsets_are(1, 2)
        });
    }
}

fn order(plan: &mut Plan) {
    plan.case("after a read or a seek the position is not 0: EINVAL, even before a bad pointer", || {
        let file = pending_file(libc::O_RDWR)?;
        file.read(&mut [0; 8]).step("read")?;
        refused("a write after a read", file.write(b"monotonic 1 0"), Errno::EINVAL)?;
        refused("a bad pointer after a read", write_from(&file, 8, 13), Errno::EINVAL)?;
        call!(libc::SYS_lseek, file.0, 0, libc::SEEK_SET).step("lseek")?;
        file.write(b"monotonic 1 0").step("a write after a seek back")?;
        call!(libc::SYS_lseek, file.0, 5, libc::SEEK_SET).step("lseek")?;
        refused("a write after a seek", file.write(b"monotonic 1 0"), Errno::EINVAL)
    });
    plan.case("4096 bytes are EINVAL, also with a bad pointer; 4095 are fine", || {
        let file = pending_file(libc::O_WRONLY)?;
        let mut text = b"monotonic 1 0 ".to_vec();
        text.resize(4096, b'x');
        refused("4096 bytes", file.write(&text), Errno::EINVAL)?;
        refused("4096 bytes from a bad pointer", write_from(&file, 8, 4096), Errno::EINVAL)?;
        refused("4095 bytes from a bad pointer", write_from(&file, 8, 4095), Errno::EFAULT)?;
        equal("4095 bytes", file.write(&text[..4095]), Ok(4095))?;
        offsets_are(1, 0)
    });
    plan.case("an unreadable buffer is EFAULT", || {
        let file = pending_file(libc::O_WRONLY)?;
        refused("write", write_from(&file, 8, 13), Errno::EFAULT)
    });
    plan.case("a zombie's or a reaped process's file: ESRCH, but a syntax error is EINVAL first", || {
        needs_root()?;
        let (read_end, write_end) = process::pipe()?;
        let child = process::spawn(|| {
            process::close(write_end);
            process::await_byte(read_end);
            0
        })?;
        let file = Descriptor::open(&format!("/proc/{child}/timens_offsets"), libc::O_WRONLY).step("open")?;
        process::close(write_end);
        let mut information = [0u64; 16];
        let options = libc::WEXITED | libc::WNOWAIT;
        call!(libc::SYS_waitid, libc::P_PID, child, &mut information, options, 0usize).step("waitid")?;
        for state in ["a zombie's", "a reaped process's"] {
            refused(&format!("a good line to {state}"), file.write(b"monotonic 1 0"), Errno::ESRCH)?;
            refused(&format!("nonsense to {state}"), file.write(b"nonsense"), Errno::EINVAL)?;
            let far = file.write(b"monotonic 99999999999 0");
            refused(&format!("out of range to {state}"), far, Errno::ESRCH)?;
            if state == "a zombie's" {
                process::wait(child)?;
            }
        }
        Ok(())
    });
    plan.case("a missing CAP_SYS_TIME is EPERM after EINVAL, before ERANGE", || {
        needs_root()?;
        unshared()?;
        let all = credentials::capabilities()?;
        let effective = all.effective & !(1 << CAP_SYS_TIME);
        credentials::set_capabilities(credentials::Capabilities { effective, ..all }).step("capset")?;
        let file = Descriptor::open(OFFSETS, libc::O_WRONLY).step("open")?;
        refused("nonsense", file.write(b"nonsense"), Errno::EINVAL)?;
        refused("too many nanoseconds", file.write(b"monotonic 1 1000000000"), Errno::EINVAL)?;
        refused("out of range", file.write(b"monotonic 99999999999 0"), Errno::EPERM)?;
        refused("a good line", file.write(b"monotonic 1 0"), Errno::EPERM)
    });
    plan.case("an unprivileged process and the root namespace: EPERM before EACCES", || {
        become_nobody()?;
        refused("a good line", file::write(OFFSETS, "monotonic 1 0"), Errno::EPERM)
    });
    plan.case("the namespace is the child's at the time of the write, not of the open", || {
        let file = pending_file(libc::O_WRONLY)?;
        file.write(b"monotonic 1 0").step("the first")?;
        namespace::unshare().step("unshare again")?;
        file.write(b"monotonic 2 0").step("the second")?;
        offsets_are(2, 0)
    });
    for nanoseconds in ["18446744073709551615", "9223372036854775808", "9223372036854775809"] {
        plan.case(format!("{nanoseconds} nanoseconds, negative as a signed number, are EINVAL"), move || {
            let file = pending_file(libc::O_WRONLY)?;
            if !nanoseconds.starts_with('1') && !on_gnomon() {
                return skipped("Linux up to 6.18 spins for seconds on this number; it takes the one before");
            }
            match file.write(format!("monotonic 0 {nanoseconds}").as_bytes()) {
                Ok(_) => known_defect("nanoseconds of 2^63 and more are taken"),
                answer => refused("write", answer, Errno::EINVAL),
            }
        });
    }
}

//! The program that selftests execute to see how things look after an exec: prints one thing and ends.
//!
//! It is this same binary under a name of its own, so that an exec needs nothing else in the file system.

use super::sockets;
use crate::system::errno::Errno;
use crate::system::vdso::Vdso;
use crate::system::{file, namespace, process, time};
use crate::{call, say};
use std::ffi::OsString;

/// The name it answers to, as argument 0 or as the first argument.
pub const NAME: &str = "selftest-helper";

/// Does what its first argument says.
pub fn main(arguments: &[OsString]) -> i32 {
    let words: Vec<String> =
        arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match words.first().map(String::as_str) {
        // The two namespaces.
        Some("slots") => {
            let link = |path| file::readlink(path).unwrap_or_else(|errno| errno.name());
            say!("{} {}", link(namespace::TIME), link(namespace::TIME_FOR_CHILDREN));
        }
        // The host's realtime and one other clock, one right after the other, in nanoseconds.
        Some("clock") => {
            let id = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0);
            let realtime = time::read_by_call(libc::CLOCK_REALTIME).unwrap_or(0);
            say!("{realtime} {}", time::read_by_call(id).unwrap_or(0));
        }
        // Where its parts are: stack, heap, a mapping, the vDSO.
        Some("addresses") => {
            let stack = &raw const words;
            let heap = call!(libc::SYS_brk, 0).unwrap_or(0);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let mapping = super::memory::mmap(0, 1 << 24, libc::PROT_READ, flags, -1, 0).unwrap_or(0);
            say!("{stack:p} {heap:x} {mapping:x} {:x}", Vdso::find_base());
        }
        // Its own arguments, one a line.
        Some("arguments") => arguments.iter().for_each(|word| say!("{}", word.to_string_lossy())),
        // The text of a file.
        Some("file") => {
            let path = words.get(1).map_or("", String::as_str);
            crate::system::print::write_all(1, &file::read(path).unwrap_or_else(|errno| errno.name()));
        }
        // The effective capabilities, hexadecimal.
        Some("capabilities") => {
            let effective =
                crate::system::credentials::capabilities().map_or(u64::MAX, |sets| sets.effective);
            say!("{effective:x}");
        }
        // Says that it has started, then waits for the end of its input.
        Some("wait") => {
            crate::system::print::write_all(1, ".");
            crate::system::process::await_byte(0);
        }
        Some("link") => {
            say!("{}", file::readlink(words.get(1).map_or("", String::as_str)).unwrap_or_default())
        }
        // Executes the other words where every system call has a listener already, seccomp(2), so that no second one may be
        // had. (It listens to nothing.)
        Some("listened") => {
            say!("{}", listened().err().unwrap_or_else(|| process::execute(&words[1..])).name());
            return 1;
        }
        // The environment, one variable a line, in the order given.
        Some("environment") => std::env::vars().for_each(|(name, value)| say!("{name}={value}")),
        // The open descriptors below 100.
        Some("descriptors") => {
            let open =
                (0..100).filter(|number| crate::call!(libc::SYS_fcntl, *number, libc::F_GETFD).is_ok());
            open.for_each(|number| say!("{number}"));
        }
        // The path in the auxiliary vector, and its random bytes.
        Some("vector") => {
            // SAFETY: the first is a string, the second 16 bytes, by the ABI.
            unsafe {
                let path = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
                say!("{}", std::ffi::CStr::from_ptr(path).to_string_lossy());
                say!("{:x?}", *(libc::getauxval(libc::AT_RANDOM) as *const [u8; 16]));
            }
        }
        // Real, effective user, group, effective group, and AT_SECURE.
        Some("identity") => {
            let id = |number| crate::call!(number).unwrap_or(0);
            // SAFETY: reads the auxiliary vector.
            let secure = unsafe { libc::getauxval(libc::AT_SECURE) };
            let (user, group) = (id(libc::SYS_getuid), id(libc::SYS_getgid));
            say!("{user} {} {group} {} {secure}", id(libc::SYS_geteuid), id(libc::SYS_getegid));
        }
        Some("sleep-milliseconds") => {
            let length = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0);
            time::sleep(length * time::MILLISECOND);
        }
        // Sends messages that nobody receives until it is refused memory; 0 if anything else ends it.
        Some("fill-sockets") => {
            return i32::from([libc::ENOMEM, libc::ENOBUFS].contains(&fill_sockets().0));
        }
        Some("exit") => return words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0),
        _ => return 2,
    }
    0
}

/// Fills one socket after the other. Gives the error that ended it.
fn fill_sockets() -> Errno {
    let mut kept = Vec::new();
    loop {
        match sockets::pair(sockets::STREAM) {
            Ok(pair) => kept.push(pair),
            Err(errno) => return errno,
        }
        let sender = kept.last().map(|(one, _)| one).into_iter().cycle();
        match sender.map(|one| sockets::send(one, b"x", libc::MSG_DONTWAIT)).find_map(Result::err) {
            Some(Errno::EAGAIN) | None => {}
            Some(errno) => return errno,
        }
    }
}

/// Installs a filter that lets everything pass, and keeps its listener open over an exec.
fn listened() -> Result<(), Errno> {
    let allow = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog { len: 1, filter: (&raw const allow).cast_mut() };
    call!(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as usize;
    let listener =
        call!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER as usize, flags, &raw const program)?;
    call!(libc::SYS_fcntl, listener, libc::F_SETFD, 0).map(|_| ())
}

//! Tables of the calls that make and join namespaces: unshare, clone3, legacy clone, setns, and the order of their checks.

use super::{BAD, WHO, fact, shown};
use crate::call;
use crate::oracle::calls::flags;
use crate::system::clone::{self, CloneArguments, SIZE};
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::namespace::{CLONE_NEWTIME, TIME, TIME_FOR_CHILDREN};
use crate::system::process;

const UNSHARED: &[&str] = &[
    "0",
    "CLONE_NEWTIME",
    "0x81",
    "0x1",
    "0x100000000",
    "0x100000080",
    "CLONE_VFORK",
    "CLONE_PARENT",
    "CLONE_FS",
    "CLONE_FILES",
    "CLONE_THREAD",
    "CLONE_SIGHAND",
    "CLONE_VM",
    "CLONE_NEWUSER",
    "CLONE_NEWTIME|CLONE_NEWUSER",
    "CLONE_NEWTIME|CLONE_THREAD",
    "CLONE_NEWTIME|CLONE_VM",
    "CLONE_NEWTIME|CLONE_VFORK",
];

/// unshare(2) by everybody.
pub fn unshare() {
    for (who, become_it) in WHO {
        for what in UNSHARED {
            fact("unshare", &format!("{what} by {who}"), || {
                become_it();
                shown(call!(libc::SYS_unshare, flags(what)))
            });
        }
    }
}

/// Fields of struct clone_args that differ from those of a plain fork: flags, exit_signal, stack, stack_size, set_tid,
/// set_tid_size, cgroup.
const CLONED: &[(&str, [u64; 7])] = &[
    ("a plain fork", [0, 17, 0, 0, 0, 0, 0]),
    ("CLONE_NEWTIME", [0x80, 17, 0, 0, 0, 0, 0]),
    ("CLONE_NEWTIME with a signal in the flags", [0x91, 17, 0, 0, 0, 0, 0]),
    ("bit 0 beside CLONE_NEWTIME", [0x81, 17, 0, 0, 0, 0, 0]),
    ("exit signal 0", [0, 0, 0, 0, 0, 0, 0]),
    ("exit signal 64", [0, 64, 0, 0, 0, 0, 0]),
    ("exit signal 65", [0, 65, 0, 0, 0, 0, 0]),
    ("exit signal 0x80", [0, 0x80, 0, 0, 0, 0, 0]),
    ("exit signal 0x111", [0, 0x111, 0, 0, 0, 0, 0]),
    ("set_tid_size 33", [0, 17, 0, 0, BAD, 33, 0]),
    ("no set_tid but a size", [0, 17, 0, 0, 0, 1, 0]),
    ("set_tid but no size", [0, 17, 0, 0, BAD, 0, 0]),
    ("unreadable set_tid", [0, 17, 0, 0, BAD, 1, 0]),
    ("unreadable set_tid, bad exit signal", [0, 65, 0, 0, BAD, 1, 0]),
    ("unreadable set_tid, unknown flag", [1 << 34, 17, 0, 0, BAD, 1, 0]),
    ("a cgroup that is no descriptor", [0x2_0000_0000, 17, 0, 0, 0, 0, 1 << 31]),
    ("bit 34", [1 << 34, 17, 0, 0, 0, 0, 0]),
    ("CLONE_DETACHED", [0x40_0000, 17, 0, 0, 0, 0, 0]),
    ("CLONE_VM, SIGHAND and CLEAR_SIGHAND", [0x1_0000_0900, 17, 0, 0, 0, 0, 0]),
    ("CLONE_PARENT with an exit signal", [0x8000, 17, 0, 0, 0, 0, 0]),
    ("a thread with an exit signal", [0x1_0900, 17, 0, 0, 0, 0, 0]),
    ("a stack without size", [0, 17, 0x10000, 0, 0, 0, 0]),
    ("a stack size without stack", [0, 17, 0, 0x1000, 0, 0, 0]),
    ("a stack that is not user memory", [0, 17, BAD, 0x1000, 0, 0, 0]),
    ("CLONE_NEWNS with CLONE_FS", [0x2_0200, 17, 0, 0, 0, 0, 0]),
    ("CLONE_NEWUSER with CLONE_FS", [0x1000_0200, 17, 0, 0, 0, 0, 0]),
    ("CLONE_SIGHAND without CLONE_VM", [0x800, 17, 0, 0, 0, 0, 0]),
    ("CLONE_THREAD without CLONE_SIGHAND", [0x1_0100, 0, 0, 0, 0, 0, 0]),
    ("a thread with CLONE_NEWUSER", [0x1001_0900, 0, 0, 0, 0, 0, 0]),
    ("CLONE_NEWTIME and a stack without size", [0x80, 17, 0x10000, 0, 0, 0, 0]),
    ("CLONE_NEWTIME and bad exit signal", [0x80, 65, 0, 0, 0, 0, 0]),
    ("CLONE_NEWTIME and CLONE_NEWUSER", [0x1000_0080, 17, 0, 0, 0, 0, 0]),
    ("CLONE_NEWIPC and CLONE_SYSVSEM", [0x804_0000, 17, 0, 0, 0, 0, 0]),
    ("CLONE_NEWTIME and CLONE_VFORK", [0x4080, 17, 0, 0, 0, 0, 0]),
];

/// clone3(2): its arguments and its sizes.
pub fn clone3() {
    let attempt = |arguments: u64, size: usize| {
        // A signal that ends who gets it would tell nothing.
        let _ = call!(libc::SYS_rt_sigaction, 64, &[libc::SIG_IGN, 0, 0, 0], 0usize, 8usize);
        match call!(libc::SYS_clone3, arguments, size) {
            Ok(0) => process::exit(0),
            Ok(child) => {
                let _ = process::wait_with(child as i32, libc::__WALL);
                "a child".to_string()
            }
            Err(errno) => errno.name(),
        }
    };
    for (who, become_it) in [WHO[0], WHO[1]] {
        for (what, fields) in CLONED {
            let [flags, exit_signal, stack, stack_size, set_tid, set_tid_size, cgroup] = *fields;
            let arguments = CloneArguments {
                flags,
                exit_signal,
                stack,
                stack_size,
                set_tid,
                set_tid_size,
                cgroup,
                ..CloneArguments::default()
            };
            fact("clone3", &format!("{what} by {who}"), || {
                become_it();
                attempt(std::ptr::from_ref(&arguments) as u64, SIZE)
            });
        }
    }
    let mut words = [0u64; 640];
    words[4] = 17;
    words[11] = 1;
    for size in [0, 63, 64, 72, 80, 87, 88, 89, 95, 96, 4096, 4097] {
        fact("clone3", &format!("{size} bytes of a structure with a one behind its 88"), || {
            attempt(words.as_ptr() as u64, size)
        });
        fact("clone3", &format!("{size} bytes from NULL"), || attempt(0, size));
    }
}

/// clone(2), whose low byte is a signal.
pub fn legacy_clone() {
    for flags in [0usize, 0x11, 0x80, 0x91, 0xff, 0x1_0000_0011, 0x40_0011, 0x8011, 0x800] {
        fact("clone", &format!("{flags:#x}"), || match clone::legacy(flags) {
            Ok(0) => {
                let own = [TIME, TIME_FOR_CHILDREN].map(file::readlink);
                process::exit(i32::from(own[0] != own[1]))
            }
            Ok(child) => {
                let plainly = process::wait_with(child, 0).map(|(_, status)| status);
                let in_any_case = process::wait_with(child, libc::__WALL).map(|(_, status)| status);
                format!("a child, wait4 {plainly:?}, with __WALL {in_any_case:?}")
            }
            Err(errno) => errno.name(),
        });
    }
}

/// A way to get a descriptor.
type Opening = fn() -> Result<i32, Errno>;

/// What setns is given: a name and a descriptor.
const JOINED: [(&str, Opening); 9] = [
    ("no descriptor", || Ok(-1)),
    ("a closed descriptor", || Ok(900)),
    ("ns/time", || file::open(TIME, libc::O_RDONLY)),
    ("ns/time by O_PATH", || file::open(TIME, libc::O_PATH)),
    ("ns/user", || file::open("/proc/self/ns/user", libc::O_RDONLY)),
    ("a pipe", || process::pipe().map(|ends| ends.0)),
    ("a pidfd of oneself", || call!(libc::SYS_pidfd_open, std::process::id(), 0).map(|pidfd| pidfd as i32)),
    ("a pidfd of a zombie", || {
        let child = process::spawn(|| 0)?;
        let pidfd = call!(libc::SYS_pidfd_open, child, 0)? as i32;
        let mut polled = libc::pollfd { fd: pidfd, events: libc::POLLIN, revents: 0 };
        call!(libc::SYS_poll, &mut polled, 1, 5000)?;
        Ok(pidfd)
    }),
    ("a pidfd of a process waited for", || {
        let child = process::spawn(|| 0)?;
        let pidfd = call!(libc::SYS_pidfd_open, child, 0)? as i32;
        process::wait(child)?;
        Ok(pidfd)
    }),
];

/// setns(2) by everybody, into everything.
pub fn setns() {
    for (who, become_it) in WHO {
        for (what, open) in JOINED {
            for kind in [
                0,
                CLONE_NEWTIME,
                CLONE_NEWTIME | 1,
                libc::CLONE_NEWUSER,
                libc::CLONE_NEWUSER | CLONE_NEWTIME,
            ] {
                fact("setns", &format!("{what}, {kind:#x}, by {who}"), || {
                    let descriptor = open();
                    become_it();
                    shown(descriptor.and_then(|descriptor| call!(libc::SYS_setns, descriptor, kind)))
                });
            }
        }
    }
}

//! Tables of namespaces as files: what may be asked of them, how they open, what they look like.

use super::{done, fact, shown};
use crate::call;
use crate::system::credentials;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{OFFSETS, TIME, TIME_FOR_CHILDREN};
use crate::system::process;
use crate::system::time::{self, SECOND};

/// Questions of ioctl_nsfs(2) that have the size of their answer in them.
const QUESTIONS: &[u32] = &[
    0x8008_b705,
    0x8004_b706,
    0x8004_b707,
    0x8004_b708,
    0x8004_b709,
    0x8010_b70a,
    0x8010_b70b,
    0x8010_b70c,
    0x8008_b70d,
    0x8001_b705,
];

/// The files under /proc/PID/ns, and the one of offsets.
pub fn nsfs() {
    for request in (0xb700..0xb710u32).chain(QUESTIONS.iter().copied()) {
        fact("nsfs", &format!("ioctl {request:#x}"), || {
            let mut room = 0u64;
            let file = Descriptor::open(TIME, libc::O_RDONLY);
            let answer = file.and_then(|file| call!(libc::SYS_ioctl, file.0, request, &mut room));
            // NS_GET_USERNS gives a descriptor, the others a number.
            if request == 0xb701 { done(answer) } else { format!("{} {room}", shown(answer)) }
        });
    }
    for flags in [
        libc::O_RDONLY,
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_NOFOLLOW,
        libc::O_DIRECTORY,
        libc::O_CREAT,
        libc::O_TRUNC,
    ] {
        fact("nsfs", &format!("open with {flags:#o}"), || done(Descriptor::open(TIME, flags)));
    }
    fact("nsfs", "read, write, seek", || {
        let Ok(file) = Descriptor::open(TIME, libc::O_RDONLY) else { return "it does not open".into() };
        let seek = call!(libc::SYS_lseek, file.0, 0, libc::SEEK_SET);
        format!("{} {} {}", shown(file.read(&mut [0; 4])), shown(file.write(b"x")), shown(seek))
    });
    for path in [TIME, TIME_FOR_CHILDREN, OFFSETS, "/proc/self/ns"] {
        for (how, flags) in [("stat", 0), ("lstat", libc::AT_SYMLINK_NOFOLLOW)] {
            fact("nsfs", &format!("{how} of {path}"), || match file::status(path, flags) {
                Ok(status) => {
                    format!("mode {:o}, {} links, {} bytes", status.st_mode, status.st_nlink, status.st_size)
                }
                Err(errno) => errno.name(),
            });
        }
    }
    for who in ["init", "a zombie"] {
        for name in ["ns/time", "ns/time_for_children", "timens_offsets"] {
            fact("nsfs", &format!("{name} of {who} for nobody"), || {
                let child = process::spawn(|| 0).unwrap_or(1);
                time::sleep(SECOND / 50);
                let _ = credentials::become_user(credentials::NOBODY);
                let path = format!("/proc/{}/{name}", if who == "init" { 1 } else { child });
                let opened = file::open(&path, libc::O_RDONLY);
                let read = opened.and_then(|descriptor| Descriptor(descriptor).read_to_end());
                format!(
                    "{}, open and read {}",
                    shown(file::readlink(&path)),
                    shown(read.map(|bytes| bytes.len()))
                )
            });
        }
    }
}

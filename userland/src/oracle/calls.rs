//! The calls a task can make: one row each, with how often a random sequence takes it and what its arguments may be.
//!
//! The lists of choices are the generator's whole knowledge: a choice that stands twice is taken twice as often, `?` is
//! some task, NEW a task that is to be made. What a row does is plain system calls; answers hold numbers that differ from
//! machine to machine only in the forms that `facts.rs` turns into names: `pid:12`, `time:[4026531834]`, `near:1:…`,
//! `offset:…`.

use super::times;
use super::worker::{self, Answer, Worker};
use crate::call;
use crate::system::clone::{self, CloneArguments};
use crate::system::credentials;
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace;
use crate::system::process::{self, Status};

/// A call.
pub struct Call {
    /// What it is called in a script.
    pub name: &'static str,
    /// How often it is chosen, against the sum of all.
    pub weight: u32,
    /// For each argument what it may be.
    pub arguments: &'static [&'static [&'static str]],
    /// Makes it.
    pub run: fn(&mut Worker, &[&str]) -> Answer,
}

type Choices = &'static [&'static str];

const NEW: Choices = &["NEW"];
const TASK: Choices = &["?"];
/// Descriptors by what they are for; the last row of each is one of another kind.
const NAMESPACES: Choices = &["ns", "ns", "link", "link", "pidfd"];
const JOINABLE: Choices = &["ns", "link", "ns", "link", "pidfd", "pidfd", "offsets"];
const OFFSETS_FILE: Choices = &["offsets", "offsets", "offsets", "offsets", "ns"];
const TIMER: Choices = &["timer", "timer", "timer", "timer", "pidfd"];
const ANY: Choices = &["ns", "link", "pidfd", "offsets", "timer"];
const LINKS: Choices = &["/proc/?/ns/time", "/proc/?/ns/time_for_children"];
const OFFSETS: Choices = &["/proc/?/timens_offsets"];
/// What is written as offsets. U is the whole seconds the machine has been up, MAX half of what fits a clock.
const TEXTS: Choices = &[
    "monotonic 10 0",
    "monotonic 86400 0",
    "boottime 1000 0",
    "monotonic 10 0\\nboottime 1000 0",
    "monotonic 2000 500000000\\nboottime 86400 0",
    "monotonic 2000 500000000\\nboottime 86400 0",
    "boottime 604800 999999999\\n",
    "1 86400 0\\n7 1000 0",
    "monotonic -U+1 0\\nboottime -U+4 0",
    "monotonic 0 0\\nboottime 0 0\\nmonotonic 10 0",
    "boottime MAX-U-100 0",
    "monotonic MAX-U+100 0",
    "monotonic -U-100 0",
    "monotonic 10 0\\nboottime -U-100 0",
    "monotonic 10 1000000000",
    "realtime 10 0",
    "",
];
/// Moments: from now, or one nanosecond after a clock's zero.
const MOMENTS: Choices = &["2ms", "1ns"];
const EXPIRIES: Choices = &["2ms", "100s", "100s", "1ns", "0"];
const ABSOLUTE: Choices = &["TIMER_ABSTIME", "TIMER_ABSTIME", "0"];
const CLOCKS: Choices = &[
    "CLOCK_MONOTONIC",
    "CLOCK_BOOTTIME",
    "CLOCK_MONOTONIC",
    "CLOCK_BOOTTIME",
    "CLOCK_REALTIME",
    "CLOCK_TAI",
];

const fn row(
    name: &'static str,
    weight: u32,
    arguments: &'static [Choices],
    run: fn(&mut Worker, &[&str]) -> Answer,
) -> Call {
    Call { name, weight, arguments, run }
}

/// Every call. A name may stand in several rows, for arguments that belong together; the first row's function counts.
pub const CALLS: &[Call] = &[
    // Namespaces and tasks.
    row(
        "unshare",
        12,
        &[&[
            "CLONE_NEWTIME",
            "CLONE_NEWTIME",
            "CLONE_NEWTIME",
            "CLONE_NEWTIME",
            "CLONE_NEWTIME",
            "CLONE_NEWTIME",
            "CLONE_NEWTIME",
            "CLONE_NEWTIME",
            "CLONE_NEWTIME|CLONE_FS",
            "CLONE_NEWTIME|CLONE_FILES",
            "CLONE_NEWTIME|CLONE_THREAD",
            "CLONE_NEWTIME|CLONE_VFORK",
            "CLONE_VM",
            "0",
            "0x81",
        ]],
        |_, words| plain(call!(libc::SYS_unshare, flags(words[0]))),
    ),
    row("setns_by_path", 8, &[LINKS, &["CLONE_NEWTIME", "CLONE_NEWTIME", "0"]], |_, words| {
        Some(match Descriptor::open(words[0], libc::O_RDONLY) {
            Ok(file) => call!(libc::SYS_setns, file.0, flags(words[1]))
                .map_or_else(|errno| errno.name(), |_| "0".into()),
            Err(errno) => format!("open: {errno}"),
        })
    }),
    row("become_root_of_new_user_namespace", 2, &[], |_, _| {
        outcome(credentials::become_root_of_new_user_namespace())
    }),
    row("fork", 7, &[NEW], |worker, words| {
        let new = task(words[0]);
        let made = call!(libc::SYS_fork).map(|id| id as i32);
        worker::made_by(worker, new, made, false)
    }),
    row(
        "vfork",
        6,
        &[NEW, &["CLONE_VM", "CLONE_VM", "CLONE_VM|CLONE_NEWTIME", "CLONE_NEWTIME", "0"]],
        |worker, words| {
            clone3(worker, words[0], libc::CLONE_VFORK as u64 | flags(words[1]), libc::SIGCHLD as u64)
        },
    ),
    row(
        "clone3",
        8,
        &[
            NEW,
            &[
                "0",
                "CLONE_NEWTIME",
                "CLONE_NEWTIME",
                "CLONE_NEWTIME|CLONE_FS|CLONE_FILES",
                "CLONE_VM",
                "CLONE_VM|CLONE_NEWTIME",
                "CLONE_NEWTIME|CLONE_NEWUSER",
                "CLONE_PARENT",
                "CLONE_SIGHAND",
                "0x81",
            ],
            &["SIGCHLD", "SIGCHLD", "SIGCHLD", "0", "0x80"],
        ],
        |worker, words| clone3(worker, words[0], flags(words[1]), flags(words[2])),
    ),
    row(
        "clone3",
        6,
        &[
            NEW,
            &[
                "CLONE_VM|CLONE_SIGHAND|CLONE_THREAD|CLONE_FS|CLONE_FILES",
                "CLONE_VM|CLONE_SIGHAND|CLONE_THREAD|CLONE_FS|CLONE_FILES",
                "CLONE_VM|CLONE_SIGHAND|CLONE_THREAD|CLONE_FS|CLONE_FILES|CLONE_NEWTIME",
                "CLONE_VM|CLONE_SIGHAND|CLONE_THREAD|CLONE_NEWUSER",
                "CLONE_VM|CLONE_THREAD",
            ],
            &["0"],
        ],
        |worker, words| clone3(worker, words[0], flags(words[1]), flags(words[2])),
    ),
    row("clone", 2, &[NEW, &["SIGCHLD", "CLONE_NEWTIME", "CLONE_NEWTIME|SIGCHLD"]], |worker, words| {
        let made = clone::legacy(flags(words[1]) as usize);
        worker::made_by(worker, task(words[0]), made, false)
    }),
    row("clone3_with_a_pid_in_use", 2, &[&["0", "CLONE_NEWTIME"]], |worker, words| {
        let taken = [call!(libc::SYS_gettid).unwrap_or(0) as i32];
        let arguments = CloneArguments {
            flags: flags(words[0]),
            exit_signal: libc::SIGCHLD as u64,
            set_tid: taken.as_ptr() as u64,
            set_tid_size: 1,
            ..CloneArguments::default()
        };
        let task = worker.task;
        worker::clone3(worker, task, arguments)
    }),
    row(
        "execve",
        7,
        &[&["/proc/self/exe", "/proc/self/exe", "/proc/self/exe", "/missing", "/proc"]],
        |worker, words| worker::execute(worker, words[0]),
    ),
    row("exit_group", 1, &[&["0", "3"]], |_, words| worker::end_process(flags(words[0]) as i32)),
    row("exit", 1, &[&["4"]], |_, words| plain(call!(libc::SYS_exit, flags(words[0])))),
    row("kill", 2, &[TASK], |_, words| plain(call!(libc::SYS_kill, number(words[0]), libc::SIGKILL))),
    row("wait4", 5, &[TASK], |_, words| {
        let answer = process::wait_with(number(words[0]) as i32, libc::WNOHANG | libc::__WALL);
        Some(match answer {
            Ok((0, _)) => "0".to_string(),
            Ok((id, Status::Exited(status))) => format!("pid:{id} exited {status}"),
            Ok((id, status)) => format!("pid:{id} {status:?}"),
            Err(errno) => errno.name(),
        })
    }),
    // Files.
    row(
        "open",
        9,
        &[&["ns", "link"], LINKS, &["O_RDONLY", "O_RDONLY", "O_RDONLY", "O_RDONLY", "O_PATH", "O_RDWR"]],
        open,
    ),
    row("open", 5, &[&["offsets"], OFFSETS, &["O_RDWR", "O_RDWR", "O_WRONLY", "O_RDONLY"]], open),
    row("pidfd_open", 4, &[&["pidfd"], TASK], |_, words| {
        install(call!(libc::SYS_pidfd_open, number(words[1]), 0), words[0])
    }),
    row("close", 1, &[ANY], |_, words| plain(call!(libc::SYS_close, handle(words[0])))),
    row(
        "setns",
        14,
        &[
            JOINABLE,
            &[
                "CLONE_NEWTIME",
                "CLONE_NEWTIME",
                "CLONE_NEWTIME",
                "0",
                "CLONE_NEWTIME|CLONE_NEWUSER",
                "CLONE_NEWUSER",
                "CLONE_NEWTIME|0x1",
            ],
        ],
        |_, words| plain(call!(libc::SYS_setns, handle(words[0]), flags(words[1]))),
    ),
    row("read", 3, &[ANY], |_, words| {
        let mut bytes = [0u8; 128];
        let read = call!(libc::SYS_read, handle(words[0]), bytes.as_mut_ptr(), bytes.len());
        Some(match read {
            // A timerfd's count, or a text.
            Ok(8) => {
                if bytes[0] == 1 {
                    "once".into()
                } else {
                    "more than once".into()
                }
            }
            Ok(length) => shown_offsets(&String::from_utf8_lossy(&bytes[..length])),
            Err(errno) => errno.name(),
        })
    }),
    row("write", 7, &[OFFSETS_FILE, TEXTS], |_, words| {
        let text = words[1].replace("\\n", "\n");
        // Not the count itself: the text holds the uptime, which is longer on one machine than on another.
        Some(match call!(libc::SYS_write, handle(words[0]), text.as_ptr(), text.len()) {
            Ok(length) if length == text.len() => "all of it".into(),
            Ok(length) => format!("{} of its lines", text[..length].matches('\n').count()),
            Err(errno) => errno.name(),
        })
    }),
    row("lseek", 1, &[OFFSETS_FILE], |_, words| {
        plain(call!(libc::SYS_lseek, handle(words[0]), 0, libc::SEEK_SET))
    }),
    row("open_and_write", 10, &[OFFSETS, TEXTS], |_, words| {
        let text = words[1].replace("\\n", "\n");
        Some(match Descriptor::open(words[0], libc::O_WRONLY) {
            Ok(file) => file.write(text.as_bytes()).map_or_else(|errno| errno.name(), |_| "0".into()),
            Err(errno) => format!("open: {errno}"),
        })
    }),
    row("readlink", 3, &[LINKS], |_, words| {
        Some(file::readlink(words[0]).unwrap_or_else(|errno| errno.name()))
    }),
    row("ioctl", 1, &[NAMESPACES, &["0xb701", "0xb702", "0xb703"]], |_, words| {
        let request = flags(words[1]);
        let answer = call!(libc::SYS_ioctl, handle(words[0]), request, 0usize);
        match answer {
            // NS_GET_USERNS gives a descriptor.
            Ok(descriptor) if request == 0xb701 => {
                process::close(descriptor as i32);
                Some("a descriptor".into())
            }
            answer => plain(answer),
        }
    }),
    // Rights.
    row("give_up", 3, &[&["CAP_SYS_ADMIN", "CAP_SYS_TIME", "CAP_SYS_PTRACE"]], |_, words| {
        let capability = match words[0] {
            "CAP_SYS_ADMIN" => credentials::CAP_SYS_ADMIN,
            "CAP_SYS_TIME" => credentials::CAP_SYS_TIME,
            _ => 19,
        };
        outcome(credentials::capabilities().and_then(|mut sets| {
            sets.effective &= !(1 << capability);
            sets.permitted &= !(1 << capability);
            credentials::set_capabilities(sets)
        }))
    }),
    row("become_nobody", 2, &[], |_, _| outcome(credentials::become_user(credentials::NOBODY))),
    row("set_dumpable", 1, &[&["0", "1", "1"]], |_, words| {
        plain(call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, flags(words[0])))
    }),
    // Time.
    row("clocks", 10, &[], |_, _| Some(times::clocks())),
    row("uptime", 2, &[], |_, _| Some(times::uptime())),
    row("sysinfo", 2, &[], |_, _| Some(times::sysinfo())),
    row("boot_time", 1, &[], |_, _| Some(times::boot_time())),
    row("start_time", 2, &[TASK], |_, words| Some(times::start_time(words[0]))),
    row(
        "clock_nanosleep",
        4,
        &[
            &["CLOCK_MONOTONIC", "CLOCK_BOOTTIME", "CLOCK_REALTIME", "CLOCK_TAI", "CLOCK_MONOTONIC_RAW"],
            ABSOLUTE,
            MOMENTS,
        ],
        |_, words| Some(times::sleep(words[0], words[1], words[2])),
    ),
    row("futex_wait_bitset", 3, &[&["CLOCK_MONOTONIC", "CLOCK_REALTIME"], MOMENTS], |_, words| {
        Some(times::futex(words[0], words[1]))
    }),
    row("timerfd_create", 3, &[&["timer"], CLOCKS], |_, words| {
        install(call!(libc::SYS_timerfd_create, times::clock(words[1]), libc::TFD_NONBLOCK), words[0])
    }),
    row("timerfd_settime", 5, &[TIMER, ABSOLUTE, EXPIRIES], |_, words| {
        Some(times::timerfd_settime(handle(words[0]), words[1], words[2]))
    }),
    row("timerfd_gettime", 3, &[TIMER], |_, words| Some(times::timerfd_gettime(handle(words[0])))),
    row("timer_create", 3, &[CLOCKS, &["SIGEV_SIGNAL", "SIGEV_SIGNAL", "SIGEV_NONE"]], |_, words| {
        Some(times::timer_create(words[0], words[1]))
    }),
    row("timer_settime", 4, &[ABSOLUTE, EXPIRIES], |_, words| Some(times::timer_settime(words[0], words[1]))),
    row("timer_gettime", 3, &[], |_, _| Some(times::timer_gettime())),
    row("timer_delete", 1, &[], |_, _| Some(times::timer_delete())),
    row("sigtimedwait", 4, &[], |_, _| Some(times::take_signal())),
];

/// The call of this name.
pub fn find(name: &str) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.name == name)
}

/// Flags by name, beside plain numbers, joined by `|`.
const FLAGS: &[(&str, u64)] = &[
    ("CLONE_NEWTIME", namespace::CLONE_NEWTIME as u64),
    ("CLONE_NEWUSER", libc::CLONE_NEWUSER as u64),
    ("CLONE_VM", libc::CLONE_VM as u64),
    ("CLONE_FS", libc::CLONE_FS as u64),
    ("CLONE_FILES", libc::CLONE_FILES as u64),
    ("CLONE_SIGHAND", libc::CLONE_SIGHAND as u64),
    ("CLONE_THREAD", libc::CLONE_THREAD as u64),
    ("CLONE_VFORK", libc::CLONE_VFORK as u64),
    ("CLONE_PARENT", libc::CLONE_PARENT as u64),
    ("SIGCHLD", libc::SIGCHLD as u64),
    ("O_RDONLY", libc::O_RDONLY as u64),
    ("O_WRONLY", libc::O_WRONLY as u64),
    ("O_RDWR", libc::O_RDWR as u64),
    ("O_PATH", libc::O_PATH as u64),
];

/// The value of flags as written.
pub fn flags(text: &str) -> u64 {
    text.split('|').fold(0, |all, word| {
        all | FLAGS.iter().find(|(name, _)| *name == word).map_or_else(|| number(word), |(_, value)| *value)
    })
}

/// A number, decimal or hexadecimal.
fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap_or(0),
        None => text.parse::<i64>().unwrap_or(0) as u64,
    }
}

/// The index of a task to be made; the controller sends it as a number.
fn task(text: &str) -> usize {
    number(text) as usize
}

/// The descriptor that a name stands for, the same in every task.
fn handle(name: &str) -> i32 {
    60 + ANY.iter().position(|known| *known == name).map_or(-1, |index| index as i32)
}

fn plain(answer: Result<usize, Errno>) -> Answer {
    Some(answer.map_or_else(|errno| errno.name(), |value| value.to_string()))
}

fn outcome(answer: Result<(), Errno>) -> Answer {
    plain(answer.map(|()| 0))
}

/// Puts a new descriptor where the name says.
fn install(descriptor: Result<usize, Errno>, name: &str) -> Answer {
    let moved = descriptor.and_then(|descriptor| {
        let moved = call!(libc::SYS_dup2, descriptor, handle(name));
        process::close(descriptor as i32);
        moved
    });
    outcome(moved.map(|_| ()))
}

fn open(_: &mut Worker, words: &[&str]) -> Answer {
    let path = process::c_string(words[1]);
    install(call!(libc::SYS_openat, libc::AT_FDCWD, path.as_c_str(), flags(words[2])), words[0])
}

fn clone3(worker: &mut Worker, new: &str, flags: u64, exit_signal: u64) -> Answer {
    let arguments = CloneArguments { flags, exit_signal, ..CloneArguments::default() };
    worker::clone3(worker, task(new), arguments)
}

/// The text of timens_offsets in a form whose numbers can be named; any other text by its length.
pub fn shown_offsets(text: &str) -> String {
    match namespace::parse_offsets(text) {
        Some(offsets) if !text.is_empty() => {
            format!("offset:{} offset:{}", offsets.monotonic, offsets.boottime)
        }
        _ => format!("{} bytes", text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_names_and_numbers() {
        assert_eq!(flags("CLONE_NEWTIME|0x1"), 0x81);
        assert_eq!(flags("0"), 0);
        assert_eq!(number("-1"), u64::MAX);
        assert_eq!(handle("offsets"), 63);
    }
}

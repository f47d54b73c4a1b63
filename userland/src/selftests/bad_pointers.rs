//! Bad pointers in every pointer argument of every system call: never a crash, and the errno that Linux gives.
//!
//! A row names a call, its arguments with one pointer marked, and the answers: for NULL, which some calls take as
//! "nothing", and for an address that cannot be used. Such an address is tried in six kinds: not mapped, kernel half,
//! the top of it, just past the user half, not canonical at all, and straddling the end of a mapping; where the kernel
//! would write, also a page that may only be read.

use super::mappings::PAGE;
use super::support::Temporary;
use crate::call;
use crate::ktap::{Outcome, Plan, Step, Why, equal, failed};
use crate::system::call::{decode, raw};
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::process::{self, Status};

/// One argument of a call.
#[derive(Clone, Copy)]
enum Arg {
    /// A number.
    N(i64),
    /// The pointer under test, which the kernel reads.
    In,
    /// The pointer under test, which the kernel writes.
    Out,
    /// A path of a temporary file, and of a file that is not there.
    Path,
    NoPath,
    /// A page of zeros.
    Buffer,
    /// A descriptor of the temporary file, of a directory, of the two ends of a pipe with a byte in it.
    File,
    Directory,
    PipeRead,
    PipeWrite,
}

use Arg::{Buffer, Directory, File, In, N, NoPath, Out, Path, PipeRead, PipeWrite};

/// What is answered: an error, or success of any value.
type Answer = Option<Errno>;

const FINE: Answer = None;
const FAULT: Answer = Some(Errno::EFAULT);
const INVALID: Answer = Some(Errno::EINVAL);
/// NULL means "wait without limit" here, which is no mistake to look for.
const WAITS: Answer = Some(Errno(0));
const CWD: Arg = N(libc::AT_FDCWD as i64);

/// A call, its arguments, its answers for NULL and for a bad address.
type Row = (&'static str, i64, &'static [Arg], Answer, Answer);

/// Files and directories.
const FILES: &[Row] = &[
    ("read", libc::SYS_read, &[File, Out, N(8)], FAULT, FAULT),
    ("read from a pipe", libc::SYS_read, &[PipeRead, Out, N(1)], FAULT, FAULT),
    ("write", libc::SYS_write, &[File, In, N(8)], FAULT, FAULT),
    ("write to a pipe", libc::SYS_write, &[PipeWrite, In, N(8)], FAULT, FAULT),
    ("read of nothing", libc::SYS_read, &[File, N(0), N(0)], FINE, FINE),
    ("pread64", libc::SYS_pread64, &[File, Out, N(8), N(0)], FAULT, FAULT),
    ("pwrite64", libc::SYS_pwrite64, &[File, In, N(8), N(0)], FAULT, FAULT),
    ("readv", libc::SYS_readv, &[File, In, N(1)], FAULT, FAULT),
    ("writev", libc::SYS_writev, &[File, In, N(1)], FAULT, FAULT),
    ("open", libc::SYS_open, &[In, N(0), N(0)], FAULT, FAULT),
    ("openat", libc::SYS_openat, &[CWD, In, N(0), N(0)], FAULT, FAULT),
    ("stat path", libc::SYS_stat, &[In, Buffer], FAULT, FAULT),
    ("stat result", libc::SYS_stat, &[Path, Out], FAULT, FAULT),
    ("lstat path", libc::SYS_lstat, &[In, Buffer], FAULT, FAULT),
    ("lstat result", libc::SYS_lstat, &[Path, Out], FAULT, FAULT),
    ("fstat", libc::SYS_fstat, &[File, Out], FAULT, FAULT),
    ("newfstatat path", libc::SYS_newfstatat, &[CWD, In, Buffer, N(0)], FAULT, FAULT),
    ("newfstatat result", libc::SYS_newfstatat, &[CWD, Path, Out, N(0)], FAULT, FAULT),
    ("statx path", libc::SYS_statx, &[CWD, In, N(0), N(0x7ff), Buffer], FAULT, FAULT),
    ("statx result", libc::SYS_statx, &[CWD, Path, N(0), N(0x7ff), Out], FAULT, FAULT),
    ("access", libc::SYS_access, &[In, N(4)], FAULT, FAULT),
    ("faccessat", libc::SYS_faccessat, &[CWD, In, N(4)], FAULT, FAULT),
    ("faccessat2", libc::SYS_faccessat2, &[CWD, In, N(4), N(0)], FAULT, FAULT),
    ("readlink path", libc::SYS_readlink, &[In, Buffer, N(64)], FAULT, FAULT),
    ("readlinkat path", libc::SYS_readlinkat, &[CWD, In, Buffer, N(64)], FAULT, FAULT),
    ("mkdir", libc::SYS_mkdir, &[In, N(0o755)], FAULT, FAULT),
    ("mkdirat", libc::SYS_mkdirat, &[CWD, In, N(0o755)], FAULT, FAULT),
    ("rmdir", libc::SYS_rmdir, &[In], FAULT, FAULT),
    ("unlink", libc::SYS_unlink, &[In], FAULT, FAULT),
    ("unlinkat", libc::SYS_unlinkat, &[CWD, In, N(0)], FAULT, FAULT),
    ("rename old", libc::SYS_rename, &[In, NoPath], FAULT, FAULT),
    ("rename new", libc::SYS_rename, &[NoPath, In], FAULT, FAULT),
    ("renameat2 new", libc::SYS_renameat2, &[CWD, NoPath, CWD, In, N(0)], FAULT, FAULT),
    ("link old", libc::SYS_link, &[In, NoPath], FAULT, FAULT),
    ("link new", libc::SYS_link, &[Path, In], FAULT, FAULT),
    ("linkat old", libc::SYS_linkat, &[CWD, In, CWD, NoPath, N(0)], FAULT, FAULT),
    ("symlink target", libc::SYS_symlink, &[In, NoPath], FAULT, FAULT),
    ("symlink name", libc::SYS_symlink, &[Path, In], FAULT, FAULT),
    ("symlinkat name", libc::SYS_symlinkat, &[Path, CWD, In], FAULT, FAULT),
    ("mknodat", libc::SYS_mknodat, &[CWD, In, N(0o100644), N(0)], FAULT, FAULT),
    ("chmod", libc::SYS_chmod, &[In, N(0o644)], FAULT, FAULT),
    ("fchmodat", libc::SYS_fchmodat, &[CWD, In, N(0o644)], FAULT, FAULT),
    ("chown", libc::SYS_chown, &[In, N(0), N(0)], FAULT, FAULT),
    ("lchown", libc::SYS_lchown, &[In, N(0), N(0)], FAULT, FAULT),
    ("fchownat", libc::SYS_fchownat, &[CWD, In, N(0), N(0), N(0)], FAULT, FAULT),
    ("truncate", libc::SYS_truncate, &[In, N(0)], FAULT, FAULT),
    ("chdir", libc::SYS_chdir, &[In], FAULT, FAULT),
    ("getcwd", libc::SYS_getcwd, &[Out, N(4096)], FAULT, FAULT),
    ("getdents64", libc::SYS_getdents64, &[Directory, Out, N(4096)], FAULT, FAULT),
    ("pipe", libc::SYS_pipe, &[Out], FAULT, FAULT),
    ("pipe2", libc::SYS_pipe2, &[Out, N(0)], FAULT, FAULT),
    ("statfs path", libc::SYS_statfs, &[In, Buffer], FAULT, FAULT),
    ("statfs result", libc::SYS_statfs, &[Path, Out], FAULT, FAULT),
    ("fstatfs", libc::SYS_fstatfs, &[File, Out], FAULT, FAULT),
    ("utimensat path", libc::SYS_utimensat, &[CWD, In, N(0), N(0)], FAULT, FAULT),
    ("utimensat times", libc::SYS_utimensat, &[CWD, Path, In, N(0)], FINE, FAULT),
    ("sendfile offset", libc::SYS_sendfile, &[PipeWrite, File, Out, N(1)], FINE, FAULT),
    ("mount target", libc::SYS_mount, &[N(0), In, N(0), N(0x1000), N(0)], FAULT, FAULT),
    ("mount source", libc::SYS_mount, &[In, Path, N(0), N(0x1000), N(0)], INVALID, FAULT),
    ("mount type", libc::SYS_mount, &[Path, Path, In, N(0), N(0)], INVALID, FAULT),
    ("umount2", libc::SYS_umount2, &[In, N(0)], FAULT, FAULT),
    ("poll", libc::SYS_poll, &[Out, N(1), N(0)], FAULT, FAULT),
    ("ppoll descriptors", libc::SYS_ppoll, &[Out, N(1), Buffer, N(0), N(8)], FAULT, FAULT),
    ("ppoll limit", libc::SYS_ppoll, &[Buffer, N(1), In, N(0), N(8)], WAITS, FAULT),
    ("ppoll mask", libc::SYS_ppoll, &[Buffer, N(0), Buffer, In, N(8)], FINE, FAULT),
    ("select set", libc::SYS_select, &[N(8), Out, N(0), N(0), Buffer], FINE, FAULT),
    ("select limit", libc::SYS_select, &[N(1), Buffer, N(0), N(0), In], WAITS, FAULT),
    ("pselect6 set", libc::SYS_pselect6, &[N(8), N(0), Out, N(0), Buffer, N(0)], FINE, FAULT),
];

/// Time.
const TIMES: &[Row] = &[
    ("clock_gettime", libc::SYS_clock_gettime, &[N(1), Out], FAULT, FAULT),
    ("clock_gettime of no clock", libc::SYS_clock_gettime, &[N(99), Out], INVALID, INVALID),
    ("clock_getres", libc::SYS_clock_getres, &[N(1), Out], FINE, FAULT),
    ("clock_settime", libc::SYS_clock_settime, &[N(0), In], FAULT, FAULT),
    ("clock_settime of a clock that cannot be set", libc::SYS_clock_settime, &[N(1), In], INVALID, INVALID),
    ("gettimeofday time", libc::SYS_gettimeofday, &[Out, N(0)], FINE, FAULT),
    ("gettimeofday zone", libc::SYS_gettimeofday, &[N(0), Out], FINE, FAULT),
    ("settimeofday time", libc::SYS_settimeofday, &[In, N(0)], FINE, FAULT),
    ("settimeofday zone", libc::SYS_settimeofday, &[N(0), In], FINE, FAULT),
    ("time", libc::SYS_time, &[Out], FINE, FAULT),
    ("times", libc::SYS_times, &[Out], FINE, FAULT),
    ("nanosleep", libc::SYS_nanosleep, &[In, N(0)], FAULT, FAULT),
    ("clock_nanosleep", libc::SYS_clock_nanosleep, &[N(1), N(0), In, N(0)], FAULT, FAULT),
    ("clock_nanosleep absolute", libc::SYS_clock_nanosleep, &[N(1), N(1), In, N(0)], FAULT, FAULT),
    ("sysinfo", libc::SYS_sysinfo, &[Out], FAULT, FAULT),
    ("getrusage", libc::SYS_getrusage, &[N(0), Out], FAULT, FAULT),
];

/// Processes, signals, memory, identity.
const TASKS: &[Row] = &[
    ("execve path", libc::SYS_execve, &[In, N(0), N(0)], FAULT, FAULT),
    ("execve arguments", libc::SYS_execve, &[Path, In, N(0)], Some(Errno::EACCES), Some(Errno::EACCES)),
    ("clone3", libc::SYS_clone3, &[In, N(88)], FAULT, FAULT),
    ("rt_sigaction new", libc::SYS_rt_sigaction, &[N(10), In, N(0), N(8)], FINE, FAULT),
    ("rt_sigaction old", libc::SYS_rt_sigaction, &[N(10), N(0), Out, N(8)], FINE, FAULT),
    ("rt_sigprocmask new", libc::SYS_rt_sigprocmask, &[N(0), In, N(0), N(8)], FINE, FAULT),
    ("rt_sigprocmask old", libc::SYS_rt_sigprocmask, &[N(0), N(0), Out, N(8)], FINE, FAULT),
    ("rt_sigpending", libc::SYS_rt_sigpending, &[Out, N(8)], FAULT, FAULT),
    ("rt_sigsuspend", libc::SYS_rt_sigsuspend, &[In, N(8)], FAULT, FAULT),
    ("rt_sigtimedwait set", libc::SYS_rt_sigtimedwait, &[In, N(0), Buffer, N(8)], FAULT, FAULT),
    ("sigaltstack new", libc::SYS_sigaltstack, &[In, N(0)], FINE, FAULT),
    ("sigaltstack old", libc::SYS_sigaltstack, &[N(0), Out], FINE, FAULT),
    ("futex word", libc::SYS_futex, &[Out, N(0), N(0), Buffer], FAULT, FAULT),
    ("futex limit", libc::SYS_futex, &[Buffer, N(0), N(1), In], Some(Errno::EAGAIN), FAULT),
    ("prlimit64 new", libc::SYS_prlimit64, &[N(0), N(7), In, N(0)], FINE, FAULT),
    ("prlimit64 old", libc::SYS_prlimit64, &[N(0), N(7), N(0), Out], FINE, FAULT),
    ("getrlimit", libc::SYS_getrlimit, &[N(7), Out], FAULT, FAULT),
    ("setrlimit", libc::SYS_setrlimit, &[N(7), In], FAULT, FAULT),
    ("sched_getaffinity", libc::SYS_sched_getaffinity, &[N(0), N(1024), Out], FAULT, FAULT),
    ("uname", libc::SYS_uname, &[Out], FAULT, FAULT),
    ("getrandom", libc::SYS_getrandom, &[Out, N(8), N(0)], FAULT, FAULT),
    ("getgroups", libc::SYS_getgroups, &[N(0), Out], FINE, FINE),
    ("setgroups", libc::SYS_setgroups, &[N(1), In], FAULT, FAULT),
    ("getresuid", libc::SYS_getresuid, &[Buffer, Out, Buffer], FAULT, FAULT),
    ("getresgid", libc::SYS_getresgid, &[Buffer, Buffer, Out], FAULT, FAULT),
    ("capget header", libc::SYS_capget, &[In, Buffer], FAULT, FAULT),
    ("capset header", libc::SYS_capset, &[In, Buffer], FAULT, FAULT),
    ("prctl(PR_SET_NAME)", libc::SYS_prctl, &[N(15), In], FAULT, FAULT),
    ("prctl(PR_GET_NAME)", libc::SYS_prctl, &[N(16), Out], FAULT, FAULT),
    ("prctl(PR_GET_PDEATHSIG)", libc::SYS_prctl, &[N(2), Out], FAULT, FAULT),
    ("arch_prctl(ARCH_GET_FS)", libc::SYS_arch_prctl, &[N(0x1003), Out], FAULT, FAULT),
    ("getcpu", libc::SYS_getcpu, &[Out, N(0), N(0)], FINE, FAULT),
    (
        "wait4 without a child",
        libc::SYS_wait4,
        &[N(-1), Out, N(0), N(0)],
        Some(Errno::ECHILD),
        Some(Errno::ECHILD),
    ),
    ("sethostname", libc::SYS_sethostname, &[In, N(4)], FAULT, FAULT),
];

/// The bad addresses: what is wrong, and where.
struct Addresses {
    kinds: Vec<(&'static str, usize)>,
    read_only: usize,
    buffer: usize,
}

impl Addresses {
    fn make() -> Result<Addresses, Why> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let map = |pages: usize, protection: i32| {
            call!(libc::SYS_mmap, 0usize, pages * PAGE, protection, flags, -1, 0usize).step("mmap")
        };
        let read_write = libc::PROT_READ | libc::PROT_WRITE;
        let hole = map(3, read_write)?;
        call!(libc::SYS_munmap, hole + PAGE, PAGE).step("munmap")?;
        let forbidden = map(1, libc::PROT_NONE)?;
        Ok(Addresses {
            kinds: vec![
                ("not mapped", hole + PAGE),
                ("not to be accessed", forbidden),
                // The last byte of a mapping: whatever is longer than a byte reaches out of it.
                ("straddling the end of a mapping", hole + PAGE - 1),
                ("in the kernel's half", 0xffff_8000_0000_1000),
                ("at the very top", usize::MAX - 7),
                ("just past the user's half", 0x7fff_ffff_f000),
                ("not canonical", 0x8000_0000_0000_0000),
            ],
            read_only: map(1, libc::PROT_READ)?,
            buffer: map(1, read_write)?,
        })
    }
}

/// A row's call with this pointer, in a child of its own: whatever it does to the process is undone.
fn answer(row: &Row, addresses: &Addresses, pointer: usize) -> Result<Option<Errno>, Why> {
    let (_, number, arguments, _, _) = row;
    let status = process::run(|| match call_with(*number, arguments, addresses, pointer) {
        Ok(Err(errno)) => errno.0,
        Ok(Ok(_)) => 0,
        Err(_) => 255,
    })?;
    match status {
        Status::Exited(0) => Ok(None),
        Status::Exited(255) => failed("the arguments could not be made"),
        Status::Exited(number) => Ok(Some(Errno(number))),
        status => failed(format!("the process ended: {status:?}")),
    }
}

fn call_with(
    number: i64,
    arguments: &[Arg],
    addresses: &Addresses,
    pointer: usize,
) -> Result<Result<usize, Errno>, Why> {
    let path = Temporary::with("bad", b"some text\n", 0o644)?;
    let (text, absent) = (super::support::c(&path.0), super::support::c(super::support::temporary("absent")));
    let (read_end, write_end) = process::pipe()?;
    process::send_byte(write_end);
    let mut registers = [0usize; 6];
    for (register, argument) in registers.iter_mut().zip(arguments) {
        *register = match argument {
            N(number) => *number as usize,
            In | Out => pointer,
            Path => text.as_ptr() as usize,
            NoPath => absent.as_ptr() as usize,
            Buffer => addresses.buffer,
            File => file::open(&path.0, libc::O_RDWR)? as usize,
            Directory => file::open("/", libc::O_RDONLY | libc::O_DIRECTORY)? as usize,
            PipeRead => read_end as usize,
            PipeWrite => write_end as usize,
        };
    }
    let answer = decode(raw(number, registers));
    drop(path);
    Ok(answer)
}

fn shown(answer: Answer) -> String {
    if answer == WAITS {
        return "a wait".to_string();
    }
    answer.map_or("success".to_string(), Errno::name)
}

/// What a pointer to the last byte of a mapping gives. A stream of bytes is taken as far as it goes; a futex word must
/// be aligned before it is looked at; an empty text or a single byte is no fault.
fn answer_when_straddling(row: &Row) -> Option<Answer> {
    match row.0 {
        "read" | "write" | "pread64" | "pwrite64" | "getrandom" => Some(FINE),
        "futex word" => Some(INVALID),
        "read from a pipe" => None,
        _ if takes_text(row) => None,
        _ => Some(row.4),
    }
}

fn check(row: &'static Row) -> Outcome {
    let addresses = Addresses::make()?;
    let (name, _, arguments, for_null, for_bad) = row;
    if *for_null != WAITS {
        let got = answer(row, &addresses, 0)?;
        equal(&format!("{name} with NULL"), shown(got), shown(*for_null))?;
    }
    for (kind, address) in &addresses.kinds {
        let expected =
            if kind.starts_with("straddling") { answer_when_straddling(row) } else { Some(*for_bad) };
        if let Some(expected) = expected {
            let got = answer(row, &addresses, *address)?;
            equal(&format!("{name} with an address {kind} ({address:#x})"), shown(got), shown(expected))?;
        }
    }
    if arguments.iter().any(|argument| matches!(argument, Out)) {
        let got = answer(row, &addresses, addresses.read_only)?;
        equal(&format!("{name} with a page that may only be read"), shown(got), shown(*for_bad))?;
    }
    Ok(())
}

/// True for calls whose pointer is a text: an empty one is no fault.
fn takes_text(row: &Row) -> bool {
    const TEXTS: &[&str] = &[
        "open",
        "openat",
        "access",
        "faccessat",
        "faccessat2",
        "mkdir",
        "mkdirat",
        "rmdir",
        "unlink",
        "unlinkat",
        "mknodat",
        "chmod",
        "fchmodat",
        "chown",
        "lchown",
        "fchownat",
        "truncate",
        "chdir",
        "umount2",
        "prctl(PR_SET_NAME)",
    ];
    TEXTS.contains(&row.0)
        || [" path", " old", " new", " target", " name", " source", " type"]
            .iter()
            .any(|end| row.0.ends_with(end))
            && !row.0.starts_with("rt_")
            && !row.0.starts_with("sigaltstack")
            && !row.0.starts_with("prlimit")
}

pub fn cases(plan: &mut Plan) {
    for row in FILES.iter().chain(TIMES).chain(TASKS) {
        plan.case(format!("{}: NULL gives {}, bad addresses {}", row.0, shown(row.3), shown(row.4)), || {
            check(row)
        });
    }
}

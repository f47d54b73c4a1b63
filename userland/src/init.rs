//! `init`: the first process. Says that it runs, mounts what every program expects, runs one thing, powers off.
//!
//! What it runs is chosen by its arguments (the words after `--` on the kernel's command line):
//!
//! | arguments | runs | then |
//! |---|---|---|
//! | none | an interactive shell on /dev/console | powers off when the shell exits |
//! | `demonstration` | /bin/demonstration | powers off if all of it holds |
//! | `run COMMAND [ARGUMENT...]` | the command | prints `init: exit status N` (128 + signal if killed), powers off |
//!
//! When the demonstration fails, or the words make no sense, init ends with status 1. To the kernel that is a panic: the one
//! way in which a machine can tell whoever started it that not all went well.
//!
//! No service manager, no configuration file, no login: this is a machine for one purpose. Adopted orphans are reaped
//! because the one loop waits for any child, not for the one it started.

use crate::system::errno::Errno;
use crate::system::process::{self, Status, c_string};
use crate::system::{file, time};
use crate::{call, say};
use std::ffi::{CString, OsString};

const GREETING: &str = "\
Type `clocks` for every clock as this shell sees it, `demonstration` for the tour,
`unshare --time --monotonic 86400 clocks` for a namespace one day ahead; `exit` powers off.";

/// The program.
pub fn main(arguments: &[OsString]) -> i32 {
    say!("gnomon: init at {} s", time::decimal(time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0)));
    if call!(libc::SYS_getpid) != Ok(1) {
        // Reaping, mounting and powering off are for process 1; anywhere else they would do harm.
        say!("init: this is not process 1, so there is nothing to do here");
        return 1;
    }
    mount_everything();
    open_standard_descriptors();
    let word = arguments.get(1).map(|word| word.to_string_lossy().into_owned());
    let went_well = match word.as_deref() {
        None => {
            interactive_shell();
            true
        }
        Some("demonstration") => {
            let went_well = run(&["/bin/demonstration".into()]) == Some(Status::Exited(0));
            if !went_well {
                say!("init: the demonstration failed");
            }
            went_well
        }
        Some("run") if arguments.len() > 2 => {
            let status = run(&arguments[2..]);
            if let Some(status) = status {
                say!("init: exit status {}", status.shell_code());
            }
            status.is_some()
        }
        Some("run") => {
            say!("init: `run` needs a command");
            false
        }
        Some(other) => {
            say!("init: `{other}` is none of: demonstration, run COMMAND [ARGUMENT...]");
            false
        }
    };
    end_all_others();
    if went_well {
        power_off();
    }
    1
}

/// What is mounted: source, target, type, data. In this order: the first makes /proc/mounts readable.
const MOUNTS: &[(&str, &str, &str, &str)] = &[
    ("proc", "/proc", "proc", ""),
    ("sysfs", "/sys", "sysfs", ""),
    ("devtmpfs", "/dev", "devtmpfs", ""),
    ("tmpfs", "/tmp", "tmpfs", "mode=1777"),
];

fn mount_everything() {
    for (source, target, kind, data) in MOUNTS {
        let [source, path, filesystem, data] = [source, target, kind, data].map(c_string);
        match call!(libc::SYS_mkdir, path.as_c_str(), 0o755) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(errno) => say!("init: cannot make the directory {target}: {}", errno.sentence()),
        }
        let mounted = call!(
            libc::SYS_mount,
            source.as_c_str(),
            path.as_c_str(),
            filesystem.as_c_str(),
            0,
            data.as_c_str()
        );
        match mounted {
            // The kernel may have mounted devtmpfs itself.
            Ok(_) | Err(Errno::EBUSY) => {}
            Err(errno) => say!("init: cannot mount {kind} on {target}: {}", errno.sentence()),
        }
    }
}

/// Opens the console as 0, 1 and 2 where the kernel started this process without them.
fn open_standard_descriptors() {
    if call!(libc::SYS_fcntl, 2, libc::F_GETFD).is_ok() {
        return;
    }
    if let Ok(console) = call!(libc::SYS_openat, libc::AT_FDCWD, c"/dev/console", libc::O_RDWR) {
        for descriptor in 0..3 {
            let _ = call!(libc::SYS_dup2, console, descriptor);
        }
    }
}

/// Read by the shell at its start because $ENV names it. Debian's busybox runs its own applets before it looks into
/// PATH, and its `unshare` and `nsenter` know no time namespaces.
const SHELL_START: (&str, &str) = ("/tmp/.shell", "alias unshare=/bin/unshare nsenter=/bin/nsenter\n");

fn interactive_shell() {
    say!("{GREETING}");
    if let Err(errno) = file::create(SHELL_START.0, SHELL_START.1.as_bytes(), 0o644) {
        say!("init: cannot write {}, so say /bin/unshare: {}", SHELL_START.0, errno.sentence());
    }
    let arguments: [CString; 1] = [c"sh".into()];
    start_and_reap(|| {
        if let Err(errno) = take_console() {
            say!("init: the shell has no terminal of its own (so no ^C): {}", errno.sentence());
        }
        let errno = execute(c"/bin/sh".into(), &arguments);
        say!("init: cannot run /bin/sh: {}", errno.sentence());
        127
    });
}

/// A new session whose controlling terminal is the console, on descriptors 0, 1 and 2: what ^C and job control need.
fn take_console() -> Result<(), Errno> {
    call!(libc::SYS_setsid)?;
    let console = call!(libc::SYS_openat, libc::AT_FDCWD, c"/dev/console", libc::O_RDWR)?;
    for descriptor in 0..3 {
        call!(libc::SYS_dup2, console, descriptor)?;
    }
    if console > 2 {
        process::close(console as i32);
    }
    call!(libc::SYS_ioctl, 0, libc::TIOCSCTTY, 0)?;
    Ok(())
}

/// Runs a command as a child; None when it could not be started at all.
fn run(words: &[OsString]) -> Option<Status> {
    let arguments: Vec<CString> = words.iter().map(c_string).collect();
    start_and_reap(|| {
        let errno = execute(arguments[0].clone(), &arguments);
        say!("init: cannot run {}: {}", words[0].to_string_lossy(), errno.sentence());
        if errno == Errno::ENOENT { 127 } else { 126 }
    })
}

/// The environment every program starts with, unless the kernel's command line set these already.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/bin:/sbin:/usr/bin:/usr/sbin:/selftests"),
    ("HOME", "/"),
    ("TERM", "vt100"),
    ("PS1", "gnomon:\\w\\$ "),
    ("ENV", SHELL_START.0),
];

fn execute(program: CString, arguments: &[CString]) -> Errno {
    for (name, value) in ENVIRONMENT {
        if std::env::var_os(name).is_none() || *name == "PATH" {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var(name, value) };
        }
    }
    process::execute_as(&program, arguments)
}

/// Forks for `work` and waits until that child ends, reaping every other child on the way.
fn start_and_reap(work: impl FnOnce() -> i32) -> Option<Status> {
    let child = match process::spawn(work) {
        Ok(child) => child,
        Err(errno) => {
            say!("init: cannot fork: {}", errno.sentence());
            return None;
        }
    };
    loop {
        match process::wait_with(-1, 0) {
            Ok((ended, status)) if ended == child => return Some(status),
            Ok(_) => {}
            Err(errno) => {
                say!("init: cannot wait for process {child}: {}", errno.sentence());
                return None;
            }
        }
    }
}

/// How long processes may take to end after SIGTERM before they get SIGKILL.
const PATIENCE: i64 = 200 * time::MILLISECOND;

/// Ends every other process, reaps them, and has files written.
fn end_all_others() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        // ESRCH: nobody is left.
        if call!(libc::SYS_kill, -1, signal).is_err() {
            break;
        }
        let deadline = time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(0) + PATIENCE;
        while let Ok((ended, _)) = process::wait_with(-1, libc::WNOHANG) {
            if ended == 0 {
                if time::read_by_call(libc::CLOCK_MONOTONIC).unwrap_or(i64::MAX) > deadline {
                    break;
                }
                time::sleep(5 * time::MILLISECOND);
            }
        }
    }
    let _ = call!(libc::SYS_sync);
}

/// Asks for power-off. Returns only if the kernel refuses.
fn power_off() {
    const MAGIC: [u32; 2] = [0xfee1_dead, 672_274_793];
    let refused = call!(libc::SYS_reboot, MAGIC[0], MAGIC[1], libc::LINUX_REBOOT_CMD_POWER_OFF, 0usize);
    if let Err(errno) = refused {
        say!("init: the kernel refused to power off: {}", errno.sentence());
    }
}

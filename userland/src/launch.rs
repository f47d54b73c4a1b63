//! What unshare and nsenter have in common: failing in util-linux's words, numbers and ids from the command line,
//! and running the program (or a shell) at the end.

use crate::complain;
use crate::system::errno::Errno;
use crate::system::process::{self, c_string};
use crate::{call, system::file};
use std::ffi::{CString, OsString};

/// Exit status for any failure before the program starts.
pub const FAILURE: i32 = 1;

/// A failure in the middle of preparing: the sentence to print after the program's name.
pub struct Failure(pub String);

impl Failure {
    /// `what: the error's sentence`
    pub fn with(what: impl std::fmt::Display, errno: Errno) -> Failure {
        Failure(format!("{what}: {}", errno.sentence()))
    }
}

/// Says the failure and gives the exit status.
pub fn report(program: &str, failure: &Failure) -> i32 {
    complain!("{program}: {}", failure.0);
    FAILURE
}

/// Namespaces of Linux that these commands know by name but do not handle: their option and the sentence's word.
pub const OTHER_NAMESPACES: &[(char, &str, &str)] = &[
    ('m', "mount", "mount"),
    ('u', "uts", "UTS"),
    ('i', "ipc", "IPC"),
    ('n', "net", "network"),
    ('p', "pid", "PID"),
    ('C', "cgroup", "cgroup"),
];

/// The refusal for one of them.
pub fn other_namespace(index: usize) -> Failure {
    let (_, _, name) = OTHER_NAMESPACES[index];
    Failure(format!("{name} namespaces are not handled here, only time and user namespaces are"))
}

/// A user or group given as a number, or as a name looked up in `database` (/etc/passwd or /etc/group).
pub fn id(text: &str, what: &str, database: &str) -> Result<u32, Failure> {
    let by_name = || {
        let lines = file::read(database).ok()?;
        let line = lines.lines().find(|line| line.split(':').next() == Some(text))?.to_string();
        line.split(':').nth(2)?.parse().ok()
    };
    text.parse().ok().or_else(by_name).ok_or_else(|| Failure(format!("failed to parse {what}: '{text}'")))
}

/// setgroups to nothing, setgid, setuid, for the options that ask for it. The group first: afterwards one may not.
pub fn set_ids(user: Option<u32>, group: Option<u32>) -> Result<(), Failure> {
    if let Some(group) = group {
        call!(libc::SYS_setgroups, 0usize, 0usize)
            .map_err(|errno| Failure::with("setgroups failed", errno))?;
        call!(libc::SYS_setgid, group).map_err(|errno| Failure::with("setgid failed", errno))?;
    }
    if let Some(user) = user {
        call!(libc::SYS_setuid, user).map_err(|errno| Failure::with("setuid failed", errno))?;
    }
    Ok(())
}

/// Becomes the program of `words`, or the user's shell when there is none. Returns only the exit status of a failure:
/// 127 when the program does not exist, 126 when it cannot be run.
pub fn execute(program: &str, words: &[OsString]) -> i32 {
    let (name, errno) = match words.first() {
        Some(first) => (first.to_string_lossy().into_owned(), process::execute(words)),
        None => {
            let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_string());
            let base = shell.rsplit('/').next().unwrap_or("sh").to_string();
            let arguments: [CString; 1] = [c_string(format!("-{base}"))];
            let errno = process::execute_as(&c_string(&shell), &arguments);
            (shell, errno)
        }
    };
    complain!("{program}: failed to execute {name}: {}", errno.sentence());
    if errno == Errno::ENOENT { 127 } else { 126 }
}

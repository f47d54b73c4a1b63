//! `nsenter`: runs a program in the time or user namespace of another process, or of a bind mount, with util-linux's
//! options, words and exit statuses.
//!
//! Two passes over the namespaces: first with the rights one has, then, once inside the target's user namespace,
//! with the rights one gets there. A time namespace owned by a foreign user namespace needs rights in both (setns(2)).

use crate::command_line::{self, Opt, Value};
use crate::launch::{self, Failure, OTHER_NAMESPACES};
use crate::system::credentials::CLONE_NEWUSER;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::CLONE_NEWTIME;
use crate::system::process;
use crate::{call, say};
use std::ffi::OsString;

const HELP: &str = "\
Usage:
 nsenter [options] [<program> [<argument>...]]

Runs a program (a shell if none is named) in namespaces of other processes.

Options:
 -a, --all              enter all namespaces (user and time)
 -t, --target <pid>     target process to get namespaces from
 -T, --time[=<file>]    enter time namespace
 -U, --user[=<file>]    enter user namespace
 -S, --setuid <uid>     set uid in entered namespace
 -G, --setgid <gid>     set gid in entered namespace
     --preserve-credentials  do not touch uids or gids
 -w, --wd=<dir>         set the working directory
 -F, --no-fork          accepted; only a PID namespace would need a fork
 -h, --help             display this help
 -V, --version          display version

Time and user namespaces are the ones handled here.";

#[derive(Clone, Copy)]
enum Key {
    All,
    Target,
    Time,
    User,
    Other(usize),
    Setuid,
    Setgid,
    Preserve,
    Directory,
    NoFork,
    Help,
    Version,
}

fn table() -> Vec<Opt<Key>> {
    let row = |short, long, value, key| Opt { short, long, value, key };
    let mut rows = vec![
        row(Some('a'), "all", Value::None, Key::All),
        row(Some('t'), "target", Value::Required, Key::Target),
        row(Some('T'), "time", Value::Optional, Key::Time),
        row(Some('U'), "user", Value::Optional, Key::User),
        row(Some('S'), "setuid", Value::Required, Key::Setuid),
        row(Some('G'), "setgid", Value::Required, Key::Setgid),
        row(None, "preserve-credentials", Value::None, Key::Preserve),
        row(Some('w'), "wd", Value::Required, Key::Directory),
        row(Some('F'), "no-fork", Value::None, Key::NoFork),
        row(Some('h'), "help", Value::None, Key::Help),
        row(Some('V'), "version", Value::None, Key::Version),
    ];
    for (index, (short, long, _)) in OTHER_NAMESPACES.iter().enumerate() {
        rows.push(row(Some(*short), long, Value::Optional, Key::Other(index)));
    }
    rows
}

/// A namespace to enter, opened.
struct Door {
    name: &'static str,
    flag: i32,
    file: Descriptor,
}

/// The program.
pub fn main(arguments: &[OsString]) -> i32 {
    let Some(parsed) = command_line::parse("nsenter", arguments, &table()) else { return launch::FAILURE };
    enter_and_run(parsed.options, &parsed.rest).unwrap_or_else(|failure| launch::report("nsenter", &failure))
}

fn enter_and_run(options: Vec<(Key, Option<String>)>, program: &[OsString]) -> Result<i32, Failure> {
    let mut target: Option<u32> = None;
    let mut all = false;
    let mut time: Option<Option<String>> = None;
    let mut user: Option<Option<String>> = None;
    let (mut user_id, mut group_id) = (None, None);
    let mut preserve = false;
    let mut directory = None;
    for (key, value) in options {
        let text = value.clone().unwrap_or_default();
        match key {
            Key::Help => {
                say!("\n{HELP}");
                return Ok(0);
            }
            Key::Version => {
                say!("nsenter from gnomon {}", env!("CARGO_PKG_VERSION"));
                return Ok(0);
            }
            Key::All => all = true,
            Key::Target => {
                let pid = text.parse().map_err(|_| Failure(format!("failed to parse pid: '{text}'")))?;
                target = Some(pid);
            }
            Key::Time => time = Some(value),
            Key::User => user = Some(value),
            Key::Other(index) => return Err(launch::other_namespace(index)),
            Key::Setuid => user_id = Some(launch::id(&text, "uid", "/etc/passwd")?),
            Key::Setgid => group_id = Some(launch::id(&text, "gid", "/etc/group")?),
            Key::Preserve => preserve = true,
            Key::Directory => directory = value,
            Key::NoFork => {}
        }
    }
    if all {
        let Some(pid) = target else {
            return Err(Failure("no target PID specified for --all".to_string()));
        };
        // Entering the user namespace one is in already is an error, so --all leaves out what is the same.
        let differs = |name: &str| -> Result<bool, Failure> {
            let path = format!("/proc/{pid}/ns/{name}");
            let theirs = file::status(&path, 0)
                .map_err(|errno| Failure::with(format!("stat of {path} failed"), errno))?;
            let own = file::status(&format!("/proc/self/ns/{name}"), 0)
                .map_err(|errno| Failure::with(format!("stat of /proc/self/ns/{name} failed"), errno))?;
            Ok((theirs.st_dev, theirs.st_ino) != (own.st_dev, own.st_ino))
        };
        if user.is_none() && differs("user")? {
            user = Some(None);
        }
        if time.is_none() && differs("time")? {
            time = Some(None);
        }
    }
    let mut doors = Vec::new();
    for (name, flag, asked) in [("user", CLONE_NEWUSER, user), ("time", CLONE_NEWTIME, time)] {
        if let Some(path) = asked {
            doors.push(open(name, flag, path, target)?);
        }
    }
    if let Some(path) = directory {
        let text = process::c_string(&path);
        call!(libc::SYS_chdir, text.as_c_str())
            .map_err(|errno| Failure::with(format!("cannot chdir to '{path}'"), errno))?;
    }
    let entered_user = doors.iter().any(|door| door.flag == CLONE_NEWUSER);
    if entered_user && !preserve {
        // While it is still allowed: inside, setgroups may be denied.
        let _ = call!(libc::SYS_setgroups, 0usize, 0usize);
    }
    walk_through(doors, entered_user)?;
    if entered_user && !preserve {
        call!(libc::SYS_setgid, group_id.unwrap_or(0))
            .map_err(|errno| Failure::with("setgid failed", errno))?;
        call!(libc::SYS_setuid, user_id.unwrap_or(0))
            .map_err(|errno| Failure::with("setuid failed", errno))?;
    } else {
        launch::set_ids(user_id, group_id)?;
    }
    Ok(launch::execute("nsenter", program))
}

fn open(name: &'static str, flag: i32, path: Option<String>, target: Option<u32>) -> Result<Door, Failure> {
    let path = match (path, target) {
        (Some(path), _) => path,
        (None, Some(pid)) => format!("/proc/{pid}/ns/{name}"),
        (None, None) => {
            return Err(Failure(format!("neither filename nor target pid supplied for ns/{name}")));
        }
    };
    let file = Descriptor::open(&path, libc::O_RDONLY)
        .map_err(|errno| Failure::with(format!("cannot open {path}"), errno))?;
    Ok(Door { name, flag, file })
}

/// setns(2) for each: all but the user namespace first, then the user namespace, then what was refused before.
fn walk_through(doors: Vec<Door>, entered_user: bool) -> Result<(), Failure> {
    let enter = |door: &Door| {
        call!(libc::SYS_setns, door.file.0, door.flag).map_err(|errno| {
            Failure::with(format!("reassociate to namespace 'ns/{}' failed", door.name), errno)
        })
    };
    let mut left = Vec::new();
    for door in doors {
        if door.flag == CLONE_NEWUSER {
            left.push(door);
        } else if let Err(failure) = enter(&door) {
            if !entered_user {
                return Err(failure);
            }
            left.push(door);
        }
    }
    left.iter().try_for_each(|door| enter(door).map(|_| ()))
}

//! `unshare`: runs a program with a new time or user namespace, with util-linux's options, words and exit statuses.
//!
//! The order of the steps is the heart of it: the offsets are written between unshare(2) and the first child, because
//! the first task to enter a time namespace freezes it. Without `--fork` the program enters by its own exec (Linux 6.2
//! and later); with `--fork`, the child does by being forked.

use crate::command_line::{self, Opt, Value};
use crate::launch::{self, Failure, OTHER_NAMESPACES};
use crate::system::credentials::{self, CLONE_NEWUSER};
use crate::system::file;
use crate::system::namespace::{CLONE_NEWTIME, OFFSETS};
use crate::system::process::{self, Status};
use crate::{call, say};
use std::ffi::OsString;

const HELP: &str = "\
Usage:
 unshare [options] [<program> [<argument>...]]

Runs a program (a shell if none is named) with some namespaces unshared from the parent.

Options:
 -T, --time[=<file>]       unshare time namespace; keep it alive by a bind mount on file
     --monotonic <offset>  set clock monotonic offset (seconds) in time namespaces
     --boottime <offset>   set clock boottime offset (seconds) in time namespaces
 -U, --user[=<file>]       unshare user namespace; keep it alive by a bind mount on file
 -r, --map-root-user       map current user to root (implies --user)
 -c, --map-current-user    map current user to itself (implies --user)
     --map-user=<uid>|<name>    map current user to uid (implies --user)
     --map-group=<gid>|<name>   map current group to gid (implies --user)
     --setgroups allow|deny     control the setgroups syscall in user namespaces
 -f, --fork                fork before launching <program>
     --kill-child[=<signame>]   when dying, kill the forked child (implies --fork)
 -R, --root=<dir>          run the command with root directory set to <dir>
 -w, --wd=<dir>            change working directory to <dir>
 -S, --setuid <uid>        set uid in entered namespace
 -G, --setgid <gid>        set gid in entered namespace
 -h, --help                display this help
 -V, --version             display version

Time and user namespaces are the ones handled here.";

#[derive(Clone, Copy)]
enum Key {
    Time,
    User,
    Other(usize),
    Monotonic,
    Boottime,
    MapRoot,
    MapCurrent,
    MapUser,
    MapGroup,
    Setgroups,
    Fork,
    KillChild,
    Root,
    Directory,
    Setuid,
    Setgid,
    Help,
    Version,
}

fn table() -> Vec<Opt<Key>> {
    let row = |short, long, value, key| Opt { short, long, value, key };
    let mut rows = vec![
        row(Some('T'), "time", Value::Optional, Key::Time),
        row(Some('U'), "user", Value::Optional, Key::User),
        row(None, "monotonic", Value::Required, Key::Monotonic),
        row(None, "boottime", Value::Required, Key::Boottime),
        row(Some('r'), "map-root-user", Value::None, Key::MapRoot),
        row(Some('c'), "map-current-user", Value::None, Key::MapCurrent),
        row(None, "map-user", Value::Required, Key::MapUser),
        row(None, "map-group", Value::Required, Key::MapGroup),
        row(None, "setgroups", Value::Required, Key::Setgroups),
        row(Some('f'), "fork", Value::None, Key::Fork),
        row(None, "kill-child", Value::Optional, Key::KillChild),
        row(Some('R'), "root", Value::Required, Key::Root),
        row(Some('w'), "wd", Value::Required, Key::Directory),
        row(Some('S'), "setuid", Value::Required, Key::Setuid),
        row(Some('G'), "setgid", Value::Required, Key::Setgid),
        row(Some('h'), "help", Value::None, Key::Help),
        row(Some('V'), "version", Value::None, Key::Version),
    ];
    for (index, (short, long, _)) in OTHER_NAMESPACES.iter().enumerate() {
        rows.push(row(Some(*short), long, Value::Optional, Key::Other(index)));
    }
    rows
}

/// What the command line asked for.
#[derive(Default)]
struct Wanted {
    flags: i32,
    /// Bind mounts to make: the link under /proc/PID/ns, and the file.
    keep: Vec<(&'static str, String)>,
    monotonic: Option<i64>,
    boottime: Option<i64>,
    map_user: Option<u32>,
    map_group: Option<u32>,
    setgroups: Option<String>,
    fork: bool,
    kill_child: Option<i32>,
    root: Option<String>,
    directory: Option<String>,
    user: Option<u32>,
    group: Option<u32>,
    program: Vec<OsString>,
}

/// The program.
pub fn main(arguments: &[OsString]) -> i32 {
    let Some(parsed) = command_line::parse("unshare", arguments, &table()) else { return launch::FAILURE };
    for (key, _) in &parsed.options {
        match key {
            Key::Help => {
                say!("\n{HELP}");
                return 0;
            }
            Key::Version => {
                say!("unshare from gnomon {}", env!("CARGO_PKG_VERSION"));
                return 0;
            }
            _ => {}
        }
    }
    let wanted = match understand(parsed.options, parsed.rest) {
        Ok(wanted) => wanted,
        Err(failure) => return launch::report("unshare", &failure),
    };
    unshare_and_run(&wanted).unwrap_or_else(|failure| launch::report("unshare", &failure))
}

fn understand(options: Vec<(Key, Option<String>)>, program: Vec<OsString>) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { program, ..Wanted::default() };
    for (key, value) in options {
        let text = value.clone().unwrap_or_default();
        match key {
            Key::Time => {
                wanted.flags |= CLONE_NEWTIME;
                wanted.keep.extend(value.map(|path| ("time_for_children", path)));
            }
            Key::User => {
                wanted.flags |= CLONE_NEWUSER;
                wanted.keep.extend(value.map(|path| ("user", path)));
            }
            Key::Other(index) => return Err(launch::other_namespace(index)),
            Key::Monotonic => wanted.monotonic = Some(offset(&text, "monotonic")?),
            Key::Boottime => wanted.boottime = Some(offset(&text, "boottime")?),
            Key::MapRoot => (wanted.map_user, wanted.map_group) = (Some(0), Some(0)),
            Key::MapCurrent => {
                wanted.map_user = Some(credentials::effective_user());
                wanted.map_group = Some(credentials::effective_group());
            }
            Key::MapUser => wanted.map_user = Some(launch::id(&text, "uid", "/etc/passwd")?),
            Key::MapGroup => wanted.map_group = Some(launch::id(&text, "gid", "/etc/group")?),
            Key::Setgroups if text == "allow" || text == "deny" => wanted.setgroups = Some(text),
            Key::Setgroups => return Err(Failure(format!("unsupported --setgroups argument '{text}'"))),
            Key::Fork => wanted.fork = true,
            Key::KillChild => {
                wanted.fork = true;
                wanted.kill_child = Some(match value {
                    None => libc::SIGKILL,
                    Some(name) => {
                        signal_number(&name).ok_or_else(|| Failure(format!("unknown signal: {name}")))?
                    }
                });
            }
            Key::Root => wanted.root = value,
            Key::Directory => wanted.directory = value,
            Key::Setuid => wanted.user = Some(launch::id(&text, "uid", "/etc/passwd")?),
            Key::Setgid => wanted.group = Some(launch::id(&text, "gid", "/etc/group")?),
            Key::Help | Key::Version => {}
        }
    }
    if wanted.map_user.is_some() || wanted.map_group.is_some() {
        wanted.flags |= CLONE_NEWUSER;
    }
    if (wanted.monotonic.is_some() || wanted.boottime.is_some()) && wanted.flags & CLONE_NEWTIME == 0 {
        let rule = "options --monotonic and --boottime require unsharing of a time namespace (-T)";
        return Err(Failure(rule.to_string()));
    }
    if wanted.map_group.is_some() && wanted.setgroups.as_deref() == Some("allow") {
        let rule = "options --setgroups=allow and --map-group are mutually exclusive";
        return Err(Failure(rule.to_string()));
    }
    Ok(wanted)
}

fn offset(text: &str, clock: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure(format!("failed to parse {clock} offset: '{text}'")))
}

/// The signals a person would name here, with or without SIG, or a number.
fn signal_number(name: &str) -> Option<i32> {
    const SIGNALS: &[(&str, i32)] = &[
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("ABRT", libc::SIGABRT),
        ("KILL", libc::SIGKILL),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("PIPE", libc::SIGPIPE),
        ("ALRM", libc::SIGALRM),
        ("TERM", libc::SIGTERM),
        ("STOP", libc::SIGSTOP),
        ("CONT", libc::SIGCONT),
    ];
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    let by_name = SIGNALS.iter().find(|(known, _)| *known == bare).map(|(_, number)| *number);
    by_name.or_else(|| name.parse().ok().filter(|number| (1..=64).contains(number)))
}

fn unshare_and_run(wanted: &Wanted) -> Result<i32, Failure> {
    // The ids to map are those from before: inside the new user namespace one has none until a map is written.
    let outside = (credentials::effective_user(), credentials::effective_group());
    call!(libc::SYS_unshare, wanted.flags).map_err(|errno| Failure::with("unshare failed", errno))?;
    for (clock, value) in [("boottime", wanted.boottime), ("monotonic", wanted.monotonic)] {
        if let Some(seconds) = value {
            file::write(OFFSETS, &format!("{clock} {seconds} 0"))
                .map_err(|errno| Failure::with(format!("failed to write to {OFFSETS}"), errno))?;
        }
    }
    if !wanted.fork {
        keep_alive(wanted)?;
        return prepare_and_execute(wanted, outside);
    }
    // A terminal's ^C reaches both processes: the child decides, this one only waits.
    let blocked: u64 = 1 << (libc::SIGINT - 1) | 1 << (libc::SIGTERM - 1);
    let mut before = 0u64;
    let _ = call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &blocked, &mut before, 8usize);
    let child = process::fork().map_err(|errno| Failure::with("fork failed", errno))?;
    if child == 0 {
        let _ = call!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &before, 0usize, 8usize);
        if let Some(signal) = wanted.kill_child {
            call!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal)
                .map_err(|errno| Failure::with("prctl failed", errno))?;
        }
        return prepare_and_execute(wanted, outside);
    }
    keep_alive(wanted)?;
    match process::wait(child).map_err(|errno| Failure::with("waitpid failed", errno))? {
        Status::Killed(signal) => {
            // Die of the same signal, so that whoever waits for this process sees what the child died of.
            let _ = call!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &0u64, 0usize, 8usize);
            let _ = call!(libc::SYS_kill, call!(libc::SYS_getpid).unwrap_or(0), signal);
            Ok(128 + signal)
        }
        status => Ok(status.shell_code()),
    }
}

/// Makes the bind mounts. For the time namespace it is the one for children: this process itself does not enter it.
fn keep_alive(wanted: &Wanted) -> Result<(), Failure> {
    let process = call!(libc::SYS_getpid).unwrap_or(0);
    for (link, path) in &wanted.keep {
        let source = format!("/proc/{process}/ns/{link}");
        let (from, to) = (process::c_string(&source), process::c_string(path));
        call!(libc::SYS_mount, from.as_c_str(), to.as_c_str(), 0usize, libc::MS_BIND, 0usize)
            .map_err(|errno| Failure::with(format!("mount {source} on {path} failed"), errno))?;
    }
    Ok(())
}

fn prepare_and_execute(wanted: &Wanted, outside: (u32, u32)) -> Result<i32, Failure> {
    let pair = |inside: Option<u32>, outside| inside.map(|inside| (inside, outside));
    credentials::map_ids(pair(wanted.map_user, outside.0), pair(wanted.map_group, outside.1))
        .map_err(|(path, errno)| Failure::with(format!("write failed {path}"), errno))?;
    if let (Some(rule), None) = (&wanted.setgroups, wanted.map_group) {
        let path = "/proc/self/setgroups";
        file::write(path, rule).map_err(|errno| Failure::with(format!("write failed {path}"), errno))?;
    }
    let enter = |number, path: &String, what: &str| {
        let text = process::c_string(path);
        call!(number, text.as_c_str()).map_err(|errno| Failure::with(format!("{what} '{path}'"), errno))
    };
    if let Some(root) = &wanted.root {
        enter(libc::SYS_chroot, root, "cannot change root directory to")?;
        enter(libc::SYS_chdir, &"/".to_string(), "cannot chdir to")?;
    }
    if let Some(directory) = &wanted.directory {
        enter(libc::SYS_chdir, directory, "cannot chdir to")?;
    }
    launch::set_ids(wanted.user, wanted.group)?;
    Ok(launch::execute("unshare", &wanted.program))
}

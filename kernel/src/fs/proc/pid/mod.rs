//! `/proc/PID` and `/proc/PID/task/TID`: what there is to know of every process and thread, proc(5).
//!
//! A directory names a process; most of what it tells is told of the process' first thread. `/proc/TID` of another thread
//! works too, though it is not listed: that is how a thread reaches what is its own, such as the time namespace of its
//! children.

mod bytes;
mod descriptors;
mod identity;
mod maps;
mod memory;
mod namespaces;
mod stat;
mod status;
mod threads;
#[cfg(feature = "time_ns")]
mod timens_offsets;

use super::{
    mounts,
    node::{ListDirectory, Row, Settings, Subject, TableDirectory, What},
    root::lines,
};
use crate::{
    abi::{Errno, Result, TaskId},
    fs::{Actor, Inode, LinkTarget, Path, Positions},
    ns::Access,
    task::{
        Process, Task,
        limits::{Resource, UNLIMITED},
        name::Name,
        table,
    },
};
use alloc::{
    format,
    string::{String, ToString},
    sync::{Arc, Weak},
    vec::Vec,
};

/// Whose directory it is: a thread, and whether it is asked for as its whole process.
#[derive(Clone)]
pub struct Someone {
    number: TaskId,
    /// Not the task: when another thread than the first executes a program, it becomes the first, and files of the
    /// process opened before are its files now.
    process: Weak<Process>,
    scope: Scope,
}

/// How much of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// `/proc/PID`
    Process,
    /// `/proc/PID/task/TID`
    Thread,
}

impl Someone {
    /// The thread. Errors: ESRCH once it was waited for.
    fn task(&self) -> Result<Arc<Task>> {
        let task = table::task(self.number);
        task.filter(|task| core::ptr::eq(Arc::as_ptr(task.process()), self.process.as_ptr()))
            .ok_or_else(|| Errno::ESRCH.because("the task is gone"))
    }

    /// Its process.
    fn process(&self) -> Result<Arc<Process>> {
        self.task().map(|task| task.process().clone())
    }

    /// Errors: EACCES unless the actor may look into it, ptrace(2) PTRACE_MODE_READ_FSCREDS; ESRCH.
    fn must_be_inspectable(&self, actor: &dyn Actor) -> Result<Arc<Task>> {
        let task = self.task()?;
        if task.process().id() == actor.process_id()
            || task.may_be_inspected_by(&actor.credentials(), Access::Files)
        {
            return Ok(task);
        }
        Err(Errno::EACCES.because("this is for those who may trace the process"))
    }
}

impl Subject for Someone {
    fn still_there(&self) -> bool {
        table::is_thread_of(self.number, self.process.as_ptr())
    }

    fn first_number(&self) -> u64 {
        let base = first_number(self.number);
        if self.scope == Scope::Thread { base + (1 << 15) } else { base }
    }

    fn owner(&self, permissions: u16) -> (u32, u32) {
        let Ok(task) = self.task() else { return (0, 0) };
        let credentials = task.credentials();
        let acting = (credentials.euid, credentials.egid);
        // What everybody may see shows whose it is. The rest is root's when the process hides its memory: that of the user
        // namespace to which the memory belongs, and the machine's once the memory is gone.
        if permissions == 0o555 {
            return acting;
        }
        if task.space().is_none() {
            return (0, 0);
        }
        let privacy = task.process().privacy();
        match privacy.dumpable() {
            1 => acting,
            _ => (privacy.owner().user(0).unwrap_or(0), privacy.owner().group(0).unwrap_or(0)),
        }
    }
}

/// Inode numbers of a process' files begin here.
pub fn first_number(number: TaskId) -> u64 {
    u64::from(number + 1) << 16
}

/// The directory of a number: of a process, or of a thread as if it were one.
pub fn directory(number: TaskId) -> Option<Arc<dyn Inode>> {
    let process = Arc::downgrade(table::task(number)?.process());
    let someone = Someone { number, process, scope: Scope::Process };
    Some(Arc::new(TableDirectory::top(someone, PROCESS, 0o555)))
}

const fn private(name: &'static str, text: fn(&Someone, &dyn Actor) -> Result<Vec<u8>>) -> Row<Someone> {
    Row { name, permissions: 0o400, what: What::Text(text) }
}

const fn link(name: &'static str, follow: fn(&Someone, &dyn Actor) -> Result<LinkTarget>) -> Row<Someone> {
    Row { name, permissions: 0o777, what: What::Link(follow) }
}

const fn settings(name: &'static str, settings: &'static Settings<Someone>) -> Row<Someone> {
    Row { name, permissions: 0o644, what: What::Settings(settings) }
}

/// What a process has; the first rows are its own, all others every thread has as well. (The offsets of its children's time
/// namespace are set through the process, or through `/proc/TID`.)
static PROCESS: &[Row<Someone>] = &[
    Row { name: "task", permissions: 0o555, what: What::Directory(threads::directory) },
    #[cfg(feature = "time_ns")]
    settings("timens_offsets", &timens_offsets::SETTINGS),
    Row { name: "fd", permissions: 0o500, what: What::Directory(descriptors::directory) },
    Row { name: "fdinfo", permissions: 0o555, what: What::Directory(descriptors::information_directory) },
    Row { name: "ns", permissions: 0o511, what: What::Table(namespaces::ROWS) },
    private("environ", memory::environment),
    private("auxv", memory::auxiliary_vector),
    Row { name: "mem", permissions: 0o600, what: What::Opened(bytes::open) },
    Row::text("status", status::text),
    Row::text("limits", limits),
    settings("comm", &COMM),
    Row::text("cmdline", memory::arguments),
    Row::text("stat", stat::text),
    Row::text("statm", memory::sizes),
    Row::text("maps", maps::text),
    Row::text("smaps", maps::detailed),
    link("cwd", |someone, actor| context_link(someone, actor, |task| Some(task.filesystem()?.cwd()))),
    link("root", |someone, actor| context_link(someone, actor, |task| Some(task.filesystem()?.root()))),
    link("exe", |someone, actor| context_link(someone, actor, |task| task.process().executable())),
    Row::text("mounts", |someone, _| Ok(mounts::table(&root_of(someone)?))),
    Row::text("mountinfo", |someone, _| Ok(mounts::information(&root_of(someone)?))),
    Row::text("wchan", |_, _| Ok(b"0".to_vec())),
    Row::text("cgroup", |_, _| Ok(b"0::/\n".to_vec())),
    settings("uid_map", &identity::USERS),
    settings("gid_map", &identity::GROUPS),
    settings("setgroups", &identity::SETGROUPS),
    Row::text("syscall_count", system_calls),
];

/// What a thread has.
static THREAD: &[Row<Someone>] = PROCESS.split_at(if cfg!(feature = "time_ns") { 2 } else { 1 }).1;

/// A link into the tree: to a place the process uses. Errors: EACCES; ENOENT once it has given the place up.
fn context_link(
    someone: &Someone,
    actor: &dyn Actor,
    place: fn(&Task) -> Option<Path>,
) -> Result<LinkTarget> {
    let task = someone.must_be_inspectable(actor)?;
    // A zombie, or what never executed a program, has none of these places.
    if task.space().is_none() {
        return Err(Errno::ENOENT.because("the process has exited"));
    }
    place(&task).map(LinkTarget::Object).ok_or(Errno::ENOENT)
}

fn root_of(someone: &Someone) -> Result<Path> {
    let context = someone.task()?.filesystem();
    context.map(|context| context.root()).ok_or_else(|| Errno::EINVAL.because("a zombie sees no mounts"))
}

fn system_calls(someone: &Someone, _actor: &dyn Actor) -> Result<Vec<u8>> {
    Ok(format!("{}\n", someone.task()?.system_calls()).into_bytes())
}

static COMM: Settings<Someone> = Settings {
    read: |someone, _| Ok([someone.task()?.name().bytes(), b"\n"].concat()),
    write: |someone, call, bytes| {
        let task = someone.task()?;
        // A thread may be named by the others of its process.
        if task.process().id() != call.actor.process_id() {
            return Err(Errno::EINVAL.because("only a process' own threads name it"));
        }
        let ends = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        task.set_name(Name::new(ends));
        Ok(bytes.len())
    },
    positions: Positions::Some,
    may_write: None,
};

/// `/proc/PID/limits`, getrlimit(2): names, values and units as Linux writes them.
fn limits(someone: &Someone, _actor: &dyn Actor) -> Result<Vec<u8>> {
    const ROWS: [(&str, Resource, &str); 16] = [
        ("Max cpu time", Resource::CPU, "seconds"),
        ("Max file size", Resource::FSIZE, "bytes"),
        ("Max data size", Resource::DATA, "bytes"),
        ("Max stack size", Resource::STACK, "bytes"),
        ("Max core file size", Resource::CORE, "bytes"),
        ("Max resident set", Resource::RSS, "bytes"),
        ("Max processes", Resource::NPROC, "processes"),
        ("Max open files", Resource::NOFILE, "files"),
        ("Max locked memory", Resource::MEMLOCK, "bytes"),
        ("Max address space", Resource::AS, "bytes"),
        ("Max file locks", Resource::LOCKS, "locks"),
        ("Max pending signals", Resource::SIGPENDING, "signals"),
        ("Max msgqueue size", Resource::MSGQUEUE, "bytes"),
        ("Max nice priority", Resource::NICE, ""),
        ("Max realtime priority", Resource::RTPRIO, ""),
        ("Max realtime timeout", Resource::RTTIME, "us"),
    ];
    let limits = someone.process()?.limits();
    let value = |limit: u64| if limit == UNLIMITED { String::from("unlimited") } else { limit.to_string() };
    let row = |name: &str, soft: &str, hard: &str, unit: &str| {
        format!("{name:<25} {soft:<20} {hard:<20} {unit:<10}")
    };
    let head = row("Limit", "Soft Limit", "Hard Limit", "Units");
    Ok(lines(core::iter::once(head).chain(ROWS.map(|(name, resource, unit)| {
        let limit = limits.get(resource);
        row(name, &value(limit.soft), &value(limit.hard), unit)
    }))))
}

/// A directory of a process whose names are not a table.
fn listing<D: crate::fs::Directory + 'static>(
    someone: &Someone,
    number: u64,
    permissions: u16,
    names: D,
    guard: fn(&Someone, &dyn Actor) -> Result<()>,
) -> Arc<dyn Inode> {
    Arc::new(ListDirectory { subject: someone.clone(), names, number, permissions, guard })
}

//! The top of `/proc`: a table, and a directory for each process.

use super::{
    cpuinfo, gnomon, loadavg, meminfo, mounts,
    node::{DEVICE, ListDirectory, Row, Subject, TableDirectory, What},
    pid, stat, sys, uptime, version, vmstat,
};
use crate::{
    abi::{Errno, Result, TaskId},
    fs::{
        Actor, Directory, Entry, FileSystem, Inode, Kind, LinkTarget, Listed, Statistics,
        metadata::DeviceNumber,
    },
    sync::Once,
    task::table,
};
use alloc::{format, string::ToString, sync::Arc, vec::Vec};

/// The machine itself.
#[derive(Clone)]
pub struct Whole;

impl Subject for Whole {
    fn still_there(&self) -> bool {
        true
    }

    fn first_number(&self) -> u64 {
        1
    }

    fn owner(&self, _permissions: u16) -> (u32, u32) {
        (0, 0)
    }
}

static ROWS: &[Row<Whole>] = &[
    Row { name: "self", permissions: 0o777, what: What::Link(|_, actor| to_process(actor, false)) },
    Row { name: "thread-self", permissions: 0o777, what: What::Link(|_, actor| to_process(actor, true)) },
    Row {
        name: "mounts",
        permissions: 0o777,
        what: What::Link(|_, _| Ok(LinkTarget::Name(b"self/mounts".to_vec()))),
    },
    Row { name: "sys", permissions: 0o555, what: What::Table(sys::ROWS) },
    Row::text("cmdline", |_, _| Ok(format!("{}\n", version::command_line()).into_bytes())),
    Row::text("cpuinfo", |_, _| Ok(cpuinfo::text())),
    Row::text("filesystems", |_, _| Ok(mounts::kinds())),
    Row::text("gnomon", |_, _| Ok(gnomon::counts())),
    Row::text("gnomon_syscalls", |_, _| Ok(gnomon::system_calls())),
    Row::text("gnomon_trace", |_, _| Ok(gnomon::trace())),
    Row::text("loadavg", |_, _| Ok(loadavg::text())),
    Row::text("meminfo", |_, _| Ok(meminfo::text())),
    Row::text("stat", |_, actor| Ok(stat::text(actor))),
    Row::text("uptime", |_, actor| Ok(uptime::text(actor))),
    Row::text("version", |_, _| Ok(version::text())),
    Row::text("vmstat", |_, _| Ok(vmstat::text())),
];

fn to_process(actor: &dyn Actor, thread: bool) -> Result<LinkTarget> {
    let (process, task) = (actor.process_id(), actor.thread_id());
    if process == 0 {
        return Err(Errno::ENOENT.because("the kernel itself is no process"));
    }
    let name = if thread { format!("{process}/task/{task}") } else { process.to_string() };
    Ok(LinkTarget::Name(name.into_bytes()))
}

/// Names of the top directory.
struct Names(TableDirectory<Whole>);

/// Processes are listed behind the table, by number.
const FIRST_PROCESS: u64 = 256;

impl Directory for Names {
    fn lookup(&self, name: &[u8], _actor: &dyn Actor) -> Result<Arc<dyn Inode>> {
        match parse_number(name) {
            Some(number) => pid::directory(number).ok_or(Errno::ENOENT),
            None => self.0.find(name),
        }
    }

    fn list(&self, from: u64, actor: &dyn Actor, visitor: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        let mut goes_on = true;
        if from < FIRST_PROCESS {
            self.0.list(from, actor, &mut |listed| {
                goes_on = visitor(listed);
                goes_on
            })?;
        }
        // The table is asked for what comes after a number.
        let mut after = from.saturating_sub(FIRST_PROCESS + 1) as TaskId;
        while goes_on && let Some(process) = table::next_process(after) {
            let number = process.id();
            goes_on = visitor(Listed {
                position: FIRST_PROCESS + u64::from(number),
                name: number.to_string().as_bytes(),
                number: pid::first_number(number),
                kind: Kind::Directory,
            });
            after = number;
        }
        Ok(())
    }
}

/// A number as a name: decimal, without leading zeros.
pub fn parse_number(name: &[u8]) -> Option<TaskId> {
    let text = core::str::from_utf8(name).ok()?;
    let number: TaskId = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The file system.
struct Proc(Arc<Entry>);

impl FileSystem for Proc {
    fn kind(&self) -> &'static str {
        "proc"
    }

    fn device(&self) -> DeviceNumber {
        *DEVICE
    }

    fn root(&self) -> &Arc<Entry> {
        &self.0
    }

    fn statistics(&self) -> Statistics {
        Statistics::empty(0x9fa0)
    }
}

/// The one there is, however often it is mounted.
pub fn file_system() -> Arc<dyn FileSystem> {
    static FILE_SYSTEM: Once<Arc<Proc>> = Once::new();
    FILE_SYSTEM
        .call_once(|| {
            let top = ListDirectory {
                subject: Whole,
                names: Names(TableDirectory::top(Whole, ROWS, 0o555)),
                number: 1,
                permissions: 0o555,
                guard: |_, _| Ok(()),
            };
            Arc::new(Proc(Entry::root(Arc::new(top))))
        })
        .clone()
}

/// Joins lines.
pub fn lines(lines: impl IntoIterator<Item = alloc::string::String>) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_name_processes() {
        assert_eq!(parse_number(b"17"), Some(17));
        for name in ["017", "+1", "-1", "", "1a", "99999999999", "self"] {
            assert_eq!(parse_number(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
        assert!((ROWS.len() as u64) < FIRST_PROCESS);
    }
}

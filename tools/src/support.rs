//! The support page: every system call there is, what of it, and which self-tests make it.
//!
//! The first two come from the kernel's table, which is where they are decided. The third is measured: each self-test is run
//! on a machine of its own, and the kernel's counts tell which calls it made that a machine without it does not make. So
//! the page cannot say that something is tested when it is not.

use crate::command::{self, say};
use crate::image::{self, Kernel};
use crate::workspace::{self, Variant, shown};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// The kernel's table.
const TABLE: &str = "kernel/src/syscall/table.rs";
/// How many self-tests are named for a call; many are made by nearly all.
const NAMED: usize = 4;

/// A row of the table.
struct Row {
    number: u32,
    name: String,
    support: String,
}

/// Writes the page.
pub fn write() -> Result<()> {
    let folder = image::build(Variant::WithTimeNamespaces, &[Kernel::UserMode])?;
    let source =
        std::fs::read_to_string(workspace::root().join(TABLE)).context("cannot read the kernel's table")?;
    let rows: Vec<Row> = source.lines().filter_map(row).collect();
    ensure!(rows.len() > 100, "{TABLE} has only {} rows that can be read", rows.len());

    let idle = calls(&folder, "true")?;
    let names = names()?;
    let mut tests: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        say(format_args!("running self-test {} of {}: {name}", number + 1, names.len()));
        for call in calls(&folder, &format!("/selftests/{name} >/dev/null 2>&1"))?.difference(&idle) {
            tests.entry(call.clone()).or_default().push(name);
        }
    }
    let page = workspace::target("support.md");
    std::fs::write(&page, text(&rows, &tests, &idle)?)?;
    say(format_args!("{}: {} calls", shown(&page), rows.len()));
    Ok(())
}

/// Reads a line `NUMBER name KIND handler, COUNT, "support";`.
fn row(line: &str) -> Option<Row> {
    let (number, rest) = line.trim().split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    let support = rest.strip_suffix("\";")?.split_once('"')?.1;
    Some(Row { number: number.parse().ok()?, name: name.into(), support: support.into() })
}

/// The self-tests in the archive, as our programs list them.
fn names() -> Result<Vec<String>> {
    let listing = command::output(
        Command::new(image::userland()?).arg("--list"),
        "our programs do not tell their names",
    )?;
    Ok(listing.lines().filter_map(|path| path.strip_prefix("/selftests/")).map(str::to_string).collect())
}

/// The calls made on a machine that runs this command and then looks at its counts.
fn calls(folder: &Path, line: &str) -> Result<BTreeSet<String>> {
    let mut machine = Command::new(folder.join("gnomon-um"));
    machine.args(["mem=512M", "quiet", "--", "run", "/bin/sh", "-c"]);
    // One argument: the machine itself puts marks around what has spaces.
    machine.arg(format!("{line}; cat /proc/gnomon_syscalls"));
    let printed = command::output(&mut machine, "the user-mode machine failed")?;
    let made = printed.lines().filter_map(|line| {
        let (name, count) = line.trim().split_once(' ')?;
        (count.parse::<u64>().ok()? > 0).then(|| name.to_string())
    });
    Ok(made.collect())
}

fn text(rows: &[Row], tests: &BTreeMap<String, Vec<&str>>, idle: &BTreeSet<String>) -> Result<String> {
    let mut page = String::from(
        "# System calls\n\nMade from the kernel's table and from what each self-test was seen to call. A call that is not here \
         answers ENOSYS.\n\n| number | call | not all of it | exercised by |\n|---|---|---|---|\n",
    );
    for Row { number, name, support } in rows {
        let tests = match tests.get(name) {
            Some(names) if names.len() > NAMED => {
                format!("{} and {} more", names[..NAMED].join(", "), names.len() - NAMED)
            }
            Some(names) => names.join(", "),
            None if idle.contains(name) => "every program".into(),
            None => "no self-test; programs of the scenarios".into(),
        };
        writeln!(page, "| {number} | `{name}` | {support} | {tests} |")?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read() {
        let row = row("    9 mmap wait memory::mmap, 6, \"no huge pages, no MAP_SYNC\";").unwrap();
        assert_eq!(
            (row.number, row.name.as_str(), row.support.as_str()),
            (9, "mmap", "no huge pages, no MAP_SYNC")
        );
        assert!(super::row("//! like `9 mmap`").is_none());
    }

    #[test]
    fn who_makes_a_call_is_named() {
        let row = |name: &str| Row { number: 1, name: name.into(), support: String::new() };
        let tests = BTreeMap::from([("mmap".to_string(), vec!["a", "b", "c", "d", "e", "f"])]);
        let page = text(&[row("mmap"), row("read"), row("fsync")], &tests, &BTreeSet::from(["read".into()]))
            .unwrap();
        for part in ["| a, b, c, d and 2 more |", "| every program |", "| no self-test; "] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }
}

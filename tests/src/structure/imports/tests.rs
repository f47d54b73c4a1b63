//! The reader of imports against every way of writing one, and the rule against imports that break it.

use super::{complaints, references};
use crate::structure::Source;

fn paths(file: &str, text: &str) -> Vec<String> {
    let source = Source::new(file, text).unwrap();
    references(&source).into_iter().map(|reference| reference.path.join("::")).collect()
}

fn complaint(file: &str, text: &str) -> String {
    complaints(&[Source::new(file, text).unwrap()]).join("\n")
}

#[test]
fn every_way_of_naming_is_read() {
    assert_eq!(paths("mm/heap.rs", "use crate::abi::Errno;"), ["abi::Errno"]);
    assert_eq!(
        paths("mm/heap.rs", "use crate::{abi::{Errno, Result as R}, sync, arch::*};"),
        ["abi::Errno", "abi::Result", "sync", "arch"]
    );
    assert_eq!(
        paths("mm/heap.rs", "use super::frames::Frame; use self::inner::x;"),
        ["mm::frames::Frame", "mm::heap::inner::x"]
    );
    assert_eq!(paths("mm/mod.rs", "use super::task::Task;"), ["task::Task"]);
    assert_eq!(paths("fs/a/b.rs", "use super::super::pipe;"), ["fs::pipe"]);
    assert_eq!(paths("mm/heap.rs", "fn f() { crate::task::current::<u8>() }"), ["task::current"]);
    assert_eq!(paths("mm/heap.rs", "fn f() { assert!(x == crate::task::X) }"), ["task::X"]);
    assert_eq!(
        paths("mm/heap.rs", "mod tests { use super::*; use super::super::frames; }"),
        ["mm::heap", "mm::frames"]
    );
}

#[test]
fn what_is_no_import_is_not_read() {
    assert!(
        paths(
            "mm/heap.rs",
            "// crate::task::X\n/// crate::task::Y\npub(crate) fn f(&self) { self.x(\"crate::task\") }"
        )
        .is_empty()
    );
    assert!(paths("mm/heap.rs", "use core::fmt; fn f() { crate::println!(\"x\") }").is_empty());
}

#[test]
fn to_the_right_is_fine() {
    for (file, text) in [
        ("main.rs", "use crate::syscall::dispatch; use crate::abi::Errno;"),
        ("syscall/table.rs", "use crate::{task, fs::proc, ns, abi};"),
        ("fs/proc/mod.rs", "use crate::task::Task; use super::path;"),
        ("ns/time.rs", "use crate::mm::Frame; use crate::time::clocks; use super::offsets;"),
    ] {
        assert_eq!(complaint(file, text), "");
    }
}

#[test]
fn to_the_left_is_wrong() {
    assert!(
        complaint("time/timers.rs", "\nuse crate::task::current;")
            .contains("time/timers.rs:2: time imports task")
    );
    assert!(complaint("ns/offsets.rs", "use super::super::task;").contains("ns imports task"));
    assert!(complaint("abi/errno.rs", "use crate::arch::Frame;").contains("abi imports arch"));
    assert!(
        complaint("sync/lock.rs", "macro_rules! m { () => { $crate::mm::x() } }").contains("sync imports mm")
    );
}

#[test]
fn time_may_know_memory_and_not_the_other_way_round() {
    assert_eq!(complaint("time/publish.rs", "use crate::mm::frames;"), "");
    assert!(complaint("mm/frames.rs", "use crate::time::now;").contains("mm imports time"));
}

#[test]
fn proc_stands_left_of_the_rest_of_fs() {
    assert!(complaint("fs/path.rs", "use crate::fs::proc::mount;").contains("fs imports fs/proc"));
    assert!(complaint("fs/mod.rs", "fn f() { proc::mount() }").contains("fs imports fs/proc"));
    assert!(
        complaint("task/exit.rs", "use crate::fs; fn f() { fs::proc::forget() }")
            .contains("task imports fs/proc")
    );
    assert!(complaint("task/exit.rs", "use crate::fs::pipe;").is_empty());
}

#[test]
fn unknown_parts_are_wrong() {
    assert!(complaint("mm/heap.rs", "use crate::utilities::x;").contains("no part of the kernel's order"));
    assert!(complaint("utilities/x.rs", "use crate::abi::x;").contains("no part of the kernel's order"));
    assert!(complaint("main.rs", "use crate::utilities::x;").contains("no part of the kernel's order"));
}

#[test]
fn the_machine_hands_over_and_nobody_else() {
    assert_eq!(complaint("arch/x86_64/mod.rs", "fn f() { crate::start(information) }"), "");
    assert!(!complaint("mm/heap.rs", "fn f() { crate::start(information) }").is_empty());
    assert!(!complaint("arch/x86_64/mod.rs", "fn f() { crate::start::again() }").is_empty());
}

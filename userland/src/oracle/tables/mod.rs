//! The written tables: each row one rule of time namespaces, each fact one line `TABLE FACT = RESULT`.
//!
//! The self-tests hold the same rules as expectations; here nothing is expected. A row that is wrong in both places, in the
//! kernel and in what somebody believed of Linux, shows itself when Linux prints something else.
//!
//! Every fact is found out in a process of its own, so that each begins outside and alone.

mod clocks;
mod files;
mod lives;
mod making;
mod offsets;

use super::facts::Facts;
use crate::say;
use crate::system::credentials;
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::process;
use crate::system::time::{self, SECOND};

/// Prints every table. Errors: those of the preparations.
pub fn print() -> Result<(), Errno> {
    let facts = Facts::new()?;
    making::unshare();
    making::clone3();
    making::legacy_clone();
    making::setns();
    offsets::grammar();
    offsets::writes(&facts);
    offsets::bounds();
    lives::freezing();
    lives::links();
    clocks::clocks();
    clocks::expiries();
    clocks::furthest();
    clocks::conversions(&facts);
    files::nsfs();
    Ok(())
}

/// Finds a fact out in a process of its own and prints it.
fn fact(table: &str, what: &str, find: impl FnOnce() -> String) {
    let result = answer_of(find).unwrap_or_else(|errno| format!("not found out: {errno}"));
    say!("{table}: {} = {result}", what.escape_debug());
}

/// What a forked child says of a question.
fn answer_of(find: impl FnOnce() -> String) -> Result<String, Errno> {
    let (read_end, write_end) = process::pipe()?;
    let child = process::spawn(|| {
        crate::system::print::write_all(write_end, &find());
        0
    })?;
    process::close(write_end);
    let text = file::Descriptor(read_end).read_to_end()?;
    let status = process::wait(child)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(if status == process::Status::Exited(0) {
        text
    } else {
        format!("{text} {status:?}").trim_start().to_string()
    })
}

fn shown<T: std::fmt::Display>(answer: Result<T, Errno>) -> String {
    answer.map_or_else(|errno| errno.name(), |value| value.to_string())
}

/// The same for answers that are numbers without meaning: descriptors, ids.
fn done<T>(answer: Result<T, Errno>) -> String {
    shown(answer.map(|_| "done"))
}

/// An address at which no user memory lies.
const BAD: u64 = 0xffff_8000_0000_0000;

/// Who asks.
const WHO: [(&str, fn()); 4] = [
    ("root", || ()),
    ("nobody", || _ = credentials::become_user(credentials::NOBODY)),
    ("root with two threads", second_thread),
    ("nobody with two threads", || {
        second_thread();
        let _ = credentials::become_user(credentials::NOBODY);
    }),
];

/// A thread that stays. Credentials set afterwards are the first one's alone, as the call is made without the C library.
fn second_thread() {
    drop(std::thread::spawn(|| {
        loop {
            time::sleep(SECOND);
        }
    }));
}

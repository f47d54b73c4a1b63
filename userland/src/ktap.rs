//! The frame of every selftest: a plan of cases, each run in a process of its own, reported in KTAP version 1.
//!
//! A case is a rule in words and a function that checks it. It runs in a forked child for three reasons: it may change
//! namespaces, ids and mappings without a thought for the next case; a crash is one `not ok` and not the end; and a case
//! that hangs is killed after [`PATIENCE`]. The child sends its verdict through a pipe.
//!
//! Besides pass and fail a case may skip itself (a privilege or a kernel feature is missing; visible in the output),
//! or report a known defect: on Linux, where the kernel is known to do the wrong thing that Gnomon must not do. On
//! Gnomon a known defect is a failure.

use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::process::{self, Status};
use crate::{call, say};
use std::fmt::Debug;

/// How long one case may take, in milliseconds. Far more than any needs, on an emulated machine too.
const PATIENCE: i32 = 60_000;

/// Why a case did not simply pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    /// The rule is broken: what was expected and what was seen.
    Failed(String),
    /// The rule could not be checked here.
    Skipped(String),
    /// The kernel is Linux and does what it is known to do wrong.
    KnownDefect(String),
}

/// What a case returns.
pub type Outcome = Result<(), Why>;

impl From<Errno> for Why {
    /// An error from a call that only prepares the check.
    fn from(errno: Errno) -> Why {
        Why::Failed(format!("a step that must succeed failed with {errno}"))
    }
}

/// Names the step that failed, for a call that only prepares the check.
pub trait Step<T> {
    /// Turns the error into "`step`: ERRNO".
    fn step(self, step: &str) -> Result<T, Why>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, step: &str) -> Result<T, Why> {
        self.map_err(|errno| Why::Failed(format!("{step}: expected success, got {errno}")))
    }
}

impl<T> Step<T> for Option<T> {
    fn step(self, step: &str) -> Result<T, Why> {
        self.ok_or_else(|| Why::Failed(format!("{step}: missing")))
    }
}

/// A failure with a reason.
pub fn failed<T>(reason: impl Into<String>) -> Result<T, Why> {
    Err(Why::Failed(reason.into()))
}

/// A skip with a reason.
pub fn skipped<T>(reason: impl Into<String>) -> Result<T, Why> {
    Err(Why::Skipped(reason.into()))
}

/// Linux's known defect; on Gnomon, which must not have it, a failure.
pub fn known_defect<T>(defect: impl Into<String>) -> Result<T, Why> {
    let defect = defect.into();
    if on_gnomon() { failed(format!("has Linux's defect: {defect}")) } else { Err(Why::KnownDefect(defect)) }
}

/// True on Gnomon: it has a file that Linux does not.
pub fn on_gnomon() -> bool {
    file::status("/proc/gnomon", 0).is_ok()
}

/// Fails unless the two are equal.
pub fn equal<T: PartialEq + Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected { Ok(()) } else { failed(format!("{what}: expected {expected:?}, got {got:?}")) }
}

/// Fails unless it holds.
pub fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { failed(otherwise()) }
}

/// Fails unless the value lies within.
pub fn within<T: PartialOrd + Debug>(what: &str, got: T, least: T, most: T) -> Outcome {
    if least <= got && got <= most {
        Ok(())
    } else {
        failed(format!("{what}: expected {least:?} to {most:?}, got {got:?}"))
    }
}

/// Fails unless the call was refused with exactly this error.
pub fn refused<T: Debug>(what: &str, got: Result<T, Errno>, expected: Errno) -> Outcome {
    match got {
        Err(errno) if errno == expected => Ok(()),
        Err(errno) => failed(format!("{what}: expected {expected}, got {errno}")),
        Ok(value) => failed(format!("{what}: expected {expected}, got success ({value:?})")),
    }
}

/// Runs `work` in a forked child and gives its outcome; death by a signal is a failure.
pub fn in_child(work: impl FnOnce() -> Outcome) -> Outcome {
    Running::start(work)?.finish()
}

/// A child at work on something that ends in an outcome.
pub struct Running {
    /// Its process id.
    pub child: i32,
    verdict: Descriptor,
}

impl Running {
    /// Forks and starts `work` in the child.
    pub fn start(work: impl FnOnce() -> Outcome) -> Result<Running, Why> {
        Running::start_by(process::fork, work)
    }

    /// The same with another way to make the child: `fork` returns 0 there, in a copy of this memory.
    pub fn start_by(
        fork: impl FnOnce() -> Result<i32, Errno>,
        work: impl FnOnce() -> Outcome,
    ) -> Result<Running, Why> {
        let (read_end, write_end) = process::pipe()?;
        let child = fork().step("making the child")?;
        if child == 0 {
            process::close(read_end);
            send_verdict(write_end, &work());
            process::exit(0);
        }
        process::close(write_end);
        Ok(Running { child, verdict: Descriptor(read_end) })
    }

    /// Waits for the end and gives the outcome.
    pub fn finish(self) -> Outcome {
        self.finish_by(process::wait)
    }

    /// The same with another way to wait for the child.
    pub fn finish_by(self, wait: impl FnOnce(i32) -> Result<Status, Errno>) -> Outcome {
        let verdict = self.verdict();
        outcome_from(&verdict, wait(self.child).step("waiting for the child")?)
    }

    /// One read: a verdict is one write of at most a page. To the end would wait for every descendant that still
    /// holds the pipe open.
    fn verdict(&self) -> Vec<u8> {
        let mut text = vec![0; 4096];
        let length = self.verdict.read(&mut text).unwrap_or(0);
        text.truncate(length);
        text
    }

    /// Waits, but kills the child when it takes too long.
    fn finish_in_time(self) -> Outcome {
        let mut poll = libc::pollfd { fd: self.verdict.0, events: libc::POLLIN, revents: 0 };
        let ready = call!(libc::SYS_poll, &mut poll, 1, PATIENCE);
        if ready == Ok(0) {
            let _ = call!(libc::SYS_kill, self.child, libc::SIGKILL);
            process::wait(self.child)?;
            return failed(format!("still not done after {} seconds", PATIENCE / 1000));
        }
        self.finish()
    }
}

fn send_verdict(write_end: i32, outcome: &Outcome) {
    let (kind, text) = match outcome {
        Ok(()) => ('p', ""),
        Err(Why::Failed(text)) => ('f', text.as_str()),
        Err(Why::Skipped(text)) => ('s', text.as_str()),
        Err(Why::KnownDefect(text)) => ('k', text.as_str()),
    };
    let text: String = text.chars().take(1000).collect();
    crate::system::print::write_all(write_end, &format!("{kind}{text}"));
}

fn outcome_from(text: &[u8], status: Status) -> Outcome {
    let text = String::from_utf8_lossy(text);
    let mut letters = text.chars();
    let kind = letters.next();
    let reason = letters.as_str().to_string();
    match (kind, status) {
        (Some('p'), Status::Exited(0)) => Ok(()),
        (Some('f'), _) => Err(Why::Failed(reason)),
        (Some('s'), _) => Err(Why::Skipped(reason)),
        (Some('k'), _) => Err(Why::KnownDefect(reason)),
        (_, status) => failed(format!("the process that checks it ended early: {status:?}")),
    }
}

/// One rule and how to check it.
struct Case {
    rule: String,
    check: Box<dyn FnOnce() -> Outcome>,
}

/// The cases of one selftest, in order.
#[derive(Default)]
pub struct Plan {
    cases: Vec<Case>,
}

impl Plan {
    /// Adds a case: the rule in words, and the function that checks it.
    pub fn case(&mut self, rule: impl Into<String>, check: impl FnOnce() -> Outcome + 'static) {
        self.cases.push(Case { rule: rule.into(), check: Box::new(check) });
    }

    /// Runs all cases and prints the report. The exit status: 0 when none failed.
    pub fn run(self) -> i32 {
        say!("KTAP version 1");
        say!("1..{}", self.cases.len());
        let mut failures = 0;
        for (index, case) in self.cases.into_iter().enumerate() {
            let check = case.check;
            let outcome = Running::start(move || {
                // A group of its own: whatever the case leaves running is found and ended with it.
                let _ = call!(libc::SYS_setpgid, 0, 0);
                check()
            });
            let outcome = outcome.and_then(|running| {
                let group = running.child;
                let outcome = running.finish_in_time();
                let _ = call!(libc::SYS_kill, -group, libc::SIGKILL);
                outcome
            });
            let (number, rule) = (index + 1, case.rule.replace('#', "no."));
            match outcome {
                Ok(()) => say!("ok {number} {rule}"),
                Err(Why::Skipped(reason)) => say!("ok {number} {rule} # SKIP {}", one_line(&reason)),
                Err(Why::KnownDefect(defect)) => {
                    say!("ok {number} {rule} # known defect: {}", one_line(&defect))
                }
                Err(Why::Failed(reason)) => {
                    failures += 1;
                    say!("not ok {number} {rule} # why: {}", one_line(&reason));
                }
            }
        }
        i32::from(failures > 0)
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

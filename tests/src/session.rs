//! Many small jobs in one boot: a shell is typed one line after the other, and each line is a test of its own.
//!
//! A boot for each selftest would cost minutes; one boot for all would let the first crash hide the rest. So the lines
//! are typed one at a time, and when one hangs or brings the kernel down, that one has failed, the machine is booted
//! again, and the next line is typed. Only the jobs the command line selected are run.
//!
//! What the kernel counts (frames, tasks, files, namespaces; calls) is read before the first line and after the last,
//! for the tests that judge the run as a whole. They need all jobs to have run, in one boot.

use crate::archive::Archive;
use crate::backend::Backend;
use crate::boot::Boot;
use crate::failure::{Result, skip};
use crate::figures;
use crate::ktap;
use crate::machine::{Machine, PROMPT, indent};
use anyhow::{anyhow, bail};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a job may take, unless it says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One line of shell, and how its output is judged.
#[derive(Clone)]
pub struct Job {
    /// The test's name, without the backend.
    pub name: String,
    /// What is typed.
    pub line: String,
    /// What makes it good.
    pub judge: Judge,
    /// How long it may take.
    pub patience: Duration,
}

impl Job {
    /// A job with the usual patience.
    pub fn new(name: impl Into<String>, line: impl Into<String>, judge: Judge) -> Job {
        Job { name: name.into(), line: line.into(), judge, patience: PATIENCE }
    }
}

/// What makes a job good, besides its exit status being 0.
#[derive(Clone, Copy)]
pub enum Judge {
    /// It speaks KTAP.
    Ktap,
    /// It prints this text somewhere.
    Prints(&'static str),
}

/// The files that are read before and after all jobs.
const COUNTS: &str = "/proc/gnomon";
const CALLS: &str = "/proc/gnomon_syscalls";

/// What the kernel said of itself.
#[derive(Clone, Default)]
pub struct Counts {
    /// The counts before the first job.
    pub before: String,
    /// The counts after the last one.
    pub after: String,
    /// Calls by name, after the last one.
    pub calls: String,
}

/// The jobs of one backend, run when the first of them is asked for.
pub struct Session {
    name: &'static str,
    backend: &'static dyn Backend,
    archive: fn() -> Result<Archive>,
    jobs: Vec<Job>,
    selected: Mutex<Vec<bool>>,
    done: Mutex<Option<Arc<Done>>>,
}

/// What came of a session. Errors are texts, because several tests may show the same one.
pub struct Done {
    outcomes: Vec<std::result::Result<(), Trouble>>,
    counts: std::result::Result<Counts, String>,
}

#[derive(Clone)]
enum Trouble {
    Failed(String),
    Skipped(String),
}

impl Session {
    /// A session not yet begun, with nothing selected. Its logs are called `name`; `archive` is asked for when it begins.
    pub fn new(
        name: &'static str,
        backend: &'static dyn Backend,
        archive: fn() -> Result<Archive>,
        jobs: Vec<Job>,
    ) -> Arc<Session> {
        let selected = Mutex::new(vec![false; jobs.len()]);
        Arc::new(Session { name, backend, archive, jobs, selected, done: Mutex::new(None) })
    }

    /// Its jobs.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// Its backend.
    pub fn backend(&self) -> &'static dyn Backend {
        self.backend
    }

    /// Marks a job as one to run, or all of them.
    pub fn select(&self, job: Option<usize>) {
        let mut selected = self.selected.lock().expect("no holder of this lock panics");
        match job {
            Some(job) => selected[job] = true,
            None => selected.fill(true),
        }
    }

    /// How one job went.
    pub fn outcome(&self, job: usize) -> Result {
        match &self.done().outcomes[job] {
            Ok(()) => Ok(()),
            Err(Trouble::Skipped(reason)) => skip(reason.clone()),
            Err(Trouble::Failed(message)) => bail!("{message}"),
        }
    }

    /// What the kernel counted, if all went through in one boot.
    pub fn counts(&self) -> Result<Counts> {
        self.done().counts.clone().map_err(|message| anyhow!("{message}"))
    }

    fn done(&self) -> Arc<Done> {
        let mut done = self.done.lock().expect("no holder of this lock panics");
        done.get_or_insert_with(|| Arc::new(self.run())).clone()
    }

    fn run(&self) -> Done {
        let selected = self.selected.lock().expect("no holder of this lock panics").clone();
        let mut machine = Machine::new(self.backend, self.name);
        let mut outcomes = vec![Err(Trouble::Skipped("not selected".to_string())); self.jobs.len()];
        let mut counts = Counts::default();
        let mut interrupted: Option<String> = None;
        let mut standing = false;
        let mut hopeless: Option<String> = None;
        for number in (0..self.jobs.len()).filter(|number| selected[*number]) {
            let job = &self.jobs[number];
            if !standing && hopeless.is_none() {
                match self.boot(&mut machine, &mut counts) {
                    Ok(()) => standing = true,
                    // It will not boot for the next one either; say at length why only once.
                    Err(error) => {
                        outcomes[number] = Err(Trouble::Failed(format!("no boot for the jobs: {error:#}")));
                        hopeless = Some(format!("no boot for the jobs: see {}", job.name));
                        continue;
                    }
                }
            }
            if let Some(message) = &hopeless {
                outcomes[number] = Err(Trouble::Failed(message.clone()));
                continue;
            }
            outcomes[number] = match perform(&mut machine, job) {
                Ok((output, status)) => {
                    if let Judge::Ktap = job.judge {
                        note_skips(self.backend.name(), job, &output);
                    }
                    judge(job, &output, status)
                }
                Err(error) => {
                    standing = false;
                    interrupted.get_or_insert_with(|| {
                        format!("the machine had to be booted again after {}", job.name)
                    });
                    Err(Trouble::Failed(format!("{error:#}")))
                }
            };
        }
        let interrupted = hopeless.or(interrupted);
        let counts = match interrupted {
            Some(message) => Err(message),
            None => finish(&mut machine, counts).map_err(|error| format!("{error:#}")),
        };
        Done { outcomes, counts }
    }

    fn boot(&self, machine: &mut Machine, counts: &mut Counts) -> Result {
        machine.patience(PATIENCE);
        machine.boot(Boot::interactive().archive((self.archive)()?))?;
        machine.expect(PROMPT)?;
        counts.before = counted(machine)?;
        Ok(())
    }
}

/// What the kernel counts now, in lines of `name value`. The machine stands at a prompt, and does so again.
///
/// It is asked by a shell that has only just begun: one that has run a while has more memory of its own, for the lines it
/// was typed and what it met on the way, and that would be counted with what the kernel lost.
pub fn counted(machine: &mut Machine) -> Result<String> {
    // And whoever is there at the time is counted, with as many page tables as its parts lie apart: always as far, here.
    machine.type_line("exec linux64 -R sh")?;
    machine.expect(PROMPT)?;
    let counts = machine.command(&format!("cat {COUNTS}"))?;
    machine.type_line("exec linux64 sh")?;
    machine.expect(PROMPT)?;
    Ok(counts)
}

fn finish(machine: &mut Machine, mut counts: Counts) -> Result<Counts> {
    counts.after = counted(machine)?;
    counts.calls = machine.command(&format!("cat {CALLS}"))?;
    machine.type_line("exit")?;
    machine.expect_power_off()?;
    Ok(counts)
}

/// Types one job; returns what it printed and its exit status.
fn perform(machine: &mut Machine, job: &Job) -> Result<(String, i32)> {
    machine.patience(job.patience);
    machine.type_line(&format!("{}; printf '\\nexit status: %d\\n' $?", job.line))?;
    let output = machine.expect("\nexit status: ")?;
    let status = machine.expect("\n")?;
    machine.expect(PROMPT)?;
    Ok((output, status.trim().parse()?))
}

/// A test that passed with some of its lines skipped looks like one that checked everything; say what it did not.
fn note_skips(backend: &str, job: &Job, output: &str) {
    for skipped in ktap::parse(output).skipped {
        figures::note(format!("{}::{backend} skipped: {skipped}", job.name));
    }
}

fn judge(job: &Job, output: &str, status: i32) -> std::result::Result<(), Trouble> {
    let mut wrong = Vec::new();
    let mut skipped = Vec::new();
    match job.judge {
        Judge::Ktap => {
            let report = ktap::parse(output);
            wrong.extend(report.failures);
            if report.passed == 0 {
                skipped = report.skipped;
            }
        }
        Judge::Prints(text) if !output.contains(text) => wrong.push(format!("it did not print {text:?}")),
        Judge::Prints(_) => {}
    }
    if status != 0 {
        wrong.push(format!("exit status {status}{}", signal_name(status)));
    }
    if !wrong.is_empty() {
        let lines: Vec<&str> = output.trim_end().lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        return Err(Trouble::Failed(format!("{}\nit printed:\n{}", wrong.join("\n"), indent(&tail))));
    }
    if !skipped.is_empty() {
        return Err(Trouble::Skipped(skipped.join("; ")));
    }
    Ok(())
}

/// Shells report a death by signal N as 128 + N.
fn signal_name(status: i32) -> String {
    let signals = BTreeMap::from([
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
    ]);
    signals.get(&(status - 128)).map(|name| format!(" ({name})")).unwrap_or_default()
}

/// What must be as it was. The kernel also tells the bytes its heap has in use; they rise and fall with what it keeps
/// for later, and what is lost for good shows in the frames.
const COUNTED: [&str; 4] = ["frames", "tasks", "files", "namespaces"];

/// One line for each count that is not what it was. Lines are `name value`.
pub fn differences(before: &str, after: &str) -> Vec<String> {
    let read = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
        pairs.map(|(name, value)| (name.to_string(), value.trim().to_string())).collect()
    };
    let (before, after) = (read(before), read(after));
    let value =
        |counts: &BTreeMap<String, String>, name: &str| counts.get(name).cloned().unwrap_or("missing".into());
    let both = COUNTED.map(|name| (name, value(&before, name), value(&after, name)));
    let differing = both.into_iter().filter(|(_, before, after)| before != after || before == "missing");
    differing.map(|(name, before, after)| format!("{name} was {before} and is {after}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(judgement: std::result::Result<(), Trouble>) -> String {
        match judgement {
            Err(Trouble::Failed(message)) => message,
            _ => String::new(),
        }
    }

    #[test]
    fn a_ktap_job_needs_good_lines_and_a_good_status() {
        let job = Job::new("a", "a", Judge::Ktap);
        assert!(judge(&job, "KTAP version 1\n1..1\nok 1 - x\n", 0).is_ok());
        assert!(failed(judge(&job, "KTAP version 1\n1..1\nok 1 - x\n", 139)).contains("139 (SIGSEGV)"));
        assert!(failed(judge(&job, "KTAP version 1\n1..1\nnot ok 1 - x\n", 1)).contains("not ok 1 - x"));
        assert!(failed(judge(&job, "sh: a: not found\n", 127)).contains("no KTAP version line"));
        let skipped = judge(&job, "KTAP version 1\n1..0 # SKIP not root\n", 0);
        assert!(matches!(skipped, Err(Trouble::Skipped(reason)) if reason == "not root"));
    }

    #[test]
    fn a_printing_job_needs_its_text() {
        let job = Job::new("a", "a", Judge::Prints("all 3 hold"));
        assert!(judge(&job, "so\nall 3 hold\n", 0).is_ok());
        assert!(failed(judge(&job, "so\n", 0)).contains("did not print"));
    }

    #[test]
    fn counts_must_be_equal() {
        const BEFORE: &str = "frames 10\ntasks 2\nfiles 3\nnamespaces 0\nheap 5\n";
        assert!(differences(BEFORE, BEFORE).is_empty());
        assert!(differences(BEFORE, &BEFORE.replace("heap 5", "heap 6")).is_empty());
        assert_eq!(
            differences(BEFORE, &BEFORE.replace("frames 10", "frames 11")),
            ["frames was 10 and is 11"]
        );
        assert_eq!(differences(BEFORE, &BEFORE.replace("tasks 2\n", "")), ["tasks was 2 and is missing"]);
        assert_eq!(differences("", "").len(), 4);
    }
}

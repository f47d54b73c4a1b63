//! Every selftest and every acceptance program, all in one boot for each backend, each a test of its own; and what the
//! kernel's own counts say once everything has run.

use super::{EVERYWHERE, programs};
use anyhow::{Result, ensure};
use gnomon_tests::archive::Archive;
use gnomon_tests::backend::Backend;
use gnomon_tests::scenario::{known_defect, outcome};
use gnomon_tests::session::{Job, Judge, Session, differences};
use gnomon_tests::structure::{sources, table};
use gnomon_tools::workspace;
use libtest_mimic::{Arguments, Completion, Trial};
use std::sync::Arc;

/// The tests of all sessions. `arguments` decide which jobs a session will have.
pub fn trials(arguments: &Arguments) -> Vec<Trial> {
    EVERYWHERE.into_iter().flat_map(|backend| session_trials(backend, arguments)).collect()
}

fn session_trials(backend: &'static dyn Backend, arguments: &Arguments) -> Vec<Trial> {
    let name = |what: &str| format!("{what}::{}", backend.name());
    let selftests = match Archive::selftests() {
        Ok(names) => names,
        // Without the archive there is no list; one failed test says so, where none would look like success.
        Err(error) => {
            let message = format!("{error:#}");
            return vec![Trial::test(name("selftests"), move || Err(message.into()))];
        }
    };
    let mut jobs: Vec<Job> = selftests
        .iter()
        .map(|name| Job::new(format!("selftest_{name}"), format!("/selftests/{name}"), Judge::Ktap))
        .collect();
    jobs.extend(programs::jobs());
    let session = Session::new("selftests", backend, programs::archive, jobs);
    let mut trials: Vec<Trial> = Vec::new();
    for (number, job) in session.jobs().iter().enumerate() {
        let trial = judged(name(&job.name), session.clone(), move |session| session.outcome(number));
        if !arguments.is_filtered_out(&trial) {
            session.select(Some(number));
        }
        trials.push(trial);
    }
    // Only a kernel of ours counts itself.
    if backend.name() != "linux" {
        for (what, check) in AFTER_EVERYTHING {
            let trial = judged(name(what), session.clone(), check);
            if !arguments.is_filtered_out(&trial) {
                session.select(None);
            }
            trials.push(trial);
        }
    }
    trials
}

fn judged(
    name: String,
    session: Arc<Session>,
    judge: impl FnOnce(&Session) -> Result<()> + Send + 'static,
) -> Trial {
    // The name of the scenario, without that of the machine.
    let defect = name.split("::").next().and_then(known_defect);
    Trial::ignorable_test(name, move || {
        if let Some(reason) = session.backend().obstacle() {
            return Ok(Completion::ignored_with(reason));
        }
        match defect {
            Some(defect) => Ok(Completion::ignored_with(defect)),
            None => outcome(judge(&session)),
        }
    })
}

/// A test of the run as a whole.
type Check = fn(&Session) -> Result<()>;

/// The tests of the run as a whole. Selecting one selects all jobs.
const AFTER_EVERYTHING: [(&str, Check); 2] = [
    ("nothing_is_left_behind", nothing_is_left_behind),
    ("every_system_call_is_exercised", every_call_is_exercised),
];

fn nothing_is_left_behind(session: &Session) -> Result<()> {
    let counts = session.counts()?;
    let differences = differences(&counts.before, &counts.after);
    ensure!(differences.is_empty(), "after everything has run:\n{}", differences.join("\n"));
    Ok(())
}

fn every_call_is_exercised(session: &Session) -> Result<()> {
    let sources = sources(&workspace::root().join("kernel/src/syscall"))?;
    let rows: Vec<String> = sources.iter().flat_map(table::rows).collect();
    let complaints = table::complaints(&rows, &session.counts()?.calls);
    ensure!(complaints.is_empty(), "of {} calls:\n{}", rows.len(), complaints.join("\n"));
    Ok(())
}

//! A Go program and one on tokio, in the root and in a time namespace: timers are never early, and time costs no call.

use anyhow::{Result, bail, ensure};
use gnomon_tests::backend::{Backend, Linux, Qemu, UserMode};
use gnomon_tests::boot::Boot;
use gnomon_tests::failure::skip;
use gnomon_tests::machine::{Machine, PROMPT};
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tests::{ktap, runtimes};
use std::time::Duration;

const ON: [&'static dyn Backend; 3] = [&Linux, &UserMode::Ourselves, &Qemu::Gnomon];

/// What is put in front of each program.
const PLACES: [&str; 2] = ["", "/bin/unshare --time --monotonic 86400 --boottime 604800 "];

pub fn scenarios() -> Vec<Scenario> {
    vec![scenario("go_and_tokio", &ON, go_and_tokio)]
}

fn go_and_tokio(m: &mut Machine) -> Result<()> {
    let archive = match runtimes::archive() {
        Ok(archive) => archive,
        Err(error) => return skip(format!("the programs are not to be had: {error:#}")),
    };
    m.patience(Duration::from_secs(120));
    m.boot(Boot::interactive().archive(archive))?;
    m.expect(PROMPT)?;
    for program in runtimes::PROGRAMS {
        for place in PLACES {
            let line = format!("{place}{program}");
            // Not up to the prompt, which a line with `# SKIP` looks like.
            m.type_line(&format!("{line}; printf '\\nexit status: %d\\n' $?"))?;
            let output = m.expect("\nexit status: ")?;
            let status = m.expect("\n")?;
            m.expect(PROMPT)?;
            ensure!(status.trim() == "0", "{line} exits with {status}:\n{output}");
            let report = ktap::parse(&output);
            if !report.failures.is_empty() {
                bail!("{line}\n{}\nit printed:\n{output}", report.failures.join("\n"));
            }
            ensure!(report.passed > 5, "{line} shows hardly anything:\n{output}");
        }
    }
    Ok(())
}

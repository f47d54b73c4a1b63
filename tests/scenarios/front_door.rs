//! The front door as a script uses it: `make run` and `make um` with nothing on standard input.

use anyhow::{Context, Result, ensure};
use gnomon_tests::backend::{Backend, Qemu};
use gnomon_tests::scenario::outcome;
use gnomon_tools::workspace;
use libtest_mimic::{Completion, Trial};
use std::process::{Command, Stdio};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::ignorable_test("make_run_without_a_terminal", || match Qemu::Gnomon.obstacle() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => outcome(make("run")),
        }),
        Trial::ignorable_test("make_um_without_a_terminal", || outcome(make("um"))),
    ]
}

/// Boots, shows the demonstration, powers off, exits with 0.
fn make(target: &str) -> Result<()> {
    let mut make = Command::new("make");
    make.arg(target).current_dir(workspace::root()).stdin(Stdio::null());
    let output = make.output().context("cannot start make")?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`make {target}` ended with {}:\n{said}", output.status);
    ensure!(said.contains(" checks of the above hold."), "the demonstration is not shown:\n{said}");
    Ok(())
}

//! Every test there is, in one command: from arithmetic on the host to programs on the booted kernel.
//!
//! Quick ones come first. A step that fails does not keep the next from running: whoever waits for a whole run wants to
//! know everything that is wrong.

use crate::command::{self, cargo, say};
use crate::image;
use crate::setup::packages;
use crate::workspace::{self, Variant};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Instant;

/// A set of tests: what to say of it, and the cargo command that runs it.
struct Step {
    name: &'static str,
    command: Command,
}

/// Brings what is missing, builds both kernels (the scenarios look for them at their usual places), runs all tests.
pub fn everything() -> Result<()> {
    packages::install(&[&packages::MACHINE[..], &packages::TESTS].concat())?;
    image::build(Variant::WithTimeNamespaces, &image::ALL)?;
    image::build(Variant::WithoutTimeNamespaces, &image::ALL)?;
    let mut failed = Vec::new();
    for Step { name, mut command } in steps() {
        say(format_args!("testing: {name}"));
        let begin = Instant::now();
        let result = command::run(&mut command, name);
        say(format_args!(
            "{name}: {} in {:.0?}",
            if result.is_ok() { "passed" } else { "FAILED" },
            begin.elapsed()
        ));
        failed.extend(result.is_err().then_some(name));
    }
    if !failed.is_empty() {
        bail!("these tests failed: {}", failed.join(", "));
    }
    say("all tests passed");
    Ok(())
}

/// Compares many random sequences of calls on Linux and on both machines.
pub fn oracle(sequences: u32) -> Result<()> {
    packages::install(&[&packages::MACHINE[..], &packages::TESTS].concat())?;
    image::build(Variant::WithTimeNamespaces, &image::ALL)?;
    let mut scenario = test(&["--package", "gnomon-tests", "--test", "scenarios", "--"]);
    // Whose process the user-mode machine is makes no difference to its guests.
    scenario.args(["oracle_random", "--skip", "nobody"]).env("GNOMON_SEQUENCES", sequences.to_string());
    command::run(&mut scenario, "the sequences were not the same everywhere")
}

/// Calls every system call with arguments by chance, for so many seconds on each machine.
pub fn sweep(seconds: u32) -> Result<()> {
    packages::install(&[&packages::MACHINE[..], &packages::TESTS].concat())?;
    image::build(Variant::WithTimeNamespaces, &image::ALL)?;
    let mut scenario = test(&["--package", "gnomon-tests", "--test", "scenarios", "--"]);
    scenario.arg("sweep::").env("GNOMON_SWEEP", seconds.to_string());
    command::run(&mut scenario, "the kernel did not stand the sweep")
}

fn test(arguments: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast"]).args(arguments);
    command
}

fn steps() -> [Step; 3] {
    // loom runs a test once for every order in which threads may meet; unoptimised that takes minutes. Its flag
    // changes what atomics are, so it needs a folder of its own.
    let mut loom = test(&["--package", "gnomon-vdso", "--test", "loom", "--release", "--target-dir"]);
    loom.arg(workspace::target("loom")).env("RUSTFLAGS", "--cfg loom");
    // What optimising across crates would save in running it costs several times over in building.
    loom.env("CARGO_PROFILE_RELEASE_LTO", "off");
    [
        Step {
            name: "values and functions, on this machine",
            command: test(&["--workspace", "--exclude", "gnomon-tests"]),
        },
        Step { name: "the VVAR page under every order of threads (loom)", command: loom },
        Step { name: "programs on the booted kernel", command: test(&["--package", "gnomon-tests"]) },
    ]
}

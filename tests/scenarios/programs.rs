//! Unmodified programs: static C against two C libraries, Rust's `std`, two shells; and the archive that has them all.

use anyhow::{Context, Result};
use gnomon_tests::archive::Archive;
use gnomon_tests::programs;
use gnomon_tests::session::{Job, Judge};
use gnomon_tools::workspace;
use std::path::PathBuf;

/// Debian's statically linked bash, as its package installs it.
const BASH: &str = "/bin/bash-static";

/// Rust's `std` as cargo's default settings link it statically: position-independent, without an interpreter.
const RUST: &str = "userland/src/bin/rust-std-acceptance.rs";

/// All sources: those written for anybody, and those that are about one shell.
fn sources() -> Result<Vec<PathBuf>> {
    let root = workspace::root();
    let [everybodys, ours] =
        ["userland/acceptance", "tests/programs"].map(|folder| programs::files(&root.join(folder)));
    Ok([everybodys?, ours?, vec![root.join(RUST)]].concat())
}

/// One job for each program. A folder that cannot be listed shows up when the archive is made.
pub fn jobs() -> Vec<Job> {
    let programs = programs::list(&sources().unwrap_or_default());
    programs
        .into_iter()
        .map(|program| Job::new(format!("program_{}", program.name), program.line, Judge::Ktap))
        .collect()
}

/// The default archive with all of them in it.
pub fn archive() -> Result<Archive> {
    let mut tree = Archive::default_tree()?;
    for program in programs::build(&sources()?)? {
        let bytes = std::fs::read(&program.file).with_context(|| program.file.display().to_string())?;
        tree.file(&program.path, 0o755, bytes)?;
    }
    tree.file(
        "/bin/bash",
        0o755,
        std::fs::read(BASH).with_context(|| format!("{BASH}: install bash-static"))?,
    )?;
    Archive::of_bytes("full.cpio", &tree.to_bytes())
}

//! A kernel panic: what it prints, and the status it ends with. The one panic a user can ask for is to end init.

use super::GNOMON;
use anyhow::{Context, Result, ensure};
use gnomon_tests::boot::Boot;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("panic_when_init_exits", &GNOMON, |m| init_ends(m, "exit 3", "exitcode=0x00000300")),
        scenario("panic_when_init_is_killed", &GNOMON, |m| {
            init_ends(m, "kill -SEGV $$", "exitcode=0x0000000b")
        }),
    ]
}

/// Ends init and reads the whole message. The exit code is in the encoding of wait(2), as Linux prints it.
fn init_ends(m: &mut Machine, how: &str, code: &str) -> Result<()> {
    m.boot(Boot::of("/bin/sh").arguments(&["-c", how]))?;
    let panic = m.expect_panic("Attempted to kill init!")?;
    let first = panic.lines().next().context("an empty message")?;
    ensure!(first.contains(code), "the exit code {code} is missing: {first}");
    let (_, place) = first.rsplit_once(" at ").context("the message names no place")?;
    ensure!(place.contains(".rs:"), "{place:?} is no FILE:LINE");
    let lower = panic.to_lowercase();
    for wanted in ["rip", "rsp", "cr3"] {
        ensure!(lower.contains(wanted), "no {wanted} among the registers:\n{panic}");
    }
    ensure!(panic.contains("sh"), "the task is not named:\n{panic}");
    // Symbols: several functions of the kernel, by their path.
    let named = panic.lines().filter(|line| line.contains("gnomon_kernel::")).count();
    ensure!(named >= 3, "only {named} lines of the backtrace have a name:\n{panic}");
    Ok(())
}

//! Every system call with arguments by chance, from several processes: the kernel lives, and has what it had.
//!
//! Half a minute on each machine belongs to every run; `GNOMON_SWEEP=600` in the environment (`make sweep`) asks for so many
//! seconds. Each run has a seed of its own, which is printed: `sweep SECONDS SEED` in the machine's shell does it again,
//! as far as clocks and interrupts do.

use super::boot::FIRST_LINE;
use anyhow::{Context, Result, ensure};
use gnomon_tests::backend::{Backend, Qemu, UserMode};
use gnomon_tests::boot::Boot;
use gnomon_tests::figures;
use gnomon_tests::machine::{Machine, PROMPT};
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tests::session::{counted, differences};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether a guest may do something to the process that is its machine is no matter of privileges: once is enough.
const MACHINES: [&'static dyn Backend; 2] = [&UserMode::Ourselves, &Qemu::Gnomon];

/// Says for how many seconds; and how many without it.
const VARIABLE: &str = "GNOMON_SWEEP";
const SECONDS: u64 = 30;

/// What the kernel's heap may have grown by, in bytes: tables that grow once and stay.
const HEAP_SLACK: i64 = 64 * 1024;

pub fn scenarios() -> Vec<Scenario> {
    vec![scenario("sweep", &MACHINES, sweep)]
}

fn sweep(m: &mut Machine) -> Result<()> {
    let seconds = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64;
    m.boot(Boot::interactive())?;
    m.expect(FIRST_LINE)?;
    m.expect(PROMPT)?;
    // A short one first, for what grows once.
    m.patience(Duration::from_secs(60));
    m.command("sweep 2 1")?;
    let before = counted(m)?;
    m.patience(Duration::from_secs(seconds + 60));
    let said = m.command(&format!("sweep {seconds} {seed}"))?;
    figures::note(format!(
        "sweep::{}: {}",
        m.backend(),
        said.replace("sweep: ", "").trim().replace('\n', "; ")
    ));
    ensure!(said.lines().any(|line| line == "sweep done"), "it did not go well:\n{said}");
    m.patience(Duration::from_secs(30));
    m.command_prints("echo alive", "alive")?;
    let after = counted(m)?;
    let differences = differences(&before, &after);
    ensure!(differences.is_empty(), "not everything came back from seed {seed}:\n{}", differences.join("\n"));
    let grown = heap(&after)? - heap(&before)?;
    ensure!(grown < HEAP_SLACK, "the kernel's heap grew by {grown} bytes from seed {seed}");
    m.type_line("exit")?;
    m.expect_power_off()?;
    Ok(())
}

fn heap(counts: &str) -> Result<i64> {
    let value = counts.lines().find_map(|line| line.strip_prefix("heap "));
    Ok(value.context("the heap is not counted")?.trim().parse()?)
}

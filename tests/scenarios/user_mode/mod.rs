//! The user-mode machine as a process among others: what it is told and says, and what the host does to it.

mod adversity;
mod ordinary;
mod terminal;

use anyhow::{Context, Result, ensure};
use gnomon_tests::scenario::outcome;
use gnomon_tools::workspace::Variant;
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use terminal::{alive, send};

type Test = (&'static str, fn() -> Result<()>);

pub fn trials() -> Vec<Trial> {
    const TESTS: [Test; 17] = [
        ("um_explains_itself", ordinary::explains_itself),
        ("um_refuses_nonsense", ordinary::refuses_nonsense),
        ("um_finds_the_archive_beside_it", ordinary::finds_the_archive),
        ("um_input_comes_to_an_end", ordinary::input_ends),
        ("um_tells_what_it_did", ordinary::tells_what_it_did),
        ("um_starts_anew", ordinary::starts_anew),
        ("um_has_the_size_of_its_terminal", ordinary::has_the_size_of_its_terminal),
        ("um_goes_by_the_hosts_clock", ordinary::goes_by_the_hosts_clock),
        ("um_leaves_nothing_behind", adversity::leaves_nothing_behind),
        ("um_survives_a_killed_program", adversity::survives_a_killed_program),
        ("um_notices_a_killed_sleeper", adversity::notices_a_killed_sleeper),
        ("um_ends_without_its_first_process", adversity::ends_without_its_first_process),
        ("um_panics_when_init_is_killed", adversity::panics_when_init_is_killed),
        ("um_does_without_more_mappings", adversity::does_without_more_mappings),
        ("um_does_without_more_processes", adversity::does_without_more_processes),
        ("um_ends_when_the_host_has_no_memory", adversity::ends_without_memory),
        ("um_outlives_a_shortage_of_memory", adversity::outlives_a_shortage),
    ];
    TESTS.map(|(name, test)| Trial::ignorable_test(name, move || outcome(test()))).into()
}

const PATIENCE: Duration = Duration::from_secs(20);

fn program() -> PathBuf {
    Variant::WithTimeNamespaces.image_directory().join("gnomon-um")
}

/// Runs it to its end with this input.
fn run(words: &[&str], input: &str) -> Result<Output> {
    run_patiently(words, input, PATIENCE)
}

fn run_patiently(words: &[&str], input: &str, patience: Duration) -> Result<Output> {
    let mut command = Command::new(program());
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start gnomon-um")?;
    child.stdin.take().context("made with a pipe")?.write_all(input.as_bytes())?;
    let (watched, began) = (child.id(), Instant::now());
    let watchdog = std::thread::spawn(move || {
        while alive(watched) {
            if began.elapsed() > patience {
                let _ = send(watched, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let output = child.wait_with_output()?;
    let _ = watchdog.join();
    ensure!(
        output.status.signal() != Some(Signal::KILL.as_raw()),
        "{words:?} did not end by itself: {}",
        said(&output)
    );
    Ok(output)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

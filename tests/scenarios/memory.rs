//! When memory is out: the program is told or killed, the kernel lives, and afterwards every frame is back.

use super::boot::FIRST_LINE;
use super::{BARE_METAL, GNOMON};
use anyhow::{Result, ensure};
use gnomon_tests::boot::{Boot, Hardware};
use gnomon_tests::machine::{Machine, PROMPT};
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tests::session::{counted, differences};
use std::time::Duration;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        // tail keeps the last line, and /dev/zero has no second one.
        scenario("memory_filled_by_a_program", &GNOMON, |m| {
            fill(m, "tail /dev/zero > /dev/null; echo status $?", &[])
        }),
        // Each with a page to touch when the others have left none; and it is they who end, not the shell.
        scenario("memory_filled_by_several_programs", &GNOMON, |m| {
            let line =
                "for i in 1 2 3 4 5; do tail /dev/zero > /dev/null & done; wait $!; echo status $?; wait";
            let said = filled(m, line, &[])?;
            let ended =
                |line: &str| line.contains("out of memory: killed process") && line.contains("(tail)");
            ensure!(said.lines().any(ended), "no process was ended to make room:\n{said}");
            Ok(())
        }),
        scenario("memory_filled_by_init", &GNOMON, |m| {
            let hog = Boot::of("/bin/busybox").arguments(&["awk", "BEGIN{while(1)x[i++]=i}"]);
            m.boot(hog.hardware(small()))?;
            m.expect_panic("out of memory, and init is the only process there is")?;
            Ok(())
        }),
        scenario("memory_filled_by_a_file", &GNOMON, |m| {
            fill(m, "cat /dev/zero > /tmp/fill; echo status $?", &["rm /tmp/fill"])
        }),
        // One file system holds half of memory at most; there are several.
        scenario("memory_filled_by_files_on_several_file_systems", &GNOMON, |m| {
            let line = "cat /dev/zero > /tmp/fill; cat /dev/zero > /fill; echo status $?";
            fill(m, line, &["rm /tmp/fill /fill"])
        }),
        scenario("memory_filled_by_many_files", &GNOMON, |m| {
            fill(
                m,
                "mkdir /tmp/d; i=0; while true > /tmp/d/$i; do i=$((i+1)); done; echo status 1",
                &["rm -r /tmp/d"],
            )
        }),
        // Those that were begun last have not yet said all they say when the loop has ended: a second for that.
        scenario("memory_filled_by_processes", &GNOMON, |m| {
            let storm = "sh -c 'while :; do sleep 1000 & done'; echo status $?; sleep 1";
            fill(m, storm, &["killall sleep", "sleep 1"])
        }),
        scenario("memory_filled_by_pipes", &GNOMON, |m| {
            let pipes = "sh -c 'while :; do { cat /dev/zero | sleep 1000; } 2> /dev/null & done'";
            let pipes = format!("{pipes}; echo status $?; sleep 1");
            fill(m, &pipes, &["killall sleep cat", "sleep 1"])
        }),
        // Small objects of the kernel's own, which no page of a program or a file stands for.
        scenario("memory_filled_by_messages", &GNOMON, |m| {
            fill(m, "(ulimit -n 8192; gnomon-userland selftest-helper fill-sockets); echo status $?", &[])
        }),
        scenario("memory_holds_ten_thousand_namespaces", &BARE_METAL, crowd),
    ]
}

/// A task in each of ten thousand namespaces, all alive at once, in half a gigabyte.
fn crowd(m: &mut Machine) -> Result<()> {
    let hardware = Hardware { memory_mib: 512, ..Hardware::default() };
    // Parts of programs moved by chance take a page table or two more for each.
    let boot = Boot::default().word("quiet").word("norandmaps").hardware(hardware);
    m.patience(Duration::from_secs(240));
    m.boot(boot.arguments(&["run", "/bin/crowd", "10000"]))?;
    m.expect(FIRST_LINE)?;
    let said = m.expect("init: exit status 0")?;
    ensure!(said.contains("10000 of 10000 tasks"), "not all were there, or not all were right:\n{said}");
    m.expect_power_off().map(drop)
}

/// The least memory that is promised to do.
fn small() -> Hardware {
    Hardware { memory_mib: 64, ..Hardware::default() }
}

/// Runs a line that uses up all memory on the smallest machine, cleans up, and compares what the kernel counts.
fn fill(m: &mut Machine, line: &str, clean_up: &[&str]) -> Result<()> {
    filled(m, line, clean_up).map(drop)
}

/// The same; gives what the line printed.
fn filled(m: &mut Machine, line: &str, clean_up: &[&str]) -> Result<String> {
    m.boot(Boot::interactive().hardware(small()))?;
    m.expect(FIRST_LINE)?;
    m.expect(PROMPT)?;
    m.patience(Duration::from_secs(120));
    let before = counted(m)?;
    let said = m.command(line)?;
    let status = said.lines().find_map(|line| line.strip_prefix("status "));
    ensure!(status.is_some_and(|status| status != "0"), "nothing failed:\n{said}");
    for line in clean_up {
        m.command(line)?;
    }
    m.command_prints("echo alive", "alive")?;
    let after = counted(m)?;
    let differences = differences(&before, &after);
    ensure!(differences.is_empty(), "not everything came back:\n{}", differences.join("\n"));
    m.type_line("exit")?;
    m.expect_power_off()?;
    Ok(said)
}

//! Virtual time: every moment to the nanosecond, and the same events on every run and on every machine.

use super::GNOMON;
use anyhow::{Result, ensure};
use gnomon_tests::archive::Archive;
use gnomon_tests::backend::{Backend, Qemu, UserMode};
use gnomon_tests::boot::{Boot, Hardware};
use gnomon_tests::ktap;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, outcome, scenario};
use libtest_mimic::{Completion, Trial};
use std::time::Duration;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("virtual_time_is_exact", &GNOMON, is_exact),
        scenario("virtual_time_ends_what_waits", &GNOMON, ends_what_waits),
        scenario("virtual_time_moves_on_who_spins", &GNOMON, moves_on_who_spins),
    ]
}

pub fn trials() -> Vec<Trial> {
    vec![Trial::ignorable_test("virtual_time_traces_agree", || {
        match UserMode::Ourselves.obstacle().or(Qemu::Gnomon.obstacle()) {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => outcome(traces_agree()),
        }
    })]
}

/// The two kinds of virtual time.
const CLOCKS: [&str; 2] = ["clock=virtual", "clock=virtual,vdso"];

/// Selftests about moments: those written for virtual time, and those that in real time need bounds.
const TIMING: [&str; 6] = ["virtual_time", "sleeping", "waiting", "futex_time", "clock_shift", "proc_time"];

fn is_exact(m: &mut Machine) -> Result<()> {
    m.patience(Duration::from_secs(120));
    for clock in CLOCKS {
        for name in TIMING {
            let program = format!("/selftests/{name}");
            m.boot(Boot::default().word("quiet").word(clock).arguments(&["run", &program]))?;
            let printed = m.expect_power_off()?;
            ensure!(ktap::parse(&printed).is_good(), "with {clock}, {name}:\n{printed}");
        }
    }
    Ok(())
}

/// A script that would take a quarter of an hour.
const WAITS: &str = "date; sleep 1000; date; time -p sleep 5; (sleep 3; echo b) & (sleep 2; echo a) & wait; \
                     cat /proc/uptime";

fn ends_what_waits(m: &mut Machine) -> Result<()> {
    m.boot(Boot::default().word("quiet").word(CLOCKS[0]).arguments(&["run", "/bin/sh", "-c", WAITS]))?;
    m.expect("Sat Jan  1 00:00:00 UTC 2000\r\n")?;
    m.expect("Sat Jan  1 00:16:40 UTC 2000\r\n")?;
    m.expect("real 5.00")?;
    m.expect("a\r\nb\r\n1008.00 ")?;
    m.expect_power_off()?;
    Ok(())
}

/// A loop without a system call, and one who waits for a moment that would never come.
const SPINS: &str = "(while :; do :; done) & sleep 0.001; echo slept; kill $!; wait; echo over";

fn moves_on_who_spins(m: &mut Machine) -> Result<()> {
    m.boot(Boot::default().word(CLOCKS[0]).arguments(&["run", "/bin/sh", "-c", SPINS]))?;
    m.expect("this run is not deterministic")?;
    m.expect("slept")?;
    m.expect("over")?;
    m.expect_power_off()?;
    Ok(())
}

/// Namespaces, sleeps, pipes, children, a handler, a time slice that ends; then what happened.
const STORY: &str = "\
/bin/unshare --time --monotonic 86400 --boottime 604800 sh -c 'clocks; sleep 1000; clocks'
seq 1 300 | sort -r | head -n 3
trap 'echo alarmed' ALRM; (sleep 2; kill -ALRM $$) & sleep 3; wait
for length in 3 1 2; do (sleep $length; echo slept $length) & done; wait
i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); done
find /proc/self/ns | sort; ls -l /bin | wc -l; date
echo the trace:; cat /proc/gnomon_trace; echo the end
";

/// One machine's account of the story.
fn trace(backend: &'static dyn Backend, hardware: Hardware, clock: &str) -> Result<String> {
    let mut tree = Archive::default_tree()?;
    tree.file("/story", 0o755, format!("#!/bin/sh\n{STORY}").into_bytes())?;
    let archive = Archive::of_bytes("story.cpio", &tree.to_bytes())?;
    let mut m = Machine::new(backend, "virtual_time_traces_agree");
    m.patience(Duration::from_secs(120));
    let boot = Boot::default().word("quiet").word(clock).archive(archive).hardware(hardware);
    m.boot(boot.arguments(&["run", "/story"]))?;
    m.expect("the trace:\r\n")?;
    let trace = m.expect("the end\r\n")?;
    m.expect_power_off()?;
    Ok(trace)
}

fn traces_agree() -> Result<()> {
    let counted = Hardware { instruction_clock: Some(0), ..Hardware::default() };
    let slow = Hardware { processor: "qemu64", ..Hardware::default() };
    let machines: [(&str, &'static dyn Backend, Hardware); 6] = [
        ("the user-mode machine", &UserMode::Ourselves, Hardware::default()),
        ("the same again", &UserMode::Ourselves, Hardware::default()),
        ("the same as nobody", &UserMode::Nobody, Hardware::default()),
        ("bare metal", &Qemu::Gnomon, Hardware::default()),
        ("bare metal with another processor", &Qemu::Gnomon, slow),
        ("bare metal with -icount", &Qemu::Gnomon, counted),
    ];
    for clock in CLOCKS {
        let mut first: Option<String> = None;
        for (name, backend, hardware) in machines {
            if backend.obstacle().is_some() {
                continue;
            }
            let trace = trace(backend, hardware, clock)?;
            ensure!(trace.lines().count() > 500, "the trace of {name} is short:\n{trace}");
            let Some(first) = &first else {
                first = Some(trace);
                continue;
            };
            let different = first.lines().zip(trace.lines()).position(|(one, other)| one != other);
            if let Some(line) = different {
                let around = |trace: &str| -> String {
                    trace
                        .lines()
                        .skip(line.saturating_sub(5))
                        .take(8)
                        .map(|line| format!("  {line}\n"))
                        .collect()
                };
                anyhow::bail!(
                    "with {clock}, {name} differs from the first machine in line {}:\n{}but\n{}",
                    line + 1,
                    around(first),
                    around(&trace)
                );
            }
            ensure!(*first == trace, "with {clock}, the trace of {name} has another length");
        }
    }
    Ok(())
}

//! The bench itself, proved on kernels that certainly work: this host's and Debian's.
//!
//! A scenario that passes on Gnomon says little unless a broken one would fail; here each way of failing is provoked
//! and the message is read.

use anyhow::{Result, ensure};
use gnomon_tests::backend::{Backend, Ending, Linux, Qemu};
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tests::session::{Job, Judge, Session};
use gnomon_tests::{archive::Archive, boot::Boot};
use gnomon_tools::archive::contents::BUSYBOX;
use std::time::Duration;

const ON: [&'static dyn Backend; 2] = [&Linux, &Qemu::Debian];

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("bench_talks_to_a_shell", &ON, talks_to_a_shell),
        scenario("bench_times_out", &ON, times_out),
        scenario("bench_notices_the_end", &ON, notices_the_end),
        scenario("bench_goes_on_after_a_crash", &ON, goes_on_after_a_crash),
        scenario("bench_notices_a_panic", &[&Qemu::Debian], notices_a_panic),
    ]
}

/// Busybox alone, with a session leader on the console, as an init of its own.
fn busybox() -> Result<Archive> {
    let mut archive = gnomon_tools::archive::Archive::new();
    archive.file("/bin/busybox", 0o755, std::fs::read(BUSYBOX)?)?;
    for folder in ["/dev", "/proc"] {
        archive.directory(folder, 0o755)?;
    }
    let init = "#!/bin/busybox sh\n\
        /bin/busybox --install -s /bin\n\
        mount -t proc proc /proc\n\
        [ -e /dev/null ] || mount -t devtmpfs dev /dev\n\
        echo first line\n\
        while :; do setsid -c sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'; echo leaving; poweroff -f; done\n";
    archive.file("/init", 0o755, init.into())?;
    Archive::of_bytes("busybox.cpio", &archive.to_bytes())
}

fn shell(m: &mut Machine) -> Result<()> {
    m.boot(Boot::interactive().archive(busybox()?))?;
    m.expect("first line")?;
    m.expect("# ")?;
    Ok(())
}

fn talks_to_a_shell(m: &mut Machine) -> Result<()> {
    shell(m)?;
    m.command_prints("echo $((6 * 7))", "42")?;
    m.command_prints("cat /proc/1/comm", "init")?;
    // A key typed before the program owns the terminal would be the shell's.
    m.type_line("sh -c 'echo started; exec sleep 1000'")?;
    m.expect("started")?;
    m.control('c')?;
    m.expect("# ")?;
    m.command_prints("echo $?", "130")?;
    m.type_line("exit")?;
    m.expect("leaving")?;
    m.expect_power_off()?;
    Ok(())
}

fn times_out(m: &mut Machine) -> Result<()> {
    shell(m)?;
    m.patience(Duration::from_millis(300));
    m.send("echo never\r")?;
    let message = m.expect("what does not come").unwrap_err().to_string();
    for part in [
        "timed out after 300.0ms",
        "\"what does not come\"",
        "after typing \"echo never\"",
        "    never",
        ".log",
    ] {
        ensure!(message.contains(part), "{part:?} is not in the message:\n{message}");
    }
    ensure!(m.backend() != "debian" || message.contains("processor 0 at 0x"), "no position:\n{message}");
    Ok(())
}

fn notices_the_end(m: &mut Machine) -> Result<()> {
    shell(m)?;
    m.type_line("poweroff -f")?;
    let message = m.expect("more").unwrap_err().to_string();
    ensure!(message.contains("the machine powered off while \"more\" was awaited"), "{message}");
    let message = m.expect_end(Ending::Panicked).unwrap_err().to_string();
    ensure!(message.contains("powered off; it should have panicked"), "{message}");
    Ok(())
}

/// One job fails, one hangs, one ends the machine; the ones between them are judged all the same.
fn goes_on_after_a_crash(m: &mut Machine) -> Result<()> {
    let backend: &'static dyn Backend = if m.backend() == "linux" { &Linux } else { &Qemu::Debian };
    let mut jobs = vec![
        Job::new("good", "echo KTAP version 1; echo 1..1; echo ok 1 - fine", Judge::Ktap),
        Job::new("bad", "echo KTAP version 1; echo 1..1; echo not ok 1 - wrong; false", Judge::Ktap),
        Job::new("hang", "sleep 1000", Judge::Ktap),
        Job::new("good again", "echo all is well", Judge::Prints("all is well")),
        Job::new("end", "poweroff -f; sleep 1000", Judge::Ktap),
        Job::new("good at last", "echo all is well", Judge::Prints("all is well")),
        Job::new("not wanted", "false", Judge::Ktap),
    ];
    jobs[2].patience = Duration::from_millis(700);
    let session = Session::new("bench_session", backend, busybox, jobs);
    (0..6).for_each(|job| session.select(Some(job)));
    let said = |job| session.outcome(job).map_or_else(|error| format!("{error:#}"), |()| "ok".to_string());
    let wanted = [
        "ok",
        "not ok 1 - wrong\nexit status 1",
        "timed out",
        "ok",
        "powered off",
        "ok",
        "skipped: not selected",
    ];
    for (job, wanted) in wanted.into_iter().enumerate() {
        ensure!(said(job).contains(wanted), "job {job} should say {wanted:?} but says:\n{}", said(job));
    }
    let counts = session.counts().map_or_else(|error| error.to_string(), |_| "counted".to_string());
    ensure!(counts == "the machine had to be booted again after hang", "{counts}");
    Ok(())
}

fn notices_a_panic(m: &mut Machine) -> Result<()> {
    m.boot(Boot::default().archive(busybox()?))?;
    m.expect("# ")?;
    m.type_line("echo c > /proc/sysrq-trigger")?;
    let message = m.expect("never").unwrap_err().to_string();
    ensure!(message.contains("the kernel panicked"), "{message}");
    ensure!(message.contains("sysrq"), "the block is not shown:\n{message}");
    Ok(())
}

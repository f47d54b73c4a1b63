//! The kernel command line: which init, its arguments and environment, and what `/proc/cmdline` shows of it.

use super::boot::FIRST_LINE;
use super::{EVERYWHERE, GNOMON};
use anyhow::{Context, Result, ensure};
use gnomon_tests::archive::Archive;
use gnomon_tests::boot::Boot;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tools::archive::contents::BUSYBOX;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("init_gets_arguments_and_environment", &EVERYWHERE, arguments_and_environment),
        scenario("init_is_looked_for", &GNOMON, init_is_looked_for),
        scenario("rdinit_is_init", &GNOMON, rdinit),
        scenario("init_that_is_not_there", &GNOMON, init_that_is_not_there),
        scenario("init_that_is_no_program", &GNOMON, init_that_is_no_program),
        scenario("quiet_keeps_the_kernel_silent", &GNOMON, quiet),
        scenario("a_clock_that_is_not_there", &GNOMON, unknown_clock),
        scenario("proc_cmdline_shows_it_all", &GNOMON, proc_cmdline),
    ]
}

/// A shell as init that prints what it was given. It must not exit: an init that does is a panic.
const SHOW: &str =
    "echo colour=$COLOUR empty=[$EMPTY] zero=$0 one=$1 two=[$2] count=$#; /bin/busybox poweroff -f";

fn arguments_and_environment(m: &mut Machine) -> Result<()> {
    let boot = Boot::of("/bin/sh").word("COLOUR=green").word("EMPTY=");
    m.boot(boot.arguments(&["-c", SHOW, "name", "first", "second word", ""]))?;
    m.expect("colour=green empty=[] zero=name one=first two=[second word] count=3")?;
    m.expect_power_off()?;
    Ok(())
}

/// Without `init=`: `/init`, then `/sbin/init`, then `/bin/sh`.
fn init_is_looked_for(m: &mut Machine) -> Result<()> {
    let mut tree = gnomon_tools::archive::Archive::new();
    tree.file(BUSYBOX, 0o755, std::fs::read(BUSYBOX)?)?;
    tree.symlink("/bin/sh", BUSYBOX)?;
    tree.directory("/dev", 0o755)?;
    for path in ["/sbin/init", "/init"] {
        m.boot(Boot::default().archive(Archive::of_bytes("no-init.cpio", &tree.to_bytes())?))?;
        // Busybox as the shell greets or prompts; it has no terminal of its own, but the console.
        if path == "/sbin/init" {
            m.expect("# ")?;
        } else {
            m.expect("this is /sbin/init")?;
            m.expect_power_off()?;
        }
        let script = format!("#!/bin/sh\necho this is {path}\n{BUSYBOX} poweroff -f\n");
        tree.file(path, 0o755, script.into_bytes())?;
    }
    m.boot(Boot::default().archive(Archive::of_bytes("no-init.cpio", &tree.to_bytes())?))?;
    m.expect("this is /init")?;
    m.expect_power_off()?;
    Ok(())
}

fn rdinit(m: &mut Machine) -> Result<()> {
    let boot = Boot::default().word("rdinit=/bin/sh").arguments(&["-c", "echo hello from sh; poweroff -f"]);
    m.boot(boot)?;
    m.expect("hello from sh")?;
    m.expect_power_off()?;
    Ok(())
}

fn init_that_is_not_there(m: &mut Machine) -> Result<()> {
    m.boot(Boot::of("/no/such/init"))?;
    let panic = m.expect_panic("init")?;
    ensure!(panic.contains("/no/such/init"), "the message does not say which init:\n{panic}");
    Ok(())
}

fn init_that_is_no_program(m: &mut Machine) -> Result<()> {
    m.boot(Boot::of("/etc/passwd"))?;
    let panic = m.expect_panic("init")?;
    ensure!(panic.contains("/etc/passwd"), "the message does not say which init:\n{panic}");
    Ok(())
}

fn quiet(m: &mut Machine) -> Result<()> {
    m.boot(Boot::default().word("quiet").arguments(&["run", "/bin/true"]))?;
    let before = m.expect(FIRST_LINE)?;
    ensure!(before.trim().is_empty(), "with `quiet` the kernel still says:\n{before}");
    m.expect_power_off()?;
    m.boot(Boot::default().word("loglevel=7").arguments(&["run", "/bin/true"]))?;
    let before = m.expect(FIRST_LINE)?;
    ensure!(!before.trim().is_empty(), "with `loglevel=7` the kernel says nothing");
    m.expect_power_off()?;
    Ok(())
}

/// Real time in place of a misspelt virtual one would make a test that cannot be repeated.
fn unknown_clock(m: &mut Machine) -> Result<()> {
    m.boot(Boot::default().word("quiet").word("clock=vertual"))?;
    m.expect_panic("clock=vertual is not known")?;
    Ok(())
}

fn proc_cmdline(m: &mut Machine) -> Result<()> {
    m.boot(Boot::default().word("COLOUR=green").arguments(&["run", "/bin/cat", "/proc/cmdline"]))?;
    let shown = m.expect("init: exit status 0")?;
    let line = shown.lines().find(|line| line.starts_with("console=")).context("no command line is shown")?;
    ensure!(line == "console=ttyS0 COLOUR=green -- run /bin/cat /proc/cmdline", "{line:?}");
    m.expect_power_off()?;
    Ok(())
}

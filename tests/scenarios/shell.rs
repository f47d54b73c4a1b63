//! An interactive shell over the serial line: the keys that the terminal handles, and those the shell handles itself.

use super::EVERYWHERE;
use super::boot::FIRST_LINE;
use anyhow::{Result, ensure};
use gnomon_tests::boot::Boot;
use gnomon_tests::machine::{Machine, PROMPT};
use gnomon_tests::scenario::{Scenario, scenario};
use std::time::Duration;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("shell_runs_commands", &EVERYWHERE, runs_commands),
        scenario("shell_does_what_the_greeting_says", &EVERYWHERE, greeting),
        scenario("shell_edits_lines", &EVERYWHERE, edits_lines),
        scenario("terminal_interrupts", &EVERYWHERE, interrupts),
        scenario("terminal_edits_lines", &EVERYWHERE, terminal_edits),
        scenario("terminal_raw_mode", &EVERYWHERE, raw_mode),
        scenario("terminal_takes_a_long_paste", &EVERYWHERE, long_paste),
        scenario("shell_ends_with_the_machine", &EVERYWHERE, ends),
    ]
}

fn shell(m: &mut Machine) -> Result<()> {
    m.boot(Boot::interactive())?;
    m.expect(FIRST_LINE)?;
    m.expect(PROMPT)?;
    Ok(())
}

fn runs_commands(m: &mut Machine) -> Result<()> {
    shell(m)?;
    m.command_prints("echo hi", "hi")?;
    m.command_prints("echo a b c | tr ' ' '\\n' | sort -r | head -n 2", "c\nb")?;
    m.command_prints("(exit 7); echo $?", "7")?;
    m.command_prints("for i in 1 2 3; do echo -n $i; done; echo", "123")?;
    m.command_prints("x=$(seq 1 100 | wc -l); echo $((x + 1))", "101")?;
    m.command_prints("no-such-program; echo $?", "sh: no-such-program: not found\n127")?;
    m.command_prints("(sleep 0.1 & wait; echo done)", "done")?;
    // In the background of an interactive shell: a job, with a process group of its own.
    m.type_line("sleep 1 &")?;
    m.expect(PROMPT)?;
    let jobs = m.command("jobs")?;
    ensure!(jobs.contains("Running") && jobs.contains("sleep 1"), "{jobs}");
    let waited = m.command("wait; echo $?")?;
    ensure!(waited.starts_with("0\n") && waited.contains("Done"), "{waited}");
    m.command_prints("cd /tmp; pwd; cd /", "/tmp")
}

/// What the greeting proposes to type works as typed, although busybox has an `unshare` of its own.
fn greeting(m: &mut Machine) -> Result<()> {
    shell(m)?;
    let here = m.command("clocks")?;
    ensure!(here.contains("time:[4026531834]") && here.contains("MONOTONIC_COARSE"), "{here}");
    let inside = m.command("unshare --time --monotonic 86400 clocks")?;
    ensure!(inside.contains("monotonic 86400.000000000 s"), "no namespace one day ahead:\n{inside}");
    let shown = m.command("demonstration")?;
    ensure!(shown.contains(" checks of the above hold."), "{shown}");
    Ok(())
}

/// What the shell does itself, with the terminal in raw mode: backspace, ^U, ^A, history.
fn edits_lines(m: &mut Machine) -> Result<()> {
    shell(m)?;
    m.send("echo wrongg\x7f\x7f\x7f\x7f\x7f\x7fright\r")?;
    m.expect("\nright\r\n")?;
    m.expect(PROMPT)?;
    m.send("this line is thrown away\x15echo kept\r")?;
    m.expect("\nkept\r\n")?;
    m.expect(PROMPT)?;
    m.send("second\x01echo first \r")?;
    m.expect("\nfirst second\r\n")?;
    m.expect(PROMPT)?;
    // The arrow key: the last line again.
    m.send("\x1b[A\r")?;
    m.expect("\nfirst second\r\n")?;
    m.expect(PROMPT)?;
    Ok(())
}

/// ^C ends what runs in the foreground, and not the shell.
fn interrupts(m: &mut Machine) -> Result<()> {
    shell(m)?;
    for program in ["sleep 1000", "cat", "sh -c 'while :; do :; done'"] {
        // A key typed before the program owns the terminal would be the shell's.
        m.type_line(&format!("sh -c 'echo started; exec {}'", program.replace('\'', "'\\''")))?;
        m.expect("started")?;
        m.control('c')?;
        m.expect(PROMPT)?;
        m.command_prints("echo $?", "130")?;
    }
    // In a pipeline every member gets it.
    m.type_line("sh -c 'echo started; exec sleep 1000' | cat")?;
    m.expect("started")?;
    m.control('c')?;
    m.expect(PROMPT)?;
    // A program that catches it goes on.
    m.type_line("sh -c 'trap \"echo caught; exit 5\" INT; echo started; while :; do sleep 0.1; done'")?;
    m.expect("started")?;
    m.control('c')?;
    m.expect("caught")?;
    m.expect(PROMPT)?;
    m.command_prints("echo $?", "5")?;
    // At the prompt it throws the line away.
    m.send("echo never")?;
    m.expect("echo never")?;
    m.control('c')?;
    m.expect(PROMPT)?;
    m.command_prints("echo still here", "still here")
}

/// What the terminal does in canonical mode: erase, ^U, ^W, ^D at the start of a line and within one.
fn terminal_edits(m: &mut Machine) -> Result<()> {
    shell(m)?;
    m.type_line("sh -c 'echo started; exec cat'")?;
    m.expect("started\r\n")?;
    // Echoed as typed, then given to cat, which prints it again.
    m.send("plain\r")?;
    m.expect("plain\r\nplain\r\n")?;
    m.send("abcx\x7fd\r")?;
    m.expect("\r\nabcd\r\n")?;
    m.send("all of this goes\x15only this\r")?;
    m.expect("\r\nonly this\r\n")?;
    m.send("two words\x17one\r")?;
    m.expect("\r\ntwo one\r\n")?;
    // ^D within a line hands over what is there, without a newline; at the start it is the end of the file.
    m.send("half")?;
    m.expect("half")?;
    m.control('d')?;
    m.expect("half")?;
    m.send("\r")?;
    m.expect("\n")?;
    m.control('d')?;
    m.expect(PROMPT)?;
    m.command_prints("echo $?", "0")
}

/// Raw mode: keys arrive one by one and are not shown; ^C is a byte like others.
fn raw_mode(m: &mut Machine) -> Result<()> {
    shell(m)?;
    m.type_line(
        "stty raw -echo; echo ready; dd bs=1 count=3 2>/dev/null | od -An -tx1; stty sane; echo back",
    )?;
    m.expect("ready")?;
    m.send("a\x03\r")?;
    m.expect("61 03 0d")?;
    m.expect("back")?;
    m.expect(PROMPT)?;
    m.command_prints("stty -a | grep -o '[-]*echo '", "echo")
}

/// A paste longer than any buffer on the way arrives whole: the serial line must hold back what is not yet wanted.
fn long_paste(m: &mut Machine) -> Result<()> {
    shell(m)?;
    m.patience(Duration::from_secs(60));
    m.type_line("sh -c 'echo started; exec wc -c'")?;
    m.expect("started\r\n")?;
    let line = "0123456789abcdefghijklmnopqrstuvwxyz";
    for ten in 0..30 {
        let lines: Vec<String> = (0..10).map(|one| format!("{ten:02}{one:02} {line}\r")).collect();
        m.send(&lines.concat())?;
        for line in lines {
            m.expect(&line)?;
        }
    }
    m.control('d')?;
    let said = m.expect(PROMPT)?;
    ensure!(said.contains("12600"), "300 lines of 42 bytes are 12600 bytes, but:\n{said}");
    Ok(())
}

/// ^D at the prompt ends the shell; init then powers off.
fn ends(m: &mut Machine) -> Result<()> {
    shell(m)?;
    m.control('d')?;
    m.expect_power_off()?;
    shell(m)?;
    m.type_line("exit 3")?;
    m.expect_power_off()?;
    Ok(())
}

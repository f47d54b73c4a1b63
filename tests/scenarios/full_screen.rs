//! Programs that own the whole screen: an editor, a pager and a list of processes, driven key by key.
//!
//! They ask more of a terminal than a shell does. Keys arrive one by one and unshown, Escape alone differs from Escape as
//! the beginning of an arrow key only by how long nothing follows, the size of the screen is the terminal's, ^Z is a signal
//! although all other keys are read, and the shell must find its terminal as it was.

use super::EVERYWHERE;
use super::boot::FIRST_LINE;
use anyhow::{Result, ensure};
use gnomon_tests::boot::Boot;
use gnomon_tests::machine::{Machine, PROMPT};
use gnomon_tests::scenario::{Scenario, scenario};
use std::time::Duration;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("screen_editor_edits_and_saves", &EVERYWHERE, edits_and_saves),
        scenario("screen_editor_is_stopped_and_goes_on", &EVERYWHERE, stopped_and_continued),
        scenario("screen_pager_scrolls_and_searches", &EVERYWHERE, scrolls_and_searches),
        scenario("screen_of_processes", &EVERYWHERE, lists_processes),
    ]
}

/// A small screen, so that a program that takes the usual 24 rows for granted is found out.
const SIZE: &str = "stty rows 10 columns 60";

const ESCAPE: &str = "\x1b";

/// Erases to the end of the line: what comes before a line drawn anew.
const ERASE: &str = "\x1b[K";

/// Boots to a prompt; returns the terminal's settings.
fn shell(m: &mut Machine) -> Result<String> {
    m.boot(Boot::interactive())?;
    m.expect(FIRST_LINE)?;
    m.expect(PROMPT)?;
    m.command_prints(SIZE, "")?;
    m.command("stty -g")
}

/// The settings are as they were before a program changed them.
fn is_restored(m: &mut Machine, settings: &str) -> Result<()> {
    m.command_prints("stty -g", settings.trim_end())
}

/// The cursor moved to a row and column, both counted from 1, and what is drawn there.
fn at(row: u32, column: u32, text: &str) -> String {
    format!("\x1b[{row};{column}H{text}")
}

/// The editor's last row.
fn status(text: &str) -> String {
    at(10, 1, ERASE) + text
}

/// Opens a file that is not there yet and writes one line into it.
fn begin(m: &mut Machine) -> Result<()> {
    m.type_line("vi /tmp/notes")?;
    // The rows behind the end of the file, up to the last but one; then the status.
    m.expect(&at(9, 1, "~"))?;
    m.expect(&status("- /tmp/notes 1/1 100%"))?;
    m.send("i")?;
    m.expect(&status("I /tmp/notes"))?;
    insert(m, 1, "first line")?;
    m.expect(&status("- /tmp/notes [Modified] 1/1 100%"))?;
    Ok(())
}

/// Types a line into a row and leaves the insert mode. Waits for where the cursor comes to stand: the editor draws a line
/// in one piece or in many, as the keys arrive.
fn insert(m: &mut Machine, row: u32, line: &str) -> Result<()> {
    m.send(line)?;
    m.expect(&at(row, line.len() as u32 + 1, ""))?;
    m.send(ESCAPE)
}

fn save(m: &mut Machine, wanted: &str) -> Result<()> {
    m.send(":wq\r")?;
    m.expect(wanted)?;
    m.expect(PROMPT)?;
    Ok(())
}

fn edits_and_saves(m: &mut Machine) -> Result<()> {
    let settings = shell(m)?;
    begin(m)?;
    m.send("o")?;
    m.expect(&status("I /tmp/notes [Modified] 2/2 100%"))?;
    insert(m, 2, "second lyne")?;
    m.expect(&status("- /tmp/notes [Modified] 2/2 100%"))?;
    // An arrow key is an Escape that something follows at once: two to the left, onto the wrong letter.
    m.send("\x1b[D\x1b[D")?;
    m.expect(&at(2, 9, ""))?;
    m.send("ri")?;
    m.expect(&at(2, 9, "i"))?;
    save(m, "'/tmp/notes' 2L, 23C")?;
    m.command_prints("cat /tmp/notes", "first line\nsecond line")?;
    is_restored(m, &settings)?;
    // Opened again it shows what was saved; what is not saved is not in the file.
    m.type_line("vi /tmp/notes")?;
    m.expect(&at(2, 1, "second line"))?;
    m.expect(&status("- /tmp/notes 1/2 50%"))?;
    m.send("dd")?;
    m.expect(&at(1, 1, "second line"))?;
    m.send(":q!\r")?;
    m.expect(PROMPT)?;
    m.command_prints("cat /tmp/notes", "first line\nsecond line")?;
    is_restored(m, &settings)
}

/// ^Z gives the shell its terminal back, settings and all; `fg` draws the screen anew with what was not yet saved.
fn stopped_and_continued(m: &mut Machine) -> Result<()> {
    let settings = shell(m)?;
    begin(m)?;
    for _ in 0..3 {
        m.control('z')?;
        m.expect("Stopped")?;
        m.expect(PROMPT)?;
        is_restored(m, &settings)?;
        let jobs = m.command("jobs")?;
        ensure!(jobs.contains("Stopped") && jobs.contains("vi /tmp/notes"), "{jobs}");
        m.command_prints("test -e /tmp/notes; echo $?", "1")?;
        m.type_line("fg")?;
        m.expect(&at(1, 1, "first line"))?;
        m.expect(&status("- /tmp/notes [Modified] 1/1 100%"))?;
    }
    save(m, "'/tmp/notes' 1L, 11C")?;
    m.command_prints("cat /tmp/notes; jobs", "first line")?;
    is_restored(m, &settings)
}

/// What the pager draws: lines of text, the last row behind them.
fn page(lines: &[&str], last_row: &str) -> String {
    let lines: String = lines.iter().map(|line| format!("{ERASE}{line}\r\n")).collect();
    format!("\x1b[0;0H{lines}\x1b[10;0H{ERASE}{last_row}")
}

/// Busybox' pager makes the terminal show and edit what is typed between any two keys of a pattern: a key that comes then is
/// shown, and Return becomes a line feed, on Linux too. So each is typed when the pager waits for it.
fn search(m: &mut Machine, pattern: &str) -> Result<()> {
    for (column, key) in (2..).zip("/".chars().chain(pattern.chars())) {
        m.send(&key.to_string())?;
        // Drawn just before the terminal is raw again.
        m.expect(&at(10, column, ""))?;
        std::thread::sleep(Duration::from_millis(100));
    }
    m.send("\r")
}

fn scrolls_and_searches(m: &mut Machine) -> Result<()> {
    let settings = shell(m)?;
    let first = page(&["1", "2", "3", "4", "5", "6", "7", "8", "9"], "\x1b[7m/tmp/numbers\x1b[m");
    m.command_prints("seq 200 > /tmp/numbers", "")?;
    m.type_line("less /tmp/numbers")?;
    m.expect(&first)?;
    m.send(" ")?;
    m.expect(&page(&["10", "11", "12", "13", "14", "15", "16", "17", "18"], ":"))?;
    m.send("b")?;
    m.expect(&first)?;
    // What is found is shown in reverse, at the top.
    search(m, "20")?;
    m.expect(&page(&["\x1b[7m20\x1b[m", "21", "22", "23", "24", "25", "26", "27", "28"], ":"))?;
    m.send("n")?;
    m.expect(&page(&["1\x1b[7m20\x1b[m", "121", "122", "123", "124", "125", "126", "127", "128"], ":"))?;
    m.send("G")?;
    m.expect("199\r\n")?;
    m.expect("(END)")?;
    m.send("g")?;
    m.expect(&first)?;
    m.send("q")?;
    m.expect(PROMPT)?;
    m.command_prints("echo $?", "0")?;
    is_restored(m, &settings)?;
    // Text from a pipe, keys from the terminal: the pager opens /dev/tty.
    m.type_line("seq 100 | less")?;
    m.expect(&page(&["1", "2", "3", "4", "5", "6", "7", "8", "9"], "\x1b[7mstandard input\x1b[m"))?;
    m.send("q")?;
    m.expect(PROMPT)?;
    is_restored(m, &settings)
}

fn lists_processes(m: &mut Machine) -> Result<()> {
    let settings = shell(m)?;
    m.type_line("top")?;
    let before = m.expect("  PID  PPID USER     STAT   VSZ %VSZ %CPU COMMAND")?;
    for line in ["Mem: ", "CPU: ", "Load average: "] {
        ensure!(before.contains(line), "no line begins with {line:?}:\n{before}");
    }
    m.expect("/init")?;
    m.send("q")?;
    m.expect(PROMPT)?;
    is_restored(m, &settings)
}

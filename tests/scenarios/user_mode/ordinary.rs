//! An ordinary day: its words, its terminal, its input's end, the host's clock.

use super::terminal::{OnTerminal, send};
use super::{PATIENCE, program, run, said};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

pub fn explains_itself() -> Result<()> {
    let output = run(&["quiet", "--help"], "")?;
    ensure!(output.status.success() && said(&output).contains("usage: gnomon-um"), "{}", said(&output));
    Ok(())
}

/// One sentence on standard error, nothing else, and a status of its own.
pub fn refuses_nonsense() -> Result<()> {
    let cases = [
        (&["mem=63M"][..], "mem=63M is too little"),
        (&["mem=lots"], "mem=lots is not a size"),
        (&["initrd=/no/such/file"], "cannot read the initial archive /no/such/file"),
        (&["--cpu=100000"], "--cpu=100000 is not a CPU"),
        (&["-append", "quiet"], "there is no option -append"),
        (&["mem=2000G"], "mem=2000G is too much"),
    ];
    for (words, sentence) in cases {
        refused(&run(words, "")?, sentence)?;
    }
    // What the host refuses is told in the same way.
    let limits = [
        ("-f 1000", "cannot make RAM"),
        ("-v 1000000", "gives no memory"),
        ("-n 6", "cannot listen to the host"),
    ];
    for (limit, sentence) in limits {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit {limit}; exec \"$0\" quiet")])
            .arg(program())
            .stdin(Stdio::null());
        refused(&command.output()?, sentence)?;
    }
    Ok(())
}

fn refused(output: &Output, sentence: &str) -> Result<()> {
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "{}, {complaint}", output.status);
    ensure!(
        complaint.contains(sentence) && complaint.lines().count() == 1,
        "not about {sentence:?}: {complaint}"
    );
    ensure!(output.stdout.is_empty(), "it is refused, but the machine says something");
    Ok(())
}

pub fn finds_the_archive() -> Result<()> {
    let output = run(&["quiet", "--", "run", "/bin/echo", "found"], "")?;
    ensure!(output.status.success() && said(&output).contains("found"), "{}", said(&output));
    Ok(())
}

/// Who reads the console after the end of input is told so, as often as is needed, and not before all else is done.
pub fn input_ends() -> Result<()> {
    for (input, wanted) in [
        ("", ""),
        ("echo hel'l'o\n", "hello"),
        ("sleep 0.3; cat; echo a'f'ter\n", "after"),
        ("sleep 100 & echo i'n' background\n", "in background"),
    ] {
        let output = run(&["quiet"], input)?;
        ensure!(output.status.success() && said(&output).contains(wanted), "{input:?}: {}", said(&output));
    }
    // A regular file is always ready to be read.
    let path = gnomon_tests::results().join("um-input.txt");
    std::fs::create_dir_all(gnomon_tests::results())?;
    std::fs::write(&path, "# a long line\n".repeat(2000) + "echo a'l'l\n")?;
    let output = Command::new(program()).arg("quiet").stdin(File::open(&path)?).output()?;
    ensure!(output.status.success() && said(&output).contains("all"), "{}", said(&output));
    Ok(())
}

pub fn tells_what_it_did() -> Result<()> {
    let output = run(&["quiet", "--stats", "--", "run", "/bin/sleep", "0.2"], "")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = |name: &str| -> Result<f64> {
        let line = told.lines().find(|line| line.contains(name));
        let line = line.with_context(|| format!("nothing is said of {name}:\n{told}"))?;
        Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
    };
    ensure!(value("system calls")? > 20.0 && value("host processes")? >= 2.0, "{told}");
    ensure!((0.19..5.0).contains(&value("with nothing to do")?), "it slept for 0.2 s:\n{told}");
    ensure!(value("seconds in all")? >= value("with nothing to do")?, "{told}");
    Ok(())
}

pub fn starts_anew() -> Result<()> {
    let mut machine = OnTerminal::start(&["quiet"])?;
    machine.expect("# ")?;
    machine.type_keys("reboot -f\r")?;
    machine.expect("init at ")?;
    machine.expect("# ")?;
    machine.type_keys("exit\r")?;
    ensure!(machine.end()?.success(), "{}", machine.printed());
    Ok(())
}

pub fn has_the_size_of_its_terminal() -> Result<()> {
    let mut machine = OnTerminal::start(&["quiet"])?;
    machine.expect("# ")?;
    let size = |rows, columns| Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    for (rows, columns) in [(33, 99), (50, 132)] {
        tcsetwinsize(&machine.screen, size(rows, columns))?;
        // Had the machine been started by a shell, the terminal itself would tell it.
        send(machine.child.id(), Signal::WINCH)?;
        machine.type_keys("stty size\r")?;
        machine.expect(&format!("\n{rows} {columns}\r\n"))?;
        machine.expect("# ")?;
    }
    machine.type_keys("exit\r")?;
    ensure!(machine.end()?.success(), "{}", machine.printed());
    Ok(())
}

/// The wall clock is the host's; and when the host itself does not trust the TSC, programs do not read it.
pub fn goes_by_the_hosts_clock() -> Result<()> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64());
    let clocks = ["loglevel=7", "--", "run", "/bin/clocks"];
    let realtime = |text: &str| -> Result<f64> {
        let line = text.lines().find(|line| line.contains(" REALTIME "));
        let reading = line.and_then(|line| line.split_whitespace().nth(4)).context("no line for REALTIME")?;
        Ok(reading.parse()?)
    };
    let before = now()?;
    let output = run(&clocks, "")?;
    let (text, after) = (said(&output), now()?);
    let read = realtime(&text)?;
    ensure!(before < read && read < after, "{read} is not between {before} and {after}:\n{text}");
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // In mounts of its own the file that names the host's clock source says something else.
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let another = gnomon_tests::results().join("um-clocksource");
    std::fs::create_dir_all(gnomon_tests::results())?;
    std::fs::write(&another, "acpi_pm\n")?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"", "sh"]);
    command.arg(&another).arg(SOURCE).arg(program()).args(clocks).stdin(Stdio::null());
    let output = command.output().context("cannot start unshare(1)")?;
    let text = said(&output);
    ensure!(output.status.success(), "{text}");
    ensure!(text.contains("the host tells the time by acpi_pm"), "the log does not say why:\n{text}");
    ensure!(text.contains("the vDSO makes system calls"), "{text}");
    ensure!((realtime(&text)? - now()?).abs() < PATIENCE.as_secs_f64(), "{text}");
    Ok(())
}

//! The user-mode machine as a process among others: its words, its terminal, its input's end, and that nothing of it is
//! left behind, however it ends.

use anyhow::{Context, Result, bail, ensure};
use gnomon_tests::archive::Archive;
use gnomon_tests::scenario::outcome;
use gnomon_tests::{failure, programs, pty};
use gnomon_tools::workspace::{self, Variant};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

type Test = (&'static str, fn() -> Result<()>);

pub fn trials() -> Vec<Trial> {
    const TESTS: [Test; 17] = [
        ("um_explains_itself", explains_itself),
        ("um_refuses_nonsense", refuses_nonsense),
        ("um_finds_the_archive_beside_it", finds_the_archive),
        ("um_input_comes_to_an_end", input_ends),
        ("um_tells_what_it_did", tells_what_it_did),
        ("um_starts_anew", starts_anew),
        ("um_has_the_size_of_its_terminal", has_the_size_of_its_terminal),
        ("um_goes_by_the_hosts_clock", goes_by_the_hosts_clock),
        ("um_leaves_nothing_behind", leaves_nothing_behind),
        ("um_survives_a_killed_program", survives_a_killed_program),
        ("um_notices_a_killed_sleeper", notices_a_killed_sleeper),
        ("um_ends_without_its_first_process", ends_without_its_first_process),
        ("um_panics_when_init_is_killed", panics_when_init_is_killed),
        ("um_does_without_more_mappings", does_without_more_mappings),
        ("um_does_without_more_processes", does_without_more_processes),
        ("um_ends_when_the_host_has_no_memory", ends_without_memory),
        ("um_outlives_a_shortage_of_memory", outlives_a_shortage),
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

fn explains_itself() -> Result<()> {
    let output = run(&["quiet", "--help"], "")?;
    ensure!(output.status.success() && said(&output).contains("usage: gnomon-um"), "{}", said(&output));
    Ok(())
}

/// One sentence on standard error, nothing else, and a status of its own.
fn refuses_nonsense() -> Result<()> {
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

fn finds_the_archive() -> Result<()> {
    let output = run(&["quiet", "--", "run", "/bin/echo", "found"], "")?;
    ensure!(output.status.success() && said(&output).contains("found"), "{}", said(&output));
    Ok(())
}

/// Who reads the console after the end of input is told so, as often as is needed, and not before all else is done.
fn input_ends() -> Result<()> {
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

fn tells_what_it_did() -> Result<()> {
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

fn starts_anew() -> Result<()> {
    let mut machine = OnTerminal::start(&["quiet"])?;
    machine.expect("# ")?;
    machine.type_keys("reboot -f\r")?;
    machine.expect("init at ")?;
    machine.expect("# ")?;
    machine.type_keys("exit\r")?;
    ensure!(machine.end()?.success(), "{}", machine.printed());
    Ok(())
}

fn has_the_size_of_its_terminal() -> Result<()> {
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
fn goes_by_the_hosts_clock() -> Result<()> {
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

/// How a machine is brought to its end.
type Ending = fn(&OnTerminal) -> Result<()>;

fn leaves_nothing_behind() -> Result<()> {
    let status = |code: i32| ExitStatus::from_raw(code << 8);
    let endings: [(&str, Ending, ExitStatus); 8] = [
        ("power-off", |m| m.type_keys("exit\r"), status(0)),
        ("the escape", |m| m.type_keys("\x1d\x1d\x1d"), status(1)),
        ("a fault of the kernel", |m| send(m.child.id(), Signal::SEGV), status(1)),
        ("SIGTERM", |m| send(m.child.id(), Signal::TERM), ExitStatus::from_raw(Signal::TERM.as_raw())),
        ("SIGHUP", |m| send(m.child.id(), Signal::HUP), ExitStatus::from_raw(Signal::HUP.as_raw())),
        ("SIGINT", |m| send(m.child.id(), Signal::INT), ExitStatus::from_raw(Signal::INT.as_raw())),
        ("SIGUSR1", |m| send(m.child.id(), Signal::USR1), ExitStatus::from_raw(Signal::USR1.as_raw())),
        ("SIGKILL", |m| send(m.child.id(), Signal::KILL), ExitStatus::from_raw(Signal::KILL.as_raw())),
    ];
    for (name, end, wanted) in endings {
        let mut machine = OnTerminal::start(&["quiet"])?;
        machine.expect("# ")?;
        machine.type_keys("sleep 1000 & while :; do :; done & echo runn'i'ng\r")?;
        machine.expect("running")?;
        // The one they are made from, init, the shell, and the two in the background, once they have run.
        let host_processes = machine.host_processes(5)?;
        ensure!(!machine.is_restored()?, "the terminal is not raw");
        end(&machine)?;
        let ended = machine.end().with_context(|| format!("after {name}"))?;
        ensure!(ended == wanted, "after {name} it ended with {ended}:\n{}", machine.printed());
        // Nobody can do anything about the terminal when killed.
        ensure!(machine.is_restored()? || name == "SIGKILL", "after {name} the terminal is left raw");
        // Killed by the host a little after their parent; everybody else waits for them.
        let deadline = Instant::now() + if name == "SIGKILL" { PATIENCE } else { Duration::ZERO };
        while host_processes.iter().any(|process| alive(*process)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let left: Vec<_> = host_processes.into_iter().filter(|process| alive(*process)).collect();
        ensure!(left.is_empty(), "after {name} these processes are left: {left:?}");
    }
    Ok(())
}

/// A program's host process killed by somebody on the host is that program killed, and nobody else.
fn survives_a_killed_program() -> Result<()> {
    let mut machine = OnTerminal::start(&["quiet"])?;
    machine.expect("# ")?;
    machine.type_keys("sh -c 'echo started; while :; do :; done'\r")?;
    machine.expect("started\r\n")?;
    let last = *children(machine.child.id()).last().context("no host process")?;
    send(last, Signal::KILL)?;
    machine.expect("# ")?;
    machine.type_keys("echo st'a'tus $?; exit\r")?;
    machine.expect("status 137")?;
    ensure!(machine.end()?.success(), "{}", machine.printed());
    Ok(())
}

fn panics_when_init_is_killed() -> Result<()> {
    let mut machine = OnTerminal::start(&[
        "quiet",
        "init=/bin/sh",
        "--",
        "-c",
        "sleep 1000 & echo started; while :; do :; done",
    ])?;
    machine.expect("started\r\n")?;
    // The first is the one that all are made from.
    let host_processes = children(machine.child.id());
    let init = *host_processes.get(1).context("init has no host process")?;
    send(init, Signal::KILL)?;
    machine.expect("kernel panic: Attempted to kill init!")?;
    ensure!(machine.end()?.code() == Some(1), "{}", machine.printed());
    machine.is_gone(&host_processes)
}

/// A program that sleeps is ended as soon as its host process is, and so is seen by who waits for it.
fn notices_a_killed_sleeper() -> Result<()> {
    let mut machine = OnTerminal::start(&["quiet"])?;
    machine.expect("# ")?;
    machine.type_keys("sleep 1000; echo st'a'tus $?\r")?;
    let sleeper = machine.host_processes(4)?[3];
    send(sleeper, Signal::KILL)?;
    machine.expect("status 137")?;
    machine.type_keys("exit\r")?;
    ensure!(machine.end()?.success(), "{}", machine.printed());
    Ok(())
}

/// Without the process that all others are made from there is no way on.
fn ends_without_its_first_process() -> Result<()> {
    let mut machine = OnTerminal::start(&["quiet"])?;
    machine.expect("# ")?;
    let host_processes = machine.host_processes(3)?;
    send(host_processes[0], Signal::KILL)?;
    ensure!(machine.end()?.code() == Some(1), "{}", machine.printed());
    machine.expect("gnomon-um: the host has ended the process that all programs' processes are made from")?;
    machine.is_gone(&host_processes)
}

/// The host's memory for RAM comes to an end while the machine runs: here because the file that is RAM is cut short, which is
/// to whoever touches it as if there were no page left.
fn ends_without_memory() -> Result<()> {
    let mut machine = OnTerminal::start(&["quiet", "mem=128M"])?;
    machine.expect("# ")?;
    let host_processes = machine.host_processes(3)?;
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", machine.child.id()))?.flatten();
    let is_ram = |path: &PathBuf| {
        std::fs::read_link(path).is_ok_and(|name| name.to_string_lossy().starts_with("/memfd:gnomon RAM"))
    };
    let ram = descriptors.map(|entry| entry.path()).find(is_ram).context("RAM is a file")?;
    File::options().write(true).open(ram)?.set_len(64 << 20)?;
    machine.type_keys("dd if=/dev/zero of=/tmp/file bs=1M count=100\r")?;
    ensure!(machine.end()?.code() == Some(1), "{}", machine.printed());
    machine.expect("kernel panic: the host has no memory left for the machine's RAM")?;
    machine.is_gone(&host_processes)
}

/// Where memory is short for other reasons the host ends somebody. It ends programs first, and the last word is the kernel's.
fn outlives_a_shortage() -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/memory/gnomon-shortage";
    const LIMIT: &str = "memory.limit_in_bytes";
    let group = PathBuf::from(GROUP);
    let obstacle =
        |error| failure::skip(format!("no group of processes with little memory can be made: {error}"));
    if let Err(error) =
        std::fs::create_dir_all(&group).and_then(|()| std::fs::write(group.join(LIMIT), "160M"))
    {
        return obstacle(error);
    }
    // Somebody else in the group has the larger part of what there is.
    let hog = Path::new("/dev/shm/gnomon-shortage");
    let script = "echo $$ > \"$0\"/cgroup.procs && head -c 80M /dev/zero > \"$1\" && exec \"$2\" quiet";
    let machine =
        OnTerminal::start_by(Command::new("sh").args(["-c", script]).arg(&group).arg(hog).arg(program()));
    let ended = machine.and_then(|mut machine| {
        machine.expect("# ")?;
        let host_processes = machine.host_processes(3)?;
        machine.type_keys("dd if=/dev/zero of=/tmp/file bs=1M count=120\r")?;
        ensure!(machine.end()?.code() == Some(1), "{}", machine.printed());
        machine.expect("it may be out of memory")?;
        machine.is_gone(&host_processes)
    });
    let _ = std::fs::remove_file(hog);
    let _ = std::fs::remove_dir(&group);
    ended
}

/// The default archive with a program made of a source of ours, as the word that names it.
fn archive_with(name: &str) -> Result<String> {
    let source = workspace::root().join(format!("tests/programs/user-mode/{name}.c"));
    let mut tree = Archive::default_tree()?;
    let built = programs::build(&[source])?;
    let program = built.first().context("it is a C program")?;
    tree.file(&format!("/{name}"), 0o755, std::fs::read(&program.file)?)?;
    let Archive::File(archive) = Archive::of_bytes(&format!("{name}.cpio"), &tree.to_bytes())? else {
        bail!("it is a file");
    };
    Ok(format!("initrd={}", archive.display()))
}

/// A host gives a process only so many mappings; a program may need more.
fn does_without_more_mappings() -> Result<()> {
    let initrd = archive_with("many-mappings")?;
    let words = ["mem=768M", "quiet", "--stats", &initrd, "--", "run", "/many-mappings"];
    let output = run_patiently(&words, "", Duration::from_secs(120))?;
    ensure!(said(&output).contains("all pages hold"), "{}", said(&output));
    Ok(())
}

/// A host lets a user have only so many processes and threads. What it refuses is refused to the program that asked.
fn does_without_more_processes() -> Result<()> {
    /// A user who has no processes yet.
    const NOBODY_ELSE: &str = "64321";
    if !rustix::process::geteuid().is_root() {
        return failure::skip("only root can become a user who has no processes yet");
    }
    let initrd = archive_with("no-more-processes")?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY_ELSE, "--regid", NOBODY_ELSE, "--clear-groups", "--no-new-privs"]);
    command.args(["prlimit", "--nproc=24"]).arg(program());
    command.args(["quiet", &initrd, "--", "run", "/no-more-processes"]).stdin(Stdio::null());
    let output = command.output().context("cannot start setpriv(1)")?;
    let said = said(&output);
    for sentence in [
        "processes are refused",
        "programs are refused",
        "afterwards a program ends with 0",
        "threads are refused",
        "init: exit status 0",
    ] {
        ensure!(said.contains(sentence), "it does not say {sentence:?}:\n{said}");
    }
    Ok(())
}

/// A machine with a terminal of its own.
struct OnTerminal {
    child: Child,
    keyboard: File,
    /// Its end of the terminal, kept open so that its state can be asked for.
    screen: File,
    before: rustix::termios::Termios,
    printed: Arc<Mutex<Vec<u8>>>,
    mark: usize,
}

impl OnTerminal {
    fn start(words: &[&str]) -> Result<OnTerminal> {
        Self::start_by(Command::new(program()).args(words))
    }

    fn start_by(command: &mut Command) -> Result<OnTerminal> {
        let (ours, screen, _): (OwnedFd, File, PathBuf) = pty::open()?;
        let before = tcgetattr(&screen)?;
        command.stdin(screen.try_clone()?).stdout(screen.try_clone()?).stderr(screen.try_clone()?);
        let child = command.spawn().context("cannot start gnomon-um")?;
        let keyboard = File::from(ours);
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, sink) = (keyboard.try_clone()?, printed.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = reader.read(&mut buffer) {
                sink.lock().expect("no holder of this lock panics").extend_from_slice(&buffer[..count]);
            }
        });
        Ok(OnTerminal { child, keyboard, screen, before, printed, mark: 0 })
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().expect("no holder of this lock panics")).into_owned()
    }

    fn type_keys(&self, keys: &str) -> Result<()> {
        Ok((&self.keyboard).write_all(keys.as_bytes())?)
    }

    /// Waits for a text behind the last one that was waited for.
    fn expect(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let printed = self.printed.lock().expect("no holder of this lock panics").clone();
            let found = printed[self.mark..].windows(text.len()).position(|part| part == text.as_bytes());
            if let Some(found) = found {
                self.mark += found + text.len();
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{text:?} does not come:\n{}", String::from_utf8_lossy(&printed));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "it does not end:\n{}", self.printed());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The host processes of its programs, the one they are made from first, as soon as there are so many.
    fn host_processes(&self, count: usize) -> Result<Vec<u32>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = children(self.child.id());
            if found.len() >= count {
                return Ok(found);
            }
            ensure!(Instant::now() < deadline, "only {} host processes", found.len());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Nothing is left of it, and the terminal is as before. To be asked after its end.
    fn is_gone(&self, host_processes: &[u32]) -> Result<()> {
        ensure!(self.is_restored()?, "the terminal is left raw");
        ensure!(!host_processes.iter().any(|process| alive(*process)), "host processes are left");
        Ok(())
    }

    /// Whether the terminal is as it was before the machine began.
    fn is_restored(&self) -> Result<bool> {
        Ok(format!("{:?}", tcgetattr(&self.screen)?) == format!("{:?}", self.before))
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // An error only says that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(process: u32, signal: Signal) -> Result<()> {
    let process = Pid::from_raw(process.cast_signed()).context("no process has the number 0")?;
    Ok(kill_process(process, signal)?)
}

/// State and parent of a process: fields 3 and 4 of /proc/PID/stat, proc(5).
fn state(process: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn alive(process: u32) -> bool {
    state(process).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// Living children of a process, the oldest first as long as numbers have not wrapped around.
fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children: Vec<u32> = numbers
        .filter(|process| state(*process).is_some_and(|(state, of)| of == parent && state != 'Z'))
        .collect();
    children.sort_unstable();
    children
}

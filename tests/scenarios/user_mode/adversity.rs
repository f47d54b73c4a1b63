//! What the host can do to it: kill it or its programs, run out of memory, mappings, processes. Nothing of it is left
//! behind, however it ends.

use super::terminal::{OnTerminal, alive, children, send};
use super::{PATIENCE, program, run_patiently, said};
use anyhow::{Context, Result, bail, ensure};
use gnomon_tests::archive::Archive;
use gnomon_tests::{failure, programs};
use gnomon_tools::workspace;
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a machine is brought to its end.
type Ending = fn(&OnTerminal) -> Result<()>;

pub fn leaves_nothing_behind() -> Result<()> {
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
pub fn survives_a_killed_program() -> Result<()> {
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

pub fn panics_when_init_is_killed() -> Result<()> {
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
pub fn notices_a_killed_sleeper() -> Result<()> {
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
pub fn ends_without_its_first_process() -> Result<()> {
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
pub fn ends_without_memory() -> Result<()> {
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
pub fn outlives_a_shortage() -> Result<()> {
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
pub fn does_without_more_mappings() -> Result<()> {
    let initrd = archive_with("many-mappings")?;
    let words = ["mem=768M", "quiet", "--stats", &initrd, "--", "run", "/many-mappings"];
    let output = run_patiently(&words, "", Duration::from_secs(120))?;
    ensure!(said(&output).contains("all pages hold"), "{}", said(&output));
    Ok(())
}

/// A host lets a user have only so many processes and threads. What it refuses is refused to the program that asked.
pub fn does_without_more_processes() -> Result<()> {
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
        "after the threads as many processes are made",
        "init: exit status 0",
    ] {
        ensure!(said.contains(sentence), "it does not say {sentence:?}:\n{said}");
    }
    Ok(())
}

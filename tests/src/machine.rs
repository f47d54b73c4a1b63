//! A machine as a scenario holds it: boot, type, expect, and at the end say how it should have ended.
//!
//! Every wait has an end. When it comes, the message says what was waited for, after which keys, shows the last lines of
//! the console, names the log, and, where the backend knows, the function in which each processor stands. A kernel
//! panic ends any wait at once, for what is waited for will not come any more.

use crate::backend::{Backend, Ending, Guest, STOPPED, Share};
use crate::boot::Boot;
use crate::failure::Result;
use crate::transcript::Transcript;
use anyhow::{Context, anyhow};
use gnomon_tools::workspace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long any one wait lasts unless the scenario says otherwise. Generous: an emulated machine on a busy host is slow,
/// and a machine that works never comes near it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The prompt of the shells that scenarios talk to: `/ # `, `~ # `, `# `.
pub const PROMPT: &str = "# ";

/// How old a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// Since it was started.
    pub whole: Duration,
    /// What it had of the host's CPUs in that time.
    pub share: Share,
}

impl Age {
    /// What the machine itself took: the part in which it did not wait for other programs of the host. Its threads may have
    /// waited for each other, so it is not less than the time in which they ran.
    pub fn own(&self) -> Duration {
        self.whole.saturating_sub(self.share.waited).max(self.share.ran.min(self.whole))
    }
}

/// A place for one machine, empty at first.
pub struct Machine {
    backend: &'static dyn Backend,
    /// What the logs are called: `scenario.backend`.
    name: String,
    boots: usize,
    patience: Duration,
    running: Option<Running>,
    typed: String,
}

struct Running {
    guest: Box<dyn Guest>,
    console: Transcript,
    at_end: bool,
    panic_is_expected: bool,
}

impl Machine {
    /// For the scenario of this name; the name gives the logs theirs.
    pub fn new(backend: &'static dyn Backend, scenario: &str) -> Machine {
        let name = format!("{scenario}.{}", backend.name());
        Machine { backend, name, boots: 0, patience: PATIENCE, running: None, typed: String::new() }
    }

    /// Another machine of the same kind, for a scenario that needs two at once.
    pub fn another(&self, scenario: &str) -> Machine {
        Machine::new(self.backend, scenario)
    }

    /// The backend's name, for the few scenarios that expect different things of different machines.
    pub fn backend(&self) -> &'static str {
        self.backend.name()
    }

    /// Sets how long each later wait may last.
    pub fn patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Boots, ending what ran before.
    pub fn boot(&mut self, boot: Boot) -> Result {
        self.running = None;
        self.boots += 1;
        let stem = crate::results().join(match self.boots {
            1 => self.name.clone(),
            many => format!("{}-{many}", self.name),
        });
        let with = |extension| PathBuf::from(format!("{}.{extension}", stem.display()));
        let console = Transcript::new(with("log")).context("cannot make the log")?;
        let guest = self.backend.start(&boot, &with("boot"))?;
        self.running = Some(Running { guest, console, at_end: false, panic_is_expected: false });
        self.typed = String::new();
        Ok(())
    }

    /// Waits for a text; returns what was printed before it.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        Ok(self.expect_one(&[text])?.1)
    }

    /// Waits for the first of several texts; returns which, and what was printed before it.
    pub fn expect_one(&mut self, texts: &[&str]) -> Result<(usize, String)> {
        let deadline = Instant::now() + self.patience;
        let mut searched = 0;
        loop {
            let running = self.running()?;
            if let Some(found) = running.console.find(texts, &mut searched) {
                return Ok(found);
            }
            if running.has_panicked() {
                self.read_to_end();
                return Err(self.panicked(&format!("while {} was awaited", quoted(texts))));
            }
            if running.at_end {
                let how = self.wait_for_end()?;
                return Err(self.wrong(&format!("the machine {how} while {} was awaited", quoted(texts))));
            }
            if !self.read_until(deadline)? {
                let waited = self.patience;
                return Err(
                    self.wrong(&format!("timed out after {waited:.1?} waiting for {}", quoted(texts)))
                );
            }
        }
    }

    /// Types text as it is.
    pub fn send(&mut self, text: &str) -> Result {
        self.typed = text.to_string();
        let running = self.running()?;
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let written =
                rustix::io::write(running.guest.input(), rest).context("cannot type: the machine is gone")?;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Types a line and waits until the terminal has shown it, so that what is expected next is not its echo.
    pub fn type_line(&mut self, line: &str) -> Result {
        self.send(&format!("{line}\r"))?;
        self.expect(line)?;
        self.expect("\n")?;
        Ok(())
    }

    /// Types a key with Control held: `control('c')`.
    pub fn control(&mut self, key: char) -> Result {
        let code = (key.to_ascii_uppercase() as u8) & 0x1f;
        self.send(&char::from(code).to_string())?;
        self.typed = format!("^{}", key.to_ascii_uppercase());
        Ok(())
    }

    /// Runs one command of a shell that stands at its prompt; returns what it printed.
    pub fn command(&mut self, line: &str) -> Result<String> {
        self.type_line(line)?;
        self.expect(PROMPT).map(|output| {
            // The prompt's own line (`/ # `) begins after the last newline.
            output.rsplit_once('\n').map_or(String::new(), |(before, _)| before.to_string() + "\n")
        })
    }

    /// Runs a command that must print this and nothing else.
    pub fn command_prints(&mut self, line: &str, wanted: &str) -> Result {
        let printed = self.command(line)?;
        if printed.trim_end() != wanted {
            let (wanted, printed) = (indent(wanted), indent(&printed));
            return Err(self.wrong(&format!("it should have printed\n{wanted}\nbut printed\n{printed}\n")));
        }
        Ok(())
    }

    /// What was printed and not yet expected, after waiting a moment for more.
    pub fn drain(&mut self, moment: Duration) -> Result<String> {
        let deadline = Instant::now() + moment;
        while self.read_until(deadline)? && !self.running()?.at_end {}
        let console = &mut self.running()?.console;
        let text = console.unread();
        console.skip_all();
        Ok(text)
    }

    /// Time since the machine was started, and what it had of the host's CPUs.
    pub fn age(&mut self) -> Result<Age> {
        let guest = &self.running()?.guest;
        let whole = guest.started().elapsed();
        Ok(Age { whole, share: guest.share() })
    }

    /// Waits for the end and returns everything printed on the way that was not yet expected.
    pub fn expect_end(&mut self, wanted: Ending) -> Result<String> {
        let how = self.wait_for_end()?;
        let running = self.running()?;
        let text = running.console.unread();
        if running.has_panicked() {
            return Err(self.panicked("on the way to its end"));
        }
        if how != wanted {
            return Err(self.wrong(&format!("the machine {how}; it should have {wanted}")));
        }
        Ok(text)
    }

    /// Waits for a power-off.
    pub fn expect_power_off(&mut self) -> Result<String> {
        self.expect_end(Ending::PoweredOff)
    }

    /// Waits for a kernel panic with this reason, and for the machine to stop with the status of a panic; returns the
    /// message and all that followed it.
    pub fn expect_panic(&mut self, reason: &str) -> Result<String> {
        self.running()?.panic_is_expected = true;
        let how = self.wait_for_end()?;
        let Some(panic) = self.running()?.console.panic() else {
            return Err(self.wrong(&format!("no kernel panic was printed; the machine {how}")));
        };
        let first = panic.lines().next().unwrap_or_default();
        if !first.contains(reason) {
            return Err(self.wrong(&format!("the panic should say `{reason}` but says `{first}`")));
        }
        if how != Ending::Panicked {
            return Err(
                self.wrong(&format!("after its panic the machine {how} instead of stopping as panicked"))
            );
        }
        Ok(panic)
    }

    /// Waits for either of the two endings that bad input may have; returns which.
    pub fn expect_panic_or_power_off(&mut self) -> Result<Ending> {
        self.running()?.panic_is_expected = true;
        let how = self.wait_for_end()?;
        match how {
            Ending::PoweredOff | Ending::Panicked => Ok(how),
            other => Err(self.wrong(&format!("the machine {other}; it should have panicked or powered off"))),
        }
    }

    /// Waits until the machine ended as powered off, or every processor has stopped for good: all that a machine
    /// without a way to power off can do.
    pub fn expect_stand_still(&mut self) -> Result {
        // QEMU is not asked before it had its time to end: a question that meets its end can leave it hanging.
        let ask_from = Instant::now() + Duration::from_secs(3);
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            self.read_until(Instant::now() + Duration::from_millis(100))?;
            let running = self.running()?;
            match running.guest.ended()? {
                Some(Ending::PoweredOff) => return Ok(()),
                Some(other) => {
                    return Err(self.wrong(&format!("the machine {other}; it should have powered off")));
                }
                None if running.at_end => std::thread::sleep(Duration::from_millis(2)),
                None if Instant::now() < ask_from => {}
                None => {
                    let position = running.guest.position().unwrap_or_default();
                    if !position.is_empty() && position.lines().all(|line| line.ends_with(STOPPED)) {
                        return Ok(());
                    }
                }
            }
        }
        Err(self.wrong("the machine goes on and on after its power-off"))
    }

    /// The whole console so far.
    pub fn everything(&mut self) -> Result<String> {
        Ok(self.running()?.console.text())
    }

    /// Waits until the machine has ended by itself.
    fn wait_for_end(&mut self) -> Result<Ending> {
        let deadline = Instant::now() + self.patience;
        loop {
            let running = self.running()?;
            // The last words lie in the pipe when the process is already gone: read to the end first.
            if running.at_end {
                if let Some(how) = running.guest.ended()? {
                    return Ok(how);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            if Instant::now() > deadline || (!self.running()?.at_end && !self.read_until(deadline)?) {
                let waited = self.patience;
                return Err(
                    self.wrong(&format!("timed out after {waited:.1?} waiting for the machine to end"))
                );
            }
        }
    }

    /// After a panic: takes in what is still being printed, for a short while.
    fn read_to_end(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(3);
        while matches!(self.read_until(deadline), Ok(true))
            && self.running().is_ok_and(|running| !running.at_end)
        {}
    }

    /// Reads what there is, waiting for it until the deadline; false when the deadline passed.
    fn read_until(&mut self, deadline: Instant) -> Result<bool> {
        let running = self.running()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::from_borrowed_fd(running.guest.output(), PollFlags::IN)];
        let timeout = Timespec::try_from(left).context("a wait that long is none")?;
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; 4096];
        match rustix::io::read(running.guest.output(), &mut buffer) {
            // A pty whose other end is closed for good says EIO.
            Ok(0) | Err(rustix::io::Errno::IO) => running.at_end = true,
            Ok(count) => running.console.take_in(&buffer[..count])?,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| anyhow!("the scenario has not booted a machine"))
    }

    /// A failure with all that helps to understand it: what was typed last, the end of the console, the log's place,
    /// and where the processors stand.
    pub fn wrong(&mut self, sentence: &str) -> anyhow::Error {
        let typed = match self.typed.trim_end() {
            "" => String::new(),
            typed => format!(" (after typing {typed:?})"),
        };
        let Some(running) = self.running.as_mut() else { return anyhow!("{sentence}") };
        let mut text =
            format!("{sentence}{typed}\nlast lines of the console:\n{}", running.console.last_lines(25));
        if let Some(position) = running.guest.position().filter(|position| !position.is_empty()) {
            text += &format!("{}\n", indent(&position));
        }
        anyhow!("{text}{}", running.log_place())
    }

    /// The failure that a panic nobody expected is; shows its whole message.
    fn panicked(&mut self, when: &str) -> anyhow::Error {
        let Some(running) = self.running.as_mut() else { return anyhow!("the kernel panicked {when}") };
        let block = running.console.panic().unwrap_or_default();
        anyhow!("the kernel panicked {when}:\n{}\n{}", indent(&block), running.log_place())
    }
}

impl Running {
    fn has_panicked(&self) -> bool {
        !self.panic_is_expected && self.console.panic().is_some()
    }

    fn log_place(&self) -> String {
        format!("console log: {}", workspace::shown(self.console.path()))
    }
}

fn quoted(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" or ")
}

/// Each line four columns in, as messages show what a machine printed.
pub fn indent(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

//! A machine on a terminal, and the host processes of its programs.

use super::{PATIENCE, program};
use anyhow::{Context, Result, bail, ensure};
use gnomon_tests::pty;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::tcgetattr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A machine with a terminal of its own.
pub struct OnTerminal {
    pub child: Child,
    keyboard: File,
    /// Its end of the terminal, kept open so that its state can be asked for.
    pub screen: File,
    before: rustix::termios::Termios,
    printed: Arc<Mutex<Vec<u8>>>,
    mark: usize,
}

impl OnTerminal {
    pub fn start(words: &[&str]) -> Result<OnTerminal> {
        Self::start_by(Command::new(program()).args(words))
    }

    pub fn start_by(command: &mut Command) -> Result<OnTerminal> {
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

    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().expect("no holder of this lock panics")).into_owned()
    }

    pub fn type_keys(&self, keys: &str) -> Result<()> {
        Ok((&self.keyboard).write_all(keys.as_bytes())?)
    }

    /// Waits for a text behind the last one that was waited for.
    pub fn expect(&mut self, text: &str) -> Result<()> {
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

    pub fn end(&mut self) -> Result<ExitStatus> {
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
    pub fn host_processes(&self, count: usize) -> Result<Vec<u32>> {
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
    pub fn is_gone(&self, host_processes: &[u32]) -> Result<()> {
        ensure!(self.is_restored()?, "the terminal is left raw");
        ensure!(!host_processes.iter().any(|process| alive(*process)), "host processes are left");
        Ok(())
    }

    /// Whether the terminal is as it was before the machine began.
    pub fn is_restored(&self) -> Result<bool> {
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

pub fn send(process: u32, signal: Signal) -> Result<()> {
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

pub fn alive(process: u32) -> bool {
    state(process).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// Living children of a process, the oldest first as long as numbers have not wrapped around.
pub fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children: Vec<u32> = numbers
        .filter(|process| state(*process).is_some_and(|(state, of)| of == parent && state != 'Z'))
        .collect();
    children.sort_unstable();
    children
}

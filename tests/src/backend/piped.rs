//! A machine that is a child process of ours, its console on a pair of pipes.
//!
//! Pipes and not a socket: nothing to connect, nothing left behind, and end of file on the one means the process is gone.

use super::{Ending, Guest, Share, waiting};
use crate::failure::Result;
use anyhow::Context;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// What is to be known of one kind of such machines.
pub trait Kind {
    /// What its exit status means, and what it complained of.
    fn ending(&self, status: ExitStatus, complaints: &str) -> Ending;

    /// As [`Guest::position`].
    fn position(&mut self) -> Option<String> {
        None
    }
}

/// A running machine of this kind.
pub struct Piped<K> {
    child: Child,
    started: Instant,
    complaints: PathBuf,
    kind: K,
}

impl<K: Kind> Piped<K> {
    /// Starts it. What it writes to standard error comes into the file `complaints`, which is left only if there was any.
    pub fn start(mut command: Command, complaints: PathBuf, kind: K) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&complaints)?);
        let started = Instant::now();
        let program = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, started, complaints, kind })
    }
}

impl<K: Kind> Guest for Piped<K> {
    fn started(&self) -> Instant {
        self.started
    }

    fn share(&self) -> Share {
        waiting::share(self.child.id())
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.child.stdout.as_ref().expect("made with a pipe").as_fd()
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.child.stdin.as_ref().expect("made with a pipe").as_fd()
    }

    fn ended(&mut self) -> Result<Option<Ending>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        let complaints = std::fs::read_to_string(&self.complaints).unwrap_or_default();
        Ok(Some(self.kind.ending(status, complaints.trim())))
    }

    fn position(&mut self) -> Option<String> {
        self.kind.position()
    }
}

impl<K> Drop for Piped<K> {
    fn drop(&mut self) {
        // An error only says that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::fs::metadata(&self.complaints).is_ok_and(|file| file.len() == 0) {
            let _ = std::fs::remove_file(&self.complaints);
        }
    }
}

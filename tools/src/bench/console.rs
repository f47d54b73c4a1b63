//! A started machine, and what it prints, with the moment at which each piece came.

use anyhow::{Context, Result, bail};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A running machine. Ended, with all processes it made, when dropped.
pub struct Console {
    child: Child,
    started: Instant,
    pieces: Receiver<(Instant, Vec<u8>)>,
    /// What was printed and not yet asked for.
    unread: String,
    deadline: Instant,
}

impl Console {
    /// Starts a machine, which has `limit` to come to its end. Its input stays open and empty.
    pub fn start(command: &mut Command, limit: Duration) -> Result<Console> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        crate::terminal::end_with_us(command);
        let started = Instant::now();
        let mut child = command.spawn().context("a machine could not be started")?;
        let mut output = child.stdout.take().context("made with a pipe")?;
        let (sender, pieces) = channel();
        // A thread of its own stamps each piece when it comes, whatever is being done with the last one.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if sender.send((Instant::now(), buffer[..length].to_vec())).is_err() {
                    break;
                }
            }
        });
        Ok(Console { child, started, pieces, unread: String::new(), deadline: started + limit })
    }

    /// The next piece's moment; none at the end.
    fn next(&mut self) -> Result<Option<Instant>> {
        match self.pieces.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok((moment, bytes)) => {
                self.unread.push_str(&String::from_utf8_lossy(&bytes));
                Ok(Some(moment))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("it took too long; the last it said: {}", self.last()),
        }
    }

    fn last(&self) -> &str {
        let end = self.unread.trim_end();
        end.rsplit('\n').next().unwrap_or_default().trim()
    }

    /// Time from the start until `text` came.
    pub fn wait_for(&mut self, text: &str) -> Result<Duration> {
        let mut moment = Instant::now();
        loop {
            if let Some(place) = self.unread.find(text) {
                self.unread.drain(..place + text.len());
                return Ok(moment - self.started);
            }
            moment = match self.next()? {
                Some(moment) => moment,
                None => bail!("it ended before {text:?} came; the last it said: {}", self.last()),
            };
        }
    }

    /// The next whole line; none at the end.
    pub fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(place) = self.unread.find('\n') {
                return Ok(Some(self.unread.drain(..=place).collect()));
            }
            if self.next()?.is_none() {
                return Ok(None);
            }
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // User-mode Linux is many processes: the group is ended, not the first of them. An error says that it is gone.
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Console {
        Console::start(Command::new("sh").args(["-c", script]), limit).unwrap()
    }

    #[test]
    fn what_is_printed_is_found_in_order() {
        let mut console = shell("printf 'one\\ntwo # '; sleep 100", Duration::from_secs(50));
        assert!(console.wait_for("one").unwrap() <= console.wait_for("# ").unwrap());
    }

    #[test]
    fn lines_come_until_the_end() {
        let mut console = shell("printf 'one\\ntwo\\nthr'", Duration::from_secs(50));
        assert_eq!(console.line().unwrap().as_deref(), Some("one\n"));
        assert_eq!(console.line().unwrap().as_deref(), Some("two\n"));
        assert_eq!(console.line().unwrap(), None);
    }

    #[test]
    fn waiting_has_an_end() {
        let error = shell("echo before; sleep 100", Duration::from_millis(300)).wait_for("x").unwrap_err();
        assert!(error.to_string().contains("the last it said: before"), "{error}");
        let error = shell("echo gone", Duration::from_secs(50)).wait_for("x").unwrap_err();
        assert!(error.to_string().contains("ended before"), "{error}");
    }
}

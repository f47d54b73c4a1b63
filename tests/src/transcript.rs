//! Everything one machine printed, with a mark: what lies before it has been read by the scenario.
//!
//! The mark is what makes `expect` honest. A text is looked for only *after* the last text found, so a prompt that was
//! printed once cannot satisfy two waits. All bytes also go to a log file at once: when a test hangs and is killed from
//! outside, the log is already there.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a kernel prints when it gives up; the first is ours, the second Linux's.
const PANICS: [&str; 2] = ["kernel panic: ", "Kernel panic - not syncing"];

/// The console of one boot.
pub struct Transcript {
    bytes: Vec<u8>,
    mark: usize,
    /// Where the message of a panic begins.
    panic: Option<usize>,
    log: File,
    path: PathBuf,
}

impl Transcript {
    /// Starts an empty transcript, logged to `path`.
    pub fn new(path: PathBuf) -> std::io::Result<Transcript> {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        Ok(Transcript { bytes: Vec::new(), mark: 0, panic: None, log: File::create(&path)?, path })
    }

    /// Adds what just arrived.
    pub fn take_in(&mut self, new: &[u8]) -> std::io::Result<()> {
        let old = self.bytes.len();
        self.bytes.extend_from_slice(new);
        if self.panic.is_none() {
            let from = old.saturating_sub(longest(&PANICS));
            let found = PANICS.iter().filter_map(|text| position(&self.bytes[from..], text.as_bytes())).min();
            self.panic = found.map(|at| from + at);
        }
        self.log.write_all(new)
    }

    /// The first of `patterns` to occur after the mark, and the text before it. Moves the mark behind it.
    ///
    /// "First" is by place in the text, then by place in the list, so `["# ", "not found"]` does what it reads like.
    /// `searched` is 0 at the first try; later tries for the same patterns go on from where it was left, because a
    /// serial line hands over a few bytes at a time and much may lie before what is waited for.
    pub fn find(&mut self, patterns: &[&str], searched: &mut usize) -> Option<(usize, String)> {
        let from = self.mark.max(*searched);
        let found = patterns.iter().enumerate().filter_map(|(which, pattern)| {
            Some((from + position(&self.bytes[from..], pattern.as_bytes())?, which))
        });
        let Some((at, which)) = found.min() else {
            *searched = self.bytes.len().saturating_sub(longest(patterns));
            return None;
        };
        let before = clean(&self.bytes[self.mark..at]);
        self.mark = at + patterns[which].len();
        Some((which, before))
    }

    /// What has not been read yet, as text.
    pub fn unread(&self) -> String {
        clean(&self.bytes[self.mark..])
    }

    /// Moves the mark to the end.
    pub fn skip_all(&mut self) {
        self.mark = self.bytes.len();
    }

    /// The panic message and what followed, if a *complete* line of the whole transcript is one.
    pub fn panic(&self) -> Option<String> {
        let block = &self.bytes[self.panic?..];
        block.contains(&b'\n').then(|| clean(block))
    }

    /// All of it.
    pub fn text(&self) -> String {
        clean(&self.bytes)
    }

    /// The last `count` lines, indented, for a message.
    pub fn last_lines(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let tail = &lines[lines.len().saturating_sub(count)..];
        if tail.is_empty() {
            return "    (nothing was printed)\n".to_string();
        }
        tail.iter().map(|line| format!("    {line}\n")).collect()
    }

    /// The log file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Console bytes as a person would read them: no carriage returns, no escape sequences of a line editor.
///
/// Only for text handed out; patterns are matched against the bytes as they came.
fn clean(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let decoded = String::from_utf8_lossy(bytes);
    let mut characters = decoded.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {}
            '\x1b' if characters.peek() == Some(&'[') => {
                // A control sequence: parameters, then one letter that ends it.
                characters.by_ref().skip(1).find(|c| ('@'..='~').contains(c));
            }
            other => text.push(other),
        }
    }
    text
}

fn longest(patterns: &[&str]) -> usize {
    patterns.iter().map(|pattern| pattern.len()).max().unwrap_or(0)
}

fn position(text: &[u8], pattern: &[u8]) -> Option<usize> {
    if pattern.is_empty() {
        return Some(0);
    }
    text.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, text: &str) -> Transcript {
        let path = crate::results().join("unit").join(format!("{name}.log"));
        let mut transcript = Transcript::new(path).unwrap();
        transcript.take_in(text.as_bytes()).unwrap();
        transcript
    }

    #[test]
    fn the_mark_moves_and_nothing_is_found_twice() {
        let mut transcript = with("mark", "# hi\n# ");
        assert_eq!(transcript.find(&["# "], &mut 0), Some((0, String::new())));
        assert_eq!(transcript.find(&["# "], &mut 0), Some((0, "hi\n".to_string())));
        assert_eq!(transcript.find(&["# "], &mut 0), None);
    }

    #[test]
    fn the_earliest_of_several_wins() {
        let mut transcript = with("several", "a: not found\n# ");
        assert_eq!(transcript.find(&["# ", "not found"], &mut 0), Some((1, "a: ".to_string())));
    }

    #[test]
    fn a_text_that_arrives_in_pieces_is_found() {
        let mut transcript = with("pieces", "logi");
        let mut searched = 0;
        assert_eq!(transcript.find(&["login"], &mut searched), None);
        transcript.take_in(b"n: ").unwrap();
        assert_eq!(transcript.find(&["login"], &mut searched), Some((0, String::new())));
    }

    #[test]
    fn a_panic_is_noticed_once_its_line_is_whole() {
        let mut transcript = with("panic", "fine\n[ 0.1] kernel pa");
        transcript.take_in(b"nic: out of ideas").unwrap();
        assert_eq!(transcript.panic(), None);
        transcript.take_in(b" at main.rs:1\nrip 0\n").unwrap();
        assert_eq!(transcript.panic().unwrap(), "kernel panic: out of ideas at main.rs:1\nrip 0\n");
        assert!(with("linux", "Kernel panic - not syncing: x\n").panic().is_some());
        assert_eq!(with("none", "all is well, panic is far\n").panic(), None);
    }

    #[test]
    fn text_is_handed_out_clean() {
        assert_eq!(with("clean", "\x1b[6n/ # \x1b[Jhi\r\n").unread(), "/ # hi\n");
    }

    #[test]
    fn the_log_has_every_byte() {
        let transcript = with("log", "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(transcript.path()).unwrap(), "one\ntwo\n");
        assert_eq!(transcript.last_lines(1), "    two\n");
    }
}

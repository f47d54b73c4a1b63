//! What happens between a wire and a program: editing of lines, echo, and the bytes that mean signals, termios(3).
//!
//! A plain value: bytes go in with [`LineDiscipline::receive`], come out through `echo` and to who reads; what else they
//! mean is returned. It knows no task and no lock, so its rules can be tested.

use super::{
    output::OutputProcessor,
    termios::{Input, Local, Special, Termios},
};
use crate::abi::{Result, Signal};
use alloc::{collections::VecDeque, vec::Vec};

/// The most bytes kept for readers; one place is left for the end of the line.
const CAPACITY: usize = 4095;
const BELL: u8 = 7;

/// The input side of a terminal.
#[derive(Default)]
pub struct LineDiscipline {
    /// What can be read: in canonical mode whole lines only.
    ready: VecDeque<u8>,
    /// In canonical mode: how long each line in `ready` is, what was read of the first already taken off. A line may be
    /// empty: it ends the file.
    lines: VecDeque<usize>,
    /// The line that is still being edited.
    editing: Vec<u8>,
    /// Where the line began on the screen.
    start_column: usize,
    /// The next byte loses its meaning.
    literal: bool,
}

/// What a byte that came in means beyond its being input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// Nothing beyond.
    Input,
    /// For the foreground group.
    Signal(Signal),
    /// Output is to stop.
    Stop,
    /// Output may go on.
    Start,
}

/// Which bytes mean a signal.
const SIGNALS: [(Special, Signal); 3] = [
    (Special::Interrupt, Signal::SIGINT),
    (Special::Quit, Signal::SIGQUIT),
    (Special::Suspend, Signal::SIGTSTP),
];

/// Where the echo goes.
pub struct Echo<'a> {
    /// The terminal's output side.
    pub output: &'a mut OutputProcessor,
    /// The wire.
    pub write: &'a mut dyn FnMut(&[u8]),
}

impl Echo<'_> {
    fn send(&mut self, bytes: &[u8], termios: &Termios) {
        self.output.process(bytes, termios, self.write);
    }
}

impl LineDiscipline {
    /// Whether the wire should bring more. Not when the buffer is full of what can be read; but a line that is too
    /// long to be ended must not keep away the key that deletes it.
    pub fn has_room(&self, termios: &Termios) -> bool {
        let edits = termios.is_canonical() && self.lines.is_empty();
        edits || self.ready.len() + self.editing.len() < CAPACITY
    }

    /// Takes a byte from the wire.
    pub fn receive(&mut self, byte: u8, termios: &Termios, echo: &mut Echo<'_>) -> Meaning {
        let (input, local) = (termios.input(), termios.local());
        let byte = if input.contains(Input::ISTRIP) { byte & 0x7f } else { byte };
        if core::mem::take(&mut self.literal) {
            self.add(byte, termios, echo);
            return Meaning::Input;
        }
        if input.contains(Input::IXON) {
            if termios.is(byte, Special::Start) {
                return Meaning::Start;
            }
            if termios.is(byte, Special::Stop) {
                return Meaning::Stop;
            }
        }
        if local.contains(Local::ISIG)
            && let Some((_, signal)) = SIGNALS.iter().find(|(special, _)| termios.is(byte, *special))
        {
            if !local.contains(Local::NOFLSH) {
                self.flush();
            }
            if local.contains(Local::ECHO) {
                echo_byte(byte, termios, echo);
            }
            return Meaning::Signal(*signal);
        }
        let byte = match byte {
            b'\r' if input.contains(Input::IGNCR) => return Meaning::Input,
            b'\r' if input.contains(Input::ICRNL) => b'\n',
            b'\n' if input.contains(Input::INLCR) => b'\r',
            byte => byte,
        };
        if !(local.contains(Local::ICANON) && self.edit(byte, termios, echo)) {
            self.add(byte, termios, echo);
        }
        Meaning::Input
    }

    /// Whether the byte was one that edits or ends the line, and so has been dealt with.
    fn edit(&mut self, byte: u8, termios: &Termios, echo: &mut Echo<'_>) -> bool {
        let local = termios.local();
        let extended = local.contains(Local::IEXTEN);
        let echoes = local.contains(Local::ECHO);
        if termios.is(byte, Special::Erase) {
            self.erase(1, byte, termios, echo);
        } else if termios.is(byte, Special::WordErase) && extended {
            self.erase(self.last_word(), byte, termios, echo);
        } else if termios.is(byte, Special::Kill) {
            self.kill(byte, termios, echo);
        } else if termios.is(byte, Special::LiteralNext) && extended {
            self.literal = true;
            if echoes && local.contains(Local::ECHOCTL) {
                echo.send(b"^\x08", termios);
            }
        } else if termios.is(byte, Special::Reprint) && extended && echoes {
            echo_byte(byte, termios, echo);
            echo.send(b"\n", termios);
            self.editing.iter().for_each(|&byte| echo_byte(byte, termios, echo));
        } else if byte == b'\n' {
            if local.intersects(Local::ECHO | Local::ECHONL) {
                echo.send(b"\n", termios);
            }
            self.end_line(Some(byte));
        } else if termios.is(byte, Special::EndOfFile) {
            self.end_line(None);
        } else if termios.is(byte, Special::EndOfLine) || (termios.is(byte, Special::EndOfLine2) && extended)
        {
            if echoes {
                echo_byte(byte, termios, echo);
            }
            self.end_line(Some(byte));
        } else {
            return false;
        }
        true
    }

    fn end_line(&mut self, last: Option<u8>) {
        self.editing.extend(last);
        self.lines.push_back(self.editing.len());
        self.ready.extend(self.editing.drain(..));
    }

    fn add(&mut self, byte: u8, termios: &Termios, echo: &mut Echo<'_>) {
        if self.ready.len() + self.editing.len() >= CAPACITY {
            if termios.input().contains(Input::IMAXBEL) {
                echo.send(&[BELL], termios);
            }
            return;
        }
        let canonical = termios.is_canonical();
        if canonical && self.editing.is_empty() {
            self.start_column = echo.output.column();
        }
        if termios.local().contains(Local::ECHO) {
            match byte {
                b'\n' => echo.send(b"\n", termios),
                byte => echo_byte(byte, termios, echo),
            }
        }
        match canonical {
            true => self.editing.push(byte),
            false => self.ready.push_back(byte),
        }
    }

    /// Takes characters off the end of the line, and off the screen.
    fn erase(&mut self, count: usize, key: u8, termios: &Termios, echo: &mut Echo<'_>) {
        for _ in 0..count {
            let Some(mut byte) = self.editing.pop() else { return };
            // A character of UTF-8 goes as a whole: its later bytes are of the form 10xxxxxx.
            while termios.input().contains(Input::IUTF8) && byte & 0xc0 == 0x80 {
                match self.editing.pop() {
                    Some(previous) => byte = previous,
                    None => break,
                }
            }
            if !termios.local().contains(Local::ECHO) {
                continue;
            }
            if !termios.local().contains(Local::ECHOE) {
                echo_byte(key, termios, echo);
            } else if byte == b'\t' {
                let width = 8 - self.column_at_end(termios) % 8;
                (0..width).for_each(|_| echo.send(b"\x08", termios));
            } else {
                (0..width_of(byte, termios)).for_each(|_| echo.send(b"\x08 \x08", termios));
            }
        }
    }

    /// How many bytes the last word takes, with what is no letter behind it.
    fn last_word(&self) -> usize {
        let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let behind = self.editing.iter().rev().take_while(|byte| !is_word(byte)).count();
        behind + self.editing.iter().rev().skip(behind).take_while(is_word).count()
    }

    fn kill(&mut self, key: u8, termios: &Termios, echo: &mut Echo<'_>) {
        let local = termios.local();
        if local.contains(Local::ECHO | Local::ECHOE | Local::ECHOK | Local::ECHOKE) {
            self.erase(self.editing.len(), key, termios, echo);
            return;
        }
        self.editing.clear();
        if local.contains(Local::ECHO) {
            echo_byte(key, termios, echo);
            if local.contains(Local::ECHOK) {
                echo.send(b"\n", termios);
            }
        }
    }

    fn column_at_end(&self, termios: &Termios) -> usize {
        self.editing.iter().fold(self.start_column, |column, &byte| match byte {
            b'\t' => column / 8 * 8 + 8,
            byte => column + width_of(byte, termios),
        })
    }

    /// How many bytes one read could have now; in canonical mode `None` while there is no whole line.
    fn readable(&self, termios: &Termios) -> Option<usize> {
        match termios.is_canonical() {
            true => self.lines.front().copied(),
            false => Some(self.ready.len()),
        }
    }

    /// Whether a read of `room` bytes would be answered, if nothing else but the count of bytes mattered.
    pub fn has(&self, least: usize, termios: &Termios) -> bool {
        match self.readable(termios) {
            None => false,
            Some(_) if termios.is_canonical() => true,
            Some(count) => count >= least,
        }
    }

    /// How many bytes could be read, FIONREAD.
    pub fn length(&self) -> usize {
        self.ready.len()
    }

    /// Gives a reader up to `room` bytes, at most one line, by `put`, which tells how many it took.
    pub fn read(
        &mut self,
        room: usize,
        termios: &Termios,
        put: &mut dyn FnMut(&[u8]) -> Result<usize>,
    ) -> Result<usize> {
        let wanted = self.readable(termios).unwrap_or(0).min(room);
        let (front, back) = self.ready.as_slices();
        let front = &front[..wanted.min(front.len())];
        let back = &back[..wanted - front.len()];
        let mut taken = if front.is_empty() { 0 } else { put(front)? };
        if taken == front.len() && !back.is_empty() {
            taken += put(back).or_else(|error| if taken == 0 { Err(error) } else { Ok(0) })?;
        }
        self.ready.drain(..taken);
        if termios.is_canonical()
            && let Some(line) = self.lines.front_mut()
        {
            *line -= taken;
            if *line == 0 {
                self.lines.pop_front();
            }
        }
        Ok(taken)
    }

    /// Forgets everything not read yet.
    pub fn flush(&mut self) {
        self.ready.clear();
        self.lines.clear();
        self.editing.clear();
    }

    /// The mode changes: what was typed ahead is not lost.
    pub fn change(&mut self, old: &Termios, new: &Termios) {
        match (old.is_canonical(), new.is_canonical()) {
            (true, false) => {
                self.ready.extend(self.editing.drain(..));
                self.lines.clear();
            }
            (false, true) if !self.ready.is_empty() => self.lines.push_back(self.ready.len()),
            _ => {}
        }
    }
}

fn is_shown_as_two(byte: u8, termios: &Termios) -> bool {
    byte.is_ascii_control() && byte != b'\t' && termios.local().contains(Local::ECHOCTL)
}

fn width_of(byte: u8, termios: &Termios) -> usize {
    match byte {
        byte if is_shown_as_two(byte, termios) => 2,
        byte if byte.is_ascii_control() => 0,
        byte if termios.input().contains(Input::IUTF8) && byte & 0xc0 == 0x80 => 0,
        _ => 1,
    }
}

fn echo_byte(byte: u8, termios: &Termios, echo: &mut Echo<'_>) {
    match is_shown_as_two(byte, termios) {
        true => echo.send(&[b'^', byte ^ 0x40], termios),
        false => echo.send(&[byte], termios),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Desk {
        discipline: LineDiscipline,
        output: OutputProcessor,
        screen: Vec<u8>,
    }

    impl Desk {
        fn types(&mut self, keys: &[u8], termios: &Termios) -> Vec<Meaning> {
            let screen = &mut self.screen;
            let write = &mut |bytes: &[u8]| screen.extend_from_slice(bytes);
            let mut echo = Echo { output: &mut self.output, write };
            keys.iter().map(|&key| self.discipline.receive(key, termios, &mut echo)).collect()
        }

        fn reads(&mut self, room: usize, termios: &Termios) -> Vec<u8> {
            let mut read = Vec::new();
            self.discipline
                .read(room, termios, &mut |bytes| {
                    read.extend_from_slice(bytes);
                    Ok(bytes.len())
                })
                .unwrap();
            read
        }
    }

    #[test]
    fn a_line_is_edited_and_comes_whole() {
        let termios = Termios::default();
        let mut desk = Desk::default();
        desk.types(b"echx\x7fo hello wrold\x17world", &termios);
        assert!(!desk.discipline.has(1, &termios), "no line yet");
        desk.types(b"\r", &termios);
        assert!(desk.discipline.has(1, &termios));
        assert_eq!(desk.reads(5, &termios), b"echo ");
        assert_eq!(desk.reads(100, &termios), b"hello world\n");
        assert!(!desk.discipline.has(1, &termios));
        let erased = b"\x08 \x08".repeat(5);
        let expected = [&b"echx\x08 \x08o hello wrold"[..], &erased, b"world\r\n"].concat();
        assert_eq!(desk.screen, expected);
    }

    #[test]
    fn a_kill_takes_the_line_and_control_bytes_take_two_places() {
        let termios = Termios::default();
        let mut desk = Desk::default();
        desk.types(b"a\x16\x01b\x15\n", &termios);
        assert_eq!(desk.reads(10, &termios), b"\n");
        assert_eq!(desk.screen, [&b"a^\x08^Ab"[..], &b"\x08 \x08".repeat(4), b"\r\n"].concat());
    }

    #[test]
    fn a_tab_is_erased_to_where_it_began() {
        let termios = Termios::default();
        let mut desk = Desk::default();
        desk.types(b"ab\t\x7f", &termios);
        assert_eq!(desk.screen, [&b"ab\t"[..], &b"\x08".repeat(6)].concat());
    }

    #[test]
    fn the_end_of_file_key_ends_a_line_without_a_byte() {
        let termios = Termios::default();
        let mut desk = Desk::default();
        desk.types(b"ab\x04\x04", &termios);
        assert_eq!(desk.reads(10, &termios), b"ab");
        assert!(desk.discipline.has(1, &termios));
        assert_eq!(desk.reads(10, &termios), b"", "the end of the file");
        assert!(!desk.discipline.has(1, &termios));
    }

    #[test]
    fn signals_flush_what_was_typed() {
        let termios = Termios::default();
        let mut desk = Desk::default();
        assert_eq!(desk.types(b"x\x03", &termios)[1], Meaning::Signal(Signal::SIGINT));
        assert_eq!(
            desk.types(b"\x1c\x1a", &termios),
            [Meaning::Signal(Signal::SIGQUIT), Meaning::Signal(Signal::SIGTSTP)]
        );
        assert_eq!(desk.screen, b"x^C^\\^Z");
        desk.types(b"\n", &termios);
        assert_eq!(desk.reads(10, &termios), b"\n");
        assert_eq!(desk.types(b"\x13\x11", &termios), [Meaning::Stop, Meaning::Start]);
    }

    #[test]
    fn raw_bytes_come_as_they_are() {
        let raw = Termios::default().with_local(Local::empty(), Local::ICANON | Local::ECHO | Local::ISIG);
        let mut desk = Desk::default();
        assert!(!desk.discipline.has(1, &raw));
        desk.types(b"\x03\x7f\x04", &raw);
        assert!(desk.discipline.has(3, &raw) && !desk.discipline.has(4, &raw));
        assert_eq!(desk.reads(10, &raw), b"\x03\x7f\x04");
        assert!(desk.screen.is_empty());
    }

    #[test]
    fn typing_ahead_survives_a_change_of_mode() {
        let canonical = Termios::default();
        let raw = canonical.with_local(Local::empty(), Local::ICANON);
        let mut desk = Desk::default();
        desk.types(b"one\ntw", &canonical);
        desk.discipline.change(&canonical, &raw);
        assert_eq!(desk.reads(4, &raw), b"one\n");
        desk.discipline.change(&raw, &canonical);
        assert!(desk.discipline.has(1, &canonical));
        assert_eq!(desk.reads(10, &canonical), b"tw");
    }

    #[test]
    fn a_full_buffer_still_takes_the_end_of_the_line() {
        let termios = Termios::default();
        let mut desk = Desk::default();
        desk.types(&[b'a'; 5000], &termios);
        desk.types(b"\n", &termios);
        assert_eq!(desk.reads(10_000, &termios).len(), CAPACITY + 1);
    }

    #[test]
    fn what_can_be_read_is_not_crowded_out() {
        let termios = Termios::default();
        let mut desk = Desk::default();
        desk.types(&[b'a'; 5000], &termios);
        assert!(desk.discipline.has_room(&termios), "the line can still be deleted");
        desk.types(b"\n", &termios);
        assert!(!desk.discipline.has_room(&termios));
        desk.reads(100, &termios);
        assert!(desk.discipline.has_room(&termios));
        let raw = termios.with_local(Local::empty(), Local::ICANON);
        desk.types(&[b'a'; 200], &raw);
        assert!(!desk.discipline.has_room(&raw));
    }
}

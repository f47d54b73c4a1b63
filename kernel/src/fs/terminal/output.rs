//! What happens to bytes on their way to the screen: OPOST of termios(3).

use super::termios::{Output, Termios};

/// The output side of a terminal.
#[derive(Default)]
pub struct OutputProcessor {
    /// Where on the line the next character comes to stand.
    column: usize,
}

/// Columns from one tabulator stop to the next: the most that one byte can become.
pub const TAB: usize = 8;
const SPACES: [u8; TAB] = [b' '; TAB];

impl OutputProcessor {
    /// Where on the line the next character comes to stand.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Sends bytes out, changed as the terminal is set.
    pub fn process(&mut self, bytes: &[u8], termios: &Termios, write: &mut dyn FnMut(&[u8])) {
        let output = termios.output();
        if !output.contains(Output::OPOST) {
            write(bytes);
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            // Whatever has no meaning goes out in one piece.
            let plain = rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len());
            if plain > 0 {
                self.column += rest[..plain].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
                write(&rest[..plain]);
            }
            let Some(&byte) = rest.get(plain) else { return };
            rest = &rest[plain + 1..];
            self.control(byte, output, write);
        }
    }

    fn control(&mut self, byte: u8, output: Output, write: &mut dyn FnMut(&[u8])) {
        match byte {
            b'\n' if output.contains(Output::ONLCR) => {
                self.column = 0;
                write(b"\r\n");
            }
            b'\n' => {
                if output.contains(Output::ONLRET) {
                    self.column = 0;
                }
                write(b"\n");
            }
            b'\r' if output.contains(Output::ONOCR) && self.column == 0 => {}
            b'\r' => {
                self.column = 0;
                write(if output.contains(Output::OCRNL) { b"\n" } else { b"\r" });
            }
            b'\t' => {
                let width = TAB - self.column % TAB;
                self.column += width;
                match output.contains(Output::XTABS) {
                    true => write(&SPACES[..width]),
                    false => write(b"\t"),
                }
            }
            0x08 => {
                self.column = self.column.saturating_sub(1);
                write(&[byte]);
            }
            _ => write(&[byte]),
        }
    }
}

//! What a terminal does with bytes on their way: `struct termios`, termios(3).

use crate::abi::linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags::bitflags! {
    /// `c_iflag`: what is done with bytes that come in.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "termios(3) describes them")]
    pub struct Input: u32 {
        const ISTRIP = linux::ISTRIP;
        const INLCR = linux::INLCR;
        const IGNCR = linux::IGNCR;
        const ICRNL = linux::ICRNL;
        const IXON = linux::IXON;
        const IXANY = linux::IXANY;
        const IMAXBEL = linux::IMAXBEL;
        const IUTF8 = linux::IUTF8;
    }

    /// `c_oflag`: what is done with bytes that go out.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "termios(3) describes them")]
    pub struct Output: u32 {
        const OPOST = linux::OPOST;
        const ONLCR = linux::ONLCR;
        const OCRNL = linux::OCRNL;
        const ONOCR = linux::ONOCR;
        const ONLRET = linux::ONLRET;
        const XTABS = linux::XTABS;
    }

    /// `c_lflag`: editing, echo and signals.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs, reason = "termios(3) describes them")]
    pub struct Local: u32 {
        const ISIG = linux::ISIG;
        const ICANON = linux::ICANON;
        const ECHO = linux::ECHO;
        const ECHOE = linux::ECHOE;
        const ECHOK = linux::ECHOK;
        const ECHONL = linux::ECHONL;
        const NOFLSH = linux::NOFLSH;
        const TOSTOP = linux::TOSTOP;
        const ECHOCTL = linux::ECHOCTL;
        const ECHOKE = linux::ECHOKE;
        const IEXTEN = linux::IEXTEN;
    }
}

/// `struct termios` as the kernel has it (the C library's is longer).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termios {
    input: u32,
    output: u32,
    control: u32,
    local: u32,
    line: u8,
    characters: [u8; 19],
}

/// `struct termios2`: the same with speeds as numbers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termios2 {
    /// The part that both have.
    pub termios: Termios,
    input_speed: u32,
    output_speed: u32,
}

impl From<Termios> for Termios2 {
    fn from(termios: Termios) -> Self {
        const SPEED: u32 = 115_200;
        Self { termios, input_speed: SPEED, output_speed: SPEED }
    }
}

/// `struct winsize`, ioctl_tty(2): in characters and in dots; 0 where nobody has said.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs, reason = "ioctl_tty(2) describes them")]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
    pub width: u16,
    pub height: u16,
}

/// A byte with a meaning: its place in `c_cc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "termios(3) describes them")]
#[repr(usize)]
pub enum Special {
    Interrupt = linux::VINTR as usize,
    Quit = linux::VQUIT as usize,
    Erase = linux::VERASE as usize,
    Kill = linux::VKILL as usize,
    EndOfFile = linux::VEOF as usize,
    Time = linux::VTIME as usize,
    Minimum = linux::VMIN as usize,
    Start = linux::VSTART as usize,
    Stop = linux::VSTOP as usize,
    Suspend = linux::VSUSP as usize,
    EndOfLine = linux::VEOL as usize,
    Reprint = linux::VREPRINT as usize,
    WordErase = linux::VWERASE as usize,
    LiteralNext = linux::VLNEXT as usize,
    EndOfLine2 = linux::VEOL2 as usize,
}

impl Default for Termios {
    /// As Linux sets up a serial console.
    fn default() -> Self {
        let input = Input::ICRNL | Input::IXON;
        let output = Output::OPOST | Output::ONLCR;
        let local = Local::ISIG
            | Local::ICANON
            | Local::ECHO
            | Local::ECHOE
            | Local::ECHOK
            | Local::ECHOCTL
            | Local::ECHOKE
            | Local::IEXTEN;
        let mut characters = [0; 19];
        for (special, byte) in [
            (Special::Interrupt, control(b'C')),
            (Special::Quit, control(b'\\')),
            (Special::Erase, 0x7f),
            (Special::Kill, control(b'U')),
            (Special::EndOfFile, control(b'D')),
            (Special::Minimum, 1),
            (Special::Start, control(b'Q')),
            (Special::Stop, control(b'S')),
            (Special::Suspend, control(b'Z')),
            (Special::Reprint, control(b'R')),
            (Special::WordErase, control(b'W')),
            (Special::LiteralNext, control(b'V')),
        ] {
            characters[special as usize] = byte;
        }
        Self {
            input: input.bits(),
            output: output.bits(),
            control: linux::B115200 | linux::CS8 | linux::CREAD | linux::HUPCL | linux::CLOCAL,
            local: local.bits(),
            line: 0,
            characters,
        }
    }
}

/// The byte that a key gives together with Ctrl.
const fn control(key: u8) -> u8 {
    key ^ 0x40
}

impl Termios {
    /// What is done with bytes that come in.
    pub fn input(&self) -> Input {
        Input::from_bits_truncate(self.input)
    }

    /// What is done with bytes that go out.
    pub fn output(&self) -> Output {
        Output::from_bits_truncate(self.output)
    }

    /// Editing, echo and signals.
    pub fn local(&self) -> Local {
        Local::from_bits_truncate(self.local)
    }

    /// Whether input is edited and comes in lines.
    pub fn is_canonical(&self) -> bool {
        self.local().contains(Local::ICANON)
    }

    /// The number at a place of `c_cc`: for VMIN a count, for VTIME tenths of a second.
    pub fn number(&self, special: Special) -> u8 {
        self.characters[special as usize]
    }

    /// Whether a byte has this meaning. 0 in `c_cc` means that none has.
    pub fn is(&self, byte: u8, special: Special) -> bool {
        byte == self.number(special) && byte != 0
    }

    /// With some flags of `c_lflag` changed, for tests.
    #[cfg(test)]
    pub fn with_local(mut self, set: Local, cleared: Local) -> Self {
        self.local = self.local & !cleared.bits() | set.bits();
        self
    }

    /// With a number in `c_cc` changed, for tests.
    #[cfg(test)]
    pub fn with_number(mut self, special: Special, number: u8) -> Self {
        self.characters[special as usize] = number;
        self
    }
}

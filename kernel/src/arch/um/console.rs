//! The console: standard input and output.
//!
//! On a terminal the machine wants every key as it is pressed, control-C too, which is the guest's to interpret. So the
//! terminal is made raw, and put back whichever way the process ends: by power-off, by a panic, by a fault of its own, or
//! by a signal (power.rs). Only SIGKILL leaves no chance to act; `stty sane` mends the terminal then.
//!
//! A raw terminal that nobody can leave is a trap, so control-] three times within a second ends the machine from
//! outside, as it ends a container of systemd-nspawn(1).
//!
//! Input that is not a terminal comes to an end. A serial line has no such thing, but scripts count on it: after
//! `echo date | gnomon-um` the shell should find the end of its input. So once input has ended and the machine has nothing
//! to do, the console hears control-D, the character that means the end of input to a terminal, now and again for
//! as long as somebody keeps waiting.

use super::host;
use alloc::collections::VecDeque;
use core::{
    mem::MaybeUninit,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const INPUT: libc::c_int = 0;
const OUTPUT: libc::c_int = 1;

/// Input the kernel has not asked for yet is held back by the host beyond so many bytes.
const ENOUGH: usize = 4096;
/// Control-D.
const END_OF_INPUT: u8 = 4;
/// Control-].
const ESCAPE: u8 = 0x1d;

/// Bytes that have arrived. Taken by the interrupt thread and the kernel, each for a moment.
static ARRIVED: Mutex<VecDeque<u8>> = Mutex::new(VecDeque::new());
/// Nothing will arrive any more.
static ENDED: AtomicBool = AtomicBool::new(false);
/// The terminal's state before, if it was changed.
static BEFORE: spin::Once<libc::termios> = spin::Once::new();

fn arrived() -> MutexGuard<'static, VecDeque<u8>> {
    ARRIVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the terminal raw, if standard input is one.
pub fn make_raw() {
    let mut modes = MaybeUninit::uninit();
    // SAFETY: the call fills it in, or fails.
    if unsafe { libc::tcgetattr(INPUT, modes.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: it has been filled in.
    let before = *BEFORE.call_once(|| unsafe { modes.assume_init() });
    set_raw(before);
}

fn set_raw(mut modes: libc::termios) {
    // SAFETY: both work on a structure of ours.
    unsafe {
        libc::cfmakeraw(&mut modes);
        libc::tcsetattr(INPUT, libc::TCSANOW, &modes);
    }
}

/// After the process was stopped and goes on: the shell it was stopped from has put the terminal back.
pub fn make_raw_again() {
    if let Some(&before) = BEFORE.get() {
        set_raw(before);
    }
}

/// Puts the terminal back. May be called at any time, also in a signal handler.
pub fn restore() {
    if let Some(before) = BEFORE.get() {
        // SAFETY: the call only reads it.
        unsafe { libc::tcsetattr(INPUT, libc::TCSANOW, before) };
    }
}

/// The terminal's rows and columns, if they have changed since this was last asked.
pub fn resized() -> Option<(u16, u16)> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the call fills it in, or fails.
    host::result(unsafe { libc::ioctl(INPUT, libc::TIOCGWINSZ, size.as_mut_ptr()) }).ok()?;
    // SAFETY: it has been filled in.
    let libc::winsize { ws_row, ws_col, .. } = unsafe { size.assume_init() };
    let both = u32::from(ws_row) << 16 | u32::from(ws_col);
    // A terminal that does not know says zero.
    (both != 0 && LAST.swap(both, SeqCst) != both).then_some((ws_row, ws_col))
}

/// Writes everything, waiting for whoever reads. What cannot be written is lost, as on a line with nobody at its end.
pub fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the bytes are there.
        match host::result(unsafe { libc::write(OUTPUT, bytes.as_ptr().cast(), bytes.len()) }) {
            Ok(written) => bytes = &bytes[written as usize..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_output(),
            Err(_) => return,
        }
    }
}

/// Somebody has made the descriptor, which may be shared with other processes, non-blocking.
fn wait_for_output() {
    let mut polled = libc::pollfd { fd: OUTPUT, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, as it says.
    unsafe { libc::poll(&mut polled, 1, -1) };
}

/// The next byte that arrived.
pub fn read() -> Option<u8> {
    let mut arrived = arrived();
    let was_full = arrived.len() >= ENOUGH;
    let byte = arrived.pop_front();
    let has_room = arrived.len() < ENOUGH;
    drop(arrived);
    if was_full && has_room {
        super::interrupts::listen_for_input();
    }
    byte
}

/// What came of [`take_in`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// There is room for more.
    Wanted,
    /// Not before the kernel has read some of it.
    Full,
    /// There will be no more.
    Ended,
}

/// Reads what there is. For the interrupt thread, which knows that there is something.
pub fn take_in(escape: &mut Escape) -> Input {
    let mut buffer = [0_u8; ENOUGH];
    // SAFETY: the buffer is as long as it says.
    match host::result(unsafe { libc::read(INPUT, buffer.as_mut_ptr().cast(), buffer.len()) }) {
        Ok(0) => {}
        Ok(count) => {
            let bytes = &buffer[..count as usize];
            if BEFORE.get().is_some() && escape.is_in(bytes, Instant::now()) {
                super::power::leave_by_escape();
            }
            let mut arrived = arrived();
            arrived.extend(bytes);
            return if arrived.len() < ENOUGH { Input::Wanted } else { Input::Full };
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
            return Input::Wanted;
        }
        // A terminal whose other end is closed for good says EIO.
        Err(_) => {}
    }
    ENDED.store(true, SeqCst);
    Input::Ended
}

/// Whether input has ended and the kernel has had all of it.
pub fn is_at_end() -> bool {
    ENDED.load(SeqCst) && arrived().is_empty()
}

/// Lets the kernel hear of the end of input.
pub fn hear_end() {
    arrived().push_back(END_OF_INPUT);
}

/// The key that ends the machine when it is pressed three times within a second.
pub struct Escape {
    first: Instant,
    pressed: u32,
}

impl Escape {
    /// Not pressed yet.
    pub fn new() -> Self {
        Self { first: Instant::now(), pressed: 0 }
    }

    /// Whether these bytes, read now, complete it.
    fn is_in(&mut self, bytes: &[u8], now: Instant) -> bool {
        for &byte in bytes {
            if byte != ESCAPE || now.duration_since(self.first) > Duration::from_secs(1) {
                self.pressed = 0;
            }
            if byte == ESCAPE {
                if self.pressed == 0 {
                    self.first = now;
                }
                self.pressed += 1;
            }
        }
        self.pressed >= 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_escapes_within_a_second_leave() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut escape = Escape::new();
        assert!(!escape.is_in(b"\x1d\x1d", after(0)));
        assert!(escape.is_in(b"\x1d", after(900)));

        let mut escape = Escape::new();
        assert!(!escape.is_in(b"\x1d\x1d", after(0)));
        assert!(!escape.is_in(b"\x1d", after(1100)), "too slow; this one is the first again");
        assert!(!escape.is_in(b"\x1d", after(1200)));
        assert!(escape.is_in(b"\x1d", after(1300)));

        let mut escape = Escape::new();
        assert!(!escape.is_in(b"\x1d\x1da\x1d", after(0)), "another key between");
    }
}

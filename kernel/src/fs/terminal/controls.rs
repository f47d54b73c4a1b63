//! A terminal's ioctls, ioctl_tty(2).

use super::{
    Terminal,
    job_control::signal_group,
    termios::{Termios, Termios2, WindowSize},
};
use crate::{
    abi::{Errno, Result, Signal, UserPointer, linux},
    fs::Actor,
    mm::AddressSpace,
};
use linux_raw_sys::ioctl;

/// Which of what waits a change of settings throws away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TypedAhead {
    Kept,
    Flushed,
}

/// Does what the request says. Errors: ENOTTY for one it does not know; EFAULT; those of job control.
pub(super) fn control(
    terminal: &Terminal,
    actor: &dyn Actor,
    space: &AddressSpace,
    request: u32,
    argument: usize,
) -> Result<usize> {
    // Output leaves at once, so the requests that wait for it have nothing to wait for.
    match request {
        ioctl::TCGETS => space.write(UserPointer::new(argument), &terminal.termios())?,
        ioctl::TCGETS2 => space.write(UserPointer::new(argument), &Termios2::from(terminal.termios()))?,
        ioctl::TCSETS | ioctl::TCSETSW => {
            change::<Termios>(terminal, actor, space, argument, TypedAhead::Kept)?;
        }
        ioctl::TCSETSF => change::<Termios>(terminal, actor, space, argument, TypedAhead::Flushed)?,
        ioctl::TCSETS2 | ioctl::TCSETSW2 => {
            change::<Termios2>(terminal, actor, space, argument, TypedAhead::Kept)?;
        }
        ioctl::TCSETSF2 => change::<Termios2>(terminal, actor, space, argument, TypedAhead::Flushed)?,
        ioctl::TCSBRK | ioctl::TCSBRKP => terminal.must_be_foreground(actor, Signal::SIGTTOU)?,
        ioctl::TCXONC => {
            terminal.must_be_foreground(actor, Signal::SIGTTOU)?;
            terminal.flow(argument)?;
        }
        ioctl::TCFLSH => {
            terminal.must_be_foreground(actor, Signal::SIGTTOU)?;
            terminal.flush(argument)?;
        }
        ioctl::TIOCGWINSZ => space.write(UserPointer::new(argument), &terminal.state.lock().window)?,
        ioctl::TIOCSWINSZ => terminal.set_window(space.read(UserPointer::new(argument))?),
        ioctl::FIONREAD => {
            let length = terminal.state.lock().input.length() as i32;
            space.write(UserPointer::new(argument), &length)?;
        }
        ioctl::TIOCOUTQ => space.write(UserPointer::new(argument), &0i32)?,
        ioctl::TIOCGPGRP => space.write(UserPointer::new(argument), &terminal.foreground_for(actor)?)?,
        ioctl::TIOCSPGRP => {
            terminal.may_set_foreground(actor)?;
            terminal.set_foreground(actor, space.read(UserPointer::new(argument))?)?;
        }
        ioctl::TIOCGSID => space.write(UserPointer::new(argument), &terminal.session_for(actor)?)?,
        ioctl::TIOCSCTTY => terminal.take(actor, argument == 1)?,
        ioctl::TIOCNOTTY => terminal.give_up(actor)?,
        _ => return Err(Errno::ENOTTY.because("a terminal does not know that request")),
    }
    Ok(0)
}

/// Something a program hands over that holds a `struct termios`.
trait Settings: zerocopy::FromBytes {
    fn termios(self) -> Termios;
}

impl Settings for Termios {
    fn termios(self) -> Termios {
        self
    }
}

impl Settings for Termios2 {
    fn termios(self) -> Termios {
        self.termios
    }
}

fn change<S: Settings>(
    terminal: &Terminal,
    actor: &dyn Actor,
    space: &AddressSpace,
    argument: usize,
    typed_ahead: TypedAhead,
) -> Result<()> {
    terminal.must_be_foreground(actor, Signal::SIGTTOU)?;
    let new = space.read(UserPointer::<S>::new(argument))?.termios();
    let mut state = terminal.state.lock();
    if typed_ahead == TypedAhead::Flushed {
        state.input.flush();
    }
    let old = core::mem::replace(&mut state.termios, new);
    state.input.change(&old, &new);
    drop(state);
    terminal.changed.wake_all();
    terminal.receive_rest();
    Ok(())
}

impl Terminal {
    fn termios(&self) -> Termios {
        self.state.lock().termios
    }

    /// TIOCSWINSZ: tells the foreground group if that is new.
    pub fn set_window(&self, window: WindowSize) {
        let old = core::mem::replace(&mut self.state.lock().window, window);
        if old != window {
            signal_group(self.foreground(), Signal::SIGWINCH);
        }
    }

    /// TCXONC: stops or starts output, tcflow(3). Telling the other side to stop is left out: the wire cannot.
    fn flow(&self, action: usize) -> Result<()> {
        let stopped = match action as u32 {
            linux::TCOOFF => true,
            linux::TCOON => false,
            linux::TCIOFF | linux::TCION => return Ok(()),
            _ => return Err(Errno::EINVAL.because("there are four actions, tcflow(3)")),
        };
        self.state.lock().stopped = stopped;
        self.changed.wake_all();
        Ok(())
    }

    /// TCFLSH: throws away what was not read yet, tcflush(3). Of what was written nothing is left to throw away.
    fn flush(&self, queue: usize) -> Result<()> {
        match queue as u32 {
            linux::TCIFLUSH | linux::TCIOFLUSH => {
                self.state.lock().input.flush();
                self.receive_rest();
            }
            linux::TCOFLUSH => {}
            _ => return Err(Errno::EINVAL.because("there are two queues, tcflush(3)")),
        }
        Ok(())
    }
}

//! What becomes of a system call that a signal interrupted, signal(7) "Interruption of system calls".

use super::action::{Action, ActionFlags};
use crate::{
    abi::{Errno, linux},
    arch::Registers,
};

/// An interrupted call: its number, and the error by which it asks for one of four treatments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted {
    /// The call's number.
    pub number: usize,
    /// One of the errors from 512 on.
    pub error: Errno,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It fails with EINTR.
    Fails,
    /// It is made again as it was.
    Repeats,
    /// It goes on through restart_syscall(2), which knows what is left to do.
    Continues,
}

/// The bytes of the instruction that makes a system call.
const SYSCALL_INSTRUCTION: u64 = 2;

impl Interrupted {
    /// The call, if its error asks for treatment rather than for being told.
    pub fn new(number: usize, error: Errno) -> Option<Self> {
        (error >= Errno::ERESTARTSYS).then_some(Self { number, error })
    }

    /// What becomes of it when this action's handler is about to run, or none at all.
    pub fn outcome(self, handler: Option<&Action>) -> Outcome {
        match (self.error, handler) {
            (Errno::ERESTARTNOINTR, _) => Outcome::Repeats,
            (Errno::ERESTART_RESTARTBLOCK, None) => Outcome::Continues,
            (_, None) => Outcome::Repeats,
            (Errno::ERESTARTSYS, Some(action)) if action.has(ActionFlags::RESTART) => Outcome::Repeats,
            (_, Some(_)) => Outcome::Fails,
        }
    }

    /// Writes the outcome into the registers: either the result, or the instruction again with its number.
    pub fn settle(self, handler: Option<&Action>, registers: &mut Registers) {
        let number = match self.outcome(handler) {
            Outcome::Fails => {
                registers.rax = Errno::EINTR.to_result() as u64;
                return;
            }
            Outcome::Repeats => self.number as u64,
            Outcome::Continues => linux::__NR_restart_syscall.into(),
        };
        registers.rax = number;
        registers.rip = registers.rip.wrapping_sub(SYSCALL_INSTRUCTION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Continues, Fails, Repeats};

    #[test]
    fn the_table_of_signal_7() {
        let plain = Action { handler: 0x1000, ..Action::default() };
        let restarting = Action { flags: linux::SA_RESTART.into(), ..plain };
        let cases = [
            (Errno::ERESTARTSYS, [Repeats, Fails, Repeats]),
            (Errno::ERESTARTNOINTR, [Repeats, Repeats, Repeats]),
            (Errno::ERESTARTNOHAND, [Repeats, Fails, Fails]),
            (Errno::ERESTART_RESTARTBLOCK, [Continues, Fails, Fails]),
        ];
        for (error, outcomes) in cases {
            let call = Interrupted::new(7, error).unwrap();
            let found = [None, Some(&plain), Some(&restarting)].map(|handler| call.outcome(handler));
            assert_eq!(found, outcomes, "{error:?}");
        }
        assert_eq!(Interrupted::new(7, Errno::EINTR), None);
    }

    #[test]
    fn registers_go_back_to_the_instruction_or_get_the_error() {
        let before = Registers { rip: 0x1002, rax: 1, rdi: 9, ..Registers::default() };
        let after = |error, action: Option<&Action>| {
            let mut registers = before;
            Interrupted::new(7, error).unwrap().settle(action, &mut registers);
            (registers.rip, registers.rax as i64, registers.rdi)
        };
        assert_eq!(after(Errno::ERESTARTSYS, None), (0x1000, 7, 9));
        assert_eq!(after(Errno::ERESTART_RESTARTBLOCK, None), (0x1000, 219, 9));
        assert_eq!(after(Errno::ERESTARTSYS, Some(&Action::default())), (0x1002, -4, 9));
    }
}

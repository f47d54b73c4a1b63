//! User mode as a function call: not there yet.

use crate::abi::{Errno, Result};
use crate::arch::{Registers, TableRoot, Trap, UserMode};
use core::convert::Infallible;

/// User mode that nobody can have: a value of this type would hold one of [`Infallible`], of which there are none.
pub struct Context(Infallible);

impl UserMode for Context {
    fn new(_entry: usize, _stack: usize) -> Result<Self> {
        Err(Errno::ENOSYS.because("this machine runs the kernel's unit tests only, no programs"))
    }

    fn duplicate(&mut self) -> Result<Self> {
        match self.0 {}
    }

    fn run(&mut self, _space: TableRoot) -> Trap {
        match self.0 {}
    }

    fn set_result(&mut self, _result: isize) {
        match self.0 {}
    }

    fn registers(&mut self) -> Registers {
        match self.0 {}
    }

    fn set_registers(&mut self, _registers: &Registers) {
        match self.0 {}
    }

    fn extended_state_size() -> usize {
        512
    }

    fn extended_state_features() -> u64 {
        0
    }

    fn save_extended_state(&mut self, _into: &mut [u8]) {
        match self.0 {}
    }

    fn load_extended_state(&mut self, _from: &[u8]) -> Result<()> {
        match self.0 {}
    }

    fn reset_extended_state(&mut self) {
        match self.0 {}
    }

    fn park(&mut self) {
        match self.0 {}
    }
}

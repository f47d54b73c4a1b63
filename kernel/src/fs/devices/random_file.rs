//! `/dev/random` and `/dev/urandom`, random(4): the same here, as neither ever has to wait.

use super::{
    super::{Call, FileOperations, Positions},
    random,
};
use crate::{
    abi::Result,
    mm::user::{Destination, Source},
};

/// Either of them.
pub struct Random;

impl FileOperations for Random {
    fn read(&self, _call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        random::read(into)
    }

    /// What is written is mixed in; whoever knows it learns nothing.
    fn write(&self, _call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        let mut done = 0;
        let mut buffer = [0; 64];
        while from.remaining() > 0 {
            match from.take(&mut buffer) {
                Ok(count) => {
                    random::mix(&buffer[..count]);
                    done += count;
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn positions(&self) -> Positions {
        Positions::Ignored
    }
}

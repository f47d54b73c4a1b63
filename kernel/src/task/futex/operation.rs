//! The little program that FUTEX_WAKE_OP carries in its last argument: change a word, and compare what was there.

use crate::abi::{Errno, Result, linux};

/// A decoded operation.
#[derive(Clone, Copy)]
pub struct Operation {
    change: fn(u32, u32) -> u32,
    operand: u32,
    compare: fn(i32, i32) -> bool,
    against: i32,
}

/// By FUTEX_OP_ number: what becomes of the word `old` with operand `by`.
const CHANGES: [fn(u32, u32) -> u32; 5] =
    [|_, by| by, |old, by| old.wrapping_add(by), |old, by| old | by, |old, by| old & !by, |old, by| old ^ by];

/// By FUTEX_OP_CMP_ number.
const COMPARISONS: [fn(i32, i32) -> bool; 6] =
    [|a, b| a == b, |a, b| a != b, |a, b| a < b, |a, b| a <= b, |a, b| a > b, |a, b| a >= b];

/// Sign-extends the twelve bits from `lowest` on.
const fn twelve_bits(encoded: u32, lowest: u32) -> i32 {
    (encoded << (20 - lowest)) as i32 >> 20
}

impl Operation {
    /// Takes the argument apart: four bits of operation, four of comparison, twelve of operand, twelve to compare with.
    /// Errors: ENOSYS for what is not defined.
    pub fn decode(encoded: u32) -> Result<Self> {
        let unknown = || Errno::ENOSYS.because("FUTEX_WAKE_OP knows five operations and six comparisons");
        let operation = encoded >> 28;
        let shifts = operation & linux::FUTEX_OP_OPARG_SHIFT != 0;
        let number = operation & !linux::FUTEX_OP_OPARG_SHIFT;
        let operand = twelve_bits(encoded, 12) as u32;
        Ok(Self {
            change: *CHANGES.get(number as usize).ok_or_else(unknown)?,
            operand: if shifts { 1 << (operand & 31) } else { operand },
            compare: *COMPARISONS.get((encoded >> 24 & 15) as usize).ok_or_else(unknown)?,
            against: twelve_bits(encoded, 0),
        })
    }

    /// What becomes of the word.
    pub fn changed(&self, old: u32) -> u32 {
        (self.change)(old, self.operand)
    }

    /// Whether the second queue is to be woken too.
    pub fn holds(&self, old: u32) -> bool {
        (self.compare)(old as i32, self.against)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(operation: u32, comparison: u32, operand: u32, against: u32) -> u32 {
        operation << 28 | comparison << 24 | (operand & 0xfff) << 12 | against & 0xfff
    }

    #[test]
    fn operations_and_comparisons() {
        let run = |encoded, old| Operation::decode(encoded).map(|it| (it.changed(old), it.holds(old)));
        assert_eq!(run(encode(linux::FUTEX_OP_SET, linux::FUTEX_OP_CMP_EQ, 5, 1), 1), Ok((5, true)));
        assert_eq!(run(encode(linux::FUTEX_OP_ADD, linux::FUTEX_OP_CMP_LT, 0xfff, 0xfff), 7), Ok((6, false)));
        assert_eq!(run(encode(linux::FUTEX_OP_OR, linux::FUTEX_OP_CMP_GT, 8, 0), 3), Ok((11, true)));
        assert_eq!(run(encode(linux::FUTEX_OP_ANDN, linux::FUTEX_OP_CMP_NE, 1, 3), 3), Ok((2, false)));
        assert_eq!(run(encode(linux::FUTEX_OP_XOR, linux::FUTEX_OP_CMP_GE, 3, 3), 3), Ok((0, true)));
        assert_eq!(run(encode(linux::FUTEX_OP_OPARG_SHIFT, linux::FUTEX_OP_CMP_LE, 4, 9), 9), Ok((16, true)));
        assert_eq!(run(encode(5, 0, 0, 0), 0), Err(Errno::ENOSYS));
        assert_eq!(run(encode(0, 6, 0, 0), 0), Err(Errno::ENOSYS));
    }
}

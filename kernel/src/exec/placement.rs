//! Where the parts of a new program go.
//!
//! From the top: the special mappings; the stack, growing down; below its room, mappings, growing down too; far below,
//! the program itself with its heap growing up behind it. A program linked to a fixed address goes there, near the
//! bottom.
//!
//! Every address is the same in every run. To make them unpredictable, as Linux does, it is [`Plan::new`] that would
//! move `special_start`, `stack_top`, `mapping_ceiling` and `program_base` by some pages each: nothing else decides.

use crate::{
    arch::{Hardware, Machine, PAGE_SIZE},
    mm::regions::STACK_GUARD_GAP,
};

/// Pages nobody gets between the stack and the special mappings.
const GAP: usize = 16 * PAGE_SIZE;

/// The least room left to the stack.
const LEAST_STACK_ROOM: usize = 128 << 20;

/// The decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The first of the special mappings.
    pub special_start: usize,
    /// Where the stack begins; it grows down from here.
    pub stack_top: usize,
    /// Mappings are placed below this.
    pub mapping_ceiling: usize,
    /// Where a position-independent program goes.
    pub program_base: usize,
}

impl Plan {
    /// For a program with so much stack (RLIMIT_STACK, bytes), and so many special pages.
    pub fn new(stack_limit: u64, special_pages: usize) -> Self {
        let special_start = Hardware::USER_END - special_pages * PAGE_SIZE;
        let wanted = usize::try_from(stack_limit).unwrap_or(usize::MAX).saturating_add(STACK_GUARD_GAP);
        let room = wanted.clamp(LEAST_STACK_ROOM, Hardware::USER_END / 6 * 5);
        let down = |address: usize| address & !(PAGE_SIZE - 1);
        Self {
            special_start,
            stack_top: special_start - GAP,
            mapping_ceiling: down(special_start - GAP - room),
            program_base: down(Hardware::USER_END / 3 * 2),
        }
    }
}

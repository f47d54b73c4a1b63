//! Where the parts of a new program go.
//!
//! From the top: the special mappings; below them the stack, growing down; below its room, mappings, growing down too; far
//! below, the program itself with its heap growing up behind it. A program linked to a fixed address goes there, near
//! the bottom.
//!
//! Each of these is moved by a random number of pages, as many as on Linux, so that who finds a hole in a program cannot
//! know where to jump: [`Chance`]. What is mapped later follows from them, so nothing else is left to chance.
//! [`RANDOMIZE`] says whether, and personality(2) for one program. The price is a frame or two more for each program's
//! page table, as its parts are no longer neighbours; figures to be compared are counted with `norandmaps`. The special
//! mappings move with the stack, and by themselves no further than the table that has the stack's top in any case.

use crate::{
    arch::{Hardware, Machine, PAGE_SIZE},
    fs::random,
    mm::regions::STACK_GUARD_GAP,
};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// /proc/sys/kernel/randomize_va_space: 0 nothing, 1 all but the heap, 2 all is moved. `norandmaps` makes it 0, and so does
/// virtual time, where one run is like another.
pub static RANDOMIZE: AtomicU32 = AtomicU32::new(2);

/// Pages nobody gets between the stack and the special mappings.
const GAP: usize = 16 * PAGE_SIZE;

/// What one table of the lowest level covers: the special mappings lie in the same as the top of the stack.
const TABLE_SPAN: usize = 512 * PAGE_SIZE;

/// Pages that parts are moved by, in bits: 16 GiB, 1 TiB and 32 MiB.
const STACK_BITS: u32 = 22;
const MAPPING_BITS: u32 = 28;
const HEAP_BITS: u32 = 13;

/// The least room left to the stack.
const LEAST_STACK_ROOM: usize = 128 << 20;

/// How many pages each part is moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chance {
    special: usize,
    stack: usize,
    mappings: usize,
    program: usize,
    /// Upwards from the end of the program.
    pub heap: usize,
}

impl Chance {
    /// Nothing is moved unless `wanted`, and [`RANDOMIZE`].
    pub fn draw(wanted: bool) -> Self {
        let extent = if wanted { RANDOMIZE.load(Relaxed) } else { 0 };
        if extent == 0 {
            return Self::default();
        }
        let mut bytes = [0; 5 * size_of::<u64>()];
        random::fill(&mut bytes);
        let mut numbers = bytes
            .chunks_exact(size_of::<u64>())
            .map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)));
        let mut below = |bits: u32| numbers.next().unwrap_or(0) & ((1 << bits) - 1);
        Self {
            special: below(STACK_BITS),
            stack: below(STACK_BITS),
            mappings: below(MAPPING_BITS),
            program: below(MAPPING_BITS),
            heap: if extent > 1 { below(HEAP_BITS) } else { 0 },
        }
    }
}

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
    pub fn new(stack_limit: u64, special_pages: usize, chance: &Chance) -> Self {
        let stack_top = Hardware::USER_END - special_pages * PAGE_SIZE - GAP - chance.stack * PAGE_SIZE;
        let nearest = stack_top + GAP;
        let table_end = nearest.next_multiple_of(TABLE_SPAN).min(Hardware::USER_END);
        let room = ((table_end - nearest) / PAGE_SIZE).saturating_sub(special_pages);
        let special_start = nearest + chance.special % (room + 1) * PAGE_SIZE;
        let wanted = usize::try_from(stack_limit).unwrap_or(usize::MAX).saturating_add(STACK_GUARD_GAP);
        let room = wanted.clamp(LEAST_STACK_ROOM, Hardware::USER_END / 6 * 5);
        let down = |address: usize| address & !(PAGE_SIZE - 1);
        Self {
            special_start,
            stack_top,
            mapping_ceiling: down(stack_top - room) - chance.mappings * PAGE_SIZE,
            program_base: down(Hardware::USER_END / 3 * 2) + chance.program * PAGE_SIZE,
        }
    }
}

//! The strings a program is given: its arguments and its environment, collected before it exists.
//!
//! They are kept in pages on the caller's account, not in the heap: a program may pass megabytes. How much it may is
//! Linux' rule: all strings and the pointers to them fit in a quarter of the stack's limit (at least 128 KiB, at most
//! 6 MiB), and one string in 128 KiB.

use crate::{
    abi::{Errno, Result, UserPointer},
    arch::PAGE_SIZE,
    mm::{AddressSpace, PageRef, user::Destination},
};
use alloc::vec::Vec;

/// The most bytes of one string, its NUL included.
const LONGEST: usize = 32 * PAGE_SIZE;
/// What strings and pointers may always take together.
const ALWAYS: u64 = 128 << 10;
/// What they may take at most.
const AT_MOST: u64 = 6 << 20;

/// The strings, each ended by a NUL: arguments, then environment.
pub struct Arguments {
    /// Those that stand in front of the others, in place of the first of them, once scripts have been followed.
    front: Vec<u8>,
    front_count: usize,
    /// Bytes of `pages` that no longer count, because `front` replaced them.
    skipped: usize,
    pages: Vec<PageRef>,
    length: usize,
    argument_count: usize,
    environment_count: usize,
    /// Where in `pages` the environment begins.
    environment_start: usize,
    /// Bytes that may still be added, pointers counted.
    room: usize,
}

impl Arguments {
    /// None yet; `stack_limit` is RLIMIT_STACK.
    fn new(stack_limit: u64) -> Self {
        let room = (stack_limit / 4).clamp(ALWAYS, AT_MOST) as usize;
        Self {
            front: Vec::new(),
            front_count: 0,
            skipped: 0,
            pages: Vec::new(),
            length: 0,
            argument_count: 0,
            environment_count: 0,
            environment_start: 0,
            room,
        }
    }

    /// From the arrays a program names: execve(2). A null array is an empty one; without arguments there is one, empty.
    ///
    /// Errors: EFAULT, E2BIG, ENOMEM.
    pub fn from_user(
        space: &AddressSpace,
        arguments: usize,
        environment: usize,
        stack_limit: u64,
    ) -> Result<Self> {
        let mut all = Self::new(stack_limit);
        all.argument_count = all.add_array(space, UserPointer::new(arguments))?;
        if all.argument_count == 0 {
            all.argument_count = 1;
            all.add(b"")?;
        }
        all.environment_start = all.length;
        all.environment_count = all.add_array(space, UserPointer::new(environment))?;
        Ok(all)
    }

    /// From the kernel's own strings: for init. Errors: E2BIG, ENOMEM.
    pub fn from_kernel(arguments: &[&[u8]], environment: &[&[u8]], stack_limit: u64) -> Result<Self> {
        let mut all = Self::new(stack_limit);
        for string in arguments {
            all.add(string)?;
        }
        all.environment_start = all.length;
        for string in environment {
            all.add(string)?;
        }
        (all.argument_count, all.environment_count) = (arguments.len(), environment.len());
        Ok(all)
    }

    fn add_array(&mut self, space: &AddressSpace, array: UserPointer<usize>) -> Result<usize> {
        if array.is_null() {
            return Ok(0);
        }
        for index in 0.. {
            let address = space.read(array.element(index))?;
            if address == 0 {
                return Ok(index);
            }
            let string = space.read_prefix(address, LONGEST)?;
            if string.len() == LONGEST {
                return Err(Errno::E2BIG.because("a string passed to a program has at most 128 KiB"));
            }
            self.add(&string)?;
        }
        Err(Errno::E2BIG)
    }

    fn add(&mut self, string: &[u8]) -> Result<()> {
        self.charge(string.len() + 1 + size_of::<usize>())?;
        self.append(string)?;
        self.append(b"\0")
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        let room = self.room.checked_sub(bytes);
        self.room = room
            .ok_or_else(|| Errno::E2BIG.because("what a program is passed fits in a quarter of its stack"))?;
        Ok(())
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let in_page = self.length % PAGE_SIZE;
            if in_page == 0 {
                self.pages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                self.pages.push(PageRef::zeroed()?);
            }
            let (now, later) = bytes.split_at(bytes.len().min(PAGE_SIZE - in_page));
            self.pages[self.length / PAGE_SIZE].write(in_page, now);
            self.length += now.len();
            bytes = later;
        }
        Ok(())
    }

    /// Puts strings in place of the first argument. Errors: E2BIG.
    pub(super) fn replace_first(&mut self, strings: &[Option<&[u8]>]) -> Result<()> {
        self.drop_first();
        let mut front = Vec::new();
        for string in strings.iter().flatten() {
            self.charge(string.len() + 1 + size_of::<usize>())?;
            front.extend_from_slice(string);
            front.push(0);
            self.front_count += 1;
        }
        front.extend_from_slice(&self.front);
        self.front = front;
        Ok(())
    }

    fn drop_first(&mut self) {
        if self.front_count > 0 {
            let end = self.front.iter().position(|byte| *byte == 0).map_or(0, |end| end + 1);
            self.front.drain(..end);
            self.front_count -= 1;
        } else if self.argument_count > 0 {
            self.skipped = self.string_end(0);
            self.argument_count -= 1;
        }
    }

    /// One past the NUL of the string at an offset into the pages.
    fn string_end(&self, start: usize) -> usize {
        let mut end = self.length;
        self.each_chunk(start, &mut |offset, chunk| {
            if let Some(position) = chunk.iter().position(|byte| *byte == 0) {
                end = end.min(offset + position + 1);
            }
        });
        end
    }

    /// How many arguments there are.
    pub fn count(&self) -> usize {
        self.front_count + self.argument_count
    }

    /// How many strings of environment there are.
    pub fn environment_count(&self) -> usize {
        self.environment_count
    }

    /// Bytes of all strings, NULs included.
    pub fn bytes(&self) -> usize {
        self.front.len() + self.length - self.skipped
    }

    /// Where the environment's strings begin, counted from the first byte `write` writes.
    pub(super) fn environment_offset(&self) -> usize {
        self.front.len() + self.environment_start - self.skipped
    }

    /// Writes all strings into a program's memory, one behind the other. Errors: ENOMEM.
    pub(super) fn write(&self, space: &AddressSpace, address: usize) -> Result<()> {
        space.write_bytes(address, &self.front)?;
        let mut into = Destination::user(space, address + self.front.len(), self.length - self.skipped)?;
        let mut at = self.skipped;
        while at < self.length {
            let in_page = at % PAGE_SIZE;
            let piece = (self.length - at).min(PAGE_SIZE - in_page);
            if into.put_page(&self.pages[at / PAGE_SIZE], in_page, piece)? < piece {
                return Err(Errno::ENOMEM);
            }
            at += piece;
        }
        Ok(())
    }

    /// Tells where each string begins, counted from the first byte `write` writes.
    pub(super) fn each_start(&self, tell: &mut dyn FnMut(usize) -> Result<()>) -> Result<()> {
        let mut result = Ok(());
        let mut begins = true;
        let mut take = |offset: usize, chunk: &[u8]| {
            for (index, byte) in chunk.iter().enumerate() {
                if begins && result.is_ok() {
                    result = tell(offset + index);
                }
                begins = *byte == 0;
            }
        };
        take(0, &self.front);
        let base = self.front.len();
        self.each_chunk(self.skipped, &mut |offset, chunk| take(base + offset - self.skipped, chunk));
        result
    }

    /// Shows the bytes in the pages from an offset on, piece by piece.
    fn each_chunk(&self, start: usize, show: &mut dyn FnMut(usize, &[u8])) {
        let mut buffer = [0; 256];
        let mut at = start;
        while at < self.length {
            let in_page = at % PAGE_SIZE;
            let piece = buffer.len().min(self.length - at).min(PAGE_SIZE - in_page);
            self.pages[at / PAGE_SIZE].read(in_page, &mut buffer[..piece]);
            show(at, &buffer[..piece]);
            at += piece;
        }
    }
}

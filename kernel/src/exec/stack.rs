//! The first page of a program's stack: everything it is told before it runs.
//!
//! From the top down: eight zero bytes; the path it was called by; the environment's strings; the arguments' strings;
//! the name of the processor; sixteen random bytes; the auxiliary vector; the pointers to the environment and to the
//! arguments, each list ended by a null; and, where the stack pointer points, the number of arguments. A C library finds
//! everything by walking up from there.

use super::{Arguments, RunsAs, header::PROGRAM_HEADER, placement::Plan};
use crate::{
    abi::{Errno, Result},
    arch::{Hardware, Machine, PAGE_SIZE, Permissions},
    mm::{AddressSpace, Backing, MapRequest, Placement, RegionFlags},
};
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use linux_raw_sys::auxvec;

/// What the stack has from the start besides what is written to it.
const INITIAL_ROOM: usize = 128 << 10;
/// AT_PLATFORM.
const PLATFORM: &[u8] = b"x86_64\0";
/// AT_CLKTCK: the unit of times(2), per second.
const TICKS_PER_SECOND: u64 = 100;
/// AT_MINSIGSTKSZ, which `linux-raw-sys` lacks for this processor.
const AT_MINSIGSTKSZ: u32 = 51;

/// What goes into the auxiliary vector besides what is always so.
pub(super) struct Told {
    /// Where `[vdso]` begins.
    pub vdso: usize,
    /// Where the program headers are.
    pub headers: usize,
    /// How many there are.
    pub header_count: usize,
    /// Where the interpreter is.
    pub base: usize,
    /// Where the program (not its interpreter) begins.
    pub entry: usize,
    /// Who it runs as.
    pub runs_as: RunsAs,
    /// AT_RANDOM's bytes.
    pub random: [u8; 16],
}

/// Maps the stack, with room for so many bytes of strings; returns its top.
///
/// Errors: E2BIG when the stack's limit leaves no room; ENOMEM.
pub(super) fn map(
    space: &AddressSpace,
    plan: &Plan,
    strings: usize,
    limit: u64,
    executable: bool,
) -> Result<usize> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let wanted = (strings + INITIAL_ROOM).next_multiple_of(PAGE_SIZE);
    let length = wanted.min(limit & !(PAGE_SIZE - 1));
    if length <= strings {
        return Err(Errno::E2BIG.because("what a program is passed fits on its stack"));
    }
    let mut permissions = Permissions::READ | Permissions::WRITE;
    permissions.set(Permissions::EXECUTE, executable);
    space.map(MapRequest {
        placement: Placement::Fixed(plan.stack_top - length),
        length,
        permissions,
        maximum: Permissions::all(),
        flags: RegionFlags::GROWS_DOWN,
        backing: Backing::Anonymous,
    })?;
    Ok(plan.stack_top)
}

/// Fills the stack from its top; returns the stack pointer. Errors: ENOMEM; E2BIG when it does not fit.
pub(super) fn fill(
    space: &AddressSpace,
    top: usize,
    arguments: &Arguments,
    path: &[u8],
    told: &Told,
) -> Result<usize> {
    let path_at = top - size_of::<u64>() - (path.len() + 1);
    let strings_at = path_at - arguments.bytes();
    let platform_at = (strings_at & !15) - PLATFORM.len();
    let random_at = platform_at - told.random.len();
    let auxiliary = auxiliary_vector(told, random_at, path_at, platform_at);
    let words = 1 + arguments.count() + 1 + arguments.environment_count() + 1 + auxiliary.len();
    let stack = (random_at - words * size_of::<u64>()) & !15;

    let write = || {
        space.write_bytes(path_at, path)?;
        arguments.write(space, strings_at)?;
        space.write_bytes(platform_at, PLATFORM)?;
        space.write_bytes(random_at, &told.random)?;
        write_words(space, stack, arguments, strings_at, &auxiliary)
    };
    // The stack could not grow to take it all.
    write().map_err(|errno| if errno == Errno::EFAULT { Errno::E2BIG } else { errno })?;

    let environment_at = strings_at + arguments.environment_offset();
    let mut layout = space.layout();
    layout.stack_start = stack;
    layout.arguments = strings_at..environment_at;
    layout.environment = environment_at..path_at;
    space.set_layout(layout);
    space.set_auxiliary_vector(auxiliary);
    Ok(stack)
}

/// Writes what lies at the stack pointer: the number of arguments, the two lists of pointers, the auxiliary vector.
fn write_words(
    space: &AddressSpace,
    stack: usize,
    arguments: &Arguments,
    strings_at: usize,
    auxiliary: &[u64],
) -> Result<()> {
    let mut words = Words { space, at: stack, waiting: ArrayVec::new() };
    words.push(arguments.count() as u64)?;
    let environment_offset = arguments.environment_offset();
    let mut ended = false;
    arguments.each_start(&mut |offset| {
        if offset >= environment_offset && !core::mem::replace(&mut ended, true) {
            words.push(0)?;
        }
        words.push((strings_at + offset) as u64)
    })?;
    let nulls = if ended { 1 } else { 2 };
    for word in core::iter::repeat_n(&0, nulls).chain(auxiliary) {
        words.push(*word)?;
    }
    words.flush()
}

/// The auxiliary vector, in Linux' order: getauxval(3).
fn auxiliary_vector(told: &Told, random_at: usize, path_at: usize, platform_at: usize) -> Vec<u64> {
    let features = Hardware::processor_features();
    let RunsAs { uid, euid, gid, egid, secure } = told.runs_as;
    let pairs = [
        (auxvec::AT_SYSINFO_EHDR, told.vdso as u64),
        (AT_MINSIGSTKSZ, features.minimum_signal_stack as u64),
        (auxvec::AT_HWCAP, features.hwcap),
        (auxvec::AT_PAGESZ, PAGE_SIZE as u64),
        (auxvec::AT_CLKTCK, TICKS_PER_SECOND),
        (auxvec::AT_PHDR, told.headers as u64),
        (auxvec::AT_PHENT, PROGRAM_HEADER as u64),
        (auxvec::AT_PHNUM, told.header_count as u64),
        (auxvec::AT_BASE, told.base as u64),
        (auxvec::AT_FLAGS, 0),
        (auxvec::AT_ENTRY, told.entry as u64),
        (auxvec::AT_UID, uid.into()),
        (auxvec::AT_EUID, euid.into()),
        (auxvec::AT_GID, gid.into()),
        (auxvec::AT_EGID, egid.into()),
        (auxvec::AT_SECURE, secure.into()),
        (auxvec::AT_RANDOM, random_at as u64),
        (auxvec::AT_HWCAP2, features.hwcap2),
        (auxvec::AT_EXECFN, path_at as u64),
        (auxvec::AT_PLATFORM, platform_at as u64),
        (auxvec::AT_NULL, 0),
    ];
    pairs.into_iter().flat_map(|(kind, value)| [kind.into(), value]).collect()
}

/// Writes words upwards, some at a time.
struct Words<'a> {
    space: &'a AddressSpace,
    at: usize,
    waiting: ArrayVec<u64, 64>,
}

impl Words<'_> {
    fn push(&mut self, word: u64) -> Result<()> {
        if self.waiting.is_full() {
            self.flush()?;
        }
        self.waiting.push(word);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let bytes = zerocopy::IntoBytes::as_bytes(&self.waiting[..]);
        self.space.write_bytes(self.at, bytes)?;
        self.at += bytes.len();
        self.waiting.clear();
        Ok(())
    }
}

//! Becoming another program: execve(2), from an opened file to an address space that is ready to run.
//!
//! The new space is built whole before anything of the old one is given up. So a file that turns out to be damaged, or
//! memory that runs out halfway, is an error the caller gets back, where Linux, which builds in place, must sometimes
//! kill it.
//!
//! In order: the strings are collected from the caller ([`arguments`]); scripts are followed to the program that reads
//! them ([`mod@script`]); the caller of this module works out the credentials; [`load`] reads the headers
//! ([`header`]), maps the program and its interpreter ([`segments`]) where [`placement`] says, and fills the first
//! page of the stack ([`stack`]).

mod arguments;
mod header;
mod placement;
mod script;
mod segments;
mod stack;
#[cfg(test)]
mod tests;

pub use arguments::Arguments;
pub use placement::RANDOMIZE;
pub use script::{Program, follow_scripts};

use crate::{
    abi::{Errno, Result},
    arch::PAGE_SIZE,
    mm::{
        AddressSpace, PageSource,
        address_space::{Layout, Limits},
        special::{Special, SpecialSource},
    },
};
use alloc::{sync::Arc, vec::Vec};
use gnomon_vdso::page::{VCLOCK_PAGES, VVAR_PAGES};
use header::Image;
use placement::{Chance, Plan};

/// Who the program will run as, as far as it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunsAs {
    /// AT_UID.
    pub uid: u32,
    /// AT_EUID.
    pub euid: u32,
    /// AT_GID.
    pub gid: u32,
    /// AT_EGID.
    pub egid: u32,
    /// AT_SECURE: the file gave it rights its caller did not have.
    pub secure: bool,
}

/// Opens a file that a program names to be executed, checking that it may be.
pub type Open<'a, P> = &'a mut dyn FnMut(&[u8]) -> Result<P>;

/// What to load.
pub struct ExecRequest<'a> {
    /// The program, scripts already followed.
    pub program: Arc<dyn PageSource>,
    /// The name it was called by, before scripts were followed: AT_EXECFN.
    pub path: &'a [u8],
    /// Its strings.
    pub arguments: &'a Arguments,
    /// Who it will run as.
    pub runs_as: RunsAs,
    /// What it will find in `[vvar]`.
    pub special: Arc<dyn SpecialSource>,
    /// Its resource limits.
    pub limits: Limits,
    /// AT_RANDOM.
    pub random: [u8; 16],
    /// Its parts may be moved by chance.
    pub randomized: bool,
    /// Opens the program's interpreter.
    pub open_interpreter: Open<'a, Arc<dyn PageSource>>,
}

/// A program ready to run.
pub struct Loaded {
    /// Its memory.
    pub space: Arc<AddressSpace>,
    /// Where it begins.
    pub entry: usize,
    /// Its stack pointer.
    pub stack: usize,
}

impl core::fmt::Debug for Loaded {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "space {}, entry {:#x}, stack {:#x}", self.space.id(), self.entry, self.stack)
    }
}

/// Builds the address space of a program.
///
/// Errors: ENOEXEC (not a program for this machine, or cut short), EINVAL (its segments make no sense), ELIBBAD (the same
/// of its interpreter), E2BIG (the strings leave no room), ENOMEM, EIO, and what `open_interpreter` says.
pub fn load(request: ExecRequest<'_>) -> Result<Loaded> {
    let ExecRequest {
        program,
        path,
        arguments,
        runs_as,
        special,
        limits,
        random,
        randomized,
        open_interpreter,
    } = request;
    let image = Image::read(&*program)?;
    let interpreter = match &image.interpreter {
        None => None,
        Some(path) => {
            let source = open_interpreter(path)?;
            Some((Image::read_interpreter(&*source)?, source))
        }
    };
    let vdso_pages = special.vdso_image().len();
    let chance = Chance::draw(randomized);
    let plan = Plan::new(limits.stack, VVAR_PAGES + VCLOCK_PAGES + vdso_pages, &chance);
    let space = AddressSpace::new(special)?;
    space.set_limits(limits);
    space.set_layout(Layout { mapping_ceiling: plan.mapping_ceiling, ..Layout::default() });
    let stack =
        stack::map(&space, &plan, arguments.bytes() + path.len(), limits.stack, image.executable_stack)?;

    let bias = if image.position_independent { image.bias_for(plan.program_base) } else { 0 };
    let extent = segments::map(&space, &program, &image, bias)?;
    let entry = image.entry.wrapping_add(bias);
    let (start, base) = match &interpreter {
        None => (entry, 0),
        Some((image, source)) => {
            let bias = segments::place(&space, image)?;
            segments::map(&space, source, image, bias)?;
            (image.entry.wrapping_add(bias), bias)
        }
    };
    let vdso = map_special(&space, &plan, vdso_pages)?;
    let heap_start = extent.end.next_multiple_of(PAGE_SIZE) + chance.heap * PAGE_SIZE;
    space.set_layout(Layout {
        code: extent.code,
        data: extent.data,
        heap: heap_start..heap_start,
        mapping_ceiling: plan.mapping_ceiling,
        ..Layout::default()
    });
    let headers = image.headers_address.map_or(0, |address| address.wrapping_add(bias));
    let told = stack::Told { vdso, headers, header_count: image.header_count, base, entry, runs_as, random };
    let stack = stack::fill(&space, stack, arguments, path, &told)?;
    Ok(Loaded { space, entry: start, stack })
}

/// Maps `[vvar]`, `[vvar_vclock]` and `[vdso]`, one behind the other; returns where the last begins.
fn map_special(space: &AddressSpace, plan: &Plan, vdso_pages: usize) -> Result<usize> {
    let clock = plan.special_start + VVAR_PAGES * PAGE_SIZE;
    let vdso = clock + VCLOCK_PAGES * PAGE_SIZE;
    space.map_special(Special::Vvar, plan.special_start, VVAR_PAGES)?;
    space.map_special(Special::VvarVclock, clock, VCLOCK_PAGES)?;
    if vdso_pages > 0 {
        space.map_special(Special::Vdso, vdso, vdso_pages)?;
    }
    Ok(vdso)
}

/// Maps the vDSO and its data again for a program that has unmapped all of it, at `wish` if there is room, else where
/// there is; gives the bytes of `[vdso]`: arch_prctl(2) ARCH_MAP_VDSO_64.
///
/// Errors: EEXIST when any of it is there; ENOMEM.
pub fn map_vdso(space: &AddressSpace, special: &dyn SpecialSource, wish: usize) -> Result<usize> {
    let kinds = [Special::Vvar, Special::VvarVclock, Special::Vdso];
    if kinds.iter().any(|&kind| space.find_special(kind).is_some()) {
        return Err(Errno::EEXIST.because("a program has one vDSO"));
    }
    let vdso_pages = special.vdso_image().len();
    let pages = [VVAR_PAGES, VCLOCK_PAGES, vdso_pages];
    let mut start = space.find_room(wish, pages.iter().sum::<usize>() * PAGE_SIZE)?;
    for (kind, pages) in kinds.into_iter().zip(pages).filter(|(_, pages)| *pages > 0) {
        space.map_special(kind, start, pages)?;
        start += pages * PAGE_SIZE;
    }
    Ok(vdso_pages * PAGE_SIZE)
}

/// What a task that runs a program is called: the last part of its path, 15 bytes at most, proc_pid_comm(5).
pub fn command_name(path: &[u8]) -> Vec<u8> {
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    last[..last.len().min(15)].to_vec()
}

/// A vector with room for so many, or ENOMEM: for sizes a file or a program chose.
fn room_for<T>(count: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    Ok(vector)
}

//! A program's memory: mmap(2), brk(2) and what changes, locks and asks about mappings.
//!
//! Arguments are decoded and checked here in Linux' order; what they mean to an address space is [`crate::mm`]'s. Pages
//! that are to be brought in at once are brought in here, some at a time, with a turn for other tasks in between.

use super::Caller;
use crate::{
    abi::{Errno, Result, linux},
    arch::{Hardware, Machine, PAGE_SIZE, Permissions},
    fs::{Descriptor, File, MountFlags},
    mm::{
        Backing, Fault, MapRequest, Placement, RegionFlags, mapping_calls::RemapFlags, source::SharedMemory,
        user::Destination,
    },
    task,
};
use alloc::sync::Arc;
use core::ops::Range;

/// Pages brought in between two turns for other tasks.
const PAGES_A_TURN: usize = 256;

/// What mmap(2) could be told before it refused what it does not know: the flags that MAP_SHARED_VALIDATE lets pass.
const LEGACY_FLAGS: u32 = linux::MAP_TYPE
    | linux::MAP_FIXED
    | linux::MAP_ANONYMOUS
    | linux::MAP_DENYWRITE
    | linux::MAP_EXECUTABLE
    | linux::MAP_UNINITIALIZED
    | linux::MAP_GROWSDOWN
    | linux::MAP_LOCKED
    | linux::MAP_NORESERVE
    | linux::MAP_POPULATE
    | linux::MAP_NONBLOCK
    | linux::MAP_STACK
    | linux::MAP_HUGETLB
    | linux::MAP_32BIT
    | linux::MAP_ABOVE4G
    | linux::MAP_HUGE_MASK << linux::MAP_HUGE_SHIFT;

/// The bits that say what may be done; others are ignored here, as on Linux.
fn permissions_of(protection: usize) -> Permissions {
    let mut permissions = Permissions::empty();
    permissions.set(Permissions::READ, protection & linux::PROT_READ as usize != 0);
    permissions.set(Permissions::WRITE, protection & linux::PROT_WRITE as usize != 0);
    permissions.set(Permissions::EXECUTE, protection & linux::PROT_EXEC as usize != 0);
    permissions
}

/// Brings pages in, letting other tasks have their turns. Errors: what a touch of the first page that fails would meet.
async fn populate(caller: &mut Caller<'_>, range: Range<usize>) -> Result<(), Fault> {
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(start.saturating_add(PAGES_A_TURN * PAGE_SIZE));
        caller.space.populate(start..end)?;
        task::wait::preemption_point(caller.task, caller.user).await;
        start = end;
    }
    Ok(())
}

/// The same if mlock(2) or mlockall(2) want it so for what is at `start` now. What cannot be had is left out.
async fn populate_if_locked(caller: &mut Caller<'_>, start: usize, length: usize) {
    if caller.space.wants_pages(start) {
        let end = start.saturating_add(length).min(Hardware::USER_END);
        let _ = populate(caller, start..end).await;
    }
}

/// mmap(2).
///
/// Errors: EINVAL (an offset or fixed address not on a page, no length, no or an unknown type), EBADF, EOVERFLOW,
/// EOPNOTSUPP, EACCES, EPERM, ENODEV, EAGAIN (RLIMIT_MEMLOCK), EEXIST, ENOMEM.
pub async fn mmap(
    caller: &mut Caller<'_>,
    address: usize,
    length: usize,
    protection: usize,
    flags: u32,
    descriptor: Descriptor,
    offset: u64,
) -> Result<usize> {
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Errno::EINVAL.because("a file is mapped from the start of a page"));
    }
    let file = match flags & linux::MAP_ANONYMOUS {
        0 => Some(caller.files()?.get(descriptor)?),
        _ => None,
    };
    if flags & linux::MAP_HUGETLB != 0 {
        return Err(
            if file.is_some() { Errno::EINVAL } else { Errno::ENOMEM }.because("there are no huge pages")
        );
    }
    if length == 0 {
        return Err(Errno::EINVAL.because("a mapping has a length"));
    }
    if length.checked_next_multiple_of(PAGE_SIZE).is_none() {
        return Err(Errno::ENOMEM.because("no address space is so large"));
    }
    let first = offset / PAGE_SIZE as u64;
    if first
        .checked_add(length.div_ceil(PAGE_SIZE) as u64)
        .is_none_or(|end| end > u64::MAX / PAGE_SIZE as u64)
    {
        return Err(Errno::EOVERFLOW.because("a file has no such offset"));
    }
    let mut request = MapRequest {
        placement: placement_of(address, flags),
        length,
        permissions: permissions_of(protection),
        maximum: Permissions::all(),
        flags: RegionFlags::empty(),
        backing: Backing::Anonymous,
    };
    request.flags.set(RegionFlags::GROWS_DOWN, flags & linux::MAP_GROWSDOWN != 0);
    request.flags.set(RegionFlags::NO_RESERVE, flags & linux::MAP_NORESERVE != 0);
    // Linux looks at the file only once it knows where it would go.
    caller.space.check_placement(request.placement, length)?;
    if flags & linux::MAP_LOCKED != 0 {
        caller.space.check_may_lock(length)?;
        request.flags |= RegionFlags::LOCKED;
    }
    match &file {
        Some(file) => map_file(&mut request, file, first, flags)?,
        None => map_memory(&mut request, flags)?,
    }
    let at_once = flags & (linux::MAP_POPULATE | linux::MAP_NONBLOCK) == linux::MAP_POPULATE;
    let start = caller.space.map(request)?;
    if at_once {
        // What cannot be had now may be had when it is touched.
        let _ = populate(caller, start..start + length).await;
    } else {
        populate_if_locked(caller, start, length).await;
    }
    Ok(start)
}

fn placement_of(address: usize, flags: u32) -> Placement {
    if flags & linux::MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedIfFree(address)
    } else if flags & linux::MAP_FIXED != 0 {
        Placement::Fixed(address)
    } else if flags & linux::MAP_32BIT != 0 {
        Placement::Low(address)
    } else {
        Placement::Anywhere(address)
    }
}

fn no_growing_down() -> Errno {
    Errno::EINVAL.because("only private memory grows down")
}

/// Completes the request for memory without a file.
fn map_memory(request: &mut MapRequest, flags: u32) -> Result<()> {
    match flags & linux::MAP_TYPE {
        linux::MAP_PRIVATE => Ok(()),
        linux::MAP_DROPPABLE if request.flags.intersects(RegionFlags::GROWS_DOWN | RegionFlags::LOCKED) => {
            Err(Errno::EINVAL.because("what may be taken away is no stack, and not locked"))
        }
        linux::MAP_DROPPABLE => {
            request.flags |= RegionFlags::DROPPABLE | RegionFlags::WIPE_ON_FORK | RegionFlags::DONT_DUMP;
            Ok(())
        }
        linux::MAP_SHARED if request.flags.contains(RegionFlags::GROWS_DOWN) => Err(no_growing_down()),
        linux::MAP_SHARED => {
            crate::mm::reserve::check()?;
            let source = Arc::new(SharedMemory::new(request.length.div_ceil(PAGE_SIZE) as u64));
            request.flags |= RegionFlags::SHARED;
            request.backing = Backing::Source { source, first: 0 };
            Ok(())
        }
        _ => Err(Errno::EINVAL.because("a mapping is shared or private")),
    }
}

/// Completes the request for a file's pages.
fn map_file(request: &mut MapRequest, file: &Arc<File>, first: u64, flags: u32) -> Result<()> {
    let shared = match flags & linux::MAP_TYPE {
        linux::MAP_SHARED_VALIDATE if flags & !LEGACY_FLAGS != 0 => {
            return Err(Errno::EOPNOTSUPP.because("MAP_SHARED_VALIDATE refuses what this file cannot do"));
        }
        linux::MAP_SHARED | linux::MAP_SHARED_VALIDATE => true,
        linux::MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL.because("a mapping is shared or private")),
    };
    if shared && !file.flags().writes() {
        if request.permissions.contains(Permissions::WRITE) {
            return Err(
                Errno::EACCES.because("a shared mapping is written only where the file is open for writing")
            );
        }
        request.maximum.remove(Permissions::WRITE);
    }
    if !file.flags().reads() {
        return Err(Errno::EACCES.because("a file that is mapped is open for reading"));
    }
    if file.path().mount.flags().contains(MountFlags::NO_EXECUTION) {
        if request.permissions.contains(Permissions::EXECUTE) {
            return Err(Errno::EPERM.because("nothing is executed from a mount with noexec"));
        }
        request.maximum.remove(Permissions::EXECUTE);
    }
    let stores = shared && request.maximum.contains(Permissions::WRITE);
    let source = match file.pages(stores) {
        // Sealed against writing: to look at it all the same, a mapping that cannot be made writable will do.
        Err(Errno::EPERM) if !request.permissions.contains(Permissions::WRITE) => {
            request.maximum.remove(Permissions::WRITE);
            file.pages(false)?
        }
        outcome => outcome?,
    };
    if request.flags.contains(RegionFlags::GROWS_DOWN) {
        return Err(no_growing_down());
    }
    request.flags.set(RegionFlags::SHARED, shared);
    request.backing = Backing::Source { source, first };
    Ok(())
}

/// munmap(2). Errors: EINVAL, ENOMEM.
pub fn munmap(caller: &mut Caller<'_>, address: usize, length: usize) -> Result<usize> {
    caller.space.unmap(address, length)?;
    Ok(0)
}

/// mprotect(2). Errors: EINVAL, ENOMEM, EACCES.
pub fn mprotect(caller: &mut Caller<'_>, address: usize, length: usize, protection: usize) -> Result<usize> {
    let grows = (linux::PROT_GROWSDOWN | linux::PROT_GROWSUP) as usize;
    let known = (linux::PROT_READ | linux::PROT_WRITE | linux::PROT_EXEC | linux::PROT_SEM) as usize;
    if protection & grows == grows {
        return Err(Errno::EINVAL.because("PROT_GROWSDOWN and PROT_GROWSUP exclude each other"));
    }
    // Linux looks at the range before it looks at the bits.
    let Some(range) = caller.space.check_protect(address, length)? else { return Ok(0) };
    if protection & !(known | grows) != 0 {
        return Err(Errno::EINVAL.because("mprotect knows READ, WRITE and EXEC"));
    }
    if protection & linux::PROT_GROWSUP as usize != 0 {
        return Err(Errno::EINVAL.because("no region grows upwards"));
    }
    let grows_down = protection & linux::PROT_GROWSDOWN as usize != 0;
    caller.space.protect(range, permissions_of(protection), grows_down)?;
    Ok(0)
}

/// mremap(2). Errors: EINVAL, EFAULT, EAGAIN, ENOMEM, EPERM.
pub async fn mremap(
    caller: &mut Caller<'_>,
    old: usize,
    old_length: usize,
    new_length: usize,
    flags: usize,
    new: usize,
) -> Result<usize> {
    let flags = u32::try_from(flags).ok().and_then(RemapFlags::from_bits);
    let flags = flags.ok_or_else(|| Errno::EINVAL.because("mremap knows MAYMOVE, FIXED and DONTUNMAP"))?;
    let start = caller.space.remap(old, old_length, new_length, flags, new)?;
    if new_length > old_length {
        populate_if_locked(caller, start, new_length).await;
    }
    Ok(start)
}

/// brk(2): the end of the heap, moved if it can be.
pub async fn brk(caller: &mut Caller<'_>, wanted: usize) -> Result<usize> {
    let before = caller.space.layout().heap.end;
    let end = caller.space.set_break(wanted);
    if end > before {
        populate_if_locked(caller, end - 1, 1).await;
    }
    Ok(end)
}

/// madvise(2). Errors: EINVAL, ENOMEM; EFAULT for pages that cannot be populated.
pub async fn madvise(caller: &mut Caller<'_>, address: usize, length: usize, advice: u32) -> Result<usize> {
    let range = caller.space.advise(address, length, advice)?;
    if let Some(range) = range {
        // Populating: each piece is advised by itself, so that other tasks have their turns.
        for start in range.clone().step_by(PAGES_A_TURN * PAGE_SIZE) {
            let end = range.end.min(start + PAGES_A_TURN * PAGE_SIZE);
            caller.space.advise_populate(start..end, advice)?;
            task::wait::preemption_point(caller.task, caller.user).await;
        }
    }
    Ok(0)
}

/// msync(2). Errors: EINVAL, EBUSY, ENOMEM.
pub fn msync(caller: &mut Caller<'_>, address: usize, length: usize, flags: u32) -> Result<usize> {
    if flags & !(linux::MS_ASYNC | linux::MS_INVALIDATE | linux::MS_SYNC) != 0
        || flags & (linux::MS_ASYNC | linux::MS_SYNC) == linux::MS_ASYNC | linux::MS_SYNC
    {
        return Err(Errno::EINVAL.because("msync is told ASYNC or SYNC, and perhaps INVALIDATE"));
    }
    caller.space.synchronize(address, length, flags & linux::MS_INVALIDATE != 0)?;
    Ok(0)
}

/// What mlock(2) says of a page it could not bring in, in POSIX' terms.
fn lock_error(fault: Fault) -> Errno {
    match fault {
        Fault::OutOfMemory => Errno::EAGAIN.because("there is no memory for what is to be locked"),
        _ => Errno::ENOMEM.because("part of what is to be locked has no memory behind it"),
    }
}

/// mlock(2). Errors: EINVAL, EPERM, ENOMEM, EAGAIN.
pub async fn mlock(caller: &mut Caller<'_>, address: usize, length: usize) -> Result<usize> {
    mlock2(caller, address, length, 0).await
}

/// mlock2(2). Errors: EINVAL, EPERM, ENOMEM, EAGAIN.
pub async fn mlock2(caller: &mut Caller<'_>, address: usize, length: usize, flags: u32) -> Result<usize> {
    if flags & !linux::MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL.because("mlock2 knows MLOCK_ONFAULT"));
    }
    let on_fault = flags != 0;
    let range = caller.space.lock(address, length, on_fault)?;
    if !on_fault {
        populate(caller, range).await.map_err(lock_error)?;
    }
    Ok(0)
}

/// munlock(2). Errors: EINVAL, ENOMEM.
pub fn munlock(caller: &mut Caller<'_>, address: usize, length: usize) -> Result<usize> {
    caller.space.unlock(address, length)?;
    Ok(0)
}

/// mlockall(2). Errors: EINVAL, EPERM, ENOMEM.
pub async fn mlockall(caller: &mut Caller<'_>, flags: u32) -> Result<usize> {
    let known = linux::MCL_CURRENT | linux::MCL_FUTURE | linux::MCL_ONFAULT;
    if flags & !known != 0 || flags & (linux::MCL_CURRENT | linux::MCL_FUTURE) == 0 {
        return Err(Errno::EINVAL.because("mlockall is told CURRENT or FUTURE, and perhaps ONFAULT"));
    }
    let (current, on_fault) = (flags & linux::MCL_CURRENT != 0, flags & linux::MCL_ONFAULT != 0);
    caller.space.lock_all(current, flags & linux::MCL_FUTURE != 0, on_fault)?;
    if current && !on_fault {
        let mut reached = 0;
        while let Some(range) = caller.space.next_region(reached) {
            reached = range.end;
            // What cannot be had is left out.
            let _ = populate(caller, range).await;
        }
    }
    Ok(0)
}

/// munlockall(2).
pub fn munlockall(caller: &mut Caller<'_>) -> Result<usize> {
    caller.space.unlock_all();
    Ok(0)
}

/// mincore(2). Errors: EINVAL, ENOMEM, EFAULT.
pub fn mincore(caller: &mut Caller<'_>, address: usize, length: usize, into: usize) -> Result<usize> {
    let pages = length.div_ceil(PAGE_SIZE);
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.because("mincore starts at a page"));
    }
    if address.checked_add(length).is_none_or(|end| end > Hardware::USER_END) {
        return Err(Errno::ENOMEM.because("part of the range is not mapped"));
    }
    let mut destination = Destination::user(&caller.space, into, pages)?;
    let mut answers = [0; PAGES_A_TURN];
    for first in (0..pages).step_by(answers.len()) {
        let count = answers.len().min(pages - first);
        caller.space.residency(address + first * PAGE_SIZE, &mut answers[..count])?;
        if destination.put(&answers[..count])? < count {
            return Err(Errno::EFAULT.because("the answer does not fit where it is to go"));
        }
    }
    Ok(0)
}

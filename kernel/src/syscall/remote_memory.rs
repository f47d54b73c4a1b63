//! process_vm_readv(2) and process_vm_writev(2): one process' memory to another's without a file between them.

use super::{Caller, file_copies::piece_buffer};
use crate::{
    abi::{Errno, Result, TaskId, UserPointer, linux},
    arch::PAGE_SIZE,
    mm::{
        AddressSpace,
        user::{Destination, IoVector, Source},
    },
    ns::Access,
    task,
};
use alloc::{sync::Arc, vec::Vec};

/// Pages moved between two turns for other tasks.
const PAGES_A_TURN: usize = 256;

/// process_vm_readv(2). Returns the bytes moved, up to the first page that cannot be had.
///
/// Errors, in this order: EINVAL for flags; those of each of the two lists of buffers, as readv(2); ESRCH; EPERM without
/// permission to look into the process; EFAULT when no byte can be moved.
pub async fn process_vm_readv(
    caller: &mut Caller<'_>,
    process: i32,
    local: UserPointer<IoVector>,
    local_count: usize,
    remote: UserPointer<IoVector>,
    remote_count: usize,
    flags: usize,
) -> Result<usize> {
    must_be_none(flags)?;
    let space = caller.space.clone();
    let mut into = Destination::vectors(&space, local, local_count)?;
    let Some(remote) = Remote::find(caller, process, into.remaining(), remote, remote_count)? else {
        return Ok(0);
    };
    let mut bytes = piece_buffer(PAGE_SIZE)?;
    remote
        .move_all(caller, |theirs, address, length| {
            let read = theirs.read_remote(address, &mut bytes[..length.min(into.remaining())])?;
            into.put(&bytes[..read])
        })
        .await
}

/// process_vm_writev(2): the other way. Errors: likewise.
pub async fn process_vm_writev(
    caller: &mut Caller<'_>,
    process: i32,
    local: UserPointer<IoVector>,
    local_count: usize,
    remote: UserPointer<IoVector>,
    remote_count: usize,
    flags: usize,
) -> Result<usize> {
    must_be_none(flags)?;
    let space = caller.space.clone();
    let mut from = Source::vectors(&space, local, local_count)?;
    let Some(remote) = Remote::find(caller, process, from.remaining(), remote, remote_count)? else {
        return Ok(0);
    };
    let mut bytes = piece_buffer(PAGE_SIZE)?;
    remote
        .move_all(caller, |theirs, address, length| {
            let taken = from.take(&mut bytes[..length])?;
            theirs.write_remote(address, &bytes[..taken])
        })
        .await
}

fn must_be_none(flags: usize) -> Result<()> {
    if flags != 0 {
        return Err(Errno::EINVAL.because("moving memory between processes has no flags"));
    }
    Ok(())
}

/// The other process' side: its memory, and which ranges of it.
struct Remote {
    space: Arc<AddressSpace>,
    ranges: Vec<IoVector>,
}

impl Remote {
    /// `None` when there is nothing to move, which is found out before the process is looked for.
    fn find(
        caller: &Caller<'_>,
        process: i32,
        local_bytes: usize,
        ranges: UserPointer<IoVector>,
        count: usize,
    ) -> Result<Option<Self>> {
        if count > linux::UIO_MAXIOV as usize {
            return Err(Errno::EINVAL.because("a call takes at most IOV_MAX buffers"));
        }
        if local_bytes == 0 {
            return Ok(None);
        }
        let ranges = caller.space.read_array(ranges, count)?;
        if ranges.iter().any(|range: &IoVector| range.length > isize::MAX as usize) {
            return Err(Errno::EINVAL.because("a buffer's length is not negative"));
        }
        if ranges.iter().all(|range| range.length == 0) {
            return Ok(None);
        }
        let gone = || Errno::ESRCH.because("there is no such process");
        let thread = task::table::task(process as TaskId).ok_or_else(gone)?;
        let own = Arc::ptr_eq(thread.process(), caller.task.process());
        if !own && !thread.may_be_inspected_by(&caller.credentials(), Access::Calls) {
            return Err(
                Errno::EPERM.because("reaching into memory takes permission to look into the process")
            );
        }
        Ok(Some(Self { space: thread.space().ok_or_else(gone)?, ranges }))
    }

    /// Has `step` move pieces that lie in one page each, until it moves less than it is asked to.
    async fn move_all(
        self,
        caller: &mut Caller<'_>,
        mut step: impl FnMut(&AddressSpace, usize, usize) -> Result<usize>,
    ) -> Result<usize> {
        let (mut done, mut pages) = (0, 0);
        for range in self.ranges {
            let mut moved_of_range = 0;
            while moved_of_range < range.length {
                let address = range.base.wrapping_add(moved_of_range);
                let length = (range.length - moved_of_range).min(PAGE_SIZE - address % PAGE_SIZE);
                match step(&self.space, address, length) {
                    Ok(moved) => {
                        done += moved;
                        moved_of_range += moved;
                        if moved < length {
                            return Ok(done);
                        }
                    }
                    Err(error) if done == 0 => return Err(error),
                    Err(_) => return Ok(done),
                }
                pages += 1;
                if pages % PAGES_A_TURN == 0 {
                    task::wait::preemption_point(caller.task, caller.user).await;
                }
            }
        }
        Ok(done)
    }
}

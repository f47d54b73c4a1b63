//! `/proc/PID/mem`: a process' memory as a file, whose positions are addresses, proc_pid_mem(5).
//!
//! Who may is asked when it is opened. What is open is the memory of that moment: after an exec it is still the old
//! one's, of which nothing is left. (On Linux the file also passes over what the process itself may not read or write,
//! for debuggers, which do not exist here.)

use super::Someone;
use crate::{
    abi::{Errno, Result},
    arch::PAGE_SIZE,
    fs::{Actor, Call, FileOperations, Positions},
    mm::{
        AddressSpace,
        user::{Destination, Source},
    },
};
use alloc::sync::{Arc, Weak};

/// Not its owner: a process' memory ends with it, whoever has this open.
struct Memory(Weak<AddressSpace>);

/// Opens it. Errors: EACCES; ESRCH.
pub fn open(someone: &Someone, actor: &dyn Actor) -> Result<Arc<dyn FileOperations>> {
    let space = someone.must_be_inspectable(actor)?.space();
    Ok(Arc::new(Memory(space.as_ref().map(Arc::downgrade).unwrap_or_default())))
}

/// A byte that is not there is an error of the file's here, not of the caller's buffer.
fn not_there(_: Errno) -> Errno {
    Errno::EIO.because("the process has no memory there that can be reached")
}

impl FileOperations for Memory {
    fn read(&self, call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        let Some(space) = self.0.upgrade() else { return Ok(0) };
        let mut bytes = [0; PAGE_SIZE];
        pieces(call.offset, into.remaining(), |address, length| {
            let read = space.read_remote(address, &mut bytes[..length]).map_err(not_there)?;
            into.put(&bytes[..read])
        })
    }

    fn write(&self, call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        let Some(space) = self.0.upgrade() else { return Ok(0) };
        let mut bytes = [0; PAGE_SIZE];
        pieces(call.offset, from.remaining(), |address, length| {
            let taken = from.take(&mut bytes[..length])?;
            space.write_remote(address, &bytes[..taken]).map_err(not_there)
        })
    }

    fn positions(&self) -> Positions {
        Positions::Some
    }
}

/// Has `step` move pieces of a page at most, up to the first that moves less; tells how many bytes were moved. Errors: the
/// first piece's.
fn pieces(offset: u64, length: usize, mut step: impl FnMut(usize, usize) -> Result<usize>) -> Result<usize> {
    let mut done = 0;
    while done < length {
        let address = (offset as usize).wrapping_add(done);
        let piece = (length - done).min(PAGE_SIZE - address % PAGE_SIZE);
        match step(address, piece) {
            Ok(moved) if moved == piece => done += moved,
            Ok(moved) => return Ok(done + moved),
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

//! The devices that are no more than an idea: null(4), full(4), and the kernel's log.

use super::super::{Call, File, FileOperations, Positions};
use crate::{
    abi::{Errno, Result},
    mm::{
        PageSource,
        source::SharedMemory,
        user::{Destination, Source},
    },
};
use alloc::{string::String, sync::Arc};

/// `/dev/null`: takes everything, has nothing.
pub struct Null;

impl FileOperations for Null {
    fn read(&self, _call: Call<'_>, _into: &mut Destination<'_>) -> Result<usize> {
        Ok(0)
    }

    fn write(&self, _call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        Ok(from.skip(from.remaining()))
    }

    fn positions(&self) -> Positions {
        Positions::Ignored
    }
}

fn read_zeros(into: &mut Destination<'_>) -> Result<usize> {
    into.put_zeros(into.remaining())
}

/// `/dev/zero`: takes everything, has zeros without end.
pub struct Zero;

impl FileOperations for Zero {
    fn read(&self, _call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        read_zeros(into)
    }

    fn write(&self, _call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        Ok(from.skip(from.remaining()))
    }

    fn positions(&self) -> Positions {
        Positions::Ignored
    }

    /// Fresh memory for each mapping, as long as anyone likes: what programs did before MAP_ANONYMOUS.
    fn pages(&self, _file: &Arc<File>, _stores: bool) -> Result<Arc<dyn PageSource>> {
        const PAGES: u64 = 1 << 40;
        Ok(Arc::new(SharedMemory::new(PAGES)))
    }
}

/// `/dev/full`: has zeros without end, takes nothing.
pub struct Full;

impl FileOperations for Full {
    fn read(&self, _call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        read_zeros(into)
    }

    fn write(&self, _call: Call<'_>, _from: &mut Source<'_>) -> Result<usize> {
        Err(Errno::ENOSPC.because("/dev/full is full"))
    }

    fn positions(&self) -> Positions {
        Positions::Ignored
    }
}

/// `/dev/kmsg`: what is written goes to the kernel's log. The log is not kept, so there is never anything to read.
pub struct KernelMessages;

/// The longest message.
const LONGEST: usize = 1024;

impl FileOperations for KernelMessages {
    fn read(&self, _call: Call<'_>, _into: &mut Destination<'_>) -> Result<usize> {
        Err(Errno::EAGAIN.because("the kernel's log is not kept"))
    }

    fn write(&self, _call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        let length = from.remaining();
        if length > LONGEST {
            return Err(Errno::EINVAL.because("a message has at most 1024 bytes"));
        }
        let mut buffer = [0; LONGEST];
        let count = from.take(&mut buffer[..length])?;
        log::info!(target: "program", "{}", String::from_utf8_lossy(&buffer[..count]).trim_end());
        Ok(count)
    }

    fn readiness(&self, _file: &File) -> super::super::Readiness {
        super::super::Readiness::WRITABLE
    }

    fn positions(&self) -> Positions {
        Positions::Ignored
    }
}

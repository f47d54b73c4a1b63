//! Copying from file to file inside the kernel: sendfile(2), copy_file_range(2).
//!
//! What is copied goes through a buffer, a piece at a time: files of all kinds are read and written alike, and the buffer's
//! copy costs less than the two journeys through user memory that the call saves.

use super::{
    Caller,
    file_io::{checked_offset, writing},
};
use crate::{
    abi::{Errno, Result, UserPointer},
    fs::{Descriptor, File, Kind, OpenFlags, Positions},
    mm::{
        buffers::MOST_PER_CALL,
        user::{Destination, Source},
    },
    task::wait,
};
use alloc::{sync::Arc, vec::Vec};

/// How many bytes are copied between two files at a time.
const PIECE: usize = 16 * 1024;

/// A buffer for so many bytes, or as many as are copied at a time. Errors: ENOMEM.
pub fn piece_buffer(length: usize) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length.min(PIECE)).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(length.min(PIECE), 0);
    Ok(buffer)
}

/// sendfile(2)
pub async fn sendfile(
    caller: &mut Caller<'_>,
    output: Descriptor,
    input: Descriptor,
    offset: UserPointer<i64>,
    count: usize,
) -> Result<usize> {
    let place = offset.optional().map(|pointer| caller.space.read(pointer)).transpose()?;
    let from = caller.file(input)?;
    from.must_be_readable()?;
    if place.is_some() {
        from.must_have_read_positions()?;
    }
    let start = match place {
        Some(place) => checked_offset(place)?,
        None => from.position(),
    };
    let to = caller.file(output)?;
    to.must_be_writable()?;
    let is_stream = from.operations().positions() == Positions::None;
    if is_stream || to.flags().contains(OpenFlags::APPEND) || from.path().inode().kind() == Kind::Directory {
        return Err(Errno::EINVAL.because("sendfile copies from contents, and does not append"));
    }
    let (done, error) = copy(caller, &from, start, &to, None, count).await;
    match offset.optional() {
        Some(pointer) => caller.space.write(pointer, &((start + done as u64) as i64))?,
        None => from.set_position(start + done as u64),
    }
    match error {
        Some(error) if done == 0 => Err(error),
        _ => Ok(done),
    }
}

/// Copies until the end, a signal, an error, or `count` bytes; tells how many, and the error. (What is copied may have no
/// end: `/dev/urandom`.) It is written to a place, or where the last write has ended.
async fn copy(
    caller: &mut Caller<'_>,
    from: &File,
    start: u64,
    to: &File,
    to_start: Option<u64>,
    count: usize,
) -> (usize, Option<Errno>) {
    let mut buffer = match piece_buffer(count) {
        Ok(buffer) => buffer,
        Err(error) => return (0, Some(error)),
    };
    let count = count.min(MOST_PER_CALL);
    let mut done = 0;
    while done < count {
        let length = buffer.len().min(count - done);
        let mut into = Destination::kernel(&mut buffer[..length]);
        let read = match from.read_at(caller.task, start + done as u64, &mut into) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return (done, Some(error)),
        };
        let written = match to_start {
            Some(place) => {
                to.write_at(caller.task, place + done as u64, &mut Source::kernel(&buffer[..read]))
            }
            None => writing(caller.task, caller.user, to, || Ok(Source::kernel(&buffer[..read]))).await,
        };
        match written {
            Ok(written) => {
                done += written;
                if written < read {
                    break;
                }
            }
            Err(error) => return (done, Some(error)),
        }
        if caller.task.interrupted() {
            break;
        }
        wait::preemption_point(caller.task, caller.user).await;
    }
    (done, None)
}

/// copy_file_range(2)
pub async fn copy_file_range(
    caller: &mut Caller<'_>,
    input: Descriptor,
    input_offset: UserPointer<i64>,
    output: Descriptor,
    output_offset: UserPointer<i64>,
    count: usize,
    flags: u32,
) -> Result<usize> {
    let (from, to) = (caller.file(input)?, caller.file(output)?);
    let place = |pointer: UserPointer<i64>, file: &File| match pointer.optional() {
        Some(pointer) => caller.space.read(pointer).map(|place| place as u64),
        None => Ok(file.position()),
    };
    let (from_start, to_start) = (place(input_offset, &from)?, place(output_offset, &to)?);
    if flags != 0 {
        return Err(Errno::EINVAL.because("copy_file_range has no flags"));
    }
    let count = check_ranges(&from, from_start, &to, to_start, count)?;
    let (done, error) = copy(caller, &from, from_start, &to, Some(to_start), count).await;
    if let Some(error) = error.filter(|_| done == 0) {
        return Err(error);
    }
    for (pointer, file, start) in [(input_offset, &from, from_start), (output_offset, &to, to_start)] {
        let end = start + done as u64;
        match pointer.optional() {
            Some(pointer) => caller.space.write(pointer, &(end as i64))?,
            None => file.set_position(end),
        }
    }
    Ok(done)
}

/// How many bytes there are to copy: those before the end.
fn check_ranges(from: &File, from_start: u64, to: &File, to_start: u64, count: usize) -> Result<usize> {
    from.must_be_readable()?;
    to.must_be_writable()?;
    if to.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF.because("copy_file_range does not append"));
    }
    let kinds = [from, to].map(|file| file.path().inode().kind());
    if kinds.contains(&Kind::Directory) {
        return Err(Errno::EISDIR.because("a directory has no contents to copy"));
    }
    if kinds != [Kind::Regular; 2] {
        return Err(Errno::EINVAL.because("copy_file_range copies between regular files"));
    }
    if from.path().mount.file_system.device() != to.path().mount.file_system.device() {
        return Err(Errno::EXDEV.because("copy_file_range copies within one file system"));
    }
    if [from_start, to_start].iter().any(|start| start.checked_add(count as u64).is_none()) {
        return Err(Errno::EOVERFLOW.because("a range ends within 64 bits"));
    }
    let length = from.operations().length().unwrap_or(0);
    let count = (count as u64).min(length.saturating_sub(from_start));
    let one_file = Arc::ptr_eq(from.path().inode(), to.path().inode());
    if one_file && from_start < to_start + count && to_start < from_start + count {
        return Err(Errno::EINVAL.because("the ranges overlap"));
    }
    Ok(count as usize)
}

//! Pipes, pipe(7), with and without a name.
//!
//! A pipe is a queue of pages, partly filled, and its capacity is a number of them. Of a write what does not fill whole
//! pages goes into the rest of the last page, if it fits there; so small writes share a page, and while a page is free a
//! write of up to a page is done whole or not at all.

use super::{
    Answer, Call, File, FileOperations, Kind, Metadata, OpenFlags, Readiness,
    attributes::now,
    pseudo::{PIPES, PseudoInode},
};
use crate::{
    abi::{Errno, Result, UserPointer},
    arch::PAGE_SIZE,
    mm::{
        AddressSpace, PageRef, reserve,
        user::{Destination, Source},
    },
    ns::Credentials,
    sync::{SpinLock, WaitQueue},
};
use alloc::{collections::VecDeque, format, sync::Arc};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use linux_raw_sys::ioctl::FIONREAD;

/// How many pages a pipe holds at first.
const PAGES: usize = 16;
/// How many anybody may ask for, F_SETPIPE_SZ: 1 MiB.
const MOST_PAGES: usize = 256;

struct Chunk {
    page: PageRef,
    start: usize,
    end: usize,
}

struct State {
    /// The last one stays when all of it was read, as one that holds nothing: most pipes are written again soon.
    chunks: VecDeque<Chunk>,
    /// Bytes in all of them.
    length: usize,
    capacity: usize,
    readers: usize,
    writers: usize,
    /// How many have ever opened the end: a named pipe's opener waits for another, not for one that stays.
    readers_ever: u64,
    writers_ever: u64,
}

/// A pipe.
pub struct Pipe {
    /// Held while bytes are copied: address spaces' locks are taken inside it.
    state: SpinLock<State>,
    changed: WaitQueue,
}

impl Pipe {
    fn new() -> Arc<Self> {
        let state = State {
            chunks: VecDeque::new(),
            length: 0,
            capacity: PAGES,
            readers: 0,
            writers: 0,
            readers_ever: 0,
            writers_ever: 0,
        };
        Arc::new(Self { state: SpinLock::new(state), changed: WaitQueue::new() })
    }

    fn open(self: &Arc<Self>, reads: bool, writes: bool) -> Arc<End> {
        Arc::new(self.new_end(reads, writes))
    }

    fn new_end(self: &Arc<Self>, reads: bool, writes: bool) -> End {
        let mut state = self.state.lock();
        let partners = if reads { state.writers_ever } else { state.readers_ever };
        let alone = if reads { state.writers == 0 } else { state.readers == 0 };
        let waits_beyond = (reads != writes && alone).then_some(partners);
        state.readers += usize::from(reads);
        state.readers_ever += u64::from(reads);
        state.writers += usize::from(writes);
        state.writers_ever += u64::from(writes);
        drop(state);
        self.changed.wake_all();
        End { pipe: self.clone(), reads, writes, waits_beyond }
    }
}

impl State {
    /// The last page, if what a write does not fill whole pages with fits into the rest of it (and does not come before
    /// those pages, if there was nothing yet).
    fn page_to_share(&mut self, length: usize) -> Option<&mut Chunk> {
        let part = length % PAGE_SIZE;
        let fits = |chunk: &Chunk| chunk.end + part <= PAGE_SIZE && (chunk.end > 0 || part == length);
        self.chunks.back_mut().filter(|chunk| part > 0 && fits(chunk))
    }

    /// The page that holds nothing, if there is one.
    fn take_empty_page(&mut self) -> Option<PageRef> {
        if self.length == 0 { self.chunks.pop_back().map(|chunk| chunk.page) } else { None }
    }

    fn free_pages(&self) -> usize {
        if self.length == 0 { self.capacity } else { self.capacity.saturating_sub(self.chunks.len()) }
    }

    fn take(&mut self, into: &mut Destination<'_>) -> Result<usize> {
        let mut done = 0;
        while self.length > 0
            && into.remaining() > 0
            && let Some(chunk) = self.chunks.front_mut()
        {
            let length = (chunk.end - chunk.start).min(into.remaining());
            match into.put_page(&chunk.page, chunk.start, length) {
                Ok(count) => {
                    chunk.start += count;
                    done += count;
                    self.length -= count;
                    if chunk.start == chunk.end {
                        (chunk.start, chunk.end) = (0, 0);
                        if self.chunks.len() > 1 {
                            self.chunks.pop_front();
                        }
                    }
                    if count < length {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn put(&mut self, from: &mut Source<'_>) -> Result<usize> {
        let mut done = 0;
        let wanted = from.remaining();
        if let Some(chunk) = self.page_to_share(wanted) {
            let part = wanted % PAGE_SIZE;
            done = from.take_page(&chunk.page, chunk.end, part)?;
            if done < part {
                return Err(cut_short());
            }
            chunk.end += done;
            self.length += done;
        }
        while from.remaining() > 0 && self.free_pages() > 0 {
            let length = PAGE_SIZE.min(from.remaining());
            let page = match self.take_empty_page() {
                Some(page) => Ok(page),
                None => reserve::check_for_contents().and_then(|()| PageRef::uninitialized()),
            };
            let filled = page.and_then(|page| {
                // A page that could not be filled is not sent at all, as on Linux. What lies behind what was filled in
                // is never read.
                match from.take_page(&page, 0, length)? {
                    end if end < length => Err(cut_short()),
                    end => Ok(Chunk { page, start: 0, end }),
                }
            });
            match filled {
                Ok(chunk) => {
                    self.length += length;
                    self.chunks.push_back(chunk);
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            done += length;
        }
        Ok(done)
    }
}

fn cut_short() -> Errno {
    Errno::EFAULT.because("the bytes to be sent are not all there")
}

/// One end of a pipe (or, of a named pipe opened for both, both).
pub struct End {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// When it was opened without anybody at the other end: how many had ever been there.
    waits_beyond: Option<u64>,
}

impl End {
    /// Whether somebody has come to the other end since this one was opened, for open(2) of a named pipe.
    pub fn has_partner(&self) -> bool {
        let state = self.pipe.state.lock();
        let ever = if self.reads { state.writers_ever } else { state.readers_ever };
        self.waits_beyond.is_none_or(|beyond| ever > beyond)
    }

    /// How many bytes it holds at most, F_GETPIPE_SZ.
    pub fn capacity(&self) -> usize {
        self.pipe.state.lock().capacity * PAGE_SIZE
    }

    /// Sets that, rounded up to a power of two pages; tells what it became.
    ///
    /// Errors: EINVAL for a negative size; EPERM for more than 1 MiB; EBUSY when it holds more.
    pub fn set_capacity(&self, bytes: usize) -> Result<usize> {
        if bytes > i32::MAX as usize {
            return Err(Errno::EINVAL.because("a pipe's size is a positive int"));
        }
        let pages = bytes.div_ceil(PAGE_SIZE).next_power_of_two();
        if pages > MOST_PAGES {
            return Err(Errno::EPERM.because("a pipe holds at most 1 MiB"));
        }
        let mut state = self.pipe.state.lock();
        if state.chunks.len() > pages {
            return Err(Errno::EBUSY.because("the pipe holds more than that"));
        }
        state.capacity = pages;
        drop(state);
        self.pipe.changed.wake_all();
        Ok(pages * PAGE_SIZE)
    }
}

impl FileOperations for End {
    fn read(&self, _call: Call<'_>, into: &mut Destination<'_>) -> Result<usize> {
        if into.remaining() == 0 {
            return Ok(0);
        }
        let mut state = self.pipe.state.lock();
        if state.length == 0 {
            return match state.writers {
                0 => Ok(0),
                _ => Err(Errno::EAGAIN.because("the pipe is empty")),
            };
        }
        let was_full = state.free_pages() == 0;
        let count = state.take(into)?;
        let has_room_again = was_full && state.free_pages() > 0;
        drop(state);
        if has_room_again {
            self.pipe.changed.wake_writers();
        }
        Ok(count)
    }

    fn write(&self, _call: Call<'_>, from: &mut Source<'_>) -> Result<usize> {
        let wanted = from.remaining();
        if wanted == 0 {
            return Ok(0);
        }
        let mut state = self.pipe.state.lock();
        if state.readers == 0 {
            return Err(Errno::EPIPE.because("nobody can read from the pipe any more"));
        }
        if state.free_pages() == 0 && state.page_to_share(wanted).is_none() {
            return Err(Errno::EAGAIN.because("the pipe is full"));
        }
        let count = state.put(from)?;
        drop(state);
        self.pipe.changed.wake_readers();
        Ok(count)
    }

    fn writes_whole(&self, length: usize) -> bool {
        length <= PAGE_SIZE
    }

    fn readiness(&self, _file: &File) -> Readiness {
        let state = self.pipe.state.lock();
        let mut readiness = Readiness::empty();
        if self.reads {
            readiness.set(Readiness::READABLE, state.length > 0);
            readiness.set(Readiness::HANG_UP, state.writers == 0 && self.has_had_writer(&state));
        }
        if self.writes {
            readiness.set(Readiness::WRITABLE, state.free_pages() > 0);
            readiness.set(Readiness::ERROR, state.readers == 0);
        }
        readiness
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.changed)
    }

    fn control(
        &self,
        _call: Call<'_>,
        space: &AddressSpace,
        request: u32,
        argument: usize,
    ) -> Result<Answer> {
        match request {
            FIONREAD => {
                let length = self.pipe.state.lock().length as i32;
                space.write(UserPointer::new(argument), &length)?;
                Ok(Answer::Value(0))
            }
            _ => Err(Errno::ENOTTY.because("a pipe knows only FIONREAD")),
        }
    }
}

impl End {
    fn has_had_writer(&self, state: &State) -> bool {
        self.waits_beyond.is_none_or(|beyond| state.writers_ever > beyond)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.readers -= usize::from(self.reads);
        state.writers -= usize::from(self.writes);
        if state.readers + state.writers == 0 {
            state.chunks.clear();
            state.length = 0;
        }
        drop(state);
        self.pipe.changed.wake_all();
    }
}

/// The two ends of a new pipe: to read from, to write to. `flags`: O_NONBLOCK and O_DIRECT count.
pub fn pipe(flags: OpenFlags, credentials: &Arc<Credentials>) -> Result<(Arc<File>, Arc<File>)> {
    static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NEXT_NUMBER.fetch_add(1, Relaxed);
    let now = now();
    let metadata = Metadata {
        uid: credentials.fsuid,
        gid: credentials.fsgid,
        accessed: now,
        modified: now,
        changed: now,
        born: now,
        ..Metadata::plain(PIPES.device(), number, Kind::Fifo, 0o600)
    };
    let pipe = Pipe::new();
    let (read_end, write_end) = (pipe.open(true, false), pipe.open(false, true));
    let name = format!("pipe:[{number}]").into_bytes();
    let path = PIPES.path(Arc::new(PipeInode { inner: PseudoInode::new(metadata, name), pipe }));
    let flags = flags & (OpenFlags::NON_BLOCKING | OpenFlags::DIRECT);
    Ok((
        File::new(path.clone(), read_end, flags, credentials.clone())?,
        File::new(path, write_end, flags | OpenFlags::WRITE_ONLY, credentials.clone())?,
    ))
}

/// A pipe's inode outlives neither of its ends but can be opened again through `/proc/PID/fd`.
struct PipeInode {
    inner: PseudoInode,
    pipe: Arc<Pipe>,
}

impl super::Inode for PipeInode {
    fn metadata(&self) -> Metadata {
        self.inner.metadata()
    }

    fn change(&self, changes: &super::metadata::AttributeChanges) -> Result<()> {
        self.inner.change(changes)
    }

    fn open(self: Arc<Self>, opening: &super::Opening<'_>) -> Result<Arc<dyn FileOperations>> {
        // Opened once more through /proc/PID/fd. A pipe without a name never waits for a partner: whoever wrote into it
        // may have finished already, and a reader then finds what is left, and the end.
        let mut end = self.pipe.new_end(opening.flags.reads(), opening.flags.writes());
        end.waits_beyond = None;
        Ok(Arc::new(end))
    }

    fn pseudo_name(&self) -> Option<alloc::vec::Vec<u8>> {
        self.inner.pseudo_name()
    }
}

fn open_end(pipe: &Arc<Pipe>, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
    let nobody_reads = pipe.state.lock().readers == 0;
    if !flags.reads() && flags.contains(OpenFlags::NON_BLOCKING) && nobody_reads {
        return Err(Errno::ENXIO.because("nobody reads from the pipe, and O_NONBLOCK does not wait"));
    }
    Ok(pipe.open(flags.reads(), flags.writes()))
}

/// A pipe that has a name, fifo(7): it is there while somebody has it open.
pub struct NamedPipe(Arc<Pipe>);

impl NamedPipe {
    /// Nobody has it open yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Pipe::new()))
    }

    /// One more end. open(2) then waits until [`End::has_partner`], unless O_NONBLOCK.
    ///
    /// Errors: ENXIO when opened to write, with O_NONBLOCK, and nobody reads.
    pub fn open(&self, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        open_end(&self.0, flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{
        KernelActor,
        tests::{Somebody, prepare, read, write},
    };
    use crate::mm::frames::tests::held;

    fn ends() -> (Arc<File>, Arc<File>) {
        prepare();
        pipe(OpenFlags::empty(), &Somebody::root().credentials).unwrap()
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let before = held();
        let (reader, writer) = ends();
        assert_eq!(read(&reader, 10), Err(Errno::EAGAIN));
        for number in 0..100u8 {
            assert_eq!(write(&writer, &[number; 100]), Ok(100));
        }
        assert_eq!(held(), before + 3, "small writes share pages");
        for number in 0..100u8 {
            assert_eq!(read(&reader, 100).unwrap(), [number; 100]);
        }
        assert_eq!(held(), before + 1, "what is read is freed, but for one page to write into again");
        assert_eq!(read(&writer, 1), Err(Errno::EBADF));
        assert_eq!(write(&reader, b"x"), Err(Errno::EBADF));
        drop((reader, writer));
        assert_eq!(held(), before, "nothing stays behind");
    }

    #[test]
    fn small_writes_are_whole_or_nothing() {
        let (reader, writer) = ends();
        assert_eq!(write(&writer, &[0; 100_000]), Ok(65_536), "a large one goes as far as it can");
        assert_eq!(write(&writer, &[1]), Err(Errno::EAGAIN));
        assert!(!writer.readiness().contains(Readiness::OUT));
        read(&reader, 4095).unwrap();
        assert_eq!(
            write(&writer, &[1; PAGE_SIZE]),
            Err(Errno::EAGAIN),
            "a page is free only when all of it is read"
        );
        read(&reader, 1).unwrap();
        assert!(writer.readiness().contains(Readiness::OUT));
        assert_eq!(write(&writer, &[1; PAGE_SIZE]), Ok(PAGE_SIZE));
    }

    #[test]
    fn ends_know_when_the_other_is_gone() {
        let (reader, writer) = ends();
        write(&writer, b"last").unwrap();
        drop(writer);
        assert_eq!(reader.readiness(), Readiness::READABLE | Readiness::HANG_UP);
        assert_eq!(read(&reader, 10).unwrap(), b"last");
        assert_eq!(read(&reader, 10).unwrap(), b"");
        let (reader, writer) = ends();
        drop(reader);
        assert!(writer.readiness().contains(Readiness::ERROR));
        assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
    }

    #[test]
    fn a_pipes_size_is_a_power_of_two_of_pages() {
        let (reader, writer) = ends();
        let end: &End = writer.operations_as().unwrap();
        assert_eq!(end.capacity(), 65_536);
        assert_eq!(end.set_capacity(5000), Ok(8192));
        assert_eq!(end.set_capacity(0), Ok(4096));
        assert_eq!(end.set_capacity(2 << 20), Err(Errno::EPERM));
        end.set_capacity(8192).unwrap();
        write(&writer, &[0; 8192]).unwrap();
        assert_eq!(end.set_capacity(4096), Err(Errno::EBUSY));
        drop(reader);
    }

    #[test]
    fn a_named_pipe_waits_for_a_partner() {
        prepare();
        let pipe = NamedPipe::new();
        let end = |flags| {
            let operations = pipe.open(flags).unwrap();
            let mount = PIPES.path(Arc::new(PseudoInode::new(
                Metadata::plain(PIPES.device(), 0, Kind::Fifo, 0o600),
                alloc::vec::Vec::new(),
            )));
            File::new(mount, operations, flags, Somebody::root().credentials).unwrap()
        };
        assert_eq!(pipe.open(OpenFlags::WRITE_ONLY | OpenFlags::NON_BLOCKING).map(|_| ()), Err(Errno::ENXIO));
        let reader = end(OpenFlags::READ_ONLY);
        let as_end = |file: &File| file.operations_as::<End>().unwrap().has_partner();
        assert!(!as_end(&reader));
        assert_eq!(reader.readiness(), Readiness::empty(), "no hang-up before anybody was there");
        let writer = end(OpenFlags::WRITE_ONLY);
        assert!(as_end(&reader) && as_end(&writer));
        drop(writer);
        assert!(as_end(&reader), "it came, though it has gone");
        assert!(reader.readiness().contains(Readiness::HANG_UP));
        let both = end(OpenFlags::READ_WRITE);
        assert!(as_end(&both));
        let mut buffer = [0; 1];
        assert_eq!(both.read(&KernelActor, &mut Destination::kernel(&mut buffer)), Err(Errno::EAGAIN));
    }
}

//! File descriptors: small numbers for open files, one table for a process or for all that share it (CLONE_FILES).

use super::{File, OpenFlags, locks, socket};
use crate::{
    abi::{Errno, Result, linux},
    sync::SpinLock,
};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A file descriptor as a program gives it: any number, perhaps no descriptor at all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Descriptor(pub i32);

impl Descriptor {
    /// Stands for the working directory in the `…at` calls, openat(2).
    pub const WORKING_DIRECTORY: Self = Self(linux::AT_FDCWD);

    fn index(self) -> Result<usize> {
        usize::try_from(self.0).map_err(|_| closed())
    }
}

fn closed() -> Errno {
    Errno::EBADF.because("no open file has this descriptor")
}

/// One place in the table.
#[derive(Clone)]
struct Slot {
    file: Arc<File>,
    close_on_exec: bool,
}

/// All places.
#[derive(Default)]
struct Slots {
    all: Vec<Option<Slot>>,
    /// None is free below: a process with many descriptors does not look through all of them for one more.
    lowest: usize,
}

impl Slots {
    /// Errors: EBADF.
    #[inline(always)]
    fn get(&mut self, descriptor: Descriptor) -> Result<&mut Slot> {
        self.all.get_mut(descriptor.index()?).and_then(Option::as_mut).ok_or_else(closed)
    }

    /// The lowest free place from `lowest` on and below `limit`. Errors: EMFILE.
    #[inline(always)]
    fn lowest_free(&mut self, lowest: usize, limit: u64) -> Result<usize> {
        let start = lowest.max(self.lowest);
        let free = self.all.iter().skip(start).position(Option::is_none).map(|distance| start + distance);
        let index = free.unwrap_or(self.all.len().max(start));
        if lowest <= self.lowest {
            self.lowest = index;
        }
        if index as u64 >= limit {
            return Err(Errno::EMFILE.because("the process has as many descriptors as RLIMIT_NOFILE allows"));
        }
        Ok(index)
    }

    /// Gives what was there. Errors: ENOMEM.
    #[inline(always)]
    fn put(&mut self, index: usize, slot: Slot) -> Result<Option<Slot>> {
        if index >= self.all.len() {
            self.all.try_reserve(index + 1 - self.all.len()).map_err(|_| Errno::ENOMEM)?;
            self.all.resize(index + 1, None);
        }
        if index == self.lowest {
            self.lowest += 1;
        }
        Ok(self.all[index].replace(slot))
    }

    fn take_if(&mut self, index: usize, goes: impl FnOnce(&mut Slot) -> bool) -> Option<Slot> {
        let old = self.all.get_mut(index)?.take_if(goes)?;
        self.lowest = self.lowest.min(index);
        Some(old)
    }
}

/// The descriptors of a process.
pub struct FileTable {
    /// Tells it from every table there ever was: the owner of record locks, fcntl(2).
    id: u64,
    /// Nothing is taken inside it; files leave it before they are dropped.
    slots: SpinLock<Slots>,
}

impl FileTable {
    /// Without any.
    pub fn new() -> Arc<Self> {
        Self::with(Slots::default())
    }

    fn with(slots: Slots) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self { id: NEXT.fetch_add(1, Relaxed), slots: SpinLock::new(slots) })
    }

    /// One of its own for a child, with the same open files. Errors: ENOMEM.
    pub fn fork(&self) -> Result<Arc<Self>> {
        let slots = self.slots.lock();
        let used = slots.all.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let mut copy = Vec::new();
        copy.try_reserve_exact(used).map_err(|_| Errno::ENOMEM)?;
        copy.extend_from_slice(&slots.all[..used]);
        Ok(Self::with(Slots { all: copy, lowest: slots.lowest }))
    }

    /// Tells it from every table there ever was.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The open file, for doing something with it. Errors: EBADF, also for one opened with O_PATH.
    pub fn get(&self, descriptor: Descriptor) -> Result<Arc<File>> {
        self.get_if(descriptor, |flags| !flags.contains(OpenFlags::PATH))
    }

    /// The open file, if it was opened for that. Errors: EBADF.
    #[inline(always)]
    pub fn get_if(&self, descriptor: Descriptor, suits: impl Fn(OpenFlags) -> bool) -> Result<Arc<File>> {
        let mut slots = self.slots.lock();
        let slot = slots.get(descriptor)?;
        match suits(slot.file.flags()) {
            true => Ok(slot.file.clone()),
            false => Err(Errno::EBADF.because("the file was not opened for that, perhaps only as a place")),
        }
    }

    /// The open file, for use as a place. Errors: EBADF.
    pub fn get_any(&self, descriptor: Descriptor) -> Result<Arc<File>> {
        self.slots.lock().get(descriptor).map(|slot| slot.file.clone())
    }

    /// Gives a file the lowest free descriptor at or above `lowest` and below `limit` (RLIMIT_NOFILE). Errors: EMFILE;
    /// ENOMEM; EINVAL when `lowest` is not below the limit.
    pub fn install_from(
        &self,
        lowest: u32,
        file: Arc<File>,
        close_on_exec: bool,
        limit: u64,
    ) -> Result<Descriptor> {
        let lowest = lowest as usize;
        if lowest as u64 >= limit {
            return Err(Errno::EINVAL.because("the lowest descriptor asked for is beyond RLIMIT_NOFILE"));
        }
        let mut slots = self.slots.lock();
        let index = slots.lowest_free(lowest, limit)?;
        slots.put(index, Slot { file, close_on_exec })?;
        Ok(Descriptor(index as i32))
    }

    /// For who must know that a file will have a descriptor before he has the file. Errors: EMFILE.
    pub fn must_have_room(&self, limit: u64) -> Result<()> {
        self.slots.lock().lowest_free(0, limit).map(|_| ())
    }

    /// Gives a file the lowest free descriptor. Errors: EMFILE, ENOMEM.
    pub fn install(&self, file: Arc<File>, close_on_exec: bool, limit: u64) -> Result<Descriptor> {
        match self.install_from(0, file, close_on_exec, limit) {
            Err(Errno::EINVAL) => Err(Errno::EMFILE.because("RLIMIT_NOFILE is 0")),
            other => other,
        }
    }

    /// Gives a file this descriptor, whatever it stood for, dup2(2). Errors: EBADF when it is not below `limit`; ENOMEM.
    pub fn install_at(
        &self,
        descriptor: Descriptor,
        file: Arc<File>,
        close_on_exec: bool,
        limit: u64,
    ) -> Result<()> {
        let index = descriptor.index()?;
        if index as u64 >= limit {
            return Err(Errno::EBADF.because("the descriptor is beyond RLIMIT_NOFILE"));
        }
        let old = self.slots.lock().put(index, Slot { file, close_on_exec })?;
        if let Some(old) = old {
            self.dispose(old);
        }
        Ok(())
    }

    /// Frees a descriptor. Errors: EBADF.
    pub fn close(&self, descriptor: Descriptor) -> Result<()> {
        let index = descriptor.index()?;
        let old = self.slots.lock().take_if(index, |_| true).ok_or_else(closed)?;
        self.dispose(old);
        Ok(())
    }

    /// Frees all descriptors from `first` to `last`, or only marks them close-on-exec, close_range(2).
    pub fn close_range(&self, first: u32, last: u32, only_mark: bool) {
        self.take_where(|index, slot| {
            let within = (first as usize..=last as usize).contains(&index);
            if within && only_mark {
                slot.close_on_exec = true;
            }
            within && !only_mark
        });
    }

    /// Frees those that are not to survive an execve(2).
    pub fn close_on_exec(&self) {
        self.take_where(|_, slot| slot.close_on_exec);
    }

    fn take_where(&self, mut goes: impl FnMut(usize, &mut Slot) -> bool) {
        let (mut index, mut flies) = (0, false);
        loop {
            // One at a time: what is closed must not be dropped under the lock, and a list of it might need much memory.
            let mut slots = self.slots.lock();
            if index >= slots.all.len() {
                break;
            }
            let old = slots.take_if(index, |slot| goes(index, slot));
            drop(slots);
            if let Some(old) = old {
                locks::descriptor_closed(self.id, old.file.path());
                flies |= socket::is_in_flight(&old.file);
            }
            index += 1;
        }
        if flies {
            socket::collect();
        }
    }

    fn dispose(&self, slot: Slot) {
        locks::descriptor_closed(self.id, slot.file.path());
        let is_lost = socket::holds_itself(&slot.file);
        drop(slot);
        if is_lost {
            socket::collect();
        }
    }

    /// Whether the descriptor closes on execve(2). Errors: EBADF.
    pub fn closes_on_exec(&self, descriptor: Descriptor) -> Result<bool> {
        self.slots.lock().get(descriptor).map(|slot| slot.close_on_exec)
    }

    /// Sets whether it does. Errors: EBADF.
    pub fn set_close_on_exec(&self, descriptor: Descriptor, close_on_exec: bool) -> Result<()> {
        self.slots.lock().get(descriptor).map(|slot| slot.close_on_exec = close_on_exec)
    }

    /// The lowest descriptor in use at or above this one, with its file, for `/proc/PID/fd`.
    pub fn next(&self, from: u32) -> Option<(Descriptor, Arc<File>)> {
        let slots = self.slots.lock();
        let found = slots
            .all
            .iter()
            .enumerate()
            .skip(from as usize)
            .find_map(|(index, slot)| Some((index, slot.as_ref()?)));
        found.map(|(index, slot)| (Descriptor(index as i32), slot.file.clone()))
    }

    /// How many places the table has, as Linux grows it: `FDSize` in `/proc/PID/status`, and what select(2) looks at.
    pub fn capacity(&self) -> usize {
        const LEAST: usize = 64;
        self.slots.lock().all.len().next_power_of_two().max(LEAST)
    }
}

impl Drop for FileTable {
    fn drop(&mut self) {
        self.take_where(|_, _| true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{KernelActor, tests::Tree};

    const LIMIT: u64 = 20;

    fn file() -> Arc<File> {
        let tree = Tree::new();
        tree.file("/file");
        tree.open(&KernelActor, "/file", OpenFlags::READ_ONLY).unwrap()
    }

    #[test]
    fn the_lowest_free_descriptor_is_given_out() {
        let (table, file) = (FileTable::new(), file());
        let install = |from| table.install_from(from, file.clone(), false, LIMIT);
        assert_eq!(install(0), Ok(Descriptor(0)));
        assert_eq!(install(5), Ok(Descriptor(5)));
        assert_eq!(install(0), Ok(Descriptor(1)));
        table.close(Descriptor(0)).unwrap();
        assert_eq!(install(0), Ok(Descriptor(0)));
        assert_eq!(install(19), Ok(Descriptor(19)));
        assert_eq!(install(19), Err(Errno::EMFILE));
        assert_eq!(install(20), Err(Errno::EINVAL));
        assert_eq!(table.install(file.clone(), false, 0), Err(Errno::EMFILE));
        for number in [-1, 2, 20, i32::MAX, i32::MIN] {
            assert_eq!(table.get(Descriptor(number)).map(|_| ()), Err(Errno::EBADF));
            assert_eq!(table.close(Descriptor(number)), Err(Errno::EBADF));
        }
    }

    #[test]
    fn places_in_use_are_not_looked_at_again() {
        let (table, file) = (FileTable::new(), file());
        let known = |table: &FileTable| table.slots.lock().lowest;
        table.install_at(Descriptor(1), file.clone(), false, LIMIT).unwrap();
        table.install(file.clone(), false, LIMIT).unwrap();
        assert_eq!(table.install(file.clone(), false, LIMIT), Ok(Descriptor(2)));
        assert_eq!(known(&table), 3);
        table.install_from(5, file.clone(), false, LIMIT).unwrap();
        assert_eq!(known(&table.fork().unwrap()), 3);
        table.close_range(1, 1, false);
        assert_eq!(table.install(file.clone(), false, LIMIT), Ok(Descriptor(1)));
        assert_eq!(table.install(file.clone(), false, LIMIT), Ok(Descriptor(3)));
    }

    #[test]
    fn files_are_dropped_with_their_last_descriptor() {
        let (table, file) = (FileTable::new(), file());
        let weak = Arc::downgrade(&file);
        table.install(file.clone(), false, LIMIT).unwrap();
        table.install_at(Descriptor(7), file.clone(), false, LIMIT).unwrap();
        assert_eq!(table.install_at(Descriptor(20), file.clone(), false, LIMIT), Err(Errno::EBADF));
        let child = table.fork().unwrap();
        drop(file);
        table.close_range(0, u32::MAX, false);
        assert!(weak.upgrade().is_some(), "the child still has it");
        drop(child);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn execution_closes_what_is_marked() {
        let (table, file) = (FileTable::new(), file());
        for close_on_exec in [false, true, false, true] {
            table.install(file.clone(), close_on_exec, LIMIT).unwrap();
        }
        table.set_close_on_exec(Descriptor(3), false).unwrap();
        table.close_range(2, 2, true);
        assert_eq!(table.closes_on_exec(Descriptor(2)), Ok(true));
        table.close_on_exec();
        let mut open = Vec::new();
        let mut from = 0;
        while let Some((descriptor, _)) = table.next(from) {
            open.push(descriptor.0);
            from = descriptor.0 as u32 + 1;
        }
        assert_eq!(open, [0, 3]);
    }

    #[test]
    fn a_place_only_is_no_file() {
        let tree = Tree::new();
        tree.file("/file");
        let place = tree.open(&KernelActor, "/file", OpenFlags::PATH).unwrap();
        let table = FileTable::new();
        let descriptor = table.install(place, false, LIMIT).unwrap();
        assert_eq!(table.get(descriptor).map(|_| ()), Err(Errno::EBADF));
        assert!(table.get_any(descriptor).is_ok());
    }
}

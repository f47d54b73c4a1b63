//! Watching many files at once, epoll(7): a list of files that is asked once for each file that became ready, not once for
//! each file there is.
//!
//! Every watched file is an [`Item`], which is its own waker in the file's queue: when something happens there it puts
//! itself on the list of those that may be ready and wakes whoever waits. Only who waits then asks the files on that
//! list. An item that is to be told as long as it is ready goes back to the list, an edge-triggered one does not.
//!
//! An item does not keep its file open; when the last descriptor is closed the file leaves all its watchers.

use super::{Descriptor, File, FileOperations, OpenFlags, Readiness, pseudo::anonymous_file};
use crate::{
    abi::{Errno, Result, linux},
    ns::Credentials,
    sync::{News, Place, SpinLock, WaitQueue},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    task::Wake,
    vec::Vec,
};
use core::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

bitflags::bitflags! {
    /// What is wanted of a watched file, and how it is to be told: the bits of epoll_ctl(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Interest: u32 {
        /// The bits of poll(2).
        const EVENTS = 0x0fff_ffff;
        /// EPOLLEXCLUSIVE: of several that watch a file, not all need be woken. All are.
        const EXCLUSIVE = linux::EPOLLEXCLUSIVE;
        /// EPOLLWAKEUP: keeps the machine from sleeping, which it never does.
        const WAKE_UP = linux::EPOLLWAKEUP;
        /// EPOLLONESHOT
        const ONE_SHOT = linux::EPOLLONESHOT;
        /// EPOLLET
        const EDGE = linux::EPOLLET;
    }
}

const ERRORS: Readiness = Readiness::ERROR.union(Readiness::HANG_UP);
const WRITING: Readiness = Readiness::WRITABLE;
const READING: Readiness = WRITING.union(ERRORS).complement();

impl Interest {
    fn events(self) -> Readiness {
        Readiness::from_bits_retain(self.intersection(Self::EVENTS).bits())
    }

    /// With what is always wanted.
    fn with_errors(self) -> Self {
        self | Self::from_bits_retain(ERRORS.bits())
    }

    /// Errors: EINVAL for what cannot be had with EPOLLEXCLUSIVE.
    fn check_exclusive(self) -> Result<()> {
        const ALLOWED: Interest = Interest::EXCLUSIVE.union(Interest::WAKE_UP).union(Interest::EDGE);
        const EVENTS: Readiness = Readiness::IN.union(Readiness::OUT).union(ERRORS);
        let beyond = self.difference(ALLOWED.union(Self::EVENTS));
        match !self.contains(Self::EXCLUSIVE) || (beyond.is_empty() && EVENTS.contains(self.events())) {
            true => Ok(()),
            false => Err(Errno::EINVAL.because("EPOLLEXCLUSIVE goes with reading, writing and edges only")),
        }
    }
}

/// Which descriptor of which open file: the same file may be watched once by each of its descriptors.
type Key = (i32, usize);

fn key(descriptor: Descriptor, file: &File) -> Key {
    (descriptor.0, core::ptr::from_ref(file) as usize)
}

/// One watched file.
struct Item {
    key: Key,
    file: Weak<File>,
    epoll: Weak<Epoll>,
    /// Queues are entered inside it; nothing else is taken.
    state: SpinLock<ItemState>,
}

struct ItemState {
    interest: Interest,
    /// What is told with it.
    data: u64,
    /// How much had happened when it was last told; `None`: it was not told since it was set.
    told: Option<News>,
    /// It is on the list.
    listed: bool,
    place: Option<Place>,
}

impl Wake for Item {
    fn wake(self: Arc<Self>) {
        self.list();
    }
}

impl Item {
    /// Puts it on the list of those that may be ready.
    fn list(self: &Arc<Self>) {
        let Some(epoll) = self.epoll.upgrade() else { return };
        if !core::mem::replace(&mut self.state.lock().listed, true) {
            epoll.state.lock().list(self.clone());
        }
        epoll.changed.wake_readers();
    }

    /// What there is to tell of it now, and how much has happened up to now. From here on it is woken by what happens next.
    fn look(self: &Arc<Self>) -> Option<(Readiness, News)> {
        let file = self.file.upgrade()?;
        let queue = file.wait_queue()?;
        let (interest, told) = {
            let mut state = self.state.lock();
            queue.enter(&mut state.place, &self.clone().into());
            (state.interest, state.told)
        };
        let news = queue.news();
        let found = file.readiness() & interest.events();
        let is_new = |told: News| {
            let (reads, writes) =
                (interest.events().intersects(READING), interest.events().intersects(WRITING));
            (reads && told.reading != news.reading) || (writes && told.writing != news.writing)
        };
        let is_old = interest.contains(Interest::EDGE) && told.is_some_and(|told| !is_new(told));
        (!found.is_empty() && !is_old).then_some((found, news))
    }

    /// It was told; answers whether it is to be told again if it is still ready.
    fn told(&self, news: News) -> bool {
        let mut state = self.state.lock();
        state.told = Some(news);
        if state.interest.contains(Interest::ONE_SHOT) {
            state.interest.remove(Interest::EVENTS);
        }
        !state.interest.intersects(Interest::ONE_SHOT | Interest::EDGE)
    }

    /// It is no longer watched.
    fn leave(self: &Arc<Self>, file: &File) {
        file.watchers.0.lock().retain(|watcher| !core::ptr::eq(watcher.as_ptr(), Arc::as_ptr(self)));
        let place = self.state.lock().place.take();
        if let (Some(queue), Some(place)) = (file.wait_queue(), place) {
            queue.leave(place);
        }
    }
}

/// The items that watch a file.
#[derive(Default)]
pub struct Watchers(SpinLock<Vec<Weak<Item>>>);

/// Called when the last descriptor of a file is closed.
pub(super) fn file_closed(file: &File) {
    let watchers = core::mem::take(&mut *file.watchers.0.lock());
    for item in watchers.iter().filter_map(Weak::upgrade) {
        item.leave(file);
        if let Some(epoll) = item.epoll.upgrade() {
            epoll.forget(item.key);
        }
    }
}

/// What an open epoll file is.
pub struct Epoll {
    /// An item's state is not taken inside it, nor the other way round.
    state: SpinLock<State>,
    changed: WaitQueue,
    own: Weak<Epoll>,
    /// How many epoll files there have been above it at most, each watching the next. It never falls: one that is moved
    /// about may be refused a place that it would fit into.
    level: AtomicUsize,
}

#[derive(Default)]
struct State {
    items: BTreeMap<Key, Arc<Item>>,
    /// Those that may be ready, in the order in which that was seen.
    listed: VecDeque<Arc<Item>>,
}

impl State {
    /// Lists an item, unless it was removed meanwhile.
    fn list(&mut self, item: Arc<Item>) {
        if self.items.get(&item.key).is_some_and(|present| Arc::ptr_eq(present, &item)) {
            self.listed.push_back(item);
        }
    }
}

/// A new one, watching nothing.
pub fn epoll_file(credentials: Arc<Credentials>) -> Result<Arc<File>> {
    let epoll = Arc::new_cyclic(|own| Epoll {
        state: SpinLock::default(),
        changed: WaitQueue::new(),
        own: own.clone(),
        level: AtomicUsize::new(0),
    });
    anonymous_file("eventpoll", epoll, OpenFlags::READ_WRITE, credentials)
}

/// The epoll file behind an open file. Errors: EINVAL for other files.
pub fn epoll_of(file: &File) -> Result<&Epoll> {
    file.operations_as().ok_or_else(|| Errno::EINVAL.because("the file is not an epoll file"))
}

/// How deep epoll files may watch epoll files: asking one asks those below it, on the kernel's small stack.
const DEEPEST: usize = 4;
/// How many may watch the same epoll file: with this many at each level one event still takes only so many ways up.
const MOST_WATCHERS: usize = 32;

impl Epoll {
    /// EPOLL_CTL_ADD
    ///
    /// Errors: EINVAL for what EPOLLEXCLUSIVE excludes, or for an epoll file that too many watch; ELOOP for files that watch
    /// each other, or too deep; EEXIST.
    pub fn add(&self, descriptor: Descriptor, file: &Arc<File>, interest: Interest, data: u64) -> Result<()> {
        interest.check_exclusive()?;
        if let Ok(watched) = epoll_of(file) {
            if interest.contains(Interest::EXCLUSIVE) {
                return Err(Errno::EINVAL.because("EPOLLEXCLUSIVE is not for epoll files"));
            }
            let level = self.level.load(Relaxed);
            if level == DEEPEST || watched.reaches(self, DEEPEST - 1 - level) {
                return Err(
                    Errno::ELOOP.because("epoll files watch each other four deep, and not in a circle")
                );
            }
            if file.watchers.0.lock().len() >= MOST_WATCHERS {
                return Err(Errno::EINVAL.because("an event of an epoll file has few ways to go up"));
            }
        }
        let key = key(descriptor, file);
        let state =
            ItemState { interest: interest.with_errors(), data, told: None, listed: false, place: None };
        let item = Arc::new(Item {
            key,
            file: Arc::downgrade(file),
            epoll: self.own.clone(),
            state: SpinLock::new(state),
        });
        {
            let mut state = self.state.lock();
            if state.items.contains_key(&key) {
                return Err(Errno::EEXIST.because("the descriptor is watched already"));
            }
            state.items.insert(key, item.clone());
        }
        if let Ok(watched) = epoll_of(file) {
            watched.sink(self.level.load(Relaxed) + 1);
        }
        file.watchers.0.lock().push(Arc::downgrade(&item));
        item.list();
        Ok(())
    }

    /// There are so many above it now, and one more above each that it watches.
    fn sink(&self, level: usize) {
        if self.level.fetch_max(level, Relaxed) < level {
            self.watched()
                .iter()
                .filter_map(|file| epoll_of(file).ok())
                .for_each(|below| below.sink(level + 1));
        }
    }

    /// The files that it watches.
    fn watched(&self) -> Vec<Arc<File>> {
        self.state.lock().items.values().filter_map(|item| item.file.upgrade()).collect()
    }

    /// Whether it watches `other`, over others or not, or has more than `depth` below it.
    fn reaches(&self, other: &Epoll, depth: usize) -> bool {
        core::ptr::eq(self, other)
            || self
                .watched()
                .iter()
                .any(|file| epoll_of(file).is_ok_and(|below| depth == 0 || below.reaches(other, depth - 1)))
    }

    fn item(&self, descriptor: Descriptor, file: &File) -> Result<Arc<Item>> {
        let item = self.state.lock().items.get(&key(descriptor, file)).cloned();
        item.ok_or_else(|| Errno::ENOENT.because("the descriptor is not watched"))
    }

    /// EPOLL_CTL_MOD. Errors: EINVAL with EPOLLEXCLUSIVE, before or now; ENOENT.
    pub fn modify(&self, descriptor: Descriptor, file: &File, interest: Interest, data: u64) -> Result<()> {
        let fixed = || Errno::EINVAL.because("what is watched with EPOLLEXCLUSIVE stays as it is");
        if interest.contains(Interest::EXCLUSIVE) {
            return Err(fixed());
        }
        let item = self.item(descriptor, file)?;
        {
            let mut state = item.state.lock();
            if state.interest.contains(Interest::EXCLUSIVE) {
                return Err(fixed());
            }
            (state.interest, state.data, state.told) = (interest.with_errors(), data, None);
        }
        item.list();
        Ok(())
    }

    /// EPOLL_CTL_DEL. Errors: ENOENT.
    pub fn remove(&self, descriptor: Descriptor, file: &File) -> Result<()> {
        let item = self.item(descriptor, file)?;
        self.forget(item.key);
        item.leave(file);
        Ok(())
    }

    fn forget(&self, key: Key) {
        let mut state = self.state.lock();
        let item = state.items.remove(&key);
        state.listed.retain(|listed| listed.key != key);
        drop(state);
        drop(item);
    }

    /// Tells of those that are ready, at most `most`: `tell` takes events and data. Gives how many.
    ///
    /// Errors: those of `tell`, when it was the first.
    pub fn harvest(&self, most: usize, tell: &mut dyn FnMut(u32, u64) -> Result<()>) -> Result<usize> {
        let mut told = 0;
        let listed = self.state.lock().listed.len();
        for _ in 0..listed {
            if told == most {
                break;
            }
            let Some(item) = self.state.lock().listed.pop_front() else { break };
            let data = {
                let mut state = item.state.lock();
                state.listed = false;
                state.data
            };
            let Some((found, news)) = item.look() else { continue };
            if let Err(error) = tell(found.bits(), data) {
                item.list();
                return if told == 0 { Err(error) } else { Ok(told) };
            }
            told += 1;
            if item.told(news) && !core::mem::replace(&mut item.state.lock().listed, true) {
                self.state.lock().list(item);
            }
        }
        Ok(told)
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let items = core::mem::take(&mut self.state.lock().items);
        for item in items.into_values() {
            if let Some(file) = item.file.upgrade() {
                item.leave(&file);
            }
        }
    }
}

impl FileOperations for Epoll {
    fn readiness(&self, _file: &File) -> Readiness {
        let listed: Vec<_> = self.state.lock().listed.iter().cloned().collect();
        match listed.iter().any(|item| item.look().is_some()) {
            true => Readiness::READABLE,
            false => Readiness::empty(),
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.changed)
    }

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let items: Vec<_> = self.state.lock().items.values().cloned().collect();
        for item in items {
            let Some(file) = item.file.upgrade() else { continue };
            let (interest, data) = {
                let state = item.state.lock();
                (state.interest.bits(), state.data)
            };
            let metadata = file.path().inode().metadata();
            let (descriptor, number) = (item.key.0, metadata.number);
            let device = metadata.device.major << 20 | metadata.device.minor;
            write!(out, "tfd: {descriptor:8} events: {interest:8x} data: {data:16x} ")?;
            writeln!(out, " pos:{} ino:{number:x} sdev:{device:x}", file.position())?;
        }
        Ok(())
    }
}

//! An address space: what a program can see, as regions (what should be there) and mappings (what is there by now).
//!
//! Nothing is filled in when it is mapped; [`super::faults`] does it page by page when a page is touched, by the program
//! or by the kernel on its behalf. So the mappings may always hold less than the regions promise, never more.
//!
//! One lock guards a space, held for a call or a page. Threads that fault side by side wait for each other; finer locks
//! would gain something only with many processors, and cost everyone who reads this.

use super::{
    faults::Window,
    mappings::Mappings,
    placement::Placement,
    regions::{Backing, Region, RegionFlags, Regions},
    reserve,
    source::PageSource,
    special::{Special, SpecialPages, SpecialSource},
    withdrawal,
};
use crate::{
    abi::{Errno, Result},
    arch::{Hardware, Machine, PAGE_SIZE, Permissions, TableRoot},
    sync::SpinLock,
};
use alloc::{sync::Arc, vec::Vec};
use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// What a program can see. Shared by the threads of a process, and by parent and child after vfork(2).
pub struct AddressSpace {
    id: u64,
    root: TableRoot,
    /// Taken inside futex buckets; inside it, a page source's locks, then heap's and frames'. Whoever holds it must not
    /// touch programs' memory through `user`, which takes it.
    pub(super) space: SpinLock<Space>,
}

/// What the lock of an [`AddressSpace`] guards.
pub(super) struct Space {
    pub mappings: Mappings,
    pub regions: Regions,
    pub special: SpecialPages,
    pub layout: Layout,
    pub limits: Limits,
    /// Flags that every new region gets: mlockall(2), MCL_FUTURE.
    pub future_flags: RegionFlags,
    /// A copy for a child would be as it is here.
    pub auxiliary: Arc<[u64]>,
    pub window: Window,
}

impl Drop for Space {
    /// Region by region, which passes by what no region holds.
    fn drop(&mut self) {
        for (start, region) in self.regions.iter() {
            self.mappings.remove(start..region.end);
        }
    }
}

/// Where the parts of a program lie that have names: /proc/PID/stat, proc_pid_stat(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The program's text.
    pub code: Range<usize>,
    /// Its initialised data.
    pub data: Range<usize>,
    /// From where the heap begins to its present end: brk(2).
    pub heap: Range<usize>,
    /// The stack pointer it began with.
    pub stack_start: usize,
    /// The bytes of its argument strings.
    pub arguments: Range<usize>,
    /// The bytes of its environment strings.
    pub environment: Range<usize>,
    /// New mappings are placed below this.
    pub mapping_ceiling: usize,
}

/// A process' resource limits that concern memory, in bytes, `u64::MAX` for none: getrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA.
    pub data: u64,
    /// RLIMIT_STACK.
    pub stack: u64,
    /// RLIMIT_MEMLOCK; `u64::MAX` too for whoever has CAP_IPC_LOCK.
    pub locked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, locked: u64::MAX }
    }
}

/// A region as /proc/PID/maps tells of it.
pub struct RegionDescription<'a> {
    /// Its addresses.
    pub range: Range<usize>,
    /// What the program may do with it.
    pub permissions: Permissions,
    /// The most mprotect(2) may make of that.
    pub maximum: Permissions,
    /// How it is treated.
    pub flags: RegionFlags,
    /// The first byte mapped of what is behind it.
    pub offset: u64,
    /// What is behind it.
    pub name: RegionName<'a>,
}

/// What a region shows as its name.
pub enum RegionName<'a> {
    /// None.
    Anonymous,
    /// `[heap]`
    Heap,
    /// `[stack]`
    Stack,
    /// `[vvar]` and its like.
    Special(Special),
    /// What the source says of itself.
    Source(&'a dyn PageSource),
}

/// How large an address space is, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceStatistics {
    /// In its regions: VmSize.
    pub total: usize,
    /// Present now: VmRSS.
    pub resident: usize,
    /// The most ever present: VmHWM.
    pub peak_resident: usize,
    /// Private and writable: VmData.
    pub data: usize,
    /// In regions that grow downwards: VmStk.
    pub stack: usize,
    /// In executable regions: VmExe and VmLib.
    pub code: usize,
    /// Locked: VmLck.
    pub locked: usize,
}

impl AddressSpace {
    /// An empty one. Errors: ENOMEM.
    pub fn new(special: Arc<dyn SpecialSource>) -> Result<Arc<Self>> {
        reserve::check()?;
        Self::from_space(Space {
            mappings: Mappings::new()?,
            regions: Regions::new(),
            special: SpecialPages::new(special),
            layout: Layout::default(),
            limits: Limits::default(),
            future_flags: RegionFlags::empty(),
            auxiliary: Arc::new([]),
            window: Window::default(),
        })
    }

    fn from_space(space: Space) -> Result<Arc<Self>> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let space = Arc::new(Self { id, root: space.mappings.root(), space: SpinLock::new(space) });
        withdrawal::enter(&space);
        Ok(space)
    }

    /// A number no other space has had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What user mode runs in. Needs no lock.
    pub fn root(&self) -> TableRoot {
        self.root
    }

    /// A copy for a child, in which both see what was there and neither sees what the other writes from now on (shared
    /// regions excepted): fork(2). `special` is what the child will find in `[vvar]`.
    ///
    /// Errors: ENOMEM.
    pub fn fork(&self, special: Arc<dyn SpecialSource>) -> Result<Arc<Self>> {
        reserve::check()?;
        let mut parent = self.space.lock();
        let parent = &mut *parent;
        let mut child = Space {
            mappings: Mappings::new()?,
            regions: Regions::new(),
            layout: parent.layout.clone(),
            limits: parent.limits,
            // As mlockall(2) says, a child inherits no locks.
            future_flags: RegionFlags::empty(),
            auxiliary: parent.auxiliary.clone(),
            special: SpecialPages { source: special, ..parent.special },
            window: Window::default(),
        };
        let same_special = Arc::ptr_eq(&parent.special.source, &child.special.source);
        for (start, region) in parent.regions.iter() {
            if region.flags.contains(RegionFlags::DONT_FORK) {
                continue;
            }
            // A program can have many regions; the reserve covers only so many before it is asked again.
            reserve::check()?;
            if region.flags.contains(RegionFlags::LOCKED) {
                let flags = region.flags - RegionFlags::LOCKED;
                child.regions.insert(start, Region { flags, ..region.clone() });
            } else {
                child.regions.append(start, region.clone());
            }
            let range = start..region.end;
            let copied = match region.backing {
                _ if region.flags.contains(RegionFlags::WIPE_ON_FORK) => false,
                // The child takes pages it shares from where the parent took them.
                Backing::Anonymous => true,
                Backing::Source { .. } => !region.is_shared(),
                Backing::Special { kind, .. } => kind != Special::Vvar || same_special,
            };
            if copied {
                parent.mappings.share(range, &mut child.mappings)?;
            }
        }
        Self::from_space(child)
    }

    /// Makes the space show another namespace's pages in `[vvar]`, wherever that mapping now is.
    pub fn enter_namespace(&self, special: Arc<dyn SpecialSource>) {
        let mut space = self.space.lock();
        let space = &mut *space;
        if space.special.vvar_is_touched
            && let Some(range) = space.find_special(Special::Vvar)
        {
            space.mappings.remove(range);
        }
        space.special = SpecialPages::new(special);
    }

    /// Maps one of the special mappings, whole, where nothing is.
    ///
    /// Errors: ENOMEM.
    pub fn map_special(&self, kind: Special, start: usize, pages: usize) -> Result<()> {
        reserve::check()?;
        let mut space = self.space.lock();
        let end = start + pages * PAGE_SIZE;
        if !space.regions.is_free(start..end) {
            return Err(Errno::ENOMEM.because("a special mapping goes where there is nothing"));
        }
        let flags = if kind == Special::Vdso { RegionFlags::empty() } else { RegionFlags::DONT_DUMP };
        let backing = Backing::Special { kind, first: 0 };
        space.regions.insert(
            start,
            Region { end, permissions: kind.permissions(), maximum: kind.maximum(), flags, backing },
        );
        Ok(())
    }

    /// Where so many bytes have room: at `wish` if they have it there. Errors: ENOMEM.
    pub fn find_room(&self, wish: usize, length: usize) -> Result<usize> {
        self.space.lock().place(Placement::Anywhere(wish), length)
    }

    /// Where a special mapping is now, if the program still has it.
    pub fn find_special(&self, kind: Special) -> Option<Range<usize>> {
        self.space.lock().find_special(kind)
    }

    /// Where the program's parts lie.
    pub fn layout(&self) -> Layout {
        self.space.lock().layout.clone()
    }

    /// Says where the program's parts lie; for exec.
    pub fn set_layout(&self, layout: Layout) {
        self.space.lock().layout = layout;
    }

    /// Sets the limits in force, whenever those of the process change.
    pub fn set_limits(&self, limits: Limits) {
        self.space.lock().limits = limits;
    }

    /// The auxiliary vector the program was given, as words: /proc/PID/auxv.
    pub fn auxiliary_vector(&self) -> Arc<[u64]> {
        self.space.lock().auxiliary.clone()
    }

    /// Keeps the auxiliary vector; for exec.
    pub fn set_auxiliary_vector(&self, auxiliary: Vec<u64>) {
        self.space.lock().auxiliary = auxiliary.into();
    }

    /// Tells of every region, ascending. The space is locked meanwhile: `tell` must not touch programs' memory.
    pub fn regions(&self, tell: &mut dyn FnMut(&RegionDescription<'_>)) {
        let space = self.space.lock();
        for (start, region) in space.regions.iter() {
            tell(&space.describe(start, region));
        }
    }

    /// The memory it accounts for, in bytes: of each page the part that is its own if those who hold it share it evenly.
    /// That is Linux' "proportional set size", and about what becomes free when its last task ends.
    pub fn proportional_size(&self) -> usize {
        let mut bytes = 0;
        let space = self.space.lock();
        space.mappings.visit(0..Hardware::USER_END, |_, content, _| bytes += PAGE_SIZE / content.count());
        bytes
    }

    /// How large it is.
    pub fn statistics(&self) -> SpaceStatistics {
        let space = self.space.lock();
        let pages_of = |wanted: &dyn Fn(&Region) -> bool| {
            let wanted = space.regions.iter().filter(|(_, region)| wanted(region));
            wanted.map(|(start, region)| (region.end - start) / PAGE_SIZE).sum()
        };
        SpaceStatistics {
            total: space.regions.pages(),
            resident: space.mappings.resident(),
            peak_resident: space.mappings.peak(),
            data: space.regions.data_pages(),
            stack: pages_of(&|region| region.flags.contains(RegionFlags::GROWS_DOWN)),
            code: pages_of(&|region| region.permissions.contains(Permissions::EXECUTE)),
            locked: space.regions.locked_pages(),
        }
    }
}

impl Space {
    /// Where a special mapping is now: there is one of each at most, and it lies high up if the program has not moved it.
    fn find_special(&self, kind: Special) -> Option<Range<usize>> {
        let found = self.regions.iter().rev().find(|(_, region)| region.special() == Some(kind));
        found.map(|(start, region)| start..region.end)
    }

    pub(super) fn describe<'a>(&'a self, start: usize, region: &'a Region) -> RegionDescription<'a> {
        let layout = &self.layout;
        let range = start..region.end;
        let name = match &region.backing {
            Backing::Special { kind, .. } => RegionName::Special(*kind),
            Backing::Source { source, .. } => RegionName::Source(&**source),
            Backing::Anonymous if start < layout.heap.end && region.end > layout.heap.start => {
                RegionName::Heap
            }
            Backing::Anonymous if range.contains(&layout.stack_start) => RegionName::Stack,
            Backing::Anonymous => RegionName::Anonymous,
        };
        let offset = match &region.backing {
            Backing::Source { first, .. } => first * PAGE_SIZE as u64,
            _ => 0,
        };
        RegionDescription {
            range,
            permissions: region.permissions,
            maximum: region.maximum,
            flags: region.flags,
            offset,
            name,
        }
    }
}

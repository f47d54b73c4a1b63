//! What tests build address spaces from.

use crate::{
    abi::{Errno, Result},
    arch::{PAGE_SIZE, Permissions},
    mm::{
        AddressSpace, Backing, MapRequest, PageRef, PageSource, Placement, RegionFlags, source::Identity,
        special::SpecialSource,
    },
    sync::SpinLock,
};
use alloc::{sync::Arc, vec::Vec};
use arrayvec::ArrayVec;
use core::fmt;

pub use crate::mm::frames::tests::{held, held_as_pages, with_frames_left};

/// Read and write.
pub const READ_WRITE: Permissions = Permissions::READ.union(Permissions::WRITE);

/// A file in memory.
pub struct TestFile {
    pages: SpinLock<Vec<PageRef>>,
    length: u64,
    inode: u64,
}

impl TestFile {
    /// With these contents.
    pub fn new(contents: &[u8]) -> Arc<Self> {
        let page = |chunk: &[u8]| {
            let page = PageRef::zeroed().unwrap();
            page.write(0, chunk);
            page
        };
        let pages = contents.chunks(PAGE_SIZE).map(page).collect();
        Arc::new(Self { pages: SpinLock::new(pages), length: contents.len() as u64, inode: 77 })
    }

    /// A byte of it, as it is now.
    pub fn byte(&self, offset: usize) -> u8 {
        let mut byte = [0];
        self.pages.lock()[offset / PAGE_SIZE].read(offset % PAGE_SIZE, &mut byte);
        byte[0]
    }
}

impl PageSource for TestFile {
    fn page(&self, index: u64) -> Result<PageRef> {
        self.pages.lock().get(index as usize).cloned().ok_or(Errno::EINVAL)
    }

    fn pages_if_present(&self, first: u64, into: &mut [Option<PageRef>]) {
        for (index, place) in (first..).zip(into) {
            *place = self.page(index).ok();
        }
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn identity(&self) -> Identity {
        Identity { device: 9, inode: self.inode }
    }

    fn write_name(&self, into: &mut dyn fmt::Write) -> fmt::Result {
        into.write_str("/test")
    }
}

/// A system page and perhaps a namespace's, each marked by its first byte; random state in slot 2, as on Linux.
pub struct TestSpecial {
    pages: [PageRef; 3],
    inside: bool,
    image: Vec<PageRef>,
}

/// The first byte of the system's page.
pub const SYSTEM: u8 = b'S';
/// The first byte of the namespace's page.
pub const NAMESPACE: u8 = b'N';
/// The first byte of the page of random state.
pub const RANDOM: u8 = b'R';
/// The first byte of the vDSO's image.
pub const IMAGE: u8 = 0x7f;

fn marked(mark: u8) -> PageRef {
    let page = PageRef::zeroed().unwrap();
    page.write(0, &[mark]);
    page
}

impl TestSpecial {
    /// What a task in the root namespace sees.
    pub fn outside() -> Arc<Self> {
        let image = alloc::vec![marked(IMAGE), marked(0)];
        Arc::new(Self { pages: [marked(SYSTEM), marked(NAMESPACE), marked(RANDOM)], inside: false, image })
    }

    /// What a task in a namespace sees, on the same system.
    pub fn inside(&self) -> Arc<Self> {
        Arc::new(Self { pages: self.pages.clone(), inside: true, image: self.image.clone() })
    }
}

impl SpecialSource for TestSpecial {
    fn vvar_pages(&self, slot: usize) -> ArrayVec<(usize, PageRef), 2> {
        let [system, namespace, random] = &self.pages;
        match (slot, self.inside) {
            (0, false) => core::iter::once((0, system.clone())).collect(),
            (0, true) => [(0, namespace.clone()), (1, system.clone())].into(),
            (1, true) => core::iter::once((1, system.clone())).collect(),
            (2, _) => core::iter::once((2, random.clone())).collect(),
            _ => ArrayVec::new(),
        }
    }

    fn vdso_image(&self) -> &[PageRef] {
        &self.image
    }
}

/// An empty space, in which mappings go below 2^40.
pub fn space() -> Arc<AddressSpace> {
    space_with(TestSpecial::outside())
}

/// The same, with this source of special pages. The page of zeros is there already, so that counts of frames are exact.
pub fn space_with(special: Arc<TestSpecial>) -> Arc<AddressSpace> {
    let space = AddressSpace::new(special).unwrap();
    space.map(at(1 << 20, anonymous(1, Permissions::READ))).unwrap();
    load(&space, 1 << 20).unwrap();
    space.unmap(1 << 20, PAGE_SIZE).unwrap();
    let mut layout = space.layout();
    layout.mapping_ceiling = 1 << 40;
    space.set_layout(layout);
    space
}

/// A request for private anonymous memory, anywhere.
pub fn anonymous(pages: usize, permissions: Permissions) -> MapRequest {
    MapRequest {
        placement: Placement::Anywhere(0),
        length: pages * PAGE_SIZE,
        permissions,
        maximum: Permissions::all(),
        flags: RegionFlags::empty(),
        backing: Backing::Anonymous,
    }
}

/// A request for a file's pages, private or shared.
pub fn file(
    file: &Arc<TestFile>,
    first: u64,
    pages: usize,
    permissions: Permissions,
    flags: RegionFlags,
) -> MapRequest {
    MapRequest {
        flags,
        backing: Backing::Source { source: file.clone(), first },
        ..anonymous(pages, permissions)
    }
}

/// The same request, for this address and no other.
pub fn at(address: usize, request: MapRequest) -> MapRequest {
    MapRequest { placement: Placement::Fixed(address), ..request }
}

/// A byte as the program would load it.
pub fn load(space: &AddressSpace, address: usize) -> Result<u8> {
    let mut byte = [0];
    space.read_bytes(address, &mut byte)?;
    Ok(byte[0])
}

/// Stores a byte as the program would.
pub fn store(space: &AddressSpace, address: usize, value: u8) -> Result<()> {
    space.write_bytes(address, &[value])
}

/// The regions, one line each, as `start-end perms flags`, in pages from `base`.
pub fn map_of(space: &AddressSpace, base: usize) -> Vec<alloc::string::String> {
    let mut lines = Vec::new();
    space.regions(&mut |region| {
        let page = |address: usize| (address as isize - base as isize) / PAGE_SIZE as isize;
        let letter = |wanted, letter| if region.permissions.contains(wanted) { letter } else { '-' };
        lines.push(alloc::format!(
            "{}-{} {}{}{}",
            page(region.range.start),
            page(region.range.end),
            letter(Permissions::READ, 'r'),
            letter(Permissions::WRITE, 'w'),
            letter(Permissions::EXECUTE, 'x'),
        ));
    });
    lines
}

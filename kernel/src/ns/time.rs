//! One time namespace, from creation through freezing to its end.
//!
//! Its offsets can be changed until somebody enters it, and never after: whoever is inside must not see a clock jump, and
//! its page, which programs read without asking, is then filled once and for all. Freezing is where a namespace goes from
//! one state to the other, so the two states hold their offsets in different places: `open` behind a lock, `frozen` in
//! a cell that is set once and read without one.

use super::{
    Capability, Credentials,
    count::{Charge, Counted},
    number::{self, InodeNumber},
    offsets::{self, Offsets},
    translate,
    user::UserNamespace,
    vvar,
};
use crate::{
    abi::{Errno, Result},
    mm::frames::PageRef,
    sync::{LazyLock, Once, SpinLock},
    time::HostClock,
};
use alloc::{string::String, sync::Arc};
use gnomon_vdso::write::Offset;

/// The inode number of the initial one, as on Linux.
const INITIAL_NUMBER: u32 = 0xEFFF_FFFA;
/// Its unique id, as on Linux 6.18.
const INITIAL_ID: u64 = 2;

/// One time namespace. Lives as long as a task's slot, an open file or a mount holds it.
pub struct TimeNamespace {
    number: InodeNumber,
    unique_id: u64,
    owner: Arc<UserNamespace>,
    /// What will be frozen. Writers and freezing take turns here; the page is filled inside it.
    open: SpinLock<Offsets>,
    frozen: Once<Offsets>,
    /// What its programs see as page 0, empty until it is frozen; the initial namespace has the system's page there instead.
    page: Option<PageRef>,
    /// Its place in the counts; the initial one has none.
    _charge: Option<Charge>,
}

static INITIAL: LazyLock<Arc<TimeNamespace>> = LazyLock::new(|| {
    Arc::new(TimeNamespace {
        number: InodeNumber::fixed(INITIAL_NUMBER),
        unique_id: INITIAL_ID,
        owner: UserNamespace::initial(),
        open: SpinLock::default(),
        frozen: Once::initialized(Offsets::default()),
        page: None,
        _charge: None,
    })
});

impl TimeNamespace {
    /// The one there is from the start: host time.
    pub fn initial() -> Arc<Self> {
        INITIAL.clone()
    }

    /// A new one with a copy of this one's offsets, not frozen, owned by the maker's user namespace.
    ///
    /// Offsets count from the host's clocks: a namespace made inside another is not shifted twice.
    /// Errors: ENOSPC at a limit, ENOMEM for its page.
    pub fn create_like(&self, maker: &Credentials) -> Result<Arc<Self>> {
        let charge = Charge::new(Counted::Time, &maker.user_namespace, maker.euid)?;
        Ok(Arc::new(Self {
            page: Some(PageRef::uninitialized()?),
            number: InodeNumber::allocate(),
            unique_id: number::next_unique_id(),
            owner: maker.user_namespace.clone(),
            open: SpinLock::new(self.offsets()),
            frozen: Once::new(),
            _charge: Some(charge),
        }))
    }

    /// Its inode number.
    pub fn number(&self) -> u32 {
        self.number.get()
    }

    /// Its id, used only once.
    pub fn unique_id(&self) -> u64 {
        self.unique_id
    }

    /// The user namespace whose capabilities count for it.
    pub fn owner(&self) -> &Arc<UserNamespace> {
        &self.owner
    }

    /// Its page, filled if it is frozen; `None`: the initial one.
    pub fn page(&self) -> Option<&PageRef> {
        self.page.as_ref()
    }

    /// Its offsets now.
    pub fn offsets(&self) -> Offsets {
        match self.frozen.get() {
            Some(offsets) => *offsets,
            None => *self.open.lock(),
        }
    }

    /// Called whenever a task enters: from the first time on its offsets stay as they are.
    pub fn freeze(&self) {
        if self.frozen.is_completed() {
            return;
        }
        let offsets = self.open.lock();
        self.frozen.call_once(|| {
            if let Some(page) = &self.page {
                vvar::fill(page, *offsets);
            }
            *offsets
        });
    }

    /// Nanoseconds a task inside is ahead of the host on this clock; negative when behind. 0 before anyone is inside.
    pub fn offset(&self, clock: HostClock) -> i64 {
        self.frozen.get().and_then(|offsets| offsets.of(clock)).map_or(0, translate::nanoseconds)
    }

    /// The same as it is written; none for a clock that is the same everywhere, and for any in the initial namespace.
    #[inline(always)]
    pub fn shift(&self, clock: HostClock) -> Option<Offset> {
        self.page.as_ref()?;
        self.frozen.get()?.of(clock)
    }

    /// What reading `timens_offsets` gives.
    pub fn read_offsets(&self) -> String {
        self.offsets().text()
    }

    /// Applies lines written to `timens_offsets`. All of them or none.
    ///
    /// `now` is what CLOCK_MONOTONIC and CLOCK_BOOTTIME of the host show, in nanoseconds: the same, as nothing suspends the
    /// machine. Errors, in this order: EPERM when who opened the file
    /// lacks CAP_SYS_TIME in the owner; ERANGE; EACCES when it is frozen.
    fn set_offsets(&self, lines: &[offsets::Line], opener: &Credentials, now: i64) -> Result<()> {
        if !opener.capable_in(&self.owner, Capability::SYS_TIME) {
            return Err(
                Errno::EPERM.because("setting offsets takes CAP_SYS_TIME in the owning user namespace")
            );
        }
        for line in lines {
            line.check_range(now)?;
        }
        let mut open = self.open.lock();
        if self.frozen.is_completed() {
            return Err(Errno::EACCES.because("offsets are frozen once a task has entered"));
        }
        lines.iter().for_each(|&line| open.set(line));
        Ok(())
    }
}

/// A write to `/proc/PID/timens_offsets`, of less than a page, at position 0.
///
/// `target`: the namespace for the task's children, `None` if the task is gone or a zombie. Returns the bytes used, which
/// may be fewer than given. Errors: EINVAL for bad text, ESRCH without a task, then those of the namespace.
pub fn write_offsets(
    target: Option<&TimeNamespace>,
    text: &[u8],
    opener: &Credentials,
    now: i64,
) -> Result<usize> {
    let parsed = offsets::parse(text)?;
    let target =
        target.ok_or_else(|| Errno::ESRCH.because("the task whose offsets these were has exited"))?;
    target.set_offsets(&parsed.lines, opener, now)?;
    Ok(parsed.used)
}

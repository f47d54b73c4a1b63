//! Time namespaces as a program sees them: the links, the offsets file, and ways in.

use super::errno::Errno;
use super::file;
use super::time::SECOND;
use crate::call;

/// The flag of unshare(2), setns(2) and clone3(2). It lies in the low byte that clone(2) uses for a signal.
pub const CLONE_NEWTIME: i32 = 0x80;

/// The namespace whose offsets apply to this process's clocks now.
pub const TIME: &str = "/proc/self/ns/time";
/// The namespace that its children, or its own next exec, will enter.
pub const TIME_FOR_CHILDREN: &str = "/proc/self/ns/time_for_children";
/// The offsets of the latter.
pub const OFFSETS: &str = "/proc/self/timens_offsets";

/// The two offsets of a time namespace in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offsets {
    /// For CLOCK_MONOTONIC and its raw and coarse kin.
    pub monotonic: i64,
    /// For CLOCK_BOOTTIME and its alarm kin.
    pub boottime: i64,
}

/// unshare(CLONE_NEWTIME): a new namespace for this task's children.
pub fn unshare() -> Result<(), Errno> {
    call!(libc::SYS_unshare, CLONE_NEWTIME).map(|_| ())
}

/// setns(2) by a path to an nsfs file.
pub fn enter(path: &str) -> Result<(), Errno> {
    let descriptor = file::Descriptor::open(path, libc::O_RDONLY)?;
    call!(libc::SYS_setns, descriptor.0, CLONE_NEWTIME).map(|_| ())
}

/// The text of timens_offsets.
pub fn offsets_text() -> Result<String, Errno> {
    file::read(OFFSETS)
}

/// The offsets that timens_offsets shows: those of the namespace for children.
pub fn offsets() -> Result<Offsets, Errno> {
    parse_offsets(&offsets_text()?).ok_or(Errno::EINVAL)
}

/// Parses the two lines of timens_offsets.
pub fn parse_offsets(text: &str) -> Option<Offsets> {
    let mut offsets = Offsets::default();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let name = fields.next()?;
        let seconds: i64 = fields.next()?.parse().ok()?;
        let nanoseconds: i64 = fields.next()?.parse().ok()?;
        let value = seconds * SECOND + nanoseconds;
        match name {
            "monotonic" => offsets.monotonic = value,
            "boottime" => offsets.boottime = value,
            _ => return None,
        }
    }
    Some(offsets)
}

/// Writes both offsets for the pending namespace, in one write(2).
pub fn set_offsets(offsets: Offsets) -> Result<(), Errno> {
    let line = |name: &str, value: i64| {
        format!("{name} {} {}\n", value.div_euclid(SECOND), value.rem_euclid(SECOND))
    };
    file::write(OFFSETS, &(line("monotonic", offsets.monotonic) + &line("boottime", offsets.boottime)))
}

/// Makes a namespace with these offsets and enters it at once, without a fork: setns into one's own pending namespace.
pub fn unshare_and_enter(offsets: Offsets) -> Result<(), Errno> {
    unshare()?;
    set_offsets(offsets)?;
    enter(TIME_FOR_CHILDREN)
}

//! Mapping a program's segments: the file's pages, private; zeros where a segment is larger than its part of the file.

use super::header::{Image, Segment};
use crate::{
    abi::{Errno, Result},
    arch::{PAGE_SIZE, Permissions},
    mm::{AddressSpace, Backing, MapRequest, PageSource, Placement, RegionFlags},
};
use alloc::sync::Arc;
use core::ops::Range;

/// Where a program ended up: proc_pid_stat(5), startcode to edata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// From the lowest executable segment to the end of the highest.
    pub code: Range<usize>,
    /// From the highest segment to the end of what comes from the file.
    pub data: Range<usize>,
    /// One past the last byte of all.
    pub end: usize,
}

/// Finds room for an image that can go anywhere; returns its bias. One with fixed addresses has none.
///
/// Errors: ENOMEM.
pub(super) fn place(space: &AddressSpace, image: &Image) -> Result<usize> {
    if !image.position_independent {
        return Ok(0);
    }
    let span = image.span();
    let slack = image.alignment - PAGE_SIZE;
    let below = span.start % image.alignment;
    let length = (below + slack).checked_add(span.len()).ok_or(Errno::ENOMEM)?;
    Ok(image.bias_for(space.find_room(0, length)? + slack))
}

/// Maps every segment, moved up by `bias`.
///
/// Errors: EEXIST when something is there already (the stack); EPERM at the bottom of memory; EINVAL; ENOMEM.
pub(super) fn map(
    space: &AddressSpace,
    source: &Arc<dyn PageSource>,
    image: &Image,
    bias: usize,
) -> Result<Extent> {
    let span = image.span();
    let start = span.start.wrapping_add(bias);
    // The whole span is looked at first, so that no segment replaces anything but another.
    space.check_placement(Placement::FixedIfFree(start), span.len())?;
    let mut extent = Extent { code: start..start, data: start..start, end: start };
    let mut code_starts = usize::MAX;
    for segment in &image.segments {
        let memory = segment.memory.start.wrapping_add(bias)..segment.memory.end.wrapping_add(bias);
        map_one(space, source, segment, memory.clone())?;
        let file_end = memory.start + segment.file_size;
        if segment.permissions.contains(Permissions::EXECUTE) {
            code_starts = code_starts.min(memory.start);
            extent.code = code_starts..extent.code.end.max(file_end);
        }
        extent.data = extent.data.start.max(memory.start)..extent.data.end.max(file_end);
        extent.end = extent.end.max(memory.end);
    }
    Ok(extent)
}

fn map_one(
    space: &AddressSpace,
    source: &Arc<dyn PageSource>,
    segment: &Segment,
    memory: Range<usize>,
) -> Result<()> {
    let first_page = memory.start & !(PAGE_SIZE - 1);
    let in_page = memory.start - first_page;
    let file_end = memory.start + segment.file_size;
    let mut zeros_from = first_page;
    if segment.file_size > 0 {
        let first = (segment.offset - in_page as u64) / PAGE_SIZE as u64;
        zeros_from = file_end.next_multiple_of(PAGE_SIZE);
        space.map(MapRequest {
            placement: Placement::Fixed(first_page),
            length: zeros_from - first_page,
            permissions: segment.permissions,
            maximum: Permissions::all(),
            flags: RegionFlags::empty(),
            backing: Backing::Source { source: source.clone(), first },
        })?;
        // The file goes on in the segment's last page; the program must find zeros there. One that cannot write there
        // cannot have variables there either, and is left alone, as on Linux.
        let cleared = zeros_from.min(memory.end) - file_end;
        if cleared > 0 && segment.permissions.contains(Permissions::WRITE) {
            space.clear(file_end, zeros_from - file_end)?;
        }
    }
    let end = memory.end.next_multiple_of(PAGE_SIZE);
    if zeros_from < end {
        space.map(MapRequest {
            placement: Placement::Fixed(zeros_from),
            length: end - zeros_from,
            permissions: segment.permissions,
            maximum: Permissions::all(),
            flags: RegionFlags::empty(),
            backing: Backing::Anonymous,
        })?;
    }
    Ok(())
}

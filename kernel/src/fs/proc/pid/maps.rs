//! `/proc/PID/maps` and `/proc/PID/smaps`: the mappings of a process, and what of them is present, proc_pid_smaps(5).

use super::Someone;
use crate::{
    abi::Result,
    arch::{PAGE_SIZE, Permissions},
    fs::Actor,
    mm::{
        address_space::{RegionDescription, RegionName},
        regions::RegionFlags,
        special::Special,
        usage::Usage,
    },
};
use alloc::{format, string::String, vec::Vec};
use core::fmt::Write;

/// The column in which names begin.
const NAME_COLUMN: usize = 73;

/// Lines of addresses, permissions, offset, device, inode and name. Empty for a zombie. Errors: EACCES.
pub fn text(someone: &Someone, actor: &dyn Actor) -> Result<Vec<u8>> {
    let task = someone.must_be_inspectable(actor)?;
    let mut text = Vec::new();
    if let Some(space) = task.space() {
        space.regions(&mut |region| describe(region, &mut text));
    }
    Ok(text)
}

/// The same lines, each followed by what is present of the region. Empty for a zombie. Errors: EACCES.
pub fn detailed(someone: &Someone, actor: &dyn Actor) -> Result<Vec<u8>> {
    let task = someone.must_be_inspectable(actor)?;
    let mut text = Vec::new();
    if let Some(space) = task.space() {
        space.usage(&mut |region, usage| {
            describe(region, &mut text);
            text.extend_from_slice(details(region, &usage).as_bytes());
        });
    }
    Ok(text)
}

/// The lines below a region's own: sizes, the keys that procps adds up, and its flags.
fn details(region: &RegionDescription<'_>, usage: &Usage) -> String {
    let locked = if region.flags.contains(RegionFlags::LOCKED) { usage.proportional } else { 0 };
    let rows = [
        ("Size", region.range.len()),
        ("KernelPageSize", PAGE_SIZE),
        ("MMUPageSize", PAGE_SIZE),
        ("Rss", usage.resident),
        ("Pss", usage.proportional),
        ("Shared_Clean", usage.file_shared),
        ("Shared_Dirty", usage.own_shared),
        ("Private_Clean", usage.file_private),
        ("Private_Dirty", usage.own_private),
        ("Referenced", usage.resident),
        ("Anonymous", usage.own_shared + usage.own_private),
        ("Swap", 0),
        ("Locked", locked),
    ];
    let mut text = String::new();
    for (name, bytes) in rows {
        let _ = writeln!(text, "{:<16}{:>8} kB", format!("{name}:"), bytes / 1024);
    }
    let _ = writeln!(text, "VmFlags: {}", flags(region));
    text
}

/// Two letters each, in the order of Linux' bits, with a blank after each.
fn flags(region: &RegionDescription<'_>) -> String {
    let (now, most, treated) = (region.permissions, region.maximum, region.flags);
    let is_shared = treated.contains(RegionFlags::SHARED);
    let special = match region.name {
        RegionName::Special(special) => Some(special),
        _ => None,
    };
    let is_charged =
        now.contains(Permissions::WRITE) && !is_shared && !treated.contains(RegionFlags::NO_RESERVE);
    let letters = [
        ("rd", now.contains(Permissions::READ)),
        ("wr", now.contains(Permissions::WRITE)),
        ("ex", now.contains(Permissions::EXECUTE)),
        ("sh", is_shared),
        ("mr", most.contains(Permissions::READ)),
        ("mw", most.contains(Permissions::WRITE)),
        ("me", most.contains(Permissions::EXECUTE)),
        ("ms", is_shared),
        ("gd", treated.contains(RegionFlags::GROWS_DOWN)),
        ("pf", special.is_some_and(Special::holds_data)),
        ("lo", treated.contains(RegionFlags::LOCKED)),
        ("io", special.is_some_and(Special::holds_data)),
        ("dc", treated.contains(RegionFlags::DONT_FORK)),
        ("de", special.is_some()),
        ("lf", treated.contains(RegionFlags::LOCK_ON_FAULT)),
        ("ac", is_charged),
        ("nr", treated.contains(RegionFlags::NO_RESERVE)),
        ("wf", treated.contains(RegionFlags::WIPE_ON_FORK)),
        ("dd", treated.contains(RegionFlags::DONT_DUMP)),
        ("dp", treated.contains(RegionFlags::DROPPABLE)),
    ];
    letters.iter().filter(|(_, is_set)| *is_set).flat_map(|(letters, _)| [*letters, " "]).collect()
}

fn describe(region: &RegionDescription<'_>, text: &mut Vec<u8>) {
    let letter = |permission, letter| if region.permissions.contains(permission) { letter } else { '-' };
    let shared = if region.flags.contains(RegionFlags::SHARED) { 's' } else { 'p' };
    let (device, inode, name) = match region.name {
        RegionName::Anonymous => (0, 0, Vec::new()),
        RegionName::Heap => (0, 0, b"[heap]".to_vec()),
        RegionName::Stack => (0, 0, b"[stack]".to_vec()),
        RegionName::Special(special) => (0, 0, special.name().as_bytes().to_vec()),
        RegionName::Source(source) => {
            let mut name = String::new();
            let _ = source.write_name(&mut name);
            let identity = source.identity();
            (identity.device, identity.inode, name.into_bytes())
        }
    };
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & !0xff);
    let mut line: String = format!(
        "{:08x}-{:08x} {}{}{}{shared} {:08x} {major:02x}:{minor:02x} {inode}",
        region.range.start,
        region.range.end,
        letter(Permissions::READ, 'r'),
        letter(Permissions::WRITE, 'w'),
        letter(Permissions::EXECUTE, 'x'),
        region.offset,
    );
    if !name.is_empty() {
        line = format!("{line:<width$}", width = NAME_COLUMN - 1);
        line.push(' ');
    } else {
        line.push(' ');
    }
    text.extend_from_slice(line.as_bytes());
    text.extend_from_slice(&name);
    text.push(b'\n');
}

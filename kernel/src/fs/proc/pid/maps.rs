//! `/proc/PID/maps`: the mappings of a process, proc_pid_maps(5).

use super::Someone;
use crate::{
    abi::Result,
    arch::Permissions,
    fs::Actor,
    mm::{
        address_space::{RegionDescription, RegionName},
        regions::RegionFlags,
    },
};
use alloc::{format, string::String, vec::Vec};

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

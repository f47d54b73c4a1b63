//! What is mounted where: `/proc/filesystems`, `/proc/PID/mounts` and `/proc/PID/mountinfo`.

use super::root::lines;
use crate::fs::{Mount, MountFlags, Path, mount, mounting};
use alloc::{format, string::String, sync::Arc, vec::Vec};

/// The kinds of file system that can be mounted; none needs a device.
pub fn kinds() -> Vec<u8> {
    lines(mounting::types().iter().map(|known| format!("nodev\t{}", known.name)))
}

/// Mount flags with their names in an option list.
const OPTIONS: [(MountFlags, &str); 6] = [
    (MountFlags::NO_SET_ID, "nosuid"),
    (MountFlags::NO_DEVICES, "nodev"),
    (MountFlags::NO_EXECUTION, "noexec"),
    (MountFlags::NO_ACCESS_TIME, "noatime"),
    (MountFlags::NO_DIRECTORY_ACCESS_TIME, "nodiratime"),
    (MountFlags::RELATIVE_ACCESS_TIME, "relatime"),
];

fn options(mount: &Mount) -> String {
    let flags = mount.flags();
    let mut text = String::from(if flags.contains(MountFlags::READ_ONLY) { "ro" } else { "rw" });
    for (flag, name) in OPTIONS {
        if flags.contains(flag) {
            text.push(',');
            text.push_str(name);
        }
    }
    text
}

/// Spaces, tabs, newlines and backslashes would break the columns: they are written in octal.
fn escaped(text: &[u8]) -> String {
    let mut escaped = String::new();
    for &byte in text {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.push_str(&format!("\\{byte:03o}")),
            _ => escaped.push(char::from(byte)),
        }
    }
    escaped
}

/// Every mount that can be seen from `root`, with the name of its place there.
fn visible(root: &Path) -> Vec<(Arc<Mount>, String)> {
    let place = |mount: Arc<Mount>| {
        let described = mount.top().describe(root);
        described.reachable.then(|| (mount, escaped(&described.text)))
    };
    mount::all().into_iter().filter_map(place).collect()
}

/// `/proc/PID/mounts`: as fstab(5).
pub fn table(root: &Path) -> Vec<u8> {
    lines(visible(root).into_iter().map(|(mount, place)| {
        let mut own = String::new();
        let _ = mount.file_system.describe_options(&mut own);
        let (source, kind) = (escaped(&mount.source), mount.file_system.kind());
        format!("{source} {place} {kind} {}{own} 0 0", options(&mount))
    }))
}

/// `/proc/PID/mountinfo`: with numbers, parents, and which part of the file system is shown.
pub fn information(root: &Path) -> Vec<u8> {
    lines(visible(root).into_iter().map(|(mount, place)| {
        let parent = mount.attached().map_or(1, |place| place.mount.id);
        let device = mount.file_system.device();
        let mut own = String::new();
        let _ = mount.file_system.describe_options(&mut own);
        let top = mount.file_system.root();
        let shown = match mount.root.inode().pseudo_name() {
            Some(name) => name,
            None => {
                // The name inside the file system: seen from its own top.
                let whole = Path { mount: mount.clone(), entry: top.clone() };
                name_within(&mount, &whole)
            }
        };
        format!(
            "{} {parent} {}:{} {} {place} {} - {} {} {}{own}",
            mount.id,
            device.major,
            device.minor,
            escaped(&shown),
            options(&mount),
            mount.file_system.kind(),
            escaped(&mount.source),
            if mount.flags().contains(MountFlags::READ_ONLY) { "ro" } else { "rw" },
        )
    }))
}

fn name_within(mount: &Arc<Mount>, whole: &Path) -> Vec<u8> {
    let mut names = Vec::new();
    let mut here = mount.root.clone();
    while !Arc::ptr_eq(&here, &whole.entry) {
        let Some(parent) = here.parent() else { break };
        names.push(here.name());
        here = parent;
    }
    if names.is_empty() {
        return b"/".to_vec();
    }
    let mut text = Vec::new();
    for name in names.iter().rev() {
        text.push(b'/');
        text.extend_from_slice(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_the_columns_is_escaped() {
        assert_eq!(escaped(b"a b\\c"), "a\\040b\\134c");
    }
}

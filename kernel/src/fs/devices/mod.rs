//! Devices: what a device node stands for, and `/dev`, where the nodes are.
//!
//! One table says everything: the number, the name in `/dev`, its permissions, and how it is opened.

mod memory;
pub mod random;
mod random_file;

use super::{
    Actor, DeviceNumber, FileOperations, FileSystem, KernelActor, Kind, Mount, Opening, Walk, console, mount,
    naming::{self, Making},
    terminal::TerminalFile,
    tmpfs::TemporaryFileSystem,
};
use crate::{
    abi::{Errno, Result},
    sync::Once,
};
use alloc::sync::Arc;
use memory::{Full, Null, Zero};

/// One device.
struct Device {
    number: DeviceNumber,
    name: &'static str,
    permissions: u16,
    open: fn(&Opening<'_>) -> Result<Arc<dyn FileOperations>>,
}

const fn device(
    number: DeviceNumber,
    name: &'static str,
    permissions: u16,
    open: fn(&Opening<'_>) -> Result<Arc<dyn FileOperations>>,
) -> Device {
    Device { number, name, permissions, open }
}

/// Every device there is, null(4), random(4), full(4), tty(4), console(4); numbers as everywhere on Linux.
static DEVICES: [Device; 9] = [
    device(DeviceNumber::new(1, 3), "null", 0o666, |_| Ok(Arc::new(Null))),
    device(DeviceNumber::new(1, 5), "zero", 0o666, |_| Ok(Arc::new(Zero))),
    device(DeviceNumber::new(1, 7), "full", 0o666, |_| Ok(Arc::new(Full))),
    device(DeviceNumber::new(1, 8), "random", 0o666, |_| Ok(Arc::new(random_file::Random))),
    device(DeviceNumber::new(1, 9), "urandom", 0o666, |_| Ok(Arc::new(random_file::Random))),
    device(DeviceNumber::new(1, 11), "kmsg", 0o600, |_| Ok(Arc::new(memory::KernelMessages))),
    device(DeviceNumber::new(5, 0), "tty", 0o666, open_controlling_terminal),
    device(console::DEVICE, "console", 0o600, |opening| {
        Ok(TerminalFile::open(console::terminal(), true, opening))
    }),
    device(console::SERIAL_DEVICE, "ttyS0", 0o620, |opening| {
        Ok(TerminalFile::open(console::terminal(), false, opening))
    }),
];

/// Opens what a device node stands for. Errors: ENXIO when there is no such device.
pub fn open(kind: Kind, number: DeviceNumber, opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
    let device = DEVICES.iter().find(|device| kind == Kind::CharacterDevice && device.number == number);
    (device.ok_or(Errno::ENXIO.because("no device has this number"))?.open)(opening)
}

/// Errors: ENXIO when the actor has none.
fn open_controlling_terminal(opening: &Opening<'_>) -> Result<Arc<dyn FileOperations>> {
    let terminal = console::terminal();
    if !terminal.controls(opening.actor) {
        return Err(Errno::ENXIO.because("the process has no controlling terminal"));
    }
    Ok(TerminalFile::open(terminal, false, opening))
}

/// The file system with a node for each device. There is one, however often it is mounted.
pub fn file_system() -> Arc<dyn FileSystem> {
    static FILE_SYSTEM: Once<Arc<TemporaryFileSystem>> = Once::new();
    FILE_SYSTEM
        .call_once(|| {
            let file_system = TemporaryFileSystem::with_permissions("devtmpfs", 0o755);
            if let Err(error) = add_nodes(&file_system) {
                log::warn!("/dev is not complete: {error}");
            }
            file_system
        })
        .clone()
}

fn add_nodes(file_system: &Arc<TemporaryFileSystem>) -> Result<()> {
    let kernel = KernelActor;
    let mount =
        Mount::new(file_system.clone(), file_system.root().clone(), b"devtmpfs", mount::MountFlags::empty());
    let mut walk = Walk::from_place(&kernel, mount.top());
    for device in &DEVICES {
        let making =
            Making { represents: device.number, ..Making::plain(Kind::CharacterDevice, device.permissions) };
        make(&mut walk, device.name, making)?;
    }
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        let making = Making { target: target.as_bytes(), ..Making::plain(Kind::SymbolicLink, 0o777) };
        make(&mut walk, name, making)?;
    }
    make(&mut walk, "shm", Making::plain(Kind::Directory, 0o1777))
}

fn make(walk: &mut Walk<'_>, name: &str, making: Making<'_>) -> Result<()> {
    let parent = walk.find_parent(name.as_bytes())?;
    naming::make(walk, &parent, making).map(|_| ())
}

/// Makes `/dev/console` in the root's tree, as Linux does before it unpacks an archive: one without the node still boots.
pub fn make_console_node(actor: &dyn Actor) -> Result<()> {
    let mut walk = Walk::from_root(actor);
    naming::make_path(&mut walk, b"/dev", 0o755)?;
    let represents = console::DEVICE;
    make(&mut walk, "/dev/console", Making { represents, ..Making::plain(Kind::CharacterDevice, 0o600) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{
        OpenFlags,
        tests::{Somebody, prepare},
    };

    #[test]
    fn numbers_and_names_are_told_apart() {
        for (index, device) in DEVICES.iter().enumerate() {
            let others = &DEVICES[index + 1..];
            assert!(others.iter().all(|other| other.number != device.number && other.name != device.name));
        }
    }

    #[test]
    fn only_character_devices_of_the_table_open() {
        prepare();
        let actor = Somebody::root();
        let opening = Opening { flags: OpenFlags::READ_ONLY, actor: &actor };
        let open_it = |kind, number| open(kind, number, &opening).map(|_| ());
        assert_eq!(open_it(Kind::CharacterDevice, DeviceNumber::new(1, 3)), Ok(()));
        assert_eq!(open_it(Kind::BlockDevice, DeviceNumber::new(1, 3)), Err(Errno::ENXIO));
        assert_eq!(open_it(Kind::CharacterDevice, DeviceNumber::new(1, 4)), Err(Errno::ENXIO));
        assert_eq!(open_it(Kind::CharacterDevice, DeviceNumber::new(5, 0)), Err(Errno::ENXIO), "no terminal");
    }

    #[test]
    fn every_device_has_its_node() {
        prepare();
        let file_system = file_system();
        for device in &DEVICES {
            let entry = file_system.root().child(device.name.as_bytes(), &KernelActor).unwrap();
            let metadata = entry.inode().metadata();
            assert_eq!((metadata.represents, metadata.permissions), (device.number, device.permissions));
        }
    }
}

//! The console: the terminal at the machine's own wire.

use super::{
    DeviceNumber, Entry, File, KernelActor, Kind, LastLink, Metadata, OpenFlags, Opening, Walk, mount,
    open::open_path,
    path::Path,
    pseudo::{self, PseudoInode},
    terminal::{Terminal, TerminalFile, Wire, termios::WindowSize},
};
use crate::{
    arch::{Hardware, Machine},
    fs::Actor,
    sync::LazyLock,
};
use alloc::sync::Arc;

/// What `/dev/console` is.
pub const DEVICE: DeviceNumber = DeviceNumber::new(5, 1);
/// What `/dev/ttyS0` is: the same wire, with job control.
pub const SERIAL_DEVICE: DeviceNumber = DeviceNumber::new(4, 64);

static TERMINAL: LazyLock<Arc<Terminal>> =
    LazyLock::new(|| Terminal::new(Wire { write: Hardware::console_write, read: Hardware::console_read }));

/// The terminal.
pub fn terminal() -> &'static Arc<Terminal> {
    &TERMINAL
}

/// Takes what has come over the wire: called when the machine says that something has.
pub fn receive() {
    take_size();
    terminal().receive();
}

/// The terminal is as large as the screen at the other end, once that is known.
fn take_size() {
    if let Some((rows, columns)) = Hardware::console_resized() {
        terminal().set_window(WindowSize { rows, columns, ..WindowSize::default() });
    }
}

/// The console for init's descriptors 0, 1 and 2: by its name if the archive has one, else without a name.
pub fn open_for_init() -> Arc<File> {
    take_size();
    let actor = KernelActor;
    let credentials = actor.credentials();
    let flags = OpenFlags::READ_WRITE;
    let by_name = Walk::from_root(&actor)
        .find(b"/dev/console", LastLink::Follow)
        .and_then(|path| open_path(path, flags, &credentials, &actor));
    by_name.unwrap_or_else(|error| {
        log::warn!("/dev/console cannot be opened ({error}): init gets the console without a name");
        let operations = TerminalFile::open(terminal(), true, &Opening { flags, actor: &actor });
        File::new(nameless(), operations, flags, credentials).expect("at boot there is room for files")
    })
}

fn nameless() -> Path {
    let metadata = Metadata {
        represents: DEVICE,
        ..Metadata::plain(pseudo::ANONYMOUS.device(), 0, Kind::CharacterDevice, 0o600)
    };
    let inode = PseudoInode::new(metadata, b"/dev/console".to_vec());
    Path { mount: mount::root().mount, entry: Entry::root(Arc::new(inode)) }
}

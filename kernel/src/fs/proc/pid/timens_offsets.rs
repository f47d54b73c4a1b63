//! `/proc/PID/timens_offsets`: the offsets of the namespace that a task's children will be in, time_namespaces(7).
//!
//! Not of the namespace the task is in: that one is entered, so its offsets cannot change any more. Everybody may read
//! them; what is written is judged by who opened the file, so that an open descriptor can be handed to someone who may
//! not open it.

use super::Someone;
use crate::{
    abi::Result,
    fs::{Actor, Positions, proc::node::Settings},
    ns::time,
    time::{HostClock, now},
};
use alloc::vec::Vec;

/// The file. A position means nothing to a write, but has to be 0.
pub static SETTINGS: Settings<Someone> = Settings {
    read,
    write: |someone, call, bytes| {
        let namespaces = someone.task().ok().and_then(|task| task.namespaces());
        let target = namespaces.as_ref().map(|namespaces| &*namespaces.children);
        time::write_offsets(target, bytes, call.file.credentials(), now(HostClock::Boottime))
    },
    positions: Positions::ReadOnly,
    may_write: None,
};

/// Empty for a zombie. Errors: ESRCH once it was waited for.
fn read(someone: &Someone, _actor: &dyn Actor) -> Result<Vec<u8>> {
    let namespaces = someone.task()?.namespaces();
    Ok(namespaces.map(|namespaces| namespaces.children.read_offsets().into_bytes()).unwrap_or_default())
}

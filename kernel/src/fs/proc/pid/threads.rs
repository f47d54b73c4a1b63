//! `/proc/PID/task`: a directory for each thread.

use super::{Scope, Someone, THREAD, first_number, listing};
use crate::{
    abi::{Errno, Result},
    fs::{
        Actor, Directory, Inode, Kind, Listed,
        proc::{node::TableDirectory, root::parse_number},
    },
    task::{Task, table},
};
use alloc::{string::ToString, sync::Arc};

struct Names(Someone);

/// The directory.
pub fn directory(someone: &Someone, number: u64, permissions: u16) -> Arc<dyn Inode> {
    listing(someone, number, permissions, Names(someone.clone()), |_, _| Ok(()))
}

impl Names {
    fn thread(&self, task: &Arc<Task>) -> Arc<dyn Inode> {
        let thread =
            Someone { number: task.id(), process: Arc::downgrade(task.process()), scope: Scope::Thread };
        Arc::new(TableDirectory::top(thread, THREAD, 0o555))
    }
}

impl Directory for Names {
    fn lookup(&self, name: &[u8], _actor: &dyn Actor) -> Result<Arc<dyn Inode>> {
        let process = self.0.process().map_err(|_| Errno::ENOENT)?;
        let task = parse_number(name).and_then(table::task).ok_or(Errno::ENOENT)?;
        if !Arc::ptr_eq(task.process(), &process) {
            return Err(Errno::ENOENT.because("the thread is another process'"));
        }
        Ok(self.thread(&task))
    }

    fn list(&self, from: u64, _actor: &dyn Actor, visitor: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        let process = self.0.process().map_err(|_| Errno::ENOENT)?;
        // Positions are numbers plus 2; the table is asked for what comes after a number.
        let mut after = from.saturating_sub(3) as u32;
        while let Some(task) = table::next_thread(&process, after) {
            let id = task.id();
            let name = id.to_string();
            let number = first_number(id) + (1 << 15);
            let listed =
                Listed { position: u64::from(id) + 2, name: name.as_bytes(), number, kind: Kind::Directory };
            if !visitor(listed) {
                break;
            }
            after = id;
        }
        Ok(())
    }
}

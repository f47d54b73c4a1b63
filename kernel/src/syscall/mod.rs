//! System calls: thin functions that turn a program's numbers into calls of the kernel's own, and answers into numbers.
//!
//! [`table`] has one line for each. The families beside it hold the handlers, all of one shape:
//! `fn name(caller: &mut Caller<'_>, typed arguments…) -> Result<usize>`, or `async fn` where the call may wait.

mod adjusting;
mod argument;
mod attributes;
mod clocks;
mod descriptors;
mod epoll;
mod file_copies;
mod file_io;
mod file_locks;
mod file_space;
mod futex;
mod identity;
mod machine;
mod memory;
mod metadata;
mod mounting;
mod namespaces;
mod paths;
mod places;
mod polling;
mod prctl;
mod process;
mod remote_memory;
mod resources;
mod scheduling;
mod signals;
mod socket_messages;
mod sockets;
mod stat_formats;
mod table;
mod timer_files;
mod timers;

use crate::{
    abi::Result,
    fs,
    task::serve::{self, SystemCalls},
};
use core::future::Future;

pub use crate::task::Caller;
pub use argument::Argument;
pub use table::call_counts;

/// The dispatch, as the loop that serves a task wants it.
struct Table;

impl SystemCalls for Table {
    #[inline(always)]
    fn now(caller: &mut Caller<'_>, number: usize) -> isize {
        table::now(caller, number)
    }

    fn wait(caller: &mut Caller<'_>, number: usize) -> impl Future<Output = Result<usize>> + Send {
        table::wait(caller, number)
    }
}

/// Called once at boot: the loop that serves a task lies in a folder that cannot know this one.
pub fn install() {
    serve::install::<Table>();
    fs::proc::gnomon::install(|tell| {
        call_counts().for_each(|(row, count)| tell(row.number, row.name, count))
    });
}

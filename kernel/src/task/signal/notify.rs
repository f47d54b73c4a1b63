//! Telling a parent what became of its child: SIGCHLD, and whoever waits in wait4(2).

use super::{
    action::{self, ActionFlags},
    send::send_to_process,
};
use crate::{
    abi::Signal,
    task::{
        process::Process,
        status::{Event, Status},
        table,
    },
};
use alloc::sync::Arc;

/// Tells the parent of a stop or continuation.
pub fn parent(process: &Arc<Process>, event: Event) {
    let Some(parent) = table::process(process.parent_id()) else { return };
    table::note_event(process.id(), true);
    parent.child_events.wake_all();
    let Some(thread) = parent.any_thread() else { return };
    let action = thread.action(Signal::SIGCHLD);
    if action.handler != action::IGNORE && !action.has(ActionFlags::NOCLDSTOP) {
        send_event(process, &parent, Signal::SIGCHLD, event);
    }
}

/// Tells the parent that the child has ended. Answers whether the parent has no use for the zombie, because it ignores
/// SIGCHLD or has set SA_NOCLDWAIT: then nobody will wait for it.
pub fn ended(process: &Arc<Process>, parent: &Arc<Process>, exit_signal: u32, status: Status) -> bool {
    table::note_event(process.id(), true);
    let action = parent.any_thread().map(|thread| thread.action(Signal::SIGCHLD));
    let sends_child_signal = exit_signal == Signal::SIGCHLD.number();
    let (ignores, unwanted) = match action {
        Some(action) if sends_child_signal => {
            let ignores = action.handler == action::IGNORE;
            (ignores, ignores || action.has(ActionFlags::NOCLDWAIT))
        }
        // A parent that is ending itself: whoever adopts the child will be told.
        _ => (false, false),
    };
    // A byte that is no signal is what legacy clone(2) let through: nobody is sent anything.
    if let Ok(signal) = Signal::new(exit_signal)
        && !ignores
    {
        send_event(process, parent, signal, Event::Ended(status));
    }
    parent.child_events.wake_all();
    unwanted
}

fn send_event(process: &Arc<Process>, parent: &Arc<Process>, signal: Signal, event: Event) {
    let user = process.leader().map_or(0, |leader| leader.credentials().uid);
    let shown = parent
        .any_thread()
        .and_then(|thread| thread.credentials().user_namespace.shown_user(user))
        .unwrap_or(crate::ns::credentials::OVERFLOW_ID);
    let info = event.signal_info(signal, process.id(), shown, process.times());
    // It is the kernel's own, which is never refused.
    let _ = send_to_process(parent, info);
}

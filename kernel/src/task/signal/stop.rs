//! Stopping a process, and where its threads wait until it goes on: job control's half in the kernel.
//!
//! A stop begins when one thread takes the signal. Every thread then comes to a halt at its next way back to its program,
//! a waiting one at once; when the last has, the process is stopped and its parent is told. SIGCONT ends it when it is
//! sent, see [`super::send`].

use super::notify;
use crate::{
    abi::Signal,
    arch::{UserContext, UserMode},
    task::{
        Task, attention,
        process::{Life, Process, State, Stop},
        sched,
        status::Event,
    },
};
use alloc::sync::Arc;
use core::{future::poll_fn, task::Poll};

/// Has every thread halt. Tells whether it is to happen: not if the process' end came in between, or a SIGCONT, whose
/// number was `continues` when the signal was taken.
pub fn begin(process: &Arc<Process>, signal: Signal, continues: u64) -> bool {
    let mut state = process.state.lock();
    if state.life != Life::Running || state.continues != continues {
        return false;
    }
    state.stop.get_or_insert(Stop { signal, complete: false });
    for thread in state.threads.values() {
        thread.attention.set(attention::STOP);
        sched::wake(thread);
    }
    true
}

/// Halts a thread for as long as its process is stopped.
pub async fn halt(task: &Arc<Task>, user: &mut UserContext) {
    let process = task.process();
    let completed = {
        let mut state = process.state.lock();
        task.schedule.set_stopped(state.stop.is_some());
        complete(&mut state)
    };
    if let Some(signal) = completed {
        notify::parent(process, Event::Stopped(signal));
    }
    poll_fn(|_| {
        if task.killed() || process.state.lock().stop.is_none() {
            return Poll::Ready(());
        }
        user.park();
        Poll::Pending
    })
    .await;
    task.schedule.set_stopped(false);
    let state = process.state.lock();
    task.attention.put(attention::STOP, state.stop.is_some());
    task.look_again(&state);
}

/// If the last thread has come to a halt, or ended, says which signal the parent is to be told of.
pub fn complete(state: &mut State) -> Option<Signal> {
    let stop = state.stop.as_mut().filter(|stop| !stop.complete)?;
    if !state.threads.values().all(|thread| thread.schedule.has_stopped()) {
        return None;
    }
    stop.complete = true;
    state.reports.stopped = Some(stop.signal);
    state.reports.continued = false;
    Some(stop.signal)
}

//! Where programs' calls arrive: the kernel's end of seccomp's notifications.
//!
//! There is one for all host processes; they inherit the other end from the first one. Waiting for a program is one host
//! call, whatever it will be that stops it. Every notification names the host thread that waits for its answer, and only
//! one thread is meant to run at a time; what another sends (somebody on the host has sent it a signal) is kept until its turn.
//!
//! Calls of the stub other than "here I am" are approved here: see [`super::operation`].

use super::operation::Operation;
use super::running;
use super::turns::{Call, HostThread, Lost};
use alloc::collections::VecDeque;
use libc::{seccomp_notif as Notification, seccomp_notif_resp as Answer};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Operations the stub may do while the kernel waits.
struct Orders<'a> {
    operations: &'a [Operation],
    /// How many are done or have been let pass.
    done: usize,
    /// The last that was let pass.
    last: Option<usize>,
}

impl<'a> Orders<'a> {
    fn new(operations: &'a [Operation]) -> Self {
        Self { operations, done: 0, last: None }
    }

    /// Lets a call pass if it is the next one, or the last one once more: who is stopped and continued by somebody on the
    /// host makes the same call again. False: it is neither.
    fn approve(&mut self, call: &Call, listener: &Listener) -> bool {
        let is = |index: usize| {
            let operation = self.operations[index];
            (operation.number, operation.arguments) == (call.number.into(), call.arguments)
        };
        let next = (self.done..self.operations.len()).find(|&index| self.operations[index].is_asked());
        let is_next = next.is_some_and(is);
        if !is_next && !self.last.is_some_and(is) {
            return false;
        }
        if listener.let_pass(call) && is_next {
            self.last = next;
            self.done = next.map_or(self.done, |index| index + 1);
        }
        true
    }
}

/// The listening end.
pub struct Listener {
    descriptor: OwnedFd,
    /// Notifications of threads whose turn it is not.
    early: spin::Mutex<VecDeque<Call>>,
}

impl Listener {
    /// Listens to a descriptor that seccomp(2) has given.
    pub fn new(descriptor: OwnedFd) -> Self {
        /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`: the answer hands the CPU over.
        const HAND_OVER: u64 = 1;
        // Hosts before 6.6 do not know it, and are only slower.
        // SAFETY: passes a number.
        unsafe { libc::ioctl(descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, HAND_OVER) };
        Self { descriptor, early: spin::Mutex::default() }
    }

    /// Waits until a thread stops, letting pass what it was ordered to do before that.
    pub fn wait(&self, waited: HostThread, ordered: &[Operation]) -> Result<Call, Lost> {
        let mut orders = Orders::new(ordered);
        let mut next = self.take_early(waited.thread);
        loop {
            let call = match next.take() {
                Some(call) => call,
                None => self.receive(waited.process)?,
            };
            if call.thread != waited.thread {
                self.early.lock().push_back(call);
            } else if !call.is_operation() {
                return Ok(call);
            } else if !orders.approve(&call, self) {
                return Err(Lost);
            }
        }
    }

    /// As [`super::turns::Way::wait_for_birth`]; `has_child` says whether the clone was made, once the parent has stopped.
    pub fn wait_for_birth(
        &self,
        parent: HostThread,
        ordered: &[Operation],
        ordered_child: &[Operation],
        has_child: impl Fn() -> bool,
    ) -> Result<(Call, Option<Call>), Lost> {
        let (mut orders, mut child_orders) = (Orders::new(ordered), Orders::new(ordered_child));
        let (mut stopped, mut child) = (None, None);
        loop {
            match (stopped, child) {
                (Some(stopped), Some(child)) => return Ok((stopped, Some(child))),
                (Some(stopped), None) if !has_child() => return Ok((stopped, None)),
                _ => {}
            }
            let call = self.receive(parent.process)?;
            if call.thread == parent.thread {
                if !call.is_operation() {
                    stopped = Some(call);
                } else if !orders.approve(&call, self) {
                    return Err(Lost);
                }
            } else if call.is_operation() && child_orders.approve(&call, self) {
            } else if call.signal() == Some(0) {
                child = Some(call);
            } else {
                self.early.lock().push_back(call);
            }
        }
    }

    /// What a thread has sent before it was waited for.
    fn take_early(&self, thread: i32) -> Option<Call> {
        let mut early = self.early.lock();
        let index = early.iter().position(|call| call.thread == thread)?;
        early.remove(index)
    }

    /// Forgets what threads of a process have sent that is no more.
    pub fn forget(&self, thread: i32) {
        self.early.lock().retain(|call| call.thread != thread);
    }

    fn receive(&self, process: i32) -> Result<Call, Lost> {
        loop {
            // SAFETY: zeros are a valid value, and the one the host wants to see.
            let mut notification: Notification = unsafe { core::mem::zeroed() };
            // SAFETY: the host fills in a structure of this type.
            let result = unsafe {
                libc::ioctl(self.descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &mut notification)
            };
            if result == 0 {
                return Ok(Call {
                    id: notification.id,
                    thread: notification.pid as i32,
                    number: notification.data.nr,
                    instruction: notification.data.instruction_pointer,
                    arguments: notification.data.args,
                });
            }
            match io::Error::last_os_error().raw_os_error() {
                // The caller has been sent a signal in the meantime, or is dead; or the interrupt thread thinks it is.
                Some(libc::ENOENT | libc::EINTR) if !running::has_died(process) => {}
                Some(libc::ENOENT | libc::EINTR) => return Err(Lost),
                error => panic!("the host no longer hands over system calls: error {error:?}"),
            }
        }
    }

    /// Has a call return this value. False: nobody waits for it any more.
    pub fn answer(&self, id: u64, value: i64) -> bool {
        self.send(Answer { id, val: value, error: 0, flags: 0 })
    }

    /// Has the host make the call. False: nobody waits for it any more.
    pub fn let_pass(&self, call: &Call) -> bool {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        self.send(Answer { id: call.id, val: 0, error: 0, flags })
    }

    fn send(&self, mut answer: Answer) -> bool {
        // SAFETY: the host reads a structure of this type.
        unsafe { libc::ioctl(self.descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer) == 0 }
    }
}

//! How a host thread and the kernel take turns: one runs, the other waits.
//!
//! By *notification* of system calls if the host allows it ([`Listener`]). A process can have only one listener, though, so
//! where the kernel's own process already is under another's (a container may be), there is a second way: every call becomes
//! a signal, arrives through the stub, and the stub and the kernel wake each other by a *word* in the slot, futex(2).
//! That takes half as long again, and promises less: nobody can be asked about the stub's calls, so the filter lets it map
//! and unmap whatever it likes of RAM and slots. A program that breaks out into the stub can then reach all other programs'
//! memory, and the tables the kernel keeps in RAM, but still nothing of the host's.

use super::host;
use super::listener::Listener;
use super::operation::Operation;
use super::slot::Slot;
use super::{layout, running, stub};
use core::sync::atomic::Ordering::SeqCst;

/// The host process is gone, or did what it was not told to and must go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

/// Why there is no further process or thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unborn {
    /// Who was to make it is lost.
    Lost,
    /// The host makes no more, or there is no slot for it.
    Refused,
}

impl From<Lost> for Unborn {
    fn from(Lost: Lost) -> Self {
        Self::Lost
    }
}

/// A host thread, and the process it is one of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostThread {
    /// The process.
    pub process: i32,
    /// The thread; the first one has the process' number.
    pub thread: i32,
}

/// What a thread waits with for the kernel's answer.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Names the notification.
    pub id: u64,
    /// Who waits.
    pub thread: i32,
    /// The system call's number.
    pub number: i32,
    /// Behind its instruction.
    pub instruction: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Call {
    /// Whether it is the stub doing an operation.
    pub fn is_operation(&self) -> bool {
        stub::contains(self.instruction) && self.number != stub::TRAP
    }

    /// The signal the stub reports (0: none, its operations are done), if it is that.
    pub fn signal(&self) -> Option<i32> {
        let reports = stub::contains(self.instruction) && self.number == stub::TRAP;
        reports.then_some(self.arguments[0] as i32)
    }
}

/// The value of a slot's turn when it is the kernel's; 0 when it is the program's.
pub const KERNELS: u32 = 1;

/// One of the two ways.
pub enum Way {
    /// By notification.
    Notified(Listener),
    /// By a word in the slot.
    ByWord,
}

static WAY: spin::Once<Way> = spin::Once::new();

/// The one in use.
pub fn get() -> &'static Way {
    WAY.get().expect("it is set before the first program runs")
}

/// Chooses it.
pub fn set(way: Way) {
    WAY.call_once(|| way);
}

/// Whether it is by a word.
pub fn are_by_word() -> bool {
    matches!(WAY.get(), Some(Way::ByWord))
}

impl Way {
    /// Waits until a thread stops, letting pass what it was ordered to do before that.
    pub fn wait(&self, waited: HostThread, slot: &Slot, ordered: &[Operation]) -> Result<Call, Lost> {
        match self {
            Self::Notified(listener) => listener.wait(waited, ordered),
            Self::ByWord => wait_for_turn(waited, slot),
        }
    }

    /// Waits until a thread has cloned another and both have stopped. The last of its orders is the clone; the child's are
    /// what the child is to do before that. Gives both calls; no child if the host refused to make it.
    pub fn wait_for_birth(
        &self,
        parent: HostThread,
        slot: &Slot,
        ordered: &[Operation],
        child: &Slot,
        ordered_child: &[Operation],
    ) -> Result<(Call, Option<Call>), Lost> {
        // What the host said to the clone: the child's number, or an error.
        let number = || slot.result(ordered.len() - 1);
        match self {
            Self::Notified(listener) => {
                listener.wait_for_birth(parent, ordered, ordered_child, || number() > 0)
            }
            Self::ByWord => {
                let stopped = wait_for_turn(parent, slot)?;
                let thread = number() as i32;
                if thread <= 0 {
                    return Ok((stopped, None));
                }
                let born = wait_for_turn(HostThread { process: parent.process, thread }, child)?;
                Ok((stopped, Some(born)))
            }
        }
    }

    /// Answers the stub. False: it no longer waits for this answer.
    pub fn answer_stub(&self, id: u64, slot: &Slot, answer: i64) -> bool {
        match self {
            Self::Notified(listener) => listener.answer(id, answer),
            Self::ByWord => {
                slot.set_answer(answer);
                slot.turn().store(0, SeqCst);
                host::futex_wake_shared(slot.turn());
                true
            }
        }
    }

    /// Has a system call return this value, or the host do it if there is none. False: nobody waits for it any more.
    pub fn answer_call(&self, call: &Call, value: Option<i64>) -> bool {
        match (self, value) {
            (Self::Notified(listener), Some(value)) => listener.answer(call.id, value),
            (Self::Notified(listener), None) => listener.let_pass(call),
            (Self::ByWord, _) => false,
        }
    }

    /// Forgets what a thread has sent that is no more.
    pub fn forget(&self, thread: i32) {
        if let Self::Notified(listener) = self {
            listener.forget(thread);
        }
    }
}

fn wait_for_turn(waited: HostThread, slot: &Slot) -> Result<Call, Lost> {
    while slot.turn().load(SeqCst) != KERNELS {
        host::futex_wait_shared(slot.turn(), 0);
        if slot.turn().load(SeqCst) != KERNELS && running::has_died(waited.process) {
            return Err(Lost);
        }
    }
    let (signal, frame) = slot.report();
    Ok(Call {
        id: 0,
        thread: waited.thread,
        number: stub::TRAP,
        instruction: layout::STUB as u64,
        arguments: [signal as u64, frame, 0, 0, 0, 0],
    })
}

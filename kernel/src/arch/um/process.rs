//! Host processes and their threads: an address space has one, a thread of a program has its own thread in it.
//!
//! One thread to one keeps everything that is a thread's where it is, in the host's thread: extended registers, segment
//! bases, the signal stack. Only one of all threads runs at a time; the others wait for an answer of the kernel, in one of
//! two ways ([`Parked`]).

use super::frame::FrameForm;
use super::interrupts::{self, Watched};
use super::layout;
use super::operation::{CLONE_THREAD, Operation};
use super::slot::Slot;
use super::statistics::{self, Event};
use super::turns::{self, Call, HostThread, Lost, Unborn};
use super::{running, stub};
use crate::arch::PAGE_SIZE;
use alloc::sync::Arc;
use core::ops::Range;
use std::os::fd::OwnedFd;

/// The host process of an address space.
pub struct Process {
    /// Its number on the host.
    number: i32,
    /// By which the interrupt thread hears of its end, as long as that is not the kernel's own doing.
    watch: spin::Mutex<Option<OwnedFd>>,
    /// Its threads; a place in this list is given away once, and again when nobody has it.
    threads: spin::Mutex<Vec<Thread>>,
}

/// A host thread.
pub struct Thread {
    host: HostThread,
    slot: Slot,
    parked: Parked,
    /// A program's thread has it.
    taken: bool,
}

/// How a thread waits.
#[derive(Clone, Copy, Debug)]
enum Parked {
    /// In a system call of the program; its registers are in the processor's care, which is the host's.
    InCall {
        /// The call.
        call: Call,
        /// What it will return; the number of the call before anybody has said so.
        result: i64,
    },
    /// In the stub; its registers are in its slot.
    InStub {
        /// Names the stub's call.
        id: u64,
    },
    /// It does not: it has ended. Its slot is for the next one in its place, as it is still mapped there.
    Ended,
}

/// So many threads of a process wait for a program's next thread; the host counts them, as all there are.
const MOST_SPARE: usize = 4;

/// How much of a `syscall` instruction there is.
const SYSCALL_LENGTH: u64 = 2;

fn form() -> &'static FrameForm {
    FrameForm::get().expect("learnt before the first program runs")
}

impl Process {
    /// One that has a first thread, in the stub.
    pub fn new(thread: Thread) -> Arc<Self> {
        let number = thread.host.process;
        let watch = spin::Mutex::new(interrupts::watch(number, Watched::Program));
        Arc::new(Self { number, watch, threads: spin::Mutex::new(vec![thread]) })
    }

    /// Takes a thread for a program's: one that nobody has, or a new one. Gives its place.
    pub fn take_thread(&self) -> Result<usize, Unborn> {
        let mut threads = self.threads.lock();
        let place = match threads.iter().position(Thread::is_spare) {
            Some(place) => place,
            None => Self::make_thread(&mut threads)?,
        };
        threads[place].enter_stub()?;
        threads[place].taken = true;
        form().put(&threads[place].slot);
        Ok(place)
    }

    /// A further thread, in the place of one that has ended or in a new one.
    fn make_thread(threads: &mut Vec<Thread>) -> Result<usize, Unborn> {
        let place = threads.iter().position(|thread| !thread.taken).unwrap_or(threads.len());
        let Some((first, others)) = threads.split_first_mut() else { return Err(Unborn::Lost) };
        match others.get_mut(place - 1) {
            Some(ended) => (ended.host, ended.parked) = first.clone_thread(&ended.slot)?,
            None => {
                let slot = Slot::new(place).ok_or(Unborn::Refused)?;
                let (host, parked) = first.clone_thread(&slot)?;
                threads.push(Thread { host, slot, parked, taken: false });
            }
        }
        Ok(place)
    }

    /// Gives a thread back: it keeps waiting, unless enough others do. The first one stays, as it is who makes others.
    pub fn leave_thread(&self, place: usize) {
        let mut threads = self.threads.lock();
        threads[place].taken = false;
        if place != 0 && threads.iter().filter(|thread| thread.is_spare()).count() > MOST_SPARE {
            threads[place].end();
        }
    }

    /// Lets `act` work with a thread.
    pub fn with_thread<R>(&self, place: usize, act: impl FnOnce(&mut Thread) -> R) -> R {
        act(&mut self.threads.lock()[place])
    }

    /// Lets `act` clone it by its first thread; a process of several threads is not cloned, as the others' slots would be too.
    pub fn with_only_thread<R>(&self, act: impl FnOnce(&mut Thread) -> R) -> Option<R> {
        match &mut self.threads.lock()[..] {
            [thread] => Some(act(thread)),
            _ => None,
        }
    }

    /// Whether it has never had another thread than its first.
    pub fn has_one_thread(&self) -> bool {
        self.threads.lock().len() == 1
    }

    /// Whether somebody on the host has ended it.
    pub fn has_died(&self) -> bool {
        running::has_died(self.number)
    }

    /// Ends the process. Its threads do not run again, so everything that is theirs may be used anew at once.
    pub fn end(&self) {
        drop(self.watch.lock().take());
        // SAFETY: sends a signal to a child of ours, whose number is its own until it is buried.
        unsafe { libc::kill(self.number, libc::SIGKILL) };
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        // The number of one that has ended may be another's by now.
        for thread in self.threads.lock().iter().filter(|thread| !matches!(thread.parked, Parked::Ended)) {
            turns::get().forget(thread.host.thread);
        }
        super::zygote::bury_later(self.number);
    }
}

impl Thread {
    /// The first thread of a new process, which has just come to its stop in the stub.
    pub fn first(call: &Call, slot: Slot) -> Self {
        let host = HostThread { process: call.thread, thread: call.thread };
        Self { host, slot, parked: Parked::InStub { id: call.id }, taken: false }
    }

    /// Its slot.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Who it is on the host.
    pub fn host(&self) -> HostThread {
        self.host
    }

    /// Takes note of how it has stopped.
    pub fn stopped(&mut self, call: &Call) {
        self.parked = match call.signal() {
            Some(_) => Parked::InStub { id: call.id },
            None => Parked::InCall { call: *call, result: call.number.into() },
        };
    }

    /// Says what its system call leaves.
    pub fn set_result(&mut self, result: isize) {
        match &mut self.parked {
            Parked::InCall { result: place, .. } => *place = result as i64,
            _ => form().set_result(&self.slot, result),
        }
    }

    /// Gets its registers into its slot: a thread that waits in a system call is sent a signal, which ends the call as if it
    /// had not been made yet; then the registers are set as the call would have left them.
    pub fn enter_stub(&mut self) -> Result<(), Lost> {
        let Parked::InCall { result, .. } = self.parked else { return Ok(()) };
        running::begin(self.host.process, self.host.thread);
        statistics::count(Event::Entry);
        // SAFETY: sends a signal to a child of ours.
        unsafe { libc::syscall(libc::SYS_tgkill, self.host.process, self.host.thread, running::KICK) };
        self.await_kick(result)
    }

    /// The call it waited in is no more, as it has been sent a signal: waits for it to get to the stub.
    fn await_kick(&mut self, result: i64) -> Result<(), Lost> {
        let stopped = loop {
            match turns::get().wait(self.host, &self.slot, &[]) {
                // Stopped and continued in between: it waits in the same call again, until the signal comes.
                Ok(call) if call.signal().is_none() => {}
                stopped => break stopped,
            }
        };
        running::end();
        self.stopped(&stopped?);
        self.finish_call(result);
        Ok(())
    }

    /// Makes the registers what a system call leaves, that did not get to its end.
    fn finish_call(&mut self, result: i64) {
        let mut registers = form().registers(&self.slot);
        registers.rip = registers.rip.wrapping_add(SYSCALL_LENGTH);
        registers.rax = result as u64;
        registers.rcx = registers.rip;
        registers.r11 = registers.rflags;
        form().set_registers(&self.slot, &registers);
    }

    /// Answers the stub, which has been given so many operations. Somebody on the host may have stopped and continued it;
    /// then it has asked once more.
    fn answer_stub(&mut self, answer: i64) -> Result<(), Lost> {
        let turns = turns::get();
        loop {
            let Parked::InStub { id } = self.parked else { return Err(Lost) };
            if turns.answer_stub(id, &self.slot, answer) {
                return Ok(());
            }
            let call = turns.wait(self.host, &self.slot, &[])?;
            self.stopped(&call);
        }
    }

    /// Does operations in its process, and stays in the stub. Gives what the host said to the last that was made.
    pub fn perform(&mut self, operations: &[Operation]) -> Result<i64, Lost> {
        self.enter_stub()?;
        let mut result = 0;
        for operations in operations.chunks(layout::MOST_OPERATIONS) {
            self.slot.write_operations(operations);
            statistics::add(Event::Operation, operations.len());
            running::begin(self.host.process, self.host.thread);
            let answered = self.answer_stub(operations.len() as i64);
            let call = answered.and_then(|()| turns::get().wait(self.host, &self.slot, operations));
            running::end();
            let call = call?;
            self.stopped(&call);
            if call.signal() != Some(0) {
                return Err(Lost);
            }
            result = self.result_of(operations.len());
            if result < 0 {
                break;
            }
        }
        Ok(result)
    }

    /// What the host said to the last of so many operations that was made.
    pub fn result_of(&self, count: usize) -> i64 {
        let results = (0..count).map(|index| self.slot.result(index));
        results
            .take_while(|result| *result != super::operation::NOT_MADE)
            .last()
            .unwrap_or(super::operation::NOT_MADE)
    }

    /// What is unmapped if the call it waits in is left to the host: a munmap(2) that has succeeded here.
    pub fn unmapping(&self) -> Option<Range<usize>> {
        match self.parked {
            Parked::InCall { call, result: 0 } if i64::from(call.number) == libc::SYS_munmap => {
                let [start, length, ..] = call.arguments.map(|argument| argument as usize);
                Some(start..(start + length).next_multiple_of(PAGE_SIZE))
            }
            _ => None,
        }
    }

    /// Lets the program go on after operations, and waits until it stops: gives how. `None`: it was stopped before it ran.
    ///
    /// The caller has said [`running::begin`], and says [`running::end`]. With operations, the thread is in the stub; if the
    /// host `is_to_do` the call it waits in, it waits in one.
    pub fn resume(&mut self, operations: &[Operation], is_to_do: bool) -> Result<Option<Call>, Lost> {
        match self.parked {
            Parked::InCall { call, result } => {
                if !turns::get().answer_call(&call, if is_to_do { None } else { Some(result) }) {
                    return self.answer_late(result);
                }
            }
            Parked::InStub { .. } => {
                self.slot.write_operations(operations);
                statistics::add(Event::Operation, operations.len());
                self.answer_stub(operations.len() as i64 | stub::GO_BACK)?;
            }
            Parked::Ended => return Err(Lost),
        }
        let call = turns::get().wait(self.host, &self.slot, operations)?;
        self.stopped(&call);
        Ok(Some(call))
    }

    /// Answers a call that is no longer waited in: a signal came first, and the thread is in the stub, or on its way there;
    /// or it was stopped and continued by somebody on the host, and has made the same call again.
    fn answer_late(&mut self, result: i64) -> Result<Option<Call>, Lost> {
        let call = turns::get().wait(self.host, &self.slot, &[])?;
        self.stopped(&call);
        if call.signal().is_some() {
            self.finish_call(result);
        } else {
            self.set_result(result as isize);
        }
        Ok(None)
    }

    /// Whether it waits for somebody to take it.
    fn is_spare(&self) -> bool {
        !self.taken && !matches!(self.parked, Parked::Ended)
    }

    /// Ends it if it waits in exit(2), which the host then does. Any other waits on, as does any where there are no
    /// notifications.
    fn end(&mut self) {
        if let Parked::InCall { call, .. } = self.parked
            && i64::from(call.number) == libc::SYS_exit
            && turns::get().answer_call(&call, None)
        {
            self.parked = Parked::Ended;
        }
    }

    /// Makes a sister with this slot, which waits in the stub.
    fn clone_thread(&mut self, slot: &Slot) -> Result<(HostThread, Parked), Unborn> {
        let stack = form().stack_pointer(slot);
        let operations = [
            Operation::map_slot(slot.address(), slot.offset()),
            Operation::new(libc::SYS_clone, &[CLONE_THREAD as u64, stack as u64]),
        ];
        let child = self.give_birth(&operations, slot, &[])?;
        statistics::count(Event::Thread);
        let host = HostThread { process: self.host.process, thread: child.thread };
        Ok((host, Parked::InStub { id: child.id }))
    }

    /// Does operations of which the last is a clone; the child's come behind. Gives the child's stop in the stub.
    pub fn give_birth(
        &mut self,
        own: &[Operation],
        child: &Slot,
        of_child: &[Operation],
    ) -> Result<Call, Unborn> {
        self.enter_stub()?;
        let all = [own, of_child].concat();
        self.slot.write_operations(&all);
        statistics::add(Event::Operation, all.len());
        running::begin(self.host.process, self.host.thread);
        let answered = self.answer_stub(all.len() as i64);
        let born =
            answered.and_then(|()| turns::get().wait_for_birth(self.host, &self.slot, own, child, of_child));
        running::end();
        let (parent, child) = born?;
        self.stopped(&parent);
        child.ok_or(Unborn::Refused)
    }
}

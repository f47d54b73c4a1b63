//! User mode as a function call: a program's thread, and the host thread that runs it.
//!
//! A program's registers are in one of two places. Before it first runs, and when it is to go on in another address space,
//! they are kept by the kernel. Once it runs they are with a thread of the host process of its address space, which is found
//! or made then. What stops that thread is told by the host; most of it means the same as it would on the bare machine, for
//! the host is the same kind of Linux that the bare machine imitates.
//!
//! # What is promised
//! A program can make no host call: the host asks the kernel about every one, whatever instruction it is made by, and
//! the kernel lets pass only what it has itself ordered, from its own copy of the order; and of a program's own calls
//! munmap(2) of what it has just taken away, and exit(2) of a thread that has ended. (When the stub takes something away
//! from the process nobody is asked: [`super::filter`].) So a program reaches no file of the host, no process, and no
//! memory but what its page table gives it, even if it jumps into the stub or writes over what the stub works with; all it
//! gains by that is its own end. What it shares with the host is the processor: it sees the host's CPUID, can read its
//! time stamp counter, and can take time and memory as any process can.
//!
//! This rests on the host's seccomp(2) and on its keeping processes apart. It is not promised that a program cannot find out
//! that it runs here, nor that one cannot learn of another by how long things take.

use super::frame::FrameForm;
use super::operation::Operation;
use super::process::{Process, Thread};
use super::statistics::Event;
use super::translation::Space;
use super::turns::{Lost, Unborn};
use super::{explain, interrupts, layout, running, statistics, zygote};
use crate::abi::{Errno, Result, Signal, linux};
use crate::arch::{Exception, PAGE_SIZE, Registers, TableRoot, Trap, UserMode, xsave};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Makes user mode ready, on the thread that will be the kernel's. Errors: a sentence that says what the host has not got.
pub fn initialize() -> core::result::Result<(), String> {
    zygote::start()
}

/// One thread of user mode.
pub struct Context {
    place: Place,
    /// Its extended state as long as the kernel keeps it; then room to look at it.
    extended: Box<[u8]>,
    /// The page of the fault it last stopped at, until it runs again.
    fault: Option<usize>,
    /// Those of the system call it last stopped at.
    arguments: [usize; 6],
}

/// Where its registers are.
enum Place {
    /// In the kernel.
    Kept(Registers),
    Hosted(Hosted),
}

/// With a thread of a host process, named by its place there.
struct Hosted {
    process: Arc<Process>,
    thread: usize,
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.process.leave_thread(self.thread);
    }
}

/// Flags that a program can change by itself and the host lets a signal handler change: CF PF AF ZF SF TF DF OF RF AC.
const USER_FLAGS: u64 = 0x5_0dd5;
/// Flags that are always set: interrupts are on, and a bit that has been one since the 8080.
const FIXED_FLAGS: u64 = 0x202;

fn form() -> Option<&'static FrameForm> {
    FrameForm::get()
}

impl UserMode for Context {
    fn new(entry: usize, stack: usize) -> Result<Self> {
        let registers =
            Registers { rip: entry as u64, rsp: stack as u64, rflags: FIXED_FLAGS, ..Registers::default() };
        let mut new = Self::kept(registers)?;
        xsave::reset(&mut new.extended);
        Ok(new)
    }

    fn duplicate(&mut self) -> Result<Self> {
        let mut copy = Self::kept(self.registers())?;
        copy.extended.copy_from_slice(self.fetch_extended_state());
        Ok(copy)
    }

    /// The host process is made now, and of a new thread its host thread. Who executes a program takes its process along if
    /// nobody else needs it.
    fn prepare(&mut self, root: TableRoot) -> Result<()> {
        // SAFETY: whoever prepares a program to run keeps its address space, which keeps the table.
        let space = unsafe { Space::of(root) };
        let made = match &self.place {
            Place::Kept(_) => self.settle_in(space),
            Place::Hosted(hosted) if hosted.is_last_of_space() && hosted.process.has_one_thread() => Ok(()),
            Place::Hosted(_) => process_of(space).map(drop),
        };
        made.map_err(|_| Errno::EAGAIN.because("the host refuses one more process or thread"))
    }

    fn run(&mut self, root: TableRoot) -> Trap {
        // SAFETY: whoever runs a program keeps its address space, which keeps the table.
        let space = unsafe { Space::of(root) };
        match self.run_in(space) {
            Ok(trap) => {
                statistics::trapped(&trap);
                trap
            }
            Err(Lost) => {
                if let Some(process) = space.lock().process() {
                    process.end();
                }
                tell_of_loss();
                Trap::Exception(Exception {
                    signal: Signal::SIGKILL,
                    code: linux::SI_KERNEL.cast_signed(),
                    address: 0,
                    vector: 0,
                    error_code: 0,
                })
            }
        }
    }

    fn arguments(&self) -> [usize; 6] {
        self.arguments
    }

    fn set_result(&mut self, result: isize) {
        match &mut self.place {
            Place::Kept(registers) => registers.rax = result as u64,
            Place::Hosted(hosted) => hosted.with_thread(|thread| thread.set_result(result)),
        }
    }

    fn registers(&mut self) -> Registers {
        match &mut self.place {
            Place::Kept(registers) => *registers,
            Place::Hosted(hosted) => hosted.in_stub(|thread, form| form.registers(thread.slot())),
        }
    }

    fn set_registers(&mut self, registers: &Registers) {
        let base = |address: u64| if address < layout::USER_END as u64 { address } else { 0 };
        let registers = Registers {
            rflags: registers.rflags & USER_FLAGS | FIXED_FLAGS,
            fs_base: base(registers.fs_base),
            gs_base: base(registers.gs_base),
            ..*registers
        };
        match &mut self.place {
            Place::Kept(kept) => *kept = registers,
            Place::Hosted(hosted) => {
                hosted.in_stub(|thread, form| form.set_registers(thread.slot(), &registers));
            }
        }
    }

    fn see_registers<R>(&mut self, see: impl FnOnce(&Registers) -> R) -> R {
        see(&self.registers())
    }

    fn change_registers<R>(&mut self, change: impl FnOnce(&mut Registers) -> R) -> R {
        let mut registers = self.registers();
        let result = change(&mut registers);
        self.set_registers(&registers);
        result
    }

    fn extended_state_size() -> usize {
        form().map_or(xsave::LEGACY_SIZE, FrameForm::extended_size)
    }

    fn extended_state_features() -> u64 {
        form().map_or(0, FrameForm::features)
    }

    fn store_extended_state(&mut self, into: &mut [u8]) {
        match &self.place {
            Place::Kept(_) => into.copy_from_slice(&self.extended),
            Place::Hosted(hosted) => hosted.in_stub(|thread, form| form.save_extended(thread.slot(), into)),
        }
    }

    fn load_extended_state(&mut self, from: &[u8]) -> Result<()> {
        // Looked at here, where the program cannot change it any more.
        self.extended[..from.len()].copy_from_slice(from);
        xsave::check(&self.extended[..from.len()], Self::extended_state_features())?;
        xsave::complete(&mut self.extended, from.len());
        self.put_extended_state();
        Ok(())
    }

    fn reset_extended_state(&mut self) {
        xsave::reset(&mut self.extended);
        self.put_extended_state();
    }

    /// Nothing of it is anywhere but where it stays.
    fn park(&mut self) {}
}

impl Hosted {
    /// Whether none but this thread and its address space have the host process.
    fn is_last_of_space(&self) -> bool {
        Arc::strong_count(&self.process) <= 2
    }

    /// Whether none but this thread has the host process: its address space is gone.
    fn is_last(&self) -> bool {
        Arc::strong_count(&self.process) == 1
    }

    fn with_thread<R>(&self, act: impl FnOnce(&mut Thread) -> R) -> R {
        self.process.with_thread(self.thread, act)
    }

    /// Lets `act` work with a thread whose registers are in its slot. If the thread cannot bring them there it is lost, which
    /// is noticed when it is to run; what the slot then holds is what was there before.
    fn in_stub<R>(&self, act: impl FnOnce(&mut Thread, &FrameForm) -> R) -> R {
        self.with_thread(|thread| {
            let _ = thread.enter_stub();
            act(thread, form().expect("a program has run"))
        })
    }
}

impl Context {
    /// One that is nowhere yet. Errors: ENOMEM.
    fn kept(registers: Registers) -> Result<Self> {
        let mut extended = Vec::new();
        let size = Self::extended_state_size();
        extended.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
        extended.resize(size, 0);
        let extended = extended.into_boxed_slice();
        Ok(Self { place: Place::Kept(registers), extended, fault: None, arguments: [0; 6] })
    }

    /// Its extended state, brought here if a host thread has it.
    fn fetch_extended_state(&mut self) -> &[u8] {
        if let Place::Hosted(hosted) = &self.place {
            hosted.in_stub(|thread, form| form.save_extended(thread.slot(), &mut self.extended));
        }
        &self.extended
    }

    /// Has the host thread, if there is one, take over what is in `extended`.
    fn put_extended_state(&mut self) {
        if let Place::Hosted(hosted) = &self.place {
            hosted.in_stub(|thread, form| form.load_extended(thread.slot(), &self.extended));
        }
    }

    fn run_in(&mut self, space: &spin::Mutex<Space>) -> core::result::Result<Trap, Lost> {
        self.settle_in(space).map_err(|_| Lost)?;
        let Place::Hosted(hosted) = &self.place else { return Err(Lost) };
        let (fault, arguments) = (&mut self.fault, &mut self.arguments);
        hosted.with_thread(|thread| {
            loop {
                if let Some(trap) = advance(thread, space, fault, arguments)? {
                    return Ok(trap);
                }
            }
        })
    }

    /// Goes to the host process of an address space, to a thread of it. If the space has none yet it is given the one that
    /// the thread comes from, unless somebody else needs that, or threads were there whose slots are.
    fn settle_in(&mut self, space: &spin::Mutex<Space>) -> core::result::Result<(), Unborn> {
        if let Place::Hosted(hosted) = &self.place {
            let mut locked = space.lock();
            match locked.process() {
                Some(process) if Arc::ptr_eq(&hosted.process, process) => return Ok(()),
                None if hosted.is_last() && hosted.process.has_one_thread() => {
                    locked.inherit_process(hosted.process.clone());
                    drop(locked);
                    self.renew();
                    self.expect_fault(space);
                    return Ok(());
                }
                _ => {}
            }
        }
        let process = process_of(space)?;
        self.move_to(process)?;
        self.expect_fault(space);
        Ok(())
    }

    /// Leaves nothing in the slot that the program before may have written, as this one may have more power.
    fn renew(&mut self) {
        let registers = self.registers();
        self.fetch_extended_state();
        if let Place::Hosted(hosted) = &self.place {
            hosted.in_stub(|thread, form| {
                thread.slot().clear_stack();
                form.put(thread.slot());
            });
        }
        self.set_registers(&registers);
        self.put_extended_state();
    }

    fn move_to(&mut self, process: Arc<Process>) -> core::result::Result<(), Unborn> {
        let registers = self.registers();
        self.fetch_extended_state();
        let thread = process.take_thread()?;
        self.place = Place::Hosted(Hosted { process, thread });
        self.set_registers(&registers);
        self.put_extended_state();
        Ok(())
    }

    /// Where it goes on in a new place is the one page that it will need for certain.
    fn expect_fault(&mut self, space: &spin::Mutex<Space>) {
        let page = self.registers().rip as usize & !(PAGE_SIZE - 1);
        self.fault = (!space.lock().is_installed(page)).then_some(page);
    }
}

/// The host process of an address space, made if there is none.
fn process_of(space: &spin::Mutex<Space>) -> core::result::Result<Arc<Process>, Unborn> {
    if let Some(process) = space.lock().process() {
        return Ok(process.clone());
    }
    let process = match clone_of_parent(space) {
        Some(process) => process,
        None => zygote::new_process()?,
    };
    space.lock().set_process(process.clone());
    Ok(process)
}

/// A copy of the host process of the space that this one was copied from: it has most of what is needed here. `None`: there
/// is none to copy, or it is not worth it, or the host refuses.
fn clone_of_parent(space: &spin::Mutex<Space>) -> Option<Arc<Process>> {
    let parent = space.lock().take_parent()?;
    let process = parent.lock().process()?.clone();
    let clone = process.with_only_thread(|thread| {
        // What the parent must not have any more, its copy must not have either.
        let operations = parent.lock().operations(None);
        if operations.len() > zygote::MOST_BEFORE_BIRTH || !space.lock().take_over(&parent.lock()) {
            perform(thread, &parent, &operations).ok()?;
            return None;
        }
        let clone = zygote::clone_process(thread, &operations);
        if clone.is_err() {
            // It may not have got as far as that.
            let forget = parent.lock().forget();
            thread.perform(&[forget]).ok()?;
            space.lock().forget();
        }
        clone.ok()
    });
    clone.flatten()
}

/// Says that a program is lost: once as a warning, for one that gets itself lost could do so over and over.
fn tell_of_loss() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let level = if TOLD.swap(true, Relaxed) { log::Level::Debug } else { log::Level::Warn };
    log::log!(level, "a program is lost: its host process was killed, or did what it was not told to");
}

/// Runs a program until it stops. `None`: that was nothing that anybody else need know.
fn advance(
    thread: &mut Thread,
    space: &spin::Mutex<Space>,
    fault: &mut Option<usize>,
    arguments: &mut [usize; 6],
) -> core::result::Result<Option<Trap>, Lost> {
    let host = thread.host();
    let mut operations = Vec::new();
    let mut unmapping = None;
    if fault.is_none() && !space.lock().is_current() {
        unmapping = thread.unmapping().filter(|range| space.lock().needs_only_unmapping(range));
    }
    if unmapping.is_none() && (fault.is_some() || !space.lock().is_current()) {
        thread.enter_stub()?;
        operations = space.lock().operations(fault.take());
        if operations.len() > layout::MOST_OPERATIONS {
            perform(thread, space, &operations)?;
            operations.clear();
        }
    }
    running::begin(host.process, host.thread);
    if interrupts::are_pending() {
        running::end();
        perform(thread, space, &operations)?;
        return Ok(Some(Trap::Interrupt));
    }
    let stopped = thread.resume(&operations, unmapping.is_some());
    running::end();
    let Some(call) = stopped? else { return Ok(None) };
    if let Some(range) = unmapping {
        space.lock().note_unmapped(range);
    }
    let Some(signal) = call.signal() else {
        *arguments = call.arguments.map(|argument| argument as usize);
        return Ok(Some(Trap::Syscall { number: call.number as isize as usize }));
    };
    if signal == 0 {
        // It did not get beyond the operations.
        make_up(thread, space, thread.result_of(operations.len()))?;
        return Ok(None);
    }
    let trap = explain::signal(thread, signal, arguments);
    if let Some(Trap::PageFault { address, access }) = trap {
        let page = address & !(PAGE_SIZE - 1);
        *fault = Some(page);
        if page < layout::USER_END && space.lock().permits(page, access.needs()) {
            statistics::count(Event::Refill);
            return Ok(None);
        }
    }
    Ok(trap)
}

/// Does operations while the program stays where it is.
fn perform(
    thread: &mut Thread,
    space: &spin::Mutex<Space>,
    operations: &[Operation],
) -> core::result::Result<(), Lost> {
    if operations.is_empty() {
        return Ok(());
    }
    match thread.perform(operations)? {
        0.. => Ok(()),
        error => make_up(thread, space, error),
    }
}

/// An operation failed: the host has no room for one more mapping, so all are dropped.
fn make_up(thread: &mut Thread, space: &spin::Mutex<Space>, error: i64) -> core::result::Result<(), Lost> {
    if error != -i64::from(libc::ENOMEM) {
        return Err(Lost);
    }
    let forget = space.lock().forget();
    match thread.perform(&[forget])? {
        0 => Ok(()),
        _ => Err(Lost),
    }
}

//! The loop that serves one task: run the program until it stops, see why, do what it wants, and run it again.
//!
//! This is the whole of a task's kernel side. A system call that has to wait suspends this future; everything else is over
//! before the next turn. On the way back to the program one word says whether anything is to be looked at first
//! ([`super::attention`]); usually nothing is.
//!
//! The calls themselves are in a folder above this one, so they come in as a type parameter and the compiler makes one
//! function of loop and dispatch. (A table of function pointers would do as well, at the price of an indirect call and of
//! a boxed future for each call that may wait.)

use super::{
    Caller, Task, attention, exit, sched,
    signal::{self, LastFault, SignalInfo, deliver, restart::Interrupted, stop, take},
    status::Status,
};
use crate::{
    abi::{Errno, Result, Signal},
    arch::{Access, Exception, Trap, UserContext, UserMode},
    mm::faults::Fault,
    sync::Once,
};
use alloc::{boxed::Box, sync::Arc};
use core::{future::Future, pin::Pin, sync::atomic::Ordering::Relaxed};

/// The system calls, as the folder `syscall` provides them.
pub trait SystemCalls: 'static {
    /// Makes one.
    fn call(
        caller: &mut Caller<'_>,
        number: usize,
        arguments: [usize; 6],
    ) -> impl Future<Output = Result<usize>> + Send;
}

/// Makes the kernel side of a task that starts with these registers.
static SERVER: Once<fn(Arc<Task>, UserContext) -> sched::Work> = Once::new();

/// Says once, at boot, what the system calls are.
pub fn install<S: SystemCalls>() {
    SERVER.call_once(|| |task, user| Box::pin(serve::<S>(task, user)));
}

/// Has a new task run from these registers on, when it is its turn.
pub fn start(task: &Arc<Task>, user: UserContext) {
    let server = SERVER.get().expect("the system calls are installed before the first task is made");
    sched::start(task, server(task.clone(), user));
}

/// What a call left to do for restart_syscall(2): how to go on, and what with.
#[derive(Clone, Copy)]
pub struct Restart {
    /// Goes on.
    pub resume: for<'a> fn(&'a mut Caller<'_>, [i64; 6]) -> Resumed<'a>,
    /// Whatever that needs to know.
    pub state: [i64; 6],
}

/// A call that goes on.
pub type Resumed<'a> = Pin<Box<dyn Future<Output = Result<usize>> + Send + 'a>>;

async fn serve<S: SystemCalls>(task: Arc<Task>, mut user: UserContext) {
    if let Some(space) = task.space() {
        let mut caller = Caller { task: &task, user: &mut user, space };
        // A new task may have been sent a signal before it ever ran.
        while !task.attention.is_wanted() || attend(&mut caller, None).await {
            task.cpu_time.leaves_kernel();
            let trap = caller.user.run(caller.space.root());
            task.cpu_time.enters_kernel();
            match trap {
                Trap::Syscall { number, arguments } => {
                    task.count_system_call();
                    let result = S::call(&mut caller, number, arguments).await;
                    if let Some(call) = settle(&mut caller, number, result)
                        && !attend(&mut caller, Some(call)).await
                    {
                        break;
                    }
                }
                Trap::PageFault { address, access } => page_fault(&caller, address, access),
                Trap::Exception(exception) => raise(&caller, exception),
                Trap::Interrupt => {
                    sched::attend_interrupts();
                    if sched::others_wait() {
                        caller.user.park();
                        sched::yield_now(&task, true).await;
                    }
                }
            }
        }
    }
    exit::finish(&task);
}

/// Leaves a call's result in the registers, if it is one. Gives back a call that asks to be restarted.
fn settle(caller: &mut Caller<'_>, number: usize, result: Result<usize>) -> Option<Interrupted> {
    let error = match result {
        Ok(value) => {
            caller.user.set_result(value as isize);
            None
        }
        Err(error) => Some(error),
    };
    let call = error.and_then(|error| Interrupted::new(number, error));
    if let (Some(error), None) = (error, call) {
        caller.user.set_result(error.to_result());
    }
    // A temporary mask that let no signal through has served.
    if call.is_none() && error != Some(Errno::EINTR) && caller.task.attention.has(attention::MASK) {
        caller.task.restore_mask();
    }
    call
}

/// Looks at everything that may be done before the program goes on: its end, stops, signals; and settles an interrupted
/// call. False: the task ends.
#[cold]
async fn attend(caller: &mut Caller<'_>, mut call: Option<Interrupted>) -> bool {
    let task = caller.task;
    loop {
        if task.killed() {
            return false;
        }
        if task.attention.has(attention::STOP) {
            stop::halt(task, caller.user).await;
        } else if let Some(delivery) = take::next(task) {
            if let Some(call) = call.take() {
                let mut registers = caller.user.registers();
                call.settle(Some(&delivery.action), &mut registers);
                caller.user.set_registers(&registers);
            }
            if deliver::enter_handler(caller, &delivery).is_err() {
                deliver::give_up(caller, Some(delivery.signal));
            }
        } else if !task.attention.has(attention::STOP) && !task.killed() {
            break;
        }
    }
    if let Some(call) = call {
        let mut registers = caller.user.registers();
        call.settle(None, &mut registers);
        caller.user.set_registers(&registers);
    }
    if task.attention.has(attention::MASK) {
        task.restore_mask();
        // What the temporary mask kept back may be deliverable now; the loop that called looks again.
    }
    true
}

/// The processor's number of a page fault, and the bits of its error code, for signal frames.
const PAGE_FAULT: u8 = 14;
const ERROR_WRITE: u32 = 2;
const ERROR_USER: u32 = 4;
const ERROR_FETCH: u32 = 16;

fn page_fault(caller: &Caller<'_>, address: usize, access: Access) {
    caller.task.faults.fetch_add(1, Relaxed);
    let Err(fault) = caller.space.fault(address, access) else { return };
    let error_code = ERROR_USER
        | match access {
            Access::Read => 0,
            Access::Write => ERROR_WRITE,
            Access::Execute => ERROR_FETCH,
        };
    caller.task.signals.lock().last_fault =
        LastFault { vector: PAGE_FAULT, error_code, address: address as u64 };
    match fault {
        Fault::OutOfMemory => {
            log::warn!(
                "out of memory: killed process {} ({})",
                caller.task.process().id(),
                caller.task.name()
            );
            caller.task.process().end(Status::Killed(Signal::SIGKILL));
        }
        _ => signal::force(caller.task, SignalInfo::fault(fault.signal(), fault.code(), address)),
    }
}

fn raise(caller: &Caller<'_>, exception: Exception) {
    let mut signals = caller.task.signals.lock();
    // The address stays that of the last page fault, as a processor's register would.
    let address = signals.last_fault.address;
    signals.last_fault = LastFault { vector: exception.vector, error_code: exception.error_code, address };
    drop(signals);
    signal::force(caller.task, SignalInfo::fault(exception.signal, exception.code, exception.address));
}

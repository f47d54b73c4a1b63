//! The loop that serves one task: run the program until it stops, see why, do what it wants, and run it again.
//!
//! This is the whole of a task's kernel side, in two layers. The inner one ([`run`]) is an ordinary function and stays in
//! it as long as nothing has to wait, which is nearly always: system calls that are over at once, page faults,
//! exceptions. The outer one is the task's future; it makes the calls that may wait, delivers signals and gives up the
//! CPU. On the way back to the program one word says whether there is anything to look at ([`super::attention`]).
//!
//! The calls themselves are in a folder above this one, so they come in as a type parameter.

use super::{
    Caller, Task, attention, exit, out_of_memory,
    run_queue::Place,
    sched,
    signal::{
        self, Action, LastFault, SignalInfo, deliver, pending::Taken, restart::Interrupted, stop, take,
    },
    wait,
};
use crate::{
    abi::{Errno, Result},
    arch::{Access, Exception, Trap, UserContext, UserMode},
    mm::faults::Fault,
    sync::Once,
    time::{self, clocksource, events, virtual_time},
    trace::events::{Event, record},
};
use alloc::{boxed::Box, sync::Arc};
use core::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    task::{Poll, Waker, ready},
};

/// The system calls, as the folder `syscall` provides them.
pub trait SystemCalls: 'static {
    /// Makes one that is over at once; gives what it leaves in the result register ([`encoded`]):
    /// [`Errno::WOULD_WAIT`] for one that has to wait, or that is not there.
    fn now(caller: &mut Caller<'_>, number: usize) -> isize;

    /// Makes one of those.
    fn wait(caller: &mut Caller<'_>, number: usize) -> impl Future<Output = Result<usize>> + Send;
}

/// A call's result as it is left in the result register: a number, or an error negated.
pub fn encoded(result: Result<usize>) -> isize {
    match result {
        Ok(value) => value as isize,
        Err(error) => error.to_result(),
    }
}

/// Makes the kernel side of a task that starts with these registers.
static SERVER: Once<fn(Arc<Task>, UserContext) -> sched::Work> = Once::new();

/// Says once, at boot, what the system calls are.
pub fn install<S: SystemCalls>() {
    SERVER.call_once(|| |task, user| Box::pin(serve::<S>(task, user)));
    log::debug!(
        "a task takes {} bytes, and {} for what it does",
        size_of::<Task>(),
        size_of_work(serve::<S>)
    );
}

/// How large a task's future is: room for its registers and for the largest call that may wait.
fn size_of_work<F: Future>(_server: fn(Arc<Task>, UserContext) -> F) -> usize {
    size_of::<F>()
}

/// Has a new task run from these registers on, when it is its turn.
pub fn start(task: &Arc<Task>, user: UserContext) {
    let server = SERVER.get().expect("the system calls are installed before the first task is made");
    sched::start(task, server(task.clone(), user));
}

/// What a call left to do for restart_syscall(2), with all that it takes to know.
pub struct Restart(Box<dyn for<'a> FnOnce(&'a mut Caller<'_>) -> Resumed<'a> + Send>);

impl Restart {
    /// To go on by this.
    pub fn new(resume: impl for<'a> FnOnce(&'a mut Caller<'_>) -> Resumed<'a> + Send + 'static) -> Self {
        Self(Box::new(resume))
    }

    /// Goes on.
    pub fn resume<'a>(self, caller: &'a mut Caller<'_>) -> Resumed<'a> {
        (self.0)(caller)
    }
}

/// A call that goes on.
pub type Resumed<'a> = Pin<Box<dyn Future<Output = Result<usize>> + Send + 'a>>;

/// Why the program does not run on by itself.
enum Pause {
    /// It made a call that may wait.
    Call { number: usize },
    /// There is something to look at, after a call if there was one.
    Attention(Option<Finished>),
    /// The clock or a device wants the CPU.
    Interrupt,
}

/// A call that was made, and what it left in the result register.
#[derive(Clone, Copy)]
struct Finished {
    number: usize,
    result: isize,
}

impl Finished {
    /// The error by which the call asks to be restarted, if it does.
    fn interrupted(self) -> Option<Interrupted> {
        let number = self.result.checked_neg().and_then(|number| u16::try_from(number).ok())?;
        let error = Errno::from_number(number);
        Interrupted::new(self.number, error)
    }

    /// Whether a signal ended it.
    fn was_cut_short(self) -> bool {
        self.result == Errno::EINTR.to_result() || self.interrupted().is_some()
    }
}

async fn serve<S: SystemCalls>(task: Arc<Task>, mut user: UserContext) {
    if let Some(space) = task.space() {
        let mut caller =
            Caller { task: &task, user: &mut user, space, came_at: 0, waiting: None, waits_in: 0 };
        loop {
            let pause = poll_fn(|context| match clocksource::is_virtual() {
                true => run::<S, VIRTUAL>(&mut caller, context.waker()),
                false => run::<S, REAL>(&mut caller, context.waker()),
            });
            match pause.await {
                Pause::Call { number } => {
                    let result = encoded(S::wait(&mut caller, number).await);
                    let finished = Finished { number, result };
                    caller.user.set_result(result);
                    if needs_attention(&task, result) && !attend(&mut caller, Some(finished)).await {
                        break;
                    }
                }
                Pause::Attention(finished) => {
                    if !attend(&mut caller, finished).await {
                        break;
                    }
                }
                Pause::Interrupt => {
                    let slice_over = sched::attend_interrupts();
                    // The alarm has rung or is far off: a task that runs on wants its next tick.
                    events::program_alarm(true);
                    if slice_over {
                        wait::end_turn(caller.task, caller.user).await;
                    }
                }
            }
        }
    }
    trace(&task, Event::Ends);
    exit::finish(&task);
}

/// The two kinds of time: [`run`] is made once for each, for it would have to ask at every step.
const VIRTUAL: bool = true;
const REAL: bool = false;

/// Runs the program, and does what it wants, until that takes more waiting than to look again ([`wait::Waiting`]) when `waker`
/// was woken.
#[inline(never)]
fn run<S: SystemCalls, const TIME: bool>(caller: &mut Caller<'_>, waker: &Waker) -> Poll<Pause> {
    let task = caller.task;
    loop {
        let finished = match &mut caller.waiting {
            None => None,
            Some(waiting) => {
                let result = encoded(ready!(waiting.look(task, caller.user, &caller.space, waker)));
                caller.waiting = None;
                caller.user.set_result(result);
                Some(Finished { number: caller.waits_in, result })
            }
        };
        // (A new task, too, may have been sent a signal before it ever ran.)
        if needs_attention(task, finished.map_or(0, |call| call.result)) {
            return Poll::Ready(Pause::Attention(finished));
        }
        if let Some(pause) = run_on::<S, TIME>(caller) {
            return Poll::Ready(pause);
        }
    }
}

/// The same, until it waits at all: `None` when [`Caller::waiting`] says for what.
#[inline(always)]
fn run_on<S: SystemCalls, const TIME: bool>(caller: &mut Caller<'_>) -> Option<Pause> {
    let task: &Task = caller.task;
    loop {
        task.cpu_time.leaves_kernel(count::<TIME>());
        // Looked at right here, so that the compiler joins this with where it is made: a system call then becomes one jump.
        match caller.user.run(caller.space.root()) {
            Trap::Syscall { number } => {
                caller.came_at = came::<TIME>(task, CHARGED);
                task.count_system_call();
                let result = S::now(caller, number);
                if !needs_attention(task, result) {
                    caller.user.set_result(result);
                    continue;
                }
                if result == Errno::WOULD_WAIT.to_result() {
                    caller.waits_in = number;
                    return caller.waiting.is_none().then_some(Pause::Call { number });
                }
                let finished = if result == Errno::NO_RESULT.to_result() {
                    // The registers are as they are to be, and mostly there is nothing else.
                    if !task.attention.is_wanted() {
                        continue;
                    }
                    Finished { number, result: 0 }
                } else {
                    caller.user.set_result(result);
                    Finished { number, result }
                };
                if finished.interrupted().is_some() || !deliver_signals(caller) {
                    return Some(Pause::Attention(Some(finished)));
                }
                continue;
            }
            Trap::PageFault { address, access } => {
                came::<TIME>(task, FREE);
                page_fault(caller, address, access);
            }
            Trap::Exception(exception) => {
                came::<TIME>(task, CHARGED);
                raise(caller, &exception);
            }
            Trap::Interrupt => {
                came::<TIME>(task, FREE);
                return Some(Pause::Interrupt);
            }
        }
        if task.attention.is_wanted() && !deliver_signals(caller) {
            return Some(Pause::Attention(None));
        }
    }
}

/// If nothing but signals wants attention, which is the most frequent and takes no waiting, has their handlers run next.
/// False: there is more to look at.
#[inline(always)]
fn deliver_signals(caller: &mut Caller<'_>) -> bool {
    let task = caller.task;
    while task.attention.is_only(attention::SIGNAL) && deliver_signal(caller, None) {
        if !task.attention.is_wanted() {
            return true;
        }
    }
    !task.attention.is_wanted()
}

/// Has the handler of the next signal run next, if there is one with a handler, and settles the call that it interrupts.
#[inline(never)]
fn deliver_signal(caller: &mut Caller<'_>, call: Option<Interrupted>) -> bool {
    let mut taken = Taken::default();
    let Some((signal, action)) = take::next(caller.task, &mut taken) else { return false };
    trace(caller.task, Event::Handler { signal });
    if let Some(call) = call {
        settle(caller, call, Some(&action));
    }
    if deliver::enter_handler(caller, signal, &taken.info, &action).is_err() {
        deliver::give_up(caller, Some(signal));
    }
    true
}

/// What [`came`] is told: whether virtual time is charged for the trap.
const CHARGED: bool = true;
const FREE: bool = false;

/// The clocks' count.
#[inline(always)]
fn count<const TIME: bool>() -> u64 {
    if TIME == VIRTUAL { clocksource::cycles() } else { clocksource::counter() }
}

/// The program has stopped. In virtual time a call or an exception moves the clock, and what that brings is looked at
/// before the program goes on. Gives the count then.
#[inline(always)]
fn came<const TIME: bool>(task: &Task, charged: bool) -> u64 {
    if TIME == VIRTUAL && charged {
        virtual_time::charge();
        task.attention.set(attention::CLOCK);
    }
    let now = count::<TIME>();
    task.cpu_time.enters_kernel(now);
    now
}

/// Keeps an event, in virtual time.
#[inline]
fn trace(task: &Task, event: Event) {
    if clocksource::is_virtual() {
        record(clocksource::cycles(), task.id(), event);
    }
}

/// Does what the clock wants after that, and keeps the call for the trace.
async fn attend_clock(caller: &mut Caller<'_>, finished: Option<Finished>) {
    let task = caller.task;
    task.attention.clear(attention::CLOCK);
    if let Some(Finished { number, result }) = finished {
        trace(task, Event::Call { number, result });
    }
    if virtual_time::is_due() {
        events::alarm_rang();
        time::interrupt();
        events::program_alarm(true);
        wait::end_turn(task, caller.user).await;
    }
}

/// Whether there is anything to look at after a call with this result: one that asks to be restarted, or to wait, is such
/// a thing.
#[inline(always)]
fn needs_attention(task: &Task, result: isize) -> bool {
    let internal = Errno::NO_RESULT.to_result()..=Errno::ERESTARTSYS.to_result();
    internal.contains(&result) || task.attention.is_wanted()
}

/// Looks at everything that may be done before the program goes on: its end, stops, signals; and settles an interrupted
/// call. False: the task ends.
#[cold]
async fn attend(caller: &mut Caller<'_>, finished: Option<Finished>) -> bool {
    let task = caller.task;
    if task.attention.has(attention::CLOCK) {
        attend_clock(caller, finished).await;
    }
    // A temporary mask that let no signal through has served.
    if task.attention.has(attention::MASK) && finished.is_some_and(|call| !call.was_cut_short()) {
        task.restore_mask();
    }
    let mut call = finished.and_then(Finished::interrupted);
    loop {
        if task.killed() {
            return false;
        }
        if task.attention.has(attention::MEMORY) {
            // The program goes on by touching the page once more.
            task.attention.clear(attention::MEMORY);
            out_of_memory::end_someone(task);
            wait::moment(task, caller.user).await;
        } else if task.attention.has(attention::STOP) {
            stop::halt(task, caller.user).await;
        } else if task.attention.has(attention::SIGNAL) && deliver_signal(caller, call) {
            call = None;
        } else if task.attention.has(attention::TURN) {
            task.attention.clear(attention::TURN);
            if sched::is_outranked(task) {
                caller.user.park();
                sched::yield_now(task, Place::Front, true).await;
            }
        } else if !task.attention.has(attention::STOP) && !task.killed() {
            break;
        }
    }
    if let Some(call) = call {
        settle(caller, call, None);
    }
    if task.attention.has(attention::MASK) {
        // What the temporary mask kept back may be deliverable now; whoever called looks again.
        task.restore_mask();
    }
    true
}

/// Has an interrupted call fail, or be made again.
fn settle(caller: &mut Caller<'_>, call: Interrupted, handler: Option<&Action>) {
    caller.user.change_registers(|registers| call.settle(handler, registers));
}

/// The processor's number of a page fault, and the bits of its error code, for signal frames.
const PAGE_FAULT: u8 = 14;
const ERROR_WRITE: u32 = 2;
const ERROR_USER: u32 = 4;
const ERROR_FETCH: u32 = 16;

// Not inlined, nor is the next one: system calls would pay for the registers they need.
#[inline(never)]
fn page_fault(caller: &Caller<'_>, address: usize, access: Access) {
    let task = caller.task;
    task.faults.fetch_add(1, Relaxed);
    let answer = match out_of_memory::is_near(task) {
        true => Err(Fault::OutOfMemory),
        false => caller.space.fault(address, access),
    };
    let Err(fault) = answer else { return };
    let Some((signal, code)) = fault.signal_and_code() else {
        return task.attention.set(attention::MEMORY);
    };
    let error_code = ERROR_USER
        | match access {
            Access::Read => 0,
            Access::Write => ERROR_WRITE,
            Access::Execute => ERROR_FETCH,
        };
    task.signals.lock().last_fault = LastFault { vector: PAGE_FAULT, error_code, address: address as u64 };
    signal::force(task, SignalInfo::fault(signal, code, address));
}

#[inline(never)]
fn raise(caller: &Caller<'_>, exception: &Exception) {
    let mut signals = caller.task.signals.lock();
    // The address stays that of the last page fault, as a processor's register would.
    let address = signals.last_fault.address;
    signals.last_fault = LastFault { vector: exception.vector, error_code: exception.error_code, address };
    drop(signals);
    signal::force(caller.task, SignalInfo::fault(exception.signal, exception.code, exception.address));
}

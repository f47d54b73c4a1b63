//! Sending, blocking, handling and awaiting signals, signal(7).

use super::{Caller, descriptors::install, places::only};
use crate::{
    abi::{Errno, Result, Signal, SignalSet, TaskId, Timespec, UserPointer, linux},
    fs::{Descriptor, OpenFlags},
    mm::reserve,
    task::{
        Process, pidfd,
        signal::{
            self, Action, SignalInfo,
            action::{ActionFlags, UNCATCHABLE},
            alternate_stack::UserStack,
            deliver,
            info::{UserSignalInfo, code},
            permission,
        },
        signal_file, table,
    },
    time::events::Deadline,
};
use alloc::{sync::Arc, vec::Vec};
use core::future::pending;

/// Errors: EINVAL for a set of another size than the kernel's.
fn check_size(size: usize) -> Result<()> {
    match size == size_of::<SignalSet>() {
        true => Ok(()),
        false => Err(Errno::EINVAL.because("a signal set has eight bytes")),
    }
}

/// rt_sigaction(2). Errors: EINVAL for the size; EFAULT; EINVAL for no signal, or one that cannot be caught.
pub fn rt_sigaction(
    caller: &mut Caller<'_>,
    number: u32,
    new: UserPointer<Action>,
    old: UserPointer<Action>,
    size: usize,
) -> Result<usize> {
    check_size(size)?;
    let new = new.optional().map(|new| caller.space.read(new)).transpose()?;
    let signal = Signal::new(number)?;
    if new.is_some() && UNCATCHABLE.contains(signal) {
        return Err(Errno::EINVAL.because("SIGKILL and SIGSTOP cannot be caught"));
    }
    let actions = caller.task.actions();
    let before = match new {
        None => actions.get(signal),
        Some(new) => {
            // Flags that are not known are not kept, so that a program sees which are.
            let flags = new.flags & ActionFlags::all().bits();
            let action = Action { flags, mask: new.mask.without(UNCATCHABLE), ..new };
            let before = actions.set(signal, action);
            match (before.ignores(signal), action.ignores(signal)) {
                (_, true) => caller.task.process().forget_pending(SignalSet::of(signal)),
                (true, false) => caller.task.process().signal_matters(signal),
                (false, false) => {}
            }
            before
        }
    };
    if let Some(old) = old.optional() {
        caller.space.write(old, &before)?;
    }
    Ok(0)
}

/// rt_sigprocmask(2). Errors: EINVAL for the size; EFAULT; EINVAL for an unknown way to change the mask.
pub fn rt_sigprocmask(
    caller: &mut Caller<'_>,
    how: u32,
    new: UserPointer<SignalSet>,
    old: UserPointer<SignalSet>,
    size: usize,
) -> Result<usize> {
    check_size(size)?;
    let before = caller.task.blocked();
    if let Some(new) = new.optional() {
        let set = caller.space.read(new)?;
        caller.task.set_blocked(match how {
            linux::SIG_BLOCK => before.union(set),
            linux::SIG_UNBLOCK => before.without(set),
            linux::SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL.because("a mask is added to, taken from, or set")),
        });
    }
    if let Some(old) = old.optional() {
        caller.space.write(old, &before)?;
    }
    Ok(0)
}

/// rt_sigpending(2). Errors: EINVAL for a larger set; EFAULT.
pub fn rt_sigpending(caller: &mut Caller<'_>, into: usize, size: usize) -> Result<usize> {
    if size > size_of::<SignalSet>() {
        return Err(Errno::EINVAL.because("a signal set has eight bytes"));
    }
    let (own, shared, blocked) = caller.task.pending_and_blocked();
    let pending = own.union(shared).0 & blocked.0;
    caller.space.write_bytes(into, &pending.to_ne_bytes()[..size])?;
    Ok(0)
}

/// rt_sigreturn(2): does not return, but goes on where the signal came. Without a frame the program is ended.
pub fn rt_sigreturn(caller: &mut Caller<'_>) -> Result<usize> {
    if deliver::leave_handler(caller).is_err() {
        deliver::give_up(caller, None);
    }
    Err(Errno::NO_RESULT)
}

/// sigaltstack(2). Errors: EFAULT; EPERM, EINVAL, ENOMEM.
pub fn sigaltstack(
    caller: &mut Caller<'_>,
    new: UserPointer<UserStack>,
    old: UserPointer<UserStack>,
) -> Result<usize> {
    use crate::arch::UserMode;
    let new = new.optional().map(|new| caller.space.read(new)).transpose()?;
    let stack_pointer = caller.user.see_registers(|registers| registers.rsp) as usize;
    let before = caller.task.alternate_stack();
    if let Some(new) = new {
        caller.task.set_alternate_stack(before.changed(new, stack_pointer)?);
    }
    if let Some(old) = old.optional() {
        caller.space.write(old, &before.for_user(stack_pointer))?;
    }
    Ok(0)
}

/// Waits for a signal, and for nothing else.
async fn wait_for_signal(caller: &mut Caller<'_>) -> Result<usize> {
    let _: Result<()> = caller.wait(pending()).await;
    Err(Errno::ERESTARTNOHAND)
}

/// pause(2). Errors: EINTR.
pub async fn pause(caller: &mut Caller<'_>) -> Result<usize> {
    wait_for_signal(caller).await
}

/// rt_sigsuspend(2). Errors: EINVAL for the size; EFAULT; EINTR.
pub async fn rt_sigsuspend(
    caller: &mut Caller<'_>,
    mask: UserPointer<SignalSet>,
    size: usize,
) -> Result<usize> {
    check_size(size)?;
    let mask = caller.space.read(mask)?;
    caller.task.set_temporary_mask(mask);
    wait_for_signal(caller).await
}

/// rt_sigtimedwait(2). Errors: EINVAL for the size; EFAULT; EINVAL for no time; EAGAIN when it is over; EINTR.
pub async fn rt_sigtimedwait(
    caller: &mut Caller<'_>,
    awaited: UserPointer<SignalSet>,
    into: UserPointer<UserSignalInfo>,
    timeout: UserPointer<Timespec>,
    size: usize,
) -> Result<usize> {
    check_size(size)?;
    let awaited = caller.space.read(awaited)?.without(UNCATCHABLE);
    let timeout = timeout.optional().map(|timeout| caller.space.read(timeout)?.checked()).transpose()?;
    let task = caller.task.clone();
    let info = caller.wait_until(timeout.map(Deadline::after), task.awaited_signal(awaited)).await;
    let info = match info {
        Ok(Some(info)) => info,
        Ok(None) => return Err(Errno::EAGAIN.because("no signal came in time")),
        Err(_) => return Err(Errno::EINTR),
    };
    if let Some(into) = into.optional() {
        caller.space.write(into, &info.for_user())?;
    }
    Ok(info.signal as usize)
}

/// restart_syscall(2): goes on with what a signal without a handler interrupted. Errors: EINTR when there is nothing.
pub async fn restart_syscall(caller: &mut Caller<'_>) -> Result<usize> {
    match caller.task.take_restart() {
        Some(restart) => restart.resume(caller).await,
        None => Err(Errno::EINTR.because("there is nothing to go on with")),
    }
}

/// The signal of this number, `None` for 0, which only asks whether one could be sent. Errors: EINVAL.
fn signal_or_probe(number: u32) -> Result<Option<Signal>> {
    (number != 0).then(|| Signal::new(number)).transpose()
}

/// What is sent: made once it is known to whom, who sees the sender's user by another number perhaps.
#[derive(Clone, Copy)]
enum Message {
    /// kill(2), tkill(2): with this code.
    Plain(i32),
    /// rt_sigqueueinfo(2): as the program made it.
    MadeUp(SignalInfo),
}

impl Message {
    #[inline(always)]
    fn info(self, caller: &Caller<'_>, signal: Signal, receiver: &Arc<Process>) -> SignalInfo {
        match self {
            Self::MadeUp(info) => info,
            Self::Plain(code) => {
                let user = user_seen_by(caller, receiver).unwrap_or(crate::ns::credentials::OVERFLOW_ID);
                SignalInfo::user(signal, code, caller.task.process().id(), user)
            }
        }
    }
}

/// The caller's user as it is called in a process, if anything.
#[inline(always)]
fn user_seen_by(caller: &Caller<'_>, receiver: &Arc<Process>) -> Option<u32> {
    if Arc::ptr_eq(receiver, caller.task.process()) {
        // All threads of a process are in one user namespace.
        return caller.task.with_credentials(|own| own.user_namespace.shown_user(own.uid));
    }
    user_seen_by_other(caller, receiver)
}

#[inline(never)]
fn user_seen_by_other(caller: &Caller<'_>, receiver: &Arc<Process>) -> Option<u32> {
    let theirs = receiver.any_thread()?.credentials();
    theirs.user_namespace.shown_user(caller.credentials().uid)
}

/// Sends to a process if that is permitted. Errors: EINVAL, EPERM, EAGAIN.
#[inline(always)]
fn send_to_process(caller: &Caller<'_>, process: &Arc<Process>, number: u32, message: Message) -> Result<()> {
    let signal = signal_or_probe(number)?;
    permission::check(caller.task, process, signal)?;
    match signal {
        Some(signal) => signal::send_to_process(process, message.info(caller, signal, process)),
        None => Ok(()),
    }
}

/// The process of this number, or of the thread of this number. Errors: ESRCH.
fn process_of(id: i32) -> Result<Arc<Process>> {
    let found = table::process(id as TaskId).or_else(|| Some(table::task(id as TaskId)?.process().clone()));
    found.ok_or_else(|| Errno::ESRCH.because("there is no such process"))
}

/// kill(2). Errors: ESRCH; EINVAL for no signal; EPERM when it may be sent to none of them.
pub fn kill(caller: &mut Caller<'_>, id: i32, number: u32) -> Result<usize> {
    let own = caller.task.process();
    if id as TaskId == own.id() {
        send_to_process(caller, own, number, Message::Plain(code::USER))?;
        return Ok(0);
    }
    kill_others(caller, id, number)
}

#[inline(never)]
fn kill_others(caller: &Caller<'_>, id: i32, number: u32) -> Result<usize> {
    let message = Message::Plain(code::USER);
    if id == i32::MIN {
        return Err(Errno::ESRCH.because("no process group has this number"));
    }
    let group = match id {
        1.. => return send_to_process(caller, &process_of(id)?, number, message).map(|()| 0),
        -1 => return kill_all(caller, number, message),
        0 => caller.task.process().group_id(),
        ..-1 => id.unsigned_abs(),
    };
    kill_each(caller, &table::group_members(group), number, message)
}

/// Sends to each of several: one success is success. Errors: ESRCH for none; else the last one's.
fn kill_each(
    caller: &Caller<'_>,
    processes: &[Arc<Process>],
    number: u32,
    message: Message,
) -> Result<usize> {
    let mut outcome = Err(Errno::ESRCH.because("there is no such process group"));
    for process in processes {
        match send_to_process(caller, process, number, message) {
            Ok(()) => outcome = Ok(0),
            Err(error) if outcome.is_err() => outcome = Err(error),
            Err(_) => {}
        }
    }
    outcome
}

/// To every process but init and the caller's own; that some may not be signalled does not count.
fn kill_all(caller: &Caller<'_>, number: u32, message: Message) -> Result<usize> {
    let mut others = Vec::new();
    let mut last = task_after(1);
    while let Some(process) = last {
        last = task_after(process.id());
        if process.id() != caller.task.process().id() {
            others.push(process);
        }
    }
    match kill_each(caller, &others, number, message) {
        Err(Errno::EPERM) => Ok(0),
        outcome => outcome,
    }
}

fn task_after(id: TaskId) -> Option<Arc<Process>> {
    table::next_process(id)
}

/// Sends to one thread, of this process if one is named. Errors: EINVAL, ESRCH, EPERM, EAGAIN.
fn send_to_thread(
    caller: &Caller<'_>,
    process: Option<i32>,
    id: i32,
    number: u32,
    message: Message,
) -> Result<usize> {
    if id <= 0 || process.is_some_and(|process| process <= 0) {
        return Err(Errno::EINVAL.because("threads and processes have positive numbers"));
    }
    let own = caller.task.id() == id as TaskId;
    let task = if own { Some(caller.task.clone()) } else { table::task(id as TaskId) };
    let task = task
        .filter(|task| process.is_none_or(|process| task.process().id() == process as TaskId))
        .ok_or_else(|| Errno::ESRCH.because("there is no such thread"))?;
    let signal = signal_or_probe(number)?;
    permission::check(caller.task, task.process(), signal)?;
    if let Some(signal) = signal {
        signal::send_to_task(&task, message.info(caller, signal, task.process()))?;
    }
    Ok(0)
}

/// tkill(2). Errors: EINVAL, ESRCH, EPERM, EAGAIN.
pub fn tkill(caller: &mut Caller<'_>, id: i32, number: u32) -> Result<usize> {
    send_to_thread(caller, None, id, number, Message::Plain(code::THREAD))
}

/// tgkill(2). Errors: EINVAL, ESRCH, EPERM, EAGAIN.
pub fn tgkill(caller: &mut Caller<'_>, process: i32, id: i32, number: u32) -> Result<usize> {
    send_to_thread(caller, Some(process), id, number, Message::Plain(code::THREAD))
}

/// Reads what a program made up to go with a signal. `for_itself`: to itself it may even pretend to be the kernel.
///
/// Errors: EFAULT; E2BIG for more than the kernel keeps; EPERM for pretending.
fn made_up(
    caller: &Caller<'_>,
    number: u32,
    from: UserPointer<UserSignalInfo>,
    for_itself: bool,
) -> Result<SignalInfo> {
    let given = caller.space.read(from)?;
    if given.rest != [0; 10] && !is_known(number, given.info.code) {
        return Err(Errno::E2BIG.because("only 48 bytes go with a signal"));
    }
    let info = given.info.renumbered(number);
    if (info.code >= 0 || info.code == code::THREAD) && !for_itself {
        return Err(Errno::EPERM.because("only the kernel sends with such a code"));
    }
    Ok(info)
}

/// Whether it is known what goes with a signal of this code. Of other codes more bytes may mean something one day, so
/// Linux refuses to lose them.
fn is_known(number: u32, sent: i32) -> bool {
    let most = match number {
        linux::SIGILL => 11,
        linux::SIGFPE => 15,
        linux::SIGSEGV => 10,
        linux::SIGBUS => 5,
        linux::SIGSYS => 2,
        // Those of poll(2), which may come with any signal.
        _ => 6,
    };
    (linux::SI_DETHREAD..=most).contains(&sent) || [linux::SI_ASYNCNL, code::KERNEL].contains(&sent)
}

/// rt_sigqueueinfo(2). Errors: EFAULT, E2BIG, EPERM, ESRCH, EINVAL, EAGAIN.
pub fn rt_sigqueueinfo(
    caller: &mut Caller<'_>,
    id: i32,
    number: u32,
    info: UserPointer<UserSignalInfo>,
) -> Result<usize> {
    let info = made_up(caller, number, info, caller.task.id() as i32 == id)?;
    if id <= 0 {
        return Err(Errno::ESRCH.because("a signal with something to say is for one process"));
    }
    send_to_process(caller, &process_of(id)?, number, Message::MadeUp(info)).map(|()| 0)
}

/// rt_tgsigqueueinfo(2). Errors: EFAULT, E2BIG, EINVAL, EPERM, ESRCH, EAGAIN.
pub fn rt_tgsigqueueinfo(
    caller: &mut Caller<'_>,
    process: i32,
    id: i32,
    number: u32,
    info: UserPointer<UserSignalInfo>,
) -> Result<usize> {
    if id <= 0 || process <= 0 {
        return Err(Errno::EINVAL.because("threads and processes have positive numbers"));
    }
    let info = made_up(caller, number, info, caller.task.id() as i32 == id)?;
    send_to_thread(caller, Some(process), id, number, Message::MadeUp(info))
}

/// pidfd_send_signal(2). Errors: EINVAL for unknown flags, or two of them; EBADF; EINVAL when the details are another
/// signal's; EPERM; ESRCH.
pub fn pidfd_send_signal(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    number: u32,
    info: UserPointer<UserSignalInfo>,
    flags: u32,
) -> Result<usize> {
    const THREAD: u32 = 1;
    const PROCESS: u32 = 2;
    const GROUP: u32 = 4;
    if flags & !(THREAD | PROCESS | GROUP) != 0 || flags.count_ones() > 1 {
        return Err(Errno::EINVAL.because("a pidfd sends to a thread, a process or a group"));
    }
    let (process, thread) = pidfd::target(&*caller.files()?.get(descriptor)?)?;
    let message = match info.optional() {
        None => Message::Plain(code::USER),
        Some(info) => {
            let given = caller.space.read(info)?;
            if given.info.signal != number as i32 {
                return Err(Errno::EINVAL.because("the details are those of another signal"));
            }
            let own = caller.task.process().id() == process.id() && flags & GROUP == 0;
            Message::MadeUp(made_up(caller, number, info, own)?)
        }
    };
    if !table::process(process.id()).is_some_and(|found| Arc::ptr_eq(&found, &process)) {
        return Err(Errno::ESRCH.because("the process was waited for"));
    }
    match (flags, thread) {
        (GROUP, _) => kill_each(caller, &table::group_members(process.id()), number, message),
        (PROCESS, _) | (0, None) => send_to_process(caller, &process, number, message).map(|()| 0),
        (_, thread) => {
            let id = thread.map_or(process.id(), |thread| thread.id());
            send_to_thread(caller, Some(process.id() as i32), id as i32, number, message)
        }
    }
}

/// signalfd(2) without flags
pub fn signalfd(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    mask: UserPointer<SignalSet>,
    size: usize,
) -> Result<usize> {
    signalfd4(caller, descriptor, mask, size, 0)
}

/// signalfd(2): a new file, or another set for the one there is.
///
/// Errors: EINVAL for the size; EFAULT; EINVAL for unknown flags; EBADF; EINVAL for another file; ENOMEM, EMFILE.
pub fn signalfd4(
    caller: &mut Caller<'_>,
    descriptor: Descriptor,
    mask: UserPointer<SignalSet>,
    size: usize,
    flags: u32,
) -> Result<usize> {
    const NEW: Descriptor = Descriptor(-1);
    check_size(size)?;
    let wanted = caller.space.read(mask)?.without(UNCATCHABLE);
    only(flags, linux::O_CLOEXEC | linux::O_NONBLOCK)?;
    if descriptor == NEW {
        reserve::check()?;
        let kept = OpenFlags::from_bits_retain(flags) & OpenFlags::NON_BLOCKING;
        let file = signal_file::open(wanted, kept, caller.credentials())?;
        return install(caller, file, flags & linux::O_CLOEXEC != 0);
    }
    signal_file::of(&*caller.files()?.get(descriptor)?)?.set(wanted);
    Ok(descriptor.0 as usize)
}

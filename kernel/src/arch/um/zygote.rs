//! The first host process, which the others are cloned from.
//!
//! It is made while the kernel boots, by loading the stub as a program of its own ([`stub::image`]); there it takes off
//! whatever the host has put into it, installs the handler and the filter, and from then on waits in the stub to be cloned.
//! Cloning it costs the same however much memory the kernel and the programs have, as it has none. Only where most of what
//! a program has mapped is wanted in the copy too, a child's after fork(2), its process is cloned instead.

use super::filter::{self, Told};
use super::frame::FrameForm;
use super::host::memory_file;
use super::interrupts::{self, Watched};
use super::layout::{self, SLOT_SIZE};
use super::listener::Listener;
use super::operation::{CLONE_PROCESS, NOT_MADE, Operation};
use super::process::{Process, Thread};
use super::slot::{self, Slot};
use super::statistics::{self, Event};
use super::turns::{self, HostThread, Lost, Unborn, Way};
use super::{memory, running, stub};
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The group of all host processes: its first member's number. 0 while there is none.
static GROUP: AtomicI32 = AtomicI32::new(0);
/// Why there are no notifications, if there are none.
static REASON: spin::Once<io::Error> = spin::Once::new();
static ZYGOTE: spin::Once<spin::Mutex<Thread>> = spin::Once::new();
/// By which the interrupt thread hears of its end.
static WATCH: spin::Once<Option<OwnedFd>> = spin::Once::new();
/// Processes that have been killed and not yet taken note of.
static DYING: spin::Mutex<Vec<i32>> = spin::Mutex::new(Vec::new());

/// In the first slot: what its first operations point at.
const ACTION: usize = 0x800;
const STACK: usize = 0x840;
const MASK: usize = 0x860;
const LIMIT: usize = 0x870;
const NAME: usize = 0x880;
const PROGRAM: usize = 0x890;
const FILTER: usize = 0x8a0;

/// A signal stack that is not in use while a handler runs on it: see [`super::frame`].
const SS_AUTODISARM: u32 = 1 << 31;
/// `SA_RESTORER`
const SA_RESTORER: u64 = 0x0400_0000;
/// What stops a program.
const SIGNALS: [i32; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS, running::KICK];

/// Makes it. Errors: a sentence that says what the host has not got.
pub fn start() -> Result<(), String> {
    // SAFETY: only asks.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & 2 == 0 {
        return Err("the host does not let programs read and write their segment bases (FSGSBASE)".into());
    }
    slot::initialize().map_err(said("the host gives no memory to talk to host processes"))?;
    running::initialize().map_err(said("the host takes no handler for a signal"))?;
    let image = image_file().map_err(said("the host gives no memory to run a program from"))?;
    let thread = match start_by(Told::ByNotification, &image) {
        Ok(thread) => thread,
        Err(Failure::Host(sentence)) => return Err(sentence),
        Err(Failure::Filter(error)) => match start_by(Told::BySignal, &image) {
            Ok(thread) => {
                REASON.call_once(|| error);
                thread
            }
            Err(Failure::Host(sentence)) => return Err(sentence),
            Err(Failure::Filter(second)) => {
                return Err(format!(
                    "the host takes no seccomp filter: with a listener {error}, without {second}"
                ));
            }
        },
    };
    let process = thread.host().process;
    // When memory is short the host is to end programs before the kernel: it may then still say what happened. Where this
    // wish is not heard, nothing is lost.
    let _ = std::fs::write(format!("/proc/{process}/oom_score_adj"), "1000");
    WATCH.call_once(|| interrupts::watch(process, Watched::Zygote));
    ZYGOTE.call_once(|| spin::Mutex::new(thread));
    Ok(())
}

/// Why there is no first process.
enum Failure {
    /// It does not take the filter.
    Filter(io::Error),
    /// Anything else: a sentence.
    Host(String),
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::Host(sentence)
    }
}

fn said(what: &str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn start_by(told: Told, image: &File) -> Result<Thread, Failure> {
    let slot = Slot::new(0).ok_or_else(|| String::from("there is no first slot"))?;
    slot.set_by_word(told == Told::BySignal);
    let operations = first_operations(told);
    write_arguments(&slot, told);
    slot.write_operations(&operations);
    slot.set_start_count(operations.len());
    let process = spawn(image).map_err(said("the host makes no process"))?;
    GROUP.store(process, SeqCst);
    let descriptor = match await_operations(&slot, &operations, process) {
        Ok(result) => result,
        Err(failure) => {
            end_all();
            return Err(failure);
        }
    };
    turns::set(match told {
        Told::ByNotification => Way::Notified(Listener::new(
            take_descriptor(process, descriptor).map_err(said("the host keeps a descriptor back"))?,
        )),
        Told::BySignal => Way::ByWord,
    });
    // It ends what it was told to do with an illegal instruction, and so gets to the handler.
    let host = HostThread { process, thread: process };
    let lost = |Lost| String::from("the first host process does not get to its handler");
    let call = turns::get().wait(host, &slot, &[]).map_err(lost)?;
    FrameForm::learn(&slot, call.arguments[1] as usize)?;
    let mut thread = Thread::first(&call, slot);
    if told == Told::ByNotification {
        // The kernel's end is the only one from now on; when it closes, whatever still waits is told so.
        let close = Operation::new(libc::SYS_close, &[descriptor as u64]);
        if thread.perform(&[close]) != Ok(0) {
            return Err(String::from("the first host process does not do what it is told").into());
        }
    }
    Ok(thread)
}

/// Waits until the first operations are done, and gives the result of the last. The process tells by writing its slot what
/// it has come to, for it cannot be waited for yet.
fn await_operations(slot: &Slot, operations: &[Operation], process: i32) -> Result<i32, Failure> {
    loop {
        let results = (0..operations.len()).map(|index| slot.result(index));
        if let Some((index, error)) = results.enumerate().find(|(_, result)| (-4095..0).contains(result)) {
            let error = io::Error::from_raw_os_error(-error as i32);
            return Err(match operations[index].number {
                libc::SYS_seccomp => Failure::Filter(error),
                libc::SYS_munmap => {
                    Failure::Host(format!("the host does not let a process be rid of its vDSO: {error}"))
                }
                number => Failure::Host(format!("the host refuses system call {number}: {error}")),
            });
        }
        match slot.result(operations.len() - 1) {
            NOT_MADE if running::has_died(process) => {
                return Err(Failure::Host("the host ends a process that has just been loaded".into()));
            }
            NOT_MADE => std::thread::yield_now(),
            result => return Ok(result as i32),
        }
    }
}

/// Tells how programs' calls arrive, for the log.
pub fn describe(line: &mut dyn FnMut(fmt::Arguments<'_>)) {
    match REASON.get() {
        None => line(format_args!("programs: processes of the host, their calls arrive as notifications")),
        Some(error) => line(format_args!(
            "programs: processes of the host, their calls arrive as signals, as there are no notifications ({error}); \
             they are kept from the host, but not well from each other"
        )),
    }
}

/// What it does to itself; last it takes the filter.
fn first_operations(told: Told) -> Vec<Operation> {
    let at = |offset: usize| (layout::SLOTS + offset) as u64;
    let unmap = |range: core::ops::Range<usize>| Operation::unmap(range);
    let mut operations = vec![
        unmap(0..layout::STUB),
        unmap(layout::STUB + crate::arch::PAGE_SIZE..layout::SLOTS),
        unmap(layout::SLOTS + SLOT_SIZE..layout::HOST_END),
        Operation::new(libc::SYS_close_range, &[0, 2]),
        Operation::new(libc::SYS_close_range, &[layout::SLOTS_DESCRIPTOR as u64 + 1, u32::MAX.into()]),
        // Away from the terminal: what is typed there is the kernel's to read, Ctrl-C too.
        Operation::new(libc::SYS_setsid, &[]),
        Operation::die_with_kernel(),
        Operation::new(libc::SYS_prctl, &[libc::PR_SET_NAME as u64, at(NAME)]),
        Operation::new(libc::SYS_setrlimit, &[libc::RLIMIT_CORE.into(), at(LIMIT)]),
        Operation::new(libc::SYS_sigaltstack, &[at(STACK)]),
    ];
    for signal in SIGNALS {
        operations.push(Operation::new(libc::SYS_rt_sigaction, &[signal as u64, at(ACTION), 0, 8]));
    }
    let set_mask = [libc::SIG_SETMASK as u64, at(MASK), 0, 8];
    operations.push(Operation::new(libc::SYS_rt_sigprocmask, &set_mask));
    operations.push(Operation::new(libc::SYS_prctl, &[libc::PR_SET_NO_NEW_PRIVS as u64, 1]));
    let flags = if told == Told::ByNotification { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    let filter = [u64::from(libc::SECCOMP_SET_MODE_FILTER), flags, at(PROGRAM)];
    operations.push(Operation::new(libc::SYS_seccomp, &filter));
    operations
}

/// Writes what those operations point at.
fn write_arguments(slot: &Slot, told: Told) {
    let write = |at: usize, words: &[u64]| {
        words.iter().enumerate().for_each(|(index, word)| slot.write(at + 8 * index, &word.to_ne_bytes()))
    };
    // `struct sigaction` as the host's kernel has it: everything is blocked while the stub runs.
    let flags = (libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART) as u64 | SA_RESTORER;
    write(ACTION, &[stub::handler() as u64, flags, stub::restorer() as u64, u64::MAX]);
    let stack = layout::SLOTS + layout::STACK;
    write(STACK, &[stack as u64, SS_AUTODISARM.into(), (SLOT_SIZE - layout::STACK) as u64]);
    write(MASK, &[0]);
    write(LIMIT, &[0, 0]);
    slot.write(NAME, b"gnomon program\0");
    let filter = filter::program(told);
    write(PROGRAM, &[filter.len() as u64, (layout::SLOTS + FILTER) as u64]);
    assert!(FILTER + filter.len() * 8 <= layout::STACK, "the filter has no room");
    for (index, statement) in filter.iter().enumerate() {
        let [low, high] = statement.code.to_ne_bytes();
        let [k0, k1, k2, k3] = statement.k.to_ne_bytes();
        slot.write(FILTER + 8 * index, &[low, high, statement.jt, statement.jf, k0, k1, k2, k3]);
    }
}

/// The stub, as a file that can be executed.
fn image_file() -> io::Result<File> {
    // Hosts before 6.3 do not know MFD_EXEC; there it goes without saying.
    let name = c"gnomon program";
    let mut file = memory_file(name, libc::MFD_EXEC).or_else(|_| memory_file(name, 0))?;
    file.write_all(&stub::image())?;
    Ok(file)
}

/// Loads a program into a new process, which has two descriptors beyond the standard ones.
fn spawn(image: &File) -> io::Result<i32> {
    struct Given {
        image: i32,
        ram: i32,
        slots: i32,
        /// What the host says to it, unless it is loaded.
        error: i32,
    }
    /// A number behind those.
    const FREE: i32 = layout::SLOTS_DESCRIPTOR + 1;
    extern "C" fn child(given: *mut libc::c_void) -> i32 {
        // SAFETY: the parent waits, with this on its stack, until we have executed something or ended. Only host calls are
        // made, which leave the parent's memory alone.
        unsafe {
            let Given { image, ram, slots, error } = &mut *given.cast::<Given>();
            // First out of the way of the numbers they are to have.
            let place = |descriptor: i32| libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, FREE);
            let (image, ram, slots) = (place(*image), place(*ram), place(*slots));
            libc::dup2(ram, layout::RAM_DESCRIPTOR);
            libc::dup2(slots, layout::SLOTS_DESCRIPTOR);
            let nothing: [*const libc::c_char; 1] = [core::ptr::null()];
            libc::syscall(
                libc::SYS_execveat,
                image,
                c"".as_ptr(),
                nothing.as_ptr(),
                nothing.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
            *error = *libc::__errno_location();
            libc::_exit(1)
        }
    }
    let mut given = Given {
        image: image.as_raw_fd(),
        ram: memory::file().as_raw_fd(),
        slots: slot::file().as_raw_fd(),
        error: 0,
    };
    let mut stack = vec![0_u128; 4096];
    // It shares our memory until it executes, and we wait: nothing is copied. No signal at its end: see `running`.
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    // SAFETY: the stack is large enough for a function that makes a few calls, and lives as long.
    let process =
        unsafe { libc::clone(child, stack.as_mut_ptr_range().end.cast(), flags, (&raw mut given).cast()) };
    match (process, given.error) {
        (..0, _) => Err(io::Error::last_os_error()),
        (_, 0) => Ok(process),
        (_, error) => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Takes a copy of another process' descriptor.
fn take_descriptor(process: i32, descriptor: i32) -> io::Result<OwnedFd> {
    let checked = |descriptor: i64| match descriptor {
        // SAFETY: the host has just made it, for us.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) }),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: passes numbers.
    let handle = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })?;
    // SAFETY: passes numbers.
    checked(unsafe { libc::syscall(libc::SYS_pidfd_getfd, handle.as_raw_fd(), descriptor, 0) })
}

/// How many operations [`clone_process`] can do first.
pub const MOST_BEFORE_BIRTH: usize = layout::MOST_OPERATIONS - 3;

/// A new process without any memory, for an address space.
pub fn new_process() -> Result<Arc<Process>, Unborn> {
    let mut zygote = ZYGOTE.get().ok_or(Lost)?.lock();
    clone_process(&mut zygote, &[]).or_else(|reason| {
        // Those that have not ended yet are counted among those that there are.
        let waited_for = DYING.lock().drain(..).filter(|process| running::bury(*process, 0)).count();
        if waited_for == 0 { Err(reason) } else { clone_process(&mut zygote, &[]) }
    })
}

/// A new process that has the memory of a thread's, all but the slot, after that one has done some operations; the thread
/// is the only one of its process.
pub fn clone_process(thread: &mut Thread, before: &[Operation]) -> Result<Arc<Process>, Unborn> {
    DYING.lock().retain(|process| !running::bury(*process, libc::WNOHANG));
    let slot = Slot::new(0).ok_or(Unborn::Refused)?;
    let own = [before, &[Operation::new(libc::SYS_clone, &[CLONE_PROCESS as u64])]].concat();
    let child = [Operation::map_slot(slot.address(), slot.offset()), Operation::die_with_kernel()];
    // From its second operation on, the child reads its own slot.
    slot.write_operations(&[&own[..], &child].concat());
    let call = thread.give_birth(&own, &slot, &child)?;
    statistics::count(Event::Process);
    Ok(Process::new(Thread::first(&call, slot)))
}

/// Whether the kernel wants there to be processes.
pub fn is_wanted() -> bool {
    GROUP.load(SeqCst) != 0
}

/// Ends all processes there are, whatever state the kernel is in. Returns when they are gone.
pub fn end_all() {
    let group = GROUP.swap(0, SeqCst);
    if group == 0 {
        return;
    }
    // Until it leads a session it is in our own group; and then it is the only one.
    // SAFETY: sends signals, to children of ours, and takes note of their ends.
    unsafe {
        libc::kill(-group, libc::SIGKILL);
        libc::kill(group, libc::SIGKILL);
        while libc::waitpid(-1, core::ptr::null_mut(), libc::__WALL) > 0 {}
    }
}

/// Notes that a process has been killed, and will have to be taken note of.
pub fn bury_later(process: i32) {
    DYING.lock().push(process);
}

//! Interrupts: a thread that waits for the host's events, and the word by which it tells the kernel.
//!
//! The kernel proper is one thread, and most of the time it waits for the program it runs. Something must interrupt that
//! wait when the clock or the console wants attention. A signal to the waiting thread will not do: it may arrive just before
//! the wait begins, and is lost. So a second thread waits for the events, notes them in [`PENDING`], and *kicks* the
//! program that runs: that one then traps, as it does for a system call, and a trap cannot be lost.
//!
//! What keeps anything from being lost is the order of four steps, all sequentially consistent:
//!
//! | interrupt thread | kernel, before it lets a program run or sleeps |
//! |---|---|
//! | 1. notes the event in `PENDING` | 1. says that a program runs, or that it is idle |
//! | 2. looks whether a program runs, kicks it; or whether the kernel is idle, wakes it | 2. looks at `PENDING`, and if anything is there does neither |
//!
//! Whichever thread does its second step last sees the other's first. At worst a program is kicked that has just trapped:
//! it traps once more for nothing.

use super::{console, host, host::Woken, power, running, statistics, zygote};
use crate::arch::Interrupts;
use core::{
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// What has happened and was not asked for yet: bits of [`Interrupts`]. An idle kernel sleeps on it.
static PENDING: AtomicU32 = AtomicU32::new(0);
/// The kernel sleeps, or is about to.
static IDLE: AtomicBool = AtomicBool::new(false);

/// How long a machine that has nothing to do waits between two hints that its input has ended.
const BETWEEN_ENDS: Duration = Duration::from_millis(20);
/// Milliseconds after which a program is kicked again whose kick had no effect.
const KICK_AGAIN: libc::c_int = 50;
/// Room for a backtrace, should this thread ever panic.
const STACK: usize = 512 << 10;

/// The signals that are not to interrupt anything, and arrive as events.
const SIGNALS: [libc::c_int; 14] = [
    libc::SIGCONT,
    libc::SIGWINCH,
    // These end the process.
    libc::SIGALRM,
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGIO,
    libc::SIGPROF,
    libc::SIGPWR,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGVTALRM,
    libc::SIGXCPU,
    // Not an event, but who is in the background while ending must still be able to restore the terminal: tcsetattr(3).
    libc::SIGTTOU,
];

/// What an event is about: the `u64` that epoll_wait(2) hands back.
const TIMER: u64 = 0;
const INPUT: u64 = 1;
const SIGNAL: u64 = 2;

/// A host process whose end is an event. Also what the event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Watched {
    /// An address space's.
    Program = 3,
    /// The one that all are made from.
    Zygote = 4,
}

struct Sources {
    epoll: OwnedFd,
    timer: OwnedFd,
    signals: OwnedFd,
}

static SOURCES: spin::Once<Sources> = spin::Once::new();

/// Keeps signals from ending or interrupting the process. To be called before there is a second thread or a child: both
/// inherit it.
pub fn block_signals() {
    // SAFETY: the set is initialized; nothing is changed but this thread's mask.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &signal_set(), ptr::null_mut()) };
}

fn signal_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call fills it in.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in SIGNALS {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// Begins to listen. Errors: what the host says.
pub fn start() -> io::Result<()> {
    SOURCES.try_call_once(open)?;
    std::thread::Builder::new().name("interrupts".into()).stack_size(STACK).spawn(|| {
        let sources = SOURCES.get().expect("just made");
        listen(sources)
    })?;
    Ok(())
}

fn open() -> io::Result<Sources> {
    let owned = |descriptor| {
        // SAFETY: just made by the host for us alone.
        host::result(descriptor).map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
    };
    // SAFETY: these take numbers, and one a set of signals; they make new descriptors.
    let (epoll, timer, signals) = unsafe {
        (
            owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))?,
            owned(libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK))?,
            owned(libc::signalfd(-1, &signal_set(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?,
        )
    };
    let sources = Sources { epoll, timer, signals };
    // The timer by its edge: that it has rung is all there is to know, so it need not be read.
    let timer_events = libc::EPOLLIN | libc::EPOLLET;
    sources.control(libc::EPOLL_CTL_ADD, sources.timer.as_raw_fd(), timer_events, TIMER)?;
    sources.control(libc::EPOLL_CTL_ADD, sources.signals.as_raw_fd(), libc::EPOLLIN, SIGNAL)?;
    // Input for one event at a time: it is listened to again when there is room.
    if let Err(error) = sources.control(libc::EPOLL_CTL_ADD, 0, INPUT_EVENTS, INPUT) {
        if !has_no_events(&error) {
            return Err(error);
        }
        read_file();
    }
    Ok(sources)
}

const INPUT_EVENTS: libc::c_int = libc::EPOLLIN | libc::EPOLLONESHOT;

/// Whether standard input is a regular file, which can always be read, or not there at all.
fn has_no_events(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EBADF))
}

/// Input from a regular file has no events. A thread of its own would be much for this: it is read as it is wanted.
fn read_file() {
    while console::take_in(&mut console::Escape::new()) == console::Input::Wanted {}
    note(Interrupts::CONSOLE);
}

impl Sources {
    fn control(&self, what: libc::c_int, descriptor: i32, events: libc::c_int, name: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: name };
        // SAFETY: the event lives as long as the call.
        host::result(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, descriptor, &mut event) })?;
        Ok(())
    }
}

/// Hears of a host process' end, once, until what is returned is dropped; pidfd_open(2). `None`: the host has no descriptor
/// left. Then the end is noticed when the process is to run.
pub fn watch(process: i32, what: Watched) -> Option<OwnedFd> {
    let sources = SOURCES.get()?;
    // SAFETY: passes numbers.
    let descriptor = host::result(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) }).ok()?;
    // SAFETY: just made by the host for us alone.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
    let events = libc::EPOLLIN | libc::EPOLLONESHOT;
    sources.control(libc::EPOLL_CTL_ADD, descriptor.as_raw_fd(), events, what as u64).ok()?;
    Some(descriptor)
}

/// There is room again for input.
pub fn listen_for_input() {
    let Some(sources) = SOURCES.get() else { return };
    match sources.control(libc::EPOLL_CTL_MOD, 0, INPUT_EVENTS, INPUT) {
        Err(error) if has_no_events(&error) => read_file(),
        _ => {}
    }
}

const PROGRAM: u64 = Watched::Program as u64;
const ZYGOTE: u64 = Watched::Zygote as u64;

/// What the thread does.
fn listen(sources: &Sources) -> ! {
    super::faults::give_stack();
    let mut escape = console::Escape::new();
    loop {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        let time = if are_pending() { KICK_AGAIN } else { -1 };
        // SAFETY: room for as many events as it says.
        let count = unsafe { libc::epoll_wait(sources.epoll.as_raw_fd(), events.as_mut_ptr(), 4, time) };
        let count = usize::try_from(count).unwrap_or(0);
        if count == 0 && are_pending() {
            running::kick();
        }
        for event in &events[..count] {
            match event.u64 {
                TIMER => raise(Interrupts::ALARM),
                INPUT => {
                    if console::take_in(&mut escape) == console::Input::Wanted {
                        listen_for_input();
                    }
                    raise(Interrupts::CONSOLE);
                }
                PROGRAM => raise(Interrupts::LOSS),
                ZYGOTE if zygote::is_wanted() => power::end_without_programs(),
                ZYGOTE => {}
                _ => take_signal(sources),
            }
        }
    }
}

fn take_signal(sources: &Sources) {
    let mut information = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of_val(&information);
    // SAFETY: room for one, as it says.
    let read = unsafe { libc::read(sources.signals.as_raw_fd(), information.as_mut_ptr().cast(), size) };
    if read != size as isize {
        return;
    }
    // SAFETY: the host has filled it in.
    let signal = unsafe { information.assume_init() }.ssi_signo as libc::c_int;
    match signal {
        libc::SIGCONT => console::make_raw_again(),
        libc::SIGWINCH => raise(Interrupts::CONSOLE),
        libc::SIGTTOU => {}
        signal => power::end_by(signal),
    }
}

fn note(what: Interrupts) {
    PENDING.fetch_or(what.bits().into(), SeqCst);
}

/// Notes that something has happened, and sees to it that the kernel looks.
fn raise(what: Interrupts) {
    note(what);
    if IDLE.load(SeqCst) {
        host::futex_wake(&PENDING);
    } else {
        running::kick();
    }
}

/// Whether anything is pending. To be asked after it was said that a program runs, and before it does.
pub fn are_pending() -> bool {
    PENDING.load(SeqCst) != 0
}

/// What has happened since this was last asked.
pub fn take() -> Interrupts {
    Interrupts::from_bits_truncate(PENDING.swap(0, SeqCst) as u8)
}

/// Sleeps until something is pending.
pub fn wait() {
    statistics::idle_begins();
    IDLE.store(true, SeqCst);
    while !are_pending() {
        // The only ones left who could want something then are those who read the console.
        let ended = console::is_at_end();
        if host::futex_wait(&PENDING, 0, ended.then_some(BETWEEN_ENDS)) == Woken::ByTime && ended {
            console::hear_end();
            note(Interrupts::CONSOLE);
        }
    }
    IDLE.store(false, SeqCst);
    statistics::idle_ends();
}

/// Interrupts once after so many nanoseconds, or never.
pub fn set_alarm(nanoseconds: Option<u64>) {
    let Some(sources) = SOURCES.get() else { return };
    // Zero would mean never to the host.
    let time = Duration::from_nanos(nanoseconds.map_or(0, |delay| delay.max(1)));
    let value = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    let once = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
    // SAFETY: the host only reads it.
    unsafe { libc::timerfd_settime(sources.timer.as_raw_fd(), 0, &once, ptr::null_mut()) };
}

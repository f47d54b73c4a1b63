//! What the machine did, for `--stats`: how often it was entered and why, what it had the host do, and where time went.
//!
//! Counting is an addition; only the clock is not looked at unless somebody asked.

use super::clock;
use crate::arch::Trap;
use core::fmt::{self, Display};
use core::mem::MaybeUninit;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Event {
    /// A program made a system call.
    SystemCall,
    /// A program needed a page that the kernel had to find first.
    PageFault,
    /// A page fault that the page table already had the answer to.
    Refill,
    /// A program did something else the processor refuses.
    Exception,
    /// A program was stopped because the clock or the console wanted attention.
    Interrupt,
    /// The interrupt thread sent a signal to a program.
    Kick,
    /// The kernel sent a signal to a thread that waited in a system call, to get at its registers.
    Entry,
    /// A call that the stub made for the kernel: mmap, munmap, mprotect, clone.
    Operation,
    /// A host process was made.
    Process,
    /// A further thread of one was made.
    Thread,
    /// The kernel had nothing to do.
    Idle,
}

const NAMES: [(&str, &str); 11] = [
    ("system calls", "of programs"),
    ("page faults", "that the kernel had to find a page for"),
    ("refills", "page faults that the page table had the answer to"),
    ("exceptions", "of programs"),
    ("interrupts", "while a program ran"),
    ("kicks", "signals of the interrupt thread to programs"),
    ("entries", "signals to programs for the sake of their registers"),
    ("operations", "host calls made by the stub on the kernel's order"),
    ("host processes", "made"),
    ("host threads", "made in them"),
    ("waits", "for something to do"),
];

static COUNTS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];
/// Whether somebody wants to know.
static WANTED: AtomicBool = AtomicBool::new(false);

/// A stretch of time, by the counter.
struct Watch {
    started: AtomicU64,
    sum: AtomicU64,
}

impl Watch {
    const fn new() -> Self {
        Self { started: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn start(&self) {
        if WANTED.load(Relaxed) {
            self.started.store(clock::cycles(), Relaxed);
        }
    }

    fn stop(&self) {
        if WANTED.load(Relaxed) {
            self.sum.fetch_add(clock::cycles().saturating_sub(self.started.load(Relaxed)), Relaxed);
        }
    }
}

static PROGRAMS: Watch = Watch::new();
static IDLE: Watch = Watch::new();
static ALL: Watch = Watch::new();

/// Will be wanted at the end. Called once the clock is known.
pub fn want() {
    WANTED.store(true, SeqCst);
    ALL.start();
}

/// Something happened once.
pub fn count(event: Event) {
    add(event, 1);
}

/// Something happened so many times.
pub fn add(event: Event, times: usize) {
    COUNTS[event as usize].fetch_add(times as u64, Relaxed);
}

/// A program stopped.
pub fn trapped(trap: &Trap) {
    count(match trap {
        Trap::Syscall { .. } => Event::SystemCall,
        Trap::PageFault { .. } => Event::PageFault,
        Trap::Exception(_) => Event::Exception,
        Trap::Interrupt => Event::Interrupt,
    });
}

/// The kernel begins to wait for a program.
pub fn program_begins() {
    PROGRAMS.start();
}

/// It no longer does.
pub fn program_ends() {
    PROGRAMS.stop();
}

/// The kernel has nothing to do.
pub fn idle_begins() {
    count(Event::Idle);
    IDLE.start();
}

/// It has again.
pub fn idle_ends() {
    IDLE.stop();
}

/// Tells on standard error, if somebody wants to know. To be called when all host processes have been taken note of.
pub fn tell() {
    if WANTED.load(SeqCst) {
        ALL.stop();
        std::eprint!("{}", Account);
    }
}

struct Account;

impl Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, meaning), count) in NAMES.iter().zip(&COUNTS) {
            writeln!(out, "{:>10} {name:<15} {meaning}", count.load(Relaxed))?;
        }
        let frequency = clock::counter().frequency as f64;
        let seconds = |watch: &Watch| watch.sum.load(Relaxed) as f64 / frequency;
        let (all, programs, idle) = (seconds(&ALL), seconds(&PROGRAMS), seconds(&IDLE));
        writeln!(out, "{all:>10.3} seconds in all, of these:")?;
        writeln!(out, "{programs:>10.3} with programs, switches to them and back included")?;
        writeln!(out, "{:>10.3} in the kernel", all - programs - idle)?;
        writeln!(out, "{idle:>10.3} with nothing to do")?;
        for (who, whose) in [("the kernel", libc::RUSAGE_SELF), ("programs", libc::RUSAGE_CHILDREN)] {
            let (user, system) = processor_time(whose);
            writeln!(
                out,
                "{user:>10.3} of the processor for {who}, and {system:.3} for its host on their account"
            )?;
        }
        Ok(())
    }
}

/// Seconds of the processor, in user mode and in the host: getrusage(2).
fn processor_time(whose: libc::c_int) -> (f64, f64) {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills it in; and zeros are a value.
    let usage = unsafe {
        libc::getrusage(whose, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

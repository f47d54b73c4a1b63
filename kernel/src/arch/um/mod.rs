//! An ordinary process as the machine, on any Linux, without privileges: its programs run in other processes of the host.
//!
//! User Mode Linux is the best known of its kind. What the bare machine does with a processor is done here with what a host
//! offers any program. [`memory`] is a file, the kernel's [`heap`] the host's, [`interrupts`] are a thread that waits, the [`clock`] is the processor's, the
//! [`console`] is standard input and output, [`power`] off is an exit; [`command_line`] is what the shell passed, and
//! [`statistics`] what it may ask for. [`faults`] and [`report`] speak when all is lost.
//!
//! User mode ([`user`]) is a program's own [`process`], let go until it traps, and waited for ([`running`]). In the order in
//! which a reader may want it: every such process comes from the [`zygote`]; in each, at the places of [`layout`], are a
//! [`stub`] that acts for the kernel, and for each thread a [`slot`] in which the two talk. The [`filter`] hands every host
//! call of a program to the kernel, which takes [`turns`] with it, by a [`listener`] where the host allows that. What else
//! stops a program is a host signal: [`frame`] has its registers, [`explain`] what it means. A page table ([`translation`])
//! says what is wanted behind each page and what is there ([`entry`]); a [`plan`] makes of the difference the fewest
//! [`operation`]s, host calls that the stub makes on the kernel's order.

mod clock;
mod command_line;
mod console;
mod entry;
mod explain;
mod faults;
mod filter;
mod frame;
mod heap;
mod host;
mod interrupts;
mod layout;
mod listener;
mod memory;
mod operation;
mod plan;
mod power;
mod process;
mod report;
mod running;
mod slot;
mod statistics;
mod stub;
mod translation;
mod turns;
mod user;
mod zygote;

use super::{
    BootInformation, CycleCounter, Frame, Interrupts, Machine, ProcessorFeatures, Reference, TableRoot,
};
use alloc::{boxed::Box, format, string::String};
use command_line::{Archive, Cpu, HELP, Options, Wish};
use core::{fmt, mem::MaybeUninit, ptr::NonNull};
use std::path::{Path, PathBuf};

extern crate std;

/// A process as the machine.
pub struct Hardware;

/// What was chosen while coming to life.
struct Found {
    cpu: Option<usize>,
}

static FOUND: spin::Once<Found> = spin::Once::new();

/// Called by the host: the machine's own boot order. `report` is what to do at a panic.
pub fn main(report: impl Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync + 'static) -> ! {
    let options = match command_line::parse(std::env::args_os().skip(1).map(lossy)) {
        Ok(Wish::Machine(options)) => options,
        Ok(Wish::Help) => {
            std::print!("{HELP}");
            power::off();
        }
        Err(sentence) => power::give_up(&sentence),
    };
    match prepare(options) {
        Ok(boot) => {
            std::panic::set_hook(Box::new(report));
            crate::start(boot)
        }
        Err(sentence) => power::give_up(&sentence),
    }
}

/// Arguments that are not text cannot be the kernel's; as file names they will not be found.
fn lossy(argument: std::ffi::OsString) -> String {
    argument.to_string_lossy().into_owned()
}

/// Everything that can fail before there is a kernel. Errors: a sentence.
fn prepare(options: Options) -> Result<BootInformation, String> {
    host::lift_limits();
    let clock = clock::begin();
    let cpu = pin(options.cpu)?;
    let initramfs = archive(options.archive)?;
    memory::initialize(options.memory).map_err(|error| format!("cannot make RAM: {error}"))?;
    // Before the signals are blocked: who is in the background is to stop here, as any program that wants the terminal.
    console::make_raw();
    faults::catch();
    interrupts::block_signals();
    interrupts::start().map_err(|error| format!("cannot listen to the host: {error}"))?;
    user::initialize()?;
    clock::finish(clock);
    if options.statistics {
        statistics::want();
    }
    FOUND.call_once(|| Found { cpu });
    Ok(BootInformation { initramfs, ..boot_information(Box::leak(options.words.into_boxed_str())) })
}

/// What the machine hands to `start`, without an archive: all its RAM is free.
pub fn boot_information(command_line: &'static str) -> BootInformation {
    BootInformation {
        command_line,
        initramfs: None,
        free_memory: core::iter::once(memory::FIRST_FREE..memory::frame_limit()).collect(),
        // It is not in RAM.
        initramfs_memory: None,
        frame_limit: memory::frame_limit(),
    }
}

/// Stays on one CPU of the host, and with it everything it starts: kernel and program take turns, and waking somebody on
/// another CPU takes many times as long as switching on the same one. Gives the CPU. Errors: a sentence.
fn pin(cpu: Cpu) -> Result<Option<usize>, String> {
    let number = match cpu {
        Cpu::Any => return Ok(None),
        Cpu::Number(number) => number,
        // SAFETY: it only reads. An error, which no kernel of the last fifteen years gives, is not a CPU.
        Cpu::Current => match usize::try_from(unsafe { libc::sched_getcpu() }) {
            Ok(number) => number,
            Err(_) => return Ok(None),
        },
    };
    let set = (number < libc::CPU_SETSIZE as usize).then(|| {
        // SAFETY: all zeros is the empty set, and the number is in its range.
        unsafe {
            let mut set: libc::cpu_set_t = MaybeUninit::zeroed().assume_init();
            libc::CPU_SET(number, &mut set);
            set
        }
    });
    let pinned = set.is_some_and(|set| {
        // SAFETY: the set is as long as it says.
        host::result(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) }).is_ok()
    });
    if pinned {
        return Ok(Some(number));
    }
    match cpu {
        Cpu::Number(_) => Err(format!("--cpu={number} is not a CPU this process may use")),
        _ => Ok(None),
    }
}

/// The archive in memory: mapped, so that only what is read of it is ever loaded. Errors: a sentence.
fn archive(which: Archive) -> Result<Option<&'static [u8]>, String> {
    match which {
        Archive::None => Ok(None),
        Archive::File(path) => match map_file(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(format!("cannot read the initial archive {}: {error}", path.display())),
        },
        Archive::Beside => {
            let program = std::env::current_exe().unwrap_or_default();
            let path: PathBuf = program.with_file_name("initramfs.cpio");
            let sentence =
                |error| format!("no initrd=FILE is given, and {} cannot be read: {error}", path.display());
            map_file(&path).map(Some).map_err(sentence)
        }
    }
}

fn map_file(path: &Path) -> std::io::Result<&'static [u8]> {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open(path)?;
    let information = file.metadata()?;
    if !information.is_file() || information.len() == 0 {
        // A pipe, a device, an empty file: what cannot be mapped is read.
        return Ok(Box::leak(std::fs::read(path)?.into_boxed_slice()));
    }
    let length = information.len() as usize;
    let (protection, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_POPULATE);
    // SAFETY: a new mapping at an address the host chooses replaces nothing.
    let mapped = unsafe { libc::mmap(core::ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the mapping is never undone. Who writes to the file or cuts it short while the machine boots makes the
    // archive a damaged one, or ends the process; that cannot be helped short of copying it.
    Ok(unsafe { core::slice::from_raw_parts(mapped.cast(), length) })
}

impl Machine for Hardware {
    type PageTable = translation::Table;
    type UserContext = user::Context;
    const USER_END: usize = layout::USER_END;

    fn cpu_number() -> usize {
        0
    }

    fn frame_pointer(frame: Frame) -> NonNull<u8> {
        memory::pointer(frame)
    }

    fn bytes_beside_frames() -> usize {
        heap::bytes()
    }

    fn processor_features() -> ProcessorFeatures {
        // Programs run on the host's processor under the host's signal frames.
        // SAFETY: it only reads what the host passed to this process.
        let value = |kind| unsafe { libc::getauxval(kind) };
        ProcessorFeatures {
            hwcap: value(libc::AT_HWCAP),
            hwcap2: value(libc::AT_HWCAP2),
            minimum_signal_stack: value(libc::AT_MINSIGSTKSZ) as usize,
            // They find the host's.
            tells_cpu_number: false,
            has_rdtscp: core::arch::x86_64::__cpuid(0x8000_0001).edx & 1 << 27 != 0,
        }
    }

    fn random_seed() -> [u8; 32] {
        host::random_bytes()
    }

    fn cycles() -> u64 {
        clock::cycles()
    }

    fn cycle_counter() -> CycleCounter {
        clock::counter()
    }

    fn wall_clock() -> Option<u64> {
        Some(clock::wall_clock())
    }

    fn reference() -> Option<Reference> {
        clock::reference()
    }

    fn set_alarm(nanoseconds: Option<u64>) {
        interrupts::set_alarm(nanoseconds);
    }

    fn idle() {
        interrupts::wait();
    }

    fn take_interrupts() -> Interrupts {
        interrupts::take()
    }

    fn has_lost(space: TableRoot) -> bool {
        // SAFETY: whoever asks for an address space keeps it, and with it the table.
        unsafe { translation::Space::of(space) }.lock().is_lost()
    }

    fn console_write(bytes: &[u8]) {
        console::write(bytes);
    }

    fn console_read() -> Option<u8> {
        console::read()
    }

    fn console_resized() -> Option<(u16, u16)> {
        console::resized()
    }

    fn power_off() -> ! {
        power::off()
    }

    fn restart() -> ! {
        power::restart()
    }

    fn stop_after_panic() -> ! {
        power::stop_after_panic()
    }

    fn describe_machine(line: &mut dyn FnMut(fmt::Arguments<'_>)) {
        let id = std::process::id();
        match FOUND.get().and_then(|found| found.cpu) {
            Some(cpu) => line(format_args!("machine: process {id} of the host, on its CPU {cpu}")),
            None => line(format_args!("machine: process {id} of the host, on any of its CPUs")),
        }
        zygote::describe(line);
        match clock::source() {
            clock::Source::Tsc => {
                line(format_args!("cycle counter: the TSC, held against the host's clock"));
            }
            clock::Source::Host(name) => line(format_args!(
                "cycle counter: the host's clock, which programs cannot read by themselves: the host tells the time by {}",
                name.as_deref().unwrap_or("what it does not say")
            )),
        }
    }

    fn describe_state(write: &mut dyn fmt::Write) {
        // A console that refuses bytes cannot be helped here.
        let _ = report::write(write);
    }
}

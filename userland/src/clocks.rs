//! `clocks`: every clock of the kernel as this process sees it, by vDSO and by system call, and what a reading costs.
//!
//! `clocks` prints the table once, `clocks --watch` once a second, `clocks --instructions` the cost of each reading
//! in ticks of the cycle counter. Under QEMU with `-icount shift=0` one tick is one instruction, so that the last
//! prints how many instructions the vDSO and the kernel spend.

use crate::say;
use crate::system::clocks::{CLOCKS, Clock};
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::namespace::{self, TIME, TIME_FOR_CHILDREN};
use crate::system::ticks;
use crate::system::time::{self, SECOND};
use crate::system::vdso::{ClockGettime, Vdso};
use std::ffi::OsString;

const USAGE: &str = "\
usage: clocks [--watch | --instructions]
  (no option)     every clock: id, name, resolution, reading by vDSO and by system call
  --watch         the same once a second, until ^C
  --instructions  counter ticks a call takes: lines of NAME vdso N syscall N";

/// The program.
pub fn main(arguments: &[OsString]) -> i32 {
    let option = arguments.get(1).map(|word| word.to_string_lossy().into_owned());
    match (option.as_deref(), arguments.len()) {
        (None, _) => {
            table();
            0
        }
        (Some("--watch"), 2) => loop {
            // Home and clear: the table stays in its place on any terminal.
            crate::system::print::write_all(1, "\x1b[H\x1b[2J");
            table();
            time::sleep(SECOND);
        },
        (Some("--instructions"), 2) => instructions(),
        (Some("--help"), 2) => {
            say!("{USAGE}");
            0
        }
        _ => {
            crate::complain!("{USAGE}");
            2
        }
    }
}

/// Prints which time namespaces this process has, and the offsets.
pub fn print_namespaces() {
    let link = |path| match file::readlink(path) {
        Ok(target) => target,
        Err(errno) => format!("unreadable ({errno})"),
    };
    let (now, children) = (link(TIME), link(TIME_FOR_CHILDREN));
    say!("namespace of this process   {now}");
    say!("namespace of its children   {children}{}", if now == children { " (the same)" } else { "" });
    match namespace::offsets() {
        Ok(offsets) => {
            say!("offsets of the latter       monotonic {} s", time::decimal(offsets.monotonic));
            say!("                            boottime  {} s", time::decimal(offsets.boottime));
        }
        Err(errno) => say!("offsets of the latter       unreadable ({errno})"),
    }
}

fn table() {
    print_namespaces();
    say!();
    print_readings(CLOCKS);
}

/// One clock read both ways, the vDSO first.
pub struct Reading {
    /// What the vDSO said, in nanoseconds.
    pub by_vdso: Result<i64, Errno>,
    /// What the system call said right after.
    pub by_call: Result<i64, Errno>,
}

impl Reading {
    /// Reads `clock` by the vDSO (ENOSYS where there is none) and by the system call.
    pub fn of(vdso: Option<&Vdso>, clock: i32) -> Reading {
        let read = vdso.and_then(Vdso::clock_gettime);
        let by_vdso = read.map_or(Err(Errno::ENOSYS), |read| read_by_vdso(read, clock));
        Reading { by_vdso, by_call: time::read_by_call(clock) }
    }

    /// How much later the system call's reading is, in nanoseconds.
    pub fn difference(&self) -> Option<i64> {
        Some(self.by_call.ok()?.wrapping_sub(self.by_vdso.ok()?))
    }
}

/// clock_gettime through the vDSO's function.
pub fn read_by_vdso(read: ClockGettime, clock: i32) -> Result<i64, Errno> {
    let mut reading = time::ZERO;
    match read(clock, &mut reading) {
        0 => Ok(time::nanoseconds(&reading)),
        error => Err(Errno(-error)),
    }
}

/// Prints a heading and one line a clock, at most 80 columns wide.
pub fn print_readings(clocks: &[Clock]) {
    let vdso = Vdso::find();
    if vdso.is_none() {
        say!("This kernel gave no vDSO, so readings by it show ENOSYS.");
    }
    say!(
        "{:>2} {:<18} {:>5} {:>20} {:>20} {:>9}",
        "id",
        "CLOCK_",
        "step",
        "by vDSO",
        "by system call",
        "later by"
    );
    for clock in clocks {
        print_reading(clock, &Reading::of(vdso.as_ref(), clock.id));
    }
}

fn print_reading(clock: &Clock, reading: &Reading) {
    let show = |reading: &Result<i64, Errno>| match reading {
        Ok(value) => time::decimal(*value),
        Err(errno) => errno.name(),
    };
    let step = match time::resolution_by_call(clock.id) {
        Ok(step) if step >= time::MILLISECOND => format!("{} ms", step / time::MILLISECOND),
        Ok(step) => format!("{step} ns"),
        Err(_) => "-".to_string(),
    };
    let later = reading.difference().map_or("-".to_string(), |difference| format!("{difference} ns"));
    let name = clock.name.trim_start_matches("CLOCK_").trim_end_matches("_ID");
    let (by_vdso, by_call) = (show(&reading.by_vdso), show(&reading.by_call));
    say!("{:>2} {name:<18} {step:>5} {by_vdso:>20} {by_call:>20} {later:>9}", clock.id);
}

/// One line a call: its name, and the least number of counter ticks by vDSO and by system call.
fn instructions() -> i32 {
    let Some(vdso) = Vdso::find() else {
        crate::complain!("clocks: this kernel gave no vDSO to measure");
        return 1;
    };
    let mut output = time::ZERO;
    let result = std::ptr::from_mut(&mut output) as usize;
    let rows = CLOCKS
        .iter()
        .map(|clock| {
            (clock.name, c"__vdso_clock_gettime", libc::SYS_clock_gettime, [clock.id as usize, result])
        })
        .chain([
            ("gettimeofday", c"__vdso_gettimeofday", libc::SYS_gettimeofday, [result, 0]),
            ("time", c"__vdso_time", libc::SYS_time, [0, 0]),
            ("clock_getres", c"__vdso_clock_getres", libc::SYS_clock_getres, [1, result]),
            ("getcpu", c"__vdso_getcpu", libc::SYS_getcpu, [0, 0]),
        ]);
    for (name, symbol, number, arguments) in rows {
        match vdso.symbol(symbol) {
            // SAFETY: each symbol is a function of two or three pointers or numbers that accepts these: `output`
            // outlives the calls and is larger than a timeval.
            Some(function) => unsafe {
                let by_vdso = ticks::of_function(function, arguments);
                say!("{name} vdso {by_vdso} syscall {}", ticks::of_call(number, arguments));
            },
            None => say!("{name} vdso - syscall {}", ticks::of_call(number, arguments)),
        }
    }
    say!("null vdso - syscall {}", ticks::of_call(libc::SYS_getppid, [0, 0]));
    0
}

//! `demonstration`: the same clocks, read in the root and in a time namespace, by vDSO and by system call.
//!
//! Started inside a namespace it works too: offsets always count from the host's clocks, so "a day ahead" is then one
//! day on top of the offsets it already has.
//!
//! It shows five things in order: the clocks here; a process that enters a namespace by exec; a process that only
//! prepares one for its children; a child that enters by fork; and the parent, untouched by all that. What it prints
//! is checked: a child's reading less the offset must lie between two readings the parent took around it. The exit
//! status is 0 only when every check holds, so that a boot which runs this is a test.

use crate::clocks::Reading;
use crate::say;
use crate::system::clocks::{CLOCKS, Clock, Path, Shift};
use crate::system::errno::Errno;
use crate::system::file::{self, Descriptor};
use crate::system::namespace::{self, OFFSETS, Offsets, TIME, TIME_FOR_CHILDREN};
use crate::system::process::{self, Status};
use crate::system::syscall_count::SyscallCount;
use crate::system::time::{self, MILLISECOND, SECOND};
use crate::system::vdso::Vdso;
use std::ffi::OsString;

/// One day ahead for the monotonic clocks, one week for the time since boot.
const AHEAD: Offsets = Offsets { monotonic: 86_400 * SECOND, boottime: 7 * 86_400 * SECOND };

/// How the links name the root namespace: its number is fixed.
const ROOT: &str = "time:[4026531834]";

/// The argument by which a copy of this program, entered by exec, is told to report only.
const REPORT: &str = "--report";

/// The clocks shown: those that the vDSO reads by itself.
fn shown() -> impl Iterator<Item = &'static Clock> {
    CLOCKS.iter().filter(|clock| clock.path != Path::SystemCall)
}

/// The offset that applies to a clock inside.
fn ahead(clock: &Clock) -> i64 {
    match clock.shift {
        Shift::None => 0,
        Shift::Monotonic => AHEAD.monotonic,
        Shift::Boottime => AHEAD.boottime,
    }
}

/// The program.
pub fn main(arguments: &[OsString]) -> i32 {
    if arguments.get(1).is_some_and(|word| word == REPORT) {
        crate::system::print::write_all(1, &Report::take().to_text());
        return 0;
    }
    let mut show = Show { checks: 0, failures: Vec::new() };
    if let Err((step, errno)) = show.run() {
        show.failures.push(format!("{step}: {}", errno.sentence()));
    }
    show.conclude()
}

/// What one process sees: its two namespaces, and each shown clock read both ways.
struct Report {
    time: String,
    children: String,
    /// By vDSO and by system call, in the order of [`shown`].
    readings: Vec<(i64, i64)>,
    /// System calls made while reading by vDSO, where the kernel counts them; else -1.
    calls: i64,
}

impl Report {
    fn take() -> Report {
        let vdso = Vdso::find();
        let count = SyscallCount::open();
        let link = |path| file::readlink(path).unwrap_or_else(|errno| format!("({errno})"));
        let readings = shown().map(|clock| {
            let reading = Reading::of(vdso.as_ref(), clock.id);
            (reading.by_vdso.unwrap_or(i64::MIN), reading.by_call.unwrap_or(i64::MIN))
        });
        let readings = readings.collect();
        let calls = count.and_then(|count| {
            let read = vdso.as_ref()?.clock_gettime()?;
            let mut reading = time::ZERO;
            count.of(|| shown().for_each(|clock| _ = read(clock.id, &mut reading))).ok()
        });
        Report { time: link(TIME), children: link(TIME_FOR_CHILDREN), readings, calls: calls.unwrap_or(-1) }
    }

    /// For the pipe: words separated by spaces.
    fn to_text(&self) -> String {
        let mut text = format!("{} {} {}", self.time, self.children, self.calls);
        for (by_vdso, by_call) in &self.readings {
            text += &format!(" {by_vdso} {by_call}");
        }
        text + "\n"
    }

    fn from_text(text: &str) -> Option<Report> {
        let mut words = text.split_whitespace();
        let mut word = || words.next();
        let (time, children) = (word()?.to_string(), word()?.to_string());
        let calls = word()?.parse().ok()?;
        let mut readings = Vec::new();
        for _ in shown() {
            readings.push((word()?.parse().ok()?, word()?.parse().ok()?));
        }
        Some(Report { time, children, readings, calls })
    }
}

/// Runs `work` in a child whose standard output is a pipe, and reads the report that it writes there.
fn report_of_child(work: impl FnOnce() -> i32) -> Result<Report, Errno> {
    let (read_end, write_end) = process::pipe()?;
    let child = process::spawn(|| {
        if crate::call!(libc::SYS_dup2, write_end, 1).is_err() {
            return 1;
        }
        work()
    })?;
    process::close(write_end);
    let text = Descriptor(read_end).read_to_end()?;
    match process::wait(child)? {
        Status::Exited(0) => Report::from_text(&String::from_utf8_lossy(&text)).ok_or(Errno::EIO),
        _ => Err(Errno::ECHILD),
    }
}

/// The show: prints, and keeps count of what it checked.
struct Show {
    checks: usize,
    failures: Vec<String>,
}

impl Show {
    fn check(&mut self, holds: bool, claim: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.failures.push(claim());
        }
    }

    fn run(&mut self) -> Result<(), (&'static str, Errno)> {
        say!("Different times for different tasks");
        say!();
        let here = Report::take();
        let where_it_is =
            if here.time == ROOT { "in the root time namespace" } else { "in a time namespace" };
        say!("1. This process, {where_it_is}. Each clock is read by the vDSO,");
        say!("   without a system call, and right after by the system call:");
        print_links(&here);
        print_table(&here, None);
        self.check_both_ways("in this process", &here);
        self.check(here.time == here.children, || "this process has two namespaces at the start".into());

        let own = namespace::offsets().map_err(|errno| ("reading the offsets", errno))?;
        let offsets =
            Offsets { monotonic: own.monotonic + AHEAD.monotonic, boottime: own.boottime + AHEAD.boottime };

        say!("2. A child that makes a namespace (unshare), writes its offsets, and execs:");
        let before = Report::take();
        let by_exec = report_of_child(|| {
            let prepared = namespace::unshare().and_then(|()| namespace::set_offsets(offsets));
            if prepared.is_ok() {
                process::execute(&["/proc/self/exe", "demonstration", REPORT]);
            }
            1
        });
        let by_exec = by_exec.map_err(|errno| ("no child could enter a namespace by exec", errno))?;
        let after = Report::take();
        print_links(&by_exec);
        print_table(&by_exec, Some(&before));
        self.check_inside("after exec", &by_exec, &before, &after);

        say!("3. This process now makes one for its children. Only they will enter it:");
        namespace::unshare().map_err(|errno| ("unshare(CLONE_NEWTIME)", errno))?;
        namespace::set_offsets(offsets).map_err(|errno| ("writing the offsets", errno))?;
        let pending = Report::take();
        print_links(&pending);
        for line in namespace::offsets_text().map_err(|errno| ("reading the offsets", errno))?.lines() {
            say!("   {OFFSETS}   {line}");
        }
        let read_back = namespace::offsets().map_err(|errno| ("reading the offsets", errno))?;
        self.check(read_back == offsets, || format!("the offsets read back as {read_back:?}"));
        self.check(pending.time == here.time, || "unshare moved the process itself".into());
        self.check(pending.children != here.time, || "unshare made no namespace".into());

        say!("   A child by fork is inside at once:");
        let before = Report::take();
        let by_fork = report_of_child(|| {
            crate::system::print::write_all(1, &Report::take().to_text());
            0
        });
        let by_fork = by_fork.map_err(|errno| ("no child could enter a namespace by fork", errno))?;
        let after = Report::take();
        print_links(&by_fork);
        print_table(&by_fork, Some(&before));
        self.check_inside("after fork", &by_fork, &before, &after);
        self.check(by_fork.time == pending.children, || "the child is not in the parent's namespace".into());

        say!("4. This process again, still where it was:");
        print_links(&after);
        print_table(&after, None);
        self.check_both_ways("in the parent", &after);
        self.check(after.time == here.time, || "the parent moved".into());
        for ((clock, now), then) in shown().zip(&after.readings).zip(&here.readings) {
            // A minute is far more than this program takes and far less than an offset.
            let passed = now.0 - then.0;
            self.check((0..60 * SECOND).contains(&passed), || {
                format!("{} went from {} to {} in the parent", clock.name, then.0, now.0)
            });
        }
        Ok(())
    }

    /// The system call's reading is never before the vDSO's, nor much after.
    fn check_both_ways(&mut self, place: &str, report: &Report) {
        for (clock, (by_vdso, by_call)) in shown().zip(&report.readings) {
            let later = by_call.wrapping_sub(*by_vdso);
            self.check((0..500 * MILLISECOND).contains(&later), || {
                format!("{place}, {} by system call is {later} ns after the vDSO", clock.name)
            });
        }
        self.check(report.calls <= 0, || format!("{place}, {} system calls for vDSO readings", report.calls));
    }

    /// Each reading inside, less the offset, lies between the parent's readings before and after.
    fn check_inside(&mut self, place: &str, inside: &Report, before: &Report, after: &Report) {
        self.check_both_ways(place, inside);
        self.check(inside.time == inside.children, || format!("{place}, the two namespaces differ"));
        self.check(inside.time != before.time, || format!("{place}, the namespace is the old one"));
        for (index, clock) in shown().enumerate() {
            let bounds = before.readings[index].0..=after.readings[index].1;
            for reading in [inside.readings[index].0, inside.readings[index].1] {
                let host = reading.wrapping_sub(ahead(clock));
                self.check(bounds.contains(&host), || {
                    format!("{place}, {} less its offset is {host}, not within {bounds:?}", clock.name)
                });
            }
        }
    }

    fn conclude(&self) -> i32 {
        if self.failures.is_empty() {
            say!("All {} checks of the above hold.", self.checks);
            return 0;
        }
        for failure in &self.failures {
            say!("NOT AS IT SHOULD BE: {failure}");
        }
        say!("{} of {} checks fail.", self.failures.len(), self.checks.max(self.failures.len()));
        1
    }
}

fn print_links(report: &Report) {
    say!("   {TIME:<32} {}", report.time);
    say!("   {TIME_FOR_CHILDREN:<32} {}", report.children);
}

/// The readings, and with `outside` how far ahead each is of the reading that the parent took just before.
fn print_table(report: &Report, outside: Option<&Report>) {
    let last = if outside.is_some() { "ahead by" } else { "later by" };
    say!();
    say!("   {:<16} {:>20} {:>20} {last:>17}", "CLOCK_", "by vDSO", "by system call");
    for (index, clock) in shown().enumerate() {
        let (by_vdso, by_call) = report.readings[index];
        let last = match outside {
            None => format!("{} ns", by_call - by_vdso),
            // To the millisecond: the rest is what starting the child took.
            Some(outside) => {
                let text = time::decimal(by_vdso - outside.readings[index].0);
                format!("{} s", &text[..text.len() - 6])
            }
        };
        let name = clock.name.trim_start_matches("CLOCK_");
        say!("   {name:<16} {:>20} {:>20} {last:>17}", time::decimal(by_vdso), time::decimal(by_call));
    }
    if report.calls >= 0 {
        say!("   System calls made by the readings through the vDSO, as the kernel counts: {}", report.calls);
    }
    say!();
}

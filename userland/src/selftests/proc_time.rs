//! Times that come as text or in structures: which are shifted by the reader's boottime offset, and which are not.

use super::support::{FAR, Temporary, needs_root};
use crate::call;
use crate::ktap::{Plan, Step, Why, equal, failed, within};
use crate::system::file;
use crate::system::namespace::{self, Offsets};
use crate::system::time::{self, SECOND};

/// Ticks a second in field 22 of stat and in times(2).
const TICKS: i64 = 100;

/// Field `number` (from 1) of /proc/WHO/stat; the name in parentheses may hold spaces.
fn stat_field(who: impl std::fmt::Display, number: usize) -> Result<String, Why> {
    let text = file::read(&format!("/proc/{who}/stat")).step("reading stat")?;
    let after_name = text.rsplit_once(") ").step("the name in stat")?.1;
    after_name.split_whitespace().nth(number - 3).map(str::to_string).step("the field")
}

fn start_time(who: impl std::fmt::Display) -> Result<i64, Why> {
    stat_field(who, 22)?.parse().ok().step("a number in field 22")
}

/// The two numbers of /proc/uptime in hundredths of a second.
fn uptime() -> Result<(i64, i64), Why> {
    let text = file::read("/proc/uptime").step("reading /proc/uptime")?;
    let hundredths = |word: Option<&str>| -> Result<i64, Why> {
        let (whole, fraction) =
            word.and_then(|word| word.trim().split_once('.')).step("a number with a point")?;
        equal("digits after the point", fraction.len(), 2)?;
        Ok(whole.parse::<i64>().ok().step("seconds")? * 100
            + fraction.parse::<i64>().ok().step("hundredths")?)
    };
    let mut words = text.split(' ');
    Ok((hundredths(words.next())?, hundredths(words.next())?))
}

fn boot_time() -> Result<i64, Why> {
    let text = file::read("/proc/stat").step("reading /proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime ")).step("the line btime")?;
    line.trim().parse().ok().step("a number of seconds")
}

fn sysinfo_uptime() -> Result<i64, Why> {
    // struct sysinfo is 112 bytes; uptime is its first long.
    let mut buffer = [0i64; 16];
    call!(libc::SYS_sysinfo, &mut buffer).step("sysinfo")?;
    Ok(buffer[0])
}

fn enter(offsets: Offsets) -> crate::ktap::Outcome {
    needs_root()?;
    namespace::unshare_and_enter(offsets).step("entering")
}

fn rounded_up(nanoseconds: i64) -> i64 {
    nanoseconds.div_euclid(SECOND) + i64::from(nanoseconds.rem_euclid(SECOND) > 0)
}

/// Where the rows are checked.
const PLACES: &[(&str, Option<Offsets>)] = &[
    ("outside", None),
    ("ahead", Some(FAR)),
    ("ahead by a fraction", Some(Offsets { monotonic: 0, boottime: 1234 * SECOND + 567_000_000 })),
    ("behind by a fraction", Some(Offsets { monotonic: 0, boottime: -1 })),
];

pub fn cases(plan: &mut Plan) {
    for (place, offsets) in PLACES {
        plan.case(format!("{place}: sysinfo's uptime is CLOCK_BOOTTIME rounded up to a second"), move || {
            offsets.map_or(Ok(()), enter)?;
            let before = rounded_up(time::read_by_call(libc::CLOCK_BOOTTIME)?);
            let uptime = sysinfo_uptime()?;
            within("uptime", uptime, before, rounded_up(time::read_by_call(libc::CLOCK_BOOTTIME)?))
        });
        plan.case(format!("{place}: /proc/uptime begins with CLOCK_BOOTTIME cut to hundredths"), move || {
            offsets.map_or(Ok(()), enter)?;
            let before = time::read_by_call(libc::CLOCK_BOOTTIME)? / 10_000_000;
            let (uptime, _) = uptime()?;
            within("hundredths", uptime, before, time::read_by_call(libc::CLOCK_BOOTTIME)? / 10_000_000)
        });
        plan.case(
            format!("{place}: btime in /proc/stat is the realtime less CLOCK_BOOTTIME, rounded down"),
            move || {
                offsets.map_or(Ok(()), enter)?;
                let realtime = time::read_by_call(libc::CLOCK_REALTIME)?;
                let booted = (realtime - time::read_by_call(libc::CLOCK_BOOTTIME)?).div_euclid(SECOND);
                // The realtime may be adjusted between the two readings: a second either way at the turn of one.
                within("btime", boot_time()?, booted - 1, booted + 1)
            },
        );
        plan.case(
            format!("{place}: start time and btime agree with the wall clock, as ps shows it"),
            move || {
                let outside = boot_time()? * TICKS + start_time("self")?;
                offsets.map_or(Ok(()), enter)?;
                let inside = boot_time()? * TICKS + start_time("self")?;
                within("the start of this process moved by (ticks)", inside - outside, -TICKS, TICKS)
            },
        );
    }
    plan.case("the idle time in /proc/uptime is not shifted", || {
        let (_, before) = uptime()?;
        enter(FAR)?;
        let (_, inside) = uptime()?;
        within("it moved by (hundredths)", inside - before, -10_000, 100_000)
    });
    plan.case("btime moves back by whole seconds of the offset", || {
        let before = boot_time()?;
        enter(Offsets { monotonic: 5 * SECOND, boottime: 1000 * SECOND })?;
        equal("btime", boot_time()?, before - 1000)
    });
    plan.case("field 22 of any process moves by the reader's offset, whoever the process is", || {
        needs_root()?;
        let parent = call!(libc::SYS_getppid)?;
        let outside = (start_time("self")?, start_time(parent)?);
        enter(Offsets { monotonic: 5 * SECOND, boottime: 1000 * SECOND })?;
        let inside = (start_time("self")?, start_time(parent)?);
        equal("the reader's own", inside.0, outside.0 + 1000 * TICKS)?;
        equal("another's", inside.1, outside.1 + 1000 * TICKS)
    });
    plan.case("field 22 of a process inside, read from outside, is not shifted", || {
        needs_root()?;
        let child = super::setns::Waiting::start(|| _ = namespace::unshare_and_enter(FAR))?;
        let start = start_time(child.child)?;
        let now = time::read_by_call(libc::CLOCK_BOOTTIME)? / (SECOND / TICKS);
        within("its start", start, now - 60 * TICKS, now)
    });
    plan.case("field 22 below zero: wraps as Linux does, or stops at 0", || {
        needs_root()?;
        let start = start_time("1")?;
        let uptime = time::read_by_call(libc::CLOCK_BOOTTIME)? / SECOND;
        if start / TICKS + 1 >= uptime {
            return crate::ktap::skipped("process 1 started less than a second ago");
        }
        enter(Offsets { monotonic: 0, boottime: -uptime * SECOND })?;
        let text = stat_field(1, 22)?;
        let wrapped = start - uptime * TICKS;
        // 2^64 nanoseconds in ticks, less what is missing.
        let as_unsigned = (i128::from(u64::MAX) / 10_000_000 + i128::from(wrapped)).to_string();
        let near = text.parse::<i128>().ok().zip(as_unsigned.parse::<i128>().ok());
        match near {
            Some((0, _)) => Ok(()),
            Some((got, expected)) if (got - expected).abs() <= 2 => Ok(()),
            _ => failed(format!("expected 0 or about {as_unsigned}, got {text}")),
        }
    });
    plan.case("times is not shifted", || {
        let mut buffer = [0i64; 4];
        let before = call!(libc::SYS_times, &mut buffer).step("times")? as i64;
        enter(FAR)?;
        let inside = call!(libc::SYS_times, &mut buffer).step("times")? as i64;
        within("it moved by (ticks)", inside - before, 0, 5 * TICKS)
    });
    plan.case("the stamps of a new file are in realtime, not shifted", || {
        enter(FAR)?;
        let before = time::read_by_call(libc::CLOCK_REALTIME_COARSE)?;
        let file = Temporary::file("stamp")?;
        let status = file::status(&file.0, 0).step("stat")?;
        let stamp = status.st_mtime * SECOND + status.st_mtime_nsec;
        within("its modification time", stamp, before, time::read_by_call(libc::CLOCK_REALTIME)?)
    });
    plan.case("CPU time of the process is not shifted", || {
        enter(FAR)?;
        let mut usage = [0i64; 18];
        call!(libc::SYS_getrusage, 0, &mut usage).step("getrusage")?;
        within("user and system seconds", usage[0] + usage[2], 0, 60)
    });
}

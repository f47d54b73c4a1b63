//! Names for what differs from machine to machine: process ids, namespace numbers, offsets that depend on the uptime.
//!
//! Namespaces are called n0, n1 … in the order in which they are first seen. Each is held open from then on, so that its
//! number is not given to another while the sequence runs. An offset is shown as it was written, in terms of U, the whole
//! seconds the machine has been up; a clock's distance from realtime is shown as the offset that explains it.

use super::step::TASKS;
use super::times;
use crate::system::errno::Errno;
use crate::system::file;
use crate::system::time::{self, MILLISECOND, SECOND};

/// Half of the seconds that fit a clock: what a clock inside may show at most.
const MAX: i64 = 4_611_686_018;
/// Reading two clocks takes time, and coarse clocks lag a tick.
const NEAR: i64 = 60 * MILLISECOND;
/// Whole seconds may be rounded either way.
const ROUGHLY: i64 = 1_300 * MILLISECOND;
/// Before this uptime, in seconds, the offset -U+4 could not be told from small plain ones.
pub const LEAST_UPTIME: i64 = 7;

/// The names of one sequence.
pub struct Facts {
    /// Offsets in seconds that have a name, as written and as a number.
    seconds: Vec<(&'static str, i64)>,
    /// How far each of [`times::IDS`] is ahead of realtime outside.
    outside: Vec<i64>,
    /// Links such as `time:[4026531834]`, by number of first sight.
    namespaces: Vec<String>,
    /// The last known process or thread id of each task.
    pub ids: [i32; TASKS.len()],
}

impl Facts {
    /// Takes the measures of the machine, from outside.
    pub fn new() -> Result<Facts, Errno> {
        let uptime = time::read_by_call(libc::CLOCK_MONOTONIC)? / SECOND;
        let outside = times::IDS.iter().map(|id| times::distance(|| time::read_by_call(*id)));
        let mut facts = Facts {
            // The longer names first, for the shorter ones are parts of them.
            seconds: vec![
                ("MAX-U-100", MAX - uptime - 100),
                ("MAX-U+100", MAX - uptime + 100),
                ("-U-100", -uptime - 100),
                ("-U+1", 1 - uptime),
                ("-U+4", 4 - uptime),
            ],
            outside: outside.collect::<Result<_, _>>()?,
            namespaces: Vec::new(),
            // No process has the id that a task has before it is made.
            ids: [999_999_999; TASKS.len()],
        };
        facts.see(&file::readlink("/proc/self/ns/time")?, "/proc/self/ns/time");
        Ok(facts)
    }

    /// An argument as a task is to use it: letters become ids, names of offsets numbers.
    pub fn to_machine(&self, argument: &str) -> String {
        let with_number = |text: String, (name, value): &(&str, i64)| text.replace(name, &value.to_string());
        let argument = self.seconds.iter().fold(argument.to_string(), with_number);
        match super::step::task_in(&argument) {
            Some(task) if argument == TASKS[task] => self.ids[task].to_string(),
            Some(task) => {
                argument.replacen(&format!("/{}/", TASKS[task]), &format!("/{}/", self.ids[task]), 1)
            }
            None => argument,
        }
    }

    /// The name of the namespace with this link, read at `path`; from now on it is held.
    pub fn see(&mut self, link: &str, path: &str) -> String {
        let known = self.namespaces.iter().position(|known| known == link);
        let number = known.unwrap_or_else(|| {
            // The descriptor is left open on purpose.
            let _ = file::open(path, libc::O_RDONLY);
            self.namespaces.push(link.to_string());
            self.namespaces.len() - 1
        });
        format!("n{number}")
    }

    /// An answer with names in place of numbers.
    pub fn to_reader(&self, answer: &str) -> String {
        let Some((by_call, by_vdso)) = answer.split_once(" | ") else { return self.named(answer) };
        let (by_call, by_vdso) = (self.named(by_call), self.named(by_vdso));
        if by_call == by_vdso { by_call } else { format!("{by_call} but by vDSO {by_vdso}") }
    }

    fn named(&self, answer: &str) -> String {
        let names = answer.split(' ').map(|word| self.name(word));
        // A clock that is not shifted is not worth a word.
        let names: Vec<String> = names.filter(|name| !name.ends_with(":0")).collect();
        if names.is_empty() { "unshifted".into() } else { names.join(" ") }
    }

    fn name(&self, word: &str) -> String {
        let Some((kind, value)) = word.split_once(':') else { return word.to_string() };
        let number = |text: &str| text.parse::<i64>().unwrap_or(0);
        match kind {
            "pid" => {
                let task = self.ids.iter().position(|id| i64::from(*id) == number(value));
                task.map_or("another process".into(), |task| TASKS[task].to_string())
            }
            "time" => match self.namespaces.iter().position(|link| link == word) {
                Some(number) => format!("n{number}"),
                None => "another namespace".into(),
            },
            "offset" => self.offset(number(value), 0),
            "roughly" => self.offset(number(value) - self.outside_of(libc::CLOCK_BOOTTIME), ROUGHLY),
            "near" => {
                let (id, distance) = value.split_once(':').unwrap_or((value, "0"));
                let shift = number(distance) - self.outside_of(number(id) as i32);
                format!("{id}:{}", self.offset(shift, NEAR))
            }
            _ => word.to_string(),
        }
    }

    fn outside_of(&self, clock: i32) -> i64 {
        times::IDS.iter().position(|id| *id == clock).map_or(0, |index| self.outside[index])
    }

    /// Plain offsets that sequences write, in nanoseconds.
    const PLAIN: [i64; 6] = [
        0,
        10 * SECOND,
        1_000 * SECOND,
        2_000 * SECOND + SECOND / 2,
        86_400 * SECOND,
        604_800 * SECOND + 999_999_999,
    ];

    /// The nearest offset that can have been written, if it is within the tolerance; otherwise the number.
    fn offset(&self, value: i64, tolerance: i64) -> String {
        let plain = Self::PLAIN.iter().map(|plain| (*plain, short(*plain)));
        let named = self.seconds.iter().map(|(name, seconds)| (seconds * SECOND, name.to_string()));
        let nearest = plain.chain(named).min_by_key(|(known, _)| value.abs_diff(*known));
        match nearest {
            Some((known, name)) if value.abs_diff(known) <= tolerance as u64 => name,
            _ => short(value),
        }
    }
}

/// Seconds without needless zeros.
fn short(nanoseconds: i64) -> String {
    time::decimal(nanoseconds).trim_end_matches('0').trim_end_matches('.').to_string()
}

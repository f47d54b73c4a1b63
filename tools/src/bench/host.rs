//! The machine all this is measured on: what it is, how fast its counter runs, and whether it is busy with other things.

use serde::Serialize;
use std::time::{Duration, Instant};

/// What a reader must know of the machine to compare the figures with others.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// The processor's name.
    pub processor: String,
    /// How many there are.
    pub processors: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Ticks of the time stamp counter in a nanosecond.
    pub ticks_per_nanosecond: f64,
    /// Programs wanting to run, in the last minute, when the run began.
    pub load: f64,
}

impl Host {
    /// Looks around, which takes a fifth of a second for the counter.
    pub fn look() -> Host {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let name = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Host {
            processor: name.map_or("unknown", |(_, name)| name).trim().into(),
            processors: std::thread::available_parallelism().map_or(1, |number| number.get()),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            ticks_per_nanosecond: ticks_per_nanosecond(),
            load: read("/proc/loadavg").split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// The counter beside the host's clock. Both ends are read several times and the closest pair is taken, so that an
/// interruption between the two readings does not count.
fn ticks_per_nanosecond() -> f64 {
    let begin = Instant::now();
    let pair = || {
        (0..50)
            .map(|_| {
                let before = ticks();
                let moment = begin.elapsed();
                (ticks() - before, before, moment)
            })
            .min_by_key(|(width, ..)| *width)
            .map(|(_, ticks, moment)| (ticks, moment))
            .expect("fifty are not none")
    };
    let (first, from) = pair();
    std::thread::sleep(Duration::from_millis(200));
    let (last, until) = pair();
    (last - first) as f64 / (until - from).as_nanos() as f64
}

fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the counter, and Linux lets programs read it unless told otherwise.
    unsafe { std::arch::x86_64::_rdtsc() }
}

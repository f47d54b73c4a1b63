//! From the machine's start to init's first line: the emulated one beside Debian's Linux with the same archive, and the
//! process.
//!
//! A busy host only ever adds time. What it adds by running other programs instead is counted and taken off; what it adds
//! by making everything slower is not. So the figure is a median of several boots, and when it is over the limit the boots
//! are repeated: the least median is the nearest to what the machine itself takes. The limit stays what it is.

use super::boot::FIRST_LINE;
use super::{BARE_METAL, USER_MODE};
use anyhow::{Result, ensure};
use gnomon_tests::backend::{Backend, Qemu};
use gnomon_tests::boot::Boot;
use gnomon_tests::figures;
use gnomon_tests::machine::{Age, Machine};
use gnomon_tests::scenario::{Scenario, scenario};
use std::time::Duration;

/// For an emulated machine, firmware included, and for a process.
const LIMIT: Duration = Duration::from_millis(150);
const LIMIT_OF_A_PROCESS: Duration = Duration::from_millis(20);
/// Boots to one median, and how many medians at most.
const BOOTS: usize = 7;
const ROUNDS: usize = 8;
/// Linux takes seconds each.
const BOOTS_OF_LINUX: usize = 3;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("boot_time", &BARE_METAL, |m| {
            let best = best_median(m, LIMIT)?;
            note_linux();
            judge(best, LIMIT)
        }),
        scenario("boot_time", &USER_MODE, |m| judge(best_median(m, LIMIT_OF_A_PROCESS)?, LIMIT_OF_A_PROCESS)),
    ]
}

fn judge(best: Duration, limit: Duration) -> Result<()> {
    ensure!(best <= limit, "the median of {BOOTS} boots is {best:.1?} at best; the limit is {limit:?}");
    Ok(())
}

/// The least median of some rounds; no more rounds than are needed to be within the limit.
fn best_median(m: &mut Machine, limit: Duration) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let times = times(m, BOOTS)?;
        figures::note(format!("{}, from its start to init's first line: {}", m.backend(), shown(&times)));
        best = best.min(times[BOOTS / 2].own());
        if best <= limit {
            break;
        }
    }
    Ok(best)
}

fn note_linux() {
    match Qemu::Debian.obstacle() {
        Some(obstacle) => figures::note(format!("Linux was not measured: {obstacle}")),
        None => match times(&mut Machine::new(&Qemu::Debian, "boot_time"), BOOTS_OF_LINUX) {
            Ok(times) => figures::note(format!("Debian's Linux in QEMU, the same: {}", shown(&times))),
            Err(error) => figures::note(format!("Linux was not measured: {error:#}")),
        },
    }
}

/// The times of so many boots, the shortest first.
fn times(m: &mut Machine, boots: usize) -> Result<Vec<Age>> {
    let mut times = Vec::new();
    for _ in 0..boots {
        m.boot(Boot::default().word("quiet").arguments(&["run", "/bin/true"]))?;
        m.expect(FIRST_LINE)?;
        times.push(m.age()?);
        m.expect_power_off()?;
    }
    times.sort_by_key(Age::own);
    Ok(times)
}

fn shown(times: &[Age]) -> String {
    let milliseconds = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
    let [least, median, most] = [0, times.len() / 2, times.len() - 1].map(|place| times[place]);
    let mut waited: Vec<Duration> = times.iter().map(|age| age.whole - age.own()).collect();
    waited.sort();
    format!(
        "median {} ms of {} boots, least {}, most {}; for other programs they waited {} more",
        milliseconds(median.own()),
        times.len(),
        milliseconds(least.own()),
        milliseconds(most.own()),
        milliseconds(waited[times.len() / 2]),
    )
}

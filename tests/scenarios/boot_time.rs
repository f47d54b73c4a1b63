//! From QEMU's start to init's first line, beside Debian's Linux on the same machine with the same archive.
//!
//! A busy host only ever adds time. So the figure is a median of several boots, and when it is over the limit the boots
//! are repeated: the least median is the nearest to what the machine itself takes. The limit stays what it is.

use super::GNOMON;
use super::boot::FIRST_LINE;
use anyhow::{Result, ensure};
use gnomon_tests::backend::{Backend, Qemu};
use gnomon_tests::boot::Boot;
use gnomon_tests::figures;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(150);
/// Boots to one median, and how many medians at most.
const BOOTS: usize = 7;
const ROUNDS: usize = 4;
/// Linux takes seconds each.
const BOOTS_OF_LINUX: usize = 3;

pub fn scenarios() -> Vec<Scenario> {
    vec![scenario("boot_time", &GNOMON, boot_time)]
}

fn boot_time(m: &mut Machine) -> Result<()> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let times = times(m, BOOTS)?;
        let median = times[BOOTS / 2];
        figures::note(format!("Gnomon, QEMU's start to init's first line: {}", shown(&times)));
        best = best.min(median);
        if best <= LIMIT {
            break;
        }
    }
    match Qemu::Debian.obstacle() {
        Some(obstacle) => figures::note(format!("Linux was not measured: {obstacle}")),
        None => {
            let mut linux = Machine::new(&Qemu::Debian, "boot_time");
            match times(&mut linux, BOOTS_OF_LINUX) {
                Ok(times) => {
                    figures::note(format!("Debian's Linux, the same:                  {}", shown(&times)))
                }
                Err(error) => figures::note(format!("Linux was not measured: {error:#}")),
            }
        }
    }
    ensure!(best <= LIMIT, "the median of {BOOTS} boots is {best:.0?} at best; the limit is {LIMIT:?}");
    Ok(())
}

/// The times of so many boots, the shortest first.
fn times(m: &mut Machine, boots: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..boots {
        m.boot(Boot::default().word("quiet").arguments(&["run", "/bin/true"]))?;
        m.expect(FIRST_LINE)?;
        times.push(m.age()?);
        m.expect_power_off()?;
    }
    times.sort();
    Ok(times)
}

fn shown(times: &[Duration]) -> String {
    let milliseconds = |time: Duration| time.as_millis();
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    let (least, median, most) = (milliseconds(least), milliseconds(median), milliseconds(most));
    format!("median {median} ms of {} boots, least {least}, most {most}", times.len())
}

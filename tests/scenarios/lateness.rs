//! No sleep and no timer ends early, in the root and in a namespace; how late they end is printed.
//!
//! Late they may be, on a busy host as late as they like, so that is no reason to fail; a single nanosecond early is.
//! `make bench GROUP=lateness` has the same figures beside Linux's in the same QEMU.

use super::{BARE_METAL, Backend, Linux, UserMode};
use anyhow::{Result, ensure};
use gnomon_tests::boot::Boot;
use gnomon_tests::figures;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tools::bench::{
    group::Group,
    peer::Peer,
    series::{Line, Series, Unit},
};
use std::time::Duration;

const MACHINES: [&'static dyn Backend; 3] = [&Linux, &UserMode::Ourselves, BARE_METAL[0]];

/// The measuring program in the root, and in a namespace whose clocks are ahead.
const PLACES: [(&str, &[&str]); 2] = [
    ("root", &["run", "/bin/measure", "--samples", "lateness"]),
    (
        "namespace",
        &["run", "/bin/unshare", "--time", "--monotonic", "86400", "/bin/measure", "--samples", "lateness"],
    ),
];

/// clock_nanosleep and a timerfd, for a millisecond and for 50 microseconds.
const ROWS: usize = 4;

pub fn scenarios() -> Vec<Scenario> {
    vec![scenario("never_early", &MACHINES, never_early)]
}

fn never_early(m: &mut Machine) -> Result<()> {
    m.patience(Duration::from_secs(60));
    for (place, arguments) in PLACES {
        m.boot(Boot::default().word("quiet").arguments(arguments))?;
        let printed = m.expect_power_off()?;
        let rows: Vec<Series> = printed.lines().filter_map(row).collect();
        ensure!(rows.len() == ROWS, "not all rows were measured in the {place}:\n{printed}");
        for row in rows {
            figures::note(format!(
                "{}::{}, {place}: median {:.1}, 99 % {:.1}, worst {:.1} us",
                row.row,
                m.backend(),
                row.median,
                row.ninety_ninth,
                row.most
            ));
            ensure!(row.least >= 0.0, "{} in the {place}: {} us too early", row.row, -row.least);
        }
    }
    Ok(())
}

fn row(line: &str) -> Option<Series> {
    let Some(Line::Samples { row, samples, .. }) = Line::parse(line) else { return None };
    let samples = samples.into_iter().map(|nanoseconds| nanoseconds / 1e3).collect();
    // Which peer it is matters to the bench alone.
    Series::new(Group::Lateness, Peer::Host, &row, Unit::Microseconds, samples)
}

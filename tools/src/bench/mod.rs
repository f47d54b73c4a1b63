//! `gnomon bench`: Gnomon beside what people would otherwise use, in one run, on their own machine.
//!
//! Absolute figures are of one machine and one moment, so none stands alone: beside each is the same row of another
//! kernel, measured minutes apart by the same program, and what is compared is their ratio. Natively (as processes of
//! this host) time is measured, and the machines take turns in rounds, so that whatever else the host does falls on all of
//! them alike. Under QEMU instructions are counted, which come out the same on every run; time would tell more of QEMU,
//! and is taken, in turns again, for the lateness of sleepers alone.
//!
//! `measure` runs the machines, `series` keeps what they said, `targets` judges it, `table` and `page` show it.

mod boot;
mod console;
pub mod group;
mod host;
mod measure;
mod page;
pub mod peer;
mod report;
pub mod series;
mod size;
mod table;
mod targets;

use crate::command::say;
use crate::setup::packages;
use crate::workspace::{shown, target};
use anyhow::{Context, Result};
use group::Group;
use host::Host;
use measure::Bench;
use peer::Peer;
use report::Report;
use std::time::Instant;

/// The machines that are processes of this host.
const NATIVE: [Peer; 3] = [Peer::UserMode, Peer::Host, Peer::UserModeLinux];

/// What a person can choose.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The groups; all of them if none is named
    #[arg(value_enum)]
    pub groups: Vec<Group>,
    /// Rounds in which the native machines take turns
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Boots of each machine
    #[arg(long, value_name = "NUMBER", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pub boots: u32,
    /// The CPU that native machines are bound to; the last one if nothing is said
    #[arg(long, value_name = "CPU")]
    pub cpu: Option<usize>,
}

/// Measures, prints, and leaves `target/bench/report.json` and `report.html`.
pub fn run(options: &Options) -> Result<()> {
    let begin = Instant::now();
    packages::install(&packages::MACHINE)?;
    let groups: &[Group] = if options.groups.is_empty() { &group::ALL } else { &options.groups };
    let host = Host::look();
    let cpu = options.cpu.unwrap_or(host.processors.saturating_sub(1));
    let mut bench = Bench::new(host, cpu)?;
    for &group in groups {
        match group {
            Group::Boot => boot::measure(&mut bench, options.boots)?,
            Group::Size => size::measure(&mut bench)?,
            Group::Growth => bench.counted(group)?,
            Group::Clocks | Group::Calls => {
                bench.in_turns(group, &NATIVE, options.rounds)?;
                bench.counted(group)?;
            }
            // How long it takes until a timer's interrupt is taken, no count of instructions says.
            Group::Lateness => {
                bench.in_turns(group, &NATIVE, options.rounds)?;
                bench.in_turns(group, &[Peer::Gnomon, Peer::Linux], options.rounds)?;
            }
        }
    }
    let report = Report::new(bench, begin.elapsed());
    print!("{}", table::text(&report));
    let folder = target(peer::FOLDER);
    for (name, text) in [("report.json", report.json()?), ("report.html", page::html(&report))] {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", shown(&path)))?;
        say(format_args!("written: {}", shown(&path)));
    }
    Ok(())
}

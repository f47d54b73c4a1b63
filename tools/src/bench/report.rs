//! A run as a value: what was measured, on what, how noisy it was, and what is promised. `report.json` is this, written.

use super::group::Group;
use super::host::Host;
use super::measure::Bench;
use super::peer::Peer;
use super::series::Series;
use super::targets::{self, Verdict};
use anyhow::Result;
use serde::Serialize;
use std::time::Duration;

/// Everything a reader of the report can see.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine.
    pub host: Host,
    /// Whether figures in nanoseconds should be taken with care.
    pub noise: Noise,
    /// Seconds the run took.
    pub seconds: u64,
    /// What is promised.
    pub verdicts: Vec<Verdict>,
    /// What could not be measured: machine, row, reason.
    pub absent: Vec<(Peer, String, String)>,
    /// What was measured.
    pub series: Vec<Series>,
}

/// How much else was going on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Noise {
    /// The median over all rows measured in time of how far nine of ten samples reach above the least.
    pub spread: f64,
    /// Whether that is too much.
    pub noisy: bool,
}

/// Where it is told what a namespace adds: natively ours and the host's, counted ours and Linux's.
pub const OVERHEADS: [Peer; 4] = [Peer::UserMode, Peer::Host, Peer::Gnomon, Peer::Linux];

/// On a quiet machine nine of ten batches take hardly more than the least: a few hundredths.
const QUIET: f64 = 0.15;

impl Noise {
    fn of(series: &[Series]) -> Noise {
        let timed = series.iter().filter(|series| series.is_timed());
        let mut spreads: Vec<f64> = timed.map(Series::spread).collect();
        spreads.sort_by(f64::total_cmp);
        let spread = spreads.get(spreads.len() / 2).copied().unwrap_or(0.0);
        Noise { spread, noisy: spread > QUIET }
    }
}

impl Report {
    /// Of a run that is over.
    pub fn new(bench: Bench, took: Duration) -> Report {
        Report {
            noise: Noise::of(&bench.series),
            seconds: took.as_secs(),
            verdicts: targets::judge(&bench),
            host: bench.host,
            absent: bench.absent,
            series: bench.series,
        }
    }

    /// As JSON.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// One row on one machine.
    pub fn series(&self, group: Group, peer: Peer, row: &str) -> Option<&Series> {
        self.series.iter().find(|one| one.group == group && one.peer == peer && one.row == row)
    }

    /// The rows of a group that any of these machines has, in the order they were measured.
    pub fn rows(&self, group: Group, peers: &[Peer]) -> Vec<&str> {
        let mut rows = Vec::new();
        for one in self.series.iter().filter(|one| one.group == group && peers.contains(&one.peer)) {
            if !rows.contains(&one.row.as_str()) {
                rows.push(&one.row);
            }
        }
        rows
    }

    /// What a namespace adds to each reading through the vDSO on each machine of [`OVERHEADS`], in hundredths.
    pub fn overheads(&self) -> Vec<(&str, [Option<f64>; 4])> {
        let rows = self.rows(Group::Clocks, &OVERHEADS).into_iter();
        let rows = rows.filter(|row| row.starts_with("vdso:") && !row.ends_with("@namespace"));
        let of = |row, peer| Some(targets::overhead(&self.series, peer, row)? * 100.0);
        rows.map(|row| (row, OVERHEADS.map(|peer| of(row, peer)))).collect()
    }

    /// What the noise means, in a sentence.
    pub fn noise_sentence(&self) -> String {
        if !self.series.iter().any(|series| series.is_timed()) {
            return "nothing was timed that should take the same time on each occasion".into();
        }
        let spread = format!("{:.0} %", self.noise.spread * 100.0);
        let load = self.host.load;
        if self.noise.noisy {
            format!(
                "NOISY: nine of ten samples reach {spread} above the least in half of the timed rows (load {load} at \
                 the start). Ratios of times are rough; counted instructions are exact all the same."
            )
        } else {
            format!("quiet: nine of ten samples within {spread} of the least in half of the timed rows")
        }
    }
}

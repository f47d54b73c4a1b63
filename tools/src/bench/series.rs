//! Samples of one row on one machine: read from the measuring program's lines, converted, ordered.
//!
//! The program prints every sample, so what is made of them is decided here, once, after all rounds of a run are
//! joined. Two figures matter. The *least* is what the work itself takes: whatever else a machine does can only add to
//! it. How far the ninetieth of a hundred lies above the least, the *spread*, says how much was added. A sleeper's
//! lateness is another matter: there every sample is an event, and the ninety-ninth and the most are what a program feels.

use super::group::Group;
use super::peer::Peer;
use serde::Serialize;

/// What a sample counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Microseconds, for lateness.
    #[serde(rename = "us")]
    Microseconds,
    /// Milliseconds, for boots.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Instructions, which QEMU counts.
    #[serde(rename = "instructions")]
    Instructions,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
}

impl Unit {
    /// As it is written behind a figure.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::Microseconds => "us",
            Unit::Milliseconds => "ms",
            Unit::Instructions => "instructions",
            Unit::Bytes => "bytes",
        }
    }
}

/// The samples of a row, the least first. Never empty.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The group the row belongs to.
    pub group: Group,
    /// Where it was measured.
    pub peer: Peer,
    /// The row's name.
    pub row: String,
    /// What the figures count.
    pub unit: Unit,
    /// How many samples.
    pub count: usize,
    /// The least.
    pub least: f64,
    /// As many are above as below.
    pub median: f64,
    /// Nine of ten are below.
    pub ninetieth: f64,
    /// Ninety-nine of a hundred are below.
    pub ninety_ninth: f64,
    /// The most.
    pub most: f64,
    /// All of them, in order.
    pub samples: Vec<f64>,
}

impl Series {
    /// Of samples in any order; none if there are none.
    pub fn new(group: Group, peer: Peer, row: &str, unit: Unit, mut samples: Vec<f64>) -> Option<Series> {
        samples.sort_by(f64::total_cmp);
        let last = samples.len().checked_sub(1)?;
        let [least, median, ninetieth, ninety_ninth, most] =
            [0, last / 2, last * 9 / 10, last * 99 / 100, last].map(|place| samples[place]);
        let (row, count) = (row.into(), samples.len());
        Some(Series { group, peer, row, unit, count, least, median, ninetieth, ninety_ninth, most, samples })
    }

    /// The figure that is compared: the least where a batch of rounds is timed, the median where each sample is an event
    /// of its own, as a boot or a wake-up is.
    pub fn figure(&self) -> f64 {
        match self.group {
            Group::Boot | Group::Lateness => self.median,
            Group::Clocks | Group::Calls | Group::Growth | Group::Size => self.least,
        }
    }

    /// What one sample in twenty is below. For a small difference of two rows: the least of a row may be one batch in which
    /// the processor happened to go faster, which no batch of the other row had.
    pub fn common_least(&self) -> f64 {
        self.samples[(self.count - 1) / 20]
    }

    /// Whether the samples are times of doing the same again and again. A sleeper's lateness differs from one to the next
    /// on the quietest machine.
    pub fn is_timed(&self) -> bool {
        self.group != Group::Lateness && matches!(self.unit, Unit::Nanoseconds | Unit::Milliseconds)
    }

    /// How far nine of ten samples reach above the least, as a part of it.
    pub fn spread(&self) -> f64 {
        if self.least > 0.0 { self.ninetieth / self.least - 1.0 } else { 0.0 }
    }
}

/// What a line of the measuring program says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// `NAME UNIT = SAMPLE...`
    Samples {
        /// The row.
        row: String,
        /// `ticks`, `ns` or `bytes`.
        unit: String,
        /// In the order they were taken.
        samples: Vec<f64>,
    },
    /// `NAME absent REASON`: this kernel cannot do it.
    Absent {
        /// The row.
        row: String,
        /// The error's name.
        reason: String,
    },
}

impl Line {
    /// Reads a line; other lines of a console are none.
    pub fn parse(line: &str) -> Option<Line> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [row, unit @ ("ticks" | "ns" | "bytes"), "=", ref samples @ ..] if !samples.is_empty() => {
                let samples = samples.iter().map(|sample| sample.parse().ok()).collect::<Option<_>>()?;
                Some(Line::Samples { row: row.into(), unit: unit.into(), samples })
            }
            [row, "absent", reason] => Some(Line::Absent { row: row.into(), reason: reason.into() }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(
            Line::parse("null_call ticks = 3.5 2\r"),
            Some(Line::Samples { row: "null_call".into(), unit: "ticks".into(), samples: vec![3.5, 2.0] })
        );
        assert_eq!(
            Line::parse("setns_time absent ENOENT"),
            Some(Line::Absent { row: "setns_time".into(), reason: "ENOENT".into() })
        );
        for other in ["gnomon: init at 0.003 s", "null_call ticks = a", "null_call ticks =", ""] {
            assert_eq!(Line::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn figures_are_those_of_the_samples() {
        let samples = (1..=11).rev().map(f64::from).collect();
        let series = Series::new(Group::Calls, Peer::Host, "row", Unit::Nanoseconds, samples).unwrap();
        assert_eq!((series.count, series.least, series.median), (11, 1.0, 6.0));
        assert_eq!((series.ninetieth, series.ninety_ninth, series.most), (10.0, 10.0, 11.0));
        assert_eq!(series.spread(), 9.0);
        let samples = (0..41).rev().map(f64::from).collect();
        let series = Series::new(Group::Clocks, Peer::Host, "row", Unit::Nanoseconds, samples).unwrap();
        assert_eq!((series.common_least(), series.figure()), (2.0, 0.0));
        assert!(Series::new(Group::Calls, Peer::Host, "row", Unit::Nanoseconds, vec![]).is_none());
    }
}

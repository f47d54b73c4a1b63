//! What is promised, and whether this run keeps it: each promise a set of rows, a ratio or a figure, and a limit.

use super::group::Group;
use super::measure::Bench;
use super::peer::Peer;
use super::series::Series;
use serde::Serialize;

/// A promise, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What is promised.
    pub promise: String,
    /// The row that comes nearest to breaking it, or breaks it most.
    pub row: String,
    /// That row's figure.
    pub figure: f64,
    /// The most, or for boots the least, that is promised.
    pub limit: f64,
    /// Whether the figure keeps to it.
    pub met: bool,
}

/// The row of boots that is promised about.
const FIRST_LINE: &str = "init's first line";

/// Judges everything that was measured.
pub fn judge(bench: &Bench) -> Vec<Verdict> {
    let series = Measured(&bench.series);
    let mut verdicts = Vec::new();
    verdicts.extend(clocks(series));
    verdicts.extend(calls(series));
    verdicts.extend(processes(series));
    verdicts.extend(series.boot());
    verdicts.extend(growth(series, bench));
    verdicts
}

#[derive(Clone, Copy)]
struct Measured<'a>(&'a [Series]);

impl<'a> Measured<'a> {
    fn find(self, peer: Peer, row: &str) -> Option<&'a Series> {
        self.0.iter().find(|series| series.peer == peer && series.row == row)
    }

    fn figure(self, peer: Peer, row: &str) -> Option<f64> {
        self.find(peer, row).map(Series::figure)
    }

    fn ratio(self, ours: Peer, theirs: Peer, row: &str) -> Option<f64> {
        Some(self.figure(ours, row)? / self.figure(theirs, row).filter(|figure| *figure > 0.0)?)
    }

    /// The rows of a group that one of our machines has.
    fn rows(self, group: Group, peer: Peer) -> impl Iterator<Item = String> {
        let of = move |series: &&Series| series.group == group && series.peer == peer;
        self.0.iter().filter(of).map(|series| series.row.clone()).collect::<Vec<_>>().into_iter()
    }

    fn boot(self) -> Option<Verdict> {
        const LEAST: f64 = 15.0;
        let row = FIRST_LINE;
        let times = 1.0 / self.ratio(Peer::Gnomon, Peer::Linux, row)?;
        Some(Verdict {
            promise: "boots faster than Linux in the same QEMU, times at least".into(),
            row: row.into(),
            figure: times,
            limit: LEAST,
            met: times >= LEAST,
        })
    }
}

/// The worst of some rows' figures, held against a limit.
fn worst(promise: &str, limit: f64, figures: impl Iterator<Item = (String, f64)>) -> Option<Verdict> {
    let (row, figure) = figures.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    Some(Verdict { promise: promise.into(), row, figure, limit, met: figure <= limit })
}

/// What a namespace adds to a reading, as a part of it.
pub fn overhead(series: &[Series], peer: Peer, row: &str) -> Option<f64> {
    let least = |row: &str| Measured(series).find(peer, row).map(Series::common_least);
    Some(least(&format!("{row}@namespace"))? / least(row)? - 1.0)
}

fn clocks(series: Measured) -> Vec<Verdict> {
    let vdso = |peer| series.rows(Group::Clocks, peer).filter(|row| row.starts_with("vdso:"));
    let of = |ours, theirs, inside: bool| {
        vdso(ours)
            .filter(move |row| row.ends_with("@namespace") == inside)
            .filter_map(move |row| Some((row.clone(), series.ratio(ours, theirs, &row)?)))
    };
    let outside = || vdso(Peer::UserMode).filter(|row| !row.ends_with("@namespace"));
    let fine = outside().filter(|row| !row.ends_with("_COARSE"));
    let coarse = outside().filter(|row| row.ends_with("_COARSE"));
    let ours = |row: String| Some((row.clone(), overhead(series.0, Peer::UserMode, &row)?));
    let beside_hosts = |row: String| {
        let host = overhead(series.0, Peer::Host, &row)?;
        Some((row.clone(), overhead(series.0, Peer::UserMode, &row)? / host))
    };
    [
        worst("vDSO readings, natively, of the host's at most", 1.0, of(Peer::UserMode, Peer::Host, false)),
        worst("the same in a namespace", 1.0, of(Peer::UserMode, Peer::Host, true)),
        worst("what a namespace adds to a vDSO reading, natively, at most", 0.03, fine.filter_map(ours)),
        worst("the same for coarse clocks, of what the host's adds", 0.5, coarse.filter_map(beside_hosts)),
        worst(
            "instructions of vDSO readings, of Linux's at most",
            1.0,
            of(Peer::Gnomon, Peer::Linux, false).chain(of(Peer::Gnomon, Peer::Linux, true)),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Calls that do next to nothing: what is measured is the way into the kernel and out, most of which the processor sets.
const SHORT: [&str; 2] = ["null_call", "clock_gettime_call"];

fn calls(series: Measured) -> Vec<Verdict> {
    let judged = |row: String| {
        let figure = series.ratio(Peer::Gnomon, Peer::Linux, &row)?;
        let limit = if SHORT.contains(&row.as_str()) { 0.4 } else { 0.3 };
        Some(Verdict {
            promise: "instructions, of Linux's at most".into(),
            row,
            figure,
            limit,
            met: figure <= limit,
        })
    };
    series.rows(Group::Calls, Peer::Gnomon).filter_map(judged).collect()
}

/// What user-mode Linux takes of the same host's time is the most natural thing to compare with.
fn processes(series: Measured) -> Vec<Verdict> {
    const OF_USER_MODE_LINUX: [(&str, f64); 7] = [
        ("null_call", 0.5),
        ("fork_exit_wait", 0.45),
        ("vfork_exec_wait", 0.45),
        ("pipe_round_trip", 0.45),
        ("page_fault", 0.45),
        ("mmap_touch_munmap", 0.45),
        ("signal", 0.7),
    ];
    const BOOT: f64 = 20.0;
    let calls = OF_USER_MODE_LINUX.into_iter().filter_map(|(row, limit)| {
        let figure = series.ratio(Peer::UserMode, Peer::UserModeLinux, row)?;
        let promise = "time as a process, of user-mode Linux's at most".into();
        Some(Verdict { promise, row: row.into(), figure, limit, met: figure <= limit })
    });
    let row = FIRST_LINE;
    let boot = series.figure(Peer::UserMode, row).map(|figure| Verdict {
        promise: "boots as a process, milliseconds at most".into(),
        row: row.into(),
        figure,
        limit: BOOT,
        met: figure <= BOOT,
    });
    calls.chain(boot).collect()
}

/// Of a row's name `growth:KIND:COUNT:ROW`.
pub fn growth_name(row: &str) -> Option<(&str, f64, &str)> {
    let mut parts = row.strip_prefix("growth:")?.split(':');
    let (kind, count, row) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    Some((kind, count, row))
}

/// Points of one curve, the least count first.
pub fn curve(series: &[Series], peer: Peer, kind: &str, name: &str) -> Vec<(f64, f64)> {
    let point = |series: &Series| {
        let (its_kind, count, its_name) = growth_name(&series.row)?;
        (series.peer == peer && its_kind == kind && its_name == name).then(|| (count, series.figure()))
    };
    series.iter().filter_map(point).collect()
}

/// Kinds and rows of curves, in the order they were measured.
pub fn curves(series: &[Series]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (kind, _, name) in series.iter().filter_map(|series| growth_name(&series.row)) {
        let curve = (kind.to_string(), name.to_string());
        if !all.contains(&curve) {
            all.push(curve);
        }
    }
    all
}

/// By how much a curve's last stretch is steeper than a logarithm allows. A logarithm adds the same for each tenfold, so no
/// stretch may add more than the one before; a twentieth of the whole is granted for what happens to lie in a cache line
/// or not. At most 1 is kept.
pub fn steepness(points: &[(f64, f64)]) -> Option<f64> {
    let stretches: Vec<f64> =
        points.windows(2).map(|pair| (pair[1].1 - pair[0].1) / (pair[1].0 / pair[0].0).log10()).collect();
    let granted = points.first()?.1 / 20.0;
    stretches.windows(2).map(|pair| pair[1] / (pair[0].max(0.0) + granted)).max_by(f64::total_cmp)
}

/// A namespace's page, and what may be kept besides.
const NAMESPACE_BYTES: f64 = 4096.0 + 512.0;

/// Ten thousand tasks, each in a namespace of its own, fit into 512 MiB of which the kernel and the archive's files take 16.
const TASK_BYTES: f64 = ((512 - 16) << 20) as f64 / 10_000.0;

fn growth(series: Measured, bench: &Bench) -> Vec<Verdict> {
    if !bench.series.iter().any(|series| series.group == Group::Growth) {
        return Vec::new();
    }
    let steep =
        curves(series.0).into_iter().filter(|(_, name)| name != "memory").filter_map(|(kind, name)| {
            let points = curve(series.0, Peer::Gnomon, &kind, &name);
            Some((format!("{kind}: {name}"), steepness(&points)?))
        });
    // Each namespace is held by an open file, which is not its own.
    let memory = |kind| curve(series.0, Peer::Gnomon, kind, "memory").last().copied();
    let (many, files) = (memory("namespaces"), memory("namespace_files"));
    let bytes = many.zip(files).map(|((count, all), (_, file))| (format!("{count} namespaces"), all - file));
    let tasks = memory("tasks_in_namespaces").map(|(count, bytes)| (format!("{count} tasks"), bytes));
    [
        worst("bytes of a namespace, at most", NAMESPACE_BYTES, bytes.into_iter()),
        worst("bytes of a task in its own namespace, for 10 000 in 512 MiB", TASK_BYTES, tasks.into_iter()),
        worst("steepness of growth, of a logarithm's at most", 1.0, steep),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_from_a_logarithm() {
        let at = |cost: fn(f64) -> f64| [1.0, 100.0, 10_000.0].map(|count| (count, cost(count)));
        assert!(steepness(&at(|_| 300.0)).unwrap() <= 1.0);
        assert!(steepness(&at(|count| 300.0 + 40.0 * count.log2())).unwrap() <= 1.0);
        assert!(steepness(&at(|count| 300.0 + count / 50.0)).unwrap() > 1.0);
        assert!(steepness(&at(|count| 300.0 + count)).unwrap() > 1.0);
        assert_eq!(steepness(&at(|_| 1.0)[..2]), None);
    }

    #[test]
    fn the_worst_row_speaks_for_all() {
        let rows = [("a", 0.4), ("b", 1.1), ("c", 0.9)].map(|(row, figure)| (row.to_string(), figure));
        let verdict = worst("p", 1.0, rows.into_iter()).unwrap();
        assert_eq!((verdict.row.as_str(), verdict.met), ("b", false));
        assert!(worst("p", 1.0, std::iter::empty()).is_none());
    }

    #[test]
    fn names_of_growth_are_read() {
        assert_eq!(growth_name("growth:timers:100:fork"), Some(("timers", 100.0, "fork")));
        assert_eq!(growth_name("vdso:TAI"), None);
    }
}

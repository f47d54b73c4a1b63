//! The report on a terminal: a table for each group and kind of machine, and the promises at the end.

use super::group::{self, Group, View};
use super::report::{OVERHEADS, Report};
use super::series::{Series, Unit};
use std::fmt::Write;

/// All of it.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for group in group::ALL {
        for view in group.views() {
            table(&mut out, report, group, view);
        }
        if group == Group::Clocks {
            overheads(&mut out, report);
        }
    }
    promises(&mut out, report);
    let _ = writeln!(
        out,
        "\n{}, Linux {}, {:.3} ticks a nanosecond; {} s",
        report.host.processor, report.host.kernel, report.host.ticks_per_nanosecond, report.seconds
    );
    let _ = writeln!(out, "{}", report.noise_sentence());
    out
}

/// A number with as many places as say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0..0.01 => format!("{value:.4}"),
        0.01..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = if value < 0.0 { "-".to_string() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// How the figures of a group came to be, for the head of its table.
pub fn statistic(report: &Report, group: Group, view: &View) -> String {
    let some = report.series.iter().find(|one| one.group == group && view.peers.contains(&one.peer));
    let Some(Series { unit, count, .. }) = some else { return String::new() };
    let which = match group {
        Group::Boot => format!("median of {count} (least)"),
        Group::Lateness => format!("median of {count} (99 % are less, worst)"),
        Group::Growth if *unit == Unit::Bytes => "each".into(),
        Group::Size => String::new(),
        _ => format!("least of {count} batches (median)"),
    };
    let unit = if group == Group::Growth { "instructions, or bytes each" } else { unit.name() };
    format!("{unit}{}{which}", if which.is_empty() { "" } else { ", " })
}

fn table(out: &mut String, report: &Report, group: Group, view: &View) {
    let rows = report.rows(group, view.peers);
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}: {}", group.title(), view.title);
    let _ = writeln!(out, "{}", statistic(report, group, view));
    let width = rows.iter().map(|row| row.len()).max().unwrap_or(0).max(12);
    let mut head = format!("{:width$}", "");
    for peer in view.peers {
        let _ = write!(head, " {:>25}", peer.name());
    }
    for (ours, theirs) in view.ratios {
        let _ = write!(head, " {:>22}", format!("{}/{}", ours.name(), theirs.name()));
    }
    let _ = writeln!(out, "{}", head.trim_end());
    for row in rows {
        let mut line = format!("{row:width$}");
        for peer in view.peers {
            let shown = report.series(group, *peer, row).map_or("-".into(), cell);
            let _ = write!(line, " {shown:>25}");
        }
        for (ours, theirs) in view.ratios {
            let ratio = ratio(report, group, row, (*ours, *theirs)).map_or("-".into(), number);
            let _ = write!(line, " {ratio:>22}");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// What a namespace adds, in hundredths.
fn overheads(out: &mut String, report: &Report) {
    let rows = report.overheads();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nWhat a namespace adds to a reading: natively in time, in QEMU in instructions");
    let _ = writeln!(out, "%{:21} {}", "", OVERHEADS.map(|peer| format!("{:>12}", peer.name())).join(" "));
    for (row, figures) in rows {
        let cells = figures.map(|figure| format!("{:>12}", figure.map_or("-".into(), number)));
        let _ = writeln!(out, "{row:22} {}", cells.join(" "));
    }
}

/// A figure, and the other one of least and median behind it; the spread where it is worth a remark. Of lateness what the
/// unlucky meet.
fn cell(series: &Series) -> String {
    let figure = number(series.figure());
    if series.count == 1 {
        return figure;
    }
    if series.group == Group::Lateness {
        return format!("{figure} ({}, {})", number(series.ninety_ninth), number(series.most));
    }
    let other = if series.figure() == series.least { series.median } else { series.least };
    let spread = match series.spread() {
        spread if spread >= 0.1 => format!(" +{:.0}%", spread * 100.0),
        _ => String::new(),
    };
    format!("{figure} ({}){spread}", number(other))
}

/// Ours divided by theirs.
pub fn ratio(
    report: &Report,
    group: Group,
    row: &str,
    (ours, theirs): (super::peer::Peer, super::peer::Peer),
) -> Option<f64> {
    let [ours, theirs] = [ours, theirs].map(|peer| report.series(group, peer, row).map(Series::figure));
    Some(ours? / theirs.filter(|figure| *figure > 0.0)?)
}

fn promises(out: &mut String, report: &Report) {
    if report.verdicts.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nWhat is promised, and the row that comes nearest to breaking it");
    for verdict in &report.verdicts {
        let _ = writeln!(
            out,
            "{:>4} {:>9} (limit {:>6})  {}: {}",
            if verdict.met { "met" } else { "NOT" },
            number(verdict.figure),
            number(verdict.limit),
            verdict.promise,
            verdict.row
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_places_as_say_something() {
        let shown = [0.0013, 0.4, 52.04, 1234.5, 1_234_567.0, -1500.0].map(number);
        assert_eq!(shown, ["0.0013", "0.40", "52.0", "1 234", "1 234 567", "-1 500"]);
    }
}

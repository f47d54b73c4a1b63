//! The plots, one function each: from series to a figure.

use super::super::group::Group;
use super::super::peer::Peer;
use super::super::report::Report;
use super::super::table::{number, ratio};
use super::super::targets::{Verdict, curve, curves};
use super::svg::{Drawing, Scale, WIDTH};

/// Ours, the one it is measured against, and the third.
fn class(peer: Peer) -> &'static str {
    match peer {
        Peer::Gnomon | Peer::GnomonMicrovm | Peer::UserMode => "ours",
        Peer::Linux | Peer::LinuxMicrovm | Peer::Host => "peer",
        Peer::UserModeLinux => "other",
    }
}

fn together(figures: impl IntoIterator<Item = String>) -> String {
    let all: String = figures.into_iter().collect();
    if all.is_empty() { all } else { format!("<div class=\"plots\">\n{all}</div>\n") }
}

/// Every machine's way to its prompt on one line of time: to the first line full, from there to the prompt pale, a dot for
/// every boot's prompt.
pub fn boots(report: &Report) -> String {
    const ROW: f64 = 34.0;
    let (first, prompt) = ("init's first line", "shell's prompt");
    let all: Vec<_> =
        report.series.iter().filter(|one| one.group == Group::Boot && one.row == prompt).collect();
    let most = all.iter().map(|one| one.most).fold(0.0, f64::max);
    let scale = Scale::linear((0.0, most), (0.0, WIDTH - 10.0));
    let mut drawing = Drawing::new(all.len() as f64 * ROW + 18.0);
    for (index, prompt) in all.iter().enumerate() {
        let (y, class) = (index as f64 * ROW, class(prompt.peer));
        let Some(first) = report.series(Group::Boot, prompt.peer, first) else { continue };
        let label = format!(
            "{}: {} ms, prompt after {} ms",
            prompt.peer.name(),
            number(first.median),
            number(prompt.median)
        );
        drawing.text("", "start", (0.0, y + 11.0), &label);
        drawing.bar(class, (0.0, y + 15.0), (scale.place(prompt.median), 9.0), 0.4);
        drawing.bar(class, (0.0, y + 15.0), (scale.place(first.median), 9.0), 1.0);
        for sample in &prompt.samples {
            drawing.dot(class, (scale.place(*sample), y + 27.0), 1.5, 0.6);
        }
    }
    let bottom = all.len() as f64 * ROW;
    for mark in scale.marks() {
        drawing.text("faint", "middle", (scale.place(mark).max(8.0), bottom + 13.0), &number(mark));
    }
    together([drawing.figure("Milliseconds from the start of the process; a dot is one boot's prompt")])
}

/// Where batches of readings lie, for three clocks outside and inside a namespace, beside the host's.
pub fn readings(report: &Report) -> String {
    const ROW: f64 = 30.0;
    let one = |clock: &str| {
        let mut lines = Vec::new();
        for place in ["", "@namespace"] {
            for peer in [Peer::UserMode, Peer::Host] {
                lines.extend(report.series(Group::Clocks, peer, &format!("vdso:{clock}{place}")));
            }
        }
        let least = lines.iter().map(|line| line.least).fold(f64::INFINITY, f64::min);
        let most = lines.iter().map(|line| line.ninetieth).fold(0.0, f64::max);
        if !least.is_finite() {
            return String::new();
        }
        let margin = (most - least).max(least * 0.05) * 0.1;
        let scale = Scale::linear((least - margin, most + margin), (4.0, WIDTH - 4.0));
        let mut drawing = Drawing::new(lines.len() as f64 * ROW + 18.0);
        for (index, line) in lines.iter().enumerate() {
            let (y, class) = (index as f64 * ROW, class(line.peer));
            let place = if line.row.ends_with("@namespace") { "in a namespace" } else { "in the root" };
            let label = format!(
                "{}, {place}: least {}, median {}",
                line.peer.name(),
                number(line.least),
                number(line.median)
            );
            drawing.text("", "start", (0.0, y + 11.0), &label);
            for sample in line.samples.iter().filter(|sample| **sample <= most + margin) {
                drawing.dot(class, (scale.place(*sample), y + 20.0), 3.0, 0.25);
            }
            let median = scale.place(line.median);
            drawing.line(class, (median, y + 14.0), (median, y + 26.0));
        }
        let bottom = lines.len() as f64 * ROW;
        for mark in scale.marks() {
            drawing.text("faint", "middle", (scale.place(mark), bottom + 13.0), &number(mark));
        }
        drawing.figure(&format!(
            "{clock} through the vDSO, ns a reading; a dot is one batch, the line their median"
        ))
    };
    together(["MONOTONIC", "BOOTTIME", "MONOTONIC_COARSE"].map(one))
}

/// Every call's instructions as a part of Linux's, with the limit promised.
pub fn ratios(report: &Report) -> String {
    const ROW: f64 = 20.0;
    const LEFT: f64 = 138.0;
    let rows = report.rows(Group::Calls, &[Peer::Gnomon]);
    let rows: Vec<_> = rows
        .into_iter()
        .filter_map(|row| Some((row, ratio(report, Group::Calls, row, (Peer::Gnomon, Peer::Linux))?)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let most = rows.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
    let scale = Scale::linear((0.0, most), (LEFT, WIDTH - 40.0));
    let mut drawing = Drawing::new(rows.len() as f64 * ROW + 20.0);
    for (index, (row, ratio)) in rows.iter().enumerate() {
        let y = index as f64 * ROW;
        drawing.text("", "end", (LEFT - 6.0, y + 14.0), row);
        drawing.bar("ours", (LEFT, y + 4.0), (scale.place(*ratio) - LEFT, 12.0), 1.0);
        drawing.text("", "start", (scale.place(*ratio) + 4.0, y + 14.0), &number(*ratio));
        let promised =
            |verdict: &&Verdict| verdict.row == *row && verdict.promise.starts_with("instructions");
        let limit = report.verdicts.iter().find(promised).map(|verdict| verdict.limit);
        if let Some(limit) = limit {
            let x = scale.place(limit);
            drawing.line("limit", (x, y), (x, y + ROW));
        }
    }
    let bottom = rows.len() as f64 * ROW;
    let one = scale.place(1.0);
    drawing.line("peer", (one, 0.0), (one, bottom));
    drawing.text("faint", "middle", (one, bottom + 13.0), "Linux");
    together([drawing.figure("Instructions in QEMU, Linux's being 1; dashed: what is promised at most")])
}

/// A plot for each kind of thing there are many of, and each row.
pub fn growth(report: &Report) -> String {
    const HEIGHT: f64 = 190.0;
    let one = |(kind, name): (String, String)| {
        let both = [Peer::Gnomon, Peer::Linux].map(|peer| (peer, curve(&report.series, peer, &kind, &name)));
        let points = || both.iter().flat_map(|(_, points)| points);
        let high = points().map(|(_, cost)| *cost).fold(0.0, f64::max);
        let (fewest, many) = points()
            .fold((f64::INFINITY, 1.0), |(fewest, many), (count, _)| (count.min(fewest), count.max(many)));
        if !fewest.is_finite() {
            return String::new();
        }
        let x = Scale::logarithmic((fewest, many), (50.0, WIDTH - 30.0));
        let y = Scale::linear((0.0, high.max(1.0)), (HEIGHT - 22.0, 20.0));
        let mut drawing = Drawing::new(HEIGHT);
        for mark in y.marks() {
            drawing.line("axis", (50.0, y.place(mark)), (WIDTH, y.place(mark)));
            drawing.text("faint", "end", (46.0, y.place(mark) + 4.0), &number(mark));
        }
        for mark in x.marks() {
            drawing.text("faint", "middle", (x.place(mark), HEIGHT - 6.0), &number(mark));
        }
        for (index, (peer, points)) in both.iter().enumerate() {
            let places: Vec<_> =
                points.iter().map(|(count, cost)| (x.place(*count), y.place(*cost))).collect();
            drawing.curve(class(*peer), &places);
            drawing.text(class(*peer), "start", (50.0 + index as f64 * 70.0, 11.0), peer.name());
        }
        let unit = if name == "memory" { "bytes each" } else { "instructions" };
        drawing.figure(&format!("{}: {name}, {unit}", kind.replace('_', " ")))
    };
    together(curves(&report.series).into_iter().map(one))
}

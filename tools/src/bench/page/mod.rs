//! The report as one page: no script, no file beside it, plots as SVG, light or dark as the reader's device is.
//!
//! Everything drawn stands in a table too, so nothing must be measured off a plot; and plots are drawn 360 units wide,
//! which on a telephone is their size in pixels, so that their letters can be read there.

mod plots;
mod svg;

use super::group::{self, Group, View};
use super::report::{OVERHEADS, Report};
use super::series::Series;
use super::table::{number, ratio, statistic};
use std::fmt::Write;

/// Colours by role, set once for light and once for dark; a plot names roles alone.
const STYLE: &str = include_str!("style.css");

/// The page.
pub fn html(report: &Report) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Gnomon, measured</title>\n\
         <style>\n{STYLE}</style>\n<main>\n<h1>Gnomon, measured</h1>\n"
    );
    heading(&mut out, report);
    verdicts(&mut out, report);
    for group in group::ALL {
        if report.series.iter().any(|series| series.group == group) {
            section(&mut out, report, group);
        }
    }
    absent(&mut out, report);
    out.push_str("</main>\n</html>\n");
    out
}

/// A text inside an element or an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn heading(out: &mut String, report: &Report) {
    let class = if report.noise.noisy { "noisy" } else { "quiet" };
    let host = &report.host;
    let _ = write!(
        out,
        "<p>{}, {} processors, Linux {}; {:.3} ticks of the counter a nanosecond. One run of {} s.</p>\n\
         <p class=\"{class}\">{}</p>\n",
        escaped(&host.processor),
        host.processors,
        escaped(&host.kernel),
        host.ticks_per_nanosecond,
        report.seconds,
        escaped(&report.noise_sentence()),
    );
}

fn verdicts(out: &mut String, report: &Report) {
    if report.verdicts.is_empty() {
        return;
    }
    let met = report.verdicts.iter().filter(|verdict| verdict.met).count();
    let _ = write!(
        out,
        "<h2>What is promised</h2>\n<p>{met} of {} promises are kept by this run.</p>\n<div class=\"wide\"><table>\n\
         <tr><th>row<th>figure<th></tr>\n",
        report.verdicts.len()
    );
    for verdict in &report.verdicts {
        let (class, word) = if verdict.met { ("met", "✓ met") } else { ("broken", "✗ not met") };
        let _ = writeln!(
            out,
            "<tr><td class=\"promise\">{}<small>{}</small><td>{}<small>limit {}</small><td class=\"{class}\">{word}</tr>",
            escaped(&verdict.row),
            escaped(&verdict.promise),
            number(verdict.figure),
            number(verdict.limit)
        );
    }
    out.push_str("</table></div>\n");
}

fn section(out: &mut String, report: &Report, group: Group) {
    let _ = writeln!(out, "<h2 id=\"{}\">{}</h2>", group.name(), group.title());
    match group {
        Group::Boot => out.push_str(&plots::boots(report)),
        Group::Clocks => out.push_str(&plots::readings(report)),
        Group::Calls => out.push_str(&plots::ratios(report)),
        Group::Growth => out.push_str(&plots::growth(report)),
        Group::Lateness | Group::Size => {}
    }
    for view in group.views() {
        table(out, report, group, view);
    }
    if group == Group::Clocks {
        overheads(out, report);
    }
}

/// What a namespace adds, in hundredths.
fn overheads(out: &mut String, report: &Report) {
    let rows = report.overheads();
    if rows.is_empty() {
        return;
    }
    out.push_str(
        "<h3>what a namespace adds to a reading</h3>\n<p>%, natively of its time, in QEMU of its instructions</p>\n\
         <div class=\"wide\"><table>\n<tr><th>",
    );
    for peer in OVERHEADS {
        let _ = write!(out, "<th>{}", peer.name());
    }
    out.push_str("</tr>\n");
    for (row, figures) in rows {
        let cells = figures.map(|figure| format!("<td>{}", figure.map_or("–".into(), number)));
        let _ = writeln!(out, "<tr><td>{row}{}</tr>", cells.concat());
    }
    out.push_str("</table></div>\n");
}

fn table(out: &mut String, report: &Report, group: Group, view: &View) {
    let rows = report.rows(group, view.peers);
    if rows.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "<h3>{}</h3>\n<p>{}</p>\n<div class=\"wide\"><table>\n<tr><th>",
        view.title,
        statistic(report, group, view)
    );
    for peer in view.peers {
        let _ = write!(out, "<th>{}", peer.name());
    }
    for (ours, theirs) in view.ratios {
        let _ = write!(out, "<th>{} ⁄ {}", ours.name(), theirs.name());
    }
    out.push_str("</tr>\n");
    for row in rows {
        let _ = write!(out, "<tr><td>{}", escaped(row));
        for peer in view.peers {
            match report.series(group, *peer, row) {
                Some(series) => {
                    let _ = write!(
                        out,
                        "<td title=\"{}\">{}{}",
                        summary(series),
                        number(series.figure()),
                        rest(series)
                    );
                }
                None => out.push_str("<td>–"),
            }
        }
        for (ours, theirs) in view.ratios {
            let ratio = ratio(report, group, row, (*ours, *theirs)).map_or("–".into(), number);
            let _ = write!(out, "<td class=\"ratio\">{ratio}");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

/// All of a row's figures, for who points at one.
fn summary(series: &Series) -> String {
    let Series { least, median, ninetieth, ninety_ninth, most, .. } = *series;
    let figures = [least, median, ninetieth, ninety_ninth, most].map(number).join(", ");
    format!("{} samples in {}: least, median, 90 %, 99 %, most: {figures}", series.count, series.unit.name())
}

/// The other figures, smaller, where there is more than one sample.
fn rest(series: &Series) -> String {
    if series.count == 1 {
        return String::new();
    }
    if series.group == Group::Lateness {
        return format!("<small>{}, {}</small>", number(series.ninety_ninth), number(series.most));
    }
    let other = if series.figure() == series.least { series.median } else { series.least };
    let class = if series.spread() > 0.25 { " class=\"wavering\"" } else { "" };
    format!("<small{class}>{} +{:.0} %</small>", number(other), series.spread() * 100.0)
}

fn absent(out: &mut String, report: &Report) {
    if report.absent.is_empty() {
        return;
    }
    out.push_str("<h2>What could not be measured</h2>\n<ul>\n");
    for (peer, row, reason) in &report.absent {
        let _ = writeln!(out, "<li>{}, {}: {}</li>", peer.name(), escaped(row), escaped(reason));
    }
    out.push_str("</ul>\n");
}

#[cfg(test)]
mod tests;

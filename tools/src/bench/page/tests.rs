//! A page of every group, read for what would break it.

use super::super::host::Host;
use super::super::peer::Peer;
use super::super::report::Noise;
use super::super::series::Unit;
use super::super::targets::Verdict;
use super::*;

fn sample() -> Report {
    let series = |group, peer, row: &str, unit| Series::new(group, peer, row, unit, vec![20.0, 21.0, 40.0]);
    let mut all = Vec::new();
    for (group, row) in [
        (Group::Boot, "init's first line"),
        (Group::Boot, "shell's prompt"),
        (Group::Clocks, "vdso:MONOTONIC"),
        (Group::Clocks, "vdso:MONOTONIC@namespace"),
        (Group::Calls, "null_call"),
        (Group::Lateness, "clock_nanosleep_late:1ms"),
        (Group::Growth, "growth:timers:1:fork"),
        (Group::Growth, "growth:timers:100:fork"),
        (Group::Size, "vDSO"),
    ] {
        for peer in [Peer::Gnomon, Peer::Linux, Peer::UserMode, Peer::Host, Peer::UserModeLinux] {
            all.extend(series(group, peer, row, Unit::Nanoseconds));
        }
    }
    let verdict =
        Verdict { promise: "at most".into(), row: "a<b".into(), figure: 2.0, limit: 1.0, met: false };
    Report {
        host: Host {
            processor: "A & B".into(),
            processors: 2,
            kernel: "6.1".into(),
            ticks_per_nanosecond: 2.5,
            load: 3.0,
        },
        noise: Noise { spread: 0.5, noisy: true },
        seconds: 9,
        verdicts: vec![verdict],
        absent: vec![(Peer::UserModeLinux, "setns_time".into(), "ENOENT".into())],
        series: all,
    }
}

#[test]
fn every_group_is_shown_and_nothing_is_fetched() {
    let page = html(&sample());
    for group in group::ALL {
        assert!(page.contains(&format!("<h2 id=\"{}\">", group.name())), "{}", group.name());
    }
    for fetched in ["http", "<script", "<link", "<img", "url("] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    assert!(page.contains("NOISY") && page.contains("not met") && page.contains("UML, setns_time: ENOENT"));
}

#[test]
fn names_are_escaped_and_numbers_are_numbers() {
    let page = html(&sample());
    assert!(page.contains("A &amp; B") && page.contains("a&lt;b") && !page.contains("a<b"));
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn what_is_opened_is_closed() {
    let page = html(&sample());
    for element in ["main", "table", "svg", "figure", "div", "ul", "h2", "style"] {
        let opened =
            page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}

#[test]
fn an_empty_run_makes_a_page_too() {
    let report = Report { series: Vec::new(), verdicts: Vec::new(), absent: Vec::new(), ..sample() };
    assert!(html(&report).contains("</html>"));
}

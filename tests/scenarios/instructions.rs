//! What a clock reading costs, in instructions: QEMU counts them, so the figures do not depend on the host's load.
//!
//! With `-icount shift=0` the cycle counter moves by one for each instruction, and `clocks --instructions` prints the
//! least of many readings. The limits are what Linux 6.18's vDSO takes on the same processor. For everything else that
//! `measure` measures, the limit is what it took before: who makes a call dearer shall notice.

use super::BARE_METAL;
use super::boot::FIRST_LINE;
use anyhow::{Context, Result, ensure};
use gnomon_tests::boot::{Boot, Hardware};
use gnomon_tests::figures;
use gnomon_tests::machine::Machine;
use gnomon_tests::scenario::{Scenario, scenario};
use gnomon_tools::workspace::Variant;
use std::collections::BTreeMap;
use std::time::Duration;

/// Instructions for CLOCK_MONOTONIC through the vDSO, in the root and in a namespace: Linux's figures, and our aim.
const LIMIT: [u64; 2] = [61, 79];
const AIM: [u64; 2] = [55, 66];

/// The command in the root, and in a namespace of its own.
const IN_ROOT: &[&str] = &["run", "/bin/clocks", "--instructions"];
const IN_NAMESPACE: &[&str] = &[
    "run",
    "/bin/unshare",
    "--time",
    "--monotonic",
    "86400",
    "--boottime",
    "86400",
    "/bin/clocks",
    "--instructions",
];

pub fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("instructions_of_a_reading", &BARE_METAL, of_a_reading),
        scenario("instructions_without_time_namespaces", &BARE_METAL, without_time_namespaces),
        scenario("instructions_within_limits", &BARE_METAL, within_limits),
    ]
}

/// What `measure` counted when a row was last changed on purpose, a line `ROW INSTRUCTIONS` each.
const FIGURES: &str = include_str!("../instruction_limits.txt");

/// What a row may take beyond its line: a thirty-second part and two. Another compiler, or code that lies elsewhere, is
/// worth that; a call more on a hot path is not.
fn limit(figure: f64) -> f64 {
    figure + figure / 32.0 + 2.0
}

/// Rows whose figure depends on chance, by how timer interrupts and pages to be copied fall: twice as much.
fn limit_of(row: &str, figure: f64) -> f64 {
    let wavers = ["fork_exit_wait", "vfork_exec_wait", "thread"].contains(&row);
    if wavers { limit(limit(figure)) } else { limit(figure) }
}

/// Every row of `measure calls clocks` against the file, which must name exactly those. What was counted is left beside
/// the logs in the file's own form, to be put in its place when a change is meant.
fn within_limits(m: &mut Machine) -> Result<()> {
    let known: BTreeMap<&str, f64> = FIGURES.lines().filter_map(figure).collect();
    let hardware = Hardware { instruction_clock: Some(0), ..Hardware::default() };
    let arguments = ["run", "/bin/measure", "--speed", "50", "calls", "clocks"];
    m.patience(Duration::from_secs(120));
    m.boot(Boot::default().word("quiet").word("norandmaps").hardware(hardware).arguments(&arguments))?;
    m.expect(FIRST_LINE)?;
    let printed = m.expect("init: exit status 0")?;
    m.expect_power_off()?;
    let counted: Vec<(&str, f64)> = printed.lines().filter_map(least).collect();
    let listing: String = counted.iter().map(|(row, figure)| format!("{row} {figure:.0}\n")).collect();
    std::fs::write(gnomon_tests::results().join("instruction_limits.txt"), listing)?;
    ensure!(counted.len() > 20, "hardly anything was measured:\n{printed}");
    let mut wrong = Vec::new();
    for (row, counted) in &counted {
        match known.get(row) {
            None => wrong.push(format!("{row} is not in the file of limits; it took {counted:.0}")),
            Some(figure) if *counted > limit_of(row, *figure) => wrong.push(format!(
                "{row} took {counted:.0} instructions; it was {figure:.0} and may be {:.0}",
                limit_of(row, *figure)
            )),
            Some(figure) if limit(*counted) < *figure => figures::note(format!(
                "{row} takes {counted:.0} instructions now; the file of limits still says {figure:.0}"
            )),
            Some(_) => {}
        }
    }
    for row in known.keys().filter(|row| !counted.iter().any(|(other, _)| other == *row)) {
        wrong.push(format!("{row} is in the file of limits, but was not measured"));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// `ROW INSTRUCTIONS`; a line beginning with `#` is a remark.
fn figure(line: &'static str) -> Option<(&'static str, f64)> {
    let (row, figure) = line.split_once(' ').filter(|_| !line.starts_with('#'))?;
    Some((row, figure.trim().parse().ok()?))
}

/// The row and the least of a line `ROW ticks COUNT LEAST ...`. What a row costs when nothing comes in between is exact;
/// in the median may be a timer interrupt more or less.
fn least(line: &str) -> Option<(&str, f64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [row, "ticks", _count, least, ..] = words[..] else { return None };
    Some((row, least.parse().ok()?))
}

/// Instructions by the name of the call, through the vDSO and by system call.
type Costs = BTreeMap<String, (u64, u64)>;

fn measure(m: &mut Machine, kernel: Variant, arguments: &[&str]) -> Result<Costs> {
    let hardware = Hardware { instruction_clock: Some(0), ..Hardware::default() };
    m.boot(Boot { kernel, ..Boot::default().hardware(hardware).arguments(arguments) })?;
    m.expect(FIRST_LINE)?;
    let text = m.expect("init: exit status 0")?;
    m.expect_power_off()?;
    let costs = read(&text);
    ensure!(costs.contains_key("MONOTONIC"), "no figure for MONOTONIC in:\n{text}");
    Ok(costs)
}

/// Reads lines of `NAME vdso N syscall N`.
fn read(text: &str) -> Costs {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, "vdso", by_vdso, "syscall", by_call] = words[..] else { return None };
        let name = name.trim_start_matches("CLOCK_").to_string();
        Some((name, (by_vdso.parse().ok()?, by_call.parse().ok()?)))
    };
    text.lines().filter_map(line).collect()
}

fn of_a_reading(m: &mut Machine) -> Result<()> {
    let root = measure(m, Variant::WithTimeNamespaces, IN_ROOT)?;
    let inside = measure(m, Variant::WithTimeNamespaces, IN_NAMESPACE)?;
    figures::note("instructions of a reading       vDSO root  namespace   call root  namespace");
    for (name, (by_vdso, by_call)) in &root {
        let (vdso_inside, call_inside) =
            inside.get(name).copied().context("the two runs differ in their lines")?;
        figures::note(format!(
            "  {name:<26} {by_vdso:>12} {vdso_inside:>10} {by_call:>11} {call_inside:>10}"
        ));
    }
    for (place, costs, index) in [("in the root", &root, 0), ("in a namespace", &inside, 1)] {
        let (cost, limit, aim) = (costs["MONOTONIC"].0, LIMIT[index], AIM[index]);
        figures::note(format!("  MONOTONIC {place}: {cost} (limit {limit}, aim {aim})"));
        ensure!(cost > 0, "{place} a reading costs nothing, so nothing was measured");
        ensure!(
            cost <= limit,
            "{place} MONOTONIC takes {cost} instructions through the vDSO; the limit is {limit}"
        );
    }
    Ok(())
}

/// The clocks whose reading goes the way that is measured: those of high resolution.
const HIGH_RESOLUTION: [&str; 5] = ["REALTIME", "MONOTONIC", "MONOTONIC_RAW", "BOOTTIME", "TAI"];

/// With the namespaces compiled out, the figure in the root is the same: who does not use them does not pay. For the
/// other clocks the compiler may come out an instruction better or worse; none may be worse with namespaces.
fn without_time_namespaces(m: &mut Machine) -> Result<()> {
    let with = measure(m, Variant::WithTimeNamespaces, IN_ROOT)?;
    let without = measure(m, Variant::WithoutTimeNamespaces, IN_ROOT)?;
    for (name, (with, _)) in &with {
        let without = without.get(name).context("the two runs differ in their lines")?.0;
        if *with != without || name == "MONOTONIC" {
            figures::note(format!(
                "instructions of {name} in the root, with and without namespaces: {with}, {without}"
            ));
        }
        ensure!(
            name != "MONOTONIC" || *with == without,
            "MONOTONIC takes {with} instructions with and {without} without"
        );
        let pays = HIGH_RESOLUTION.contains(&name.as_str()) && *with > without;
        ensure!(!pays, "{name} takes {with} instructions with namespaces and only {without} without");
    }
    Ok(())
}
